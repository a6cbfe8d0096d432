package harden

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sluicegate.io/sluice/policy/sql"
)

// Compare reads what is there, in a transaction of its own that changes nothing.
func (p *Plan) Compare(ctx context.Context, q sql.Querier) (*Live, error) {
	var l *Live
	err := within(ctx, q, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", func() (err error) {
		l, err = Load(ctx, q, p)
		return err
	})
	return l, err
}

// alone begins a transaction that waits for others of its kind, and for nobody
// else for long: sessions read the views that it replaces.
const alone = `BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('sluice database harden'));
SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0`

// Apply makes a database what the Plan wants, in one transaction. It returns what
// it changed, and what it found that only a person can change.
func (p *Plan) Apply(ctx context.Context, q sql.Querier) (done, left []Change, err error) {
	err = within(ctx, q, alone, func() error {
		l, err := Load(ctx, q, p)
		if err != nil {
			return err
		}
		done = p.Diff(l)
		if err := run(ctx, q, done); err != nil {
			return err
		}
		if l, err = Load(ctx, q, p); err != nil {
			return err
		}
		left = p.Diff(l)
		for _, c := range left {
			if len(c.SQL) > 0 {
				return fmt.Errorf("after all statements there still is: %s", c.Text)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return done, left, nil
}

// Remove runs Drop in one transaction.
func (p *Plan) Remove(ctx context.Context, q sql.Querier) (done []Change, err error) {
	err = within(ctx, q, alone, func() error {
		l, err := Load(ctx, q, p)
		if err != nil {
			return err
		}
		done = p.Drop(l)
		return run(ctx, q, done)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

func run(ctx context.Context, q sql.Querier, changes []Change) error {
	for _, c := range changes {
		if len(c.SQL) == 0 {
			continue
		}
		if err := q.Query(ctx, strings.Join(c.SQL, ";\n"), func([][]byte) error { return nil }); err != nil {
			return fmt.Errorf("%s: %w", c.Text, err)
		}
	}
	return nil
}

func within(ctx context.Context, q sql.Querier, begin string, f func() error) error {
	none := func([][]byte) error { return nil }
	if err := q.Query(ctx, begin, none); err != nil {
		return err
	}
	err := f()
	if err != nil {
		return errors.Join(err, q.Query(context.WithoutCancel(ctx), "ROLLBACK", none))
	}
	return q.Query(ctx, "COMMIT", none)
}
