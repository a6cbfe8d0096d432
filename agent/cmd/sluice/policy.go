package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Check, explain, test, compare and make policies", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(policyCheck(), policyExplain(), policyTest(), policyDiff(), policySuggest(), policyCatalog())
	return cmd
}

func policyCheck() *cobra.Command {
	var catalog, database string
	cmd := &cobra.Command{
		Use: "check FILE|DIR...", Short: "Check that files of resources are valid together",
		Long: `Check that files of resources are valid together. What is wrong goes to standard
error as file:line:column: message, and the exit status is 1.

With a catalog (see "sluice policy catalog") masks that cannot apply to the type of a
column, and patterns that match nothing, are mistakes too.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage{errors.New("sluice policy check wants at least one file or directory")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []policy.File
			for _, a := range args {
				some, err := agent.ReadConfig(a)
				if err != nil {
					return err
				}
				files = append(files, some...)
			}
			set, err := policy.Load(files)
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), agent.Explain(err))
				return exit(statusFailed)
			}
			if catalog == "" {
				return nil
			}
			return checkCatalog(cmd, set, catalog, database)
		},
	}
	cmd.Flags().StringVar(&catalog, "catalog", "", "catalog file of `sluice policy catalog` to compare with")
	cmd.Flags().StringVar(&database, "database", "", "Database that the catalog is of (default: the only one)")
	cmd.MarkFlagFilename("catalog", "json")
	return cmd
}

// checkCatalog tells what a catalog shows to be wrong.
func checkCatalog(cmd *cobra.Command, set *policy.Set, file, database string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c := new(sql.Catalog)
	if err := json.Unmarshal(data, c); err != nil {
		return fmt.Errorf("%s is no catalog: %w", file, err)
	}
	if all := set.Databases(); database == "" && len(all) == 1 {
		database = all[0].Name
	}
	if set.Database(database) == nil {
		return usage{errors.New("--database must name one of the Databases")}
	}
	found := sql.Check(c, set, database)
	for _, p := range found {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	if len(found) > 0 {
		return exit(statusFailed)
	}
	return nil
}
