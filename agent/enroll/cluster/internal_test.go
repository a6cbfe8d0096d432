package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
)

// step is what happens in the cluster, and what must be in force then.
type step struct {
	does  string // "Kind name spec", "-Kind name", or "file kind name spec" lines
	force string // "Kind name@generation", sorted, blank separated
	says  string // "Kind name: reason: text", one a line; text is a part
}

const (
	db     = `{"protocol":"postgres","endpoints":["%s:5432"],"credential":{"username":"u"}}`
	grants = `{"subjects":[{"any":true}],"databases":["%s"],"rules":[{"effect":"allow","actions":["select"],"on":["*.*"]}]%s}`
)

func database(host string) string     { return fmt.Sprintf(db, host) }
func policyOf(database string) string { return fmt.Sprintf(grants, database, "") }
func grantOf(database string) string {
	return fmt.Sprintf(grants, database, `,"expires":"2036-01-31T18:00:00Z"`)
}

// world applies steps to objects.
type world struct {
	t       *testing.T
	o       *objects
	made    map[Key]Object
	clock   int
	fileSet []policy.File
}

func newWorld(t *testing.T) *world {
	return &world{t: t, o: newObjects(), made: map[Key]Object{}}
}

func (w *world) do(line string) {
	if line == "" {
		return
	}
	kind, rest, _ := strings.Cut(line, " ")
	name, spec, _ := strings.Cut(rest, " ")
	if kind == "file" {
		w.fileSet = []policy.File{{Name: "f.yaml", Data: []byte(rest)}}
		return
	}
	if kind, gone := strings.CutPrefix(kind, "-"); gone {
		delete(w.made, Key{kind, name})
		w.o.remove(Key{kind, name})
		return
	}
	w.clock++
	k := Key{kind, name}
	o, ok := w.made[k]
	if !ok {
		o = Object{Key: k, UID: fmt.Sprint("uid", w.clock), Created: time.Unix(int64(w.clock), 0)}
	}
	o.Generation++
	o.Data = []byte(fmt.Sprintf(`{"apiVersion":"sluicegate.io/v1alpha1","kind":%q,"metadata":{"name":%q},"spec":%s}`, kind, name, spec))
	w.made[k] = o
	w.o.put(o)
}

func (w *world) adopt() error {
	docs := []policy.Document{}
	for _, f := range w.fileSet {
		d, err := policy.ParseFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		docs = append(docs, d...)
	}
	c, err := w.o.candidate(w.fileSet, docs)
	if err != nil {
		return err
	}
	// What the proxy makes of the files is the same set.
	if _, err := policy.Load(c.Files); err != nil {
		w.t.Errorf("the files of the candidate are not valid: %v", err)
	}
	w.o.adopt(c)
	return nil
}

func (w *world) force() string {
	var all []string
	for k, v := range w.o.inForce() {
		all = append(all, fmt.Sprintf("%s@%d", k, v.Generation))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestLastGoodVersion(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a policy before its database", []step{
			{"Policy p " + policyOf("d"), "", `Policy p: Conflict: spec.databases[0]: policy "p" names the Database "d", which is not defined`},
			{"Database d " + database("h"), "Database d@1, Policy p@1", ""},
		}},
		{"never good is absent", []step{
			{"Database d {}", "", "Database d: Invalid: spec"},
			{"Database e " + database("h"), "Database e@1", "Database d: Invalid: spec"},
		}},
		{"a bad update keeps what was", []step{
			{"Database d " + database("h"), "Database d@1", ""},
			{"Policy p " + policyOf("d"), "Database d@1, Policy p@1", ""},
			{`Policy p {"databases":["d"],"rules":[{"effect":"perhaps"}]}`, "Database d@1, Policy p@1", "Policy p: Invalid: unknown effect"},
			{"Database e " + database("i"), "Database d@1, Database e@1, Policy p@1", "Policy p: Invalid: unknown effect"},
			{"Policy p " + policyOf("e"), "Database d@1, Database e@1, Policy p@3", ""},
		}},
		{"made anew and bad is absent", []step{
			{"Database d " + database("h"), "Database d@1", ""},
			{"-Database d", "", ""},
			{"Database d {}", "", "Database d: Invalid: spec"},
		}},
		{"deleted and made anew at once, and bad", []step{
			{"Database d " + database("h") + "\n-Database d\nDatabase d {}", "", "Database d: Invalid: spec"},
		}},
		{"the newcomer is at fault", []step{
			{"Database z " + database("h"), "Database z@1", ""},
			{"Database a " + database("h"), "Database z@1", `Database a: Conflict: endpoint h:5432 already belongs`},
			{"-Database z", "Database a@1", ""},
		}},
		{"of a grant and a policy with one name", []step{
			{"Database d " + database("h") + "\nGrant x " + grantOf("d"), "Database d@1, Grant x@1", ""},
			{"Policy x " + policyOf("d"), "Database d@1, Grant x@1", `Policy x: Conflict: Policy "x" is also defined at Grant x`},
		}},
		{"a database that is still named stays", []step{
			{"Database d " + database("h") + "\nDatabase e " + database("i") + "\nPolicy p " + policyOf("d"), "Database d@1, Database e@1, Policy p@1", ""},
			{"-Database d\n-Database e", "Database d@1, Policy p@1", "Database d: StillNeeded: deleted"},
			{"Policy q " + policyOf("*"), "Database d@1, Policy p@1, Policy q@1", "Database d: StillNeeded: deleted"},
			{"-Policy p", "Policy q@1", ""},
		}},
		{"a right that was deleted is gone, whatever else is wrong", []step{
			{"Database d " + database("h") + "\nPolicy p " + policyOf("d") + "\nGrant g " + grantOf("d"), "Database d@1, Grant g@1, Policy p@1", ""},
			{"-Grant g\n-Policy p\nDatabase d {}\nPolicy q " + policyOf("nowhere"), "Database d@1", "Database d: Invalid: spec\nPolicy q: Conflict: nowhere"},
		}},
		{"one bad object holds nobody up", []step{
			{"Database d " + database("h") + "\nDatabase a " + database("i"), "Database a@1, Database d@1", ""},
			{"Database a " + database("h") + "\nPolicy p " + policyOf("d"), "Database a@1, Database d@1, Policy p@1", "Database a: Conflict: endpoint"},
		}},
		{"beside files", []step{
			{"file apiVersion: sluicegate.io/v1alpha1\nkind: Database\nmetadata: {name: f}\nspec: " + database("h"), "", ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for i, s := range tt.steps {
				if strings.HasPrefix(s.does, "file ") {
					w.do(s.does)
				} else {
					for line := range strings.Lines(s.does) {
						w.do(strings.TrimSpace(line))
					}
				}
				if err := w.adopt(); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if got := w.force(); got != s.force {
					t.Errorf("step %d: in force %q, want %q", i, got, s.force)
				}
				w.check(i, s.says)
			}
		})
	}
}

func (w *world) check(i int, says string) {
	w.t.Helper()
	_, _, refused := w.o.standing()
	left := maps.Clone(refused)
	for line := range strings.Lines(says) {
		parts := strings.SplitN(strings.TrimSpace(line), ": ", 3)
		kind, name, _ := strings.Cut(parts[0], " ")
		r, ok := left[Key{kind, name}]
		if !ok || r.Reason != parts[1] || !strings.Contains(r.Message, parts[2]) {
			w.t.Errorf("step %d: %s: got %q %q, want %q", i, parts[0], r.Reason, r.Message, line)
		}
		delete(left, Key{kind, name})
	}
	for k, r := range left {
		w.t.Errorf("step %d: %s is refused: %s: %s", i, k, r.Reason, r.Message)
	}
}

// Files are beyond reproach: an object that contradicts one is refused, and so is a
// set in which what is in force contradicts a new file.
func TestObjectsBesideFiles(t *testing.T) {
	w := newWorld(t)
	file := "file apiVersion: sluicegate.io/v1alpha1\nkind: Database\nmetadata: {name: d}\nspec: "
	w.do(file + database("h"))
	w.do("Database d " + database("i"))
	w.do("Policy p " + policyOf("d"))
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	if got := w.force(); got != "Policy p@1" {
		t.Errorf("in force: %s", got)
	}
	w.check(0, `Database d: Conflict: also defined at f.yaml:3`)
	w.do("Database e " + database("j"))
	w.do("-Database d")
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	w.do(strings.Replace(file, "name: d", "name: e", 1) + database("h"))
	w.do("Policy q " + policyOf("e"))
	if err := w.adopt(); err == nil || !strings.Contains(err.Error(), "Database e") {
		t.Errorf("a file that contradicts what is in force: %v", err)
	}
	if got := w.force(); got != "Database e@1, Policy p@1" {
		t.Errorf("in force: %s", got)
	}
	w.check(1, "Policy q: NotInForce: as a whole")
}

// What can't be put in force is taken back alone, and tried again.
func TestObjectThatFails(t *testing.T) {
	w := newWorld(t)
	w.do("Database d " + database("h"))
	w.do("Policy p " + policyOf("d"))
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	w.do("Policy p " + policyOf("*"))
	w.do("Policy q " + policyOf("d"))
	c, err := w.o.candidate(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !w.o.fail(c, errors.New("Policy p: spec.tests[0]: the test expects allow\nPolicy p: spec.tests[1]: neither")) {
		t.Fatal("nobody is blamed")
	}
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	if got := w.force(); got != "Database d@1, Policy p@1, Policy q@1" {
		t.Errorf("in force: %s", got)
	}
	w.check(0, "Policy p: NotInForce: spec.tests[0]: the test expects allow; spec.tests[1]: neither")
	if !w.o.retry() || w.o.retry() {
		t.Error("it is tried again once")
	}
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	if got := w.force(); got != "Database d@1, Policy p@2, Policy q@1" {
		t.Errorf("in force: %s", got)
	}
	// What is in force already is not at fault, so that the loop around it ends.
	if c, err = w.o.candidate(nil, nil); err != nil {
		t.Fatal(err)
	}
	if w.o.fail(c, errors.New("Policy p: spec.tests[0]: the test expects allow")) {
		t.Error("what is in force is blamed")
	}
}

func TestBoundsOfObjects(t *testing.T) {
	o := newObjects()
	spec := []byte(`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Workload","metadata":{"name":"x"},"spec":{"cgroup":"/x"}}`)
	for i := range maxObjects {
		o.newest[Key{"Workload", fmt.Sprint(i)}] = &version{}
	}
	k := Key{"Workload", "x"}
	o.put(Object{Key: k, UID: "1", Generation: 1, Data: spec})
	if v := o.newest[k]; !errors.Is(v.bad, errTooMany) || v.Data != nil {
		t.Errorf("one object too many: %v", v.bad)
	}
	o.remove(k)
	o.remove(Key{"Workload", "0"})
	o.bytes = maxBytes - len(spec)
	o.put(Object{Key: k, UID: "1", Generation: 1, Data: spec})
	if v := o.newest[k]; v.bad != nil {
		t.Errorf("the last object: %v", v.bad)
	}
	o.put(Object{Key: k, UID: "1", Generation: 2, Data: append(spec, ' ')})
	if v := o.newest[k]; !errors.Is(v.bad, errTooMany) {
		t.Errorf("a byte too many: %v", v.bad)
	}
}
