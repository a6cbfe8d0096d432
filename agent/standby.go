package agent

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/redirect"
)

const (
	standbyEvery = 10 * time.Millisecond
	standbyTold  = time.Minute

	// standbyProbes are answered at a time.
	standbyProbes = 256
)

// standBy waits until no other agent holds what the kernel runs for this one: a DaemonSet
// that updates has the next pod ready before it ends the last, so that little time is
// between them. Meanwhile probes are told that this one is ready to take over.
func (r *redirector) standBy(ctx context.Context) error {
	a := r.rules.Load().set.Agent()
	pin := filepath.Join(a.BPF, "agent")
	if !redirect.Held(pin) {
		return nil
	}
	r.log.Info("another agent runs on this host: waiting until it ends")
	if l, err := listenMetrics(a.Metrics); err == nil {
		defer closeOn(ctx, l)()
		defer l.Close()
		r.handling.Go(func() { sayReady(l) })
	} else if a.Metrics != "" {
		r.log.Info("probes are not answered while waiting", "error", err)
	}
	tick := time.NewTicker(standbyEvery)
	defer tick.Stop()
	told := time.Now()
	for redirect.Held(pin) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Since(told) > standbyTold {
			told = time.Now()
			r.log.Warn("another agent still runs on this host: this one does nothing until it ends")
		}
	}
	// What is configured may have changed meanwhile. If it can't be read now, what was holds.
	if now, err := r.read(ctx); err == nil {
		r.rules.Store(now)
	} else {
		r.log.Warn("configuration not read again", "error", err)
	}
	return nil
}

// listenMetrics listens beside the agent of which this one takes over.
func listenMetrics(address string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); failed != nil {
			return failed
		}
		return err
	}}
	return config.Listen(context.Background(), "tcp", address)
}

// sayReady answers the probes of kubelet until l is closed. What has root reads no more of
// a request than that.
func sayReady(l net.Listener) {
	room := make(chan struct{}, standbyProbes)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case room <- struct{}{}:
		default: // others than kubelet can reach the port, too
			c.Close()
			continue
		}
		go func() {
			defer func() { c.Close(); <-room }()
			c.SetDeadline(time.Now().Add(time.Second))
			b := make([]byte, 512)
			n, _ := c.Read(b)
			answer := "503 Service Unavailable"
			if bytes.HasPrefix(b[:n], []byte("GET /readyz ")) || bytes.HasPrefix(b[:n], []byte("GET /healthz ")) {
				answer = "200 OK"
			}
			c.Write([]byte("HTTP/1.1 " + answer + "\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nstandby\n"))
		}()
	}
}
