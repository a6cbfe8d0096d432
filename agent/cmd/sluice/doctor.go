package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/redirect"
)

func doctorCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this kernel and host can do",
		Long:  "Tell what this kernel and host can do, one line each. Exit status 1 says that Sluice can't run here.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			words := map[redirect.Level]string{redirect.Good: "ok", redirect.Degraded: "degraded", redirect.Fatal: "missing"}
			if err := agent.EnterHost(); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err) // what follows tells what that leaves
			}
			all := redirect.Probe()
			bad := false
			var rows []map[string]string
			for _, f := range all {
				bad = bad || f.Level == redirect.Fatal
				rows = append(rows, map[string]string{"name": f.Name, "level": words[f.Level], "text": f.Text})
			}
			if output == "json" {
				if err := printJSON(cmd, rows); err != nil {
					return err
				}
			} else {
				width := 0
				for _, r := range rows {
					width = max(width, len(r["name"]))
				}
				for _, r := range rows {
					fmt.Fprintf(cmd.OutOrStdout(), "%-8s  %-*s  %s\n", r["level"], width, r["name"], r["text"])
				}
			}
			if bad {
				return exit(statusFailed)
			}
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
