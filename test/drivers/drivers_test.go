package drivers_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/ca"
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
	binds   bool // it binds SCRAM to the certificate where it can, or says that it could
}

// masked is what every driver sees of the three masked columns.
const masked = "***6789|***1111|a***@example.com"

var drivers = []driver{
	{name: "psql", binds: true, command: []string{"sh", "psql/session.sh"}},
	{name: "pgx", binds: true, command: []string{"{bin}/pgx"}, build: []string{"go", "build", "-o", "{bin}/pgx", "./pgx"}},
	{name: "lib-pq", command: []string{"{bin}/pq"}, build: []string{"go", "build", "-o", "{bin}/pq", "./pq"}},
	{name: "psycopg2", binds: true, command: []string{"/usr/bin/python3", "python/session2.py"}},
	{name: "psycopg3", binds: true, command: []string{"/usr/bin/python3", "python/session3.py"}},
	{name: "asyncpg", command: []string{"/usr/bin/python3", "python/asyncpg_session.py"}},
	{name: "node-postgres", command: []string{"node", "node/pg.js"}},
	{name: "postgres.js", command: []string{"node", "node/postgres.js"}},
	{name: "jdbc", command: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/*:{bin}", "Session"},
		build: []string{"javac", "-cp", "/usr/share/java/postgresql.jar", "-d", "{bin}", "java/Session.java"}},
}

// expected is what every driver must print for a step, direct and through Sluice.
var expected = map[string][2]string{
	"connect-disable":  {"ok", "ok"},
	"connect-prefer":   {"ok", "ok"},
	"connect-require":  {"ok", "ok"},
	"verify-full":      {"ok", "ok"},
	"verify-full-name": {"ok", "ok"},
	"select":           {"2", "2"},
	"prepared":         {"1|Alice", "1|Alice"},
	"masked":           {"123-45-6789|4111-1111-1111-1111|alice@example.com", masked},
	"transaction":      {"3,4,3", "3,4,3"},
	"listen":           {"hello", "hello"},
	"error-column":     {"42703", "42703"},
	"error-unique":     {"23505|Key (id)=(1) already exists.", "23505|Key (id)=(1) already exists."},
	"error-syntax":     {"42601", "42601"},
	"denied":           {"TOPSECRET-42", "42501"},
	"cancel":           {"57014", "57014"},
	"large":            {"100000|5000050000", "100000|5000050000"},
	"cursor":           {"5000", "5000"},
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
	untrusted := authority(t)
	environment := func(db, password, trusted string) []string {
		return []string{
			"TRUSTED_CA=" + trusted, "UNTRUSTED_CA=" + untrusted,
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
			got, err := run(environment(server.Database(t), pgtest.DefaultPassword, server.CA), plain, expand, d.command)
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			direct[d.name] = steps(got)
			check(t, d, direct[d.name], 0)
		})
	}
	sluice := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{sluicetest.Shop(server)}, Policy: policy})
	trusted := export(t, sluice)
	own := sluicetest.Shop(server)
	own.TLS, own.CA, own.Login = "verify-full", server.CA, "passthrough: true, "
	passing := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{own}, Policy: policy})
	trustedPassing := export(t, passing)
	for _, d := range drivers {
		t.Run("sluice/"+d.name, func(t *testing.T) {
			after := under(t, sluice, d, expand, environment(server.Database(t), "placeholder", trusted))
			check(t, d, after, 1)
			compare(t, d, direct[d.name], after)
		})
		t.Run("passthrough/"+d.name, func(t *testing.T) {
			after := under(t, passing, d, expand, environment(server.Database(t), pgtest.DefaultPassword, trustedPassing))
			if d.binds {
				// It says under TLS that it could bind, which can't pass.
				for _, step := range []string{"connect-require", "verify-full", "verify-full-name"} {
					if why := after[step]; !strings.Contains(why, "channel binding cannot pass") && why != "28000|"+bound {
						t.Errorf("%s: %q, want that channel binding cannot pass", step, why)
					}
					after[step] = direct[d.name][step]
				}
			}
			check(t, d, after, 1)
			compare(t, d, direct[d.name], after)
		})
	}
}

// bound is the detail of the error that a driver gets which says that it could bind.
const bound = "TLS ends at Sluice, and the database takes a login that says so for a downgrade."

// under runs a driver under Sluice and returns its steps.
func under(t *testing.T, s *sluicetest.Sluice, d driver, expand *strings.Replacer, env []string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	through := func(name string, args ...string) *exec.Cmd { return s.Command(ctx, name, args...) }
	got, err := run(env, through, expand, d.command)
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	return steps(got)
}

// export returns a file with what `sluice ca export` writes. An agent has to have
// run for that: it makes the authority.
func export(t *testing.T, s *sluicetest.Sluice) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := s.Command(ctx, "true").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := s.Run(ctx, "ca", "export")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// authority returns a file with an authority that has issued nothing.
func authority(t *testing.T) string {
	t.Helper()
	a, err := ca.Open(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(file, a.Bundle(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// aboutCertificate is what a driver says of one that it does not trust.
var aboutCertificate = regexp.MustCompile(`(?i)certificate|PKIX|SELF_SIGNED|UNABLE_TO_VERIFY`)

// database is the name of one, which differs from run to run.
var database = regexp.MustCompile("corpus[0-9]+")

// check holds the steps of a run to what they must be.
func check(t *testing.T, d driver, got map[string]string, column int) {
	t.Helper()
	for name, value := range got {
		if want, ok := expected[name]; ok && value != want[column] && !allowed(d, name, value) && !(strings.HasPrefix(want[column], "ok") && value == "1") {
			t.Errorf("%s: got %q, want %q", name, value, want[column])
		}
	}
	if why := got["verify-untrusted"]; !aboutCertificate.MatchString(why) {
		t.Errorf("verify-untrusted: %q, which does not speak of a certificate", why)
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
		case name == "verify-untrusted" && database.ReplaceAllString(got, "db") == database.ReplaceAllString(want, "db"):
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
