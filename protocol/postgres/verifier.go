package postgres

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"sluicegate.io/sluice/protocol"
)

// Verifier is what a SCRAM server keeps of a password.
type Verifier struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

var (
	badExchange = &protocol.Refusal{Code: "08P01", Message: "malformed SCRAM message"}
	// ErrPlaceholder means that a client did not know the placeholder password.
	ErrPlaceholder = &protocol.Refusal{Code: "28P01", Message: "password authentication failed",
		Hint: "The placeholder password of this database is known to Sluice; the database's own is not needed."}
)

// proveSCRAM makes the client prove that it knows what v is of.
func (h *hello) proveSCRAM(v *Verifier) error {
	binding := h.leafBinding()
	mechanisms := scramPlain + "\x00\x00"
	if binding != nil {
		mechanisms = scramPlus + "\x00" + mechanisms
	}
	if err := h.sasl(10, []byte(mechanisms)); err != nil {
		return err
	}
	body, err := h.password()
	if err != nil {
		return err
	}
	mechanism, rest, ok := cstring(body)
	if !ok || len(rest) < 4 || int(binary.BigEndian.Uint32(rest)) != len(rest)-4 {
		return badExchange
	}
	gs2, bare, err := clientFirst(string(mechanism), rest[4:], binding)
	if err != nil {
		return err
	}
	_, nonce, ok := bytes.Cut(bare, []byte("r="))
	if nonce, _, _ = bytes.Cut(nonce, []byte{','}); !ok || len(nonce) == 0 {
		return badExchange
	}
	random := make([]byte, 18)
	rand.Read(random)
	nonce = base64.StdEncoding.AppendEncode(bytes.Clone(nonce), random)
	first := fmt.Appendf(nil, "r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(v.Salt), v.Iterations)
	if err := h.sasl(11, first); err != nil {
		return err
	}
	if body, err = h.password(); err != nil {
		return err
	}
	without, proof64, ok := cutLast(body, []byte(",p="))
	proof, err := base64.StdEncoding.AppendDecode(nil, proof64)
	want := gs2
	if string(mechanism) == scramPlus {
		want = append(bytes.Clone(gs2), binding...)
	}
	expected := fmt.Appendf(nil, "c=%s,r=%s", base64.StdEncoding.EncodeToString(want), nonce)
	if !ok || err != nil || len(proof) != sha256.Size || !bytes.Equal(without, expected) {
		return badExchange
	}
	message := bytes.Join([][]byte{bare, first, without}, []byte{','})
	key := sign(v.StoredKey, message)
	for i := range key {
		key[i] ^= proof[i]
	}
	if stored := sha256.Sum256(key); !hmac.Equal(stored[:], v.StoredKey) {
		return ErrPlaceholder
	}
	final := base64.StdEncoding.AppendEncode([]byte("v="), sign(v.ServerKey, message))
	return h.sasl(12, final)
}

// clientFirst splits the client's first message, and checks its channel binding.
func clientFirst(mechanism string, b, binding []byte) (gs2, bare []byte, err error) {
	flag, rest, ok := bytes.Cut(b, []byte{','})
	authzid, bare, ok2 := bytes.Cut(rest, []byte{','})
	if !ok || !ok2 || len(authzid) > 0 {
		return nil, nil, badExchange
	}
	switch {
	case mechanism == scramPlus && binding != nil && string(flag) == "p=tls-server-end-point":
	case mechanism == scramPlain && string(flag) == "n":
	case mechanism == scramPlain && string(flag) == "y" && binding == nil:
	case mechanism == scramPlain && string(flag) == "y":
		return nil, nil, &protocol.Refusal{Code: "28000", Message: "SCRAM channel binding negotiation error"}
	default:
		return nil, nil, badExchange
	}
	return b[:len(flag)+2], bare, nil
}

// leafBinding is the channel binding of the certificate that the client was shown.
func (h *hello) leafBinding() []byte {
	if !h.bound || h.leaf == nil || len(h.leaf.Certificate) == 0 {
		return nil
	}
	cert, err := x509.ParseCertificate(h.leaf.Certificate[0])
	if err != nil {
		return nil
	}
	return endPoint(cert)
}

// sasl sends an authentication request of a SASL exchange.
func (h *hello) sasl(code uint32, data []byte) error {
	if _, err := h.conn.Write(appendMessage(nil, 'R', binary.BigEndian.AppendUint32(nil, code), data, "")); err != nil {
		return errClosedEarly
	}
	return nil
}

// read fills b.
func (h *hello) read(b []byte) error {
	if _, err := io.ReadFull(h.conn, b); err != nil {
		return errClosedEarly
	}
	return nil
}

func sign(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}

func cutLast(b, sep []byte) (before, after []byte, ok bool) {
	i := bytes.LastIndex(b, sep)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+len(sep):], true
}
