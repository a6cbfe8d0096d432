package identity

import "errors"

// Source reads a token file, again whenever it changed. It is used by the
// redirector, which hands the bytes to the proxy unverified.
type Source struct {
	// Path of the file. If Root is set, it is resolved below it, as the workload
	// sees it, and can't lead out of it.
	Path string
	Root string // such as /proc/4711/root; "": the host's
}

// Read returns the token, and a version that changes when it does.
func (s *Source) Read() (token []byte, version uint64, err error) {
	return nil, 0, errors.New("not yet")
}
