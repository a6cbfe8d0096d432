package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/policy"
)

// settle is how long the configuration must be quiet before it is read: editors
// and ConfigMap volumes change several names for one change.
const settle = 200 * time.Millisecond

// watch puts changed configurations in force.
func (r *redirector) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch configuration: %w", err)
	}
	defer w.Close()
	// A file is watched by its directory, since most writers rename a new one over it.
	dir := r.o.Config
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch configuration: %w", err)
	}
	quiet := time.NewTimer(settle)
	again := time.NewTicker(time.Minute)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
			quiet.Reset(settle)
		case err := <-w.Errors:
			r.log.Warn("watch configuration", "error", err)
			quiet.Reset(settle)
		case <-r.clusterChanged():
			quiet.Reset(settle)
		case <-again.C:
			quiet.Reset(settle) // what a Secret holds may have changed
		case <-quiet.C:
			r.reload(ctx)
		}
	}
}

// reload puts what is on disk in force, if it differs and is valid. What is not
// valid is refused whole.
func (r *redirector) reload(ctx context.Context) {
	r.swap.Lock()
	defer r.swap.Unlock()
	old := r.rules.Load()
	next, err := r.read(ctx)
	if err == nil && bytes.Equal(next.bundle, old.bundle) {
		r.refused.Store(nil)
		r.inForce(next) // the same objects, but others may be refused
		return
	}
	if err == nil {
		if h := r.hub.Load(); h != nil {
			next, err = r.negotiate(ctx, next, h)
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			r.fail(err)
			r.retell()
		}
		return
	}
	next.matcher.poll(ctx)
	r.rules.Store(next)
	if err := r.kernel.SetEndpoints(next.matcher.endpoints()); err != nil {
		r.log.Error("endpoints not captured", "error", err)
	}
	if err := r.set.Unix(next.matcher.unix()); err != nil {
		r.log.Error("unix sockets not captured", "error", err)
	}
	r.set.Want(targets(next.set))
	if changed := settled(old.set.Agent(), next.set.Agent()); len(changed) > 0 {
		r.log.Warn("settings of kind Agent changed that wait for the next start", "settings", strings.Join(changed, ", "))
	}
	r.inForce(next)
	r.reloads.Add(1)
	r.refused.Store(nil)
	r.log.Info("configuration in force", "generation", next.generation)
	r.retell()
}

// retell has status and metrics show at once what changed.
func (r *redirector) retell() {
	if h := r.hub.Load(); h != nil {
		r.tell(h)
	}
}

// read reads files, which are valid by themselves or refused, and joins the cluster's
// objects with them.
func (r *redirector) read(ctx context.Context) (*rules, error) {
	set, files, err := LoadConfig(r.o.Config)
	if err != nil {
		return nil, err
	}
	if r.cluster == nil {
		return r.compile(ctx, set, files)
	}
	for range maxTakenBack {
		c, err := r.cluster.Candidate(files)
		if err != nil {
			return nil, err
		}
		n, err := r.compile(ctx, c.Set, c.Files)
		if err == nil {
			n.candidate = c
			return n, nil
		}
		if !r.cluster.Refuse(c, err) {
			return nil, err
		}
	}
	return nil, errTakenBack
}

// settled names the settings that differ and are read when an agent starts.
func settled(old, next *policy.Agent) []string {
	var changed []string
	for name, differs := range map[string]bool{
		"user": old.User != next.User, "stateDir": old.State != next.State, "runDir": old.Run != next.Run,
		"bpfDir": old.BPF != next.BPF, "cgroup": old.Cgroup != next.Cgroup, "metrics": old.Metrics != next.Metrics,
		"admin.socket": old.Admin.Socket != next.Admin.Socket, "record": old.Record != next.Record, "log": old.Log != next.Log,
	} {
		if differs {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

// fail notes that a configuration was refused; the last good one stays.
func (r *redirector) fail(err error) {
	text := Explain(err)
	if old := r.refused.Load(); old != nil && *old == text {
		return
	}
	r.failures.Add(1)
	r.refused.Store(&text)
	for line := range strings.Lines(text) {
		r.log.Error("configuration refused, the last good one stays in force", "error", strings.TrimSpace(line))
	}
}

// Explain returns all that is wrong with a configuration, one line each.
func Explain(err error) string {
	var bad *policy.SyntaxError
	if errors.As(err, &bad) {
		return bad.All()
	}
	return err.Error()
}

// targets are the workloads of a configuration.
func targets(set *policy.Set) []enroll.Target {
	var all []enroll.Target
	for _, w := range set.Workloads() {
		if w.Pods != nil {
			continue // what runs in pods is enrolled as it starts
		}
		all = append(all, enroll.Target{Name: w.Name, Cgroup: w.Cgroup, Unit: w.SystemdUnit, Token: w.TokenFile})
	}
	return all
}

func marshalBundle(b *channel.Bundle) ([]byte, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return data, nil
}

func trimMount(path, mount string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, mount), "/")
}
