package record

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Session is what is known of one session without reading all of it.
type Session struct {
	ID         ID        `json:"id"`
	Start      *Start    `json:"start,omitempty"` // nil: that part was removed by retention
	Begin      time.Time `json:"begin"`
	Last       time.Time `json:"last"`          // of its last event
	End        *End      `json:"end,omitempty"` // nil: it goes on, or was lost
	State      string    `json:"state"`         // "open", "ended", "lost" (its agent died)
	Statements uint64    `json:"statements"`
	Refused    uint64    `json:"refused"`
	Rows       int64     `json:"rows"`
	Bytes      int64     `json:"bytes"`
}

// Filter chooses sessions. Zero fields choose all.
type Filter struct {
	ID       string // the beginning or end of an ID, at least 4 characters
	Subject  string // exact
	Database string // exact
	After    time.Time
	Before   time.Time
	Open     bool // only those that go on
	Refused  bool // only those in which something was refused
	Limit    int  // the last so many
}

// Sessions lists the sessions of a directory by the time they began.
func Sessions(dir string, f Filter) ([]Session, error) { return nil, ErrNoSession }

// Read yields the events of one session in order. After an error it yields no more.
func Read(dir string, id ID) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) { yield(nil, ErrNoSession) }
}

// Replay is Read at the pace at which it happened, times speed; speed 0 does not
// wait, and no pause is longer than longest (0: as it was).
func Replay(ctx context.Context, dir string, id ID, speed float64, longest time.Duration) iter.Seq2[*Event, error] {
	return Read(dir, id)
}

// Tail yields the events of all sessions (id zero) or of one as they are written,
// from now on, until ctx ends.
func Tail(ctx context.Context, dir string, id ID) iter.Seq2[*Event, error] { return Read(dir, id) }

// Export writes the events of the chosen sessions as JSON lines.
func Export(w io.Writer, dir string, f Filter) error { return ErrNoSession }

// Values decodes the rows of r, one slice a row; a nil value is NULL. Rows of COPY
// have one value: the line.
func (r *Rows) Values() [][][]byte { return nil }
