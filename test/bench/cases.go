package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// benchCase is one thing that is measured on every path.
type benchCase struct {
	name, unit string
	// command returns the program and its arguments, which takes the connection
	// from PGHOST and PGPORT.
	command func(self string) []string
	value   func(output string) (float64, error)
	pooled  bool // Sluice keeps sessions of the server
}

func cases(s settings) []benchCase {
	var all []benchCase
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, clients := range []int{1, 8, 32} {
			all = append(all, benchCase{
				name: fmt.Sprintf("pgbench -S %s c=%d", mode, clients), unit: "tps",
				command: func(string) []string {
					return pgbench(s, clients, "-M", mode)
				},
				value: tps,
			})
		}
	}
	all = append(all, benchCase{
		name: "connections (pgbench -S -C c=8)", unit: "1/s",
		command: func(string) []string { return pgbench(s, 8, "-C") },
		value:   tps,
	}, benchCase{
		name: "connections, pool: session", unit: "1/s", pooled: true,
		command: func(string) []string { return pgbench(s, 8, "-C") },
		value:   tps,
	})
	for _, q := range []struct{ name, sql string }{
		{"COPY out 2M rows", "COPY bench.rows TO STDOUT"},
		{"SELECT 500k rows, nothing masked", "SELECT id, name, note, balance FROM bench.people"},
		{"SELECT 500k rows, one column masked", "SELECT id, name, ssn, balance FROM bench.people"},
	} {
		all = append(all, benchCase{
			name: q.name, unit: "s",
			command: func(self string) []string { return []string{self, "client", "time", q.sql} },
			value:   func(out string) (float64, error) { return strconv.ParseFloat(strings.TrimSpace(out), 64) },
		})
	}
	return all
}

func pgbench(s settings, clients int, more ...string) []string {
	threads := min(clients, 2)
	return append([]string{"pgbench", "-n", "-S", "-T", strconv.Itoa(s.seconds),
		"-c", strconv.Itoa(clients), "-j", strconv.Itoa(threads)}, more...)
}

var tpsLine = regexp.MustCompile(`tps = ([0-9.]+)`)

func tps(output string) (float64, error) {
	m := tpsLine.FindStringSubmatch(output)
	if m == nil {
		return 0, fmt.Errorf("pgbench printed no tps: %s", output)
	}
	return strconv.ParseFloat(m[1], 64)
}

// measure lets the paths take turns and keeps each one's median. Where pgbench is
// what runs, a second result tells the processor time of what is in between.
func (st *stage) measure(ctx context.Context, c benchCase, rounds int) ([]result, error) {
	r := []result{{Case: c.name, Unit: c.unit}, {Case: "processor time, " + c.name, Unit: "µs/tx"}}
	st.pooled = c.pooled
	values, processor := map[string][]float64{}, map[string][]float64{}
	for range rounds {
		for _, p := range st.paths {
			words := c.command(st.self)
			if p.pids != "" && words[0] == "pgbench" {
				words = append([]string{st.self, "client", "processor", p.pids}, words...)
			}
			out, err := st.output(p.command(ctx, words[0], words[1:]...), p)
			if err != nil {
				return r, fmt.Errorf("%s: %w", p.name, err)
			}
			v, err := c.value(out)
			if err != nil {
				return r, fmt.Errorf("%s: %w", p.name, err)
			}
			values[p.name] = append(values[p.name], v)
			if m := processorLine.FindStringSubmatch(out); m != nil {
				v, _ := strconv.ParseFloat(m[1], 64)
				processor[p.name] = append(processor[p.name], v)
			}
		}
	}
	for i, all := range []map[string][]float64{values, processor} {
		for name, v := range all {
			slices.Sort(v)
			r[i].set(name, v[len(v)/2])
		}
	}
	if len(processor) == 0 {
		r = r[:1]
	}
	return r, nil
}

func (st *stage) output(cmd *exec.Cmd, p path) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Env = st.environment(p)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, lastLines(stderr.String(), 5))
	}
	return stdout.String(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
