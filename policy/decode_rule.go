package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"sluicegate.io/sluice/protocol"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (d *decoder) rule(n ast.Node) Rule {
	r := Rule{Pos: d.where(n)}
	given := map[string]ast.Node{}
	note := func(name string, f func(ast.Node)) field {
		return field{name, func(n ast.Node) { given[name] = n; f(n) }}
	}
	ok := d.mapping(n, "a rule", required{"effect", "actions"},
		note("name", d.name(&r.Name, "a rule's name")),
		note("effect", choice(d, &r.Effect, "effect", effects...)),
		note("actions", d.actions(&r)),
		note("on", d.patterns(&r.On, "on", shapeObject)),
		// kubectl reads a plain on as true, as YAML 1.1 has it. This is the same word.
		note("objects", func(n ast.Node) {
			if given["on"] != nil {
				d.errorf(n, `"objects" and "on" are the same: write one of them`)
			}
			given["on"] = n
			d.patterns(&r.On, "objects", shapeObject)(n)
		}),
		note("except", d.patterns(&r.Except, "except", shapeObject)),
		note("columns", d.columns(&r.Columns)),
		note("mask", d.mask(&r.Mask)),
		note("match", d.match(&r.Match)),
		note("limits", d.limits(&r.Limits)),
		note("approvers", d.approvers(&r.Approvers)),
		note("grantFor", d.duration(&r.GrantFor, "grantFor")),
		note("reason", d.into(&r.Reason, "reason")),
	)
	if ok {
		d.checkRule(&r, n, given)
	}
	return r
}

// checkRule refuses combinations that would not do what they seem to say.
func (d *decoder) checkRule(r *Rule, n ast.Node, given map[string]ast.Node) {
	at := func(name string) ast.Node {
		if g := given[name]; g != nil {
			return g
		}
		return n
	}
	has := func(name string) bool { return given[name] != nil }
	if !has("effect") || !has("actions") {
		return
	}
	if r.Effect != protocol.Deny && len(r.On) == 0 {
		d.errorf(at("on"), `a rule that %ss needs "on"; "*" is everything`, strings.TrimSuffix(r.Effect.String(), "e"))
	}
	if has("on") && len(r.On) == 0 {
		d.errorf(at("on"), `"on" must not be empty: leave it out, or write "*", for everything`)
	}
	if has("columns") && len(r.Columns) == 0 {
		d.errorf(at("columns"), `"columns" must not be empty: leave it out for all columns`)
	}
	if r.Effect != protocol.Approve && (has("approvers") || has("grantFor")) {
		d.errorf(n, "approvers and grantFor belong to a rule with effect approve")
	}
	if has("mask") != (r.Effect == protocol.Mask) {
		d.errorf(n, `"mask" belongs to a rule with effect mask, and such a rule needs it`)
	}
	if r.Effect == protocol.Deny && has("limits") {
		d.errorf(at("limits"), "a rule that denies has no limits")
	}
	if r.Effect == protocol.Mask && (len(r.Actions) != 1 || r.Actions[0] != protocol.Select) {
		d.errorf(at("actions"), "a rule with effect mask is about select only")
	}
	if has("columns") {
		for _, p := range r.On {
			if p.Column != "" {
				d.problems.add(p.Pos, `name columns either in "on" or in "columns", not both`)
			}
		}
	}
	if !r.AnyAction && r.narrow() {
		for _, a := range r.Actions {
			if !hasColumns(a) {
				d.errorf(at("actions"), "%s concerns whole objects, so this rule cannot be about columns", a)
				break
			}
		}
	}
	if len(r.Actions) > 0 {
		d.checkBare(r)
	}
	d.checkAffected(r, at("match"), at("actions"))
	d.checkScope(r, at("match"), at("actions"))
}

// checkBare refuses patterns that would match nothing: who writes "users" means
// a table, and a setting is in no schema.
func (d *decoder) checkBare(r *Rule) {
	bare, qualified := false, r.AnyAction // what the actions may be about
	for _, a := range r.Actions {
		switch a {
		case protocol.Set, protocol.Listen:
			bare = true
		case protocol.Create, protocol.Alter, protocol.Drop, protocol.Grant:
			bare, qualified = true, true
		default:
			qualified = true
		}
	}
	for _, p := range slices.Concat(r.On, r.Except) {
		switch {
		case p.Name == "*" && p.Schema == "":
		case p.Schema == "" && (!bare || r.AnyAction):
			d.problems.add(p.Pos, `%q names no table: write "schema.%s"; a bare name is a setting (set), a channel (listen) or a schema (ddl)`, p, p)
		case p.Schema != "" && !qualified:
			d.problems.add(p.Pos, `%q has a schema, and what these actions are about has none: write a bare name, or "*"`, p)
		}
	}
}

// checkAffected refuses bounds that could never be kept.
func (d *decoder) checkAffected(r *Rule, match, actions ast.Node) {
	a := r.Match.Affected
	if a == nil {
		return
	}
	if r.gives() && a.Over {
		d.errorf(match, `a rule that allows is bounded from above: write affected: "<=%d"`, a.N)
	}
	if r.Effect == protocol.Deny && !a.Over {
		d.errorf(match, `a rule that denies is bounded from below: write affected: ">%d"`, a.N)
	}
	if r.AnyAction {
		return
	}
	for _, act := range r.Actions {
		if !countsRows(act) {
			d.errorf(actions, "%s does not say how many rows it changes, so match.affected cannot apply", act)
			return
		}
	}
}

// narrow reports whether the rule is about some columns only.
func (r *Rule) narrow() bool {
	if len(r.Columns) > 0 {
		return true
	}
	for _, p := range r.On {
		if p.Column != "" {
			return true
		}
	}
	return false
}

// hasColumns reports whether an action reads or writes particular columns.
func hasColumns(a protocol.Action) bool {
	switch a {
	case protocol.Select, protocol.Insert, protocol.Update, protocol.Merge:
		return true
	}
	return false
}

// countsRows reports whether the server tells how many rows an action changed.
func countsRows(a protocol.Action) bool {
	switch a {
	case protocol.Insert, protocol.Update, protocol.Delete, protocol.Merge:
		return true
	}
	return false
}

// groups are the words for several actions.
var groups = map[string][]protocol.Action{
	"ddl": {protocol.Create, protocol.Alter, protocol.Drop, protocol.Grant},
	"any": protocol.Actions(),
}

func (d *decoder) actions(r *Rule) func(ast.Node) {
	return func(n ast.Node) {
		var names []string
		d.texts(&names, "actions")(n)
		known := []string{"any", "ddl"}
		single := map[string]protocol.Action{}
		for _, a := range protocol.Actions() {
			known = append(known, a.String())
			single[a.String()] = a
		}
		if s, ok := outlined(n); ok {
			s.MinItems, s.Items = 1, &Schema{Type: "string", Enum: known}
			return
		}
		if len(names) == 0 {
			d.errorf(n, "actions must not be empty")
			return
		}
		var set [64]bool
		for _, name := range names {
			if name == "any" {
				r.AnyAction = true
			}
			if a, ok := single[name]; ok {
				set[a] = true
			} else if group, ok := groups[name]; ok {
				for _, a := range group {
					set[a] = true
				}
			} else {
				d.errorf(n, "unknown action %q%s", clip(name), oneOf(name, known))
			}
		}
		for _, a := range protocol.Actions() {
			if set[a] {
				r.Actions = append(r.Actions, a)
			}
		}
	}
}

func (d *decoder) columns(to *[]string) func(ast.Node) {
	return func(n ast.Node) {
		d.texts(to, "columns")(n)
		if s, ok := outlined(n); ok {
			s.MinItems = 1
		}
		for i, c := range *to {
			parts, problem := splitPattern(c)
			if problem == "" && (len(parts) != 1 || parts[0] == "*") {
				problem = "write the bare name of a column"
			}
			if problem != "" {
				d.errorf(n, "%q in columns: %s", clip(c), problem)
				continue
			}
			(*to)[i] = parts[0]
		}
	}
}

func (d *decoder) approvers(to *Approvers) func(ast.Node) {
	return func(n ast.Node) {
		to.Count = 1
		d.mapping(n, "approvers", nil,
			field{"groups", d.texts(&to.Groups, "groups")},
			field{"subjects", d.texts(&to.Subjects, "subjects")},
			field{"count", number(d, &to.Count, "count", 1, 10)},
		)
		if len(to.Groups) == 0 && len(to.Subjects) == 0 {
			d.errorf(n, "approvers needs groups or subjects")
		}
	}
}

func (d *decoder) match(to *Match) func(ast.Node) {
	return func(n ast.Node) {
		d.mapping(n, "match", nil,
			field{"filtered", func(n ast.Node) {
				to.Filtered = new(bool)
				d.flag(to.Filtered, "filtered")(n)
			}},
			field{"affected", func(n ast.Node) {
				s, ok := d.text(n, "affected")
				if !ok {
					return
				}
				a, ok := parseAffected(s)
				if !ok {
					d.errorf(n, `affected %q must be a comparison with a number, such as ">100" or "<=1"`, clip(s))
					return
				}
				to.Affected = &a
			}},
			field{"scope", d.scoped(&to.Scope)},
			field{"time", func(n ast.Node) {
				d.each(n, "time", func(e ast.Node) { to.Time = append(to.Time, d.window(e)) })
				if len(to.Time) == 0 {
					d.errorf(n, "time must name at least one window")
				}
			}},
		)
	}
}

// parseAffected reads ">N", ">=N", "<N" and "<=N".
func parseAffected(s string) (Affected, bool) {
	op := s[:len(s)-len(strings.TrimLeft(s, "<>="))]
	n, ok := decimal(strings.TrimSpace(s[len(op):]))
	if !ok {
		return Affected{}, false
	}
	switch op {
	case ">":
		return Affected{Over: true, N: n}, true
	case ">=":
		return Affected{Over: true, N: n - 1}, n > 0
	case "<=":
		return Affected{N: n}, true
	case "<":
		return Affected{N: n - 1}, n > 0
	}
	return Affected{}, false
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (d *decoder) window(n ast.Node) Window {
	w := Window{Days: [7]bool{true, true, true, true, true, true, true}, To: 24 * time.Hour, Zone: time.UTC}
	d.mapping(n, "a time window", nil,
		field{"days", func(n ast.Node) {
			var names []string
			d.texts(&names, "days")(n)
			w.Days = [7]bool{}
			for _, name := range names {
				if problem := addDays(&w.Days, name); problem != "" {
					d.errorf(n, "%s", problem)
				}
			}
		}},
		field{"from", d.clock(&w.From, "from", 24*time.Hour-time.Minute)},
		field{"to", d.clock(&w.To, "to", 24*time.Hour)},
		field{"zone", func(n ast.Node) {
			s, ok := d.text(n, "zone")
			if !ok || s == "UTC" {
				return
			}
			t, err := time.Parse("-07:00", s)
			if err != nil {
				d.errorf(n, `zone %q must be UTC or an offset such as "+02:00": the named zones change with the host's data`, clip(s))
				return
			}
			_, offset := t.Zone()
			w.Zone = time.FixedZone(s, offset)
		}},
	)
	if w.Days == [7]bool{} {
		d.errorf(n, "a time window needs at least one day")
	}
	if w.From == w.To {
		d.errorf(n, "a time window's from and to must differ")
	}
	return w
}

// addDays reads "mon" or "mon-fri".
func addDays(days *[7]bool, s string) string {
	index := func(name string) int {
		for i, w := range weekdays {
			if w == name {
				return i
			}
		}
		return -1
	}
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	a, b := index(first), index(last)
	if a < 0 || b < 0 {
		return fmt.Sprintf("unknown day %q; known: mon, tue, wed, thu, fri, sat, sun, and spans such as mon-fri", clip(s))
	}
	for i := a; ; i = (i + 1) % 7 {
		days[i] = true
		if i == b {
			return ""
		}
	}
}

// clock returns a decoder of a time of day.
func (d *decoder) clock(to *time.Duration, what string, high time.Duration) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		if s == "24:00" && high == 24*time.Hour {
			*to = high
			return
		}
		t, err := time.Parse("15:04", s)
		if err != nil || len(s) != 5 {
			d.errorf(n, `%s %q must be a time of day such as "09:00"`, what, clip(s))
			return
		}
		*to = time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	}
}
