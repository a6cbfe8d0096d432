package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/redirect"
)

// daemonGrace is how long sessions may go on after the daemon is told to stop, unless kind
// Agent says.
const daemonGrace = 10 * time.Second

// Run is the daemon. It returns when ctx is done: what is enrolled stays enrolled in
// the kernel, which refuses its connections until an agent runs again; see [Uninstall].
func Run(ctx context.Context, o Options) error {
	r, err := newRedirector(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if r.startedFile != nil {
			r.startedFile.Close()
		}
	}()
	defer r.handling.Wait()
	defer cancel(nil)
	told := ctx
	ctx, stop := r.linger(told)
	defer stop()
	r.succession = filepath.Join(r.rules.Load().set.Agent().Run, lineFile)
	if err := r.openCluster(ctx); err != nil {
		return err
	}
	if err := raiseFiles(r.rules.Load().set.Agent().Sessions); err != nil {
		r.log.Warn("fewer sessions than configured will find room", "error", err)
	}
	own, err := r.joinOwn()
	if err != nil {
		return err
	}
	if r.rules.Load().set.Agent().Kubernetes != nil {
		defer func() {
			if p := r.prepared; p != nil {
				p.finish()
			}
		}()
		if err := r.standBy(told); told.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
	}
	close(r.serving)
	a := r.rules.Load().set.Agent()
	parent, commands, err := r.places()
	if err != nil {
		return err
	}
	done := alone()
	for _, err := range sweep(r.mount, a.BPF) {
		r.log.Warn("left over by a dead agent", "error", err)
	}
	r.kernel, err = redirect.Open(redirect.Options{Parent: parent, PassStrangers: parent == r.mount,
		AgentCgroup: own, Pin: filepath.Join(a.BPF, "agent"), Log: r.log})
	done()
	r.leaveLine()
	if err != nil {
		os.Remove(a.BPF) // succeeds if nothing is in force
		return notLoaded(err)
	}
	defer func() {
		if err := r.kernel.Close(); err != nil {
			r.log.Warn("redirection not closed", "error", err)
		}
	}()
	if err := r.capture(ctx); err != nil {
		return err
	}
	if err := r.enroll(); err != nil {
		return err
	}
	if err := r.openPods(); err != nil {
		return err
	}
	if err := errors.Join(r.openMetrics(), r.openAdmin()); err != nil {
		return err
	}
	defer r.closeListeners()
	defer r.withdraw()
	j, err := newJoins(r, parent, commands)
	if err != nil {
		return err
	}
	defer j.l.Close()
	j.adopt()
	r.set.Want(targets(r.rules.Load().set))
	if err := r.set.Scan(); err != nil {
		return err
	}
	r.handling.Go(func() {
		select {
		case <-r.ready:
			r.log.Info("ready", "workloads", len(r.set.Workloads()), "databases", len(r.rules.Load().set.Databases()))
			j.run(ctx)
		case <-ctx.Done():
		}
	})
	r.grace = endGrace
	err = r.run(ctx)
	cancel(err)
	r.handling.Wait()
	return err
}

// notLoaded explains why the programs were not loaded: what the host lacks, if it does.
func notLoaded(err error) error {
	if errors.Is(err, redirect.ErrInUse) {
		return fmt.Errorf("another agent runs on this host: %w", err)
	}
	if lacks := redirect.Unsupported(); len(lacks) > 0 {
		return fmt.Errorf("this host can't run Sluice (sluice doctor has more): %s; tried nevertheless: %w", strings.Join(lacks, "; "), err)
	}
	return fmt.Errorf("load redirection: %w", err)
}

// joinOwn makes the cgroup of the agent, and enters it: what it starts is in it, too.
func (r *redirector) joinOwn() (string, error) {
	here, err := enroll.Own(r.mount, os.Getpid())
	if err != nil {
		return "", err
	}
	own := filepath.Join(r.mount, folder, "agent")
	// What systemd started stays below its unit, or systemd would lose it.
	if strings.HasSuffix(here, ".service") {
		own = filepath.Join(here, "agent")
	} else if filepath.Base(here) == "agent" && strings.HasSuffix(filepath.Dir(here), ".service") {
		own = here
	} else if contained() {
		own = filepath.Join(here, "agent") // its limits hold, and its end ends us
	}
	if err := os.MkdirAll(own, 0o755); err != nil {
		return "", fmt.Errorf("make cgroup: %w", err)
	}
	return own, enroll.Join(own, os.Getpid())
}

// places returns the cgroup that the programs sit on, which it makes, and the one for
// commands of `sluice exec`.
func (r *redirector) places() (parent, commands string, err error) {
	parent = filepath.Join(r.mount, r.rules.Load().set.Agent().Cgroup)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", "", fmt.Errorf("make cgroup: %w", err)
	}
	return parent, filepath.Join(parent, folder, "commands"), nil
}

// Uninstall removes what a daemon that does not run any more left in the kernel:
// its workloads reach their databases again, unjudged.
func Uninstall(o Options) error {
	r, err := newRedirector(o)
	if err != nil {
		return err
	}
	a := r.rules.Load().set.Agent()
	own, err := r.joinOwn()
	if err != nil {
		return err
	}
	parent, commands, err := r.places()
	if err != nil {
		return err
	}
	r.kernel, err = redirect.Open(redirect.Options{Parent: parent, PassStrangers: parent == r.mount,
		AgentCgroup: own, Pin: filepath.Join(a.BPF, "agent"), Log: r.log})
	if err != nil {
		return fmt.Errorf("adopt redirection: %w", err)
	}
	if err := r.kernel.Remove(); err != nil {
		return fmt.Errorf("remove redirection: %w", err)
	}
	enroll.Join(r.mount, os.Getpid())
	enroll.RemoveTree(commands) // fails while commands run, which is fine
	os.Remove(filepath.Dir(commands))
	os.Remove(own)
	os.Remove(filepath.Join(r.mount, folder))
	os.Remove(a.BPF)
	return nil
}
