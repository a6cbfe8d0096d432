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

	"github.com/jackc/pgproto3/v2"

	"sluicegate.io/sluice/protocol"
)

// credentials say how to log in to a server.
type credentials struct {
	user, database string
	settings       []Setting
	auth           Authenticator
	tls            *tls.Config
	weakest        AuthMethod
	client         *hello // who logs in itself, nil: auth does
}

// upstream is a connection that has logged in.
type upstream struct {
	conn   net.Conn
	hello  []byte // ParameterStatus and NoticeResponse messages, as the client is to get them
	pid    uint32
	secret []byte
	status byte
	rest   []byte // read beyond the first ReadyForQuery
	major  int    // of server_version, 0 if it is not told

	// Of one that a pool may keep.
	fd       int // in place of conn, -1: conn
	born     time.Time
	asked    bool              // whether logins have a trigger, and a role
	role     bool              // it began in a role that is not the login's own
	path     []string          // the search path that it began with, nil: not known
	names    any               // ... under which it was
	settings map[string]string // as reported at the login
	now      map[string]string // ... and since
}

// login logs in on conn, which it closes if that fails. The error is a Refusal
// where there is something to tell the client.
func login(ctx context.Context, conn net.Conn, cr credentials) (up *upstream, err error) {
	plain := conn
	stop := context.AfterFunc(ctx, func() { plain.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			plain.Close()
			if ctx.Err() != nil {
				err = &protocol.Refusal{Code: "08001", Message: "the database did not answer the login in time"}
			}
		}
	}()
	if cr.tls != nil {
		t, err := encryptUpstream(ctx, conn, cr.tls)
		if errors.Is(err, errNoTLS) {
			return nil, &protocol.Refusal{Code: "08001", Message: "the database does not offer TLS, which its configuration requires"}
		} else if err != nil {
			return nil, &protocol.Refusal{Code: "08001", Message: "the connection to the database could not be secured: " + err.Error()}
		}
		conn = t
	}
	l := &loginState{credentials: cr, conn: conn, up: &upstream{conn: conn, fd: -1, born: time.Now(), settings: make(map[string]string)}}
	if cr.client != nil {
		l.pass = &passthrough{h: cr.client}
		if deadline, ok := ctx.Deadline(); ok {
			cr.client.conn.SetReadDeadline(deadline)
			defer cr.client.conn.SetReadDeadline(time.Time{})
		}
	}
	start := pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": cr.user, "database": cr.database}}
	for _, s := range cr.settings {
		start.Parameters[s.Name] = s.Value
	}
	hello, err := start.Encode(nil)
	if err != nil {
		return nil, fmt.Errorf("startup message: %w", err)
	}
	if _, err := conn.Write(hello); err != nil {
		return nil, lost(err)
	}
	for {
		kind, body, err := l.next()
		if err != nil {
			return nil, err
		}
		done, err := l.message(ctx, kind, body)
		if err != nil {
			return nil, err
		}
		if done {
			l.up.rest = l.buf[l.from:]
			return l.up, nil
		}
	}
}

// lost is the Refusal for a connection that ended during login.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &protocol.Refusal{Code: "08006", Message: "the database closed the connection during login"}
	}
	return &protocol.Refusal{Code: "08006", Message: "the connection to the database failed during login: " + cause(err)}
}

// cause is the innermost text of a network error, without addresses.
func cause(err error) string {
	if t := interface{ Timeout() bool }(nil); errors.As(err, &t) && t.Timeout() {
		return "timeout"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// loginState is a login under way.
type loginState struct {
	credentials
	conn  net.Conn
	up    *upstream
	buf   []byte
	from  int // of buf, not looked at yet
	scram *scramClient
	pass  *passthrough // nil: Sluice logs in
	ok    bool         // AuthenticationOk was received
}

// next returns the next message; body is valid until the call after.
func (l *loginState) next() (kind byte, body []byte, err error) {
	for {
		kind, size, ok := frame(l.buf[l.from:])
		if ok && (size < header || size > smallMessage) {
			return 0, nil, &protocol.Refusal{Code: "08P01", Message: "the database sent an invalid message during login"}
		}
		if ok && len(l.buf)-l.from >= size {
			b := l.buf[l.from : l.from+size]
			l.from += size
			return kind, b[header:], nil
		}
		if l.from > 0 {
			l.buf = append(l.buf[:0], l.buf[l.from:]...)
			l.from = 0
		}
		if len(l.buf) == cap(l.buf) {
			l.buf = append(make([]byte, 0, max(2048, 2*cap(l.buf))), l.buf...)
		}
		n, err := l.conn.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		if n == 0 && err != nil {
			return 0, nil, lost(err)
		}
	}
}

// message handles one message and reports whether the login is complete.
func (l *loginState) message(ctx context.Context, kind byte, body []byte) (bool, error) {
	switch kind {
	case 'R':
		if l.ok {
			break
		}
		return false, l.authenticate(ctx, body)
	case 'E':
		if l.pass != nil {
			return false, rejected(body)
		}
		return false, loginRefused(body)
	case 'N':
		l.up.hello = appendMessage(l.up.hello, 'N', body, "", "")
		return false, nil
	case 'S':
		name, rest, ok := cstring(body)
		value, _, ok2 := cstring(rest)
		if !ok || !ok2 || !l.ok {
			break
		}
		if why := pinned(string(name), string(value)); why != nil {
			return false, why
		}
		if string(name) == "server_version" {
			l.up.major = major(value)
		}
		l.up.settings[string(name)] = string(value)
		l.up.hello = appendMessage(l.up.hello, 'S', body, "", "")
		return false, nil
	case 'K':
		if len(body) < 8 || len(body) > 260 || !l.ok {
			break
		}
		l.up.pid = binary.BigEndian.Uint32(body)
		l.up.secret = append([]byte(nil), body[4:]...)
		return false, nil
	case 'Z':
		if !l.ok || len(body) != 1 {
			break
		}
		l.up.status = body[0]
		return true, nil
	}
	return false, &protocol.Refusal{Code: "08P01", Message: fmt.Sprintf("the database sent an unexpected message of type %q during login", kind)}
}

// authenticate answers one authentication request.
func (l *loginState) authenticate(ctx context.Context, body []byte) error {
	if len(body) < 4 {
		return badRequest
	}
	code, data := binary.BigEndian.Uint32(body), body[4:]
	switch {
	case code == pgproto3.AuthTypeOk:
		return l.accepted()
	case l.pass != nil:
		return l.request(code, data)
	case l.auth == nil:
		return &protocol.Refusal{Code: "28000", Message: "the database asks for a credential, and Sluice holds none for it"}
	}
	switch code {
	case pgproto3.AuthTypeCleartextPassword:
		if err := l.mayClear(); err != nil {
			return err
		}
		password, err := l.auth.Cleartext(ctx)
		if err != nil {
			return unusable(err)
		}
		return l.send(&pgproto3.PasswordMessage{Password: password})
	case pgproto3.AuthTypeMD5Password:
		if len(data) != 4 {
			return badRequest
		}
		if err := l.mayMD5(); err != nil {
			return err
		}
		answer, err := l.auth.MD5(ctx, [4]byte(data))
		if err != nil {
			return unusable(err)
		}
		return l.send(&pgproto3.PasswordMessage{Password: answer})
	case pgproto3.AuthTypeSASL:
		offered, ok := mechanisms(data)
		if !ok || l.scram != nil {
			return badRequest
		}
		sc, err := newSCRAMClient(offered, l.conn)
		if err != nil {
			return err
		}
		l.scram = sc
		return l.send(&pgproto3.SASLInitialResponse{AuthMechanism: sc.mechanism, Data: sc.first()})
	case pgproto3.AuthTypeSASLContinue:
		if l.scram == nil {
			return badRequest
		}
		final, err := l.scram.final(ctx, l.auth, data)
		if err != nil {
			return err
		}
		return l.send(&pgproto3.SASLResponse{Data: final})
	case pgproto3.AuthTypeSASLFinal:
		if l.scram == nil {
			return badRequest
		}
		return l.scram.verify(data)
	}
	return unsupported(code)
}

// mechanisms reads the names in AuthenticationSASL. That of pgproto3 does not end if
// the last one is not terminated.
func mechanisms(data []byte) (names []string, ok bool) {
	for {
		name, rest, ok := cstring(data)
		switch {
		case !ok:
			return nil, false
		case len(name) == 0:
			return names, len(rest) == 0
		}
		names, data = append(names, string(name)), rest
	}
}

var badRequest = &protocol.Refusal{Code: "08P01", Message: "the database sent an invalid authentication request"}

func unsupported(code uint32) error {
	return &protocol.Refusal{Code: "0A000", Message: fmt.Sprintf("the database asks for an authentication method (%d) that is not supported", code)}
}

// accepted takes AuthenticationOk.
func (l *loginState) accepted() error {
	if l.scram != nil && !l.scram.proven {
		return unproven
	}
	if l.pass != nil {
		a := l.conn.RemoteAddr()
		if err := l.pass.accepted(a != nil && a.Network() == "unix"); err != nil {
			return err
		}
	}
	l.ok = true
	return nil
}

// mayMD5 says why no md5 answer is given, nil if one is.
func (l *loginState) mayMD5() error {
	if l.weakest >= AuthMD5 {
		return nil
	}
	return &protocol.Refusal{Code: "28000", Message: "the database asks for an md5 password, which can be guessed from the answer, and its configuration asks for SCRAM",
		Hint: "Have it store the password as scram-sha-256 and verify it by TLS. Whoever runs Sluice may allow credential.auth: md5."}
}

// mayClear says why no clear-text password is sent, nil if it is. An AuthMethod that
// allows it is not enough: the server must have shown a certificate that was verified.
func (l *loginState) mayClear() error {
	_, secure := l.conn.(*tls.Conn)
	if l.weakest >= AuthPassword && secure && verifies(l.tls) {
		return nil
	}
	return &protocol.Refusal{Code: "28000", Message: "the database asks for a clear-text password, which is sent only over TLS with a certificate that is verified, and if its configuration allows it",
		Hint: "Have it ask for scram-sha-256. Whoever runs Sluice may allow credential.auth: password."}
}

func (l *loginState) send(m pgproto3.FrontendMessage) error {
	b, err := m.Encode(nil)
	if err != nil {
		return fmt.Errorf("login message: %w", err)
	}
	if _, err := l.conn.Write(b); err != nil {
		return lost(err)
	}
	return nil
}

// errCredential wraps what an Authenticator said, for the log.
type errCredential struct {
	*protocol.Refusal
	err error
}

func (e *errCredential) Unwrap() []error { return []error{e.Refusal, e.err} }

func unusable(err error) error {
	return &errCredential{&protocol.Refusal{Code: "28000",
		Message: "Sluice could not use the credential that it holds for this database",
		Hint:    "Ask whoever runs Sluice to look at its log."}, err}
}

// loginRefused is the Refusal for the server's ErrorResponse during login.
func loginRefused(body []byte) error {
	code := internCode(reportField(body, 'C'))
	if strings.HasPrefix(code, "28") {
		// The text can name the account, and tells a workload nothing it could act on.
		return &protocol.Refusal{Code: code,
			Message: "the database rejected the credential that Sluice holds for it",
			Hint:    "The workload's own password plays no part in it. Ask whoever runs Sluice."}
	}
	return &protocol.Refusal{Code: code, Message: string(reportField(body, 'M')),
		Detail: string(reportField(body, 'D')), Hint: string(reportField(body, 'H'))}
}

// major is the first number of a server's version.
func major(version []byte) int {
	n := 0
	for _, b := range version {
		if b < '0' || b > '9' || n > 1000 {
			break
		}
		n = 10*n + int(b-'0')
	}
	return n
}
