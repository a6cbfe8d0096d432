package record

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Log is the log of one session. It is safe for concurrent use.
type Log struct {
	s  *Store
	id ID

	mu     sync.Mutex
	seq    uint32
	prev   hash
	err    error // of Buffer, for the next Append
	closed bool

	// The result whose rows are being recorded.
	number    uint64
	index     int
	rows      int
	rowBytes  int
	exhausted bool
}

// Begin records the start of a session and returns its log.
func (s *Store) Begin(start *Start) (*Log, error) {
	l := &Log{s: s, id: newID(time.Now())}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("begin session: %w", ErrClosed)
	}
	s.sessions[l] = struct{}{}
	s.mu.Unlock()
	if err := l.Append(&Event{Start: start}); err != nil {
		l.drop()
		return nil, fmt.Errorf("begin session: %w", err)
	}
	return l, nil
}

// ID names the session.
func (l *Log) ID() ID { return l.id }

// Append returns nil when e is in the file (with Always: on the disk). After any
// error the caller must refuse what e is about; e is then not in the file, but if
// the disk itself failed.
func (l *Log) Append(e *Event) error {
	l.mu.Lock()
	if err := l.err; err != nil {
		l.err = nil
		l.mu.Unlock()
		return err
	}
	count, err := l.append(e)
	l.mu.Unlock()
	if err == nil && l.s.o.Sync == Always {
		err = l.s.waitSynced(count)
	}
	return err
}

// Buffer is Append for what need not precede anything, such as outcomes: it never
// waits for the disk, and its error is what the next Append returns. The event is
// in the file when it returns, so that it outlives the process.
func (l *Log) Buffer(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.append(e); err != nil && l.err == nil {
		l.err = err
	}
}

// append writes e. l.mu is held.
func (l *Log) append(e *Event) (uint64, error) {
	k := kindOf(e)
	switch {
	case l.closed:
		return 0, ErrClosed
	case k == KindNone:
		return 0, fmt.Errorf("event has no or several bodies: %w", errPayload)
	case l.seq == math.MaxUint32:
		return 0, fmt.Errorf("%w: the session has too many events", ErrFull)
	}
	sc := newScratch()
	defer sc.free()
	sc.b = encodeEvent(sc.b, k, e, l.s.max)
	now := time.Now()
	fr, h := sc.finish(&l.prev, now, l.id, l.seq+1, k)
	count, err := l.s.append(fr, &h, now, k)
	if err != nil {
		return 0, err
	}
	l.seq++
	l.prev = h
	return count, nil
}

// Rows records whole backend messages (DataRow, CopyData) of the index-th result
// of run number, as far as Options.Rows and Options.RowBytes go. It is cheap to
// call after that, and never waits for the disk.
func (l *Log) Rows(number uint64, index int, msgs []byte, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.number != number || l.index != index {
		l.number, l.index, l.rows, l.rowBytes, l.exhausted = number, index, 0, 0, false
	}
	if l.exhausted || count == 0 || l.s.o.Rows < 0 || l.s.o.RowBytes < 0 {
		return
	}
	part, n := cutMessages(msgs, l.s.o.Rows-l.rows, l.s.o.RowBytes-l.rowBytes)
	l.exhausted = n < count
	l.rows += n
	l.rowBytes += len(part)
	e := Rows{Number: number, Index: index, Count: n, Cut: l.exhausted, Messages: part}
	if _, err := l.append(&Event{Rows: &e}); err != nil && l.err == nil {
		l.err = err
	}
}

// End records the end and closes the log. Only the first call counts.
func (l *Log) End(reason, detail string) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	_, err := l.append(&Event{End: &End{Reason: reason, Detail: detail}})
	l.closed = true
	l.mu.Unlock()
	l.drop()
	return err
}

func (l *Log) drop() {
	l.s.mu.Lock()
	delete(l.s.sessions, l)
	l.s.mu.Unlock()
}
