package policy

import "sluicegate.io/sluice/protocol"

// Open returns the rule by which a subject may do everything, and whether there
// is one that nothing takes from: an allow of any action on "*", no rule that
// denies, asks or masks, no limit, and no column that is sensitive for the
// subject. There is nothing to protect from it then, so that what cannot be
// analysed need not be refused. A View that observes is not open.
func (v *View) Open() (rule string, ok bool) {
	if v == nil {
		return "", false
	}
	return v.open, v.open != "" && !v.observe && v.shadow == nil
}

// openBy finds the rule that Open tells.
func (v *View) openBy(rules []*rule) string {
	if v.db.Mode != ModeInline || v.db.Unlabelled != UnlabelledAllow || len(v.detect) > 0 || v.limits != (Limits{}) {
		return ""
	}
	for _, line := range v.db.Sensitive {
		if !v.revealed[line.Tag] {
			return ""
		}
	}
	id := ""
	for _, r := range rules {
		if r.Effect != protocol.Allow || r.Limits != (Limits{}) || r.Match.Scope != nil {
			return ""
		}
		if r.all() {
			id = r.id
		}
	}
	return id
}

// all reports whether a rule is about everything, whenever it holds at all.
func (r *rule) all() bool {
	if !r.AnyAction || len(r.Except) > 0 || len(r.Columns) > 0 || r.Match.Filtered != nil || r.Match.Affected != nil {
		return false
	}
	for _, p := range r.On {
		if p.Schema == "" && p.Name == "*" && p.Column == "" {
			return true
		}
	}
	return false
}
