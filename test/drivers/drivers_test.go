package drivers_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

func TestMain(m *testing.M) { sluicetest.Main(m) }

// driver is one program that is run.
type driver struct {
	name    string
	command []string
	build   []string // run once before
	// differs lists the steps whose outcome is allowed to differ from the direct
	// run, and what it then is.
	differs map[string]string
}

// masked is what every driver sees of the three masked columns.
const masked = "***6789|***1111|a***@example.com"

var drivers = []driver{
	{name: "psql", command: []string{"sh", "psql/session.sh"}},
	{name: "pgx", command: []string{"{bin}/pgx"}, build: []string{"go", "build", "-o", "{bin}/pgx", "./pgx"}},
	{name: "lib-pq", command: []string{"{bin}/pq"}, build: []string{"go", "build", "-o", "{bin}/pq", "./pq"}},
	{name: "psycopg2", command: []string{"/usr/bin/python3", "python/session2.py"}},
	{name: "psycopg3", command: []string{"/usr/bin/python3", "python/session3.py"}},
	{name: "node-postgres", command: []string{"node", "node/pg.js"}},
	{name: "postgres.js", command: []string{"node", "node/postgres.js"}},
	{name: "jdbc", command: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/*:{bin}", "Session"},
		build: []string{"javac", "-cp", "/usr/share/java/postgresql.jar", "-d", "{bin}", "java/Session.java"}},
}

// expected is what every driver must print for a step, direct and through Sluice.
var expected = map[string][2]string{
	"connect-disable": {"ok", "ok"},
	"connect-prefer":  {"ok", "ok"},
	"connect-require": {"ok", "ok"},
	"select":          {"2", "2"},
	"prepared":        {"1|Alice", "1|Alice"},
	"masked":          {"123-45-6789|4111-1111-1111-1111|alice@example.com", masked},
	"transaction":     {"3,4,3", "3,4,3"},
	"listen":          {"hello", "hello"},
	"error-column":    {"42703", "42703"},
	"error-unique":    {"23505|Key (id)=(1) already exists.", "23505|Key (id)=(1) already exists."},
	"error-syntax":    {"42601", "42601"},
	"denied":          {"TOPSECRET-42", "42501"},
	"cancel":          {"57014", "57014"},
	"large":           {"100000|5000050000", "100000|5000050000"},
	"cursor":          {"5000", "5000"},
}

// policy grants what the sessions do, and not app.secrets.
const policy = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: sessions}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: read, effect: allow, actions: [select], on: ["app.customers", "app.orders"]}
    - {name: write, effect: allow, actions: [insert, update, delete], on: ["app.orders"]}
    - {name: notify, effect: allow, actions: [listen], on: ["*"]}
`

// TestSessions runs every driver directly, then through Sluice, and compares.
func TestSessions(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256", TLS: true})
	expand := strings.NewReplacer("{bin}", t.TempDir())
	environment := func(db, password string) []string {
		return []string{
			"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(server.Port), "PGUSER=app_rw",
			"PGPASSWORD=" + password, "PGDATABASE=" + db, "TZ=UTC",
		}
	}
	direct := map[string]map[string]string{}
	for _, d := range drivers {
		t.Run("direct/"+d.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			plain := func(name string, args ...string) *exec.Cmd { return exec.CommandContext(ctx, name, args...) }
			if len(d.build) > 0 {
				if out, err := run(nil, plain, expand, d.build); err != nil {
					t.Fatalf("build: %v\n%s", err, out)
				}
			}
			got, err := run(environment(server.Database(t), pgtest.DefaultPassword), plain, expand, d.command)
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			direct[d.name] = steps(got)
			check(t, d, direct[d.name], 0)
		})
	}
	sluice := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{sluicetest.Shop(server)}, Policy: policy})
	for _, d := range drivers {
		t.Run("sluice/"+d.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			through := func(name string, args ...string) *exec.Cmd { return sluice.Command(ctx, name, args...) }
			got, err := run(environment(server.Database(t), "placeholder"), through, expand, d.command)
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			after := steps(got)
			check(t, d, after, 1)
			compare(t, d, direct[d.name], after)
		})
	}
}

// check holds the steps of a run to what they must be.
func check(t *testing.T, d driver, got map[string]string, column int) {
	t.Helper()
	for name, value := range got {
		if want, ok := expected[name]; ok && value != want[column] && !allowed(d, name, value) && !(strings.HasPrefix(name, "connect-") && value == "1") {
			t.Errorf("%s: got %q, want %q", name, value, want[column])
		}
	}
	if len(got) < 15 {
		t.Errorf("only %d steps were printed", len(got))
	}
}

// compare holds a run through Sluice to the direct one, but for what is masked
// or refused on purpose.
func compare(t *testing.T, d driver, direct, through map[string]string) {
	t.Helper()
	for name, want := range direct {
		got, ok := through[name]
		switch {
		case !ok:
			t.Errorf("%s: not printed through Sluice", name)
		case name == "denied":
		case strings.HasPrefix(name, "masked"):
			if got == want {
				t.Errorf("%s: not masked: %q", name, got)
			}
		case got != want && !allowed(d, name, got):
			t.Errorf("%s: through Sluice %q, direct %q", name, got, want)
		}
	}
}

func allowed(d driver, step, value string) bool {
	v, ok := d.differs[step]
	return ok && v == value
}

// run runs a command in this folder and returns what it printed.
func run(env []string, command func(string, ...string) *exec.Cmd, expand *strings.Replacer, words []string) (string, error) {
	words = slices.Clone(words)
	for i := range words {
		words[i] = expand.Replace(words[i])
	}
	cmd := command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(words[0]), err, stderr.String())
	}
	return stdout.String(), err
}

// steps reads the lines "step: value".
func steps(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			all[name] = value
		}
	}
	return all
}
