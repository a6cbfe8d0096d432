package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// ClientConfig says how a [Client] logs in.
type ClientConfig struct {
	User, Database string
	Auth           Authenticator
	TLS            *tls.Config // nil: plain
	Cleartext      bool
	Settings       []Setting
}

// Client is a connection of our own to a database, for catalog loads and checks.
// It speaks the simple protocol only, and one query at a time.
type Client struct{ conn net.Conn }

// Connect logs in on conn, which it owns from now on.
func Connect(ctx context.Context, conn net.Conn, cfg ClientConfig) (*Client, error) {
	conn.Close()
	return nil, errors.New("connect: not there yet")
}

// Query runs sql, of one or several statements, and calls row for every row of
// every result. The values are in text format, nil for NULL, and valid during
// the call. An error of row ends the query and the connection.
func (c *Client) Query(ctx context.Context, sql string, row func(values [][]byte) error) error {
	return errors.New("query: not there yet")
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
