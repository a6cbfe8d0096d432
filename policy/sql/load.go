package sql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Querier runs one query with the simple protocol and hands its rows, in text
// format with nil for NULL, to row one at a time. The values are valid during
// the call. The real one is postgres.Client.
type Querier interface {
	Query(ctx context.Context, sql string, row func([][]byte) error) error
}

// begin makes the load see one snapshot, whatever the login's own settings are.
// With the empty search_path nothing but pg_catalog is found by a bare name, and
// pg_get_viewdef and its kind qualify everything else. Reading definitions takes
// locks, which must not wait behind a migration for long.
var begin = []string{
	"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
	"SET LOCAL search_path = ''",
	"SET LOCAL quote_all_identifiers = off",
	"SET LOCAL statement_timeout = 0",
	"SET LOCAL lock_timeout = '10s'",
	// Costs more to compile than these queries take.
	"SET LOCAL jit = off",
}

// LoadCatalog reads the catalog of the database that q is connected to, 12 or
// newer. It needs no more rights than PUBLIC has by default, opens a read-only
// transaction of its own, and leaves the session's settings as they were.
//
// Definitions (of views, rules and defaults) are printed by the server from its
// newest state, the rest is of one snapshot. Where DDL falls between the two the
// epoch differs afterwards, so a caller that polls EpochQuery loads again.
func LoadCatalog(ctx context.Context, q Querier) (c *Catalog, err error) {
	l := &loader{ctx: ctx, q: q, names: make(map[string]string)}
	for _, s := range begin {
		l.run(s)
	}
	l.identity()
	l.schemas()
	l.types()
	l.functions()
	l.operators()
	l.relations()
	l.columns()
	l.hangers()
	end := "COMMIT"
	if l.err != nil {
		end = "ROLLBACK"
	}
	if e := q.Query(ctx, end, func([][]byte) error { return nil }); e != nil && l.err == nil {
		l.err = e
	}
	if l.err != nil {
		return nil, fmt.Errorf("load catalog: %w", l.err)
	}
	return NewCatalog(l.s), nil
}

// Epoch asks q for the epoch of its database.
func Epoch(ctx context.Context, q Querier) (string, error) {
	var epoch string
	err := q.Query(ctx, EpochQuery, func(v [][]byte) error {
		if len(v) != 1 {
			return fmt.Errorf("%d columns where 1 is expected", len(v))
		}
		epoch = string(v[0])
		return nil
	})
	if err == nil && epoch == "" {
		err = errors.New("no row")
	}
	if err != nil {
		return "", fmt.Errorf("catalog epoch: %w", err)
	}
	return epoch, nil
}

// loader fills a Snapshot. After the first error it does nothing.
type loader struct {
	ctx   context.Context
	q     Querier
	err   error
	s     Snapshot
	names map[string]string // strings that many rows share

	relation map[uint32]int // OID → index in s.Relations
	typ      map[uint32]int
	function map[uint32]int
}

// run sends a query without a result.
func (l *loader) run(sql string) { l.rows(sql, 0, func(*values) {}) }

// rows calls row for each row of a query, which has n columns.
func (l *loader) rows(sql string, n int, row func(v *values)) {
	if l.err != nil {
		return
	}
	v := &values{names: l.names}
	err := l.q.Query(l.ctx, sql, func(vals [][]byte) error {
		if len(vals) != n {
			return fmt.Errorf("%d columns where %d are expected", len(vals), n)
		}
		v.vals, v.at = vals, 0
		row(v)
		return v.err
	})
	if err != nil {
		l.err = err
	}
}

// values reads one row from left to right.
type values struct {
	vals  [][]byte
	at    int
	err   error
	names map[string]string
}

func (v *values) next() []byte {
	b := v.vals[v.at]
	v.at++
	return b
}

// text copies a value; name shares it with equal ones.
func (v *values) text() string { return string(v.next()) }

func (v *values) name() string {
	b := v.next()
	if s, ok := v.names[string(b)]; ok {
		return s
	}
	s := string(b)
	v.names[s] = s
	return s
}

func (v *values) bool() bool {
	b := v.next()
	return len(b) == 1 && b[0] == 't'
}

func (v *values) int(bits int) int64 {
	b := v.next()
	if len(b) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(b), 10, bits)
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("column %d of a catalog query is no number", v.at)
	}
	return n
}

func (v *values) oid() uint32    { return uint32(v.int(64)) }
func (v *values) int2() int16    { return int16(v.int(16)) }
func (v *values) int4() int32    { return int32(v.int(32)) }
func (v *values) oids() []uint32 { return list[uint32](v) }
func (v *values) int2s() []int16 { return list[int16](v) }

// list reads an int2vector, an oidvector or a one-dimensional array of numbers.
func list[T int16 | uint32](v *values) []T {
	var out []T
	n, digits, sign := int64(0), false, int64(1)
	for _, c := range append(v.next(), ' ') {
		switch {
		case c >= '0' && c <= '9':
			n, digits = n*10+int64(c-'0'), true
		case c == '-':
			sign = -1
		default:
			if digits {
				out = append(out, T(sign*n))
			}
			n, digits, sign = 0, false, 1
		}
	}
	return out
}
