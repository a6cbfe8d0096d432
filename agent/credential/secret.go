package credential

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password in memory. However it, or what it is part of, is printed,
// logged or encoded, the password does not show: the methods redact, and where
// fmt can't call them (fields that are not exported) there is only a function.
type Secret struct{ bytes func() []byte }

const redacted = "[secret]"

// NewSecret takes b over.
func NewSecret(b []byte) Secret { return Secret{func() []byte { return b }} }

// Reveal returns the password itself, which is valid until Zero.
func (s Secret) Reveal() []byte {
	if s.bytes == nil {
		return nil
	}
	return s.bytes()
}

// Zero overwrites the password. Copies that the runtime made, it can't reach.
func (s Secret) Zero() { clear(s.Reveal()) }

// clone returns a copy for a caller who will zero it.
func (s Secret) clone() Secret { return NewSecret(append([]byte(nil), s.Reveal()...)) }

// String redacts.
func (s Secret) String() string { return redacted }

// GoString redacts.
func (s Secret) GoString() string { return redacted }

// Format redacts, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue redacts.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
