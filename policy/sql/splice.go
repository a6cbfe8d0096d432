package sql

import (
	"sort"
	"strings"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// edit replaces a piece of the text.
type edit struct {
	at, length int
	text       string
	proven     string // the part of text that prove has looked at
	reads      bool   // text may name relations
	rows       bool   // text leaves out rows of what the statement changes
}

// madePiece is where an edit has put its text.
type madePiece struct {
	edit       edit
	at, length int
}

// token is one word of the text, as the server's own scanner finds it.
type token struct {
	Start, End int32
	Token      pg.Token
}

// strip is a reference that names its relation's schema, which the alias that
// takes the relation's place does not have.
type strip struct {
	fields int
	ref    *reference
}

func quote(s string) string {
	if strings.IndexByte(s, '"') < 0 {
		return `"` + s + `"`
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

func (j *judge) insert(at int, text string) { j.edits = append(j.edits, edit{at: at, text: text}) }

func (j *judge) replace(at, end int, text string) {
	j.edits = append(j.edits, edit{at: at, length: end - at, text: text})
}

// scan returns the tokens of the text without comments, as the server's own
// scanner finds them.
func (a *analysis) scan() []token {
	if a.tokens != nil {
		return a.tokens
	}
	b, err := parser.ScanToProtobuf(a.text)
	if err != nil {
		a.fail("42601", -1, "the text cannot be scanned")
	}
	// The fields of ScanResult and ScanToken by number (pg_query.proto).
	a.tokens = make([]token, 0, len(b)/10)
	for len(b) > 0 {
		num, data, _, rest, ok := wireNext(b)
		b = rest
		if ok && num == 1 {
			continue
		}
		var t token
		for ok && len(data) > 0 {
			var n uint64
			num, _, n, data, ok = wireNext(data)
			switch num {
			case 1:
				t.Start = int32(n)
			case 2:
				t.End = int32(n)
			case 4:
				t.Token = pg.Token(n)
			}
		}
		if !ok {
			a.fail("42601", -1, "the text cannot be scanned")
		}
		if t.Token != pg.Token_SQL_COMMENT && t.Token != pg.Token_C_COMMENT {
			a.tokens = append(a.tokens, t)
		}
	}
	return a.tokens
}

// tokenAt returns the index of the token that starts at a place.
func (a *analysis) tokenAt(at int32) int {
	t := a.scan()
	i := sort.Search(len(t), func(i int) bool { return t[i].Start >= at })
	if at < 0 || i == len(t) || t[i].Start != at {
		a.fail("0A000", -1, "a name of the statement cannot be found in its text")
	}
	return i
}

// is reports whether token i is the given one.
func (a *analysis) is(i int, k pg.Token) bool {
	t := a.scan()
	return i >= 0 && i < len(t) && t[i].Token == k
}

// qualified returns the index after a name of n parts that starts at token i,
// and the index of each part.
func (a *analysis) qualified(i, n int) (end int, parts []int) {
	for p := 0; p < n; p++ {
		if p > 0 {
			if !a.is(i, pg.Token_ASCII_46) {
				a.fail("0A000", -1, "a name of the statement cannot be found in its text")
			}
			i++
		}
		parts = append(parts, i)
		i++
		if a.is(i, pg.Token_UESCAPE) {
			i += 2
		}
	}
	if i > len(a.scan()) {
		a.fail("0A000", -1, "a name of the statement cannot be found in its text")
	}
	return i, parts
}

// spliceAll makes the edits of one statement, after all of it is known.
func (a *analysis) spliceAll() {
	for _, s := range a.stars {
		a.spliceStar(s)
	}
	for x, s := range a.strips {
		if s.ref.spliced() {
			i := a.tokenAt(x.Location)
			_, parts := a.qualified(i, s.fields)
			t := a.scan()
			a.replace(int(t[i].Start), int(t[parts[len(parts)-2]].Start), "")
		}
	}
	for x, text := range a.inlines {
		i := a.tokenAt(x.Location)
		end, _ := a.qualified(i, len(x.Fields))
		t := a.scan()
		a.replace(int(t[i].Start), int(t[end-1].End), text)
	}
	for _, r := range a.order {
		if r.spliced() {
			a.splice(r)
		}
	}
	a.spliceRows()
	for rv, rel := range a.pins {
		if r := a.refs[rv]; r != nil && r.spliced() {
			continue
		}
		if rv.Location >= 0 {
			a.insert(int(a.scan()[a.tokenAt(rv.Location)].Start), quote(rel.Schema)+".")
		}
	}
}

// splice replaces the name of a relation by a sub-select that holds its masks.
func (a *analysis) splice(r *reference) {
	t := a.scan()
	first := a.tokenAt(r.rv.Location)
	n := 1
	if r.rv.Schemaname != "" {
		n++
	}
	if r.rv.Catalogname != "" {
		n++
	}
	end, _ := a.qualified(first, n)
	only := !r.rv.Inh
	if only {
		first--
		if a.is(first, pg.Token_ASCII_40) && !a.is(first, pg.Token_ONLY) {
			if !a.is(end, pg.Token_ASCII_41) {
				a.fail("0A000", r.rv.Location, "ONLY is not understood here")
			}
			first--
			end++
		}
		if !a.is(first, pg.Token_ONLY) {
			a.fail("0A000", r.rv.Location, "ONLY is not understood here")
		}
	} else if a.is(end, pg.Token_ASCII_42) {
		end++
	}
	if len(r.sys) > 0 && r.nested {
		a.fail("0A000", r.rv.Location, "system columns of %s cannot be used inside an aliased or natural join", r.rel.object())
	}
	if len(r.sys) > 0 && r.rowUsed {
		a.fail("0A000", r.rv.Location, "system columns of %s cannot be used together with its whole row", r.rel.object())
	}
	sample := ""
	if r.sample != nil {
		at, stop := a.sampleText(r.sample)
		sample = " " + a.text[at:stop]
		if r.confined {
			sample = a.shadowSample(r.sample)
		}
		a.replace(at, stop, "")
	}
	var text string
	proven := ""
	switch {
	case r.target:
		text = a.shadowTarget(r, only)
	case r.confined:
		text = a.shadowSource(r, only, sample)
	case sample != "":
		text = a.subselect(r, only, sample)
	default:
		known := false
		if text, known = a.piece(r, only); known {
			proven = text
		}
	}
	if a.is(first-1, pg.Token_TABLE) {
		// TABLE name is short for SELECT * FROM name.
		first--
		if len(r.sys) > 0 {
			a.fail("0A000", r.rv.Location, "system columns cannot be used with TABLE")
		}
		text = "SELECT * FROM " + text
	}
	if r.rv.Alias == nil {
		text += " AS " + quote(r.rel.Name)
	}
	at := int(t[first].Start)
	a.edits = append(a.edits, edit{at: at, length: int(t[end-1].End) - at, text: text, proven: proven, reads: true})
}

// subselect reads a relation with masks in place of the values.
func (a *analysis) subselect(r *reference, only bool, sample string) string {
	rel, masks := r.rel, r.masks
	var b strings.Builder
	b.WriteString("(SELECT ")
	first := true
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if c.Dropped {
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		name := quote(c.Name)
		if masks != nil && masks[i] != nil {
			b.WriteString(a.maskSQL(masks[i], c, name))
			b.WriteString(" AS ")
		}
		b.WriteString(name)
	}
	for _, s := range r.sys {
		b.WriteString(", " + s)
	}
	b.WriteString(" FROM ")
	if only {
		b.WriteString("ONLY ")
	}
	b.WriteString(quote(rel.Schema) + "." + quote(rel.Name))
	b.WriteString(sample)
	if r.rows != nil {
		b.WriteString(" WHERE " + r.rows.on("") + fence)
	}
	b.WriteString(")")
	return b.String()
}

// sampleText is the extent of TABLESAMPLE method (...) [REPEATABLE (...)].
func (a *analysis) sampleText(s *pg.RangeTableSample) (at, end int) {
	t := a.scan()
	i := a.tokenAt(s.Location)
	if !a.is(i, pg.Token_TABLESAMPLE) {
		i--
	}
	if !a.is(i, pg.Token_TABLESAMPLE) {
		a.fail("0A000", s.Location, "TABLESAMPLE is not understood here")
	}
	at = int(t[i].Start)
	for !a.is(i, pg.Token_ASCII_40) {
		i++
		if i >= len(t) {
			a.fail("0A000", s.Location, "TABLESAMPLE is not understood here")
		}
	}
	i = a.closing(i)
	if a.is(i+1, pg.Token_REPEATABLE) {
		i = a.closing(i + 2)
	}
	return at, int(t[i].End)
}

// closing returns the index of the parenthesis that closes the one at i.
func (a *analysis) closing(i int) int {
	t := a.scan()
	for depth := 0; i < len(t); i++ {
		switch t[i].Token {
		case pg.Token_ASCII_40:
			depth++
		case pg.Token_ASCII_41:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	a.fail("0A000", -1, "a closing parenthesis cannot be found")
	return 0
}

// spliceStar writes a star out where it would otherwise stand for other columns
// than before: system columns are columns of a sub-select, and the masks of a
// statement's own target stand in no sub-select.
func (a *analysis) spliceStar(s star) {
	spell := false
	for _, it := range s.items {
		for i := range it.cols {
			c := &it.cols[i]
			if c.ref != nil && c.ref.spliced() && (len(c.ref.sys) > 0 || c.ref.target) || c.inline && c.mask != nil {
				spell = true
			}
		}
	}
	if !spell {
		return
	}
	var parts []string
	for _, it := range s.items {
		for i := range it.cols {
			c := &it.cols[i]
			if c.system {
				continue
			}
			place := []string{c.name}
			if c.from != nil {
				place = []string{c.from.alias, c.name}
			} else if it.alias != "" {
				place = []string{it.alias, c.name}
			}
			name := quote(place[0])
			if len(place) > 1 {
				name += "." + quote(place[1])
			}
			if c.inline && c.mask != nil {
				name = a.returned(c, place) + " AS " + quote(c.name)
			}
			parts = append(parts, name)
		}
	}
	i := a.tokenAt(s.x.Location)
	n := len(s.x.Fields)
	end, _ := a.qualified(i, n)
	t := a.scan()
	a.replace(int(t[i].Start), int(t[end-1].End), strings.Join(parts, ", "))
	// The schema of the star went with it.
	delete(a.strips, s.x)
}

// strip notes a reference that names its relation's schema.
func (a *analysis) strip(x *pg.ColumnRef, fields int, it *item) {
	if fields < 3 || it.ref == nil || it.schema == "" || x.Location < 0 {
		return
	}
	if a.strips == nil {
		a.strips = make(map[*pg.ColumnRef]strip)
	}
	a.strips[x] = strip{fields: len(x.Fields), ref: it.ref}
}

// inline replaces a reference to a column by its mask, in a scalar sub-select
// that keeps the name of the output column.
func (a *analysis) inline(x *pg.ColumnRef, f []string, c *column) {
	if a.inlines == nil {
		a.inlines = make(map[*pg.ColumnRef]string)
	}
	// The whole reference goes, with the schema that may be in it.
	delete(a.strips, x)
	a.inlines[x] = "(SELECT " + a.returned(c, f) + " AS " + quote(c.name) + ")"
}

// apply makes the text for the server out of the edits.
func (j *judge) apply() (string, []protocol.Edit, bool) {
	if len(j.edits) == 0 {
		return j.text, nil, true
	}
	e := j.edits
	sort.SliceStable(e, func(i, k int) bool {
		if e[i].at != e[k].at {
			return e[i].at < e[k].at
		}
		return e[i].length < e[k].length
	})
	var b strings.Builder
	out := make([]protocol.Edit, 0, len(e))
	last := 0
	j.made = make([]madePiece, 0, len(e))
	for i, x := range e {
		if i > 0 && x == e[i-1] {
			continue
		}
		if x.at < last || x.at+x.length > len(j.text) {
			return "", nil, false
		}
		b.WriteString(j.text[last:x.at])
		// What takes the place of a name must not grow together with its neighbours.
		text := x.text
		if text != "" && x.at > 0 && glues(j.text[x.at-1]) {
			text = " " + text
		}
		if end := x.at + x.length; text != "" && x.length > 0 && end < len(j.text) && glues(j.text[end]) {
			text += " "
		}
		j.made = append(j.made, madePiece{edit: x, at: b.Len(), length: len(text)})
		b.WriteString(text)
		out = append(out, protocol.Edit{At: x.at, Length: x.length, Added: len(text)})
		last = x.at + x.length
	}
	b.WriteString(j.text[last:])
	return b.String(), out, true
}

// glues reports whether a byte may be part of a name, or quote one.
func glues(b byte) bool {
	return b == '_' || b == '$' || b == '"' || b >= 0x80 || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
