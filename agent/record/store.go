package record

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Store is the writer of one lane of a directory. It is safe for concurrent use.
type Store struct {
	o    Options
	dir  string // of the lane
	lane int
	lock *os.File
	max  bounds

	mu        sync.Mutex
	cur       *segment
	sealed    []*segment // full, not yet synced and unmapped
	finishing uint64     // the oldest of those that syncOnce is at, 0: none
	head      head
	page      *headPage
	closed    bool
	failed    error
	lastTry   time.Time // of reserving a segment within append
	sessions  map[*Log]struct{}

	// The segment that comes after cur, reserved ahead.
	reserving  sync.Mutex
	next       atomic.Pointer[segment]
	nextNumber uint64 // guarded by reserving
	totals     totals

	syncing  sync.Mutex // guards synced; cond is on it
	cond     *sync.Cond
	synced   uint64       // frames known to be on the disk
	oldest   atomic.Int64 // time of the first frame since the last sync began, 0: none
	dead     bool
	anchored time.Time // of the last anchor file; of syncOnce alone

	wantSync, wantKeep, stop chan struct{}
	done                     sync.WaitGroup

	events, bytes, refused, syncs atomic.Uint64
	full                          atomic.Bool
}

// totals are the size of a lane's files, the one being written not counted.
type totals struct {
	sync.Mutex
	segments int
	size     int64
}

const (
	defaultSegment  = 64 << 20
	leastSegment    = 256 << 10
	defaultText     = 1 << 20
	defaultRowBytes = 64 << 10
	defaultRows     = 100

	// spare is room that statements leave to what must still be told when
	// nothing else fits: refusals, outcomes and ends.
	spare = 64 << 10
)

func (o *Options) defaults() {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegment
	}
	o.SegmentBytes = max(leastSegment, o.SegmentBytes&^4095)
	if o.TextBytes <= 0 {
		o.TextBytes = defaultText
	}
	o.TextBytes = int(min(int64(o.TextBytes), o.SegmentBytes/8))
	if o.RowBytes == 0 {
		o.RowBytes = defaultRowBytes
	}
	o.RowBytes = int(min(int64(o.RowBytes), o.SegmentBytes/8))
	o.ParamBytes = int(min(int64(o.ParamBytes), o.SegmentBytes/8))
	if o.Rows == 0 {
		o.Rows = defaultRows
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Open opens dir for writing, creates it (0700) if need be, and repairs what a
// crash left. Several stores, also of several processes, may write to one
// directory: each has a lane of its own. Open starts goroutines that sync,
// reserve and retire segments; Close stops them.
func Open(dir string, o Options) (*Store, error) {
	o.defaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	} else if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open records: %w", err)
		}
	}
	lane, lock, err := lockLane(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, lane: lane, lock: lock, dir: filepath.Join(dir, laneName(lane)),
		max: bounds{o.TextBytes, o.ParamBytes}, sessions: make(map[*Log]struct{}),
		wantSync: make(chan struct{}, 1), wantKeep: make(chan struct{}, 1), stop: make(chan struct{})}
	s.cond = sync.NewCond(&s.syncing)
	if err := s.start(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open records in %s: %w", s.dir, err)
	}
	s.done.Add(2)
	go s.sync()
	go s.keep()
	return s, nil
}

// start finds where the lane ends, and begins a new segment there.
func (s *Store) start() error {
	now := time.Now()
	r, err := recoverLane(s.dir, now)
	if err != nil {
		return err
	}
	if s.page, err = openHead(s.dir); err != nil {
		return err
	}
	if !r.clean {
		s.o.Log.Warn("records were not closed", "lane", s.lane, "lost", r.lost, "damage", r.note)
	}
	all, err := segments(s.dir)
	if err != nil {
		return err
	}
	for _, n := range all {
		if info, err := os.Stat(filepath.Join(s.dir, segmentName(n))); err == nil {
			s.totals.segments++
			s.totals.size += info.Size()
		}
	}
	s.head = r.head
	s.nextNumber = r.segment + 1
	err = s.roll(now, "")
	if err == nil {
		err = s.own(now, kindOpen, func(w *encoder) {
			w.bool(r.clean)
			w.uint(r.lost)
			w.string(r.note)
		})
	}
	if err != nil {
		s.page.close()
		if s.cur != nil {
			s.cur.discard()
		}
	}
	return err
}

// roll seals the current segment and begins the next. s.mu is held.
func (s *Store) roll(now time.Time, why string) error {
	next, err := s.reserve(now)
	if err != nil {
		return err
	}
	if s.cur != nil {
		if err := s.seal(now, why); err != nil {
			s.next.Store(next)
			return err
		}
	}
	info := segmentInfo{number: next.number, time: now, before: s.head.count, lane: s.head.lane}
	h, err := next.begin(info)
	if err != nil {
		return s.fail(err)
	}
	s.cur = next
	s.head.lane, s.head.segment, s.head.end, s.head.time = h, next.number, next.off, now.UnixNano()
	s.signal(s.wantKeep)
	return nil
}

// reserve returns the next segment, which it takes from the one reserved ahead or
// makes. s.mu is held, or nobody else knows s.
func (s *Store) reserve(now time.Time) (*segment, error) {
	if next := s.next.Swap(nil); next != nil {
		return next, nil
	}
	// One attempt in a while is enough on a full disk.
	if s.full.Load() && now.Sub(s.lastTry) < 100*time.Millisecond {
		return nil, ErrFull
	}
	s.lastTry = now
	if err := s.ahead(); err != nil {
		return nil, err
	}
	return s.next.Swap(nil), nil
}

// ahead reserves the next segment if there is none.
func (s *Store) ahead() error {
	s.reserving.Lock()
	defer s.reserving.Unlock()
	if s.next.Load() != nil {
		return nil
	}
	next, err := createSegment(s.dir, s.nextNumber, s.o.SegmentBytes, leastSegment)
	if err != nil {
		if !s.full.Swap(true) {
			s.o.Log.Error("no room for records: statements are refused", "error", err)
		}
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	if s.full.Swap(false) {
		s.o.Log.Info("there is room for records again")
	}
	syncDir(s.dir)
	s.nextNumber++
	s.next.Store(next)
	return nil
}

// seal writes the last frame of the current segment, and hands it to be synced.
func (s *Store) seal(now time.Time, why string) error {
	err := s.own(now, kindSeal, func(w *encoder) { w.string(why); w.uint(s.head.count) })
	s.sealed = append(s.sealed, s.cur)
	s.cur = nil
	return err
}

// own appends a frame of the store's own to the current segment. s.mu is held.
func (s *Store) own(now time.Time, k Kind, fill func(*encoder)) error {
	fr, h, free := storeFrame(&s.head.lane, now, k, fill)
	defer free()
	return s.put(fr, &h, now.UnixNano())
}

// put writes a frame for which there is room. s.mu is held.
func (s *Store) put(fr []byte, h *hash, now int64) error {
	if err := s.cur.write(fr); err != nil {
		return s.fail(err)
	}
	s.head.lane = link(&s.head.lane, h)
	s.head.count++
	s.head.end, s.head.time = s.cur.off, now
	if err := s.page.put(&s.head); err != nil {
		return s.fail(err)
	}
	if s.oldest.Load() == 0 {
		s.oldest.Store(now)
	}
	s.events.Add(1)
	s.bytes.Add(uint64(len(fr)))
	if s.cur.off > s.cur.populated.Load()-populateStep/2 {
		s.signal(s.wantKeep)
	}
	return nil
}

// append writes a frame of a session, and returns how many frames there are then.
func (s *Store) append(fr []byte, h *hash, now time.Time, k Kind) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeRoom(int64(len(fr)), now, k == KindStart || k == KindStatement); err != nil {
		s.refused.Add(1)
		return 0, err
	}
	if err := s.put(fr, h, now.UnixNano()); err != nil {
		s.refused.Add(1)
		return 0, err
	}
	return s.head.count, nil
}

// makeRoom makes sure that size bytes fit into the current segment. Statements
// leave a spare for what follows from those before them.
func (s *Store) makeRoom(size int64, now time.Time, statement bool) error {
	switch {
	case s.failed != nil:
		return s.failed
	case s.closed || s.cur == nil:
		return ErrClosed
	}
	need := pad(size)
	if need+spare <= s.cur.room() {
		return nil
	}
	if need > s.o.SegmentBytes-segmentHeader-sealRoom {
		return fmt.Errorf("%w: the event is larger than a segment", ErrFull)
	}
	err := s.roll(now, sealFull)
	if err == nil && need > s.cur.room() {
		return fmt.Errorf("%w: the event is larger than what the disk has room for", ErrFull)
	}
	if err != nil && !statement && s.failed == nil && s.cur != nil && need <= s.cur.room() {
		return nil
	}
	return err
}

// fail makes err stick. s.mu is held.
func (s *Store) fail(err error) error {
	if s.failed == nil {
		if !errors.Is(err, ErrFailed) {
			err = fmt.Errorf("%w: %w", ErrFailed, err)
		}
		s.failed = err
		s.o.Log.Error("recording failed: statements are refused", "error", err)
	}
	return s.failed
}

func (s *Store) signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Waits reports whether Append waits for the disk, each time.
func (s *Store) Waits() bool { return s.o.Sync == Always }

// Health returns why Append fails now, nil if it does not.
func (s *Store) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return s.failed
	case s.closed:
		return ErrClosed
	case s.full.Load():
		return ErrFull
	}
	return nil
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	st := Stats{Sessions: len(s.sessions), Failed: s.failed != nil, Segments: 1}
	if s.cur != nil {
		st.Size = s.cur.off
	}
	s.mu.Unlock()
	s.totals.Lock()
	st.Segments += s.totals.segments
	st.Size += s.totals.size
	s.totals.Unlock()
	st.Events, st.Bytes = s.events.Load(), s.bytes.Load()
	st.Refused, st.Syncs = s.refused.Load(), s.syncs.Load()
	st.Full = s.full.Load()
	if t := s.oldest.Load(); t != 0 {
		st.Lag = max(0, time.Since(time.Unix(0, t)))
	}
	return st
}

// Anchor returns the present head of the lane, authenticated with Options.Key.
func (s *Store) Anchor() *Anchor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return newAnchor(s.lane, &s.head, s.o.Key)
}

// Close ends the logs that are still open, syncs, and releases the lane. The error
// is of what could not be written.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	logs := make([]*Log, 0, len(s.sessions))
	for l := range s.sessions {
		logs = append(logs, l)
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range logs {
		if err := l.End("shutdown", ""); err != nil && !errors.Is(err, ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.mu.Lock()
	if s.failed == nil && s.cur != nil {
		errs = append(errs, s.seal(time.Now(), sealClosed))
	} else if s.cur != nil {
		s.sealed = append(s.sealed, s.cur)
		s.cur = nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.done.Wait()
	errs = append(errs, s.syncOnce())
	if next := s.next.Swap(nil); next != nil {
		next.discard()
	}
	errs = append(errs, s.page.close(), s.lock.Close())
	return errors.Join(errs...)
}
