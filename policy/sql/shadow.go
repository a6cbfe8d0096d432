package sql

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A Shadow is what stands for a relation in mode role: a view to read, and one to
// write to. Package policy/harden makes them, and [Judge] puts their names in the
// place of the relation's.
//
// The name holds a digest of what is masked, so that a policy that masks anything
// otherwise finds no view until there is one for it.
type Shadow struct {
	Relation *Relation
	Read     string   // name of the view to read; has the visible columns and the system columns
	Query    string   // what it selects
	Write    string   // name of the view to write to; "" if the relation can't be written to
	Target   string   // what that selects: the true columns, then masks, then system columns
	Clear    []string // columns that may be read as they are
	Masked   []string // columns that may be read, as masks
	Masks    []string // names that RETURNING has for those, in the view to write to
	System   []string // system columns
	Tags     []string // of hash masks, whose keys the queries select
}

// ShadowOf makes the views of a relation as v reads it. Only columns that visible
// says yes to can be read. key tells where the views find the key of a tag. The
// error says why the relation can't be read at all.
func ShadowOf(c *Catalog, v *policy.View, r *Relation, visible func(column string) bool, key func(tag string) mask.Key) (s *Shadow, err error) {
	defer func() {
		if x := recover(); x != nil {
			r, ok := x.(refusal)
			if !ok {
				panic(x)
			}
			err = fmt.Errorf("%s", r.Message)
		}
	}()
	budget := workBudget
	a := &analysis{judge: &judge{c: c, v: v, o: &Options{Key: key}, masks: make(map[*Relation][]*masked), budget: &budget}, quiet: true}
	masks := a.masksOf(r)
	s = &Shadow{Relation: r, Read: shadowName(r, masks)}
	ref := &reference{rel: r}
	if ref.hasSystem() {
		s.System = systemColumns[:]
		if r.Kind == Sequence {
			s.System = []string{"tableoid"}
		}
	}
	var read, base, returned []string
	for i := range r.Columns {
		col := &r.Columns[i]
		if col.Dropped {
			continue
		}
		name := quote(col.Name)
		base = append(base, name)
		if !visible(col.Name) {
			continue
		}
		if masks == nil || masks[i] == nil {
			s.Clear = append(s.Clear, col.Name)
			read = append(read, name)
			continue
		}
		expr := a.maskSQL(masks[i], col, name)
		if masks[i].rule.Mask.Kind == hashMask && !contains(s.Tags, masks[i].rule.Tag) {
			s.Tags = append(s.Tags, masks[i].rule.Tag)
		}
		s.Masked = append(s.Masked, col.Name)
		s.Masks = append(s.Masks, maskedName(col))
		read = append(read, expr+" AS "+name)
		returned = append(returned, expr+" AS "+quote(maskedName(col)))
	}
	from := " FROM " + quote(r.Schema) + "." + quote(r.Name)
	s.Query = "SELECT " + strings.Join(append(read, s.System...), ", ") + from
	switch r.Kind {
	case Table, PartitionedTable, View, ForeignTable:
		s.Write = s.Read + writable
		s.Target = "SELECT " + strings.Join(append(append(base, returned...), s.System...), ", ") + from
	}
	return s, nil
}

// writable ends the name of a view to write to.
const writable = "w"

// maskedName is what a view to write to calls the mask of a column.
func maskedName(c *Column) string { return "masked " + strconv.Itoa(int(c.Number)) }

// shadowName names the view to read a relation by, as it is masked.
func shadowName(r *Relation, masks []*masked) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q.%q", r.Schema, r.Name)
	for i, m := range masks {
		if m == nil {
			continue
		}
		fmt.Fprintf(h, " %q %s", r.Columns[i].Name, m.rule.Mask)
		if m.rule.Mask.Kind == hashMask {
			io.WriteString(h, strconv.Quote(m.rule.Tag)) // it has the tag's key
		}
	}
	const room = 63 - 1 - 10 - len(writable)
	name := r.Schema + "." + r.Name
	for len(name) > room {
		name = name[:len(name)-1]
	}
	return strings.ToValidUTF8(name, "") + "_" + hex.EncodeToString(h.Sum(nil)[:5])
}

// confined returns the schema of the views that stand for everything, "" in mode
// inline.
func confined(v *policy.View) string {
	if db := v.Database(); db != nil && db.Mode == policy.ModeRole && !v.Observe() {
		return db.Role.Schema
	}
	return ""
}

// shadow finds the view that stands for a reference.
func (a *analysis) shadow(ref *reference) {
	if a.shadows == "" || a.depth > 0 || a.closedRelation(ref.rel) {
		return
	}
	name := shadowName(ref.rel, ref.masks)
	if ref.target {
		name += writable
	}
	ref.confined = true
	ref.shadow = a.c.Relation(a.shadows, name)
}

// ownShadow refuses to name a shadow view, which would be another way to what it
// stands for.
func (a *analysis) ownShadow(rel *Relation, at int32) *Relation {
	if a.shadows != "" && rel.Schema == a.shadows && a.depth == 0 {
		a.fail("42501", at, "relations of schema %s cannot be named: name what they stand for", rel.Schema)
	}
	return rel
}

// noShadow refuses what there is no view for yet.
func (a *analysis) noShadow(r *reference, what string) {
	panic(refusal{stale: true, Refusal: &protocol.Refusal{Code: "42P01",
		Message: what + " " + r.rel.object().String() + " has no shadow view in schema " + a.shadows,
		Detail:  "The views are older than the policy or than the table.",
		Hint:    "Ask the operator to run: sluice database harden " + a.v.Database().Name + " --apply"}})
}

// shadowSource reads a relation through its view. What the view does not have is
// NULL if nothing reads it, so that the columns keep their places.
func (a *analysis) shadowSource(r *reference, only bool, sample string) string {
	if r.shadow == nil {
		a.noShadow(r, "relation")
	}
	var cols []string
	for i := range r.rel.Columns {
		c := &r.rel.Columns[i]
		switch {
		case c.Dropped:
		case r.shadow.Column(c.Name) != nil:
			cols = append(cols, quote(c.Name))
		case i < len(r.reads) && r.reads[i]:
			a.noShadow(r, "column "+c.Name+" of")
		default:
			cols = append(cols, "NULL AS "+quote(c.Name))
		}
	}
	from := a.shadowFrom(r, only, sample)
	if r.rows != nil {
		from += fence
	}
	return "(SELECT " + strings.Join(append(cols, r.sys...), ", ") + from + ")"
}

// shadowFrom is FROM and WHERE of reading a relation through its view. The view
// reads descendants too.
func (a *analysis) shadowFrom(r *reference, only bool, sample string) string {
	var where []string
	if only && len(r.rel.Children) > 0 {
		where = append(where, "tableoid OPERATOR(pg_catalog.=) "+strconv.FormatUint(uint64(r.rel.OID), 10)+"::pg_catalog.oid")
	}
	if sample != "" {
		where = append(where, sample)
	}
	if r.rows != nil {
		for _, c := range r.rows.conds {
			if r.shadow.Column(c.column) == nil {
				a.noShadow(r, "column "+c.column+" of")
			}
		}
		where = append(where, r.rows.on(""))
	}
	from := " FROM " + quote(r.shadow.Schema) + "." + quote(r.shadow.Name)
	if len(where) > 0 {
		from += " WHERE " + strings.Join(where, " AND ")
	}
	return from
}

// shadowSample is what TABLESAMPLE asks for as a condition: a view has no pages.
// Each row is kept or not for itself, with either method.
func (a *analysis) shadowSample(s *pg.RangeTableSample) string {
	at, _ := a.sampleText(s)
	t := a.scan()
	i := a.tokenAt(int32(at))
	for !a.is(i, pg.Token_ASCII_40) {
		i++
	}
	end := a.closing(i)
	inside := func(i, end int) string { return a.text[t[i].Start:t[end].End] }
	percent := "pg_catalog.float8" + inside(i, end)
	chance := "pg_catalog.random() OPERATOR(pg_catalog.*) 100::pg_catalog.float8"
	if a.is(end+1, pg.Token_REPEATABLE) {
		seed := "pg_catalog.int8(pg_catalog.float8" + inside(end+2, a.closing(end+2)) + ")"
		// 2^53 values, the same for the same row and seed.
		chance = "(pg_catalog.hashtextextended(ctid::pg_catalog.text, " + seed +
			") OPERATOR(pg_catalog.&) 9007199254740991)::pg_catalog.float8 OPERATOR(pg_catalog./) 90071992547409.92::pg_catalog.float8"
	}
	return chance + " OPERATOR(pg_catalog.<) " + percent
}

// shadowTarget is the view to write to, in the place of a relation's name.
func (a *analysis) shadowTarget(r *reference, only bool) string {
	switch {
	case r.shadow == nil:
		a.noShadow(r, "relation")
	case only && len(r.rel.Children) > 0:
		a.fail("0A000", r.rv.Location, "ONLY is not possible here for %s, which others inherit from, in mode role", r.rel.object())
	case r.rowUsed:
		a.fail("0A000", r.rv.Location, "a whole row of %s cannot be used by a statement that writes to it, in mode role: name its columns", r.rel.object())
	}
	return quote(r.shadow.Schema) + "." + quote(r.shadow.Name)
}

// unwritable refuses, after what rights say, a way to write that views don't have.
func (a *analysis) unwritable(ref *reference, what, hint string) {
	if ref.confined && a.refused == nil {
		a.refused = &protocol.Refusal{Code: "0A000", Message: what + " is not possible in mode role", Hint: hint,
			Detail: ref.rel.object().String() + " is written to through a view."}
	}
}

// returned is the mask of a column of what a statement writes to.
func (a *analysis) returned(c *column, f []string) string {
	ref := quote(f[0])
	if c.ref != nil && c.ref.confined {
		if c.ref.shadow == nil || c.ref.shadow.Column(maskedName(c.col)) == nil {
			a.noShadow(c.ref, "column "+c.col.Name+" of")
		}
		f = append([]string(nil), f[max(0, len(f)-2):]...)
		f[len(f)-1] = maskedName(c.col)
		ref = quote(f[0])
	}
	for _, p := range f[1:] {
		ref += "." + quote(p)
	}
	if c.ref != nil && c.ref.confined {
		return ref
	}
	return a.maskSQL(c.mask, c.col, ref)
}

// Unmasked reports whether a column, which the server says it takes right out of
// r, is a sensitive one for v and no mask of it. A view to read is made of masks;
// in one to write to, the columns of the relation itself are as they are.
func Unmasked(c *Catalog, v *policy.View, r *Relation, column string) bool {
	if s := confined(v); s == "" || r.Schema != s {
		return v.Column(r.Schema, r.Name, column).Sensitive
	}
	if !strings.HasSuffix(r.Name, writable) {
		return false
	}
	for _, d := range r.Depends {
		base := c.RelationByOID(d.Relation)
		if base == nil {
			return true
		}
		if base.Column(column) != nil && v.Column(base.Schema, base.Name, column).Sensitive {
			return true
		}
	}
	return false
}
