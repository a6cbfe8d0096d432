package record

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// A Session is what is known of one session without reading all of it.
type Session struct {
	ID         ID        `json:"id"`
	Start      *Start    `json:"start,omitempty"` // nil: that part was removed by retention
	Begin      time.Time `json:"begin"`
	Last       time.Time `json:"last"`            // of its last event
	End        *End      `json:"end,omitempty"`   // nil: it goes on, or was lost
	State      string    `json:"state,omitempty"` // "open", "ended", "lost" (its agent died)
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

func (f *Filter) match(s *Session) bool {
	if f.ID != "" {
		id := s.ID.String()
		if id != f.ID && (len(f.ID) < 4 || !strings.HasPrefix(id, f.ID) && !strings.HasSuffix(id, f.ID)) {
			return false
		}
	}
	if f.Subject != "" && (s.Start == nil || s.Start.Subject != f.Subject) ||
		f.Database != "" && (s.Start == nil || s.Start.Database != f.Database) {
		return false
	}
	return (f.After.IsZero() || s.Last.After(f.After)) && (f.Before.IsZero() || s.Begin.Before(f.Before)) &&
		(!f.Open || s.State == "open") && (!f.Refused || s.Refused > 0)
}

// Sessions lists the sessions of a directory by the time they began. A directory
// that is not there has none.
func Sessions(dir string, f Filter) ([]Session, error) {
	all, err := lanes(dir)
	if err != nil {
		return nil, err
	}
	var found []Session
	for _, n := range all {
		sessions, err := laneSessions(filepath.Join(dir, laneName(n)))
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		for i := range sessions {
			if f.match(&sessions[i]) {
				found = append(found, sessions[i])
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Begin.Before(found[j].Begin) })
	if f.Limit > 0 && len(found) > f.Limit {
		found = found[len(found)-f.Limit:]
	}
	return found, nil
}

// Find returns the one session whose ID is, begins or ends with text.
func Find(dir, text string) (*Session, error) {
	found, err := Sessions(dir, Filter{ID: text})
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("session %q: %w", text, ErrNoSession)
	case 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("session %q: %d sessions have that in their id", text, len(found))
}

// Read yields the events of one session in order. After an error it yields no
// more. What is damaged is an error too: what is left can still be exported by
// reading on from Verify's findings.
func Read(dir string, id ID) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		all, err := lanes(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, n := range all {
			found, more := readLane(filepath.Join(dir, laneName(n)), id, yield)
			if found || !more {
				return
			}
		}
		yield(nil, fmt.Errorf("session %s: %w", id, ErrNoSession))
	}
}

// readLane yields the events of a session that is in this lane. It says whether
// the session was found here, and whether to go on.
func readLane(lane string, id ID, yield func(*Event, error) bool) (found, more bool) {
	all, err := segments(lane)
	if err != nil {
		return false, yield(nil, err)
	}
	for _, n := range all {
		if _, err := os.Stat(filepath.Join(lane, indexName(n))); err == nil {
			if sum, err := readIndex(lane, n); err == nil && !sum.has(id) {
				continue
			}
		}
		for e, err := range readSegment(lane, n, id) {
			found = found || e != nil
			if !yield(e, err) || err != nil {
				return found, false
			}
			if e.End != nil {
				return true, false
			}
		}
	}
	return found, true
}

func (s *summary) has(id ID) bool {
	for i := range s.Sessions {
		if s.Sessions[i].ID == id {
			return true
		}
	}
	return false
}

// readSegment yields the events of one session, or with a zero id of all, in one
// segment.
func readSegment(lane string, n uint64, id ID) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		f, _, err := openSegment(lane, n)
		if errors.Is(err, errUnused) || errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, fmt.Errorf("segment %d: %w", n, err))
			return
		}
		defer f.Close()
		sc := newScanner(f)
		for {
			var fr frame
			err := sc.next(&fr)
			if err == io.EOF {
				return
			}
			var e *Event
			if err == nil {
				if fr.session.IsZero() || !id.IsZero() && fr.session != id {
					continue
				}
				e, err = decodeEvent(&fr)
			}
			if err != nil {
				yield(nil, fmt.Errorf("segment %d, offset %d: %w", n, sc.off, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
