package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/policy"
)

// Options say what a Source works with. Client is required.
type Options struct {
	Client    *rest.Config
	Node      string // whose agent this is; "": nothing is reported
	Namespace string // of the agent, for the lease of who writes status; "": none is written
	Dir       string // where the last good objects are kept; "": nowhere
	Version   string // of the agent
	Log       *slog.Logger
	// Pods returns the pods of this node that are, or should be, enrolled. Default: none.
	Pods func() []enroll.Pod
	// Serving is closed when this agent serves: before, it writes nothing. Nil: at once.
	Serving <-chan struct{}
}

// retryEvery is how often what was valid and could not be put in force is tried again:
// a Secret may have been made meanwhile.
const retryEvery = time.Minute

// Source is the configuration that a cluster holds.
type Source struct {
	o       Options
	log     *slog.Logger
	dynamic dynamic.Interface
	objects *objects
	secrets *Secrets

	changed chan struct{} // something may have to be put in force
	told    chan struct{} // something is to be told
	synced  chan struct{} // closed when the API server told everything once
	kept    bool          // there were objects on disk

	stores  map[string]cache.Store // by kind; what the API server has, status too
	current atomic.Pointer[policy.Set]

	mu      sync.Mutex
	written []byte // what is on disk
	warned  map[Key]string
}

// New returns a Source that has read what was kept on disk.
func New(o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// What client-go says of itself goes where all else goes. It has one log a process.
	klog.SetSlogLogger(o.Log)
	client, err := rest.HTTPClientFor(o.Client)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	d, err := dynamic.NewForConfigAndClient(o.Client, client)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	s := &Source{o: o, log: o.Log, dynamic: d, objects: newObjects(),
		changed: make(chan struct{}, 1), told: make(chan struct{}, 1), synced: make(chan struct{}), warned: map[Key]string{}, stores: map[string]cache.Store{}}
	s.secrets = newSecrets(s.secret)
	if err := s.load(); err != nil {
		// What can't be read is as good as not there: the API server has it.
		s.log.Warn("kept objects of the cluster not readable", "error", err)
	}
	return s, nil
}

// Resource returns the name of a kind in the API.
func (k Kind) Resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: k.Plural}
}

// serving does f once this agent serves.
func (s *Source) serving(ctx context.Context, f func(context.Context)) {
	if s.o.Serving != nil {
		select {
		case <-ctx.Done():
			return
		case <-s.o.Serving:
		}
	}
	f(ctx)
}

// Run follows the API server until ctx is done, and tells it what became of objects.
func (s *Source) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	factory := dynamicinformer.NewDynamicSharedInformerFactory(s.dynamic, 0)
	defer factory.Shutdown()
	var all []cache.InformerSynced
	var live liveness
	for _, k := range Kinds() {
		informer := factory.ForResource(k.Resource()).Informer()
		s.stores[k.Name] = informer.GetStore()
		if err := informer.SetTransform(trim); err != nil {
			return fmt.Errorf("watch %s: %w", k.Plural, err)
		}
		if err := informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
			if live.failed(k.Plural, err) {
				s.log.Warn("objects of the cluster not watched: what is in force stays", "kind", k.Name, "error", err)
			}
		}); err != nil {
			return fmt.Errorf("watch %s: %w", k.Plural, err)
		}
		handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(x any) { s.put(k, x) },
			UpdateFunc: func(_, x any) { s.put(k, x) },
			DeleteFunc: func(x any) { s.remove(k, x) },
		})
		if err != nil {
			return fmt.Errorf("watch %s: %w", k.Plural, err)
		}
		all = append(all, handler.HasSynced)
	}
	factory.Start(ctx.Done())
	running.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), all...) {
			s.objects.complete()
			close(s.synced)
			s.nudge()
		}
	})
	if s.o.Node != "" {
		running.Go(func() { s.serving(ctx, s.report) })
	}
	if s.o.Namespace != "" && s.o.Node != "" {
		running.Go(func() { s.serving(ctx, s.lead) })
	}
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.objects.retry() {
				s.nudge()
			}
		}
	}
}

// liveness remembers what was said of a watch, so that it is said once.
type liveness struct {
	mu   sync.Mutex
	said map[string]string
}

func (l *liveness) failed(what string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil {
		l.said = map[string]string{}
	}
	if l.said[what] == err.Error() {
		return false
	}
	l.said[what] = err.Error()
	return true
}

// trim keeps of an object what is needed, before it is held in memory.
func trim(x any) (any, error) {
	if u, ok := x.(*unstructured.Unstructured); ok {
		u.SetManagedFields(nil)
		u.SetAnnotations(nil)
	}
	return x, nil
}

func (s *Source) put(k Kind, x any) {
	u, ok := x.(*unstructured.Unstructured)
	if !ok {
		return
	}
	o, err := object(k, u)
	if err != nil {
		s.log.Error("object not readable", "kind", k.Name, "name", u.GetName(), "error", err)
		return
	}
	if s.objects.put(o) {
		s.nudge()
	}
}

func (s *Source) remove(k Kind, x any) {
	name := ""
	switch x := x.(type) {
	case *unstructured.Unstructured:
		name = x.GetName()
	case cache.DeletedFinalStateUnknown:
		name = x.Key
	}
	if s.objects.remove(Key{k.Name, name}) {
		s.nudge()
	}
}

// object takes of what the API server has that which package policy reads: what else
// is in an object may change without meaning anything.
func object(k Kind, u *unstructured.Unstructured) (Object, error) {
	data, err := json.Marshal(map[string]any{
		"apiVersion": Group + "/" + Version, "kind": k.Name,
		"metadata": map[string]any{"name": u.GetName()}, "spec": u.Object["spec"],
	})
	return Object{Key: Key{k.Name, u.GetName()}, UID: string(u.GetUID()), Generation: u.GetGeneration(),
		Created: u.GetCreationTimestamp().Time, Data: data}, err
}

// nudge says that something may have to be put in force.
func (s *Source) nudge() { poke(s.changed) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed is sent to when there may be another Candidate.
func (s *Source) Changed() <-chan struct{} { return s.changed }

// ErrNothing means that neither the API server nor the disk has told anything yet.
var ErrNothing = errors.New("no configuration of the cluster is known yet")

// Await waits until the API server has told everything once. After patience it goes
// on with what was kept on disk, if anything was; with nothing it waits on, since
// who does not know what to guard must not say that it is ready.
func (s *Source) Await(ctx context.Context, patience time.Duration) error {
	began := time.Now()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case <-s.synced:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", context.Cause(ctx))
		case <-tick.C:
			if s.kept {
				s.log.Warn("the API server has not told its objects: the last good ones of this node's disk are in force")
				return nil
			}
			s.log.Warn("waiting for the API server: nothing is kept of its objects", "since", began.Format(time.RFC3339))
		}
	}
}

// Candidate joins the objects with files of configuration. The error says that they
// make no valid set, whichever versions are taken.
func (s *Source) Candidate(files []policy.File) (*Candidate, error) {
	var docs []policy.Document
	for _, f := range files {
		d, err := policy.ParseFile(f)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d...)
	}
	c, err := s.objects.candidate(files, docs)
	if err != nil {
		poke(s.told)
	}
	return c, err
}

// InForce notes that a Candidate is in force, and keeps it on disk.
func (s *Source) InForce(c *Candidate) {
	s.objects.adopt(c)
	s.current.Store(c.Set)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range c.refused {
		if text := r.Reason + ": " + r.Message; s.warned[k] != text {
			s.warned[k] = text
			s.log.Warn("object not in force", "kind", k.Kind, "name", k.Name, "reason", r.Reason, "message", r.Message, "before", r.Before)
		}
	}
	for k := range s.warned {
		if _, still := c.refused[k]; !still {
			delete(s.warned, k)
		}
	}
	select {
	case <-s.synced:
		if err := s.keep(); err != nil {
			s.log.Error("objects of the cluster not kept: a restart without API server would not know them", "error", err)
		}
	default: // it came from the disk
	}
	poke(s.told)
}

// Refuse notes why a Candidate could not be put in force, and reports whether it is
// worth asking for another one.
func (s *Source) Refuse(c *Candidate, err error) bool {
	defer poke(s.told)
	return s.objects.fail(c, err)
}

// Secrets reads the Secrets that Databases name.
func (s *Source) Secrets() *Secrets { return s.secrets }
