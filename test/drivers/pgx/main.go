// Command pgx is a session of the Go driver pgx. See package drivers.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, mode := range []string{"disable", "prefer", "require"} {
		conn, err := pgx.Connect(ctx, "sslmode="+mode)
		if err == nil {
			conn.Close(ctx)
		}
		report("connect-"+mode, "ok", err)
	}
	for _, v := range [][3]string{{"verify-full", "127.0.0.1", "TRUSTED_CA"}, {"verify-full-name", "localhost", "TRUSTED_CA"}, {"verify-untrusted", "127.0.0.1", "UNTRUSTED_CA"}} {
		conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s sslmode=verify-full sslrootcert=%s", v[1], os.Getenv(v[2])))
		if err == nil {
			conn.Close(ctx)
		}
		report(v[0], "ok", err)
	}
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer conn.Close(ctx)
	s := session{conn}
	for _, step := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{
		{"select", s.one("SELECT 1+1", pgx.QueryExecModeSimpleProtocol)},
		{"prepared", s.one("SELECT id, name FROM app.customers WHERE id = $1", 1)},
		{"exec-mode", s.one("SELECT id, name FROM app.customers WHERE id = $1", pgx.QueryExecModeExec, 1)},
		{"describe-mode", s.one("SELECT id, name FROM app.customers WHERE id = $1", pgx.QueryExecModeDescribeExec, 1)},
		{"masked", s.one("SELECT ssn, card, email FROM app.customers WHERE id = $1", 1)},
		{"transaction", s.transaction}, {"batch", s.batch}, {"pipeline", s.pipeline},
		{"copy-out", s.copyOut}, {"copy-in", s.copyIn}, {"listen", s.listen},
		{"error-column", s.one("SELECT nope FROM app.orders")},
		{"error-unique", s.one("INSERT INTO app.orders VALUES (1, 1, 1)")},
		{"error-syntax", s.one("SELEC 1")},
		{"denied", s.one("SELECT v FROM app.secrets")},
		{"cancel", s.cancel}, {"large", s.large}, {"cursor", s.cursor},
		{"types", s.one(`SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\x0001ff'::bytea,
			'2026-01-02 03:04:05+00'::timestamptz, '{"a": 1}'::jsonb, ARRAY[1,2,3], NULL::text,
			'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, '1 day'::interval, '10.0.0.1'::inet`)},
		{"select-after", s.one("SELECT 3")},
	} {
		value, err := step.run(ctx)
		report(step.name, value, err)
	}
}

func report(name, value string, err error) {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		value = e.Code
		if e.Detail != "" && e.Code != "42501" {
			value += "|" + e.Detail
		}
	} else if err != nil {
		value = "failed: " + err.Error()
	}
	fmt.Printf("%s: %s\n", name, strings.ReplaceAll(value, "\n", " "))
}

type session struct{ conn *pgx.Conn }

// one returns a step that reads one row and prints its values.
func (s session) one(sql string, args ...any) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		rows, err := s.conn.Query(ctx, sql, args...)
		if err != nil {
			return "", err
		}
		defer rows.Close()
		var out []string
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				return "", err
			}
			for _, v := range values {
				if t, ok := v.(time.Time); ok {
					v = t.UTC()
				}
				out = append(out, fmt.Sprint(v))
			}
		}
		return strings.Join(out, "|"), rows.Err()
	}
}

func (s session) count(ctx context.Context) (n int, err error) {
	return n, s.conn.QueryRow(ctx, "SELECT count(*) FROM app.orders").Scan(&n)
}

func (s session) transaction(ctx context.Context) (string, error) {
	before, err := s.count(ctx)
	if err != nil {
		return "", err
	}
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO app.orders VALUES ($1, 1, 1)", 999); err != nil {
		tx.Rollback(ctx)
		return "", err
	}
	in, err := s.count(ctx)
	if err != nil {
		tx.Rollback(ctx)
		return "", err
	}
	if err := tx.Rollback(ctx); err != nil {
		return "", err
	}
	after, err := s.count(ctx)
	return fmt.Sprintf("%d,%d,%d", before, in, after), err
}

func (s session) batch(ctx context.Context) (string, error) {
	b := &pgx.Batch{}
	for i := 1; i <= 3; i++ {
		b.Queue("SELECT $1::int", i)
	}
	results := s.conn.SendBatch(ctx, b)
	defer results.Close()
	var out []string
	for range 3 {
		var n int
		if err := results.QueryRow().Scan(&n); err != nil {
			return "", err
		}
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, ","), nil
}

// pipeline sends 200 statements before it reads, one of which fails between syncs.
func (s session) pipeline(ctx context.Context) (string, error) {
	p := s.conn.PgConn().StartPipeline(ctx)
	for i := range 200 {
		sql := "SELECT $1::int"
		if i == 100 {
			sql = "SELECT 1/($1::int - $1::int)"
		}
		p.SendQueryParams(sql, [][]byte{fmt.Append(nil, i)}, nil, nil, nil)
		if err := p.Sync(); err != nil {
			return "", err
		}
	}
	good, bad := 0, ""
	for {
		r, err := p.GetResults()
		if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
			bad += e.Code
			continue
		} else if err != nil {
			return "", err
		}
		switch r := r.(type) {
		case nil:
			return fmt.Sprintf("%d|%s", good, bad), p.Close()
		case *pgconn.ResultReader:
			for r.NextRow() {
				good++
			}
			if _, err := r.Close(); err != nil {
				if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
					bad += e.Code
					continue
				}
				return "", err
			}
		}
		if good+len(bad)/5 == 200 {
			return fmt.Sprintf("%d|%s", good, bad), p.Close()
		}
	}
}

func (s session) copyOut(ctx context.Context) (string, error) {
	var b bytes.Buffer
	tag, err := s.conn.PgConn().CopyTo(ctx, &b, "COPY app.orders TO STDOUT (FORMAT csv)")
	return fmt.Sprintf("%d|%d", tag.RowsAffected(), bytes.Count(b.Bytes(), []byte("\n"))), err
}

func (s session) copyIn(ctx context.Context) (string, error) {
	n, err := s.conn.CopyFrom(ctx, pgx.Identifier{"app", "orders"}, []string{"id", "customer_id", "total"},
		pgx.CopyFromRows([][]any{{1001, 1, 5}, {1002, 1, 6}}))
	if err != nil {
		return "", err
	}
	tag, err := s.conn.Exec(ctx, "DELETE FROM app.orders WHERE id > 1000")
	return fmt.Sprintf("%d|%d", n, tag.RowsAffected()), err
}

func (s session) listen(ctx context.Context) (string, error) {
	if _, err := s.conn.Exec(ctx, "LISTEN ch"); err != nil {
		return "", err
	}
	if _, err := s.conn.Exec(ctx, "NOTIFY ch, 'hello'"); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	n, err := s.conn.WaitForNotification(ctx)
	if err != nil {
		return "", err
	}
	return n.Payload, nil
}

// cancel uses a connection of its own, and that again after the cancellation.
func (s session) cancel(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	go func() {
		time.Sleep(300 * time.Millisecond)
		conn.PgConn().CancelRequest(ctx)
	}()
	_, err = conn.Exec(ctx, "SELECT count(*) FROM generate_series(1, 100000000000) g")
	if e := (*pgconn.PgError)(nil); !errors.As(err, &e) {
		return "", fmt.Errorf("not cancelled: %w", err)
	} else if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		return "", err
	} else {
		return e.Code, nil
	}
}

func (s session) large(ctx context.Context) (string, error) {
	rows, err := s.conn.Query(ctx, "SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")
	if err != nil {
		return "", err
	}
	n, sum := 0, 0
	for rows.Next() {
		var g int
		var x string
		if err := rows.Scan(&g, &x); err != nil {
			return "", err
		}
		n, sum = n+1, sum+g
	}
	return fmt.Sprintf("%d|%d", n, sum), rows.Err()
}

func (s session) cursor(ctx context.Context) (string, error) {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "DECLARE cur CURSOR FOR SELECT g FROM generate_series(1, 5000) g"); err != nil {
		return "", err
	}
	for n := 0; ; {
		rows, err := tx.Query(ctx, "FETCH 100 FROM cur")
		if err != nil {
			return "", err
		}
		before := n
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil {
			return "", err
		}
		if n == before {
			return fmt.Sprint(n), nil
		}
	}
}
