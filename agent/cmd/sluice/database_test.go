package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sluicegate.io/sluice/test/pgtest"
)

// TestDatabaseScript runs `sluice database` against a real server.
func TestDatabaseScript(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to start PostgreSQL as another user")
	}
	s := pgtest.Start(t, pgtest.Options{})
	db := s.Database(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/database",
		Setup: func(e *testscript.Env) error {
			bin, err := pgtest.Bin()
			if err != nil {
				return err
			}
			e.Setenv("PATH", e.Getenv("PATH")+string(filepath.ListSeparator)+bin)
			for k, v := range map[string]string{"PGHOST": s.Dir, "PGPORT": strconv.Itoa(s.Port), "PGUSER": pgtest.Superuser, "PGDATABASE": db} {
				e.Setenv(k, v)
			}
			return nil
		},
	})
}
