package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"sluicegate.io/sluice/test/pgtest"
)

func TestStart(t *testing.T) {
	tests := []struct {
		name   string
		o      pgtest.Options
		params []string
		ok     bool
	}{
		{"trust", pgtest.Options{}, nil, true},
		{"scram", pgtest.Options{Auth: "scram-sha-256"}, []string{"password=" + pgtest.DefaultPassword}, true},
		{"scram, wrong password", pgtest.Options{Auth: "scram-sha-256"}, []string{"password=wrong"}, false},
		{"md5", pgtest.Options{Auth: "md5"}, []string{"password=" + pgtest.DefaultPassword}, true},
		{"password", pgtest.Options{Auth: "password", Password: "other"}, []string{"password=other"}, true},
		{"reject", pgtest.Options{Auth: "reject"}, nil, false},
		{"TLS", pgtest.Options{TLS: true}, []string{"sslmode=require"}, true},
		{"TLS alone", pgtest.Options{TLSOnly: true}, []string{"sslmode=require"}, true},
		{"no TLS where it is a must", pgtest.Options{TLSOnly: true}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := pgtest.Start(t, tt.o)
			db := s.Database(t)
			conn, err := pgx.Connect(context.Background(), s.DSN("app_rw", db, tt.params...))
			if !tt.ok {
				if err == nil {
					t.Fatal("connected")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			var n int
			if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM app.customers").Scan(&n); err != nil || n != 54 {
				t.Errorf("customers: %d, %v", n, err)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	rows, err := s.Query("postgres", "SELECT 1, 'a' UNION ALL SELECT 2, 'b' ORDER BY 1")
	if err != nil || len(rows) != 2 || rows[1] != "2|b" {
		t.Errorf("rows %q, error %v", rows, err)
	}
}
