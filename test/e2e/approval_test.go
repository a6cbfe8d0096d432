package e2e_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// prepare sends Parse alone, which is forwarded whatever approval it needs.
func (w *wire) prepare(name, sql string) answer {
	w.t.Helper()
	w.f.Send(&pgproto3.Parse{Name: name, Query: sql})
	w.f.Send(&pgproto3.Sync{})
	w.flush()
	return w.read("")
}

func (w *wire) bind(portal, statement string) answer {
	w.t.Helper()
	w.f.Send(&pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement})
	w.f.Send(&pgproto3.Sync{})
	w.flush()
	return w.read("")
}

// TestApprovalByName asks for what needs approval by the name of what an earlier
// message prepared or bound.
func TestApprovalByName(t *testing.T) {
	f := setUp(t)
	const risky = "DELETE FROM app.orders WHERE id = 3 RETURNING id"
	for _, tt := range []struct {
		name string
		run  func(w *wire) answer
	}{
		{"EXECUTE of a Parse", func(w *wire) answer { w.prepare("s", risky); return w.query("EXECUTE s") }},
		{"bound EXECUTE of a Parse", func(w *wire) answer {
			w.prepare("s", risky)
			w.f.Send(&pgproto3.Parse{Query: "EXECUTE s"})
			w.f.Send(&pgproto3.Bind{})
			w.f.Send(&pgproto3.Execute{})
			w.f.Send(&pgproto3.Sync{})
			w.flush()
			return w.read("")
		}},
		{"FETCH from a Bind", func(w *wire) answer {
			w.query("BEGIN")
			w.prepare("s", risky)
			w.bind("c", "s")
			return w.query("FETCH ALL FROM c")
		}},
		{"MOVE in a Bind", func(w *wire) answer {
			w.query("BEGIN")
			w.prepare("s", risky)
			w.bind("c", "s")
			return w.query("MOVE ALL IN c")
		}},
		{"FETCH from a Bind of EXECUTE", func(w *wire) answer {
			w.prepare("s", risky)
			w.query("BEGIN")
			w.prepare("e", "EXECUTE s")
			w.bind("c", "e")
			return w.query("FETCH ALL FROM c")
		}},
		{"EXECUTE behind others", func(w *wire) answer { w.prepare("s", risky); return w.query("SELECT 1; EXECUTE s; SELECT 2") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := session(t, f.sluice, f.server.Addr(), f.db)
			a := tt.run(w)
			if a.code() != "42501" && a.code() != "0A000" {
				t.Errorf("not refused: %v", a)
			}
			w.query("COMMIT")
			if a := w.query("SELECT id FROM app.orders WHERE id = 3"); a.rows != 1 {
				t.Fatalf("it took effect: %v", a)
			}
		})
	}
}

const limitedPolicy = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: limited}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers, app.orders]}
    - {name: write, effect: allow, actions: [update, delete], on: [app.orders], limits: {affected: 1}}
`

// TestLimitByName passes a limit on affected rows by what was prepared before.
func TestLimitByName(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	s := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{sluicetest.Shop(server)}, Policy: limitedPolicy})
	const all = "UPDATE app.orders SET total = 0"
	for _, tt := range []struct {
		name string
		run  func(w *wire) answer
	}{
		{"PREPARE and EXECUTE", func(w *wire) answer { w.query("PREPARE s AS " + all); return w.query("EXECUTE s") }},
		{"one text", func(w *wire) answer { return w.query("PREPARE s AS " + all + "; EXECUTE s") }},
		{"Parse and EXECUTE", func(w *wire) answer { w.prepare("s", all); return w.query("EXECUTE s") }},
		{"PREPARE and Bind", func(w *wire) answer {
			w.query("PREPARE s AS " + all)
			w.f.Send(&pgproto3.Bind{PreparedStatement: "s"})
			w.f.Send(&pgproto3.Execute{})
			w.f.Send(&pgproto3.Sync{})
			w.flush()
			return w.read("")
		}},
		{"Parse EXECUTE", func(w *wire) answer {
			w.query("PREPARE s AS " + all)
			w.f.Send(&pgproto3.Parse{Query: "EXECUTE s"})
			w.f.Send(&pgproto3.Bind{})
			w.f.Send(&pgproto3.Execute{})
			w.f.Send(&pgproto3.Sync{})
			w.flush()
			return w.read("")
		}},
		{"EXPLAIN ANALYZE", func(w *wire) answer { return w.query("EXPLAIN ANALYZE " + all) }},
		{"WITH", func(w *wire) answer {
			return w.query("WITH x AS (" + all + " RETURNING id) SELECT id FROM x LIMIT 1")
		}},
		{"WITH, no rows", func(w *wire) answer {
			return w.query("WITH x AS (" + all + ") SELECT 1")
		}},
		{"COPY", func(w *wire) answer {
			return w.query("COPY (" + all + " RETURNING id) TO STDOUT")
		}},
		{"FETCH from a Bind", func(w *wire) answer {
			w.query("BEGIN")
			w.prepare("s", all+" RETURNING id")
			w.bind("c", "s")
			return w.query("FETCH 1 FROM c")
		}},
		{"pipeline", func(w *wire) answer {
			w.f.Send(&pgproto3.Parse{Query: all})
			w.f.Send(&pgproto3.Bind{})
			w.f.Send(&pgproto3.Execute{})
			w.f.Send(&pgproto3.Parse{Query: "COMMIT"})
			w.f.Send(&pgproto3.Bind{})
			w.f.Send(&pgproto3.Execute{})
			w.f.Send(&pgproto3.Sync{})
			w.flush()
			return w.read("")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := session(t, s, server.Addr(), server.Database(t))
			a := tt.run(w)
			if a.code() == "" {
				t.Errorf("not refused: %v", a)
			}
			w.query("COMMIT")
			if a := w.query("SELECT id FROM app.orders WHERE total = 0"); a.rows != 0 {
				t.Fatalf("it took effect: %v", a)
			}
		})
	}
}

// TestRecordOfNames looks for the text of what a name stood for.
func TestRecordOfNames(t *testing.T) {
	f := setUp(t)
	w := session(t, f.sluice, f.server.Addr(), f.db)
	w.prepare("s", "SELECT 'marked one'")
	if a := w.query("EXECUTE s"); a.rows != 1 {
		t.Fatal(a)
	}
	w.query("BEGIN")
	w.prepare("t", "SELECT 'marked two'")
	w.bind("c", "t")
	if a := w.query("FETCH ALL FROM c"); a.rows != 1 {
		t.Fatal(a)
	}
	w.Close()
	found := map[string]bool{}
	dir := f.sluice.State + "/sessions"
	sessions, err := record.Sessions(dir, record.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		for e, err := range record.Read(dir, s.ID) {
			if err != nil {
				break
			}
			if e.Notice != nil {
				found[e.Notice.Text] = true
			}
		}
	}
	for _, want := range []string{"SELECT 'marked one'", "SELECT 'marked two'"} {
		if !found[want] {
			t.Errorf("no record holds %s", want)
		}
	}
}
