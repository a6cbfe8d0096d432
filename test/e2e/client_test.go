package e2e_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"sluicegate.io/sluice/test/sluicetest"
)

func TestMain(m *testing.M) { sluicetest.Main(m) }

// wire is a raw connection, for what no driver would send.
type wire struct {
	net.Conn
	t *testing.T
	f *pgproto3.Frontend
}

// answer is what came until ReadyForQuery, or until the end.
type answer struct {
	codes, texts []string
	rows         int
	tags         []string
	closed       bool
}

func (a answer) code() string {
	if len(a.codes) == 0 {
		return ""
	}
	return a.codes[len(a.codes)-1]
}

func (a answer) String() string {
	return fmt.Sprintf("codes %v %q, %d rows, tags %v, closed %v", a.codes, a.texts, a.rows, a.tags, a.closed)
}

// dial connects through s without saying anything yet.
func dial(t *testing.T, s *sluicetest.Sluice, address string) *wire {
	t.Helper()
	c, err := s.Dial(context.Background(), address)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return newWire(t, c)
}

func newWire(t *testing.T, c net.Conn) *wire { return &wire{c, t, pgproto3.NewFrontend(c, c)} }

// login sends the startup message and reads the answer.
func (w *wire) login(user, database, password string) answer {
	w.t.Helper()
	w.f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{"user": user, "database": database}})
	w.flush()
	return w.read(password)
}

func (w *wire) flush() {
	w.t.Helper()
	if err := w.f.Flush(); err != nil && !errors.Is(err, net.ErrClosed) {
		w.t.Logf("flush: %v", err)
	}
}

// read reads until ReadyForQuery or the end. The password is for who asks.
func (w *wire) read(password string) answer {
	w.t.Helper()
	var a answer
	for {
		m, err := w.f.Receive()
		if err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				w.t.Fatal("no answer in time")
			}
			a.closed = true
			return a
		}
		switch m := m.(type) {
		case *pgproto3.AuthenticationCleartextPassword:
			w.f.Send(&pgproto3.PasswordMessage{Password: password})
			w.flush()
		case *pgproto3.ErrorResponse:
			a.codes = append(a.codes, m.Code)
			a.texts = append(a.texts, strings.Join([]string{m.Message, m.Detail, m.Hint}, " "))
		case *pgproto3.DataRow:
			a.rows++
		case *pgproto3.CommandComplete:
			a.tags = append(a.tags, string(m.CommandTag))
		case *pgproto3.ReadyForQuery:
			return a
		}
	}
}

func (w *wire) query(sql string) answer {
	w.t.Helper()
	w.f.Send(&pgproto3.Query{String: sql})
	w.flush()
	return w.read("")
}

// raw writes bytes as they are.
func (w *wire) raw(b []byte) {
	w.t.Helper()
	if _, err := w.Write(b); err != nil {
		w.t.Logf("write: %v", err)
	}
}

// frame returns a message with its type and length.
func frame(kind byte, body string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(b, body...)
}

// session is dial and a login that has to work.
func session(t *testing.T, s *sluicetest.Sluice, address, database string) *wire {
	t.Helper()
	w := dial(t, s, address)
	if a := w.login("app_rw", database, "placeholder"); a.closed || len(a.codes) > 0 {
		t.Fatalf("login: %v", a)
	}
	return w
}

// goesOn checks that the agent still serves others.
func goesOn(t *testing.T, s *sluicetest.Sluice, address, database string) {
	t.Helper()
	w := session(t, s, address, database)
	if a := w.query("SELECT name FROM app.customers WHERE id = 1"); a.rows != 1 {
		t.Errorf("the agent does not go on: %v", a)
	}
	w.Close()
}
