package record

import (
	"encoding/binary"
	"sort"
)

// encoder appends the fields of a payload: unsigned varints, strings with their
// length before them, maps sorted by key.
type encoder []byte

func (e *encoder) uint(v uint64) { *e = binary.AppendUvarint(*e, v) }
func (e *encoder) int(v int64)   { *e = binary.AppendVarint(*e, v) }

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	*e = append(*e, b...)
}

func (e *encoder) bool(b bool) {
	if b {
		*e = append(*e, 1)
	} else {
		*e = append(*e, 0)
	}
}

func (e *encoder) strings(m map[string]string) {
	e.uint(uint64(len(m)))
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		e.string(k)
		e.string(m[k])
	}
}

// bounds are how much of a text and of parameters is stored.
type bounds struct{ text, params int }

// kindOf returns the Kind of e, KindNone if not exactly one of its pointers is set.
func kindOf(e *Event) Kind {
	k, n := KindNone, 0
	note := func(set bool, kind Kind) {
		if set {
			k, n = kind, n+1
		}
	}
	note(e.Start != nil, KindStart)
	note(e.Statement != nil, KindStatement)
	note(e.Notice != nil, KindNotice)
	note(e.Refusal != nil, KindRefusal)
	note(e.Columns != nil, KindColumns)
	note(e.Rows != nil, KindRows)
	note(e.Outcome != nil, KindOutcome)
	note(e.End != nil, KindEnd)
	if n != 1 {
		return KindNone
	}
	return k
}

// encodeEvent appends the payload of e, which is of kind k.
func encodeEvent(b []byte, k Kind, e *Event, o bounds) []byte {
	w := encoder(b)
	switch k {
	case KindStart:
		e.Start.encode(&w)
	case KindStatement:
		e.Statement.encode(&w, o)
	case KindNotice:
		w.uint(e.Notice.Number)
		w.string(e.Notice.Type)
		w.string(e.Notice.Text[:min(len(e.Notice.Text), o.text)])
		w.strings(e.Notice.Facts)
	case KindRefusal:
		e.Refusal.encode(&w, o)
	case KindColumns:
		e.Columns.encode(&w)
	case KindRows:
		w.uint(e.Rows.Number)
		w.uint(uint64(e.Rows.Index))
		w.uint(uint64(e.Rows.Count))
		w.bool(e.Rows.Cut)
		w.bytes(e.Rows.Messages)
	case KindOutcome:
		e.Outcome.encode(&w)
	case KindEnd:
		w.string(e.End.Reason)
		w.string(e.End.Detail)
	}
	return w
}

func (s *Start) encode(w *encoder) {
	w.string(s.Subject)
	w.strings(s.Identity)
	w.string(s.Client)
	w.string(s.Origin)
	w.string(s.Protocol)
	w.string(s.Database)
	w.strings(s.Params)
	w.string(s.View)
	w.bool(s.Observe)
}

func (s *Statement) encode(w *encoder, o bounds) {
	w.uint(s.Number)
	w.text(s.Text, o.text)
	w.uint(uint64(len(s.Decisions)))
	for i := range s.Decisions {
		d := &s.Decisions[i]
		w.uint(uint64(d.Verdict))
		w.string(d.Rule)
		w.string(d.Tag)
		w.string(d.Object)
		w.string(d.Reason)
		w.bool(d.Observed)
	}
	w.bool(s.Rewritten)
	w.bool(s.Held)
	w.uint(uint64(max(s.Bound, len(s.Params))))
	w.params(s.Params, s.Formats, o.params)
}

// text appends a text, of which only limit bytes are stored, and then the length
// and the hash of the whole.
func (w *encoder) text(text string, limit int) {
	if limit <= 0 || len(text) <= limit {
		w.string(text)
		w.uint(0)
		return
	}
	w.string(text[:limit])
	w.uint(uint64(len(text)))
	h := sumString(text)
	*w = append(*w, h[:]...)
}

// params appends the values as far as limit bytes go. A value is preceded by its
// length plus 1, NULL is 0.
func (w *encoder) params(values [][]byte, formats []int16, limit int) {
	if limit <= 0 {
		w.uint(0)
		w.uint(0)
		return
	}
	n := 0
	for n < len(values) && len(values[n]) <= limit {
		limit -= len(values[n])
		n++
	}
	w.uint(uint64(n))
	for _, v := range values[:n] {
		if v == nil {
			w.uint(0)
			continue
		}
		w.uint(uint64(len(v)) + 1)
		*w = append(*w, v...)
	}
	w.uint(uint64(len(formats)))
	for _, f := range formats {
		w.int(int64(f))
	}
}

func (r *Refusal) encode(w *encoder, o bounds) {
	w.uint(r.Number)
	w.uint(uint64(r.Index))
	w.text(r.Text, o.text)
	w.string(r.Code)
	w.string(r.Message)
	w.string(r.Detail)
	w.string(r.Hint)
	w.string(r.Rule)
	w.bool(r.Fatal)
}

func (c *Columns) encode(w *encoder) {
	w.uint(c.Number)
	w.uint(uint64(c.Index))
	w.uint(uint64(len(c.Columns)))
	for i := range c.Columns {
		w.string(c.Columns[i].Name)
		w.uint(uint64(c.Columns[i].Type))
		w.int(int64(c.Columns[i].Format))
		w.string(c.Columns[i].Tag)
	}
}

func (o *Outcome) encode(w *encoder) {
	w.uint(o.Number)
	w.uint(uint64(o.Index))
	w.string(o.Tag)
	w.string(o.Code)
	w.int(o.Rows)
	w.int(o.Bytes)
	w.int(o.MaskedValues)
	w.int(o.Micros)
}
