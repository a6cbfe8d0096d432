package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	leaseName = "sluice-status"
	// roundEvery is how often the leader compares status with reports, and roundWrites how
	// many it writes at most in one round. What is left over comes next.
	roundEvery  = 5 * time.Second
	roundWrites = 100
	// forgetAfter is when the report of a node that is gone is deleted.
	forgetAfter = time.Hour
)

// lead writes the status of all objects while this node holds the lease. One writer
// means that nobody fights, and that no status grows with the number of nodes.
func (s *Source) lead(ctx context.Context) {
	client, err := coordination.NewForConfig(s.o.Client)
	if err != nil {
		s.log.Error("no status is written by this node", "error", err)
		return
	}
	lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Namespace: s.o.Namespace, Name: leaseName},
		Client: client, LockConfig: resourcelock.ResourceLockConfig{Identity: s.o.Node}}
	for ctx.Err() == nil {
		le, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
			ReleaseOnCancel: true, Name: leaseName,
			Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: s.rounds, OnStoppedLeading: func() {}}})
		if err != nil {
			s.log.Error("no status is written by this node", "error", err)
			return
		}
		le.Run(ctx) // returns when the lease is lost
	}
}

// rounds writes status until ctx is done.
func (s *Source) rounds(ctx context.Context) {
	s.log.Info("this node writes the status of objects")
	factory := dynamicinformer.NewDynamicSharedInformerFactory(s.dynamic, 0)
	defer factory.Shutdown()
	informer := factory.ForResource(NodeReport().Resource()).Informer()
	if err := informer.SetTransform(trim); err != nil {
		s.log.Error("watch reports", "error", err)
		return
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return
	}
	tick := time.NewTicker(roundEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.synced:
			s.round(ctx, informer.GetStore())
		default: // what the API server has is not known yet
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round compares once.
func (s *Source) round(ctx context.Context, reports cache.Store) {
	now := time.Now()
	known := map[string]Report{}
	for _, x := range reports.List() {
		u, ok := x.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		var r Report
		if err := typed(u.Object["report"], &r); err != nil {
			continue
		}
		if now.Sub(r.Time) > forgetAfter {
			s.forget(ctx, u.GetName())
			continue
		}
		known[u.GetName()] = r
	}
	newest, good, refused := s.objects.standing()
	// Of this node nobody knows better than we.
	known[s.o.Node] = s.tell(now)
	sum := summarize(known, digest(good), now)
	writes := 0
	for k, v := range newest {
		var r *Refusal
		if f, ok := refused[k]; ok {
			r = &f
		}
		next := sum.status(v, good[k], r, s.current.Load(), now)
		var old Status
		if x, ok, _ := s.stores[k.Kind].GetByKey(k.Name); ok {
			if u, ok := x.(*unstructured.Unstructured); ok {
				if string(u.GetUID()) != v.UID {
					continue // it is being replaced
				}
				if err := typed(u.Object["status"], &old); err != nil {
					old = Status{}
				}
			}
		}
		next.since(old, now)
		if reflect.DeepEqual(next, old) {
			continue
		}
		if writes++; writes > roundWrites || ctx.Err() != nil {
			return
		}
		if err := s.write(ctx, v, next); err != nil {
			s.log.Warn("status not written", "kind", k.Kind, "name", k.Name, "error", err)
			continue
		}
		s.event(ctx, v, old.condition(Accepted), next.condition(Accepted), now)
	}
}

// write replaces the status of one object by server-side apply.
func (s *Source) write(ctx context.Context, v *version, st Status) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	status, err := untyped(st)
	if err != nil {
		return err
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Group + "/" + Version, "kind": v.Kind,
		"metadata": map[string]any{"name": v.Name, "uid": v.UID}, "status": status}}
	_, err = s.dynamic.Resource(resourceOf(v.Kind)).ApplyStatus(ctx, v.Name, obj, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it was deleted, or replaced
	}
	return err
}

func resourceOf(kind string) schema.GroupVersionResource {
	for _, k := range Kinds() {
		if k.Name == kind {
			return k.Resource()
		}
	}
	return schema.GroupVersionResource{}
}

// forget deletes the report of a node that has long been silent.
func (s *Source) forget(ctx context.Context, node string) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := s.dynamic.Resource(NodeReport().Resource()).Delete(ctx, node, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.log.Warn("report of a silent node not deleted", "node", node, "error", err)
	}
}

// event tells who looks at the object, or at events, that it is not in force, or is
// again. Others' words are in the status.
func (s *Source) event(ctx context.Context, v *version, old, next Condition, now time.Time) {
	kind := "Warning"
	switch {
	case next.Status == "False" && (old.Status != "False" || old.Message != next.Message):
	case next.Status == "True" && old.Status == "False":
		kind = "Normal"
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	at := now.UTC().Format(time.RFC3339)
	_, err := s.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace("default").Create(ctx,
		&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Event",
			"metadata":       map[string]any{"generateName": v.Name + ".", "namespace": "default"},
			"involvedObject": map[string]any{"apiVersion": Group + "/" + Version, "kind": v.Kind, "name": v.Name, "uid": v.UID},
			"reason":         next.Reason, "message": fmt.Sprintf("generation %d: %s", v.Generation, next.Message), "type": kind,
			"source":         map[string]any{"component": manager, "host": s.o.Node},
			"firstTimestamp": at, "lastTimestamp": at, "count": int64(1),
		}}, metav1.CreateOptions{})
	if err != nil {
		s.log.Debug("event not written", "error", err)
	}
}

// typed reads what JSON would be.
func typed(from, to any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}
