package sql

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed relations.txt
var relationsText string

// relationRule is which columns of a catalog relation can be read by everybody.
type relationRule struct {
	all     bool            // all but columns; else none but columns
	columns map[string]bool // the exceptions to that
}

// BuiltinRelation reports whether at least some columns of a relation of
// pg_catalog or information_schema can be read without a rule of a policy.
func BuiltinRelation(schema, relation string) bool {
	return relationRules()[name{schema, relation}] != nil
}

// BuiltinColumn reports whether a column of such a relation can be read. A star
// reads all of them.
func BuiltinColumn(schema, relation, column string) bool {
	r := relationRules()[name{schema, relation}]
	return r != nil && r.all != r.columns[column]
}

var relationRules = sync.OnceValue(func() map[name]*relationRule {
	rules := make(map[name]*relationRule)
	entries(relationsText, func([]string, string, string) {}, func(line string) {
		qualified, columns, _ := strings.Cut(line, ":")
		schema, relation, ok := strings.Cut(qualified, ".")
		key := name{schema, relation}
		if !ok || rules[key] != nil || columns == "" {
			panic("relations.txt: bad line: " + line)
		}
		r := &relationRule{columns: make(map[string]bool)}
		for i, c := range strings.Fields(columns) {
			switch {
			case c == "*" && i == 0:
				r.all = true
			case r.all != strings.HasPrefix(c, "-"):
				panic("relations.txt: bad columns: " + line)
			default:
				r.columns[strings.TrimPrefix(c, "-")] = true
			}
		}
		rules[key] = r
	})
	return rules
})

// BuiltinRelations calls f with every relation of the list, and the columns that
// are named for it: the ones to read, or with all the ones not to.
func BuiltinRelations(f func(schema, relation string, all bool, columns []string)) {
	for key, r := range relationRules() {
		var columns []string
		for c := range r.columns {
			columns = append(columns, c)
		}
		f(key.schema, key.name, r.all, columns)
	}
}
