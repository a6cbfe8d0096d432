package rehearsal

import (
	"fmt"
	"math"
	"slices"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// A Draft is a policy that recordings led to.
type Draft struct {
	YAML      string
	Policies  int
	Learned   int // statements that it allows, or holds for a human
	Refused   int // statements that were refused when they were recorded, which it does not allow
	Failed    int // statements that failed in the server, and need nothing
	Undecided int // statements that no rule can allow as they are
}

// Suggest makes the policy that lets all runs pass which did pass, and nothing
// more. databases are the Databases that the runs are about, with what is
// sensitive in them.
//
// Each object gets a rule for each action, with the columns that were used. What
// is sensitive stays masked, unless the recording shows that it was in clear.
// UPDATE and DELETE without a WHERE clause, TRUNCATE, maintenance and DDL become
// rules with effect approve: they are held for a human, until somebody decides.
func Suggest(databases []*policy.Database, runs []*Run) (*Draft, error) {
	d := &drafter{Draft: &Draft{}, views: map[string]*policy.View{}, groups: map[string]*group{}}
	for _, db := range databases {
		c := *db
		c.Enforce = policy.Enforce
		d.databases = append(d.databases, &c)
	}
	for _, r := range runs {
		if r.Refused {
			d.Refused += r.Count
			continue
		}
		if err := d.learn(r); err != nil {
			return nil, err
		}
	}
	d.YAML = d.render()
	d.Policies = len(d.groups)
	return d.Draft, nil
}

// drafter is a Draft that is being made.
type drafter struct {
	*Draft
	databases []*policy.Database
	views     map[string]*policy.View // that allow all, by Database and tag revealed
	groups    map[string]*group       // by selector and Database
}

// group is what one policy is made of.
type group struct {
	selector, database string
	subject            string
	rights             map[right]*use
	functions          map[string]int
	reveal             map[string]int
	undecided          map[string]*open
	runs               []*Run
}

// A right is what one rule gives. hold is one that a human has to agree to.
type right struct {
	object protocol.Object
	action protocol.Action
	hold   bool
}

// use is how a right was used.
type use struct {
	count    int
	columns  map[string]bool
	filtered int // statements with a WHERE clause
	bare     int // statements without
	upserts  int
	whole    bool   // some statement named no column
	spare    string // a harmless column, for those
}

// open is a text that no rule can allow.
type open struct {
	count int
	why   string
}

// permissive returns a View that may do everything, and still is judged by what
// is sensitive.
func (d *drafter) permissive(database, reveal string) (*policy.View, error) {
	name := database + "\x00" + reveal
	if v := d.views[name]; v != nil {
		return v, nil
	}
	n := slices.IndexFunc(d.databases, func(db *policy.Database) bool { return db.Name == database })
	if n < 0 {
		return nil, fmt.Errorf("the configuration has no Database %s, which was recorded", database)
	}
	p := &policy.Policy{
		Name: "everything", Subjects: []policy.Selector{{Any: true}}, Databases: []string{database},
		Rules: []policy.Rule{{Name: "all", Effect: protocol.Allow, AnyAction: true, Actions: protocol.Actions(), On: []policy.Pattern{{Name: "*"}}}},
		// Without a limit there would be nothing to protect, and no analysis.
		Limits: policy.Limits{Rows: math.MaxInt64},
	}
	if reveal != "" {
		p.Reveal = []string{reveal}
	}
	set, err := policy.New([]policy.Document{
		{Kind: "Database", Name: database, Database: d.databases[n]}, {Kind: "Policy", Name: p.Name, Policy: p}})
	if err != nil {
		return nil, err
	}
	v, _ := set.View(&policy.Subject{}, database, time.Now())
	d.views[name] = v
	return v, nil
}

// of returns the group of a run.
func (d *drafter) of(r *Run) *group {
	s := SelectorOf(r.Subject)
	g := d.groups[s+r.Database]
	if g == nil {
		g = &group{selector: s, database: r.Database, subject: r.Subject.String(), rights: map[right]*use{},
			functions: map[string]int{}, reveal: map[string]int{}, undecided: map[string]*open{}}
		d.groups[s+r.Database] = g
	}
	return g
}

// learn adds what one run needs.
func (d *drafter) learn(r *Run) error {
	g := d.of(r)
	if r.Cut {
		d.undecided(g, r, "the recording holds a part of it only")
		return nil
	}
	v, err := d.permissive(r.Database, "")
	if err != nil {
		return err
	}
	called := map[string]bool{}
	note := func(f *sql.Function) { called[policy.Pattern{Schema: f.Schema, Name: f.Name}.String()] = true }
	j := r.judge(v, note)
	if j.Refusal != nil && r.ran() && !r.Watched {
		// It passed all the same, so that something was in clear.
		for _, tag := range d.tags(r.Database) {
			clear, err := d.permissive(r.Database, tag)
			if err != nil {
				return err
			}
			if j2 := r.judge(clear, note); j2.Refusal == nil {
				g.reveal[tag] += r.Count
				j = j2
				break
			}
		}
	}
	if j.Refusal != nil {
		if r.Failed {
			d.Failed += r.Count
			return nil
		}
		d.undecided(g, r, j.Refusal.Message)
		return nil
	}
	g.runs = append(g.runs, r)
	d.Learned += r.Count
	for i := range j.Plans {
		for _, a := range j.Plans[i].Statement.Accesses {
			// A trigger's function goes with the write, and needs no right.
			if a.Action == protocol.Call && a.Object.Kind == protocol.Function && a.Implied == "" {
				called[policy.Pattern{Schema: a.Object.Schema, Name: a.Object.Name}.String()] = true
			}
		}
		g.plan(r, &j.Plans[i])
	}
	for f := range called {
		g.functions[f] += r.Count
	}
	if len(j.Plans) > 0 {
		for i, c := range j.Plans[0].Columns {
			if c.Sensitive && i < len(r.Clear) && r.Clear[i] && c.Tag != "" {
				g.reveal[c.Tag] += r.Count
			}
		}
	}
	return nil
}

func (d *drafter) undecided(g *group, r *Run, why string) {
	d.Undecided += r.Count
	o := g.undecided[r.Text]
	if o == nil {
		o = &open{why: why}
		g.undecided[r.Text] = o
	}
	o.count += r.Count
}

// tags are those of a Database.
func (d *drafter) tags(database string) []string {
	var out []string
	for _, db := range d.databases {
		if db.Name == database {
			for _, line := range db.Sensitive {
				out = append(out, line.Tag)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// plan adds what one statement needs.
func (g *group) plan(r *Run, p *protocol.Plan) {
	st := &p.Statement
	for i := range st.Accesses {
		a := &st.Accesses[i]
		if a.Action == protocol.Call && a.Object.Kind == protocol.Function {
			continue // is one of functions
		}
		k := right{a.Object, a.Action, false}
		upsert := a.Action == protocol.Update && st.Tag == "INSERT"
		switch a.Action {
		case protocol.Update, protocol.Delete:
			k.hold = !st.Filtered && !upsert && a.Implied == ""
		case protocol.Truncate, protocol.Create, protocol.Alter, protocol.Drop, protocol.Grant, protocol.Maintenance:
			k.hold = true
		}
		u := g.rights[k]
		if u == nil {
			u = &use{columns: map[string]bool{}}
			g.rights[k] = u
		}
		u.count += r.Count
		switch {
		case upsert || a.Implied != "" && !st.Filtered:
			u.upserts += r.Count
		case st.Filtered:
			u.filtered += r.Count
		default:
			u.bare += r.Count
		}
		for _, c := range a.Columns {
			u.columns[c] = true
		}
		if len(a.Columns) == 0 {
			u.whole = true
			u.spare = spare(r.Catalog, a.Object)
		}
	}
}

// spare picks a column for statements that name none, such as count(*): a right to
// any column is enough for them, and a key tells least.
func spare(c *sql.Catalog, o protocol.Object) string {
	rel := c.Relation(o.Schema, o.Name)
	if rel == nil {
		return ""
	}
	var keys []int16
	for _, k := range rel.Keys {
		if k.Primary {
			keys = k.Columns
		}
	}
	first := ""
	for i := range rel.Columns {
		col := &rel.Columns[i]
		if col.Dropped {
			continue
		}
		if slices.Contains(keys, col.Number) {
			return col.Name
		}
		if first == "" {
			first = col.Name
		}
	}
	return first
}
