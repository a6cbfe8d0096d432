package postgres

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"sluicegate.io/sluice/protocol"
)

// Codes in the place of a protocol version.
const (
	cancelCode = 1234<<16 | 5678
	sslCode    = 1234<<16 | 5679
	gssCode    = 1234<<16 | 5680
)

const (
	version30 = 3 << 16
	version32 = 3<<16 | 2

	// startupLimit is PostgreSQL's own, MAX_STARTUP_PACKET_LENGTH.
	startupLimit = 10000
)

// hello is what a connection began with.
type hello struct {
	conn    net.Conn // with TLS if there is
	startup *Startup
	version uint32 // to speak
	cancel  []byte // body of a CancelRequest behind its code; startup is nil then
	leaf    *tls.Certificate
	bound   bool // TLS
}

var errClosedEarly = errors.New("closed before a startup packet")

// greet reads the startup packet, and all that may come before it.
func (s *Server) greet(ctx context.Context, a Accepted) (*hello, error) {
	h := &hello{conn: a.Conn}
	h.conn.SetReadDeadline(time.Now().Add(s.opts.StartupTimeout))
	defer func() { h.conn.SetReadDeadline(time.Time{}) }()
	var first [8]byte
	if _, err := io.ReadFull(h.conn, first[:1]); err != nil {
		return h, errClosedEarly
	}
	have := 1
	if first[0] == 0x16 { // a TLS ClientHello: direct negotiation
		if a.TLS == nil {
			return h, errors.New("direct TLS, and there is none")
		}
		h.conn = &prefixed{Conn: h.conn, prefix: first[:1:1]}
		if err := h.encrypt(ctx, a.TLS); err != nil {
			return h, err
		}
		if h.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != alpn {
			return h, errors.New("direct TLS without ALPN postgresql")
		}
		have = 0
	}
	asked := map[uint32]bool{}
	for {
		if _, err := io.ReadFull(h.conn, first[have:]); err != nil {
			return h, errClosedEarly
		}
		have = 0
		size := binary.BigEndian.Uint32(first[:])
		code := binary.BigEndian.Uint32(first[4:])
		if size < 8 || size > startupLimit {
			return h, s.turnDown(h, &protocol.Refusal{Code: "08P01", Message: "invalid length of startup packet"})
		}
		if (code == sslCode || code == gssCode) && size == 8 {
			if asked[code] {
				return h, s.turnDown(h, &protocol.Refusal{Code: "08P01", Message: "encryption was asked for twice"})
			}
			asked[code] = true
			if code == gssCode || a.TLS == nil || h.bound {
				if _, err := h.conn.Write([]byte{'N'}); err != nil {
					return h, errClosedEarly
				}
				continue
			}
			if _, err := h.conn.Write([]byte{'S'}); err != nil {
				return h, errClosedEarly
			}
			if err := h.encrypt(ctx, a.TLS); err != nil {
				return h, err
			}
			continue
		}
		body := make([]byte, size-8)
		if _, err := io.ReadFull(h.conn, body); err != nil {
			return h, errClosedEarly
		}
		if code == cancelCode {
			if len(body) < 8 || len(body) > 260 {
				return h, errors.New("invalid CancelRequest")
			}
			h.cancel = body
			return h, nil
		}
		return h, s.decode(h, code, body)
	}
}

// decode decodes a startup packet of version and body.
func (s *Server) decode(h *hello, version uint32, body []byte) error {
	if version>>16 != 3 {
		return s.turnDown(h, &protocol.Refusal{Code: "0A000",
			Message: fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", version>>16, version&0xffff)})
	}
	h.version = min(version, version32)
	st, unknown, why := parseStartup(body)
	if why != nil {
		return s.turnDown(h, why)
	}
	st.Version = version
	st.TLS = h.bound
	if t, ok := h.conn.(*tls.Conn); ok {
		st.ServerName = t.ConnectionState().ServerName
	}
	h.startup = st
	if version > version32 || len(unknown) > 0 {
		msg := binary.BigEndian.AppendUint32(nil, h.version)
		msg = binary.BigEndian.AppendUint32(msg, uint32(len(unknown)))
		for _, name := range unknown {
			msg = append(append(msg, name...), 0)
		}
		if _, err := h.conn.Write(appendMessage(nil, 'v', msg, "", "")); err != nil {
			return errClosedEarly
		}
	}
	return nil
}

// parseStartup decodes the parameters of a startup packet. unknown are protocol
// options (_pq_.*), of which there are none that we know.
func parseStartup(body []byte) (st *Startup, unknown []string, why *protocol.Refusal) {
	st = &Startup{}
	var options []Setting
	bad := &protocol.Refusal{Code: "08P01", Message: "invalid startup packet layout: expected terminator as last byte"}
	for {
		if len(body) == 0 {
			return nil, nil, bad
		}
		if body[0] == 0 {
			if len(body) != 1 {
				return nil, nil, bad
			}
			break
		}
		n, rest, ok := cstring(body)
		v, rest2, ok2 := cstring(rest)
		if !ok || !ok2 {
			return nil, nil, bad
		}
		body = rest2
		name, value := string(n), string(v)
		if !utf8.Valid(n) || !utf8.Valid(v) {
			return nil, nil, &protocol.Refusal{Code: "22021", Message: `invalid byte sequence for encoding "UTF8"`}
		}
		switch {
		case name == "user":
			st.User = value
		case name == "database":
			st.Database = value
		case name == "replication":
			switch strings.ToLower(value) {
			case "false", "off", "no", "0", "f", "n":
			default:
				return nil, nil, &protocol.Refusal{Code: "42501", Message: "replication connections are not allowed"}
			}
		case name == "options":
			if options, why = parseOptions(value); why != nil {
				return nil, nil, why
			}
		case strings.HasPrefix(name, "_pq_."):
			unknown = append(unknown, name)
		default:
			if strings.EqualFold(name, "application_name") {
				st.ApplicationName = value
			}
			st.Settings = append(st.Settings, Setting{name, value})
		}
	}
	if st.User == "" {
		return nil, nil, &protocol.Refusal{Code: "28000", Message: "no PostgreSQL user name specified in startup packet"}
	}
	if st.Database == "" {
		st.Database = st.User
	}
	st.Settings = append(options, st.Settings...)
	return st, unknown, nil
}

// turnDown tells the client why it is not served, and returns that as an error.
func (s *Server) turnDown(h *hello, why *protocol.Refusal) error {
	h.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	h.conn.Write(appendReport(nil, 'E', "FATAL", why))
	return why
}

// prefixed gives back bytes that were read before a handshake.
type prefixed struct {
	net.Conn
	prefix []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
