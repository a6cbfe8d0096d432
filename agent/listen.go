package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"sluicegate.io/sluice/agent/channel"
)

// openMetrics opens the socket of /metrics, /healthz and /readyz, if there is to be one.
func (r *redirector) openMetrics() error {
	address := r.rules.Load().set.Agent().Metrics
	if address == "" {
		return nil
	}
	l, err := listenMetrics(address)
	if err != nil {
		return fmt.Errorf("listen for metrics (metrics.listen of kind Agent): %w", err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	r.listeners = append(r.listeners, listening{channel.ForMetrics, f})
	return nil
}

// openAdmin opens the admin socket. Everyone may connect; who is served is decided
// by what the kernel says of the peer.
func (r *redirector) openAdmin() error {
	path := r.rules.Load().set.Agent().Admin.Socket
	l, err := listenUnix("unix", path)
	if err != nil {
		return fmt.Errorf("listen for administrators: %w", err)
	}
	defer l.Close()
	r.names = append(r.names, path)
	f, err := l.File()
	if err != nil {
		return fmt.Errorf("listen for administrators: %w", err)
	}
	r.listeners = append(r.listeners, listening{channel.ForAdmin, f})
	return nil
}

func (r *redirector) closeListeners() {
	r.swap.Lock()
	defer r.swap.Unlock()
	for _, l := range r.listeners {
		l.file.Close()
	}
	r.listeners = nil
}

// withdraw removes the names by which this agent is found. Those of the next one may have
// taken their place later.
func (r *redirector) withdraw() {
	for _, name := range r.names {
		os.Remove(name)
	}
	r.names = nil
}

// listenUnix listens at path, in place of a socket that nobody serves any more.
func listenUnix(network, path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	address := &net.UnixAddr{Name: path, Net: network}
	if c, err := net.DialUnix(network, nil, address); err == nil {
		c.Close()
		return nil, errors.New(path + " is served by another agent")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix(network, address)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// administrators looks up the accounts that kind Agent names.
func (r *redirector) administrators() (users, groups []uint32) {
	a := r.rules.Load().set.Agent().Admin
	for _, name := range a.Users {
		if u, err := user.Lookup(name); err == nil {
			if id, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
				users = append(users, uint32(id))
			}
		}
	}
	for _, name := range a.Groups {
		if g, err := user.LookupGroup(name); err == nil {
			if id, err := strconv.ParseUint(g.Gid, 10, 32); err == nil {
				groups = append(groups, uint32(id))
			}
		}
	}
	return users, groups
}

// closeOn closes c when ctx is done.
func closeOn(ctx context.Context, c interface{ Close() error }) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.Close() })
}
