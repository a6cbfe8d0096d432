package record

import "time"

// A Finding is one thing that is not as it was written.
type Finding struct {
	Lane    int    `json:"lane"`
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`
	Session ID     `json:"session,omitzero"`
	Problem string `json:"problem"` // a sentence
	// Grave is false for what a crash of the host or retention explains.
	Grave bool `json:"grave"`
}

// A Report is the result of Verify.
type Report struct {
	Lanes, Segments  int
	Sessions, Events uint64
	Head             time.Time // of the last event
	Findings         []Finding
}

// OK says that nothing grave was found.
func (r *Report) OK() bool {
	for _, f := range r.Findings {
		if f.Grave {
			return false
		}
	}
	return true
}

// Verify reads everything in dir and reports whatever was changed, removed or cut
// off. key is Options.Key, nil if there was none. The error is of reading.
func Verify(dir string, key []byte) (*Report, error) { return nil, ErrNoSession }
