package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Key makes the tokens of mask hash: equal keys make equal tokens of equal
// values. The zero Key is a key that everybody knows.
//
// In SQL a key is part of the statement, so that the server's administrators see
// it in logs and in pg_stat_activity. They see the values too. What a Key can do
// is bounded to one tag, and the secret cannot be computed from it.
type Key struct {
	secret [32]byte
	stored [2]string
}

// StoredKey returns a Key for SQL alone, which the expressions outer and inner of
// type bytea give to the statement: they select what [Key.Pads] returned from
// where only the owner of a view can read it.
func StoredKey(outer, inner string) Key { return Key{stored: [2]string{outer, inner}} }

// Pads returns what the key is in SQL: the outer and the inner pad of HMAC.
func (k Key) Pads() (outer, inner [64]byte) {
	copy(inner[:], k.secret[:])
	copy(outer[:], k.secret[:])
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	return outer, inner
}

// NewKey derives the key of one tag from a secret of at least 16 random bytes.
func NewKey(secret []byte, tag string) Key {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("sluice mask hash\x00" + tag))
	var k Key
	h.Sum(k.secret[:0])
	return k
}

// sum is HMAC-SHA-256 of a value.
func (k Key) sum(value []byte) []byte {
	h := hmac.New(sha256.New, k.secret[:])
	h.Write(value)
	return h.Sum(nil)
}

// sumSQL is the same of a bytea expression, by the definition of HMAC: PostgreSQL
// has SHA-256, but no HMAC without an extension.
func (k Key) sumSQL(bytes string) string {
	outer, inner := k.stored[0], k.stored[1]
	if outer == "" {
		pad := func(b [64]byte) string {
			return "pg_catalog.decode('" + hex.EncodeToString(b[:]) + "', 'hex')"
		}
		o, i := k.Pads()
		outer, inner = pad(o), pad(i)
	}
	return "pg_catalog.sha256(" + outer + " OPERATOR(pg_catalog.||) pg_catalog.sha256(" +
		inner + " OPERATOR(pg_catalog.||) " + bytes + "))"
}
