package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluicegate.io/sluice/protocol"
)

// A Right is one thing that somebody may do, must ask for, or is kept from.
type Right struct {
	Policy   string
	Subject  string // in words, see Selector.String
	Database string
	Effect   string // allow, mask, approve, deny, reveal, limit, budget, observe, label
	Action   string
	Object   string // pattern, without its column; for others what they are about
	Column   string // "" for all
	Terms    string // conditions in words, "" for none
}

// Rights returns everything that a Set gives and takes, one by one and sorted.
// Rules are taken as they are written: what a wildcard matches is not known here.
func (s *Set) Rights() []Right {
	var out []Right
	for _, db := range s.databases {
		out = append(out, db.rights()...)
	}
	for _, p := range s.policies {
		for i := range p.Subjects {
			for _, db := range p.Databases {
				out = append(out, p.rights(p.Subjects[i].String(), db)...)
			}
		}
	}
	slices.SortFunc(out, compareRights)
	return slices.Compact(out)
}

func compareRights(a, b Right) int {
	return cmp.Or(
		cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Database, b.Database),
		cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Object, b.Object),
		cmp.Compare(a.Column, b.Column), cmp.Compare(a.Terms, b.Terms),
	)
}

func (db *Database) rights() []Right {
	var out []Right
	add := func(effect, object, terms string) {
		out = append(out, Right{Database: db.Name, Effect: effect, Object: object, Terms: terms})
	}
	for _, line := range db.Sensitive {
		for _, c := range line.Columns {
			add("label", c.String(), "is "+line.Tag+", masked "+line.Mask.String())
		}
	}
	for _, c := range db.Clear {
		add("label", c.String(), "is not sensitive")
	}
	for _, name := range db.Detect {
		add("label", name, "is looked for in values")
	}
	add("label", "columns without a label", []string{"are not sensitive", "are masked", "are denied"}[db.Unlabelled])
	add("label", "conditions on masked columns", []string{"are denied", "see the mask"}[db.Conditions])
	if db.Enforce == Observe {
		add("observe", "everything", "")
	}
	return out
}

func (p *Policy) rights(subject, database string) []Right {
	var out []Right
	add := func(r Right) {
		r.Policy, r.Subject, r.Database = p.Name, subject, database
		out = append(out, r)
	}
	for i := range p.Rules {
		p.Rules[i].rights(add)
	}
	for _, f := range p.Functions {
		add(Right{Effect: "allow", Action: "call", Object: "function " + f.String()})
	}
	for _, tag := range p.Reveal {
		add(Right{Effect: "reveal", Object: tag})
	}
	if p.Credential != "" {
		add(Right{Effect: "login", Object: "credential " + p.Credential})
	}
	for _, l := range p.Limits.words() {
		add(Right{Effect: "limit", Object: l})
	}
	for _, b := range p.Budgets {
		add(Right{Effect: "budget", Object: b.words()})
	}
	if p.Enforce == Observe {
		add(Right{Effect: "observe", Object: "everything"})
	}
	if p.Grant {
		for i := range out {
			out[i].Terms = strings.TrimSpace(out[i].Terms + " until " + p.Expires.UTC().Format("2006-01-02 15:04 MST"))
		}
	}
	return out
}

// rights adds the rule's, one for each action, object and column.
func (r *Rule) rights(add func(Right)) {
	actions := []string{"anything"}
	if !r.AnyAction {
		actions = nil
		for _, a := range r.Actions {
			actions = append(actions, a.String())
		}
	}
	on := r.On
	if len(on) == 0 {
		on = []Pattern{{Name: "*"}}
	}
	terms := r.terms()
	for _, a := range actions {
		for _, p := range on {
			columns := r.Columns
			if p.Column != "" {
				columns = []string{p.Column}
			}
			if len(columns) == 0 {
				columns = []string{""}
			}
			p.Column = ""
			for _, c := range columns {
				add(Right{Effect: r.Effect.String(), Action: a, Object: p.String(), Column: c, Terms: terms})
			}
		}
	}
}

// terms says under which conditions a rule holds.
func (r *Rule) terms() string {
	var parts []string
	if len(r.Except) > 0 {
		names := make([]string, len(r.Except))
		for i, p := range r.Except {
			names[i] = p.String()
		}
		parts = append(parts, "except "+strings.Join(names, ", "))
	}
	if r.Effect == protocol.Mask {
		parts = append(parts, "masked "+r.Mask.String())
	}
	if f := r.Match.Filtered; f != nil {
		parts = append(parts, map[bool]string{true: "with a WHERE clause", false: "without a WHERE clause"}[*f])
	}
	if a := r.Match.Affected; a != nil {
		parts = append(parts, map[bool]string{true: "for more than ", false: "for at most "}[a.Over]+fmt.Sprint(a.N)+" rows")
	}
	if r.Match.Scope != nil {
		parts = append(parts, r.Match.Scope.words())
	}
	for i := range r.Match.Time {
		parts = append(parts, r.Match.Time[i].words())
	}
	parts = append(parts, r.Limits.words()...)
	if r.Effect == protocol.Approve {
		if len(r.Approvers.Groups)+len(r.Approvers.Subjects) > 0 {
			parts = append(parts, fmt.Sprintf("by %d of %s", r.Approvers.Count, strings.Join(slices.Concat(r.Approvers.Groups, r.Approvers.Subjects), ", ")))
		}
		if r.GrantFor > 0 {
			parts = append(parts, "for "+r.GrantFor.String())
		}
	}
	return strings.Join(parts, ", ")
}

func (w *Window) words() string {
	var days []string
	for i, on := range w.Days {
		if on {
			days = append(days, weekdays[i])
		}
	}
	clock := func(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }
	return fmt.Sprintf("on %s from %s to %s %s", strings.Join(days, ","), clock(int(w.From.Minutes())), clock(int(w.To.Minutes())), w.Zone)
}

func (l Limits) words() []string {
	var out []string
	add := func(n int64, what string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("at most %d %s", n, what))
		}
	}
	add(l.Rows, "rows returned")
	add(l.Bytes, "bytes returned")
	add(l.Affected, "rows changed")
	if l.Time > 0 {
		out = append(out, "at most "+l.Time.String())
	}
	return out
}

func (b Budget) words() string {
	var parts []string
	for _, n := range []struct {
		count int64
		what  string
	}{{b.Statements, "statements"}, {b.Rows, "rows"}, {b.Denials, "denials"}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	return "at most " + strings.Join(parts, ", ") + " in " + b.Per.String()
}
