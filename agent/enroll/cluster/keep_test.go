package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sluicegate.io/sluice/policy"
)

// A node that was down knows after its start what was in force, and falls back to it
// when the newest version, which it has never seen, is not valid.
func TestLastGoodVersionOutlivesTheAgent(t *testing.T) {
	dir := t.TempDir()
	open := func() *Source {
		t.Helper()
		s, err := New(Options{Client: &rest.Config{Host: "https://127.0.0.1:1"}, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open()
	if first.kept {
		t.Error("something is kept before anything was")
	}
	w := newWorld(t)
	w.o = first.objects
	w.do("Database d " + database("h"))
	w.do("Policy p " + policyOf("d"))
	w.do("Policy q " + policyOf("d"))
	close(first.synced)
	c, err := first.Candidate(nil)
	if err != nil {
		t.Fatal(err)
	}
	first.InForce(c)
	path := filepath.Join(dir, keptFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("kept: %v %v", info, err)
	}

	second := open()
	w.o = second.objects
	w.do(`Policy p {"databases":[]}`)
	second.objects.put(w.made[Key{"Database", "d"}])
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	if got, want := w.force(), "Database d@1, Policy p@1, Policy q@1"; got != want {
		t.Errorf("in force %q, want %q", got, want)
	}
	second.objects.complete() // q was deleted meanwhile
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	if got, want := w.force(), "Database d@1, Policy p@1"; got != want {
		t.Errorf("in force %q, want %q", got, want)
	}

	// What others than root may have written is not believed.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if s := open(); s.kept || len(s.objects.inForce()) > 0 {
		t.Error("a file that anybody can write is believed")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".other", path); err != nil {
		t.Fatal(err)
	}
	if s := open(); s.kept {
		t.Error("a link is followed")
	}
}

func TestStatusOfObjects(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	w := newWorld(t)
	w.do("Database d " + database("h"))
	w.do("Policy p " + policyOf("d"))
	w.do("Grant g " + grantOf("d"))
	w.do("Database o " + strings.Replace(database("i"), `"protocol"`, `"enforce":"observe","protocol"`, 1))
	w.do("Policy bad " + policyOf("nowhere"))
	if err := w.adopt(); err != nil {
		t.Fatal(err)
	}
	newest, good, refused := w.o.standing()
	own := digest(good)
	set := &policy.Set{}
	report := func(digest string, age time.Duration) Report {
		return Report{Digest: digest, Time: now.Add(-age), Concerns: []concern{{Kind: "Policy", Name: "p", Pods: 2}}}
	}
	broken := report(own, 0)
	broken.Refusals = []refusal{{Kind: "Policy", Name: "p", UID: newest[Key{"Policy", "p"}].UID, Generation: 1, Message: "no room"}}
	for _, tt := range []struct {
		name    string
		of      Key
		at      time.Time
		reports map[string]Report
		want    string // accepted/enforced reasons, pods, nodes
	}{
		{"all agree", Key{"Policy", "p"}, now, map[string]Report{"a": report(own, 0), "b": report(own, time.Minute)}, "InForce/InForce 4 2/2"},
		{"one is behind", Key{"Policy", "p"}, now, map[string]Report{"a": report(own, 0), "b": report("x", 0)}, "InForce/Spreading 4 1/2"},
		{"one is silent", Key{"Policy", "p"}, now, map[string]Report{"a": report(own, 0), "b": report("x", time.Hour)}, "InForce/InForce 2 1/1"},
		{"one refuses", Key{"Policy", "p"}, now, map[string]Report{"a": report(own, 0), "b": broken}, "InForce/RefusedOnNode 4 2/2"},
		{"nobody reports", Key{"Policy", "p"}, now, nil, "InForce/Spreading 0 0/0"},
		{"refused", Key{"Policy", "bad"}, now, map[string]Report{"a": report(own, 0)}, "Conflict/NotAccepted 0 0/1"},
		{"observing", Key{"Database", "o"}, now, map[string]Report{"a": report(own, 0)}, "InForce/Observing 0 1/1"},
		{"a grant", Key{"Grant", "g"}, now, map[string]Report{"a": report(own, 0)}, "InForce/InForce 0 1/1"},
		{"a grant that ended", Key{"Grant", "g"}, now.AddDate(20, 0, 0), nil, "InForce/Spreading 0 0/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sum := summarize(tt.reports, own, tt.at)
			var r *Refusal
			if f, ok := refused[tt.of]; ok {
				r = &f
			}
			st := sum.status(newest[tt.of], good[tt.of], r, set, tt.at)
			got := st.condition(Accepted).Reason + "/" + st.condition(Enforced).Reason + " " + itoa(st.Pods) + " " + st.Nodes
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			// Nothing changes: no time of a transition does.
			st.since(Status{}, now)
			again := sum.status(newest[tt.of], good[tt.of], r, set, tt.at)
			again.since(st, now.Add(time.Hour))
			if again.Conditions[0] != st.Conditions[0] || again.Conditions[1] != st.Conditions[1] {
				t.Errorf("a transition without one: %v, %v", st.Conditions, again.Conditions)
			}
		})
	}
}

func itoa(n int64) string { return string(rune('0' + n)) }
