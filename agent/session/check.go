package session

import (
	"slices"
	"sync"
	"time"

	"sluicegate.io/sluice/policy/sql"
)

// checks holds what the catalogs in use show to be wrong with the configuration.
type checks struct {
	mu    sync.Mutex
	found map[string][]string // by Database
}

// loaded is called with each catalog that was read.
func (s *Server) loaded(database, name string, c *sql.Catalog, at time.Time) {
	s.check(database, c)
	if s.o.Loaded != nil {
		s.o.Loaded(database, name, c, at)
	}
}

// check compares the rules in force with a catalog, and logs what is new. Nothing is
// refused for it: a column whose mask cannot apply reads as NULL.
func (s *Server) check(database string, c *sql.Catalog) {
	r := s.rules.Load()
	if r == nil || c == nil {
		return
	}
	var now []string
	for _, p := range sql.Check(c, r.Set, database) {
		now = append(now, p.String())
	}
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	for _, text := range now {
		if !slices.Contains(s.checks.found[database], text) {
			s.o.Log.Warn("the configuration does not fit the database", "database", database, "problem", text)
		}
	}
	if s.checks.found == nil {
		s.checks.found = make(map[string][]string)
	}
	s.checks.found[database] = now
}

// Problems tells what is wrong with the configuration, as the catalogs in use show
// it, by Database.
func (s *Server) Problems() map[string][]string {
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	all := make(map[string][]string)
	for database, p := range s.checks.found {
		if len(p) > 0 {
			all[database] = slices.Clone(p)
		}
	}
	return all
}
