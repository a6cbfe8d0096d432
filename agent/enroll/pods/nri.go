package pods

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"sluicegate.io/sluice/agent/enroll"
)

// againAfter is how long the container runtime is left alone when it went away.
const againAfter = time.Second

// serve is a plugin of the container runtime until ctx is done. The runtime may be
// started again at any time.
func (r *Registry) serve(ctx context.Context) {
	failed := ""
	for ctx.Err() == nil {
		err := r.plug(ctx)
		if ctx.Err() != nil {
			return
		}
		text := "the container runtime closed the connection"
		if err != nil {
			text = err.Error()
		}
		r.mu.Lock()
		r.nri = text
		r.mu.Unlock()
		if text != failed {
			failed = text
			r.log.Warn("container runtime not reached by NRI: pods are found by their cgroups, and what they dial before is refused",
				"socket", r.o.Settings.NRI.Socket, "error", text)
		}
		select {
		case <-ctx.Done():
		case <-time.After(againAfter):
		}
	}
}

// plug serves one connection to the runtime.
func (r *Registry) plug(ctx context.Context) error {
	p := &plugin{r: r}
	s, err := stub.New(p, stub.WithPluginName("sluice"), stub.WithPluginIdx(r.o.Settings.NRI.Index),
		stub.WithSocketPath(r.o.Settings.NRI.Socket), stub.WithOnClose(func() {}), stub.WithLogger(quiet{r.log}))
	if err != nil {
		return fmt.Errorf("nri: %w", err)
	}
	defer context.AfterFunc(ctx, s.Stop)()
	if err := s.Run(ctx); err != nil {
		return fmt.Errorf("nri: %w", err)
	}
	return nil
}

// plugin is what the runtime calls.
type plugin struct{ r *Registry }

// Synchronize hears of what runs already.
func (p *plugin) Synchronize(ctx context.Context, sandboxes []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nri = "connected"
	of := map[string]*pod{}
	for _, s := range sandboxes {
		q := r.pod(s.GetUid())
		of[s.GetId()] = q
		r.sandbox(q, s)
	}
	for _, c := range containers {
		if q := of[c.GetPodSandboxId()]; q != nil {
			q.containers[c.GetId()] = c.GetName()
		}
	}
	for _, q := range of {
		r.settle(q)
	}
	r.log.Info("container runtime reached by NRI", "pods", len(sandboxes), "containers", len(containers))
	return nil, nil
}

// sandbox notes what the runtime says of a pod. What the API server says counts more. r.mu
// is held.
func (r *Registry) sandbox(p *pod, s *api.PodSandbox) {
	if p.name == "" {
		p.namespace, p.name = s.GetNamespace(), s.GetName()
	}
	if p.spec == nil {
		p.labels, p.annotations = labels(s.GetLabels()), s.GetAnnotations()
	}
	p.seen = time.Now()
	r.place(p, s.GetLinux().GetCgroupParent())
}

// labels leaves out what kubelet adds for the runtime.
func labels(all map[string]string) map[string]string {
	own := map[string]string{}
	for k, v := range all {
		switch k {
		case "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid", "io.kubernetes.container.name":
		default:
			own[k] = v
		}
	}
	return own
}

// RunPodSandbox decides about a pod before any of its containers is made: its network is
// there, so its listener can be.
func (p *plugin) RunPodSandbox(ctx context.Context, s *api.PodSandbox) error {
	p.r.hear(ctx, s, "")
	return nil // who may not run is told when its containers are made
}

// hear takes in a sandbox, and waits a moment for what the API server knows of it and of its
// container, if one is given: ephemeral ones are new in a pod that is known.
func (r *Registry) hear(ctx context.Context, s *api.PodSandbox, container string) *pod {
	r.mu.Lock()
	q := r.pod(s.GetUid())
	r.sandbox(q, s)
	known := q.spec != nil && (container == "" || q.spec.has(container))
	r.mu.Unlock()
	if !known && r.o.API != nil {
		if o := r.o.API.await(ctx, s.GetUid(), s.GetNamespace(), s.GetName(), container); o != nil {
			r.mu.Lock()
			r.learn(q, o)
			r.mu.Unlock()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle(q)
	if q.applied == enroll.Enrolled {
		// It may have been enrolled before it had a process, and so a network.
		r.o.Set.Listen()
	}
	return q
}

// CreateContainer refuses the containers of a pod that could get around what is to hold
// it, and gives those that ask for it Sluice's certificate authority.
func (p *plugin) CreateContainer(ctx context.Context, s *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	r := p.r
	q := r.hear(ctx, s, c.GetName())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.allowed(q, c.GetName()); err != nil {
		r.log.Warn("container refused", "namespace", q.namespace, "pod", q.name, "container", c.GetName(), "because", q.refused[c.GetName()])
		return nil, nil, err
	}
	q.containers[c.GetId()] = c.GetName()
	if q.decision != enroll.Enrolled || !r.o.Settings.Trust || q.annotations[Trust] != "true" || r.o.Authorities == nil {
		return nil, nil, nil
	}
	path, all, err := r.o.Authorities()
	if err != nil {
		r.log.Warn("certificate authority not given to a container", "pod", q.name, "error", err)
		return nil, nil, nil
	}
	return trust(path, all, c.GetEnv()), nil, nil
}

// RemoveContainer forgets a container.
func (p *plugin) RemoveContainer(_ context.Context, s *api.PodSandbox, c *api.Container) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if q := p.r.pods[s.GetUid()]; q != nil {
		delete(q.containers, c.GetId())
	}
	return nil
}

// quiet is how the stub logs. Its infos are of no interest to an operator.
type quiet struct{ log *slog.Logger }

func (q quiet) Debugf(ctx context.Context, format string, args ...any) {}
func (q quiet) Infof(ctx context.Context, format string, args ...any) {
	q.log.DebugContext(ctx, fmt.Sprintf(format, args...))
}
func (q quiet) Warnf(ctx context.Context, format string, args ...any) {
	q.log.WarnContext(ctx, fmt.Sprintf(format, args...))
}
func (q quiet) Errorf(ctx context.Context, format string, args ...any) {
	q.log.WarnContext(ctx, fmt.Sprintf(format, args...))
}
