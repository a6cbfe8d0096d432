package sql_test

import (
	"fmt"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

func judgeOffline(t *testing.T, options, text string) *protocol.Judgement {
	t.Helper()
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	j, _ := sql.Judge(c, view(t, fmt.Sprintf(shopPolicy, options)), &protocol.Query{Text: text, Path: []string{"pg_catalog", "public"}}, sql.Options{})
	return j
}

func TestConditionsMask(t *testing.T) {
	j := judgeOffline(t, "conditions: mask", `SELECT id FROM app.customers WHERE email = 'a' ORDER BY ssn`)
	if j.Refusal != nil || len(j.Notices) != 2 || !strings.Contains(j.Notices[0].Message, "email of app.customers is masked") {
		t.Errorf("refusal %v, notices %v", j.Refusal, j.Notices)
	}
	// What a statement writes to is not masked, so that no condition on it can see a mask.
	if j := judgeOffline(t, "conditions: mask", `DELETE FROM app.customers WHERE email = 'a'`); j.Refusal == nil {
		t.Error("a write may read a true value")
	}
}

func TestObserve(t *testing.T) {
	for _, text := range []string{`SELECT v FROM app.secrets`, `SELECT FROM WHERE`,
		`DO $$ BEGIN END $$`, `BEGIN; DROP TABLE app.orders; COMMIT`} {
		j := judgeOffline(t, "enforce: observe", text)
		if j.Refusal != nil || j.Text != text || j.Hold || len(j.Edits) > 0 {
			t.Errorf("%q: %+v", text, j)
			continue
		}
		some := false
		for _, p := range j.Plans {
			some = some || p.Observed
		}
		if !some {
			t.Errorf("%q: nothing was observed: %+v", text, j.Plans)
		}
	}
	j := judgeOffline(t, "enforce: observe", `BEGIN; DROP TABLE app.orders; COMMIT`)
	if len(j.Plans) != 3 || j.Plans[0].Effect.Kind != protocol.Begin || j.Plans[2].Effect.Kind != protocol.End {
		t.Errorf("effects are lost: %+v", j.Plans)
	}
}

func TestPlans(t *testing.T) {
	j := judgeOffline(t, "", `SELECT id, email AS e, upper(ssn) FROM app.customers`)
	want := []protocol.Column{
		{Name: "id", Relation: protocol.Object{Kind: protocol.Relation, Schema: "app", Name: "customers"}, Column: "id"},
		{Name: "e", Sensitive: true, Tag: "email"}, {Name: "upper", Sensitive: true, Tag: "ssn"},
	}
	p := j.Plans[0]
	if fmt.Sprint(p.Columns) != fmt.Sprint(want) || !p.Returns || !p.Sensitive || p.Verdict != protocol.Mask || j.Named {
		t.Errorf("%+v", p)
	}
	for text, effect := range map[string]protocol.Effect{
		"PREPARE p AS SELECT 1":                       {Kind: protocol.Prepares, Name: "p", Text: "SELECT 1"},
		"DECLARE c CURSOR FOR SELECT 1 ":              {Kind: protocol.Declares, Name: "c", Text: "SELECT 1"},
		"EXECUTE p(1)":                                {Kind: protocol.Executes, Name: "p"},
		"DEALLOCATE ALL":                              {Kind: protocol.Deallocates},
		"CLOSE ALL":                                   {Kind: protocol.Closes},
		"FETCH ALL FROM c":                            {Kind: protocol.Fetches, Name: "c"},
		"SET search_path = app":                       {Kind: protocol.ChangesPath},
		"DISCARD ALL":                                 {Kind: protocol.Discards},
		"SAVEPOINT s":                                 {Kind: protocol.Savepoint, Name: "s"},
		"COPY app.orders FROM STDIN":                  {Kind: protocol.CopiesIn},
		"COPY (SELECT 1) TO STDOUT":                   {Kind: protocol.CopiesOut},
		"SELECT set_config('search_path','',0::bool)": {Kind: protocol.ChangesPath},
	} {
		j := judgeOffline(t, "", text)
		if j.Refusal != nil {
			t.Errorf("%q: %v", text, j.Refusal)
			continue
		}
		got := j.Plans[0].Effect
		inner := got.Inner
		got.Inner = nil
		if got != effect || (effect.Text != "") != (inner != nil) {
			t.Errorf("%q: %+v, want %+v", text, got, effect)
		}
	}
}

// TestSensitive checks what a server's errors may quote values of.
func TestSensitive(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT id FROM app.orders":                   false,
		"SELECT id FROM app.customers":                true,
		"SELECT id FROM app.v_clean":                  true, // of the table below
		"UPDATE app.v_clean SET id = NULL":            true, // "Failing row contains"
		"DELETE FROM app.orders WHERE id = 1":         false,
		"INSERT INTO app.lines (id) VALUES (5)":       false,
		"UPDATE app.people SET id = 5 WHERE id = 1":   true,
		"TRUNCATE app.customers CASCADE":              true,
		"LOCK TABLE app.v_clean IN ACCESS SHARE MODE": true,
	} {
		j := judgeOffline(t, "", text)
		if j.Refusal != nil || j.Plans[0].Sensitive != want {
			t.Errorf("%q: sensitive is not %v: %v", text, want, j.Refusal)
		}
	}
}

// TestTriggers checks that a trigger goes with the write unless a rule names it.
func TestTriggers(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	plain := view(t, fmt.Sprintf(shopPolicy, ""))
	named := view(t, fmt.Sprintf(shopPolicy, "")+`    - {name: no-hook, effect: deny, actions: [call], on: [app.on_note]}
`)
	for text, runs := range map[string]bool{
		"INSERT INTO app.notes VALUES (2, 'x')":                                      true,
		"UPDATE app.notes SET body = 'y' WHERE id = 1":                               true,
		"UPDATE app.notes SET id = 2 WHERE id = 1":                                   false, // UPDATE OF body
		"DELETE FROM app.notes WHERE id = 1":                                         false,
		"COPY app.notes FROM STDIN":                                                  true,
		"SELECT * FROM app.notes":                                                    false,
		"INSERT INTO app.notes VALUES (1) ON CONFLICT (id) DO UPDATE SET body = 'x'": true,
	} {
		j, _ := sql.Judge(c, plain, &protocol.Query{Text: text}, sql.Options{})
		if j.Refusal != nil {
			t.Errorf("%q: %v", text, j.Refusal)
			continue
		}
		found := false
		for _, x := range j.Plans[0].Statement.Accesses {
			found = found || x.Action == protocol.Call && x.Object.Name == "on_note" && x.Implied == "trigger note on app.notes"
		}
		if found != runs {
			t.Errorf("%q: runs the trigger is not %v: %+v", text, runs, j.Plans[0].Statement.Accesses)
		}
		j, _ = sql.Judge(c, named, &protocol.Query{Text: text}, sql.Options{})
		if (j.Refusal != nil) != runs {
			t.Errorf("%q: with a rule that denies the trigger: %v", text, j.Refusal)
		}
	}
	// The call itself is not allowed by that.
	if j, _ := sql.Judge(c, plain, &protocol.Query{Text: "SELECT app.on_note()"}, sql.Options{}); j.Refusal == nil {
		t.Error("a trigger's function may be called")
	}
}

// TestParameterTypes checks that a parameter is not a way to run a function.
func TestParameterTypes(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, fmt.Sprintf(shopPolicy, ""))
	for typ, refused := range map[uint32]bool{0: false, 25: false, c.Type("app", "watched").OID: true, 4000000: true} {
		j, _ := sql.Judge(c, v, &protocol.Query{Text: "SELECT $1 IS NULL", Parse: true, ParamTypes: []uint32{typ}}, sql.Options{})
		if (j.Refusal != nil) != refused {
			t.Errorf("type %d: %v", typ, j.Refusal)
		}
	}
}

// TestStale checks that a caller learns when its catalog may be old, and that
// what is not there looks like what may not be seen.
func TestStale(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, fmt.Sprintf(shopPolicy, ""))
	ask := func(text string) (*protocol.Refusal, bool) {
		j, stale := sql.Judge(c, v, &protocol.Query{Text: text}, sql.Options{})
		return j.Refusal, stale
	}
	for _, text := range []string{"SELECT 1 FROM app.nope", "SELECT nope FROM app.orders", "SELECT nope(1)", "SELECT 1::nope", "SELECT 1 FROM hidden.nope"} {
		if r, stale := ask(text); r == nil || !stale {
			t.Errorf("%q: %v, stale %v", text, r, stale)
		}
	}
	there, _ := ask("SELECT 1 FROM app.secrets")
	also, _ := ask("SELECT nope FROM app.secrets")
	if there.Message != also.Message || there.Code != also.Code {
		t.Errorf("%v is not %v", there, also)
	}
	gone, _ := ask("SELECT 1 FROM hidden.nope")
	name := strings.NewReplacer("hidden.nope", "app.secrets")
	if gone.Code != there.Code || name.Replace(gone.Message) != there.Message || name.Replace(gone.Detail) != there.Detail {
		t.Errorf("%+v is not %+v", gone, there)
	}
}

// TestCopyFormat checks that a plan tells how COPY writes what detectors look into.
func TestCopyFormat(t *testing.T) {
	for text, want := range map[string]string{
		"COPY app.notes TO STDOUT": `[{Name:id Sensitive:false Tag: Relation:app.notes Column:id Scan:true} ` +
			`{Name:body Sensitive:false Tag: Relation:app.notes Column:body Scan:true}] false false '\t' '"' '"'`,
		"COPY app.customers (ssn) TO STDOUT CSV QUOTE ''''":                       `[{Name:ssn Sensitive:true Tag:ssn Relation: Column: Scan:false}] false true ',' '\'' '\''`,
		"COPY (SELECT upper(body) FROM app.notes) TO STDOUT (DELIMITER '|')":      `[{Name:upper Sensitive:false Tag: Relation: Column: Scan:true}] false false '|' '"' '"'`,
		"COPY (SELECT 1 AS x) TO STDOUT (FORMAT csv, ESCAPE '\\', DELIMITER ';')": `[{Name:x Sensitive:false Tag: Relation: Column: Scan:true}] false true ';' '"' '\\'`,
		"COPY (SELECT 1 AS x) TO STDOUT (FORMAT binary)":                          `[{Name:x Sensitive:false Tag: Relation: Column: Scan:true}] true false '\t' '"' '"'`,
		"COPY (SELECT 1) TO STDOUT (FORMAT \"CSV\")":                              `!not recognized`,
		"COPY (SELECT 1) TO STDOUT (DELIMITER 'ab')":                              `!single one-byte`,
		"COPY (SELECT 1) TO STDOUT (NULL 'a\\')":                                  `!without a backslash`,
	} {
		j := judgeOffline(t, "detect: [email]", text)
		got := ""
		if j.Refusal != nil {
			got = j.Refusal.Message
		} else if c := j.Plans[0].Copy; c != nil {
			got = fmt.Sprintf("%+v %v %v %q %q %q", c.Columns, c.Binary, c.CSV, c.Delimiter, c.Quote, c.Escape)
		}
		if sub, refused := strings.CutPrefix(want, "!"); got != want && !(refused && strings.Contains(got, sub)) {
			t.Errorf("%q: %s\nwant %s", text, got, want)
		}
	}
}

// TestTemporary checks that who wants a temporary table is told what to do instead,
// whatever the policy says.
func TestTemporary(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	allowed := view(t, fmt.Sprintf(shopPolicy, "")+`    - {name: temp, effect: allow, actions: [create, drop], on: ["*.*", "pg_temp.*"]}
`)
	for _, v := range []*policy.View{allowed, view(t, fmt.Sprintf(shopPolicy, ""))} {
		for _, text := range []string{"CREATE TEMP TABLE t (a int)", "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT id FROM app.orders",
			"SELECT id INTO TEMP t FROM app.orders", "CREATE TABLE pg_temp.t (a int)", "CREATE TEMP VIEW v AS SELECT 1", "CREATE TEMP SEQUENCE s"} {
			j, _ := sql.Judge(c, v, &protocol.Query{Text: text}, sql.Options{})
			if j.Refusal == nil || !strings.Contains(j.Refusal.Hint, "WITH query") {
				t.Errorf("%q: %+v", text, j.Refusal)
			}
		}
	}
	if j, _ := sql.Judge(c, allowed, &protocol.Query{Text: "DO 'BEGIN END'"}, sql.Options{}); j.Refusal == nil || !strings.Contains(j.Refusal.Hint, "one by one") {
		t.Errorf("%+v", j.Refusal)
	}
}
