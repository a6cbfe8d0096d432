package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/protocol"
)

func policyTest() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use: "test --config FILE", Short: "Run the tests that policies carry",
		Long: "Run the tests that policies carry, for one Database. Exit status 1 says that one failed.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, db, c, err := q.open(cmd.Context())
			if err != nil {
				return err
			}
			ran, failed := 0, 0
			for _, p := range set.Policies() {
				if !slices.Contains(p.Databases, db.Name) && !slices.Contains(p.Databases, "*") {
					continue
				}
				for _, t := range p.Tests {
					if t.Database != "" && t.Database != db.Name {
						continue
					}
					as := t.As
					if as == nil && len(p.Subjects) > 0 {
						as = p.Subjects[0].Example()
					}
					v, _ := set.View(as, db.Name, time.Now())
					ran++
					if got := worst(judge(&q, c, v, t.SQL)); got != t.Expect {
						failed++
						fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s expected, and it is %s: %s\n", t.Pos, t.Expect, got, printable(t.SQL))
					}
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d tests, %d failed\n", ran, failed)
			if failed > 0 {
				return exit(statusFailed)
			}
			return nil
		},
	}
	q.flags(cmd)
	return cmd
}

// worst is the strictest verdict about a text.
func worst(j *protocol.Judgement) protocol.Verdict {
	if j.Refusal != nil {
		return protocol.Deny
	}
	v := protocol.Allow
	for i := range j.Plans {
		v = min(v, j.Plans[i].Verdict)
	}
	return v
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
