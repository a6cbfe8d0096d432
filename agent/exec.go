package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/redirect"
)

// Exit statuses of Exec beside the command's own, as env(1) and others have them.
const (
	StatusAgent      = 125 // Sluice itself failed
	StatusNotRunable = 126
	StatusNotFound   = 127
)

// execGrace is how long sessions may take to end after the command did.
const execGrace = time.Second

// ExecOptions say what to run, and how.
type ExecOptions struct {
	Options
	Argv []string
	User string // account to run as; "": the caller's
	// Strict refuses to run a command that could get around the redirection.
	Strict bool
	// Warn is told in one line why a command is not held, if it is not.
	Warn func(string)
}

// Exec runs a command and all that it starts as an enrolled workload, with an
// agent of its own around it, and returns the command's exit status. What the
// command left running is killed when it ends, since its agent ends too.
func Exec(ctx context.Context, o ExecOptions) (status int, err error) {
	path, status, err := find(o.Argv[0])
	if err != nil {
		return status, err
	}
	r, err := newRedirector(o.Options)
	if err != nil {
		return StatusAgent, err
	}
	pins := r.rules.Load().set.Agent().BPF
	done := alone()
	for _, err := range sweep(r.mount, pins) {
		r.log.Warn("left over by a dead agent", "error", err)
	}
	p, err := newPlace(r.mount, pins)
	if err != nil {
		done()
		return StatusAgent, err
	}
	defer func() {
		done := alone()
		defer done()
		if lerr := p.leave(); lerr != nil {
			r.log.Warn("cgroups not removed", "error", lerr)
		}
	}()
	r.kernel, err = redirect.Open(redirect.Options{Parent: p.parent, AgentCgroup: p.agent, Pin: p.pin, Log: r.log})
	done()
	if err != nil {
		os.Remove(pins)
		return StatusAgent, notLoaded(err)
	}
	defer func() {
		done := alone()
		defer done()
		if rerr := r.kernel.Remove(); rerr != nil {
			r.log.Warn("redirection not removed", "error", rerr)
		}
		os.Remove(pins) // succeeds for the last one
	}()
	if err := r.capture(ctx); err != nil {
		return StatusAgent, err
	}
	for _, why := range append([]string{unenforced(p.agent, o.User)}, r.weakSockets()...) {
		if why == "" {
			continue
		}
		if o.Strict {
			return StatusAgent, errors.New(why)
		}
		if o.Warn != nil {
			o.Warn(why)
		}
	}
	if err := r.enroll(); err != nil {
		return StatusAgent, err
	}
	if err := r.set.Add(enroll.Target{Name: "exec", Path: p.command}); err != nil {
		return StatusAgent, err
	}
	if err := r.set.Scan(); err != nil {
		return StatusAgent, err
	}
	if err := r.openMetrics(); err != nil {
		r.log.Warn("no metrics", "error", err) // another one of us has the port
	}
	defer r.closeListeners()

	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan error, 1)
	r.grace = execGrace
	go func() {
		err := r.run(running)
		r.handling.Wait()
		ended <- err
	}()
	select {
	case <-r.ready:
	case err := <-ended:
		return StatusAgent, cmpError(err, errors.New("the agent ended"))
	}
	status, err = r.command(path, o, p)
	r.stopping.Store(true)
	if eerr := p.end(); eerr != nil {
		r.log.Warn("processes left", "error", eerr)
	}
	cancel()
	if rerr := <-ended; rerr != nil {
		r.log.Warn("agent", "error", rerr)
	}
	return status, err
}

func cmpError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// find resolves a command as execvp does.
func find(name string) (string, int, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil || errors.Is(err, exec.ErrDot):
		return path, 0, nil
	case errors.Is(err, os.ErrPermission):
		return "", StatusNotRunable, err
	}
	return "", StatusNotFound, err
}

// command runs the command inside its cgroup from its first instruction on.
func (r *redirector) command(path string, o ExecOptions, p *place) (int, error) {
	dir, err := os.Open(p.command)
	if err != nil {
		return StatusAgent, fmt.Errorf("open cgroup: %w", err)
	}
	defer dir.Close()
	cmd := exec.Command(path, o.Argv[1:]...)
	cmd.Args[0] = o.Argv[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// It stays in our process group, so that a terminal's job control reaches both.
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	cmd.Env = r.environment()
	if o.User != "" {
		if err := become(cmd, o.User); err != nil {
			return StatusAgent, err
		}
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return StatusNotRunable, err
		}
		return StatusAgent, err
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case s := <-signals:
				if !fromTerminal(s) {
					cmd.Process.Signal(s)
				}
			case <-stop:
				return
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return StatusAgent, err
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// forwarded are the signals that are for the command.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGALRM}

// fromTerminal reports whether s comes from a terminal, which has sent it to the
// command as well, since that is in the same process group.
func fromTerminal(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH, syscall.SIGCONT:
	default:
		return false
	}
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && group == syscall.Getpgrp()
}

// environment is ours without the variables that hold credentials.
func (r *redirector) environment() []string {
	var secret []string
	for _, c := range credentials(r.rules.Load().set) {
		if c.PasswordEnv != "" {
			secret = append(secret, c.PasswordEnv)
		}
	}
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(secret, name)
	})
}

// lookUp finds an account by name or number.
func lookUp(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("run as %s: no such user", name)
		}
	}
	return u, nil
}

// become makes cmd run as another account.
func become(cmd *exec.Cmd, name string) error {
	u, err := lookUp(name)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("run as %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("run as %s: %w", name, err)
	}
	var groups []uint32
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range ids {
			if n, err := strconv.ParseUint(id, 10, 32); err == nil {
				groups = append(groups, uint32(n))
			}
		}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}
	cmd.Env = append(cmd.Env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	return nil
}

// waitEmpty waits a moment for the last process of a cgroup to be gone.
func waitEmpty(path string) error {
	for range 200 {
		if !enroll.Populated(path) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("cgroup %s still has processes", filepath.Base(path))
}
