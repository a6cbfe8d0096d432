package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"sluicegate.io/sluice/protocol"
)

func (d *decoder) policy(spec ast.Node, doc *Document) *Policy {
	p := &Policy{Name: doc.Name, Pos: doc.Pos}
	d.mapping(spec, "Policy.spec", required{"subjects", "databases"}, append(d.rights(p),
		field{"limits", d.limits(&p.Limits)},
		field{"budgets", d.budgets(p)},
		field{"tests", d.tests(p)},
		field{"enforce", d.enforce(&p.Enforce)},
		field{"credential", func(n ast.Node) {
			d.name(&p.Credential, "credential")(n)
			p.places[credentialPlace] = d.where(n)
		}},
	)...)
	d.named(p)
	return p
}

// credentialPlace is where Policy.credential stands; no other reference is so called.
const credentialPlace = "\x00credential"

// grant decodes a Grant: a Policy that only allows, and that ends.
func (d *decoder) grant(spec ast.Node, doc *Document) *Policy {
	p := &Policy{Name: doc.Name, Pos: doc.Pos, Grant: true}
	d.mapping(spec, "Grant.spec", required{"subjects", "databases", "expires"}, append(d.rights(p),
		field{"limits", d.limits(&p.Limits)},
		field{"notBefore", d.instant(&p.NotBefore, "notBefore")},
		field{"expires", d.instant(&p.Expires, "expires")},
		field{"approver", d.into(&p.Approver, "approver")},
		field{"reason", d.into(&p.Reason, "reason")},
	)...)
	for _, r := range p.Rules {
		if r.Effect != protocol.Allow && r.Effect != protocol.Mask {
			d.problems.add(r.Pos, "a Grant can only allow: its rules have effect allow or mask, not %s", r.Effect)
		}
	}
	if !p.Expires.IsZero() && !p.NotBefore.Before(p.Expires) {
		d.errorf(spec, "a Grant's notBefore must be earlier than expires")
	}
	d.named(p)
	return p
}

// rights are the fields that a Policy and a Grant share.
func (d *decoder) rights(p *Policy) []field {
	p.places = map[string]Position{}
	return []field{
		{"subjects", func(n ast.Node) {
			d.each(n, "subjects", func(e ast.Node) { p.Subjects = append(p.Subjects, d.selector(e)) })
			if s, ok := outlined(n); ok {
				s.MinItems = 1
			}
			if len(p.Subjects) == 0 {
				d.errorf(n, "subjects must name at least one, or {any: true}")
			}
		}},
		{"databases", func(n ast.Node) {
			d.noting(p.places, d.texts(&p.Databases, "databases"))(n)
			if s, ok := outlined(n); ok {
				s.MinItems = 1
			}
			if len(p.Databases) == 0 {
				d.errorf(n, `databases must name at least one Database, or "*"`)
			}
		}},
		{"rules", func(n ast.Node) {
			d.each(n, "rules", func(e ast.Node) { p.Rules = append(p.Rules, d.rule(e)) })
		}},
		{"functions", d.patterns(&p.Functions, "functions", shapeFunction)},
		{"reveal", d.noting(p.places, d.texts(&p.Reveal, "reveal"))},
	}
}

// named gives each rule a name, and refuses two of the same.
func (d *decoder) named(p *Policy) {
	seen := map[string]bool{}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Name == "" {
			r.Name = "#" + itoa(i+1)
		}
		if seen[r.Name] {
			d.problems.add(r.Pos, "two rules of %q are called %q", p.Name, r.Name)
		}
		seen[r.Name] = true
	}
}

func (d *decoder) selector(n ast.Node) Selector {
	s := Selector{Pos: d.where(n)}
	pairs := 0
	counted := func(f func(ast.Node)) func(ast.Node) {
		return func(n ast.Node) { pairs++; f(n) }
	}
	ok := d.mapping(n, "a subject", nil,
		field{"any", counted(d.flag(&s.Any, "any"))},
		field{"serviceAccount", counted(func(n ast.Node) {
			d.into(&s.ServiceAccount, "serviceAccount")(n)
			if s.ServiceAccount != "" && !validAccount(s.ServiceAccount) {
				d.errorf(n, "serviceAccount %q must be namespace/name, or namespace/*", clip(s.ServiceAccount))
			}
		})},
		field{"namespace", counted(d.name(&s.Namespace, "namespace"))},
		field{"workload", counted(d.name(&s.Workload, "workload"))},
		field{"labels", counted(d.labels(&s.Labels, "labels"))},
		field{"oidc", counted(func(n ast.Node) { s.OIDC = d.oidc(n) })},
		field{"process", counted(func(n ast.Node) { s.Process = d.process(n) })},
	)
	switch {
	case !ok:
	case pairs == 0:
		d.errorf(n, "a subject needs at least one of serviceAccount, namespace, workload, labels, oidc, process, or {any: true}")
	case s.Any && pairs > 1:
		d.errorf(n, "{any: true} stands alone")
	case pairs == 1 && s.Labels != nil && len(s.Labels) == 0:
		d.errorf(n, "labels must name at least one label")
	}
	return s
}

func (d *decoder) oidc(n ast.Node) *OIDCSelector {
	o := &OIDCSelector{}
	d.mapping(n, "oidc", required{"issuer"},
		field{"issuer", d.into(&o.Issuer, "issuer")},
		field{"subject", d.into(&o.Subject, "subject")},
		field{"audience", d.into(&o.Audience, "audience")},
		field{"groups", func(n ast.Node) {
			d.texts(&o.Groups, "groups")(n)
			if len(o.Groups) == 0 {
				d.errorf(n, "groups must name at least one group")
			}
		}},
		field{"claims", d.labels(&o.Claims, "claims")},
	)
	return o
}

func (d *decoder) process(n ast.Node) *ProcessSelector {
	p := &ProcessSelector{}
	d.mapping(n, "process", nil,
		field{"exe", d.path(&p.Exe, "exe")},
		field{"user", d.into(&p.User, "user")},
		field{"uid", func(n ast.Node) {
			p.UID = new(uint32)
			number(d, p.UID, "uid", 0, 1<<32-2)(n)
		}},
	)
	if *p == (ProcessSelector{}) {
		d.errorf(n, "process needs at least one of exe, user, uid")
	}
	return p
}

func (d *decoder) limits(to *Limits) func(ast.Node) {
	return func(n ast.Node) {
		d.mapping(n, "limits", nil,
			field{"rows", number(d, &to.Rows, "rows", 1, 1<<62)},
			field{"bytes", d.size(&to.Bytes, "bytes")},
			field{"affected", number(d, &to.Affected, "affected", 1, 1<<62)},
			field{"time", d.duration(&to.Time, "time")},
		)
	}
}

func (d *decoder) budgets(p *Policy) func(ast.Node) {
	return func(n ast.Node) {
		d.each(n, "budgets", func(e ast.Node) {
			b := Budget{Policy: p.Name}
			d.mapping(e, "a budget", required{"per"},
				field{"per", d.duration(&b.Per, "per")},
				field{"rows", number(d, &b.Rows, "rows", 1, 1<<62)},
				field{"statements", number(d, &b.Statements, "statements", 1, 1<<62)},
				field{"denials", number(d, &b.Denials, "denials", 1, 1<<62)},
				field{"then", choice(d, new(string), "then", word[string]{"suspend", "suspend"})},
			)
			if b.Rows == 0 && b.Statements == 0 && b.Denials == 0 {
				d.errorf(e, "a budget needs at least one of rows, statements, denials")
			}
			if b.Per != 0 && b.Per < time.Second {
				d.errorf(e, "a budget's window must be at least 1s")
			}
			p.Budgets = append(p.Budgets, b)
		})
	}
}

func (d *decoder) tests(p *Policy) func(ast.Node) {
	return func(n ast.Node) {
		d.each(n, "tests", func(e ast.Node) {
			t := Test{Pos: d.where(e)}
			d.mapping(e, "a test", required{"sql", "expect"},
				field{"sql", d.into(&t.SQL, "sql")},
				field{"database", d.into(&t.Database, "database")},
				field{"as", func(n ast.Node) {
					s := d.selector(n)
					t.As = s.Example()
				}},
				field{"expect", choice(d, &t.Expect, "expect", effects...)},
			)
			p.Tests = append(p.Tests, t)
		})
	}
}

// effects are the words for what becomes of a statement.
var effects = []word[protocol.Verdict]{
	{"allow", protocol.Allow}, {"mask", protocol.Mask},
	{"approve", protocol.Approve}, {"deny", protocol.Deny},
}
