package record

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"time"
)

// ID names a session. It sorts by the second in which the session began, and is
// otherwise random, so that logs of many hosts can be put together.
type ID [12]byte

var (
	errID    = errors.New("not a session id")
	encoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)
)

// newID returns a fresh ID for a session that begins at now.
func newID(now time.Time) ID {
	var id ID
	binary.BigEndian.PutUint32(id[:4], uint32(now.Unix()))
	rand.Read(id[4:]) // never fails, see its documentation
	return id
}

// String returns the 20 letters and digits that users see.
func (id ID) String() string { return encoding.EncodeToString(id[:]) }

// IsZero says that id names no session.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText makes an ID a string in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(text []byte) error {
	got, err := ParseID(string(text))
	if err == nil {
		*id = got
	}
	return err
}

// ParseID is the inverse of String.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := encoding.DecodeString(s)
	if err != nil || len(b) != len(id) || encoding.EncodeToString(b) != s {
		return ID{}, errID
	}
	copy(id[:], b)
	return id, nil
}
