package corpus

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// patience bounds the wait for the answer to one message.
const patience = 20 * time.Second

// slow is the answer time from which on a statement that succeeded is called SLOW.
const slow = 240 * time.Millisecond

// conn is one raw connection and the text of everything that came back on it.
type conn struct {
	net.Conn
	f    *pgproto3.Frontend
	text strings.Builder
	t    *Transcript
}

// A Transcript is what a server said during a case.
type Transcript struct {
	// Text has one line a backend message (values may hold more line ends):
	//
	//	DataRow|value|value       NULL is \N; binary values as they are
	//	CopyData text
	//	CommandComplete TAG
	//	ErrorResponse ERROR SQLSTATE=42501 text DETAIL=... HINT=... and the other fields
	//	NoticeResponse NOTICE SQLSTATE=00000 text ...
	//	NotificationResponse channel payload
	//	ParameterStatus name=value
	//	FunctionCallResponse value
	//	RowDescription name name
	//	SLOW                      the message before took long, and did not fail
	Text   string
	Rows   int      // DataRow and CopyData messages
	Codes  []string // SQLSTATE of each error
	Errors []string // their messages
	Closed bool     // the server ended the connection
}

// open connects and logs in. A refused login is a transcript with an error, not
// an error.
func open(ctx context.Context, t Target, user string, params map[string]string) (*conn, error) {
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, f: pgproto3.NewFrontend(nc, nc), t: &Transcript{}}
	all := map[string]string{"user": user, "database": t.Database}
	for k, v := range params {
		all[k] = v
	}
	c.f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: all})
	if err := c.f.Flush(); err != nil {
		nc.Close()
		return nil, err
	}
	for !c.t.Closed {
		switch m := c.receive().(type) {
		case *pgproto3.AuthenticationCleartextPassword:
			c.f.Send(&pgproto3.PasswordMessage{Password: "placeholder"})
			if err := c.f.Flush(); err != nil {
				c.t.Closed = true
			}
		case *pgproto3.ErrorResponse:
			c.t.Closed = true
		case *pgproto3.ReadyForQuery:
			return c, nil
		case pgproto3.AuthenticationResponseMessage:
			if _, ok := m.(*pgproto3.AuthenticationOk); !ok {
				nc.Close()
				return nil, fmt.Errorf("asked for %T", m)
			}
		}
	}
	return c, nil
}

// receive returns the next message after noting it, nil when there is none.
func (c *conn) receive() pgproto3.BackendMessage {
	c.SetReadDeadline(time.Now().Add(patience))
	m, err := c.f.Receive()
	if err != nil {
		if ne := net.Error(nil); asNetError(err, &ne) && ne.Timeout() {
			c.line("TIMEOUT")
		}
		c.t.Closed = true
		return nil
	}
	c.note(m)
	return m
}

func (c *conn) line(parts ...string) { c.text.WriteString(strings.Join(parts, " ") + "\n") }

// note writes m down as Transcript.Text says.
func (c *conn) note(m pgproto3.BackendMessage) {
	switch m := m.(type) {
	case *pgproto3.DataRow:
		c.t.Rows++
		row := "DataRow"
		for _, v := range m.Values {
			if v == nil {
				v = []byte(`\N`)
			}
			row += "|" + string(v)
		}
		c.line(row)
	case *pgproto3.CopyData:
		c.t.Rows++
		c.line("CopyData", strings.TrimSuffix(string(m.Data), "\n"))
	case *pgproto3.CommandComplete:
		c.line("CommandComplete", string(m.CommandTag))
	case *pgproto3.ErrorResponse:
		c.t.Codes = append(c.t.Codes, m.Code)
		c.t.Errors = append(c.t.Errors, m.Message)
		c.line("ErrorResponse", fields(m))
	case *pgproto3.NoticeResponse:
		e := pgproto3.ErrorResponse(*m)
		c.line("NoticeResponse", fields(&e))
	case *pgproto3.NotificationResponse:
		c.line("NotificationResponse", m.Channel, m.Payload)
	case *pgproto3.ParameterStatus:
		c.line("ParameterStatus", m.Name+"="+m.Value)
	case *pgproto3.FunctionCallResponse:
		c.line("FunctionCallResponse", string(m.Result))
	case *pgproto3.RowDescription:
		line := "RowDescription"
		for _, f := range m.Fields {
			line += " " + string(f.Name)
		}
		c.line(line)
	}
}

// fields returns every field of an error or notice.
func fields(m *pgproto3.ErrorResponse) string {
	s := m.Severity + " SQLSTATE=" + m.Code + " " + m.Message
	for _, f := range []struct{ name, value string }{
		{"DETAIL", m.Detail}, {"HINT", m.Hint}, {"WHERE", m.Where}, {"INTERNAL", m.InternalQuery},
		{"SCHEMA", m.SchemaName}, {"TABLE", m.TableName}, {"COLUMN", m.ColumnName},
		{"TYPE", m.DataTypeName}, {"CONSTRAINT", m.ConstraintName},
	} {
		if f.value != "" {
			s += " " + f.name + "=" + f.value
		}
	}
	for k, v := range m.UnknownFields {
		s += fmt.Sprintf(" %c=%s", k, v)
	}
	return s
}
