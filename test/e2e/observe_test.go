package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestObserve follows the way from watching to enforcing: nothing is refused or
// masked and all of it is told; the recordings make a policy; that policy passes
// them; and enforced, it lets through what was seen and nothing else.
func TestObserve(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	watched := sluicetest.Shop(server)
	watched.Extra += "  enforce: observe\n"
	agent := fmt.Sprintf("metrics: {listen: \"%s\"}", f.metrics)
	f.sluice = sluicetest.Start(t, sluicetest.Options{
		Databases: []sluicetest.Database{watched}, Policy: sluicetest.CorpusPolicy, Agent: agent})
	seen := []string{
		"SELECT name, ssn FROM app.customers WHERE id = 1",
		"SELECT count(*) FROM app.orders",
		"SELECT k FROM app.secrets",
		"UPDATE app.orders SET total = total WHERE id = 1",
	}
	w := session(t, f.sluice, server.Addr(), f.db)
	for _, text := range seen {
		if a := w.query(text); len(a.codes) > 0 {
			t.Errorf("%s: %v", text, a)
		}
	}
	// Told in metrics, in recordings and in the log.
	if n := f.counted(t, "sluice_observed_denials_total"); n != 2 {
		t.Errorf("%v observed denials, want 2: of app.secrets, and the update", n)
	}
	if log := f.sluice.Log(); strings.Count(log, "OBSERVE: this session is only watched") != 1 {
		t.Errorf("the log should say once that the session is watched:\n%s", log)
	}
	w.Close()
	ctx := context.Background()
	run := func(args ...string) string {
		t.Helper()
		out, err := f.sluice.Run(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	recorded := run("sessions")
	id := ""
	for line := range strings.Lines(recorded) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[0] != "SESSION" {
			id = fields[0]
		}
	}
	if shown := run("replay", "--speed", "0", id); !strings.Contains(shown, "OBSERVE") || !strings.Contains(shown, "would have been refused") {
		t.Errorf("the recording does not say that it was watched:\n%s", shown)
	}
	// From recordings to a policy. The catalog is kept beside them in the background.
	eventually(t, "the catalog is kept", func() bool {
		_, err := f.sluice.Run(ctx, "policy", "suggest", "--config", f.sluice.Config)
		return err == nil
	})
	suggested := run("policy", "suggest", "--config", f.sluice.Config)
	t.Log("\n" + suggested)
	f.sluice.Configure(t, sluicetest.Options{
		Databases: []sluicetest.Database{sluicetest.Shop(server)}, Policy: suggested, Agent: agent})
	out, err := f.sluice.Run(ctx, "policy", "test", "--config", f.sluice.Config, "--replay", f.sluice.State, "--output", "json")
	if err != nil {
		t.Errorf("the suggested policy refuses what was recorded: %v\n%s", err, out)
	}
	// And the old one would have refused some of it.
	strict := filepath.Join(t.TempDir(), "strict.yaml")
	text, err := os.ReadFile(f.sluice.Config)
	if err != nil {
		t.Fatal(err)
	}
	database, _, _ := strings.Cut(string(text), "# Made of")
	if err := os.WriteFile(strict, []byte(database+sluicetest.CorpusPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = f.sluice.Run(ctx, "policy", "test", "--config", strict, "--replay", f.sluice.State)
	if err == nil || strings.Count(string(out), "NEWLY DENIED") != 2 {
		t.Errorf("want 2 newly denied: %v\n%s", err, out)
	}
	// Enforced.
	eventually(t, "the suggested policy is in force", func() bool {
		return session(t, f.sluice, server.Addr(), f.db).query("SELECT v FROM app.secrets").code() == "42501"
	})
	w = session(t, f.sluice, server.Addr(), f.db)
	for _, text := range seen {
		if a := w.query(text); len(a.codes) > 0 {
			t.Errorf("enforced: %s: %v", text, a)
		}
	}
	for _, text := range []string{"SELECT customer_id FROM app.orders", "UPDATE app.orders SET total = 0", "DELETE FROM app.orders WHERE id = 1"} {
		if a := w.query(text); a.code() != "42501" {
			t.Errorf("enforced: %s: %v", text, a)
		}
	}
	// A set whose own test fails is refused whole, since the catalog is known by now.
	f.sluice.Configure(t, sluicetest.Options{Databases: []sluicetest.Database{sluicetest.Shop(server)}, Agent: agent,
		Policy: sluicetest.OpenPolicy + "  tests: [{sql: \"select k from app.secrets\", expect: deny}]\n"})
	eventually(t, "the set with a failing test is refused", func() bool {
		return strings.Contains(f.sluice.Log(), "the test expects deny")
	})
	if a := session(t, f.sluice, server.Addr(), f.db).query("SELECT v FROM app.secrets"); a.code() != "42501" {
		t.Errorf("a set with a failing test is in force: %v", a)
	}
}
