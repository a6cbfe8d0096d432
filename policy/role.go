package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluicegate.io/sluice/protocol"
)

// Mode says where masks happen. The zero value needs nothing in the database.
type Mode uint8

const (
	ModeInline Mode = iota // sub-selects in the text of each statement
	ModeRole               // views of a shadow schema, reached by a login that has rights on nothing else
)

// Role names what mode role uses in the database. Package policy/harden makes it.
type Role struct {
	Schema string // of the views; default: sluice_ and the Database's name
	Login  string // the only role that may read them; default: the credential's username
	// Barrier makes the views with masks security barriers, which keeps the planner
	// from looking through them.
	Barrier bool
}

// Owner is the role that owns the views, and cannot log in.
func (r Role) Owner() string { return r.Schema + "_owner" }

// longestSchema leaves room for what is added to it in names of 63 bytes.
const longestSchema = 57

func (d *decoder) role(to *Role) func(ast.Node) {
	return func(n ast.Node) {
		d.mapping(n, "role", nil,
			field{"schema", d.into(&to.Schema, "schema")},
			field{"login", d.into(&to.Login, "login")},
			field{"barrier", d.flag(&to.Barrier, "barrier")},
		)
		switch {
		case len(to.Schema) > longestSchema:
			d.errorf(n, "role.schema must have at most %d bytes", longestSchema)
		case system(to.Schema) || to.Schema == "public":
			d.errorf(n, "role.schema must be a schema of its own, not %q", clip(to.Schema))
		case len(to.Login) > 63 || strings.HasPrefix(to.Login, "pg_"):
			d.errorf(n, "role.login cannot be the name of a login of PostgreSQL")
		}
	}
}

// completeRole fills in the defaults of mode role, and refuses what contradicts it.
func (d *decoder) completeRole(n ast.Node, db *Database) {
	if db.Mode != ModeRole {
		if db.Role != (Role{}) {
			d.errorf(n, "role belongs to mode: role")
		}
		return
	}
	if db.Role.Schema == "" {
		db.Role.Schema = "sluice_" + strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
				return c
			}
			return '_'
		}, db.Name)
		if len(db.Role.Schema) > longestSchema {
			d.errorf(n, "mode: role needs role.schema here, since the Database's name is too long to make it from")
		}
	}
	switch user := db.Credential.Username; {
	case db.Role.Login == "" && db.Credential.Passthrough:
		d.errorf(n, "mode: role with credential.passthrough needs role.login, the login that workloads use")
	case db.Role.Login == "":
		db.Role.Login = user
	case !db.Credential.Passthrough && user != "" && db.Role.Login != user:
		d.errorf(n, "role.login must be the credential's username, which is what the proxy logs in as")
	}
	if db.Role.Login == db.Role.Owner() {
		d.errorf(n, "role.login must not be %q, which owns the views", db.Role.Owner())
	}
	if db.Enforce == Observe {
		d.errorf(n, "enforce: observe cannot be combined with mode: role: the login may not read what would be let pass")
	}
}

// linkRole refuses policies that observe what mode role would not let pass.
func (s *Set) linkRole(pol *Policy, p *problems) {
	if pol.Enforce != Observe {
		return
	}
	for _, db := range s.databases {
		if db.Mode == ModeRole && pol.covers(db.Name) {
			p.add(pol.Pos, "policy %q only observes, which Database %q cannot with mode: role: its login may not read what would be let pass", pol.Name, db.Name)
		}
	}
}

// Reach returns a View for each policy of a database, as if it were alone and
// every moment at once: rules that give hold whatever their time, and those that
// take away only if they always do. What no such View allows is never allowed.
func (s *Set) Reach(database string) []*View {
	db := s.byName[database]
	if db == nil {
		return nil
	}
	var out []*View
	for _, p := range s.policies {
		if p.covers(database) {
			out = append(out, s.timeless(db, []*Policy{p}))
		}
	}
	return out
}

// maxProfiles bounds the combinations of policies that Profiles tells apart.
const maxProfiles = 64

// Profiles returns a View for each combination of policies in which columns of a
// database may read differently: that of the policies that neither reveal nor
// mask comes first. It is for what the Views say of columns; what subjects there
// are for a combination is not known here.
func (s *Set) Profiles(database string) ([]*View, error) {
	db := s.byName[database]
	if db == nil {
		return nil, fmt.Errorf("there is no Database %q", database)
	}
	chosen := [][]*Policy{nil}
	for _, p := range s.policies {
		if !p.covers(database) || len(p.Reveal) == 0 && !slices.ContainsFunc(p.Rules, masks) {
			continue
		}
		for i := range p.Rules {
			if r := &p.Rules[i]; masks(*r) && len(r.Match.Time) > 0 {
				return nil, fmt.Errorf("rule %s/%s masks at some times only, which views can't: give it no match.time, or use mode: inline", p.Name, r.Name)
			}
		}
		if len(chosen)*2 > maxProfiles {
			return nil, fmt.Errorf("the policies of Database %q that reveal or mask can be combined in more than %d ways: join some of them", database, maxProfiles)
		}
		for _, c := range slices.Clone(chosen) {
			chosen = append(chosen, append(slices.Clone(c), p))
		}
	}
	out := make([]*View, len(chosen))
	for i, c := range chosen {
		out[i] = s.timeless(db, c)
	}
	return out, nil
}

func masks(r Rule) bool { return r.Effect == protocol.Mask }

// timeless makes a View that knows no time.
func (s *Set) timeless(db *database, chosen []*Policy) *View {
	v := &View{db: db, revealed: map[string]bool{}, objects: map[protocol.Object]*objectRules{}, results: map[question]answer{}}
	var rules []*rule
	for _, p := range chosen {
		v.policies = append(v.policies, p.Name)
		for _, tag := range p.Reveal {
			v.revealed[tag] = true
		}
		for _, r := range s.rules[p] {
			if len(r.Match.Time) > 0 && r.Effect == protocol.Deny {
				continue
			}
			v.masks = v.masks || masks(*r.Rule)
			rules = append(rules, r)
		}
	}
	v.index = newIndex(rules)
	return v
}
