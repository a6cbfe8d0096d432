package policy

import (
	"fmt"
	"slices"
	"strings"
)

// A Change is the difference between two Sets that one sentence tells.
type Change struct {
	Text    string `json:"text"`
	Widens  bool   `json:"widens,omitempty"` // somebody may do, or see, more than before
	Narrows bool   `json:"narrows,omitempty"`
}

// Diff says what changes if next takes the place of old, in plain sentences, what
// widens rights first. Rules are compared as they are written: two sets of rules
// that mean the same in other words are told as different.
func Diff(old, next *Set) []Change {
	before, after := old.Rights(), next.Rights()
	var changes []Change
	for _, g := range group(missing(after, before)) {
		changes = append(changes, g.change(true))
	}
	for _, g := range group(missing(before, after)) {
		changes = append(changes, g.change(false))
	}
	sortChanges(changes)
	return changes
}

// missing returns those of a that are not in b; both are sorted.
func missing(a, b []Right) []Right {
	var out []Right
	for _, r := range a {
		if _, found := slices.BinarySearchFunc(b, r, compareRights); !found {
			out = append(out, r)
		}
	}
	return out
}

// A grouped Right stands for several that differ in one place.
type grouped struct {
	Right
	columns []string
}

// group joins rights that differ in their column only.
func group(rights []Right) []grouped {
	var out []grouped
	for _, r := range rights {
		key := r
		key.Column = ""
		if n := len(out); n > 0 && r.Column != "" && len(out[n-1].columns) > 0 && out[n-1].Right == key {
			out[n-1].columns = append(out[n-1].columns, r.Column)
			continue
		}
		g := grouped{Right: key}
		if r.Column != "" {
			g.columns = []string{r.Column}
		}
		out = append(out, g)
	}
	return out
}

// verbs are what a right is called when it comes and when it goes, and whether
// its coming widens what somebody may do.
var verbs = map[string]struct {
	comes, goes string
	widens      bool
}{
	"allow":   {"may now", "may no longer", true},
	"mask":    {"may now", "may no longer", true},
	"approve": {"now needs approval to", "no longer gets approval to", false},
	"deny":    {"is now kept from", "is no longer kept from", false},
	"reveal":  {"now sees in clear what is tagged", "no longer sees in clear what is tagged", true},
	"limit":   {"is now limited to", "is no longer limited to", false},
	"budget":  {"now has the budget", "no longer has the budget", false},
	"login":   {"now logs in with", "no longer logs in with", true},
	"observe": {"is now only observed:", "is no longer only observed:", true},
}

func (g *grouped) change(comes bool) Change {
	if g.Effect == "label" {
		return g.labelChange(comes)
	}
	verb, known := verbs[g.Effect]
	if !known {
		return Change{Text: fmt.Sprintf("%+v", g.Right)}
	}
	say := verb.comes
	if !comes {
		say = verb.goes
	}
	who := g.Policy
	if g.Subject != "" {
		who += " (" + g.Subject + ")"
	}
	if who == "" {
		who = "database " + g.Database
	}
	parts := []string{who, say}
	if g.Action != "" {
		parts = append(parts, g.Action)
	}
	switch len(g.columns) {
	case 0:
	case 1:
		parts = append(parts, "column", g.columns[0], "of")
	default:
		parts = append(parts, fmt.Sprintf("%d columns (%s) of", len(g.columns), strings.Join(g.columns, ", ")))
	}
	parts = append(parts, g.Object)
	if g.Policy != "" {
		parts = append(parts, "in", g.Database)
	}
	text := strings.Join(parts, " ")
	if g.Terms != "" {
		text += ", " + g.Terms
	}
	return Change{Text: text, Widens: verb.widens == comes, Narrows: verb.widens != comes}
}

// labelChange tells of a label: what is no longer sensitive widens.
func (g *grouped) labelChange(comes bool) Change {
	harmless := strings.HasSuffix(g.Terms, "not sensitive") || g.Terms == "see the mask"
	word := "now"
	if !comes {
		word = "no longer"
	}
	verb, rest, _ := strings.Cut(g.Terms, " ")
	return Change{
		Text:    fmt.Sprintf("database %s: %s %s %s %s", g.Database, g.Object, verb, word, rest),
		Widens:  harmless == comes,
		Narrows: harmless != comes,
	}
}
