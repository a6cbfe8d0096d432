package corpus_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

func TestMain(m *testing.M) { sluicetest.Main(m) }

// roles are the roles that cases run as. Sluice logs in as one role a Database,
// and a Database is known by its endpoint, so each role has an address of loopback.
var roles = []struct{ role, address string }{
	{"app_rw", "127.0.0.1"},
	{"app_su", "127.0.0.2"},
	{"app_repl", "127.0.0.3"},
}

// TestSluice runs every case through Sluice: nothing may get through, each
// expectation is met, and the ordinary statements work.
func TestSluice(t *testing.T) {
	root := t
	server := pgtest.Start(t, pgtest.Options{Listen: "127.0.0.1,127.0.0.2,127.0.0.3"})
	var databases []sluicetest.Database
	for _, r := range roles {
		d := sluicetest.Shop(server)
		d.Name, d.Username = r.role[len("app_"):], r.role
		d.Endpoint = net.JoinHostPort(r.address, strconv.Itoa(server.Port))
		databases = append(databases, d)
	}
	sluice := sluicetest.Start(t, sluicetest.Options{Databases: databases, Policy: sluicetest.CorpusPolicy})
	db := ""
	for _, f := range corpus.Files() {
		cases, err := corpus.Parse(f.Name, f.Text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(f.Name, func(t *testing.T) {
			failed := 0
			for _, c := range cases {
				t.Run(c.ID, func(t *testing.T) {
					if db == "" {
						db = server.Database(root)
					}
					problem, changed := through(t, server, sluice, db, c, f.Benign)
					if changed {
						db = "" // the next case gets one as new
					}
					if problem != "" {
						failed++
						t.Error(problem)
					}
				})
			}
			t.Logf("%s: %d of %d as they should be", f.Name, len(cases)-failed, len(cases))
		})
	}
}

// through runs one case, says what is wrong with it, and whether it may have
// changed the database.
func through(t *testing.T, server *pgtest.Server, sluice *sluicetest.Sluice, db string, c corpus.Case, benign bool) (problem string, changed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	target := direct(server, db)
	target.Dial = func(ctx context.Context) (net.Conn, error) { return sluice.Dial(ctx, endpoint(server, c.As)) }
	got, err := c.Run(ctx, target)
	if err != nil {
		return fmt.Sprintf("could not run: %v", err), true
	}
	if benign {
		return c.CheckBenign(got), !got.Harmless()
	}
	return c.Check(got, effect(t, server, db, c)), !got.Harmless()
}

func endpoint(s *pgtest.Server, role string) string {
	for _, r := range roles {
		if r.role == role {
			return net.JoinHostPort(r.address, strconv.Itoa(s.Port))
		}
	}
	return s.Addr()
}
