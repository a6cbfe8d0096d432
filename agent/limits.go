package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/enroll"
)

// runtimeVariables are what an operator may tell Go's runtime in both processes.
var runtimeVariables = []string{"GOMEMLIMIT", "GOGC", "GOMAXPROCS", "GOTRACEBACK"}

// runtimeEnv is the part of the environment that the proxy keeps.
func runtimeEnv() []string {
	var env []string
	for _, name := range runtimeVariables {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// memory is the environment of the proxy. Where the agent's cgroup, or one above
// it, bounds memory, the collector works harder before the kernel kills: at nine
// tenths of the bound, of which the redirector needs little.
func (r *redirector) memory() []string {
	env := runtimeEnv()
	if os.Getenv("GOMEMLIMIT") != "" {
		return env
	}
	own, err := enroll.Own(r.mount, os.Getpid())
	if err != nil {
		return env
	}
	if most := memoryMax(r.mount, own); most > 0 {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(most/10*9, 10))
	}
	return env
}

// memoryMax is the least memory.max of a cgroup and those above it, 0 for none.
func memoryMax(mount, path string) int64 {
	var least int64
	for ; strings.HasPrefix(path, mount) && path != mount; path = filepath.Dir(path) {
		data, err := os.ReadFile(filepath.Join(path, "memory.max"))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// expendable makes the kernel, out of memory, take the proxy before the redirector:
// that one starts another, and sessions end as they do when a proxy crashes.
func expendable(pid int) {
	os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("200"), 0)
}

// raiseFiles lets this process, and the proxy that inherits it, open what so many
// sessions take: two sockets each.
func raiseFiles(sessions int) error {
	want := uint64(2*sessions + 1024)
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur >= want {
		return nil
	}
	before := l.Cur
	for _, hard := range []uint64{max(want, l.Max), l.Max} {
		l.Cur, l.Max = min(want, hard), hard
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &l) == nil {
			before = l.Cur
			break
		}
	}
	if before < want {
		return fmt.Errorf("%d sessions take %d open files and %d are allowed: raise LimitNOFILE of the unit, or fs.nr_open", sessions, want, before)
	}
	return nil
}
