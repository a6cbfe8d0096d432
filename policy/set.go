package policy

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// File is a file of resources and its name, which errors quote.
type File struct {
	Name string
	Data []byte
	// Object says that Data is the JSON of one object of the cluster. Name is its
	// kind and name, and errors tell fields in place of lines.
	Object bool
}

// Document is one resource. Exactly one of the pointers is set; a Grant is a Policy.
type Document struct {
	Kind     string
	Name     string
	Pos      Position
	Database *Database
	Policy   *Policy
	Workload *Enrolment
	Agent    *Agent
}

// Set is a valid set of resources. It is immutable and safe for concurrent use.
type Set struct {
	databases []*Database
	byName    map[string]*database
	policies  []*Policy
	workloads []*Enrolment
	agent     *Agent
	hasAgent  bool
	rules     map[*Policy][]*rule // compiled, shared by all Views
	timed     map[*Policy][]*rule // those of them that a time window opens

	mu    sync.Mutex
	views map[string]*View // by what makes up their rights
}

// maxViews bounds the Views that a Set keeps. Beyond it the same rights may give
// another pointer, which costs caches and nothing else.
const maxViews = 4096

// Load parses all files and compiles them together. One mistake refuses the
// whole set; the error is then a *SyntaxError that holds all of them.
func Load(files []File) (*Set, error) {
	p := &problems{}
	var docs []Document
	for _, f := range files {
		docs = append(docs, parse(f, p)...)
	}
	s := assemble(docs, p)
	// A document that could not be read leaves references dangling, which is not
	// worth a word of its own.
	if len(p.list) == 0 {
		s.link(p)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	s.compile()
	return s, nil
}

// New compiles documents that were parsed before, such as those of [Parse] and
// grants that were made since.
func New(docs []Document) (*Set, error) {
	p := &problems{}
	s := assemble(docs, p)
	s.link(p)
	if err := p.err(); err != nil {
		return nil, err
	}
	s.compile()
	return s, nil
}

// assemble sorts documents by kind and refuses two of one name.
func assemble(docs []Document, p *problems) *Set {
	s := &Set{byName: map[string]*database{}, agent: defaults(), views: map[string]*View{}}
	seen := map[[2]string]Position{}
	for _, doc := range docs {
		space := doc.Kind
		if space == "Grant" {
			space = "Policy" // "policy/rule" must name one rule
		}
		key := [2]string{space, doc.Name}
		if before, ok := seen[key]; ok {
			p.add(doc.Pos, "%s %q is also defined at %s", doc.Kind, doc.Name, before)
			continue
		}
		seen[key] = doc.Pos
		switch {
		case doc.Database != nil:
			s.databases = append(s.databases, doc.Database)
		case doc.Policy != nil:
			s.policies = append(s.policies, doc.Policy)
		case doc.Workload != nil:
			s.workloads = append(s.workloads, doc.Workload)
		case doc.Agent != nil && s.hasAgent:
			p.add(doc.Pos, "a second Agent; the first is at %s", s.agent.Pos)
		case doc.Agent != nil:
			agent := *doc.Agent
			s.agent, s.hasAgent = &agent, true
		default:
			p.add(doc.Pos, "an empty document")
		}
	}
	s.agent.complete()
	slices.SortFunc(s.databases, func(a, b *Database) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.policies, func(a, b *Policy) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.workloads, func(a, b *Enrolment) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// compile builds the tables that decisions look things up in.
func (s *Set) compile() {
	for _, db := range s.databases {
		s.byName[db.Name] = compileDatabase(db)
	}
	s.rules = make(map[*Policy][]*rule, len(s.policies))
	s.timed = map[*Policy][]*rule{}
	for _, p := range s.policies {
		s.rules[p] = compileRules(p)
		for _, r := range s.rules[p] {
			if len(r.Match.Time) > 0 {
				s.timed[p] = append(s.timed[p], r)
			}
		}
	}
}

// Databases returns all Databases in order of name.
func (s *Set) Databases() []*Database { return s.databases }

// Database returns the Database called name, or nil.
func (s *Set) Database(name string) *Database {
	if db := s.byName[name]; db != nil {
		return db.Database
	}
	return nil
}

// Policies returns all Policies and Grants in order of name.
func (s *Set) Policies() []*Policy { return s.policies }

// Workloads returns all kind Workload resources in order of name.
func (s *Set) Workloads() []*Enrolment { return s.workloads }

// PodWorkload returns the first Workload, in order of name, whose pods include this
// one, and nil if there is none.
func (s *Set) PodWorkload(pod *Workload) *Enrolment {
	for _, w := range s.workloads {
		if w.Pods != nil && w.Pods.Matches(pod) {
			return w
		}
	}
	return nil
}

// Agent returns the daemon's settings, with every default filled in. It is never nil.
func (s *Set) Agent() *Agent { return s.agent }

// View returns what sub may do in database at that time, and when to ask again
// because a grant or a time window starts or ends (zero: never). Equal rights
// give the same pointer as long as the Set lives. It never returns a nil View: a
// database that is not known, or a subject that no policy names, gets one that
// denies everything.
func (s *Set) View(sub *Subject, database string, at time.Time) (*View, time.Time) {
	db := s.byName[database]
	if db == nil || sub == nil {
		return &View{}, time.Time{}
	}
	var chosen []*Policy
	var until time.Time
	key := []byte(database)
	for i, p := range s.policies {
		if !p.covers(database) || !p.names(sub) {
			continue
		}
		if p.Grant {
			until = sooner(until, at, p.NotBefore, p.Expires)
			if at.Before(p.NotBefore) || !at.Before(p.Expires) {
				continue
			}
		}
		chosen = append(chosen, p)
		key = append(key, 0, byte(i), byte(i>>8), byte(i>>16))
		for _, r := range s.timed[p] {
			open := byte(0)
			for _, w := range r.Match.Time {
				if w.contains(at) {
					open = 1
				}
				until = sooner(until, at, w.next(at))
			}
			key = append(key, open)
		}
		for _, r := range s.rules[p] {
			if r.Match.Scope != nil && r.Match.Scope.ofSubject() {
				for _, v := range r.Match.Scope.of(sub).Values {
					key = append(strconv.AppendQuote(key, v), 1)
				}
				key = append(key, 2)
			}
		}
	}
	return s.intern(string(key), db, chosen, sub, at), until
}

// sooner returns the earliest of until and those of moments that are after at.
func sooner(until, at time.Time, moments ...time.Time) time.Time {
	for _, m := range moments {
		if m.After(at) && (until.IsZero() || m.Before(until)) {
			until = m
		}
	}
	return until
}

func (s *Set) intern(key string, db *database, chosen []*Policy, sub *Subject, at time.Time) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.views[key]; v != nil {
		return v
	}
	if len(s.views) >= maxViews {
		clear(s.views)
	}
	v := s.build(db, chosen, sub, at)
	s.views[key] = v
	return v
}

// Concerns reports whether sub is one of the policy's subjects, as far as is known
// of it, and whether the policy is about database; "" is any.
func (p *Policy) Concerns(sub *Subject, database string) bool {
	return (database == "" || p.covers(database)) && p.names(sub)
}

// covers reports whether the policy is about database.
func (p *Policy) covers(database string) bool {
	return slices.Contains(p.Databases, database) || slices.Contains(p.Databases, "*")
}

// names reports whether sub is one of the policy's subjects.
func (p *Policy) names(sub *Subject) bool {
	for i := range p.Subjects {
		if p.Subjects[i].matches(sub) {
			return true
		}
	}
	return false
}
