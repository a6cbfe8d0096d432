package corpus_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
)

// TestDirect proves every case on a bare server: the bypass cases really leak or
// take effect there, and the benign ones work.
func TestDirect(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	for _, f := range corpus.Files() {
		cases, err := corpus.Parse(f.Name, f.Text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(f.Name, func(t *testing.T) {
			shared := ""
			if f.Benign { // changes nothing
				shared = server.Database(t)
			}
			for _, c := range cases {
				t.Run(c.ID, func(t *testing.T) {
					db := shared
					if db == "" {
						db = server.Database(t)
					}
					target := direct(server, db)
					if strings.Contains(strings.Join(c.Messages, " "), "pg_stat_statements") {
						warm := corpus.Case{As: c.As, Via: "simple", Messages: []string{"SELECT count(*) FROM app.customers"}}
						if _, err := warm.Run(context.Background(), target); err != nil {
							t.Fatal(err)
						}
					}
					got, err := c.Run(context.Background(), target)
					if err != nil {
						t.Fatal(err)
					}
					if problem := c.CheckDirect(got, effect(t, server, db, c)); problem != "" {
						t.Error(problem)
					}
					// What a case leaves behind in its role would meet the next one.
					server.Exec(t, "postgres", "ALTER ROLE app_rw RESET ALL")
				})
			}
		})
	}
}

// direct is a target without anything in between.
func direct(s *pgtest.Server, db string) corpus.Target {
	return corpus.Target{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
		},
		Database: db,
		Replace:  replacer(s, db),
		OID:      oid(s, db),
	}
}

func replacer(s *pgtest.Server, db string) *strings.Replacer {
	return strings.NewReplacer("$DB", db, "$TMP", s.Temp, "port=55433", "port="+strconv.Itoa(s.Port))
}

func oid(s *pgtest.Server, db string) func(string) (uint32, error) {
	return func(function string) (uint32, error) {
		rows, err := s.Query(db, fmt.Sprintf("SELECT '%s'::regprocedure::oid", function))
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseUint(rows[0], 10, 32)
		return uint32(n), err
	}
}

// effect asks whether the side effect of c happened. A question that fails,
// because what it is about is gone or never was, is no proof.
func effect(t *testing.T, s *pgtest.Server, db string, c corpus.Case) string {
	if c.Effect == "" {
		return ""
	}
	rows, err := s.Query(db, replacer(s, db).Replace(c.Effect))
	if err != nil {
		return err.Error()
	}
	return rows[0]
}
