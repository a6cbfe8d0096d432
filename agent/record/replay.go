package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// Replay is Read at the pace at which it happened, times speed; speed 0 does not
// wait, and no pause is longer than longest (0: as it was).
func Replay(ctx context.Context, dir string, id ID, speed float64, longest time.Duration) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		var last time.Time
		for e, err := range Read(dir, id) {
			if err == nil && speed > 0 && !last.IsZero() {
				d := time.Duration(float64(e.Time.Sub(last)) / speed)
				if longest > 0 {
					d = min(d, longest)
				}
				if !sleep(ctx, d) {
					yield(nil, ctx.Err())
					return
				}
			}
			if err == nil {
				last = e.Time
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// tailEvery is how often Tail looks for more.
const tailEvery = 100 * time.Millisecond

// follower reads on in one lane.
type follower struct {
	lane   string
	number uint64 // segment, 0: none yet
	file   *os.File
	sc     *scanner
}

// Tail yields the events of all sessions (id zero) or of one as they are written,
// from now on, until ctx ends. Events of one session come in order.
func Tail(ctx context.Context, dir string, id ID) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		lanesOf := make(map[int]*follower)
		defer func() {
			for _, f := range lanesOf {
				f.close()
			}
		}()
		for first := true; ; first = false {
			all, err := lanes(dir)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, n := range all {
				f := lanesOf[n]
				if f == nil {
					f = &follower{lane: filepath.Join(dir, laneName(n))}
					lanesOf[n] = f
					if first {
						f.toEnd()
					}
				}
				for e, err := range f.more(id) {
					if !yield(e, err) || err != nil || ctx.Err() != nil {
						return
					}
				}
			}
			if !sleep(ctx, tailEvery) {
				return
			}
		}
	}
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// toEnd skips what is there already.
func (f *follower) toEnd() {
	all, err := segments(f.lane)
	if err != nil {
		return
	}
	for i := len(all) - 1; i >= 0; i-- {
		if f.open(all[i]) == nil {
			break
		}
	}
	for f.sc != nil {
		var fr frame
		if f.sc.next(&fr) != nil {
			return
		}
	}
}

func (f *follower) open(n uint64) error {
	file, _, err := openSegment(f.lane, n)
	if err != nil {
		return err
	}
	f.close()
	f.file, f.number, f.sc = file, n, newScanner(file)
	return nil
}

// more yields what was written since the last call.
func (f *follower) more(id ID) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			for f.sc != nil {
				var fr frame
				err := f.sc.next(&fr)
				if err == io.EOF {
					break
				}
				if errors.Is(err, errDamaged) && f.sc.skip() {
					continue
				}
				var e *Event
				if err == nil {
					if fr.session.IsZero() || !id.IsZero() && fr.session != id {
						continue
					}
					e, err = decodeEvent(&fr)
				}
				if err != nil {
					yield(nil, fmt.Errorf("segment %d: %w", f.number, err))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			if !f.advance() {
				return
			}
		}
	}
}

// advance opens the segment after the current one, if it is in use already.
func (f *follower) advance() bool {
	all, err := segments(f.lane)
	if err != nil {
		return false
	}
	for _, n := range all {
		if n > f.number {
			// The current one may have got its last frames since it was looked at.
			if f.sc != nil {
				var fr frame
				if f.sc.read(&fr) == nil {
					f.sc.off = fr.offset
					f.sc.buf = f.sc.buf[:0]
					return true
				}
			}
			return f.open(n) == nil
		}
	}
	return false
}

// Export writes the events of the chosen sessions as JSON lines, session by
// session. It goes on behind a session that can't be read, and returns the first
// such error.
func Export(w io.Writer, dir string, f Filter) error {
	sessions, err := Sessions(dir, f)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	var first error
	for i := range sessions {
		for e, err := range Read(dir, sessions[i].ID) {
			if err != nil {
				if first == nil {
					first = err
				}
				break
			}
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
	}
	return first
}

// MarshalJSON adds the kind, so that a line can be told without looking for the
// member that is there.
func (e *Event) MarshalJSON() ([]byte, error) {
	type plain Event
	return json.Marshal(struct {
		Kind string `json:"kind"`
		*plain
	}{e.Kind.String(), (*plain)(e)})
}
