package credential

import "log/slog"

// Secret is a password in memory. However it is printed, logged or encoded, it
// shows as "[secret]".
type Secret []byte

const redacted = "[secret]"

// String redacts.
func (s Secret) String() string { return redacted }

// GoString redacts.
func (s Secret) GoString() string { return redacted }

// LogValue redacts.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Zero overwrites the secret. Copies that the garbage collector made, it can't reach.
func (s Secret) Zero() { clear(s) }
