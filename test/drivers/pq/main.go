// Command pq is a session of the Go driver lib/pq. See package drivers.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lib/pq"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, mode := range []string{"disable", "prefer", "require"} {
		db, err := sql.Open("postgres", "sslmode="+mode)
		if err == nil {
			err = db.PingContext(ctx)
			db.Close()
		}
		report("connect-"+mode, "ok", err)
	}
	for _, v := range [][3]string{{"verify-full", "127.0.0.1", "TRUSTED_CA"}, {"verify-full-name", "localhost", "TRUSTED_CA"}, {"verify-untrusted", "127.0.0.1", "UNTRUSTED_CA"}} {
		db, err := sql.Open("postgres", fmt.Sprintf("host=%s sslmode=verify-full sslrootcert=%s", v[1], os.Getenv(v[2])))
		if err == nil {
			err = db.PingContext(ctx)
			db.Close()
		}
		report(v[0], "ok", err)
	}
	db, err := sql.Open("postgres", "sslmode=disable")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer db.Close()
	db.SetMaxOpenConns(2)
	s := session{db}
	for _, step := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{
		{"select", s.one("SELECT 1+1")},
		{"prepared", s.one("SELECT id, name FROM app.customers WHERE id = $1", 1)},
		{"statement", s.statement},
		{"masked", s.one("SELECT ssn, card, email FROM app.customers WHERE id = $1", 1)},
		{"transaction", s.transaction}, {"copy-in", s.copyIn}, {"listen", s.listen},
		{"error-column", s.one("SELECT nope FROM app.orders")},
		{"error-unique", s.one("INSERT INTO app.orders VALUES (1, 1, 1)")},
		{"error-syntax", s.one("SELEC 1")},
		{"denied", s.one("SELECT v FROM app.secrets")},
		{"cancel", s.cancel}, {"large", s.large}, {"cursor", s.cursor},
		{"types", s.one(`SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\x0001ff'::bytea,
			'2026-01-02 03:04:05+00'::timestamptz, '{"a": 1}'::jsonb, ARRAY[1,2,3], NULL::text`)},
		{"select-after", s.one("SELECT 3")},
	} {
		value, err := step.run(ctx)
		report(step.name, value, err)
	}
}

func report(name, value string, err error) {
	if e := (*pq.Error)(nil); errors.As(err, &e) {
		value = string(e.Code)
		if e.Detail != "" && e.Code != "42501" {
			value += "|" + e.Detail
		}
	} else if err != nil {
		value = "failed: " + err.Error()
	}
	fmt.Printf("%s: %s\n", name, strings.ReplaceAll(value, "\n", " "))
}

type session struct{ db *sql.DB }

func (s session) one(text string, args ...any) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		rows, err := s.db.QueryContext(ctx, text, args...)
		if err != nil {
			return "", err
		}
		defer rows.Close()
		return values(rows)
	}
}

func values(rows *sql.Rows) (string, error) {
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var out []string
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(any)
		}
		if err := rows.Scan(row...); err != nil {
			return "", err
		}
		for _, v := range row {
			switch v := (*v.(*any)).(type) {
			case []byte:
				out = append(out, string(v))
			case time.Time:
				out = append(out, v.UTC().String())
			default:
				out = append(out, fmt.Sprint(v))
			}
		}
	}
	return strings.Join(out, "|"), rows.Err()
}

// statement runs one prepared statement many times.
func (s session) statement(ctx context.Context) (string, error) {
	st, err := s.db.PrepareContext(ctx, "SELECT total FROM app.orders WHERE id = $1")
	if err != nil {
		return "", err
	}
	defer st.Close()
	var out []string
	for id := 1; id <= 3; id++ {
		var total string
		if err := st.QueryRowContext(ctx, id).Scan(&total); err != nil {
			return "", err
		}
		out = append(out, total)
	}
	return strings.Join(out, ","), nil
}

func (s session) transaction(ctx context.Context) (string, error) {
	count := func(q interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}) (n int, err error) {
		return n, q.QueryRowContext(ctx, "SELECT count(*) FROM app.orders").Scan(&n)
	}
	before, err := count(s.db)
	if err != nil {
		return "", err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO app.orders VALUES ($1, 1, 1)", 999); err != nil {
		return "", err
	}
	in, err := count(tx)
	if err != nil {
		return "", err
	}
	if err := tx.Rollback(); err != nil {
		return "", err
	}
	after, err := count(s.db)
	return fmt.Sprintf("%d,%d,%d", before, in, after), err
}

func (s session) copyIn(ctx context.Context) (string, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	st, err := tx.PrepareContext(ctx, "COPY app.orders (id, customer_id, total) FROM STDIN")
	if err != nil {
		return "", err
	}
	for id := 1001; id <= 1002; id++ {
		if _, err := st.ExecContext(ctx, id, 1, 5); err != nil {
			return "", err
		}
	}
	if _, err := st.ExecContext(ctx); err != nil {
		return "", err
	}
	if err := st.Close(); err != nil {
		return "", err
	}
	r, err := tx.ExecContext(ctx, "DELETE FROM app.orders WHERE id > 1000")
	if err != nil {
		return "", err
	}
	n, err := r.RowsAffected()
	return fmt.Sprint(n), errors.Join(err, tx.Commit())
}

func (s session) listen(context.Context) (string, error) {
	l := pq.NewListener("sslmode=disable", time.Second, time.Minute, nil)
	defer l.Close()
	if err := l.Listen("ch"); err != nil {
		return "", err
	}
	if _, err := s.db.Exec("NOTIFY ch, 'hello'"); err != nil {
		return "", err
	}
	for {
		select {
		case n := <-l.Notify:
			if n != nil {
				return n.Extra, nil
			}
		case <-time.After(5 * time.Second):
			return "", errors.New("no notification")
		}
	}
}

func (s session) cancel(ctx context.Context) (string, error) {
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, err := s.db.ExecContext(short, "SELECT count(*) FROM generate_series(1, 100000000000) g")
	if e := (*pq.Error)(nil); errors.As(err, &e) {
		return string(e.Code), nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "57014", nil
	}
	return "", fmt.Errorf("not cancelled: %w", err)
}

func (s session) large(ctx context.Context) (string, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")
	if err != nil {
		return "", err
	}
	defer rows.Close()
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
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "DECLARE cur CURSOR FOR SELECT g FROM generate_series(1, 5000) g"); err != nil {
		return "", err
	}
	for n := 0; ; {
		rows, err := tx.QueryContext(ctx, "FETCH 100 FROM cur")
		if err != nil {
			return "", err
		}
		before := n
		for rows.Next() {
			n++
		}
		if err := rows.Close(); err != nil {
			return "", err
		}
		if n == before {
			return fmt.Sprint(n), nil
		}
	}
}
