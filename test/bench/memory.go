package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory measures what the agent takes, both of its processes together, with no
// session, 100 and 1,000 idle ones, and what one idle session adds.
func (st *stage) memory(ctx context.Context) ([]result, error) {
	var all []result
	used := map[int]usage{}
	for _, n := range []int{0, 100, 1000} {
		u, err := st.memoryWith(ctx, n)
		if err != nil {
			return all, fmt.Errorf("%d sessions: %w", n, err)
		}
		used[n] = u
		for _, kind := range []struct {
			name  string
			value float64
		}{{"PSS", u.pss}, {"private", u.private}} {
			r := result{Case: fmt.Sprintf("agent memory, %d idle sessions (%s)", n, kind.name), Unit: "KiB"}
			r.set("sluice", kind.value)
			all = append(all, r)
		}
	}
	r := result{Case: "agent memory per idle session (PSS)", Unit: "KiB"}
	r.set("sluice", (used[1000].pss-used[0].pss)/1000)
	return append(all, r), nil
}

// usage is in KiB.
type usage struct{ pss, private float64 }

func (st *stage) memoryWith(ctx context.Context, n int) (usage, error) {
	cmd := st.throughSluice(ctx, st.self, "client", "idle", strconv.Itoa(n))
	cmd.Env = st.environment(path{port: st.server.Port})
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return usage{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return usage{}, err
	}
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	text, readErr := bufio.NewReader(out).ReadString('\n')
	time.Sleep(2 * time.Second) // idle
	u, err := st.usageOf(cmd.Process.Pid)
	in.Close()
	waitErr := cmd.Wait()
	if readErr != nil {
		return u, fmt.Errorf("client said %q: %w", text, waitErr)
	}
	return u, err
}

// usageOf adds up the processes of the sluice binary at and below pid.
func (st *stage) usageOf(pid int) (usage, error) {
	var sum usage
	found := 0
	for _, p := range append(descendants(pid), pid) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p))
		if err != nil || filepath.Base(exe) != filepath.Base(st.binary) {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return sum, err
		}
		found++
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kib, _ := strconv.ParseFloat(fields[1], 64)
			switch fields[0] {
			case "Pss:":
				sum.pss += kib
			case "Private_Clean:", "Private_Dirty:":
				sum.private += kib
			}
		}
	}
	if found == 0 {
		return sum, fmt.Errorf("no process of %s", st.binary)
	}
	return sum, nil
}

// descendants returns the processes below pid.
func descendants(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	all := strings.Fields(string(text))
	for _, t := range tasks {
		if more, err := os.ReadFile(t); err == nil && filepath.Base(filepath.Dir(t)) != strconv.Itoa(pid) {
			all = append(all, strings.Fields(string(more))...)
		}
	}
	var below []int
	for _, word := range all {
		child, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		below = append(append(below, child), descendants(child)...)
	}
	return below
}
