package sql

import (
	"hash/maphash"
	"sort"
	"strings"
	"unicode/utf8"
	"unsafe"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Texts that differ only in literals share a template, so that a simple query
// does not cost a parse each time.
//
// The parse of the first text says where its constants are. A template is the
// bytes between them, compared exactly, and in each hole a run of 1 to 9 digits or
// what stands between two quotes without a quote or a backslash. Since the bytes
// next to a hole are the same too, the server's lexer makes the same tokens of such
// a text but for the values, and its grammar the same tree: no lexer of our own
// is trusted. Only constants whose value the analysis does not look at become
// holes: operands of operators, elements of VALUES and what an UPDATE sets.

// hole is the place of a constant in a text, without its quotes.
type hole struct {
	at, length int
	quoted     bool
}

// maxDigits keeps a number an int4, whatever its digits are.
const maxDigits = 9

// hole notes that the value of n does not matter to what was found out, if n
// is a constant.
func (a *analysis) hole(n *pg.Node) {
	c := n.GetAConst()
	if c == nil || c.Isnull || a.quiet || c.Location < 0 || int(c.Location) >= len(a.text) {
		return
	}
	at := int(c.Location)
	switch v := c.Val.(type) {
	case *pg.A_Const_Ival:
		end := digits(a.text, at)
		if n := end - at; n == 0 || n > maxDigits || a.text[at:end] != itoa(int(v.Ival.Ival)) ||
			at > 0 && joins(a.text[at-1]) || end < len(a.text) && joins(a.text[end]) {
			return
		}
		a.holes = append(a.holes, hole{at: at, length: end - at})
	case *pg.A_Const_Sval:
		s := v.Sval.Sval
		end := at + 1 + len(s)
		if a.text[at] != '\'' || end >= len(a.text) || a.text[at+1:end] != s || a.text[end] != '\'' || !plain(s) ||
			at > 0 && joins(a.text[at-1]) || end+1 < len(a.text) && joins(a.text[end+1]) {
			return
		}
		a.holes = append(a.holes, hole{at: at + 1, length: len(s), quoted: true})
	}
}

// joins reports whether a byte beside a constant may belong to it.
func joins(b byte) bool { return glues(b) || b == '\'' || b == '.' || b == '&' || b == '\\' }

// digits returns the end of the run of digits that starts at i.
func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// plain reports whether s means itself between quotes, to every server.
func plain(s string) bool {
	return strings.IndexByte(s, '\'') < 0 && strings.IndexByte(s, '\\') < 0 &&
		strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, '\v') < 0 && utf8.ValidString(s)
}

// template answers for all texts that differ in the holes only.
type template struct {
	in, out []string // what stands before each hole, and after the last: of the text, and of what the server gets
	quoted  []bool
	lengths []int // of the holes, in the first text
	edits   []protocol.Edit
	behind  []int // for each edit, how many holes are before it
	made    protocol.Judgement
	max     int
}

// newTemplate makes a template of a text and its judgement, nil if there is none
// to be made.
func newTemplate(text string, holes []hole, j *protocol.Judgement, max int) *template {
	if j.Refusal != nil {
		return nil
	}
	for i := range j.Plans {
		if j.Plans[i].Effect.Text != "" {
			return nil // it holds a piece of the text
		}
	}
	sort.Slice(holes, func(i, k int) bool { return holes[i].at < holes[k].at })
	t := &template{made: *j, max: max}
	last, lastOut, shift, e := 0, 0, 0, 0
	for i, h := range holes {
		if i > 0 && h == holes[i-1] {
			continue // looked at twice
		}
		for e < len(j.Edits) && j.Edits[e].At+j.Edits[e].Length < h.at {
			shift += j.Edits[e].Added - j.Edits[e].Length
			t.behind = append(t.behind, len(t.quoted))
			e++
		}
		if h.at <= last && last > 0 || e < len(j.Edits) && j.Edits[e].At <= h.at+h.length {
			continue // inside a piece that is replaced, or beside it
		}
		out := h.at + shift
		if out < lastOut || out+h.length > len(j.Text) || j.Text[out:out+h.length] != text[h.at:h.at+h.length] {
			return nil
		}
		t.in = append(t.in, text[last:h.at])
		t.out = append(t.out, j.Text[lastOut:out])
		t.quoted = append(t.quoted, h.quoted)
		t.lengths = append(t.lengths, h.length)
		last, lastOut = h.at+h.length, out+h.length
	}
	if len(t.quoted) == 0 {
		return nil
	}
	for ; e < len(j.Edits); e++ {
		t.behind = append(t.behind, len(t.quoted))
	}
	t.in, t.out = append(t.in, text[last:]), append(t.out, j.Text[lastOut:])
	t.edits = j.Edits
	return t
}

// bytes is what a template holds, about.
func (t *template) bytes() int {
	n := 512 + 48*len(t.quoted) + 40*len(t.edits)
	for i := range t.in {
		n += len(t.in[i]) + len(t.out[i])
	}
	return n
}

// match reports whether text is the template's, and calls each with the place of
// every hole.
func (t *template) match(text string, each func(i, at, end int)) bool {
	if len(text) > t.max {
		return false
	}
	at := 0
	for i, quoted := range t.quoted {
		s := t.in[i]
		if len(text)-at < len(s) || text[at:at+len(s)] != s {
			return false
		}
		at += len(s)
		end := at
		if quoted {
			n := strings.IndexByte(text[at:], '\'')
			if n < 0 || !plain(text[at:at+n]) {
				return false
			}
			end = at + n
		} else if end = digits(text, at); end == at || end-at > maxDigits {
			return false
		}
		if each != nil {
			each(i, at, end)
		}
		at = end
	}
	return text[at:] == t.in[len(t.in)-1]
}

// A Scratch is what a template's answer is written into. Its owner uses one
// answer at a time.
type Scratch struct {
	j     protocol.Judgement
	edits []protocol.Edit
	text  []byte
	ends  []int // of the holes, in the text
}

// answer is the judgement of a text that matches. It is good until s is used
// again, and for good if s is new.
func (t *template) answer(text string, s *Scratch) (*protocol.Judgement, bool) {
	s.ends = s.ends[:0]
	if cap(s.ends) < 2*len(t.quoted) {
		s.ends = make([]int, 0, 2*len(t.quoted))
	}
	if !t.match(text, func(_, at, end int) { s.ends = append(s.ends, at, end) }) {
		return nil, false
	}
	s.j = t.made
	if len(t.edits) == 0 {
		s.j.Text = text
		return &s.j, true
	}
	n := len(text) + len(t.out[len(t.out)-1]) - len(t.in[len(t.in)-1])
	for i := range t.quoted {
		n += len(t.out[i]) - len(t.in[i])
	}
	b := s.text[:0]
	if cap(b) < n {
		b = make([]byte, 0, n)
	}
	for i := range t.quoted {
		b = append(append(b, t.out[i]...), text[s.ends[2*i]:s.ends[2*i+1]]...)
	}
	b = append(b, t.out[len(t.out)-1]...)
	s.text = b
	s.j.Text = unsafe.String(unsafe.SliceData(b), len(b)) // of its own bytes, until s is used again
	s.edits = append(s.edits[:0], t.edits...)
	moved, k := 0, 0
	for i := range s.edits {
		for ; k < t.behind[i]; k++ {
			moved += s.ends[2*k+1] - s.ends[2*k] - t.lengths[k]
		}
		s.edits[i].At += moved
	}
	s.j.Edits = s.edits
	return &s.j, true
}

// shape hashes a text so that all texts of a template have the same hash: digits
// count as one, and what stands between an odd quote and the next not at all. It
// only says where to look; match decides.
func shape(seed maphash.Seed, text string) uint64 {
	var buf [128]byte
	b := buf[:0]
	var h uint64
	flush := func() {
		h = h*0x9e3779b97f4a7c15 + maphash.Bytes(seed, b)
		b = buf[:0]
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c >= '0' && c <= '9':
			i = digits(text, i)
			c = '0'
		case c == '\'':
			n := strings.IndexByte(text[i+1:], '\'')
			if n < 0 {
				i++
				break
			}
			i += n + 2
		default:
			i++
		}
		if b = append(b, c); len(b) == cap(b) {
			flush()
		}
	}
	flush()
	return h
}
