package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/redirect"
)

// An arrival is an accepted connection, by TCP or a unix socket.
type arrival struct {
	fd     int
	origin redirect.Origin
	source netip.AddrPort
	unix   redirect.UnixEndpoint // "": the origin has a destination
	netns  *os.File
}

// to names where the workload wanted to go.
func (a *arrival) to() string {
	if a.unix != "" {
		return "unix:" + string(a.unix)
	}
	return a.origin.Destination.String()
}

// accept takes the connections of one network namespace.
func (r *redirector) accept(l *redirect.Listener, netns *os.File) {
	r.each(func() (*arrival, io.Closer, error) {
		c, err := l.Accept()
		if err != nil {
			return nil, nil, err
		}
		return &arrival{fd: c.FD, origin: c.Origin, source: c.Source, netns: netns}, c, nil
	})
}

// acceptUnix takes those of one unix socket there.
func (r *redirector) acceptUnix(l *redirect.UnixListener, netns *os.File) {
	r.each(func() (*arrival, io.Closer, error) {
		c, err := l.Accept()
		if err != nil {
			return nil, nil, err
		}
		return &arrival{fd: c.FD, origin: c.Origin, unix: c.Endpoint, netns: netns}, c, nil
	})
}

// each handles what next gives, until that is closed.
func (r *redirector) each(next func() (*arrival, io.Closer, error)) {
	for {
		c, owner, err := next()
		if errors.Is(err, redirect.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("accept", "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		r.accepting <- struct{}{}
		r.handling.Go(func() {
			defer func() { <-r.accepting }()
			defer owner.Close()
			if err := r.handle(c); err != nil {
				r.log.Warn("connection dropped", "destination", c.to(), "pid", c.origin.PID, "error", err)
			}
		})
	}
}

var (
	errNoProxy   = errors.New("the proxy process does not run")
	errCrowd     = errors.New("its workload has too many connections")
	errStranger  = errors.New("its cgroup belongs to no workload")
	resolveGrace = 2 * resolveTimeout
)

// firstHub returns the hub of the proxy that runs, nil if none does. Listeners may be there
// a moment before the first one is.
func (r *redirector) firstHub() *hub {
	if h := r.hub.Load(); h != nil {
		return h
	}
	late := time.NewTimer(configTimeout)
	defer late.Stop()
	select {
	case <-r.ready:
	case <-r.ending:
	case <-late.C:
	}
	return r.hub.Load()
}

// handle finds out what a connection is, and hands it to the proxy.
func (r *redirector) handle(c *arrival) error {
	h := r.firstHub()
	if h == nil {
		return errNoProxy
	}
	o := &c.origin
	target, path, ok := r.set.Lookup(o.CgroupID)
	if !ok {
		return errStranger
	}
	facts := identity.Facts{PID: o.PID, UID: o.UID, CgroupID: o.CgroupID, StartTime: o.StartTime}
	p, err := identity.Process(facts)
	if err != nil && !errors.Is(err, identity.ErrGone) {
		r.log.Info("process not identified", "pid", o.PID, "error", err)
	}
	if p.Cgroup == "" {
		p.Cgroup = "/" + filepath.ToSlash(trimMount(path, r.mount))
	}
	a := &channel.Accepted{
		Destination: o.Destination, Unix: string(c.unix), Netns: o.NetnsCookie, Client: c.source, PID: o.PID, UID: o.UID, User: p.User, Exe: p.Exe,
		Cgroup: p.Cgroup, CgroupID: o.CgroupID, At: o.At, Workload: target.Name, Token: target.Token != "",
	}
	g := &granted{destination: o.Destination, unix: c.unix, netns: c.netns}
	rules := r.rules.Load()
	db, host := r.database(rules, c)
	if why := r.podFacts(target.Pod, facts, a, g); why != "" {
		db, a.Reason = nil, why
	}
	switch {
	case a.Reason != "":
	case db != nil:
		a.Fate, a.Database, a.Host = channel.Serve, db.Name, host
		g.provers = rules.due(db, a)
		if db.Pool.Sessions {
			a.Passwords = versions(g.provers)
		}
	case rules.set.Agent().PassUnmatched:
		a.Fate = channel.Pass
	default:
		a.Reason = "no configured database has the address " + c.to()
	}
	if target.Token != "" {
		g.token = &identity.Source{Path: target.Token}
	}
	return h.give(a, g, c.fd)
}

// database returns the Database that a connection is for, and the name under which it is
// configured.
func (r *redirector) database(rules *rules, c *arrival) (*policy.Database, string) {
	if c.unix != "" {
		return rules.matcher.sockets[c.unix], ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveGrace)
	defer cancel()
	return rules.matcher.match(ctx, c.origin.Destination)
}

// socketsUsable refuses endpoints that are unix sockets where they would not be held.
func socketsUsable(set *policy.Set) error {
	for _, db := range set.Databases() {
		for _, e := range db.Endpoints {
			if e.Unix == "" {
				continue
			}
			if !redirect.HasUnix() {
				return fmt.Errorf("%s: endpoint %s: this kernel does not redirect unix sockets (Linux 6.7 does): "+
					"let workloads connect by TCP, and give them no access to the folder of the socket", e.Pos, e)
			}
			if info, err := os.Stat(e.Unix); err == nil && info.IsDir() {
				return fmt.Errorf("%s: endpoint %s is a folder: write the socket in it, such as %s", e.Pos, e, filepath.Join(e.Unix, ".s.PGSQL.5432"))
			}
		}
	}
	return nil
}
