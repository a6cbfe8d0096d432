package main

import (
	"errors"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/record"
)

func sessionsCommand() *cobra.Command {
	var p place
	var f record.Filter
	var since time.Duration
	var output string
	cmd := &cobra.Command{
		Use: "sessions", Short: "List recorded sessions", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since > 0 {
				f.After = time.Now().Add(-since)
			}
			dir, err := p.recordings()
			if err != nil {
				return err
			}
			all, err := record.Sessions(dir, f)
			if errors.Is(err, fs.ErrPermission) && p.state == "" {
				err = p.admin(cmd.Context(), "/v1/sessions", &all)
			}
			if err != nil {
				return err
			}
			if output == "json" {
				if all == nil {
					all = []record.Session{}
				}
				return printJSON(cmd, all)
			}
			rows := make([][]string, 0, len(all))
			for _, s := range all {
				subject, database := "-", "-"
				if s.Start != nil {
					subject, database = printable(s.Start.Subject), printable(s.Start.Database)
				}
				rows = append(rows, []string{s.ID.String(), s.Begin.Local().Format(time.DateTime), subject, database, s.State,
					strconv.FormatUint(s.Statements, 10), strconv.FormatUint(s.Refused, 10), strconv.FormatInt(s.Rows, 10)})
			}
			table(cmd.OutOrStdout(), "SESSION BEGIN SUBJECT DATABASE STATE STATEMENTS REFUSED ROWS", rows)
			return nil
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&f.Subject, "subject", "", "only those of this subject")
	cmd.Flags().StringVar(&f.Database, "database", "", "only those in this database")
	cmd.Flags().BoolVar(&f.Open, "open", false, "only those that go on")
	cmd.Flags().BoolVar(&f.Refused, "refused", false, "only those in which something was refused")
	cmd.Flags().DurationVar(&since, "since", 0, "only those of the last while, such as 2h")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "only the last so many")
	outputFlag(cmd, &output)
	return cmd
}
