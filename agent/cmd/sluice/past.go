package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/agent/rehearsal"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
)

// past says which recordings a command looks at.
type past struct {
	place
	catalog string
	since   time.Duration
	sel     rehearsal.Selection
}

func (p *past) choose(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.catalog, "catalog", "", "catalog file of `sluice policy catalog`, in place of those kept beside the recordings")
	cmd.Flags().StringVar(&p.sel.Database, "database", "", "only recordings of this Database")
	cmd.Flags().StringVar(&p.sel.Subject, "subject", "", "only recordings of this subject")
	cmd.Flags().DurationVar(&p.since, "since", 0, "only what was recorded in the last while, such as 168h")
	cmd.MarkFlagFilename("catalog", "json")
}

// read gathers the recordings.
func (p *past) read() (*rehearsal.Past, error) {
	if p.since > 0 {
		p.sel.Since = time.Now().Add(-p.since)
	}
	dir, err := p.recordings()
	if err != nil {
		return nil, err
	}
	var c *sql.Catalog
	if p.catalog != "" {
		if c, err = readCatalogFile(p.catalog); err != nil {
			return nil, err
		}
	}
	found, err := rehearsal.Read(dir, p.sel, c)
	if err != nil {
		return nil, err
	}
	if found.Unknown > 0 && len(found.Runs) == 0 {
		return nil, fmt.Errorf("%d statements were recorded, and no catalog of their database was kept: write one with `sluice policy catalog`, and name it with --catalog", found.Unknown)
	}
	return found, nil
}

// readCatalogFile reads what `policy catalog` wrote.
func readCatalogFile(path string) (*sql.Catalog, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := new(sql.Catalog)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s is no catalog: %w", path, err)
	}
	return c, nil
}

// loadSet loads a configuration for a command.
func loadSet(path string) (*policy.Set, error) {
	set, _, err := agent.LoadConfig(path)
	if err != nil {
		return nil, errors.New(agent.Explain(err))
	}
	return set, nil
}

// openAt is open with the catalog that is kept in a state directory, if one is named.
func (q *question) openAt(ctx context.Context, state string) (*policy.Set, *policy.Database, *sql.Catalog, error) {
	if state == "" {
		return q.open(ctx)
	}
	set, err := loadSet(q.config)
	if err != nil {
		return nil, nil, nil, err
	}
	db := set.Database(q.database)
	if all := set.Databases(); q.database == "" && len(all) == 1 {
		db = all[0]
	}
	if db == nil {
		return nil, nil, nil, usage{errors.New("--database must name one of the configuration's Databases")}
	}
	_, dir := agent.StateDirs(set, state)
	c, err := rehearsal.NewShelf(dir).Newest(db.Name, q.name)
	if err == nil && c == nil {
		err = fmt.Errorf("no catalog of database %s is kept in %s: nothing was recorded there yet", db.Name, dir)
	}
	return set, db, c, err
}
