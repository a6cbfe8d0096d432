package rehearsal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// maxQuote bounds a statement in a comment.
const maxQuote = 160

// render writes the policies.
func (d *drafter) render() string {
	var b strings.Builder
	names := map[string]bool{}
	for _, k := range sorted(d.groups) {
		d.groups[k].render(&b, names)
	}
	return b.String()
}

// word makes a name of what is not one.
func word(s string, taken map[string]bool) string {
	s = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-' {
			return r
		}
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return '-'
	}, s), "-._")
	s = strings.Trim(s[:min(len(s), 56)], "-._")
	s = cmp.Or(s, "x")
	name := s
	for n := 2; taken[name]; n++ {
		name = s + "-" + strconv.Itoa(n)
	}
	taken[name] = true
	return name
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// quote shows a statement in a comment: one line, without its constants.
func quote(text string) string {
	text = strings.Join(strings.Fields(sql.Normalize(text)), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff' {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxQuote {
		text = strings.ToValidUTF8(text[:maxQuote], "") + " ..."
	}
	return text
}

func (g *group) render(b *strings.Builder, names map[string]bool) {
	name := word(cmp.Or(g.subject, "workload"), names)
	fmt.Fprintf(b, "---\napiVersion: sluicegate.io/v1alpha1\nkind: Policy\nmetadata: {name: %s}\nspec:\n", strconv.Quote(name))
	fmt.Fprintf(b, "  subjects:\n    - %s\n  databases: [%s]\n", g.selector, strconv.Quote(g.database))
	rules := g.rules()
	if len(rules) > 0 {
		b.WriteString("  rules:\n")
		for _, r := range rules {
			b.WriteString(r)
		}
	}
	g.list(b, "functions", "used by", g.functions)
	g.list(b, "reveal", "read in clear by", g.reveal)
	if len(g.undecided) > 0 {
		b.WriteString("  # Not allowed by the above, and no rule could: decide what to do about these.\n")
		for _, text := range sorted(g.undecided) {
			o := g.undecided[text]
			fmt.Fprintf(b, "  #   %s: %s\n  #     %s\n", times(o.count), quote(text), oneLine(o.why))
		}
	}
}

// oneLine keeps a reason in its comment.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// list writes functions or tags.
func (g *group) list(b *strings.Builder, field, how string, used map[string]int) {
	if len(used) == 0 {
		return
	}
	fmt.Fprintf(b, "  %s:\n", field)
	for _, f := range sorted(used) {
		fmt.Fprintf(b, "    - %s # %s %s\n", strconv.Quote(f), how, statements(used[f]))
	}
}

func statements(n int) string {
	if n == 1 {
		return "1 statement"
	}
	return fmt.Sprintf("%d statements", n)
}

// rules returns the rules with their comments, by object and action.
func (g *group) rules() []string {
	keys := slices.SortedFunc(maps.Keys(g.rights), func(a, b right) int {
		return cmp.Or(cmp.Compare(a.object.Kind, b.object.Kind), cmp.Compare(a.object.String(), b.object.String()),
			cmp.Compare(a.action, b.action), cmp.Compare(btoi(a.hold), btoi(b.hold)))
	})
	var out []string
	taken := map[string]bool{"functions": true}
	for _, k := range keys {
		u := g.rights[k]
		comment := fmt.Sprintf("    # Used %s.", times(u.count))
		match := ""
		if k.action == protocol.Update || k.action == protocol.Delete {
			other := g.rights[right{k.object, k.action, !k.hold}]
			switch {
			case k.hold && other != nil && other.upserts > 0:
				// An upsert has no WHERE clause either, so that the one can't be held
				// without the other.
				out = append(out, fmt.Sprintf("    # %s of %s without a WHERE clause: %s. The rule above allows that: INSERT ... ON CONFLICT\n"+
					"    # needs the same right. Consider limits: {affected: 1} there.\n", strings.ToUpper(k.action.String()), k.object, times(u.count)))
				continue
			case k.hold:
				match = ", match: {filtered: false}"
				comment += " Without a WHERE clause: decide whether that shall be, and how (limits: {affected: n})."
			case u.upserts > 0:
				comment += fmt.Sprintf(" Of that %s by ON CONFLICT, a trigger or a foreign key, which needs it without a WHERE clause.", times(u.upserts))
			case u.bare == 0:
				match = ", match: {filtered: true}"
			}
		} else if k.hold {
			comment += " Held for a human until you decide."
		}
		effect := "allow"
		if k.hold {
			effect = "approve"
		}
		columns := u.list(k, g)
		if u.whole && len(u.columns) == 0 && columns != "" {
			comment += " No column was named, as in count(*): a right to one is enough."
		}
		on := policy.Pattern{Schema: k.object.Schema, Name: k.object.Name}
		name := word(k.action.String()+"-"+k.object.String(), taken)
		out = append(out, fmt.Sprintf("%s\n    - {name: %s, effect: %s, actions: [%s], objects: [%s]%s%s}\n",
			comment, strconv.Quote(name), effect, k.action, strconv.Quote(on.String()), columns, match))
	}
	return out
}

// list is the columns that a rule names.
func (u *use) list(k right, g *group) string {
	switch k.action {
	case protocol.Select, protocol.Insert, protocol.Update, protocol.Merge:
	default:
		return ""
	}
	columns := maps.Clone(u.columns)
	if k.hold {
		// held is kept apart
	} else if other := g.rights[right{k.object, k.action, true}]; other != nil && u.upserts > 0 {
		maps.Copy(columns, other.columns)
	}
	if len(columns) == 0 && u.spare != "" {
		columns = map[string]bool{u.spare: true}
	}
	if len(columns) == 0 || k.object.Kind != protocol.Relation {
		return ""
	}
	var names []string
	for _, c := range sorted(columns) {
		names = append(names, strconv.Quote(policy.Pattern{Name: c}.String()))
	}
	return ", columns: [" + strings.Join(names, ", ") + "]"
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
