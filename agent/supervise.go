package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"time"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/sandbox"
	"sluicegate.io/sluice/redirect"
)

const (
	// A proxy that dies is started again, at first at once.
	backoffLeast, backoffMost = 100 * time.Millisecond, 10 * time.Second
	// A proxy that lived that long has earned a fresh start.
	steady = 30 * time.Second
)

// supervise keeps a proxy running until ctx is done, then ends it within r.grace.
// While there is none, connections are accepted and dropped.
func (r *redirector) supervise(ctx context.Context) error {
	wait := backoffLeast
	for {
		began := time.Now()
		err := r.proxy(ctx)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-r.ready:
		default:
			// It never came up: whoever waits for it should know why.
			return fmt.Errorf("start proxy: %w", err)
		}
		r.restarts.Add(1)
		r.log.Error("the proxy process ended; its sessions are lost, and it is started again", "error", err, "after", wait)
		if time.Since(began) > steady {
			wait = backoffLeast
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, backoffMost)
	}
}

// A process is a proxy process.
type process struct {
	cmd   *exec.Cmd
	hub   *hub
	rules *rules             // that it took while another agent served; nil: none
	gone  chan struct{}      // closed when it asks for nothing any more
	err   error              // then: what it sent, if that was no message
	end   context.CancelFunc // of what is done for it
}

var errEnded = errors.New("the proxy process ended")

// over reports whether it asks for nothing any more.
func (p *process) over() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// while returns a context that ends with ctx, or with the process.
func (p *process) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.gone:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// startProxy starts a proxy process, which knows nothing yet.
func (r *redirector) startProxy(ctx context.Context) (*process, error) {
	conn, theirs, err := channel.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := sandbox.Command(r.uid, r.gid, r.memory(), "proxy", "--level", r.level(), "--format", r.rules.Load().set.Agent().Log.Format)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	// Its directories are handed over open: the way to them may lead through
	// what its account may not search.
	for _, dir := range []string{r.state.private, r.state.records} {
		f, err := os.Open(dir)
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("start proxy: %w", err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	expendable(cmd.Process.Pid)
	p := &process{cmd: cmd, hub: newHub(conn, r.rules.Load, r.log), gone: make(chan struct{})}
	p.hub.denied = r.refusals.add
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	p.end = end
	go func() {
		p.err = p.hub.run(life)
		close(p.gone)
	}()
	return p, nil
}

// finish ends a process that has no more to do: it has closed the channel, or sent what is
// no message, or is not wanted.
func (p *process) finish() error {
	p.end()
	p.hub.conn.Close()
	timer := time.AfterFunc(2*time.Second, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	return p.cmd.Wait()
}

// proxy runs one proxy process to its end.
func (r *redirector) proxy(ctx context.Context) error {
	p := r.prepared
	r.prepared = nil
	if p != nil && p.over() {
		r.log.Warn("the proxy process ended that was to serve: another one is started", "error", errors.Join(p.err, p.finish()))
		p = nil
	}
	if p == nil {
		var err error
		if p, err = r.startProxy(ctx); err != nil {
			return err
		}
	}
	h := p.hub
	err := r.introduce(ctx, p)
	if err == nil {
		r.hub.Store(h)
		r.once.Do(func() { close(r.ready); r.sayStarted() })
		r.tell(h)
		select {
		case <-ctx.Done():
			r.hub.Store(nil)
			h.send(&channel.Drain{Grace: r.grace})
			timer := time.AfterFunc(r.grace+2*time.Second, func() { p.cmd.Process.Kill() })
			defer timer.Stop()
			<-p.gone
		case <-p.gone:
		}
		err = p.err
	}
	r.hub.CompareAndSwap(h, nil)
	return errors.Join(err, p.finish())
}

// introduce gives a new proxy everything that it works with.
func (r *redirector) introduce(ctx context.Context, p *process) error {
	r.swap.Lock()
	defer r.swap.Unlock()
	ctx, stop := p.while(ctx)
	defer stop()
	began := r.rules.Load()
	rules := began
	if p.rules == nil || !bytes.Equal(p.rules.bundle, began.bundle) {
		var err error
		if rules, err = r.negotiate(ctx, began, p.hub); err != nil {
			return err
		}
	}
	if rules != began {
		rules.matcher.poll(ctx)
		r.rules.Store(rules)
		if err := r.kernel.SetEndpoints(rules.matcher.endpoints()); err != nil {
			return fmt.Errorf("capture endpoints: %w", err)
		}
	}
	r.inForce(rules)
	for _, l := range r.listeners {
		if err := p.hub.conn.Send(&channel.Listener{Purpose: l.purpose}, int(l.file.Fd())); err != nil {
			return err
		}
	}
	return nil
}

func (r *redirector) level() string {
	return r.rules.Load().set.Agent().Log.Level
}

// report tells the proxy what status and metrics show.
func (r *redirector) report(ctx context.Context) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if h := r.hub.Load(); h != nil {
				r.tell(h)
			}
		}
	}
}

func (r *redirector) tell(h *hub) {
	r.telling.Lock()
	defer r.telling.Unlock()
	data, err := json.Marshal(r.facts())
	if err != nil {
		r.log.Warn("report", "error", err)
		return
	}
	f, err := channel.Memory("report", data)
	if err != nil {
		r.log.Warn("report", "error", err)
		return
	}
	defer f.Close()
	h.send(&channel.Report{}, int(f.Fd()))
}

// facts are what the redirector knows about itself.
func (r *redirector) facts() *channel.Facts {
	rules := r.rules.Load()
	f := &channel.Facts{
		Version: r.o.Version, Started: r.started, Restarts: r.restarts.Load(), Loaded: rules.loaded,
		Reloads: r.reloads.Load(), Failures: r.failures.Load(), Proofs: map[string]channel.Proofs{},
	}
	f.AdminUsers, f.AdminGroups = r.administrators()
	if text := r.refused.Load(); text != nil {
		f.Refused = *text
	}
	if s, err := r.kernel.Stats(); err == nil {
		f.Refusals = s.Refused
		f.Maps = map[string][2]uint64{
			"workloads":  {uint64(s.Workloads), uint64(s.WorkloadsMax)},
			"handovers":  {uint64(s.Handovers), uint64(s.HandoversMax)},
			"namespaces": {uint64(s.Namespaces), uint64(s.NamespacesMax)},
		}
	}
	f.Problems, f.Warnings = r.health()
	f.Failing = r.failing()
	_, refused := r.activity()
	for _, w := range r.set.Workloads() {
		w.Refused = refused[w.CgroupID]
		f.Workloads = append(f.Workloads, channel.Workload(w))
	}
	if p := r.pods.Load(); p != nil {
		f.Runtime = p.Runtime()
		for _, x := range r.podsTold() {
			f.Pods = append(f.Pods, channel.Pod{Namespace: x.Namespace, Name: x.Pod, Account: x.ServiceAccount, Workload: x.Name,
				Cgroup: x.Cgroup, Decision: x.Decision.String(), Because: x.Because, Running: x.Running, Listener: x.Listener,
				Unenforced: x.Unenforced, Guarded: x.Guarded, Problem: x.Problem, Open: x.Open, Refused: x.Refused})
		}
	}
	for key, p := range rules.provers {
		s := p.Stats()
		f.Proofs[key.String()] = channel.Proofs{Proofs: s.Proofs, CacheHits: s.CacheHits, CacheMisses: s.CacheMisses,
			Reads: s.Reads, Errors: s.Errors}
	}
	return f
}

// health asks the kernel. What other programs could do if this agent were dead is
// worth a warning, and does not make it any less ready. Each is logged when it is new.
func (r *redirector) health() (problems, warnings []string) {
	now := map[string]bool{}
	found := r.kernel.Health()
	if r.stopping.Load() {
		return nil, nil // listeners are being closed
	}
	for _, p := range found {
		level := slog.LevelWarn
		if p.Code == redirect.ProblemStranger {
			warnings = append(warnings, p.Text)
			level = slog.LevelInfo // such as another `sluice exec`
		} else {
			problems = append(problems, p.Text)
		}
		now[p.Text] = true
		if !r.ailing[p.Text] {
			r.log.Log(context.Background(), level, "redirection is not as it should be", "code", p.Code, "problem", p.Text)
		}
	}
	for text := range r.ailing {
		if !now[text] {
			r.log.Info("redirection: a problem is gone", "problem", text)
		}
	}
	r.ailing = now
	warnings = append(warnings, r.weakSockets()...)
	return problems, warnings
}

// weakSockets tells which unix endpoints are not enforced, one sentence each.
func (r *redirector) weakSockets() []string {
	var all []string
	for e, why := range r.kernel.UnixWeak() {
		all = append(all, fmt.Sprintf("NOT ENFORCED: unix:%s is redirected by its name alone (%s), so a link or another mount leads past Sluice: "+
			"have workloads connect by TCP, and keep them out of the folder of the socket", e, why))
	}
	slices.Sort(all)
	return all
}
