package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/rehearsal"
	"sluicegate.io/sluice/policy/sql"
)

func policyTest() *cobra.Command {
	var q question
	var p past
	var replay, state, output string
	cmd := &cobra.Command{
		Use: "test --config FILE [--replay STATE]", Short: "Run the tests that policies carry, or recordings, against policies",
		Long: `Run the tests that policies carry, for one Database. Exit status 1 says that one failed.

With --replay the statements recorded in a state directory are judged by the
configuration, and what it would treat in another way is told. Exit status 1 says
that something which ran would be refused, or held for a human.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if replay != "" {
				p.catalog, p.sel.Database = q.catalog, q.database
				return replayPolicy(cmd, q.config, replay, output, &p)
			}
			set, db, c, err := q.openAt(cmd.Context(), state)
			if err != nil {
				return err
			}
			ran, _, failures := rehearsal.Tests(set, time.Now(), func(name string) *sql.Catalog {
				if name == db.Name {
					return c
				}
				return nil
			})
			for _, f := range failures {
				fmt.Fprintln(cmd.ErrOrStderr(), printable(f.Error()))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d tests, %d failed\n", ran, len(failures))
			if len(failures) > 0 {
				return exit(statusFailed)
			}
			return nil
		},
	}
	q.flags(cmd)
	cmd.Flags().StringVar(&replay, "replay", "", "state directory whose recordings are judged in place of the tests")
	cmd.Flags().StringVar(&state, "state", "", "state directory whose kept catalog is used, in place of connecting to the database")
	cmd.Flags().StringVar(&p.sel.Subject, "subject", "", "with --replay: only recordings of this subject")
	cmd.Flags().DurationVar(&p.since, "since", 0, "with --replay: only what was recorded in the last while, such as 24h")
	cmd.MarkFlagDirname("replay")
	cmd.MarkFlagDirname("state")
	outputFlag(cmd, &output)
	return cmd
}

func policyCatalog() *cobra.Command {
	var q question
	var to string
	cmd := &cobra.Command{
		Use: "catalog --config FILE", Short: "Write a database's catalog, for explain and test without it",
		Long: "Write a database's catalog as JSON: names and definitions of objects, and no data.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.catalog != "" {
				return usage{errors.New("--catalog is for the other commands")}
			}
			_, _, c, err := q.open(cmd.Context())
			if err != nil {
				return err
			}
			data, err := c.MarshalJSON()
			if err != nil {
				return err
			}
			if to == "" {
				_, err = cmd.OutOrStdout().Write(append(data, '\n'))
				return err
			}
			return os.WriteFile(to, append(data, '\n'), 0o644)
		},
	}
	q.flags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "file to write (default: standard output)")
	cmd.MarkFlagFilename("to", "json")
	return cmd
}
