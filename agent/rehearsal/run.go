package rehearsal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// A Run is what was recorded of one text, as often as it was sent alike.
type Run struct {
	Subject  *policy.Subject
	Database string       // resource
	Catalog  *sql.Catalog // as it was then
	Text     string
	Path     []string
	Time     time.Time // of the first

	Count    int
	Verdict  protocol.Verdict
	Rule     string
	Refused  bool   // it did not run
	Observed bool   // it ran, and would have been refused
	Watched  bool   // enforce was observe: nothing was masked
	Cut      bool   // the recording holds a part of the text only
	Failed   bool   // the server answered with an error, each time
	Clear    []bool // per column of the first result: came without a mask

	good, bad int
}

// ran says that the server did something for it.
func (r *Run) ran() bool { return !r.Refused && !r.Failed }

// A Selection says which recordings count. Zero fields choose all.
type Selection struct {
	Subject  string
	Database string
	Since    time.Time
}

// Past is what Read found.
type Past struct {
	Runs     []*Run
	Sessions int
	Unknown  int // statements of databases of which no catalog was kept
}

// Read gathers what was recorded in a directory. catalog, if it is not nil, is
// used in place of what the shelf of the directory has.
func Read(dir string, sel Selection, catalog *sql.Catalog) (*Past, error) {
	sessions, err := record.Sessions(dir, record.Filter{Subject: sel.Subject, Database: sel.Database, After: sel.Since})
	if err != nil {
		return nil, err
	}
	r := &reader{shelf: NewShelf(dir), fixed: catalog, sel: sel, past: &Past{}, known: map[string]*Run{}, loaded: map[string]*sql.Catalog{}}
	for i := range sessions {
		s := &sessions[i]
		if s.Start == nil || s.Start.Protocol != "postgres" {
			continue
		}
		if err := r.session(dir, s); err != nil {
			return nil, err
		}
	}
	for _, run := range r.past.Runs {
		run.Failed = run.bad > 0 && run.good == 0
	}
	return r.past, nil
}

// reader gathers the runs of sessions.
type reader struct {
	shelf  *Shelf
	fixed  *sql.Catalog
	sel    Selection
	past   *Past
	known  map[string]*Run
	loaded map[string]*sql.Catalog // by file
}

// session reads one session.
func (r *reader) session(dir string, s *record.Session) error {
	dbname := s.Start.Params["database"]
	if dbname == "" {
		dbname = s.Start.Params["user"]
	}
	var volumes []Volume
	if r.fixed == nil {
		var err error
		if volumes, err = r.shelf.Volumes(s.Start.Database, dbname); err != nil {
			return err
		}
	}
	r.past.Sessions++
	t := &trail{reader: r, session: s, volumes: volumes, subject: subjectOf(s.Start), at: map[uint64]*Run{}}
	t.first = cmp.Or(s.Start.Params["search_path"], sql.DefaultPath)
	t.path = t.first
	for e, err := range record.Read(dir, s.ID) {
		if err != nil {
			return err
		}
		if err := t.event(e); err != nil {
			return err
		}
	}
	return nil
}

// trail follows one session.
type trail struct {
	*reader
	session     *record.Session
	volumes     []Volume
	subject     *policy.Subject
	first, path string // search_path at the start, and now
	at          map[uint64]*Run
}

func (t *trail) event(e *record.Event) error {
	switch {
	case e.Statement != nil:
		s := e.Statement
		run := &Run{Text: s.Text, Cut: s.Length > len(s.Text), Verdict: protocol.Allow}
		for _, d := range s.Decisions {
			run.Observed = run.Observed || d.Observed
			if d.Verdict < run.Verdict || run.Rule == "" {
				run.Verdict, run.Rule = min(run.Verdict, d.Verdict), d.Rule
			}
		}
		kept, err := t.add(run, e.Time)
		if err != nil || kept == nil {
			return err
		}
		t.at[s.Number] = kept
		t.follow(s.Text)
	case e.Refusal != nil && e.Refusal.Text != "":
		f := e.Refusal
		_, err := t.add(&Run{Text: f.Text, Cut: f.Length > len(f.Text), Rule: f.Rule, Refused: true}, e.Time)
		return err
	case e.Columns != nil && e.Columns.Index == 0:
		if run := t.at[e.Columns.Number]; run != nil && run.Clear == nil && !run.Watched {
			run.Clear = make([]bool, len(e.Columns.Columns))
			for i, c := range e.Columns.Columns {
				run.Clear[i] = c.Tag == ""
			}
		}
	case e.Outcome != nil:
		if run := t.at[e.Outcome.Number]; run != nil {
			if strings.HasPrefix(e.Outcome.Code, "42") { // no such thing, no right to it, no SQL
				run.bad++
			} else {
				run.good++
			}
		}
	}
	return nil
}

// follow notices that the search path changes.
func (t *trail) follow(text string) {
	if !strings.Contains(strings.ToLower(text), "search_path") && !strings.Contains(strings.ToLower(text), "all") {
		return
	}
	if path, local, found := sql.SetsPath(text); found && !local {
		t.path = cmp.Or(path, t.first)
	}
}

// add counts a run. It returns the one that stands for all that are alike, or nil
// if it does not count.
func (t *trail) add(run *Run, at time.Time) (*Run, error) {
	if !t.sel.Since.IsZero() && at.Before(t.sel.Since) {
		return nil, nil
	}
	var err error
	if run.Catalog, err = t.catalog(at); err != nil {
		return nil, err
	}
	if run.Catalog == nil {
		t.past.Unknown++
		return nil, nil
	}
	run.Subject, run.Database, run.Time, run.Watched = t.subject, t.session.Start.Database, at, t.session.Start.Observe
	run.Path = run.Catalog.EffectivePath(t.path)
	key := strings.Join([]string{SelectorOf(t.subject), run.Database, fmt.Sprintf("%p", run.Catalog), t.path, run.Rule,
		fmt.Sprint(run.Verdict, run.Refused, run.Observed, run.Watched, run.Cut), run.Text}, "\x00")
	kept := t.known[key]
	if kept == nil {
		kept = run
		t.known[key] = run
		t.past.Runs = append(t.past.Runs, run)
	}
	kept.Count++
	return kept, nil
}

// catalog returns what the database was like at a time: the latest that had been
// loaded, or if there is none any more, the earliest.
func (t *trail) catalog(at time.Time) (*sql.Catalog, error) {
	if t.fixed != nil {
		return t.fixed, nil
	}
	if len(t.volumes) == 0 {
		return nil, nil
	}
	v := &t.volumes[0]
	for i := range t.volumes {
		if !t.volumes[i].Time.After(at) {
			v = &t.volumes[i]
		}
	}
	if c := t.loaded[v.path]; c != nil {
		return c, nil
	}
	c, err := v.Read()
	if err != nil {
		return nil, err
	}
	t.loaded[v.path] = c
	return c, nil
}

// subjectOf is who a session was for, as far as it was recorded.
func subjectOf(s *record.Start) *policy.Subject {
	id := s.Identity
	sub := &policy.Subject{}
	sub.Process.User, sub.Process.Exe, sub.Process.Cgroup = id["user"], id["exe"], id["cgroup"]
	if pid, err := strconv.ParseUint(id["pid"], 10, 32); err == nil {
		sub.Process.PID = uint32(pid)
	}
	if uid, err := strconv.ParseUint(id["uid"], 10, 32); err == nil {
		sub.Process.UID = uint32(uid)
	}
	sub.Workload = policy.Workload{Name: id["workload"], Namespace: id["namespace"], ServiceAccount: id["serviceAccount"], Pod: id["pod"]}
	if id["issuer"] != "" {
		sub.Token = &policy.Token{Issuer: id["issuer"], Subject: id["tokenSubject"], Claims: map[string]any{}, Expires: time.Unix(1<<40, 0)}
		if g := id["groups"]; g != "" {
			sub.Token.Groups = strings.Split(g, ",")
		}
	}
	return sub
}

// SelectorOf is the entry of `subjects` that names a subject: what proves most of
// who it is.
func SelectorOf(s *policy.Subject) string {
	pair := func(k, v string) string { return k + ": " + strconv.Quote(v) }
	switch {
	case s.Token != nil && s.Token.Subject != "":
		return "{oidc: {" + pair("issuer", s.Token.Issuer) + ", " + pair("subject", s.Token.Subject) + "}}"
	case s.Workload.ServiceAccount != "":
		return "{" + pair("serviceAccount", s.Workload.Namespace+"/"+s.Workload.ServiceAccount) + "}"
	}
	var parts []string
	if s.Workload.Name != "" {
		parts = append(parts, pair("workload", s.Workload.Name))
	}
	if s.Workload.Name == "" || s.Workload.Name == "exec" {
		// What anybody may start is told apart by who did.
		if s.Process.User != "" {
			parts = append(parts, "process: {"+pair("user", s.Process.User)+"}")
		} else if s.Process.PID != 0 {
			parts = append(parts, fmt.Sprintf("process: {uid: %d}", s.Process.UID))
		}
	}
	if len(parts) == 0 {
		return "{any: true}"
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// withLabels completes a subject by what the configuration says of its workload.
func withLabels(set *policy.Set, s *policy.Subject) *policy.Subject {
	for _, w := range set.Workloads() {
		if w.Name == s.Workload.Name && w.Name != "" {
			c := *s
			c.Workload.Labels = maps.Clone(w.Labels)
			return &c
		}
	}
	return s
}

// key gives masks a key that is nobody's: what is judged here never runs.
func key(tag string) mask.Key { return mask.NewKey([]byte("a rehearsal masks nothing"), tag) }

// judge decides about a run by a View.
func (r *Run) judge(v *policy.View, called func(*sql.Function)) *protocol.Judgement {
	j, _ := sql.Judge(r.Catalog, v, &protocol.Query{Text: r.Text, Path: r.Path}, sql.Options{Key: key, Called: called})
	return j
}

// Worst is the strictest verdict about a text, and the rule that gave it.
func Worst(j *protocol.Judgement) (protocol.Verdict, string) {
	if j.Refusal != nil {
		return protocol.Deny, j.Refusal.Rule
	}
	v, rule := protocol.Allow, ""
	for i := range j.Plans {
		if j.Plans[i].Verdict < v || rule == "" {
			v, rule = min(v, j.Plans[i].Verdict), j.Plans[i].Rule
		}
	}
	return v, rule
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
