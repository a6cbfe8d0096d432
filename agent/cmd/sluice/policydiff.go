package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/rehearsal"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
)

func policyDiff() *cobra.Command {
	var output, catalog, state string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell in plain sentences what changes between two sets of policies",
		Long: `Tell in plain sentences what changes between two sets of policies, what widens
rights first. OLD and NEW are files or directories of resources. Exit status 0 says
that nothing changes, 1 that something does, and more that there was trouble.

Rules are compared as they are written. With a catalog, from --catalog or kept in the
state directory, what they say about reading and writing tables is compared column by
column in place of that.`,
		Example: `  sluice policy diff /etc/sluice next/ --state /var/lib/sluice`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage{fmt.Errorf("sluice policy diff wants two files or directories")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := diff(args[0], args[1], catalog, state)
			if err != nil {
				return usage{err} // diff's own word for trouble is more than 1
			}
			if output == "json" {
				if changes == nil {
					changes = []policy.Change{}
				}
				if err := printJSON(cmd, changes); err != nil {
					return usage{err}
				}
			} else {
				for _, c := range changes {
					sign := "~"
					if c.Widens {
						sign = "+"
					} else if c.Narrows {
						sign = "-"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", sign, printable(c.Text))
				}
			}
			if len(changes) > 0 {
				return exit(statusFailed)
			}
			return nil
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&catalog, "catalog", "", "catalog file of `sluice policy catalog`: expand patterns to its columns")
	cmd.Flags().StringVar(&state, "state", "", "state directory: expand patterns by the catalogs kept beside the recordings")
	cmd.MarkFlagFilename("catalog", "json")
	cmd.MarkFlagDirname("state")
	return cmd
}

func diff(before, after, file, state string) ([]policy.Change, error) {
	old, err := loadSet(before)
	if err != nil {
		return nil, err
	}
	next, err := loadSet(after)
	if err != nil {
		return nil, err
	}
	catalog := func(string) (*sql.Catalog, error) { return nil, nil }
	switch {
	case file != "":
		c, err := readCatalogFile(file)
		if err != nil {
			return nil, err
		}
		catalog = func(string) (*sql.Catalog, error) { return c, nil }
	case state != "":
		p := place{state: state}
		dir, err := p.recordings()
		if err != nil {
			return nil, err
		}
		shelf := rehearsal.NewShelf(dir)
		catalog = func(database string) (*sql.Catalog, error) { return shelf.Newest(database, "") }
	}
	known := map[string][]policy.Table{}
	for _, db := range next.Databases() {
		c, err := catalog(db.Name)
		if err != nil {
			return nil, err
		}
		if c != nil {
			known[db.Name] = tables(c)
		}
	}
	return policy.DiffTables(old, next, known), nil
}

// tables are what workloads can name in a catalog.
func tables(c *sql.Catalog) []policy.Table {
	var all []policy.Table
	for i := range c.Relations {
		r := &c.Relations[i]
		if r.System() || !r.Readable() || r.Kind == sql.Toast {
			continue
		}
		t := policy.Table{Schema: r.Schema, Name: r.Name}
		for k := range r.Columns {
			if !r.Columns[k].Dropped {
				t.Columns = append(t.Columns, r.Columns[k].Name)
			}
		}
		all = append(all, t)
	}
	return all
}
