package pods

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// API is what the API server tells of this node's pods, and of namespaces.
type API struct {
	client typed.CoreV1Interface
	node   string
	log    *slog.Logger

	pods       cache.SharedIndexInformer
	namespaces cache.SharedIndexInformer
}

// Annotations of static pods: kubelet names their cgroup by a hash, and the object that
// stands for one in the API server has another UID.
const staticHash = "kubernetes.io/config.hash"

// NewAPI returns an API that has asked nothing yet.
func NewAPI(config *rest.Config, node string, log *slog.Logger) (*API, error) {
	client, err := typed.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	a := &API{client: client, node: node, log: log}
	mine := fields.OneTermEqualSelector("spec.nodeName", node).String()
	a.pods = cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = mine
			return client.Pods("").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = mine
			return client.Pods("").Watch(ctx, o)
		},
	}, &corev1.Pod{}, 0, cache.Indexers{"uid": func(x any) ([]string, error) {
		if p, ok := x.(*corev1.Pod); ok {
			return []string{uidOf(p)}, nil
		}
		return nil, nil
	}})
	a.namespaces = cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.Namespaces().List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Namespaces().Watch(ctx, o)
		},
	}, &corev1.Namespace{}, 0, cache.Indexers{})
	for _, i := range []cache.SharedIndexInformer{a.pods, a.namespaces} {
		if err := i.SetTransform(slim); err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
		if err := i.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
			log.Warn("pods not watched: what is decided stays", "error", err)
		}); err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
	}
	return a, nil
}

// slim leaves out what nobody here reads: who manages what, and status but for the ids of
// all containers.
func slim(x any) (any, error) {
	switch o := x.(type) {
	case *corev1.Pod:
		kept := corev1.PodStatus{Phase: o.Status.Phase}
		for _, all := range [][]corev1.ContainerStatus{o.Status.ContainerStatuses, o.Status.InitContainerStatuses, o.Status.EphemeralContainerStatuses} {
			for i := range all {
				kept.ContainerStatuses = append(kept.ContainerStatuses, corev1.ContainerStatus{Name: all[i].Name, ContainerID: all[i].ContainerID})
			}
		}
		o.ManagedFields, o.Status = nil, kept
	case *corev1.Namespace:
		o.ManagedFields, o.Annotations = nil, nil
	}
	return x, nil
}

// uidOf returns the UID that the pod's cgroup is named by.
func uidOf(p *corev1.Pod) string {
	if hash := p.Annotations[staticHash]; hash != "" {
		return hash
	}
	return string(p.UID)
}

// run tells r of what changes until ctx is done.
func (a *API) run(ctx context.Context, r *Registry) {
	changed := func(x any) {
		if p, ok := x.(*corev1.Pod); ok {
			r.told(p)
		}
	}
	if _, err := a.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, x any) { changed(x) },
	}); err != nil {
		a.log.Error("pods not followed", "error", err)
		return
	}
	if _, err := a.namespaces.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { r.Look() }, UpdateFunc: func(any, any) { r.Look() },
	}); err != nil {
		a.log.Error("namespaces not followed", "error", err)
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); a.namespaces.RunWithContext(ctx) }()
	a.pods.RunWithContext(ctx)
	<-done
}

// namespace returns the labels of a namespace, and whether they are known.
func (a *API) namespace(name string) (map[string]string, bool) {
	x, found, err := a.namespaces.GetStore().GetByKey(name)
	if err != nil || !found {
		return nil, false
	}
	n, ok := x.(*corev1.Namespace)
	if !ok {
		return nil, false
	}
	return n.Labels, true
}

// has reports whether the API server knows a pod of this node.
func (a *API) has(uid string) bool { return a.find(uid) != nil }

func (a *API) find(uid string) *corev1.Pod {
	all, err := a.pods.GetIndexer().ByIndex("uid", uid)
	if err != nil || len(all) == 0 {
		return nil
	}
	p, _ := all[0].(*corev1.Pod)
	return p
}

// Bounds of how long the start of a pod waits for what the API server knows of it: it
// knew of the pod before the node did, so the informer is late by moments.
const (
	askWithin = 1200 * time.Millisecond // the runtime gives a plugin two seconds
	askEvery  = 20 * time.Millisecond
)

// await returns a pod of which the runtime told, as it is with a container of that name (""
// for any), nil if the API server does not answer in time. What it returns may lack the
// container: then the API server knows of none.
func (a *API) await(ctx context.Context, uid, namespace, name, container string) *corev1.Pod {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for range 10 {
		_, known := a.namespace(namespace)
		if p := a.find(uid); p != nil && known && (container == "" || has(p, container)) {
			return p
		}
		select {
		case <-ctx.Done():
			return a.find(uid)
		case <-time.After(askEvery):
		}
	}
	p, err := a.client.Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil || uidOf(p) != uid || p.Spec.NodeName != a.node {
		return a.find(uid)
	}
	if _, known := a.namespace(namespace); !known {
		if n, err := a.client.Namespaces().Get(ctx, namespace, metav1.GetOptions{}); err == nil {
			a.namespaces.GetStore().Add(n)
		}
	}
	return p
}

// has reports whether a pod has a container of that name.
func has(p *corev1.Pod, container string) bool {
	return slices.ContainsFunc(containersOf(&p.Spec), func(c *corev1.Container) bool { return c.Name == container })
}
