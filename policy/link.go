package policy

import (
	"fmt"
	"slices"
)

// tagUnlabelled is the tag of columns that no line names, under unlabelled: mask.
const tagUnlabelled = "unlabelled"

// link refuses references to what is not there, and what contradicts itself.
func (s *Set) link(p *problems) {
	names := make([]string, len(s.databases))
	byName := map[string]*Database{}
	for i, db := range s.databases {
		names[i] = db.Name
		byName[db.Name] = db
		s.linkDatabase(db, p)
	}
	s.linkEndpoints(p)
	for _, pol := range s.policies {
		tags := map[string]bool{tagUnlabelled: true}
		for _, name := range pol.Databases {
			if name == "*" {
				for _, db := range s.databases {
					addTags(tags, db)
				}
				continue
			}
			db := byName[name]
			if db == nil {
				p.add(pol.place(name), "policy %q names the Database %q, which is not defined%s", pol.Name, clip(name), oneOf(name, names))
				continue
			}
			addTags(tags, db)
		}
		for _, tag := range pol.Reveal {
			if !tags[tag] {
				p.add(pol.place(tag), "policy %q reveals the tag %q, which none of its databases has", pol.Name, clip(tag))
			}
		}
		s.linkCredential(pol, p)
		s.linkRole(pol, p)
		s.linkSubjects(pol, p)
		s.linkTests(pol, p)
	}
}

// place returns where a reference stands, or the policy where that is not known.
func (p *Policy) place(reference string) Position {
	if at, ok := p.places[reference]; ok {
		return at
	}
	return p.Pos
}

// linkCredential refuses a credential that one of the policy's Databases does not have.
func (s *Set) linkCredential(pol *Policy, p *problems) {
	if pol.Credential == "" {
		return
	}
	for _, db := range s.databases {
		if !pol.covers(db.Name) || db.Named(pol.Credential) != nil {
			continue
		}
		var names []string
		for i := range db.Credentials {
			names = append(names, db.Credentials[i].Name)
		}
		p.add(pol.place(credentialPlace), "policy %q uses the credential %q, which Database %q does not have%s",
			pol.Name, clip(pol.Credential), db.Name, oneOf(pol.Credential, names))
	}
}

func addTags(tags map[string]bool, db *Database) {
	for _, line := range db.Sensitive {
		tags[line.Tag] = true
	}
	for _, name := range db.Detect {
		tags[name] = true
	}
}

// linkDatabase refuses a column that two lines name in the same words: which of
// the masks holds would depend on their order.
func (s *Set) linkDatabase(db *Database, p *problems) {
	seen := map[[3]string]Position{}
	note := func(c Pattern) {
		key := [3]string{c.Schema, c.Name, c.Column}
		if before, ok := seen[key]; ok {
			p.add(c.Pos, "%q is labelled twice, first at %s", c, before)
			return
		}
		seen[key] = c.Pos
	}
	for _, line := range db.Sensitive {
		for _, c := range line.Columns {
			note(c)
		}
	}
	for _, c := range db.Clear {
		note(c)
	}
	if db.ClientAuth == ClientToken && s.hasAgent && len(s.agent.Issuers) == 0 {
		p.add(db.Pos, "database %q has clientAuth: token, but the Agent believes no oidc issuer", db.Name)
	}
}

// linkEndpoints refuses an endpoint that two Databases claim in the same words.
func (s *Set) linkEndpoints(p *problems) {
	seen := map[string]string{}
	for _, db := range s.databases {
		for _, ep := range db.Endpoints {
			key := ep.String()
			if other, ok := seen[key]; ok {
				p.add(ep.Pos, "endpoint %s already belongs to Database %q", key, other)
			}
			seen[key] = db.Name
		}
	}
}

// String returns the endpoint as it is written.
func (e Endpoint) String() string {
	switch {
	case e.Unix != "":
		return "unix:" + e.Unix
	case e.Any:
		return fmt.Sprintf("*:%d", e.Port)
	case e.Host != "":
		return fmt.Sprintf("%s:%d", e.Host, e.Port)
	}
	host := e.Prefix.String()
	if e.Prefix.IsSingleIP() {
		host = e.Prefix.Addr().String()
	}
	if e.Prefix.Addr().Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, e.Port)
}

func (s *Set) linkSubjects(pol *Policy, p *problems) {
	for i := range pol.Subjects {
		sub := &pol.Subjects[i]
		if sub.Workload != "" && sub.Workload != "exec" &&
			!slices.ContainsFunc(s.workloads, func(w *Enrolment) bool { return w.Name == sub.Workload }) {
			p.add(sub.Pos, "no Workload is called %q", clip(sub.Workload))
		}
		if sub.OIDC != nil && s.hasAgent &&
			!slices.ContainsFunc(s.agent.Issuers, func(i Issuer) bool { return i.Issuer == sub.OIDC.Issuer }) {
			p.add(sub.Pos, "the Agent does not believe the issuer %q: add it to its oidc list", clip(sub.OIDC.Issuer))
		}
	}
}

// linkTests gives each test a subject, and refuses one in a database that the
// policy is not about.
func (s *Set) linkTests(pol *Policy, p *problems) {
	for i := range pol.Tests {
		t := &pol.Tests[i]
		if t.Database != "" && !pol.covers(t.Database) {
			p.add(t.Pos, "the test's database %q is not one of the policy's", clip(t.Database))
		}
		if t.As == nil && len(pol.Subjects) > 0 {
			t.As = pol.Subjects[0].Example()
		}
	}
}
