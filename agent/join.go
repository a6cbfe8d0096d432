package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/redirect"
)

// joinSocket is the name, in the run directory, of the socket by which a process
// asks to be enrolled. To connect is to ask: nothing is read from it, so that the
// redirector parses nothing that a user sends. The answer is one message, "ok" or
// what is wrong.
const joinSocket = "join.sock"

// joins serves that socket.
type joins struct {
	r      *redirector
	l      *net.UnixListener
	parent string // cgroup below which everything that is enrolled lies
	dir    string // cgroup for those that can't stay where they are
	next   atomic.Uint64

	mu    sync.Mutex
	where map[string]bool // cgroups of commands, outside of dir
}

// commandPrefix begins the names of the cgroups of commands that stay where they are.
const commandPrefix = "sluice-exec-"

func newJoins(r *redirector, parent, dir string) (*joins, error) {
	l, err := listenUnix("unixpacket", filepath.Join(r.rules.Load().set.Agent().Run, joinSocket))
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	r.names = append(r.names, l.Addr().String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.Close()
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	return &joins{r: r, l: l, parent: parent, dir: dir, where: map[string]bool{}}, nil
}

// adopt enrolls again what an earlier agent had enrolled and still runs.
func (j *joins) adopt() {
	for _, path := range j.all() {
		if !enroll.Populated(path) {
			enroll.RemoveTree(path)
			continue
		}
		if err := j.r.set.Add(enroll.Target{Name: "exec", Path: path}); err != nil {
			j.r.log.Warn("command not adopted", "cgroup", filepath.Base(path), "error", err)
		}
	}
}

// all lists the cgroups of commands. Those of an earlier agent that stayed where they
// were are found by what the kernel has enrolled.
func (j *joins) all() []string {
	var all []string
	entries, _ := os.ReadDir(j.dir)
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(j.dir, e.Name()))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	ids, _ := j.r.kernel.Enrolled()
	for _, id := range ids {
		if path, err := redirect.CgroupPath(j.r.mount, id); err == nil && strings.HasPrefix(filepath.Base(path), commandPrefix) {
			j.where[path] = true
		}
	}
	for path := range j.where {
		if _, err := os.Stat(path); err != nil {
			delete(j.where, path)
			continue
		}
		all = append(all, path)
	}
	return all
}

// run serves until ctx is done.
func (j *joins) run(ctx context.Context) error {
	defer closeOn(ctx, j.l)()
	j.r.handling.Go(func() { j.clean(ctx) })
	for {
		c, err := j.l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			j.r.log.Warn("accept a command", "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		// One after the other: it is a few system calls.
		answer := "ok"
		if why, err := j.join(c); err != nil {
			j.r.log.Warn("command not enrolled", "error", err)
			answer = err.Error()
		} else if why != "" {
			j.r.log.Warn("command enrolled", "but", why)
			answer += " " + why
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write([]byte(answer))
		c.Close()
	}
}

// join moves the process at the other end of c into an enrolled cgroup.
//
// why is what keeps it from being enforced, "" if nothing does.
func (j *joins) join(c *net.UnixConn) (why string, err error) {
	cred, err := peer(c)
	if err != nil {
		return "", fmt.Errorf("ask who connects: %w", err)
	}
	pid := int(cred.Pid)
	before, err := startTime(pid)
	if err != nil {
		return "", err
	}
	// Nobody can move what is already enrolled somewhere else, or is ours.
	own, err := enroll.Own(j.r.mount, pid)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(own, j.dir+"/") || j.r.set.Within(own) {
		return "", nil // it is enrolled already, and stays what it is
	}
	if strings.HasPrefix(own, filepath.Join(j.r.mount, folder, execPrefix)) {
		return "", errors.New("the process belongs to another sluice exec on this host, and stays there")
	}
	path, err := j.cgroup(own, pid)
	if err != nil {
		return "", err
	}
	// The number may have become another process's: only one of the same user, that
	// started when we first looked, is moved.
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/"+strconv.Itoa(pid), &st); err != nil || st.Uid != cred.Uid && st.Uid != 0 {
		return "", errors.New("the process is gone")
	}
	if now, err := startTime(pid); err != nil || now != before {
		return "", errors.New("the process is gone")
	}
	if err := enroll.Join(path, pid); err != nil {
		return "", err
	}
	if err := j.r.set.Scan(); err != nil {
		return "", err
	}
	return unenforced(path, ""), nil
}

// cgroup makes and enrolls the cgroup for a process. It is below the process's own, whose
// limits go on to apply, unless somebody but root could move it out of there again.
func (j *joins) cgroup(own string, pid int) (string, error) {
	name := strconv.Itoa(pid) + "-" + strconv.FormatUint(j.next.Add(1), 10)
	make := func(path string) (string, error) {
		if err := os.Mkdir(path, 0o755); err != nil {
			return "", fmt.Errorf("make cgroup: %w", err)
		}
		if err := j.r.set.Add(enroll.Target{Name: "exec", Path: path}); err != nil {
			enroll.RemoveTree(path)
			return "", err
		}
		return path, nil
	}
	if own != j.parent && strings.HasPrefix(own, strings.TrimSuffix(j.parent, "/")+"/") && onlyRoot(j.r.mount, own) {
		path, err := make(filepath.Join(own, commandPrefix+name))
		if err == nil {
			j.mu.Lock()
			j.where[path] = true
			j.mu.Unlock()
			return path, nil
		}
		j.r.log.Info("command leaves the cgroup that it was in", "cgroup", own, "because", err)
	}
	return make(filepath.Join(j.dir, name))
}

// onlyRoot reports whether nobody but root may move processes in a cgroup and those above.
func onlyRoot(mount, path string) bool {
	for ; strings.HasPrefix(path, mount) && path != mount; path = filepath.Dir(path) {
		for _, file := range []string{"", "cgroup.procs", "cgroup.threads"} {
			var st syscall.Stat_t
			if err := syscall.Stat(filepath.Join(path, file), &st); err != nil || st.Uid != 0 || st.Mode&0o022 != 0 {
				return false
			}
		}
	}
	return true
}

// startTime returns field 22 of proc_pid_stat(5).
func startTime(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", errors.New("the process is gone")
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	if i := strings.LastIndex(string(data), ") "); i >= 0 {
		rest = string(data)[i+2:]
	}
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", errors.New("the process is gone")
	}
	return fields[19], nil
}

// clean removes the cgroups whose processes have ended.
func (j *joins) clean(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, path := range j.all() {
			info, err := os.Stat(path)
			if err != nil || enroll.Populated(path) || time.Since(info.ModTime()) < 2*time.Second {
				continue
			}
			j.r.set.Remove(path)
			if err := enroll.RemoveTree(path); err != nil {
				j.r.log.Warn("cgroup not removed", "error", err)
			}
		}
	}
}

// ErrNoDaemon means that no agent listens in the run directory.
var ErrNoDaemon = errors.New("no agent runs on this host")

// Join asks the daemon whose run directory is given to enroll this process. All that
// it starts or becomes from then on is enrolled. why says what keeps it from being
// enforced, "" if nothing does.
func Join(run string) (why string, err error) {
	path := filepath.Join(run, joinSocket)
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrNoDaemon, err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(15 * time.Second))
	answer := make([]byte, 1024)
	n, err := c.Read(answer)
	if err != nil {
		return "", fmt.Errorf("ask the agent to enroll: %w", err)
	}
	ok, why, _ := strings.Cut(string(answer[:n]), " ")
	if ok != "ok" {
		return "", fmt.Errorf("the agent did not enroll: %s", answer[:n])
	}
	return why, nil
}
