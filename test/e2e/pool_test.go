package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestPool has programs that connect one after the other share a session of the server,
// and see nothing of each other; other rules and the end of the agent end it.
func TestPool(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	shop := sluicetest.Shop(server)
	shop.Extra += "\n  pool: {mode: session, idle: 20s}"
	options := sluicetest.Options{
		Databases: []sluicetest.Database{shop}, Policy: sluicetest.OpenPolicy,
		Agent: fmt.Sprintf("metrics: {listen: \"%s\"}", f.metrics),
	}
	f.sluice = sluicetest.Start(t, options)
	client := func(sql ...string) (rows int) {
		t.Helper()
		w := session(t, f.sluice, server.Addr(), f.db)
		defer w.Close()
		for i, s := range sql {
			a := w.query(s)
			if len(a.codes) > 0 || a.closed {
				t.Errorf("%s: %v", s, a)
			}
			if i == 0 {
				rows = a.rows
			}
		}
		return rows
	}
	hits := func() float64 { return f.counted(t, `sluice_pool_clients_total{result="hit"}`) }
	kept := func(n float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v sessions wait", n), func() bool { return f.counted(t, "sluice_pool_idle_sessions") == n })
		time.Sleep(100 * time.Millisecond) // the reset
	}
	const virgin = "SELECT 1 WHERE current_setting('application_name') = '' AND current_setting('statement_timeout') = '0' AND " +
		"current_setting('search_path') LIKE '%public%'"
	if client(virgin) != 1 {
		t.Fatal("the first client finds something")
	}
	kept(1)
	for _, dirt := range []string{"SET application_name = 'left'", "SET statement_timeout = '5s'", "PREPARE x AS SELECT 1", "PREPARE x AS SELECT 2",
		"SET search_path = app"} {
		before := hits()
		if client(virgin, dirt) != 1 {
			t.Error("a client finds what another one left")
		}
		if hits() != before+1 {
			t.Error("it was not served by the session that waits")
		}
		kept(1)
	}
	client("SELECT setseed(0.5)")
	kept(0)
	client(virgin)
	kept(1)
	options.Policy = sluicetest.CorpusPolicy
	f.sluice.Configure(t, options)
	kept(0)
	client(read)
	kept(1)
	rows, err := server.Query("postgres", "SELECT pg_terminate_backend(pid, 5000)::text FROM pg_stat_activity WHERE usename = 'app_rw' AND application_name <> 'sluice'")
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	kept(0)
	if client(read) != 1 {
		t.Error("nothing after the server closed the session")
	}
	kept(1) // the agent stops with it
}
