package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/rehearsal"
)

func policySuggest() *cobra.Command {
	var p past
	var config string
	cmd := &cobra.Command{
		Use:   "suggest --config FILE [--state DIR]",
		Short: "Make a policy from recordings: what ran, and nothing more",
		Long: `Make a policy from recordings: it allows what ran, and nothing more. It goes to
standard output as YAML with a comment for each rule.

The configuration says what is sensitive; its policies do not matter. Sensitive
columns stay masked, unless the recording shows that they were in clear. What was
refused when it was recorded stays so. UPDATE and DELETE without a WHERE clause,
TRUNCATE, maintenance and DDL become rules with effect approve, for you to decide.
What no rule can allow is listed in comments.`,
		Example: `  sluice policy suggest --config shop.yaml --since 168h > suggested.yaml
  sluice policy test --config enforcing.yaml --replay /var/lib/sluice`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p.place.config = config
			found, err := p.read()
			if err != nil {
				return err
			}
			set, err := loadSet(config)
			if err != nil {
				return err
			}
			d, err := rehearsal.Suggest(set.Databases(), found.Runs)
			if err != nil {
				return err
			}
			if d.Policies == 0 {
				return errors.New("nothing was recorded that a policy could be made of")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "# Made of %d recorded sessions: %d statements that ran are allowed below or held for\n# a human, %d have to be decided about. Read it before you use it.\n%s",
				found.Sessions, d.Learned, d.Undecided, d.YAML)
			w := cmd.ErrOrStderr()
			fmt.Fprintf(w, "%d policies of %d sessions; %d statements covered, %d to be decided (see the comments), %d refused then and now, %d that failed in the server\n",
				d.Policies, found.Sessions, d.Learned, d.Undecided, d.Refused, d.Failed)
			if found.Unknown > 0 {
				fmt.Fprintf(w, "%d statements left out: no catalog of their database was kept\n", found.Unknown)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "file or directory of resources (required)")
	cmd.Flags().StringVar(&p.state, "state", "", "state directory (default: as --config says)")
	p.choose(cmd)
	cmd.MarkFlagRequired("config")
	cmd.MarkFlagFilename("config")
	cmd.MarkFlagDirname("state")
	return cmd
}
