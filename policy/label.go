package policy

import "strings"

// A database is a Database with its labels compiled.
type database struct {
	*Database
	labels map[Pattern]label // by pattern, without Pos
	kinds  [8]bool           // which combinations of wildcards the patterns use
}

// A label is what one line of a Database says of the columns of a pattern.
type label struct {
	clear bool
	tag   string
	mask  Mask
}

func compileDatabase(db *Database) *database {
	d := &database{Database: db, labels: map[Pattern]label{}}
	add := func(p Pattern, l label) {
		p.Pos = Position{}
		d.labels[p] = l
		d.kinds[wildcards(p)] = true
	}
	for _, line := range db.Sensitive {
		for _, c := range line.Columns {
			add(c, label{tag: line.Tag, mask: line.Mask})
		}
	}
	for _, c := range db.Clear {
		add(c, label{clear: true})
	}
	return d
}

// wildcards returns a number that is smaller the more exact a pattern is: an
// exact table counts more than an exact schema, and that more than an exact column.
func wildcards(p Pattern) int {
	n := 0
	if p.Name == "*" {
		n |= 4
	}
	if p.Schema == "*" {
		n |= 2
	}
	if p.Column == "*" {
		n |= 1
	}
	return n
}

// label returns what a column is: the most exact line that is not revealed. A
// line in clear lifts only what is less exact than it.
func (d *database) label(schema, table, column string, revealed map[string]bool) (label, bool) {
	known := false
	for kind := range d.kinds {
		if !d.kinds[kind] || kind&2 != 0 && system(schema) {
			continue
		}
		p := Pattern{Schema: schema, Name: table, Column: column}
		if kind&4 != 0 {
			p.Name = "*"
		}
		if kind&2 != 0 {
			p.Schema = "*"
		}
		if kind&1 != 0 {
			p.Column = "*"
		}
		l, ok := d.labels[p]
		if !ok {
			continue
		}
		if l.clear {
			return l, true
		}
		known = true
		if !revealed[l.tag] {
			return l, true
		}
	}
	return label{clear: known}, known
}

// system reports whether a schema is the server's own. A wildcard never gives
// rights there; and what it holds is for the closed lists of package policy/sql.
func system(schema string) bool {
	return strings.HasPrefix(schema, "pg_") || schema == "information_schema"
}

// systemColumn reports whether every table has the column.
func systemColumn(name string) bool {
	switch name {
	case "ctid", "tableoid", "xmin", "xmax", "cmin", "cmax":
		return true
	}
	return false
}
