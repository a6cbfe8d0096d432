package postgres

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/jackc/pgproto3/v2"

	"sluicegate.io/sluice/protocol"
)

// passthrough lets the client log in with its own credential: what the server asks
// goes to the client, and the client's answer to the server. Each message is read,
// and is sent on only if it is the next one of a login. Nothing of it is kept.
type passthrough struct {
	h     *hello
	asked bool // the server asked for something

	// Of a SCRAM exchange.
	plus   bool   // the server could bind it to its certificate
	header []byte // GS2
	nonce  []byte // of both, empty before the server's first message
	sent   bool   // the client's proof
	shown  bool   // the server's signature
}

var (
	badAnswer = &protocol.Refusal{Code: "08P01", Message: "the answer to the database's authentication request is malformed"}

	// errClientLeft is ordinary: psql asks for a password after it was asked for one.
	errClientLeft = errors.New("the client closed the connection during login")

	// downgrade is what the server would say, with what to do about it. The flag
	// is signed by the client, so nobody in between can change it.
	downgrade = &protocol.Refusal{Code: "28000", Message: "SCRAM channel binding cannot pass Sluice",
		Detail: "TLS ends at Sluice, and the database takes a login that says so for a downgrade.",
		Hint:   "Connect with channel_binding=disable, or without TLS (sslmode=disable): the way to Sluice does not leave this host."}

	// unasked: over a unix socket, trust and peer of pg_hba.conf are about who connects.
	unasked = &protocol.Refusal{Code: "28000", Message: "the database let Sluice in without asking for the workload's credential",
		Hint: "Over a unix socket it sees Sluice's account, not the workload's: have it ask for a password (scram-sha-256)."}
)

// request passes an authentication request on, and the client's answer back.
func (l *loginState) request(code uint32, data []byte) error {
	p := l.pass
	p.asked = true
	switch code {
	case pgproto3.AuthTypeCleartextPassword:
		if err := l.mayClear(); err != nil {
			return err
		}
		return p.exchange(l, code, nil, func(answer []byte) error { return wholeString(answer) })
	case pgproto3.AuthTypeMD5Password:
		if err := l.mayMD5(); err != nil {
			return err
		}
		if len(data) != 4 {
			return badRequest
		}
		return p.exchange(l, code, data, md5Answer)
	case pgproto3.AuthTypeSASL:
		offered, ok := mechanisms(data)
		if p.header != nil || !ok {
			return badRequest
		}
		if !slices.Contains(offered, scramPlain) {
			return noMechanism
		}
		p.plus = slices.Contains(offered, scramPlus)
		return p.exchange(l, code, []byte(scramPlain+"\x00\x00"), p.first)
	case pgproto3.AuthTypeSASLContinue:
		first, ok := parseServerFirst(data)
		if p.header == nil || p.nonce != nil || !ok {
			return badSCRAM
		}
		p.nonce = bytes.Clone(first.nonce)
		return p.exchange(l, code, data, p.final)
	case pgproto3.AuthTypeSASLFinal:
		if !p.sent || p.shown || !bytes.HasPrefix(data, []byte("v=")) {
			return badSCRAM
		}
		p.shown = true
		return p.h.sasl(code, data)
	}
	return unsupported(code)
}

// accepted says why AuthenticationOk is not the end of this login, nil if it is.
func (p *passthrough) accepted(local bool) error {
	switch {
	case p.header != nil && !p.shown:
		return unproven // the client would notice too
	case !p.asked && local:
		return unasked
	}
	return nil
}

// exchange sends a request to the client, and to the server the answer that check accepts.
func (p *passthrough) exchange(l *loginState, code uint32, data []byte, check func(answer []byte) error) error {
	if err := p.h.sasl(code, data); err != nil {
		return errClientLeft
	}
	answer, err := p.h.password()
	if errors.Is(err, errClosedEarly) {
		return errClientLeft
	} else if err != nil {
		return err
	}
	defer clear(answer)
	if err := check(answer); err != nil {
		return err
	}
	m := appendMessage(nil, 'p', answer, "", "")
	defer clear(m)
	if _, err := l.conn.Write(m); err != nil {
		return lost(err)
	}
	return nil
}

// wholeString checks that an answer is one string.
func wholeString(answer []byte) error {
	if _, rest, ok := cstring(answer); !ok || len(rest) > 0 {
		return badPassword
	}
	return nil
}

// md5Answer checks that an answer is "md5" and 32 hexadecimal digits.
func md5Answer(answer []byte) error {
	s, rest, ok := cstring(answer)
	digits, is := bytes.CutPrefix(s, []byte("md5"))
	if _, err := hex.DecodeString(string(digits)); !ok || len(rest) > 0 || !is || err != nil || len(digits) != 32 {
		return badAnswer
	}
	return nil
}

// first checks the client's first message.
func (p *passthrough) first(answer []byte) error {
	mechanism, rest, ok := cstring(answer)
	if !ok || len(rest) < 4 || int(binary.BigEndian.Uint32(rest)) != len(rest)-4 {
		return badExchange
	}
	header, bare, err := clientFirst(string(mechanism), rest[4:], nil)
	if err != nil {
		return err
	}
	if header[0] == 'y' && p.plus {
		return downgrade
	}
	name, nonce, ok := bytes.Cut(bare, []byte(",r="))
	if !ok || !bytes.HasPrefix(name, []byte("n=")) || bytes.IndexByte(name, ',') >= 0 || len(nonce) == 0 {
		return badExchange
	}
	p.header = bytes.Clone(header)
	return nil
}

// final checks the client's last message, but for what only the server can.
func (p *passthrough) final(answer []byte) error {
	without, proof64, ok := cutLast(answer, []byte(",p="))
	proof, err := base64.StdEncoding.AppendDecode(nil, proof64)
	want := base64.StdEncoding.AppendEncode([]byte("c="), p.header)
	want = append(append(want, ",r="...), p.nonce...)
	if !ok || err != nil || len(proof) != sha256.Size || !bytes.Equal(without, want) {
		return badExchange
	}
	p.sent = true
	return nil
}

// rejected is the server's ErrorResponse to a login with the client's own
// credential, which is for the client to read.
func rejected(body []byte) error {
	return &protocol.Refusal{Code: internCode(reportField(body, 'C')), Message: string(reportField(body, 'M')),
		Detail: string(reportField(body, 'D')), Hint: string(reportField(body, 'H'))}
}
