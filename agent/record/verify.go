package record

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A Finding is one thing that is not as it was written, or that a reader should
// know.
type Finding struct {
	Lane    int    `json:"lane"`
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`
	Session ID     `json:"session,omitzero"`
	Problem string `json:"problem"` // a sentence
	// Grave is false for what the death of an agent, or retention, explains: nothing
	// that was recorded is missing then, or what is missing was announced.
	Grave bool `json:"grave"`
}

// A Report is the result of Verify.
type Report struct {
	Lanes    int       `json:"lanes"`
	Segments int       `json:"segments"`
	Sessions uint64    `json:"sessions"` // that begin in what is there
	Events   uint64    `json:"events"`
	Head     time.Time `json:"head"` // of the last event
	Anchors  []Anchor  `json:"anchors"`
	Findings []Finding `json:"findings"`
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
// off. key is Options.Key, nil if there was none; kept are anchors that were taken
// away to somewhere safe, and must still be part of the log. The error is of
// reading. It can run while the directory is written.
func Verify(dir string, key []byte, kept ...Anchor) (*Report, error) {
	all, err := lanes(dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Lanes: len(all)}
	seen := make(map[int]bool)
	for _, n := range all {
		seen[n] = true
		v := &verifier{report: r, number: n, dir: filepath.Join(dir, laneName(n)), key: key}
		for _, a := range kept {
			if a.Lane == n {
				v.anchors = append(v.anchors, a)
			}
		}
		if err := v.run(); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	for i := range all {
		if !seen[i] {
			r.Findings = append(r.Findings, Finding{Lane: i, Grave: true, Problem: "the lane is missing"})
		}
	}
	for _, a := range kept {
		if !seen[a.Lane] {
			r.Findings = append(r.Findings, Finding{Lane: a.Lane, Grave: true, Problem: "the lane of an anchor is missing"})
		}
	}
	return r, nil
}

// chain is what is known of one session so far.
type chain struct {
	seq  uint32
	prev hash
}

// verifier walks one lane.
type verifier struct {
	report  *Report
	dir     string
	number  int
	key     []byte
	anchors []Anchor

	segment uint64
	lane    hash
	known   bool // lane and count are what the next header must say
	count   uint64
	open    map[ID]*chain
	partial bool // sessions may have begun before the first segment
	first   segmentInfo
	retired *retirement
	alive   bool
	lastEnd string          // reason of the last seal, "" if there was a frame since
	broken  bool            // something of the current segment was unreadable
	hashes  map[uint64]hash // at the counts that an anchor or the head names
}

type retirement struct {
	kept, before uint64
	lane         hash
}

func (v *verifier) find(grave bool, off int64, id ID, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{Lane: v.number, Segment: v.segment, Offset: off,
		Session: id, Grave: grave, Problem: fmt.Sprintf(format, args...)})
}

func (v *verifier) run() error {
	v.open = make(map[ID]*chain)
	v.hashes = make(map[uint64]hash)
	v.alive = live(v.dir)
	// The head is read first: a lane that is written goes on meanwhile.
	last, haveHead := readHead(v.dir)
	stored, err := readAnchor(v.dir)
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	switch {
	case err != nil:
		v.find(true, 0, ID{}, "the anchor file is damaged")
	case stored != nil:
		v.anchors = append(v.anchors, *stored)
	case v.key != nil:
		v.find(true, 0, ID{}, "there is no anchor file, although there is a key")
	}
	for _, a := range v.anchors {
		v.hashes[a.Events] = hash{}
	}
	if haveHead {
		v.hashes[last.count] = hash{}
	}
	all, err := segments(v.dir)
	if err != nil {
		return err
	}
	for i, n := range all {
		last := i == len(all)-1
		err := v.one(n, v.first.number == 0, last)
		if errors.Is(err, os.ErrNotExist) && (last || v.first.number == 0) {
			continue // a reservation that was given up, or retired meanwhile
		}
		if err != nil {
			return err
		}
	}
	if len(all) == 0 && haveHead {
		v.find(true, 0, ID{}, "all segments are missing")
		return nil
	}
	v.checkRetention()
	if haveHead {
		v.checkHead(&last)
	} else if len(all) > 0 && v.count > 0 {
		v.find(true, 0, ID{}, "the head file is missing or damaged")
	}
	for i := range v.anchors {
		v.checkAnchor(&v.anchors[i])
	}
	v.ended(false)
	if v.known {
		v.report.Anchors = append(v.report.Anchors, *newAnchor(v.number,
			&head{count: v.count, segment: v.segment, lane: v.lane, time: v.report.Head.UnixNano()}, v.key))
	}
	return nil
}

// one verifies a segment.
func (v *verifier) one(n uint64, first, last bool) error {
	if !first && n != v.segment+1 {
		v.find(true, 0, ID{}, "segments %d to %d are missing", v.segment+1, n-1)
		v.known, v.partial = false, true
	}
	previous := v.segment
	v.segment = n
	f, info, err := openSegment(v.dir, n)
	if errors.Is(err, os.ErrNotExist) {
		v.segment = previous
		return err
	}
	if errors.Is(err, errUnused) && last {
		v.segment = previous
		return nil
	}
	if errors.Is(err, errUnused) || errors.Is(err, errHeader) {
		if last && unusedFile(v.dir, n) {
			v.segment = previous
			return nil
		}
		v.find(true, 0, ID{}, "the segment's header is damaged")
		v.known, v.partial = false, true
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	v.report.Segments++
	if first {
		v.first = info
		v.partial = v.partial || n > 1
	} else if v.known && (info.lane != v.lane || info.before != v.count) {
		v.find(true, 0, ID{}, "the segment does not follow the one before it: the end of that was changed or cut off (%d events there, %d expected)", v.count, info.before)
		v.partial = true
	}
	v.lane, v.count, v.known, v.broken = info.after(), info.before, true, false
	sc := newScanner(f)
	for {
		var fr frame
		err := sc.next(&fr)
		if err == io.EOF {
			break
		}
		if errors.Is(err, errDamaged) {
			at := sc.off
			if v.broken = true; sc.skip() {
				v.find(true, at, ID{}, "an event is damaged")
				v.count++
				continue
			}
			v.find(true, at, ID{}, "nothing can be read from here to the end of the segment")
			break
		}
		if err != nil {
			return err
		}
		v.frame(&fr)
	}
	if v.broken {
		v.known, v.partial = false, true
	}
	return nil
}

func (v *verifier) frame(fr *frame) {
	v.report.Events++
	v.report.Head = fr.time
	if fr.session.IsZero() {
		if !v.broken && !fr.follows(&v.lane) {
			v.find(true, fr.offset, ID{}, "the events before it in this segment were changed, removed or added to")
			v.broken = true
		}
	} else {
		v.session(fr)
	}
	v.lane = link(&v.lane, &fr.hash)
	v.count++
	if _, ok := v.hashes[v.count]; ok && !v.broken {
		v.hashes[v.count] = v.lane
	}
	if fr.session.IsZero() {
		v.own(fr)
	} else {
		v.lastEnd = ""
	}
}

// session verifies a frame of a session.
func (v *verifier) session(fr *frame) {
	c := v.open[fr.session]
	if c == nil {
		c = new(chain)
		v.open[fr.session] = c
		if fr.seq == 1 && fr.kind == KindStart {
			v.report.Sessions++
		} else if v.partial || v.broken {
			c.seq, c.prev = fr.seq, fr.hash // what came before is gone, and was reported
			v.done(fr)
			return
		}
	}
	switch {
	case fr.seq != c.seq+1 && v.broken:
	case fr.seq != c.seq+1:
		v.find(true, fr.offset, fr.session, "event %d follows event %d: events were removed or added", fr.seq, c.seq)
	case !fr.follows(&c.prev):
		v.find(true, fr.offset, fr.session, "event %d or one before it was changed", fr.seq)
	}
	c.seq, c.prev = fr.seq, fr.hash
	if _, err := decodeEvent(fr); err != nil {
		v.find(true, fr.offset, fr.session, "event %d can't be decoded", fr.seq)
	}
	v.done(fr)
}

func (v *verifier) done(fr *frame) {
	if fr.kind == KindEnd {
		delete(v.open, fr.session)
	}
}

// own takes note of a frame of the store itself.
func (v *verifier) own(fr *frame) {
	d := &decoder{b: fr.payload}
	switch fr.kind {
	case kindOpen:
		clean, lost, note := d.bool(), d.uint(), d.string()
		v.ended(clean)
		if lost > 0 {
			v.find(true, fr.offset, ID{}, "%d events before it were lost: the host crashed, or they were removed", lost)
		}
		if note != "" {
			v.find(true, fr.offset, ID{}, "when the lane was opened: %s", note)
		}
	case kindSeal:
		v.lastEnd = d.string()
		if v.lastEnd == sealRecovered {
			v.find(false, fr.offset, ID{}, "the agent died; nothing that was recorded is missing")
		}
	case kindRetire:
		r := &retirement{kept: d.uint(), before: d.uint()}
		copy(r.lane[:], d.bytes())
		if !d.bad {
			v.retired = r
		}
	default:
		v.find(true, fr.offset, ID{}, "an event of an unknown kind")
	}
}

// ended is called where no session can be open any more, but for a crash.
func (v *verifier) ended(clean bool) {
	if !clean && v.lastEnd != sealClosed {
		if n := len(v.open); n > 0 && !v.alive {
			v.find(false, 0, ID{}, "%d sessions have no end, since the agent died", n)
		}
		v.open = make(map[ID]*chain)
		return
	}
	for id, c := range v.open {
		v.find(true, 0, id, "the session has no end after event %d, although the log was closed", c.seq)
	}
	v.open = make(map[ID]*chain)
}

// checkRetention asks whether what is missing at the beginning was announced.
func (v *verifier) checkRetention() {
	n := v.first.number
	switch r := v.retired; {
	case n <= 1:
	case r == nil || r.kept < n:
		v.report.Findings = append(v.report.Findings, Finding{Lane: v.number, Segment: n, Grave: true,
			Problem: fmt.Sprintf("segments before %d are missing, and retention did not remove them", n)})
	case r.kept == n && (r.before != v.first.before || r.lane != v.first.lane):
		v.report.Findings = append(v.report.Findings, Finding{Lane: v.number, Segment: n, Grave: true,
			Problem: "the first segment is not the one that retention kept"})
	default:
		v.report.Findings = append(v.report.Findings, Finding{Lane: v.number, Segment: n,
			Problem: fmt.Sprintf("%d events in %d segments were removed by retention", v.first.before, n-1)})
	}
}

func (v *verifier) checkHead(h *head) {
	switch {
	case v.count < h.count:
		v.find(true, 0, ID{}, "the last %d events are missing", h.count-v.count)
	case h.count > v.first.before && !v.anyBroken() && v.hashes[h.count] != h.lane:
		v.find(true, 0, ID{}, "the log is not the one that the head file belongs to")
	}
}

// anyBroken says that the hashes at some counts can't be known, which was reported.
func (v *verifier) anyBroken() bool {
	for _, f := range v.report.Findings {
		if f.Lane == v.number && f.Grave {
			return true
		}
	}
	return false
}

func (v *verifier) checkAnchor(a *Anchor) {
	switch {
	case v.key != nil && !a.Genuine(v.key):
		v.find(true, 0, ID{}, "the anchor of %s was not made with the key", a.Time.Format(time.RFC3339))
	case a.Events > v.count:
		v.find(true, 0, ID{}, "the anchor of %s counts %d events, and %d are there", a.Time.Format(time.RFC3339), a.Events, v.count)
	case a.Events <= v.first.before || v.anyBroken():
	default:
		if h := v.hashes[a.Events]; hex.EncodeToString(h[:]) != a.Hash {
			v.find(true, 0, ID{}, "the log up to the anchor of %s is another one", a.Time.Format(time.RFC3339))
		}
	}
}
