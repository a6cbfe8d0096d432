package corpus_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/harden"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestSluiceRole runs every case through Sluice in mode role: its login has
// rights on nothing but masked views, whoever a case says it is.
func TestSluiceRole(t *testing.T) {
	root := t
	server := pgtest.Start(t, pgtest.Options{})
	d := sluicetest.Shop(server)
	d.Username, d.Extra = "shop_agent", d.Extra+"  mode: role"
	sluice := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{d}, Policy: sluicetest.CorpusPolicy})
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
						fortify(t, server, db, sluice.Config)
					}
					c.As = "app_rw" // of whom there is one endpoint
					problem, changed := through(t, server, sluice, db, c, f.Benign)
					if changed {
						db = ""
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

// fortify does what `sluice database harden shop --apply` does.
func fortify(t *testing.T, server *pgtest.Server, db, config string) {
	t.Helper()
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Load([]policy.File{{Name: filepath.Base(config), Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.Connect(context.Background(), server.SocketDSN(db))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	c, err := sql.LoadCatalog(context.Background(), simple{conn})
	if err != nil {
		t.Fatal(err)
	}
	p, err := harden.New(c, set, "shop", harden.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, left, err := p.Apply(context.Background(), simple{conn}); err != nil || len(left) > 0 {
		t.Fatalf("harden: %v, left %v", err, left)
	}
}

// simple runs queries for package harden.
type simple struct{ conn *pgconn.PgConn }

func (s simple) Query(ctx context.Context, text string, row func([][]byte) error) error {
	results := s.conn.Exec(ctx, text)
	for results.NextResult() {
		r := results.ResultReader()
		for r.NextRow() {
			if err := row(r.Values()); err != nil {
				results.Close()
				return err
			}
		}
	}
	return results.Close()
}
