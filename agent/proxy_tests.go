package agent

import (
	"errors"
	"sync"
	"time"

	"sluicegate.io/sluice/agent/rehearsal"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
)

// latest holds the newest catalog of each Database, and of which of them the tests
// of policies still have to be run.
type latest struct {
	mu      sync.Mutex
	known   map[string]*sql.Catalog
	waiting map[string]bool
}

// of returns what is known of a Database: what was loaded last, or what was kept
// before this process started.
func (l *latest) of(database string) (*sql.Catalog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.known[database]; c != nil {
		return c, nil
	}
	return rehearsal.NewShelf(recordsDir).Newest(database, "")
}

// test runs the tests that policies carry, and refuses a Set in which one fails.
// What cannot be judged yet is logged, and tested when the catalog has been loaded.
func (p *proxy) test(set *policy.Set) error {
	missing := map[string]bool{}
	_, skipped, failures := rehearsal.Tests(set, time.Now(), func(database string) *sql.Catalog {
		c, err := p.catalogs.of(database)
		if err != nil {
			p.log.Warn("kept catalog not readable", "database", database, "error", err)
		}
		if c == nil {
			missing[database] = true
		}
		return c
	})
	var failed []error
	for _, f := range failures {
		if f.Unsure {
			p.log.Warn("a policy's test can't be judged: it names what the last known catalog does not have",
				"test", f.Pos.String(), "database", f.Database)
			missing[f.Database] = true
			continue
		}
		failed = append(failed, f)
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if skipped > 0 {
		p.log.Warn("policies' tests can't be judged yet: no catalog of the database is known, they run when the first statement has loaded it",
			"tests", skipped)
	}
	p.catalogs.mu.Lock()
	p.catalogs.waiting = missing
	p.catalogs.mu.Unlock()
	return nil
}

// loaded keeps a catalog, and runs the tests that waited for it.
func (p *proxy) loaded(database, name string, c *sql.Catalog, at time.Time) {
	l := &p.catalogs
	l.mu.Lock()
	if l.known == nil {
		l.known = map[string]*sql.Catalog{}
	}
	l.known[database] = c
	waited := l.waiting[database]
	delete(l.waiting, database)
	l.mu.Unlock()
	p.working.Go(func() {
		if err := rehearsal.NewShelf(recordsDir).Put(database, name, c, at); err != nil {
			p.log.Warn("catalog not kept beside the recordings: policy suggest and test --replay will miss it", "database", database, "error", err)
		}
		rules := p.server.Rules()
		if !waited || rules == nil {
			return
		}
		_, _, failures := rehearsal.Tests(rules.Set, time.Now(), func(other string) *sql.Catalog {
			if other == database {
				return c
			}
			return nil
		})
		for _, f := range failures {
			p.log.Error("a policy in force fails a test of its own; a configuration that does is refused from now on", "problem", f.Error())
		}
	})
}
