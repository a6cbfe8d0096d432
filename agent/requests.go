package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/protocol/postgres"
)

// requests is the proxy's end of what it asks the redirector for. It is the
// session.Redirector of all sessions.
type requests struct {
	conn   *channel.Conn
	failed *tally.Names // by what was asked for

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer
	gone    bool
}

type answer struct {
	message channel.Message
	fd      int
}

func newRequests(conn *channel.Conn, failed *tally.Names) *requests {
	return &requests{conn: conn, failed: failed, waiting: make(map[uint64]chan answer)}
}

var (
	errGone    = errors.New("the redirector is gone")
	errRefused = errors.New("the redirector refused")
	errLimited = errors.New("too many requests to the redirector")
)

// ask sends what build makes of a new id, and waits for the answer.
func (q *requests) ask(ctx context.Context, build func(id uint64) channel.Message) (answer, error) {
	c := make(chan answer, 1)
	q.mu.Lock()
	if q.gone {
		q.mu.Unlock()
		return answer{}, errGone
	}
	q.next++
	id := q.next
	q.waiting[id] = c
	q.mu.Unlock()
	if err := q.conn.Send(build(id)); err != nil {
		q.forget(id)
		return answer{}, err
	}
	select {
	case a, ok := <-c:
		if !ok {
			return answer{}, errGone
		}
		return a, nil
	case <-ctx.Done():
		if !q.forget(id) {
			// The answer came at the same moment, and may have brought a socket.
			if a, ok := <-c; ok && a.fd >= 0 {
				unix.Close(a.fd)
			}
		}
		return answer{}, ctx.Err()
	}
}

func (q *requests) forget(id uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.waiting[id]
	delete(q.waiting, id)
	return ok
}

// answered hands an answer to who waits for it. It never blocks.
func (q *requests) answered(id uint64, a answer) {
	q.mu.Lock()
	c := q.waiting[id]
	delete(q.waiting, id)
	q.mu.Unlock()
	if c == nil {
		if a.fd >= 0 {
			unix.Close(a.fd)
		}
		return
	}
	c <- a
}

// close tells all who wait that nobody will answer.
func (q *requests) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	for id, c := range q.waiting {
		close(c)
		delete(q.waiting, id)
	}
}

// outcome makes an error of what is not Done.
func outcome(c channel.Code, text string) error {
	switch c {
	case channel.Done:
		return nil
	case channel.Refused:
		return errRefused
	case channel.Limited:
		return errLimited
	case channel.Timeout:
		return fmt.Errorf("%s: %w", text, os.ErrDeadlineExceeded)
	}
	return errors.New(text)
}

// Dial implements session.Redirector.
func (q *requests) Dial(ctx context.Context, conn uint64) (net.Conn, error) {
	return q.dial(ctx, channel.Dial{Reach: channel.ToDatabase, Conn: conn})
}

func (q *requests) dial(ctx context.Context, d channel.Dial) (net.Conn, error) {
	a, err := q.ask(ctx, func(id uint64) channel.Message { d.ID = id; return &d })
	if err != nil {
		return nil, err
	}
	m, ok := a.message.(*channel.Dialled)
	if !ok {
		return nil, errRefused
	}
	if err := outcome(m.Code, m.Text); err != nil {
		q.failed.Add("dial", 1)
		return nil, err
	}
	return netConn(a.fd)
}

// netConn makes a net.Conn of a connected socket, which it owns.
func netConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	return net.FileConn(f)
}

// Token implements session.Redirector.
func (q *requests) Token(ctx context.Context, conn uint64) ([]byte, uint64, error) {
	a, err := q.ask(ctx, func(id uint64) channel.Message { return &channel.ReadToken{ID: id, Conn: conn} })
	if err != nil {
		return nil, 0, err
	}
	m, ok := a.message.(*channel.Token)
	if !ok {
		return nil, 0, errRefused
	}
	if err := outcome(m.Code, m.Text); err != nil {
		q.failed.Add("token", 1)
		return nil, 0, err
	}
	raw, err := channel.ReadMemory(a.fd)
	return raw, m.Version, err
}

// Prove implements session.Redirector.
func (q *requests) Prove(conn uint64, credential string) postgres.Authenticator {
	return &proofs{q, conn, credential}
}

// proofs are a postgres.Authenticator: the password is not in this process.
type proofs struct {
	q          *requests
	conn       uint64
	credential string
}

func (p *proofs) ask(ctx context.Context, m channel.Prove) (*channel.Proved, error) {
	m.Conn, m.Credential = p.conn, p.credential
	a, err := p.q.ask(ctx, func(id uint64) channel.Message { m.ID = id; return &m })
	if err != nil {
		return nil, err
	}
	proved, ok := a.message.(*channel.Proved)
	if !ok {
		return nil, errRefused
	}
	err = outcome(proved.Code, proved.Text)
	if err != nil {
		p.q.failed.Add("proof", 1)
	}
	return proved, err
}

// SCRAM implements postgres.Authenticator.
func (p *proofs) SCRAM(ctx context.Context, salt []byte, iterations int, authMessage []byte) (proof, serverSignature []byte, err error) {
	m, err := p.ask(ctx, channel.Prove{Method: channel.SCRAM, Salt: salt, Iterations: uint32(iterations), AuthMessage: authMessage})
	if err != nil {
		return nil, nil, err
	}
	return m.Proof, m.Signature, nil
}

// MD5 implements postgres.Authenticator.
func (p *proofs) MD5(ctx context.Context, salt [4]byte) (string, error) {
	m, err := p.ask(ctx, channel.Prove{Method: channel.MD5, Salt: salt[:]})
	if err != nil {
		return "", err
	}
	return m.Answer, nil
}

// Cleartext implements postgres.Authenticator.
func (p *proofs) Cleartext(ctx context.Context) (string, error) {
	m, err := p.ask(ctx, channel.Prove{Method: channel.Cleartext})
	if err != nil {
		return "", err
	}
	return m.Answer, nil
}

// issuerClient speaks to the index-th issuer, and to nobody else: whatever host a
// URL names, the redirector connects to the issuer's.
func (q *requests) issuerClient(index int, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return q.dial(ctx, channel.Dial{Reach: channel.ToIssuer, Index: uint32(index)})
			},
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			IdleConnTimeout: 30 * time.Second, MaxConnsPerHost: 4, ForceAttemptHTTP2: true,
		},
	}
}
