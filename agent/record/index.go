package record

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// summary is what a segment holds of each session. It is kept beside a segment
// that is complete, so that listing need not read the segment; Verify does not
// trust it, and a missing one is made anew.
type summary struct {
	Version  int       `json:"version"`
	Size     int64     `json:"size"`   // of the segment
	Opened   bool      `json:"opened"` // a writer opened the lane here
	Sessions []Session `json:"sessions"`
}

const summaryVersion = 1

// summarize reads segment n of a lane as far as it can be read.
func summarize(lane string, n uint64) (*summary, error) {
	f, _, err := openSegment(lane, n)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := &summary{Version: summaryVersion}
	at := make(map[ID]int)
	sc := newScanner(f)
	for {
		var fr frame
		err := sc.next(&fr)
		if errors.Is(err, errDamaged) && sc.skip() {
			continue
		}
		if err == io.EOF || errors.Is(err, errDamaged) {
			sum.Size = sc.off
			return sum, nil
		}
		if err != nil {
			return nil, err
		}
		if fr.session.IsZero() {
			sum.Opened = sum.Opened || fr.kind == kindOpen
			continue
		}
		i, ok := at[fr.session]
		if !ok {
			i = len(sum.Sessions)
			at[fr.session] = i
			sum.Sessions = append(sum.Sessions, Session{ID: fr.session, Begin: fr.time})
		}
		sum.Sessions[i].note(&fr)
	}
}

// note adds what a frame tells to s.
func (s *Session) note(fr *frame) {
	s.Last = fr.time
	switch fr.kind {
	case KindStatement:
		s.Statements++
		return
	case KindRefusal:
		s.Refused++
		return
	case KindStart, KindOutcome, KindEnd:
	default:
		return
	}
	e, err := decodeEvent(fr)
	if err != nil {
		return
	}
	switch fr.kind {
	case KindStart:
		s.Start = e.Start
	case KindOutcome:
		s.Rows += e.Outcome.Rows
		s.Bytes += e.Outcome.Bytes
	case KindEnd:
		s.End = e.End
	}
}

// merge adds what a later segment holds of the same session.
func (s *Session) merge(o *Session) {
	if s.Start == nil {
		s.Start = o.Start
	}
	if o.End != nil {
		s.End = o.End
	}
	s.Last = o.Last
	s.Statements += o.Statements
	s.Refused += o.Refused
	s.Rows += o.Rows
	s.Bytes += o.Bytes
}

func writeIndex(lane string, n uint64, sum *summary) error {
	b, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	path := filepath.Join(lane, indexName(n))
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readIndex returns the summary of a segment, from its index or from itself.
func readIndex(lane string, n uint64) (*summary, error) {
	if b, err := os.ReadFile(filepath.Join(lane, indexName(n))); err == nil {
		sum := new(summary)
		info, err := os.Stat(filepath.Join(lane, segmentName(n)))
		if err == nil && json.Unmarshal(b, sum) == nil && sum.Version == summaryVersion && sum.Size == info.Size() {
			return sum, nil
		}
	}
	return summarize(lane, n)
}

// laneSessions lists the sessions of a lane, and the segments that have each.
func laneSessions(lane string) ([]Session, error) {
	all, err := segments(lane)
	if err != nil {
		return nil, err
	}
	alive := live(lane)
	var sessions []Session
	at := make(map[ID]int)
	from := 0 // sessions before it are of an earlier writer
	for _, n := range all {
		sum, err := readIndex(lane, n)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errUnused) || errors.Is(err, errHeader) {
			continue // retired meanwhile, reserved, or for Verify to report
		}
		if err != nil {
			return nil, err
		}
		if sum.Opened {
			from = len(sessions)
		}
		for i := range sum.Sessions {
			s := &sum.Sessions[i]
			if j, ok := at[s.ID]; ok {
				sessions[j].merge(s)
				continue
			}
			at[s.ID] = len(sessions)
			sessions = append(sessions, *s)
		}
	}
	for i := range sessions {
		switch {
		case sessions[i].End != nil:
			sessions[i].State = "ended"
		case alive && i >= from:
			sessions[i].State = "open"
		default:
			sessions[i].State = "lost"
		}
	}
	return sessions, nil
}

// Duration is how long the session lasted so far.
func (s *Session) Duration() time.Duration { return s.Last.Sub(s.Begin) }
