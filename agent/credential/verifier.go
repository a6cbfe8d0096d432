package credential

// Verifier is the server's side of SCRAM-SHA-256, for workloads that are to
// authenticate with the placeholder that the Database names. It holds no password.
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  [32]byte
	ServerKey  [32]byte
}

// NewVerifier derives a Verifier from a password, with a random salt.
func NewVerifier(password Secret, iterations int) (*Verifier, error) { return nil, ErrNone }

// Check says whether proof shows that the client knows the password, and returns
// the server's signature if it does.
func (v *Verifier) Check(authMessage, proof []byte) (serverSignature []byte, ok bool) {
	return nil, false
}
