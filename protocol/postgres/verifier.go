package postgres

// Verifier is what a SCRAM server keeps of a password.
type Verifier struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}
