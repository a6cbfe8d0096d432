package pods

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/redirect"
)

// Options say what a Registry works with. Mount, Settings, Set and Rules are required.
type Options struct {
	Log      *slog.Logger
	Mount    string // of cgroup2
	Settings *policy.Kubernetes
	Set      *enroll.Set
	Rules    func() *policy.Set // in force
	API      *API               // nil: labels are what the runtime tells
	// Authorities returns the file of the certificates that a pod that asks for them is to
	// trust, and whether those of the host are among them. Nil: none are given.
	Authorities func() (path string, all bool, err error)
}

// lookEvery is how often cgroups are looked at for what nobody told of.
const lookEvery = time.Second

// Registry is the pods of this node. It is safe for concurrent use.
type Registry struct {
	o   Options
	log *slog.Logger

	mu      sync.Mutex
	root    string
	parents []string
	pods    map[string]*pod // by UID
	nri     string          // how the runtime is reached, or why not
}

// pod is what is known of one pod. What has not been told is empty.
type pod struct {
	uid, namespace, name string
	labels, annotations  map[string]string
	account              string
	spec                 *privileges
	containers           map[string]string // name by id
	path                 string            // of its cgroup
	seen                 time.Time

	decision enroll.Decision
	because  string
	picked   string
	applied  enroll.Decision // to path
	running  bool
	guarded  []string
	problem  string
	refused  map[string]string // by name of a container that was not made: why
	told     policy.Workload   // to the Set
}

// New returns a Registry that knows no pod yet.
func New(o Options) *Registry {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Registry{o: o, log: o.Log, pods: map[string]*pod{}, nri: "not reached yet"}
}

// Run follows the node until ctx is done. What is enrolled stays so.
func (r *Registry) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	r.Look()
	if r.o.API != nil {
		running.Go(func() { r.o.API.run(ctx, r) })
	}
	if !r.o.Settings.NRI.Disabled {
		running.Go(func() { r.serve(ctx) })
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.Look()
		}
	}
}

// Look compares what is known with the cgroups that are there.
func (r *Registry) Look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root == "" {
		found, err := root(r.o.Mount, r.o.Settings.Cgroup)
		if err != nil {
			return
		}
		r.root = found
		r.log.Info("kubelet's pods found", "cgroup", strings.TrimPrefix(found, r.o.Mount))
	}
	t := look(r.root)
	if !slices.Equal(t.parents, r.parents) {
		r.parents = t.parents
		if !r.o.Settings.PassUndecided {
			r.o.Set.Below(t.parents)
		}
		for _, class := range t.classes {
			// It may have been made below a folder whose children the kernel enrolls.
			if err := r.o.Set.Exempt(class); err != nil {
				r.log.Warn("class of pods not released", "cgroup", class, "error", err)
			}
		}
		t = look(r.root) // what was made meanwhile
	}
	for uid, path := range t.pods {
		p := r.pod(uid)
		if p.path != path {
			p.path, p.applied, p.guarded = path, enroll.Undecided, nil
		}
		p.seen = time.Now()
	}
	for uid, p := range r.pods {
		if _, there := t.pods[uid]; !there && p.path != "" {
			p.path, p.applied, p.guarded = "", enroll.Undecided, nil
		}
		if p.path == "" && time.Since(p.seen) > time.Minute && (r.o.API == nil || !r.o.API.has(uid)) {
			delete(r.pods, uid)
			continue
		}
		r.settle(p)
	}
}

// pod returns what is known of a pod. r.mu is held.
func (r *Registry) pod(uid string) *pod {
	p := r.pods[uid]
	if p == nil {
		p = &pod{uid: uid, seen: time.Now(), containers: map[string]string{}, refused: map[string]string{}}
		r.pods[uid] = p
	}
	return p
}

// workload is who the pod is.
func (p *pod) workload() policy.Workload {
	return policy.Workload{Name: p.picked, Namespace: p.namespace, Pod: p.name, PodUID: p.uid,
		ServiceAccount: p.account, Labels: p.labels}
}

// settle decides and does what follows. r.mu is held.
func (r *Registry) settle(p *pod) {
	if p.name == "" {
		return // nobody has told who it is
	}
	w := p.workload()
	picked := r.o.Rules().PodWorkload(&w)
	p.picked = ""
	if picked != nil {
		p.picked = picked.Name
	}
	var namespace map[string]string
	known := false
	if r.o.API != nil {
		namespace, known = r.o.API.namespace(p.namespace)
	}
	was := p.decision
	p.decision, p.because = decide(&w, namespace, known || r.o.API == nil, picked)
	if p.decision != was {
		r.log.Info("pod", "namespace", p.namespace, "pod", p.name, "decision", p.decision.String(), "because", p.because)
	}
	if p.path == "" {
		return
	}
	switch p.decision {
	case enroll.Enrolled:
		r.hold(p)
	case enroll.Exempt:
		r.release(p)
	}
}

// hold enrolls a pod, or tells the Set what is new of it.
func (r *Registry) hold(p *pod) {
	fact := r.fact(p)
	if p.applied != enroll.Enrolled {
		p.running = r.workloads(p)
	}
	if p.applied != enroll.Enrolled || !reflect.DeepEqual(fact.Workload, p.told) {
		if err := r.o.Set.AddPod(p.path, fact); err != nil {
			if !errors.Is(err, enroll.ErrNoCgroup) {
				r.problem(p, err.Error())
			}
			return
		}
		p.applied, p.problem, p.told = enroll.Enrolled, "", fact.Workload
	}
	if len(p.guarded) == 0 && (p.spec == nil || !p.spec.hostNetwork) {
		guarded, err := r.o.Set.Guard(p.path)
		if err != nil && !errors.Is(err, enroll.ErrNoCgroup) {
			r.problem(p, err.Error())
		}
		p.guarded = guarded
	}
}

// workloads tells if the pod runs more than its sandbox.
func (r *Registry) workloads(p *pod) bool { return len(enroll.Processes(p.path)) > 1 }

// release lets a pod go that is not, or no longer, to be held.
func (r *Registry) release(p *pod) {
	if p.applied == enroll.Exempt {
		return
	}
	if len(p.guarded) > 0 || p.applied == enroll.Undecided {
		if err := r.o.Set.Unguard(p.path); err != nil && !errors.Is(err, enroll.ErrNoCgroup) {
			r.log.Warn("veth not released", "namespace", p.namespace, "pod", p.name, "error", err)
		}
		p.guarded = nil
	}
	if err := r.o.Set.Exempt(p.path); err != nil {
		if !errors.Is(err, enroll.ErrNoCgroup) {
			r.problem(p, err.Error())
		}
		return
	}
	p.applied, p.problem = enroll.Exempt, ""
}

func (r *Registry) problem(p *pod, text string) {
	if p.problem != text {
		p.problem = text
		r.log.Warn("pod not enrolled", "namespace", p.namespace, "pod", p.name, "error", text)
	}
}

// unenforced says why a pod could get around the redirection, "" if it could not. Containers
// that were refused, or are not made yet, can't.
func (p *pod) unenforced() string {
	if p.spec == nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Values(p.containers)) {
		if why := p.spec.breaks[name]; why != "" {
			return "container " + name + ": " + why
		}
	}
	return p.unguarded()
}

// unguarded says why what the pod sends as packets is not held, "" if it is or it sends none.
func (p *pod) unguarded() string {
	if p.spec != nil && p.spec.packets && !p.spec.hostNetwork && p.path != "" && len(p.guarded) == 0 {
		return "it has CAP_NET_RAW or CAP_NET_ADMIN over its network, and no veth of it was found that could be guarded"
	}
	return ""
}

// fact is what status and the objects of the cluster tell of a pod.
func (r *Registry) fact(p *pod) enroll.Pod {
	path := ""
	if p.path != "" {
		path = "/" + strings.TrimPrefix(strings.TrimPrefix(p.path, r.o.Mount), "/")
	}
	return enroll.Pod{Workload: p.workload(), Decision: p.decision, Because: p.because, Cgroup: path,
		Running: p.running, Unenforced: p.unenforced(), Guarded: p.guarded, Problem: cmp.Or(p.problem, p.refusal())}
}

// Pods lists the pods of this node of which something is known.
func (r *Registry) Pods() []enroll.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []enroll.Pod
	for _, uid := range slices.Sorted(maps.Keys(r.pods)) {
		p := r.pods[uid]
		if p.name == "" || p.path == "" {
			continue
		}
		f := r.fact(p)
		f.CgroupID, _ = redirect.CgroupID(p.path)
		f.Listener = f.Decision == enroll.Enrolled && r.o.Set.Listening(p.path)
		all = append(all, f)
	}
	return all
}

// Runtime tells how the container runtime is reached, or why it is not.
func (r *Registry) Runtime() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Settings.NRI.Disabled {
		return "off"
	}
	return r.nri
}

// Container returns the name of the container that a cgroup belongs to, "" if it is not
// known.
func (r *Registry) Container(cgroup string) string {
	id, uid := containerID(cgroup), ""
	for name := range strings.SplitSeq(cgroup, "/") {
		if uid = podUID(name); uid != "" {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pods[uid]; p != nil {
		return p.containers[id]
	}
	return ""
}

// errRefused is what the runtime is told of a container that is not to run.
var errRefused = errors.New("refused by Sluice, since the pod is to be enrolled and could get around it")

// allowed says if a container of a pod may be made. r.mu is held.
func (r *Registry) allowed(p *pod, container string) error {
	delete(p.refused, container)
	if p.decision != enroll.Enrolled || r.o.Settings.EnrollUnenforced {
		return nil
	}
	var why string
	if p.spec != nil {
		var judged bool
		if why, judged = p.spec.breaks[container]; judged && why == "" {
			why = p.unguarded()
		} else if !judged {
			why = "the API server does not know it (kubelet tries again)"
		}
	} else if r.o.API != nil {
		why = "the API server does not tell what it may do (kubelet tries again)"
	}
	if why == "" {
		return nil
	}
	p.refused[container] = why
	return fmt.Errorf("%w: container %s: %s (kubernetes.unenforced: enroll in kind Agent lets it run)", errRefused, container, why)
}

// refusal tells of a container that was not made, "" if there is none.
func (p *pod) refusal() string {
	if len(p.refused) == 0 {
		return ""
	}
	name := slices.Min(slices.Collect(maps.Keys(p.refused)))
	return "container " + name + " was refused: " + p.refused[name]
}

// place finds the cgroup of a pod that a runtime tells of. r.mu is held.
func (r *Registry) place(p *pod, parent string) {
	path := filepath.Join(r.o.Mount, expand(parent))
	if podUID(filepath.Base(path)) == p.uid {
		p.setPath(path)
		return
	}
	if r.root != "" {
		if found := look(r.root).pods[p.uid]; found != "" {
			p.setPath(found)
		}
	}
}

func (p *pod) setPath(path string) {
	if p.path != path {
		p.path, p.applied, p.guarded = path, enroll.Undecided, nil
	}
}

// told takes in what the API server says of a pod.
func (r *Registry) told(o *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pod(uidOf(o))
	r.learn(p, o)
	r.settle(p)
}

// learn notes what the API server says of a pod. r.mu is held.
func (r *Registry) learn(p *pod, o *corev1.Pod) {
	p.namespace, p.name, p.account = o.Namespace, o.Name, o.Spec.ServiceAccountName
	p.labels, p.annotations = o.Labels, o.Annotations
	spec := judge(&o.Spec)
	p.spec = &spec
	for i := range o.Status.ContainerStatuses {
		s := &o.Status.ContainerStatuses[i]
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok {
			p.containers[id] = s.Name
		}
	}
}
