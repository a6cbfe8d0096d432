package policy

import (
	"strings"

	"sluicegate.io/sluice/protocol"
)

// explain says in a Decision what the decisive answer was and why.
func (v *View) explain(d *Decision, a *answer, access *protocol.Access) {
	d.Verdict, d.Rule = a.verdict, ""
	d.Object, d.Action, d.Column, d.Implied = access.Object, access.Action, a.column, access.Implied
	if a.rule != nil {
		d.Rule = a.rule.id
	}
	what := access.Action.String() + ofColumn(a.column) + " on " + thing(access.Object)
	switch {
	case a.why == byLabel:
		d.Rule = "database:" + v.db.Name + "/unlabelled"
		d.Reason = "column " + a.column + " of " + thing(access.Object) + " has no label, and unlabelled columns are denied"
	case a.why == byNothing:
		d.Reason = "no rule allows " + what
	case a.why == bySensitive:
		d.Reason = "rule " + d.Rule + " allows " + what + ", and " + a.column + " is masked"
	case a.why == byGrantedAsk:
		d.Reason = "grant " + d.Rule + " allows " + what
	case a.verdict == protocol.Deny:
		d.Reason = "rule " + d.Rule + " denies " + what
	case a.verdict == protocol.Approve:
		d.Reason = "rule " + d.Rule + " wants approval for " + what
		d.Approvers, d.GrantFor = a.rule.Approvers, a.rule.GrantFor
	default:
		d.Reason = "rule " + d.Rule + " allows " + what
	}
	if access.Implied != "" {
		d.Reason += ", which " + access.Implied + " brings about"
	}
	if a.rule != nil && a.rule.Reason != "" && a.verdict <= protocol.Approve {
		d.Reason += ": " + a.rule.Reason
		d.Because = a.rule.Reason
	}
	if d.Verdict == protocol.Deny {
		d.Allowed = v.allowedOn(access.Object)
	}
}

func ofColumn(name string) string {
	if name == "" {
		return ""
	}
	return " of " + name
}

// thing names an object with its kind, where that is not a relation.
func thing(o protocol.Object) string {
	name := clip(o.String())
	switch o.Kind {
	case protocol.Function:
		return "function " + name
	case protocol.Setting:
		return "setting " + name
	case protocol.Channel:
		return "channel " + name
	case protocol.Schema:
		return "schema " + name
	case protocol.DatabaseItself:
		return "the database itself"
	}
	return name
}

// maxSummary bounds what a denial says of what is allowed, in bytes.
const maxSummary = 400

// allowedOn says what is allowed on one object, or if nothing is, elsewhere. To
// who asked for a function or a setting, tables elsewhere are of no help.
func (v *View) allowedOn(o protocol.Object) string {
	rules := v.about(o)
	rules.told.Do(func() {
		var parts phrases
		for i := range rules.all {
			r := &rules.all[i]
			if r.Effect == protocol.Deny || r.Match.Affected != nil && r.Match.Affected.Over {
				continue
			}
			if !parts.add(r.phrase(thing(o), r.columns)) {
				break
			}
		}
		rules.allowed = parts.String()
		if len(parts.list) == 0 && o.Kind != protocol.Relation {
			rules.allowed = ""
		} else if len(parts.list) == 0 {
			rules.allowed = v.allowed
		}
	})
	return rules.allowed
}

// summary says what rules allow, in their own words.
func summary(rules []*rule) string {
	var parts phrases
	for _, r := range rules {
		if r.Effect == protocol.Deny || r.Match.Affected != nil && r.Match.Affected.Over {
			continue
		}
		on := make([]string, 0, len(r.On))
		for _, p := range r.On {
			if len(on) == 20 {
				on = append(on, "...")
				break
			}
			on = append(on, p.String())
		}
		if !parts.add(r.phrase(strings.Join(on, ", "), columns{only: r.Columns})) {
			break
		}
	}
	if len(parts.list) == 0 {
		return "nothing in this database"
	}
	return parts.String()
}

// phrase says what one rule gives on something.
func (r *rule) phrase(on string, cols columns) string {
	var b strings.Builder
	if r.Effect == protocol.Approve {
		b.WriteString("with approval ")
	}
	if r.AnyAction {
		b.WriteString("anything")
	} else {
		for i, a := range r.Actions {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(a.String())
		}
	}
	if len(cols.only) > 0 {
		b.WriteString(" of " + strings.Join(cols.only, ", "))
	}
	b.WriteString(" on " + on)
	if len(cols.except) > 0 {
		b.WriteString(" except " + strings.Join(cols.except, ", "))
	}
	if f := r.Match.Filtered; f != nil && *f {
		b.WriteString(" with a WHERE clause")
	}
	if s := r.Match.Scope; s != nil {
		b.WriteString(" in rows picked by " + s.Column)
	}
	if n := smaller(r.Limits.Affected, r.below()); n > 0 {
		b.WriteString(" of at most " + itoa(int(n)) + " rows")
	}
	return b.String()
}

// below returns the bound of match.affected, where it is one from above.
func (r *rule) below() int64 {
	if a := r.Match.Affected; a != nil && !a.Over {
		return a.N
	}
	return 0
}

// phrases gathers what is allowed up to maxSummary bytes.
type phrases struct {
	list []string
	size int
	full bool
}

// add reports whether there is room for more.
func (p *phrases) add(s string) bool {
	if p.full {
		return false
	}
	for _, have := range p.list {
		if have == s {
			return true
		}
	}
	if len(s) > maxSummary/2 {
		s = strings.ToValidUTF8(s[:maxSummary/2], "") + "..."
	}
	if p.size+len(s) > maxSummary {
		p.full = true
		return false
	}
	p.list = append(p.list, s)
	p.size += len(s) + 2
	return true
}

// String joins what was added.
func (p *phrases) String() string {
	s := strings.Join(p.list, "; ")
	if p.full {
		s += "; and more"
	}
	return s
}
