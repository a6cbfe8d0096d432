package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluicegate.io/sluice/test/pgtest"
)

// pgx is the test suite of github.com/jackc/pgx/v5.
func pgx(ctx context.Context, r *runner, w way) (outcomes, error) {
	if err := w.server.TryExec("postgres", "CREATE DATABASE pgx_test"); err != nil {
		return nil, err
	}
	for _, sql := range []string{
		"CREATE EXTENSION hstore", "CREATE EXTENSION ltree", "CREATE DOMAIN uint64 AS numeric(20,0)",
		`CREATE USER " tricky, ' } "" \\ test user " SUPERUSER PASSWORD 'secret'`,
	} {
		if err := w.server.TryExec("pgx_test", sql); err != nil {
			return nil, err
		}
	}
	dsn := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=pgx_test sslmode=disable", w.server.Port, pgtest.Superuser)
	return r.goTests(ctx, w, "github.com/jackc/pgx/v5", []string{"PGX_TEST_DATABASE=" + dsn, "PGX_TEST_TCP_CONN_STRING=" + dsn})
}

// pq is the test suite of github.com/lib/pq.
func pq(ctx context.Context, r *runner, w way) (outcomes, error) {
	for _, sql := range []string{"CREATE DATABASE pqgo", "CREATE ROLE pqgo SUPERUSER LOGIN"} {
		if err := w.server.TryExec("postgres", sql); err != nil {
			return nil, err
		}
	}
	if err := w.server.TryExec("pqgo", "CREATE EXTENSION hstore"); err != nil {
		return nil, err
	}
	return r.goTests(ctx, w, "github.com/lib/pq", []string{
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(w.server.Port), "PGUSER=" + pgtest.Superuser,
		"PGDATABASE=pqgo", "PGSSLMODE=disable",
	})
}

// olderGo are the test suites of database libraries in Go that share nothing with pgx v5
// and pq but the protocol, or only a past.
func olderGo(ctx context.Context, r *runner, w way) (outcomes, error) {
	for _, sql := range []string{
		"CREATE DATABASE older", "CREATE ROLE pgx_md5 LOGIN SUPERUSER PASSWORD 'secret'",
	} {
		if err := w.server.TryExec("postgres", sql); err != nil {
			return nil, err
		}
	}
	for _, sql := range []string{
		"CREATE EXTENSION hstore", "CREATE EXTENSION ltree", "CREATE DOMAIN uint64 AS numeric(20,0)",
		"CREATE TYPE inventory_item AS (name text, supplier_id int, price numeric)",
	} {
		if err := w.server.TryExec("older", sql); err != nil {
			return nil, err
		}
	}
	dsn := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=older sslmode=disable", w.server.Port, pgtest.Superuser)
	env := []string{
		"PGX_TEST_DATABASE=" + dsn, "PGX_TEST_CONN_STRING=" + dsn, "PGX_TEST_TCP_CONN_STRING=" + dsn,
		"SQLX_POSTGRES_DSN=" + dsn, "SQLX_MYSQL_DSN=skip", "SQLX_SQLITE_DSN=skip",
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(w.server.Port), "PGUSER=" + pgtest.Superuser,
		"PGDATABASE=older", "PGSSLMODE=disable",
	}
	got := make(outcomes)
	for _, module := range []string{
		"github.com/jackc/pgconn@v1.14.3", "github.com/jackc/pgx/v4@v4.18.3", "github.com/jackc/pgtype@v1.14.4",
		"github.com/jmoiron/sqlx@v1.4.0", "github.com/go-pg/pg/v10@v10.14.0",
	} {
		some, err := r.goTests(ctx, w, module, env)
		if err != nil {
			return nil, err
		}
		for part, outcome := range some {
			got[path.Base(strings.TrimSuffix(module[:strings.Index(module, "@")], "/v4"))+"/"+part] = outcome
		}
	}
	return got, nil
}

// own holds what differs between two runs of the same thing on the same server:
// timings, addresses, process ids, paths.
var own = regexp.MustCompile(`(?m)(Execution Time|Planning Time|actual time)[:=] ?[0-9.]+( ms)?|/tmp/[A-Za-z0-9_./-]+|port "?[0-9]+"?|\\(un)?restrict \S+`)

// regress is PostgreSQL's regression SQL, in the order of its schedule, each file
// with psql in one database, as pg_regress does it.
func regress(ctx context.Context, r *runner, w way) (outcomes, error) {
	fetch := exec.CommandContext(ctx, "scripts/regress-source.sh", filepath.Join(r.out, "postgresql"))
	fetch.Stderr = os.Stderr
	if err := fetch.Run(); err != nil {
		return nil, fmt.Errorf("fetch the regression suite: %w", err)
	}
	source := filepath.Join(r.out, "postgresql", "regress")
	schedule, err := os.ReadFile(filepath.Join(source, "parallel_schedule"))
	if err != nil {
		return nil, err
	}
	if err := w.server.TryExec("postgres", "CREATE DATABASE regression TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"); err != nil {
		return nil, err
	}
	for _, sql := range []string{
		"ALTER DATABASE regression SET lc_messages TO 'C'", "ALTER DATABASE regression SET timezone TO 'PST8PDT'",
		"ALTER DATABASE regression SET datestyle TO 'Postgres, MDY'", "ALTER DATABASE regression SET intervalstyle TO 'postgres_verbose'",
		"ALTER DATABASE regression SET compute_query_id TO 'regress'",
	} {
		if err := w.server.TryExec("regression", sql); err != nil {
			return nil, err
		}
	}
	env := []string{
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(w.server.Port), "PGUSER=" + pgtest.Superuser, "PGDATABASE=regression",
		"PGSSLMODE=disable", "PG_ABS_SRCDIR=" + source, "PG_LIBDIR=" + filepath.Join(source, "lib"), "PG_DLSUFFIX=.so",
		"PG_ABS_BUILDDIR=" + w.server.Temp, "PGOPTIONS=", "PGAPPNAME=regress",
	}
	only, err := regexp.Compile(r.run)
	if err != nil {
		return nil, err
	}
	got := make(outcomes)
	for line := range strings.Lines(string(schedule)) {
		tests, ok := strings.CutPrefix(strings.TrimSpace(line), "test:")
		if !ok {
			continue
		}
		for _, name := range strings.Fields(tests) {
			// Everything stands on test_setup; the rest may be chosen.
			if name != "test_setup" && !only.MatchString(name) {
				continue
			}
			out, err := w.client(ctx, source, env, name+".out", "psql", "-X", "-a", "-q", "-f", filepath.Join("sql", name+".sql"))
			if err != nil {
				return nil, err
			}
			got[name] = own.ReplaceAllString(string(out), "…")
		}
	}
	return got, nil
}

// pgbench runs the built-in scripts, one client, a fixed number of transactions
// and seed, and compares what is in the tables afterwards.
func pgbench(ctx context.Context, r *runner, w way) (outcomes, error) {
	bin, err := pgtest.Bin()
	if err != nil {
		return nil, err
	}
	if err := w.server.TryExec("postgres", "CREATE DATABASE bench"); err != nil {
		return nil, err
	}
	args := func(more ...string) []string {
		base := []string{filepath.Join(bin, "pgbench"), "-h", "127.0.0.1", "-p", strconv.Itoa(w.server.Port), "-U", pgtest.Superuser}
		return append(append(base, more...), "bench")
	}
	got := make(outcomes)
	steps := map[string][]string{"0 initialize": {"-i", "-q", "-s", "1"}}
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, script := range []string{"tpcb-like", "simple-update", "select-only"} {
			steps["1 "+script+" "+mode] = []string{"-n", "-b", script, "-M", mode, "-c", "1", "-t", "200", "--random-seed=7"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(steps)) {
		out, err := w.client(ctx, w.dir, []string{"PGSSLMODE=disable"}, strings.ReplaceAll(name, " ", "-")+".log", args(steps[name]...)...)
		if err != nil {
			return nil, err
		}
		m := regexp.MustCompile(`actually processed: (\d+)/|done in`).FindString(string(out))
		got[name] = m
	}
	rows, err := w.server.Query("bench", "SELECT sum(abalance), count(*), (SELECT count(*) FROM pgbench_history) FROM pgbench_accounts")
	if err != nil {
		return nil, err
	}
	got["2 tables"] = strings.Join(rows, " ")
	return got, nil
}

// dump writes a database out with pg_dump and reads it into another with psql,
// both by the way under test.
func dump(ctx context.Context, r *runner, w way) (outcomes, error) {
	name := "original"
	if err := w.server.CreateDatabase(name); err != nil {
		return nil, err
	}
	if err := w.server.TryExec("postgres", "CREATE DATABASE restored"); err != nil {
		return nil, err
	}
	env := []string{"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(w.server.Port), "PGUSER=" + pgtest.Superuser, "PGSSLMODE=disable"}
	file := filepath.Join(w.dir, "dump.sql")
	got := make(outcomes)
	out, err := w.client(ctx, w.dir, env, "pg_dump.log", "pg_dump", "-f", file, name)
	if err != nil {
		return nil, err
	}
	got["pg_dump says"] = string(out) + "."
	out, err = w.client(ctx, w.dir, env, "psql.log", "psql", "-X", "-q", "-f", file, "restored")
	if err != nil {
		return nil, err
	}
	got["psql says"] = string(out) + "."
	sql, err := os.ReadFile(file)
	if err == nil {
		got["dump"] = own.ReplaceAllString(string(sql), "…")
	}
	rows, err := w.server.Query("restored", "SELECT count(*), sum(balance), min(ssn), max(email) FROM app.customers")
	if err != nil {
		rows = []string{"nothing restored"}
	}
	got["restored"] = strings.Join(rows, " ")
	return got, nil
}
