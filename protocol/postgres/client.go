package postgres

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"sluicegate.io/sluice/protocol"
)

// ClientConfig says how a [Client] logs in.
type ClientConfig struct {
	User, Database string
	Auth           Authenticator
	TLS            *tls.Config // nil: plain
	Weakest        AuthMethod
	Settings       []Setting
}

// Client is a connection of our own to a database, for catalog loads and checks.
// It speaks the simple protocol only, and one query at a time.
type Client struct {
	conn   net.Conn
	buf    []byte
	from   int
	values [][]byte
	broken error
}

// clientRowLimit bounds one message that a Client reads.
const clientRowLimit = 64 << 20

// Connect logs in on conn, which it owns from now on.
func Connect(ctx context.Context, conn net.Conn, cfg ClientConfig) (*Client, error) {
	settings := append(append([]Setting(nil), cfg.Settings...), pins...)
	up, err := login(ctx, conn, credentials{user: cfg.User, database: cfg.Database, settings: settings,
		auth: cfg.Auth, tls: cfg.TLS, weakest: cfg.Weakest})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Client{conn: up.conn, buf: up.rest}, nil
}

// Query runs sql, of one or several statements, and calls row for every row of
// every result. The values are in text format, nil for NULL, and valid during
// the call. An error of row ends the query and the connection. An error of the
// server is a [protocol.Refusal] with its SQLSTATE, after which the Client can be
// used again.
func (c *Client) Query(ctx context.Context, sql string, row func(values [][]byte) error) error {
	if c.broken != nil {
		return c.broken
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	err := c.query(sql, row)
	if !stop() {
		c.broken = context.Cause(ctx)
	}
	if c.broken != nil {
		c.conn.Close()
		return fmt.Errorf("query: %w", c.broken)
	}
	return err
}

// query sets broken where the connection cannot be used again.
func (c *Client) query(sql string, row func([][]byte) error) error {
	if _, err := c.conn.Write(appendMessage(nil, 'Q', sql, "\x00", "")); err != nil {
		c.broken = err
		return err
	}
	var failed error
	for {
		kind, body, err := c.next()
		if err != nil {
			c.broken = err
			return err
		}
		switch kind {
		case 'D':
			if failed != nil {
				continue
			}
			if err := c.split(body); err != nil {
				c.broken = err
				return err
			}
			if row == nil {
				continue
			}
			if err := row(c.values); err != nil {
				c.broken = err
				return err
			}
		case 'E':
			failed = &protocol.Refusal{Code: internCode(reportField(body, 'C')), Message: string(reportField(body, 'M'))}
			if fatalReport(body) {
				c.broken = failed
				return failed
			}
		case 'Z':
			return failed
		case 'T', 'C', 'I', 'N', 'S', 'A':
		default:
			c.broken = fmt.Errorf("unexpected message type %q", kind)
			return c.broken
		}
	}
}

// next returns the next message; body is valid until the call after.
func (c *Client) next() (byte, []byte, error) {
	for {
		kind, size, ok := frame(c.buf[c.from:])
		if ok && (size < header || size > clientRowLimit) {
			return 0, nil, errors.New("invalid message length")
		}
		if ok && len(c.buf)-c.from >= size {
			b := c.buf[c.from : c.from+size]
			c.from += size
			return kind, b[header:], nil
		}
		if c.from > 0 {
			c.buf = append(c.buf[:0], c.buf[c.from:]...)
			c.from = 0
		}
		if len(c.buf) == cap(c.buf) {
			c.buf = append(make([]byte, 0, max(16<<10, 2*cap(c.buf))), c.buf...)
		}
		n, err := c.conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n == 0 && err != nil {
			return 0, nil, err
		}
	}
}

var errRow = errors.New("invalid DataRow")

// split sets values to those of a DataRow's body.
func (c *Client) split(b []byte) error {
	if len(b) < 2 {
		return errRow
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	c.values = c.values[:0]
	for range n {
		if len(b) < 4 {
			return errRow
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < 0 {
			c.values = append(c.values, nil)
			continue
		}
		if size > len(b) {
			return errRow
		}
		c.values = append(c.values, b[:size:size])
		b = b[size:]
	}
	return nil
}

// Close ends the connection.
func (c *Client) Close() error {
	if c.broken == nil {
		c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		c.conn.Write(terminateMessage)
	}
	return c.conn.Close()
}
