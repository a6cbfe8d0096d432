package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/enroll/cluster"
	"sluicegate.io/sluice/policy"
)

// patience is how long a starting agent waits for the API server before it goes on
// with what its disk has of the cluster's objects.
const patience = 10 * time.Second

// maxTakenBack bounds how many objects are taken back, one after the other, before a
// configuration is refused as a whole.
const maxTakenBack = 20

var errTakenBack = errors.New("too many objects of the cluster can't be put in force")

// openCluster makes the source of what the cluster holds, if kind Agent wants it, and
// waits until something of it is known: who does not know yet what to guard must not
// say that it is ready. The source runs until ctx is done; r.handling waits for it.
func (r *redirector) openCluster(ctx context.Context) error {
	k := r.rules.Load().set.Agent().Kubernetes
	if k == nil || k.NoResources {
		return nil
	}
	o, err := cluster.Options{Dir: r.state.dir, Version: r.o.Version, Log: r.log}.Connect(k)
	if err != nil {
		return err
	}
	o.Pods, o.Serving = r.podsTold, r.serving
	c, err := cluster.New(o)
	if err != nil {
		return err
	}
	r.handling.Go(func() {
		if err := c.Run(ctx); err != nil {
			r.log.Error("objects of the cluster are not followed", "error", err)
		}
	})
	if err := c.Await(ctx, patience); err != nil {
		return err
	}
	r.cluster = c
	first, err := r.read(ctx)
	if err != nil {
		return err
	}
	r.rules.Store(first)
	return nil
}

// clusterChanged is sent to when the cluster's objects changed. It is nil without a cluster.
func (r *redirector) clusterChanged() <-chan struct{} {
	if r.cluster == nil {
		return nil
	}
	return r.cluster.Changed()
}

// negotiate puts rules in force with a proxy. An object of the cluster that can't be is
// taken back, and the rest tried again.
func (r *redirector) negotiate(ctx context.Context, next *rules, h *hub) (*rules, error) {
	for range maxTakenBack {
		err := h.configure(ctx, next)
		if err == nil || next.candidate == nil || ctx.Err() != nil {
			return next, err
		}
		if !r.cluster.Refuse(next.candidate, err) {
			return nil, err
		}
		if next, err = r.read(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errTakenBack
}

// inForce notes that rules are in force.
func (r *redirector) inForce(n *rules) {
	if n.candidate != nil {
		r.cluster.InForce(n.candidate)
	}
}

// secretSource returns where the password of a Secret comes from. Without a cluster
// there is none, and the error says so at each login.
func (r *redirector) secretSource(ref policy.SecretKey) *credential.Remote {
	if r.cluster == nil {
		return &credential.Remote{What: "secret " + ref.String(), Get: func(context.Context) ([]byte, error) {
			return nil, fmt.Errorf("this agent knows no cluster; see kubernetes in kind Agent: %w", credential.ErrNone)
		}}
	}
	return r.cluster.Secrets().Source(ref)
}

// authorities adds what Databases name in Secrets. One that can't be read is left out:
// sessions of that Database are refused, and nothing else.
func (r *redirector) authorities(ctx context.Context, set *policy.Set, b *channel.Bundle) {
	missing := map[string]string{}
	for _, db := range set.Databases() {
		ref := db.TLS.CASecret
		if ref == nil {
			continue
		}
		err := errors.New("this agent knows no cluster; see kubernetes in kind Agent")
		if r.cluster != nil {
			var data []byte
			if data, err = r.cluster.Secrets().File(ctx, *ref); err == nil {
				b.Material[db.TLS.CA()] = data
			}
		}
		if err != nil {
			missing[db.Name] = err.Error()
		}
	}
	r.noCA.Store(&missing)
}
