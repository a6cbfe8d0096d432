package postgres

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"strconv"

	"sluicegate.io/sluice/protocol"
)

const (
	scramPlain = "SCRAM-SHA-256"
	scramPlus  = "SCRAM-SHA-256-PLUS"

	// maxIterations bounds the work that a server can make an Authenticator do.
	maxIterations = 1 << 20
)

// scramClient is our side of SCRAM-SHA-256 towards a server (RFC 5802, RFC 7677).
type scramClient struct {
	mechanism string
	header    string // GS2 header
	binding   []byte
	bare      []byte // client-first-message-bare
	nonce     []byte
	signature []byte // that the server has to show
	proven    bool
}

var (
	badSCRAM    = &protocol.Refusal{Code: "08P01", Message: "the database sent an invalid SCRAM message"}
	noMechanism = &protocol.Refusal{Code: "0A000", Message: "the database offers no SASL mechanism that is supported"}

	unproven = &protocol.Refusal{Code: "28000", Message: "the database could not prove that it knows the credential",
		Hint: "Something between Sluice and the database may pretend to be it."}
)

// newSCRAMClient chooses among the mechanisms that the server offers. Over TLS
// it binds to the server's certificate where that is possible.
func newSCRAMClient(offered []string, conn any) (*scramClient, error) {
	sc := &scramClient{header: "n,,"}
	plain, plus := false, false
	for _, m := range offered {
		plain = plain || m == scramPlain
		plus = plus || m == scramPlus
	}
	if t, ok := conn.(*tls.Conn); ok {
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			sc.binding = endPoint(certs[0])
		}
	}
	switch {
	case plus && sc.binding != nil:
		sc.mechanism, sc.header = scramPlus, "p=tls-server-end-point,,"
	case plain:
		sc.mechanism = scramPlain
		if sc.binding != nil {
			sc.header, sc.binding = "y,,", nil // we could, and it says it cannot
		}
	default:
		return nil, noMechanism
	}
	random := make([]byte, 18)
	rand.Read(random)
	sc.nonce = base64.StdEncoding.AppendEncode(nil, random)
	sc.bare = append([]byte("n=,r="), sc.nonce...)
	return sc, nil
}

func (sc *scramClient) first() []byte { return append([]byte(sc.header), sc.bare...) }

// final answers the server's first message.
func (sc *scramClient) final(ctx context.Context, auth Authenticator, first []byte) ([]byte, error) {
	if sc.signature != nil {
		return nil, badSCRAM
	}
	f, ok := parseServerFirst(first)
	if !ok || !bytes.HasPrefix(f.nonce, sc.nonce) || len(f.nonce) == len(sc.nonce) {
		return nil, badSCRAM
	}
	final := base64.StdEncoding.AppendEncode([]byte("c="), append([]byte(sc.header), sc.binding...))
	final = append(append(final, ",r="...), f.nonce...)
	message := bytes.Join([][]byte{sc.bare, first, final}, []byte{','})
	proof, signature, err := auth.SCRAM(ctx, f.salt, f.iterations, message)
	if err != nil {
		return nil, unusable(err)
	}
	if len(signature) == 0 {
		return nil, unproven
	}
	sc.signature = signature
	return base64.StdEncoding.AppendEncode(append(final, ",p="...), proof), nil
}

// serverFirst is the server's first message.
type serverFirst struct {
	nonce, salt []byte
	iterations  int
}

func parseServerFirst(b []byte) (f serverFirst, ok bool) {
	for i, attr := range bytes.Split(b, []byte{','}) {
		if len(attr) < 2 || attr[1] != '=' || i > 2 {
			return f, false
		}
		var err error
		switch value := attr[2:]; {
		case i == 0 && attr[0] == 'r':
			f.nonce = value
		case i == 1 && attr[0] == 's':
			f.salt, err = base64.StdEncoding.AppendDecode(nil, value)
		case i == 2 && attr[0] == 'i':
			f.iterations, err = strconv.Atoi(string(value))
		default:
			return f, false
		}
		if err != nil {
			return f, false
		}
	}
	return f, len(f.nonce) > 0 && len(f.salt) > 0 && f.iterations >= 1 && f.iterations <= maxIterations
}

// verify checks the server's last message.
func (sc *scramClient) verify(last []byte) error {
	value, ok := bytes.CutPrefix(last, []byte("v="))
	if !ok || sc.signature == nil {
		return unproven
	}
	got, err := base64.StdEncoding.AppendDecode(nil, value)
	if err != nil || !hmac.Equal(got, sc.signature) {
		return unproven
	}
	sc.proven = true
	return nil
}
