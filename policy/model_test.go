package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// model decides by reading all rules one by one, in the words of README.md. The
// compiled tables must come to the same verdict.
func model(rules []policy.Rule, st *protocol.Statement) protocol.Verdict {
	worst := protocol.Allow
	for _, a := range st.Accesses {
		columns := a.Columns
		if len(columns) == 0 {
			columns = []string{""}
		}
		for _, c := range columns {
			best := map[protocol.Verdict]bool{}
			for i := range rules {
				if modelMatches(&rules[i], a, c, st.Filtered) {
					best[rules[i].Effect] = true
				}
			}
			verdict := protocol.Deny
			switch {
			case best[protocol.Deny]:
			case best[protocol.Approve]:
				verdict = protocol.Approve
			case best[protocol.Mask]:
				verdict = protocol.Mask
			case best[protocol.Allow]:
				verdict = protocol.Allow
			}
			worst = min(worst, verdict)
		}
	}
	return worst
}

func modelMatches(r *policy.Rule, a protocol.Access, column string, filtered bool) bool {
	if !slices.Contains(r.Actions, a.Action) || r.Match.Filtered != nil && *r.Match.Filtered != filtered {
		return false
	}
	gives := r.Effect == protocol.Allow || r.Effect == protocol.Mask
	columnar := slices.Contains([]protocol.Action{protocol.Select, protocol.Insert, protocol.Update, protocol.Merge}, a.Action)
	excepted := false
	for _, p := range r.Except {
		if !modelNames(p, a.Object, gives, gives) {
			continue
		}
		if p.Column == "" || p.Column == column && column != "" {
			return false
		}
		excepted = true
	}
	if column == "" && !columnar && gives && excepted {
		return false
	}
	if len(r.On) == 0 {
		r = &policy.Rule{Effect: r.Effect, On: []policy.Pattern{{Name: "*"}}, Columns: r.Columns}
	}
	for _, p := range r.On {
		if !modelNames(p, a.Object, r.Effect == protocol.Deny, !gives) {
			continue
		}
		only := r.Columns
		if p.Column != "" {
			only = []string{p.Column}
		}
		switch {
		case len(only) == 0, column != "" && slices.Contains(only, column):
			return true
		case column == "" && columnar && gives, column == "" && !columnar && !gives:
			return true
		}
	}
	return false
}

// modelNames follows the table of the reference.
func modelNames(p policy.Pattern, o protocol.Object, server, container bool) bool {
	own := strings.HasPrefix(o.Schema, "pg_") || o.Schema == "information_schema"
	if p.Schema == "" {
		if p.Name == "*" {
			return server || !own
		}
		return o.Schema == "" && p.Name == o.Name
	}
	if o.Schema == "" {
		return container && o.Kind == protocol.Schema && p.Name == "*" && (p.Schema == "*" || p.Schema == o.Name)
	}
	return (p.Schema == "*" && (server || !own) || p.Schema == o.Schema) && (p.Name == "*" || p.Name == o.Name)
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

// someRules writes random rules that are valid.
func someRules(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("  rules:\n")
	for range 1 + r.IntN(8) {
		effect := pick(r, "allow", "allow", "approve", "deny")
		action := pick(r, "select", "update", "any", "delete", "drop", "select, insert")
		column := action == "select" || action == "update" || action == "any"
		pattern := func() string {
			p := pick(r, "app", "app", "hr", "*", "pg_catalog") + "." + pick(r, "a", "b", "*")
			if column && r.IntN(4) == 0 {
				p += "." + pick(r, "x", "y")
			}
			return p
		}
		on := []string{pattern()}
		if second := pattern(); second != on[0] {
			on = append(on, second)
		}
		if r.IntN(8) == 0 {
			on = []string{"*"}
			if action == "drop" {
				on = []string{pick(r, "*", "app")}
			}
		}
		fmt.Fprintf(&b, "  - {effect: %s, actions: [%s], on: ['%s']", effect, action, strings.Join(on, "', '"))
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, ", except: ['%s']", pattern())
		}
		if column && r.IntN(3) == 0 && strings.Count(strings.Join(on, ""), ".") == len(on) {
			fmt.Fprintf(&b, ", columns: [%s]", pick(r, "x", "y", "x, z"))
		}
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, ", match: {filtered: %v}", r.IntN(2) == 0)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func someStatement(r *rand.Rand) *protocol.Statement {
	st := &protocol.Statement{Understood: true, Filtered: r.IntN(2) == 0}
	for range 1 + r.IntN(2) {
		a := protocol.Access{Object: protocol.Object{Kind: protocol.Relation, Schema: pick(r, "app", "hr", "pg_catalog"), Name: pick(r, "a", "b", "c")}}
		a.Action = []protocol.Action{protocol.Select, protocol.Update, protocol.Delete, protocol.Drop, protocol.Insert}[r.IntN(5)]
		if a.Action != protocol.Delete && a.Action != protocol.Drop {
			for _, c := range []string{"x", "y", "z"} {
				if r.IntN(3) == 0 {
					a.Columns = append(a.Columns, c)
				}
			}
		} else if r.IntN(4) == 0 {
			a.Object = protocol.Object{Kind: protocol.Schema, Name: pick(r, "app", "hr")}
		}
		st.Accesses = append(st.Accesses, a)
	}
	return st
}

func TestCompiledRulesAgreeWithTheReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[protocol.Verdict]int{}
	for range 1500 {
		text := head + policyHead + someRules(r)
		set := load(t, text)
		v := view(set, &policy.Subject{})
		for range 30 {
			st := someStatement(r)
			want := model(set.Policies()[0].Rules, st)
			d := v.Decide(st)
			if d.Verdict != want {
				t.Fatalf("Decide(%+v)\n = %v by %q, want %v\n%s", st, d.Verdict, d.Rule, want, text)
			}
			seen[want]++
		}
	}
	t.Log(seen)
}
