package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/record"
)

func verifyCommand() *cobra.Command {
	var p place
	var output string
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no recording was changed, removed or cut off",
		Long: "Check that no recording was changed, removed or cut off. Exit status 1 says that one was.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := p.recordings()
			if err != nil {
				return err
			}
			r, err := record.Verify(dir, nil)
			if err != nil {
				return err
			}
			if output == "json" {
				if err := printJSON(cmd, r); err != nil {
					return err
				}
			} else {
				w := cmd.OutOrStdout()
				for _, f := range r.Findings {
					word := "note"
					if f.Grave {
						word = "DAMAGE"
					}
					fmt.Fprintf(w, "%s: lane %d, segment %d, offset %d: %s\n", word, f.Lane, f.Segment, f.Offset, f.Problem)
				}
				word := "whole"
				if !r.OK() {
					word = "DAMAGED"
				}
				fmt.Fprintf(w, "%s: %d sessions, %d events, %d segments\n", word, r.Sessions, r.Events, r.Segments)
			}
			if !r.OK() {
				return exit(statusFailed)
			}
			return nil
		},
	}
	p.flags(cmd)
	outputFlag(cmd, &output)
	return cmd
}
