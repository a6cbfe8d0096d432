package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluicegate.io/sluice/protocol"
)

// View is what one kind of subject may do in one database. It is safe for
// concurrent use, and the zero value denies everything.
type View struct {
	db       *database
	policies []string
	index    *index // nil: no policy names the subject
	shadow   *View  // with the policies that only observe, where others enforce
	revealed map[string]bool
	detect   []string
	masks    bool            // some rule has effect mask
	scopes   map[*rule]Scope // of the rules that have one, for this subject
	limits   Limits
	limitOf  string // policy that set limits.Affected
	budgets  []Budget
	observe  bool
	open     string // rule that allows everything, see Open
	allowed  string
	id       string

	credential string // that a policy names, "" for the Database's own
	namedBy    string // the first policy that does
	clash      string // another one, which names another

	mu      sync.RWMutex
	objects map[protocol.Object]*objectRules
	results map[question]answer
}

// Bounds of what a View remembers. What does not fit is computed again.
const (
	maxObjects = 8192
	maxResults = 8192
)

// build makes the View of the policies chosen, at a time that decides about windows.
func (s *Set) build(db *database, chosen []*Policy, sub *Subject, at time.Time) *View {
	var enforced []*Policy
	for _, p := range chosen {
		if p.Enforce == Enforce {
			enforced = append(enforced, p)
		}
	}
	switch {
	case len(enforced) == 0 && len(chosen) > 0, db.Enforce == Observe:
		v := s.view(db, chosen, sub, at)
		v.observe = true
		return v
	case len(enforced) < len(chosen):
		v := s.view(db, enforced, sub, at)
		v.shadow = s.view(db, chosen, sub, at)
		return v
	}
	return s.view(db, chosen, sub, at)
}

func (s *Set) view(db *database, chosen []*Policy, sub *Subject, at time.Time) *View {
	v := &View{
		db: db, revealed: map[string]bool{},
		objects: map[protocol.Object]*objectRules{}, results: map[question]answer{},
	}
	sum := sha256.New()
	sum.Write([]byte(db.Name))
	var rules []*rule
	for _, p := range chosen {
		v.policies = append(v.policies, p.Name)
		sum.Write([]byte("\x00" + p.Name))
		for _, tag := range p.Reveal {
			v.revealed[tag] = true
		}
		switch {
		case p.Credential == "" || p.Credential == v.credential:
		case v.credential == "":
			v.credential, v.namedBy = p.Credential, p.Name
		case v.clash == "":
			v.clash = p.Name
		}
		v.addLimits(p)
		v.budgets = append(v.budgets, p.Budgets...)
		for _, r := range s.rules[p] {
			if len(r.Match.Time) > 0 && !slices.ContainsFunc(r.Match.Time, func(w Window) bool { return w.contains(at) }) {
				continue
			}
			sum.Write([]byte("\x01" + r.Name))
			v.masks = v.masks || r.Effect == protocol.Mask
			if r.Match.Scope != nil {
				if v.scopes == nil {
					v.scopes = map[*rule]Scope{}
				}
				v.scopes[r] = r.Match.Scope.of(sub)
				fmt.Fprintf(sum, "\x02%q", v.scopes[r].Values)
			}
			rules = append(rules, r)
		}
	}
	for _, name := range db.Detect {
		if !v.revealed[name] {
			v.detect = append(v.detect, name)
		}
	}
	if len(chosen) > 0 {
		v.index = newIndex(rules)
	}
	v.open = v.openBy(rules)
	v.allowed = summary(rules)
	v.id = hex.EncodeToString(sum.Sum(nil)[:6])
	return v
}

// addLimits keeps the strictest of each limit.
func (v *View) addLimits(p *Policy) {
	if n := p.Limits.Affected; n > 0 && (v.limits.Affected == 0 || n < v.limits.Affected) {
		v.limitOf = p.Name + "/limits"
	}
	v.limits = v.limits.strictest(p.Limits)
}

// strictest returns the smaller of each limit; zero is none.
func (l Limits) strictest(o Limits) Limits {
	return Limits{
		Rows: smaller(l.Rows, o.Rows), Bytes: smaller(l.Bytes, o.Bytes),
		Affected: smaller(l.Affected, o.Affected), Time: smaller(l.Time, o.Time),
	}
}

func smaller[T int64 | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// about returns the rules about an object, from memory if it can.
func (v *View) about(o protocol.Object) *objectRules {
	v.mu.RLock()
	r := v.objects[o]
	v.mu.RUnlock()
	if r != nil {
		return r
	}
	r = v.index.about(o)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.objects) >= maxObjects {
		clear(v.objects)
	}
	v.objects[o] = r
	return r
}

// Function reports whether a function that is not a safe built-in may be called.
func (v *View) Function(schema, name string) bool {
	if v.index == nil {
		return false
	}
	a := protocol.Access{
		Action: protocol.Call,
		Object: protocol.Object{Kind: protocol.Function, Schema: schema, Name: name},
	}
	return v.judge(&a, false).verdict >= protocol.Mask
}

// Conditions says what becomes of conditions on masked columns.
func (v *View) Conditions() ConditionMode {
	if v.db == nil {
		return ConditionsDeny
	}
	return v.db.Conditions
}

// Observe reports whether decisions are recorded only: Decide says what would
// have been decided, and Column calls nothing sensitive.
func (v *View) Observe() bool { return v.observe }

// Budgets returns what is spent by this subject's statements.
func (v *View) Budgets() []Budget { return v.budgets }

// Detect returns the content detectors that look at values for this View.
func (v *View) Detect() []string {
	if v.observe {
		return nil
	}
	return v.detect
}

// Policies returns the names of the policies that make it up, sorted.
func (v *View) Policies() []string { return v.policies }

// Database returns the Database that the View is about, or nil.
func (v *View) Database() *Database {
	if v.db == nil {
		return nil
	}
	return v.db.Database
}

// Empty reports whether no policy names the subject, so that nothing is allowed.
func (v *View) Empty() bool { return v.index == nil }

// ID names the View in records: stable for equal rights of one Set.
func (v *View) ID() string { return v.id }

// ColumnRule is what a column is to a View.
type ColumnRule struct {
	Sensitive bool // reads as a mask
	Tag       string
	Mask      Mask
	Scan      bool // content detectors look at its text values
}

// Column says what a column is for this View: what it reveals is not sensitive,
// and nothing is for a View that observes.
func (v *View) Column(schema, table, column string) ColumnRule {
	if v.observe {
		return ColumnRule{}
	}
	return v.column(schema, table, column)
}

func (v *View) column(schema, table, column string) ColumnRule {
	if v.db == nil {
		return ColumnRule{Sensitive: true}
	}
	l, known := v.db.label(schema, table, column, v.revealed)
	if known && !l.clear {
		return ColumnRule{Sensitive: true, Tag: l.tag, Mask: l.mask}
	}
	if v.masks {
		o := protocol.Object{Kind: protocol.Relation, Schema: schema, Name: table}
		for _, r := range v.about(o).by[protocol.Select] {
			if r.Effect == protocol.Mask && r.columns.has(column) {
				return ColumnRule{Sensitive: true, Tag: r.Name, Mask: r.Mask}
			}
		}
	}
	if !known && v.hidden(schema, column) {
		return ColumnRule{Sensitive: true, Tag: tagUnlabelled}
	}
	return ColumnRule{Scan: len(v.detect) > 0 && !system(schema)}
}

// hidden reports whether a column that no line names is sensitive.
func (v *View) hidden(schema, column string) bool {
	return v.db.Unlabelled != UnlabelledAllow && !system(schema) && !systemColumn(column) &&
		(v.db.Unlabelled == UnlabelledDeny || !v.revealed[tagUnlabelled])
}
