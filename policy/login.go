package policy

import "fmt"

// Login returns the credential to log in with for the View's subject, and its name,
// which is "" for the Database's own. A nil credential comes with a sentence that
// says why there is none: two policies may name different ones.
func (v *View) Login() (name string, c *Credential, why string) {
	if v.db == nil {
		return "", nil, "the database is not configured"
	}
	if v.clash != "" {
		return "", nil, fmt.Sprintf("the policies %q and %q name different credentials", v.namedBy, v.clash)
	}
	if c = v.db.Named(v.credential); c == nil {
		return "", nil, fmt.Sprintf("the policy %q names a credential that the database does not have", v.namedBy)
	}
	return v.credential, c, ""
}

// Enrolled returns w with what the resources say of it.
func (s *Set) Enrolled(w Workload) Workload {
	for _, e := range s.workloads {
		if e.Name == w.Name {
			w.Labels = e.Labels
			if e.ServiceAccount != "" {
				w.Namespace, w.ServiceAccount = e.Namespace, e.ServiceAccount
			}
			return w
		}
	}
	return w
}

// MayLogin reports whether the credential of that name may be used for sub in
// database, as far as sub is known. A token counts as one that matches: who asks
// without knowing it can do no better.
func (s *Set) MayLogin(sub *Subject, database, name string) bool {
	db := s.byName[database]
	if db == nil || db.Named(name) == nil {
		return false
	}
	if name == "" {
		return true
	}
	for _, p := range s.policies {
		if p.Credential != name || !p.covers(database) {
			continue
		}
		for _, sel := range p.Subjects {
			if sel.OIDC = nil; sel.matches(sub) {
				return true
			}
		}
	}
	return false
}
