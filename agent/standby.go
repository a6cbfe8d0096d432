package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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
// between them. Ready is one whose proxy has taken the configuration: another one must not
// take the place of an agent that serves.
func (r *redirector) standBy(ctx context.Context) error {
	a := r.rules.Load().set.Agent()
	pin := filepath.Join(a.BPF, "agent")
	if !redirect.Held(pin) {
		return nil
	}
	r.log.Info("another agent runs on this host: starting a proxy to take over with")
	if err := r.prepareProxy(ctx); err != nil {
		return err
	}
	if err := r.enterLine(); err != nil {
		r.log.Warn("connections will be refused between its end and the start of this one", "error", err)
	}
	if l, err := listenMetrics(a.Metrics); err == nil {
		defer closeOn(ctx, l)()
		defer l.Close()
		r.handling.Go(func() { sayReady(l) })
	} else if a.Metrics != "" {
		r.log.Info("probes are not answered while waiting", "error", err)
	}
	r.sayStarted()
	r.log.Info("another agent runs on this host: waiting until it ends")
	tick := time.NewTicker(standbyEvery)
	defer tick.Stop()
	told := time.Now()
	for redirect.Held(pin) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.prepared.gone:
			p := r.prepared
			r.prepared = nil
			return fmt.Errorf("stand by: %w", errors.Join(errEnded, p.err, p.finish()))
		case <-tick.C:
		}
		if time.Since(told) > standbyTold {
			told = time.Now()
			r.log.Warn("another agent still runs on this host: this one does nothing until it ends")
		}
	}
	// What is configured may have changed meanwhile. What can't be read now, or is refused,
	// changes nothing, as with an agent that serves: what the proxy has taken holds.
	now, err := r.read(ctx)
	if err != nil {
		r.log.Warn("configuration not read again", "error", err)
		return nil
	}
	if err := r.take(ctx, r.prepared, now); err != nil && ctx.Err() == nil && !r.prepared.over() {
		r.fail(err)
	}
	return nil
}

// prepareProxy starts the proxy that will serve, and has it take the configuration.
func (r *redirector) prepareProxy(ctx context.Context) error {
	p, err := r.startProxy(ctx)
	if err != nil {
		return err
	}
	if err := r.take(ctx, p, r.rules.Load()); err != nil {
		return fmt.Errorf("start proxy: %w", errors.Join(err, p.finish()))
	}
	r.prepared = p
	return nil
}

// take puts rules in force with a proxy that stands by, unless it has the same.
func (r *redirector) take(ctx context.Context, p *process, rules *rules) (err error) {
	ctx, stop := p.while(ctx)
	defer stop()
	if p.rules == nil || !bytes.Equal(p.rules.bundle, rules.bundle) {
		if rules, err = r.negotiate(ctx, rules, p.hub); err != nil {
			return err
		}
	}
	p.rules = rules
	r.rules.Store(rules)
	return nil
}

// sayStarted holds the file that tells probes that this agent serves or stands by. What
// answers at the port of the host may be another one.
func (r *redirector) sayStarted() {
	if r.o.Started == "" || r.startedFile != nil {
		return
	}
	var err error
	if r.startedFile, err = hold(r.o.Started); err != nil {
		r.log.Error("probes are not told that this agent has started", "error", err)
	}
}

// Started reports whether the agent that was given path as [Options.Started] serves or
// stands by.
func Started(path string) bool { return held(path) }

// lineFile, in the run directory, is locked by an agent that waits to take over: the one
// that it waits for goes on to accept until it has.
const lineFile = "standby.lock"

const (
	// takeOver is how long a listening agent waits for the next one to listen in its place:
	// less than a second, but on a machine that is busy. Who waits goes on to serve.
	takeOver = 2 * time.Minute

	// takenGrace is how long the sessions that began while the agent lingered may take to end
	// when another agent has taken over. They are not told of policies that change meanwhile.
	takenGrace = 10 * time.Second

	// The chart leaves a pod time for both (sluice.grace).
)

func (r *redirector) enterLine() (err error) {
	r.line, err = hold(r.succession)
	return err
}

// hold makes a file that [held] reports until it is closed, or its process has ended.
func hold(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; err == unix.EINTR; { // who asks has the lock for a moment
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// held reports whether a process holds the file.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func (r *redirector) leaveLine() {
	if r.line != nil {
		r.line.Close()
	}
	r.line = nil
}

// succeeded reports whether an agent waits to take over.
func (r *redirector) succeeded() bool {
	return r.succession != "" && held(r.succession)
}

// leave closes the listeners. If another agent waits to take over, it lets it do so before:
// each connection finds one of the two.
func (r *redirector) leave() {
	if r.succeeded() {
		r.withdraw()
		r.closeListeners()
		began := time.Now()
		if err := r.kernel.Yield(); err != nil {
			r.log.Warn("connections are refused until the next agent runs", "error", err)
		} else {
			// A handshake that began before gets to the queue a moment later.
			for looks := 0; looks < 5 && time.Since(began) < takeOver; time.Sleep(standbyEvery) {
				if looks++; !r.set.Replaced() {
					looks = 0
				}
			}
			if after := time.Since(began).Round(time.Millisecond); r.set.Replaced() {
				r.grace = takenGrace
				r.log.Info("the next agent has taken over", "after", after)
			} else {
				r.log.Warn("the next agent does not listen everywhere yet: connections are refused until it does", "after", after)
			}
		}
	}
	r.set.Close()
	for range 100 { // what was accepted gets to the proxy before it is told to drain
		if len(r.accepting) == 0 {
			break
		}
		time.Sleep(standbyEvery)
	}
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
