package corpus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A Target is where a case runs.
type Target struct {
	Dial     func(ctx context.Context) (net.Conn, error)
	Database string
	// User is the role in the startup packet, "" for the case's own.
	User string
	// Replace is applied to texts: $DB, $TMP, and the port that some cases name.
	Replace *strings.Replacer
	// OID resolves a regprocedure for via=fcall, on a connection of its own.
	OID func(function string) (uint32, error)
}

// Run sends a case's messages and returns what came back. An error means that
// the case could not be run; refusals are in the Transcript.
//
// The ways to send a text are those of bypass.sql: simple; ext (Parse, Bind,
// Describe, Execute); extbin, with binary results; nodesc, without Describe;
// portal, at most one row a time; reparse, under a name that was in use for
// another text; fcall:F, a FunctionCall of F; opt:K=V, simple after a startup
// packet with K=V.
func (c Case) Run(ctx context.Context, t Target) (*Transcript, error) {
	user, params := c.As, map[string]string{}
	if t.User != "" {
		user = t.User
	}
	via, arg, _ := strings.Cut(c.Via, ":")
	if via == "opt" {
		key, value, _ := strings.Cut(arg, "=")
		params[key] = value
	}
	w, err := open(ctx, t, user, params)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for _, text := range c.Messages {
		if w.t.Closed {
			break
		}
		if t.Replace != nil {
			text = t.Replace.Replace(text)
		}
		failed, began := len(w.t.Codes), time.Now()
		switch via {
		case "simple", "opt":
			w.simple(text)
		case "ext":
			w.extended(text, c.Bind, "", true, 0)
		case "extbin":
			w.extended(text, c.Bind, "", true, 1)
		case "nodesc":
			w.extended(text, c.Bind, "", false, 0)
		case "portal":
			w.portal(text, c.Bind)
		case "reparse":
			w.reparse(text, c.Bind)
		case "fcall":
			oid, err := t.OID(arg)
			if err != nil {
				return nil, err
			}
			w.call(oid, c.Bind)
		default:
			return nil, fmt.Errorf("case %s: unknown via %q", c.ID, c.Via)
		}
		if len(w.t.Codes) == failed && time.Since(began) >= slow {
			w.line("SLOW")
		}
	}
	if !w.t.Closed {
		w.drain()
		w.f.Send(&pgproto3.Terminate{})
		w.f.Flush()
	}
	w.t.Text = w.text.String()
	return w.t, nil
}

// finish flushes and notes everything up to ReadyForQuery. A COPY that asks for
// data gets none.
func (c *conn) finish() {
	if c.f.Flush() != nil {
		c.t.Closed = true
	}
	for !c.t.Closed {
		switch c.receive().(type) {
		case *pgproto3.ReadyForQuery:
			return
		case *pgproto3.CopyInResponse:
			c.f.Send(&pgproto3.CopyDone{})
			if c.f.Flush() != nil {
				c.t.Closed = true
			}
		}
	}
}

// drain notes what comes without being asked for, such as a notification.
func (c *conn) drain() {
	c.f.Send(&pgproto3.Sync{})
	c.finish()
}

func (c *conn) simple(text string) {
	c.f.Send(&pgproto3.Query{String: text})
	c.finish()
}

func (c *conn) bind(text, statement string, value *string, format int16) {
	b := &pgproto3.Bind{PreparedStatement: statement, ResultFormatCodes: []int16{format}}
	if value != nil && strings.Contains(text, "$1") {
		b.Parameters = [][]byte{[]byte(*value)}
	}
	c.f.Send(b)
}

func (c *conn) extended(text string, value *string, statement string, describe bool, format int16) {
	c.f.Send(&pgproto3.Parse{Name: statement, Query: text})
	c.bind(text, statement, value, format)
	if describe {
		c.f.Send(&pgproto3.Describe{ObjectType: 'P'})
	}
	c.f.Send(&pgproto3.Execute{})
	c.f.Send(&pgproto3.Sync{})
	c.finish()
}

// portal reads a result one row at a time, as a driver with a fetch size does.
func (c *conn) portal(text string, value *string) {
	c.f.Send(&pgproto3.Parse{Query: text})
	c.bind(text, "", value, 0)
	c.f.Send(&pgproto3.Describe{ObjectType: 'P'})
	for more := true; more && !c.t.Closed; {
		more = false
		c.f.Send(&pgproto3.Execute{MaxRows: 1})
		c.f.Send(&pgproto3.Flush{})
		if c.f.Flush() != nil {
			c.t.Closed = true
		}
	result:
		for !c.t.Closed {
			switch c.receive().(type) {
			case *pgproto3.PortalSuspended:
				more = true
				break result
			case *pgproto3.CommandComplete, *pgproto3.ErrorResponse, *pgproto3.EmptyQueryResponse:
				break result
			}
		}
	}
	c.f.Send(&pgproto3.Sync{})
	c.finish()
}

// reparse uses a statement name for something harmless first.
func (c *conn) reparse(text string, value *string) {
	const name = "s1"
	c.extended("SELECT name FROM app.customers WHERE id=1", nil, name, true, 0)
	c.f.Send(&pgproto3.Close{ObjectType: 'S', Name: name})
	c.extended(text, value, name, false, 0)
}

// call sends the FunctionCall message.
func (c *conn) call(oid uint32, value *string) {
	m := &pgproto3.FunctionCall{Function: oid}
	if value != nil {
		m.ArgFormatCodes, m.Arguments = []uint16{0}, [][]byte{[]byte(*value)}
	}
	c.f.Send(m)
	c.finish()
}

func asNetError(err error, to *net.Error) bool { return errors.As(err, to) }
