package introspection_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/corpus/introspection"
	"sluicegate.io/sluice/test/pgtest"
)

// TestDirect proves that every statement runs on a bare server, by a login with
// the rights of an ordinary application.
func TestDirect(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	db := s.Database(t)
	cases, err := introspection.Cases(func(relation string) (string, error) {
		rows, err := s.Query(db, fmt.Sprintf("SELECT '%s'::regclass::oid", relation))
		if err != nil {
			return "", err
		}
		return rows[0], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	target := corpus.Target{Database: db, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	}}
	seen := make(map[string]bool)
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			if seen[c.ID] {
				t.Error("the name is taken")
			}
			seen[c.ID] = true
			got, err := c.Run(context.Background(), target)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Codes) > 0 || got.Closed {
				t.Errorf("fails on a bare server: %s", got.Text)
			}
		})
	}
	t.Logf("%d cases", len(cases))
}
