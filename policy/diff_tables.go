package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluicegate.io/sluice/protocol"
)

// Table is a table or a view that a database has, and its columns.
type Table struct {
	Schema, Name string
	Columns      []string
}

// expanded are the actions that DiffTables looks at column by column.
var expanded = []protocol.Action{protocol.Select, protocol.Insert, protocol.Update, protocol.Merge, protocol.Delete, protocol.Truncate}

// did are the words for them.
var did = map[protocol.Action]string{
	protocol.Select: "read", protocol.Insert: "insert into", protocol.Update: "change",
	protocol.Merge: "merge into", protocol.Delete: "delete from", protocol.Truncate: "truncate",
}

// DiffTables is Diff with the tables of some databases known: what rules say of
// reading and writing them is told by the columns that it comes to, and rules in
// other words that come to the same are no difference. Databases without tables,
// and other rights, are compared as they are written.
func DiffTables(old, next *Set, tables map[string][]Table) []Change {
	var changes []Change
	left := func(s *Set) []Right {
		return slices.DeleteFunc(s.Rights(), func(r Right) bool {
			return (len(tables[r.Database]) > 0 || r.Database == "*" && len(tables) > 0) && r.expands()
		})
	}
	before, after := left(old), left(next)
	for _, g := range group(missing(after, before)) {
		changes = append(changes, g.change(true))
	}
	for _, g := range group(missing(before, after)) {
		changes = append(changes, g.change(false))
	}
	for _, who := range parties(old, next) {
		if list := tables[who.database]; len(list) > 0 {
			changes = append(changes, who.compare(old, next, list)...)
		}
	}
	sortChanges(changes)
	return changes
}

// expands reports whether a right is one that columns tell. One with conditions is
// told in its own words as well.
func (r *Right) expands() bool {
	switch r.Effect {
	case "allow", "mask", "approve", "deny":
	default:
		return false
	}
	plain := r.Terms == "" || strings.HasPrefix(r.Terms, "except ") || strings.HasPrefix(r.Terms, "masked ")
	return plain && slices.ContainsFunc(expanded, func(a protocol.Action) bool { return a.String() == r.Action })
}

// A party is who a policy speaks of in one database.
type party struct {
	policy, database string
	subject          Selector
}

// parties lists all of both sets, once each.
func parties(sets ...*Set) []party {
	var out []party
	seen := map[[3]string]bool{}
	for _, s := range sets {
		for _, p := range s.policies {
			for _, name := range p.Databases {
				names := []string{name}
				if name == "*" {
					names = nil
					for _, db := range s.databases {
						names = append(names, db.Name)
					}
				}
				for _, db := range names {
					for _, sub := range p.Subjects {
						key := [3]string{sub.String(), db}
						if !seen[key] {
							seen[key] = true
							out = append(out, party{p.Name, db, sub})
						}
					}
				}
			}
		}
	}
	return out
}

// compare tells what a party may do with tables by two sets.
func (who *party) compare(old, next *Set, tables []Table) []Change {
	at := time.Now()
	sub := who.subject.Example()
	before, _ := old.View(sub, who.database, at)
	after, _ := next.View(sub, who.database, at)
	var out []Change
	type kind struct {
		action   protocol.Action
		was, now string
	}
	columns := map[kind][]string{}
	for _, action := range expanded {
		for i := range tables {
			t := &tables[i]
			object := protocol.Object{Kind: protocol.Relation, Schema: t.Schema, Name: t.Name}
			names := t.Columns
			if !hasColumns(action) {
				names = []string{""}
			}
			for _, c := range names {
				was, now := before.of(object, action, c), after.of(object, action, c)
				if was == now {
					continue
				}
				p := Pattern{Schema: t.Schema, Name: t.Name, Column: c}
				k := kind{action, was, now}
				columns[k] = append(columns[k], p.String())
			}
		}
	}
	for k, list := range columns {
		out = append(out, Change{
			Text:    fmt.Sprintf("%s (%s) %s in %s", who.policy, who.subject.String(), told(k.action, k.was, k.now, list), who.database),
			Widens:  rank(k.now) >= rank(k.was), // of two masks nobody knows
			Narrows: rank(k.now) < rank(k.was),
		})
	}
	return out
}

// of is what a View says of one column, or with "" of an object: denied,
// approved, allowed, or masked and how. A right that needs a WHERE clause is one.
func (v *View) of(o protocol.Object, action protocol.Action, column string) string {
	a := protocol.Access{Action: action, Object: o}
	if column != "" {
		a.Columns = []string{column}
	}
	if v.index == nil {
		return "denied"
	}
	switch v.judge(&a, true).verdict {
	case protocol.Allow:
		return "allowed"
	case protocol.Mask:
		return "masked " + v.column(o.Schema, o.Name, column).Mask.String()
	case protocol.Approve:
		return "approved"
	}
	return "denied"
}

// rank orders what View.of says by how much it gives.
func rank(word string) int {
	switch word {
	case "denied":
		return 0
	case "approved":
		return 1
	case "allowed":
		return 3
	}
	return 2
}

// told says what happened to a right.
func told(action protocol.Action, was, now string, list []string) string {
	thing := "column"
	if !hasColumns(action) {
		thing = "table"
	}
	some := func(more string) string {
		s := fmt.Sprintf("%d%s %s", len(list), more, thing)
		if len(list) > 1 {
			s += "s"
		}
		return s
	}
	names := ": " + listed(list)
	switch {
	case now == "denied":
		return "may no longer " + did[action] + " " + some("") + names
	case now == "approved" && was == "denied":
		return "may now ask for approval to " + did[action] + " " + some("") + names
	case now == "approved":
		return "now needs approval to " + did[action] + " " + some("") + names
	case now == "allowed" && rank(was) == 2:
		return "now sees " + some("") + " in clear" + names
	case rank(now) == 2 && rank(was) >= 2:
		return "now sees " + some("") + " " + now + names
	case rank(now) == 2:
		return "may now " + did[action] + " " + some(" more") + ", " + now + names
	case was == "approved":
		return "may now " + did[action] + " " + some("") + " without approval" + names
	}
	return "may now " + did[action] + " " + some(" more") + names
}

// maxListed bounds the columns that a sentence names.
const maxListed = 20

func listed(list []string) string {
	if len(list) > maxListed {
		return strings.Join(list[:maxListed], ", ") + fmt.Sprintf(" and %d more", len(list)-maxListed)
	}
	return strings.Join(list, ", ")
}

func sortChanges(changes []Change) {
	slices.SortStableFunc(changes, func(a, b Change) int {
		if a.Widens != b.Widens {
			if a.Widens {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Text, b.Text)
	})
}
