package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/rehearsal"
)

// replayPolicy is `sluice policy test --replay`.
func replayPolicy(cmd *cobra.Command, config, state, output string, p *past) error {
	set, err := loadSet(config)
	if err != nil {
		return err
	}
	p.state = state
	found, err := p.read()
	if err != nil {
		return err
	}
	changes, unjudged := rehearsal.Replay(set, found.Runs)
	denied, statements := 0, 0
	for i := range changes {
		if changes[i].Denies {
			denied++
		}
	}
	for _, r := range found.Runs {
		statements += r.Count
	}
	if output == "json" {
		if changes == nil {
			changes = []rehearsal.Change{}
		}
		if err := printJSON(cmd, changes); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, c := range changes {
			rule := orDash(c.Rule)
			if c.Why != "" && c.Denies {
				rule += ": " + printable(c.Why)
			}
			note := ""
			if c.Denies {
				note = "NEWLY DENIED"
			}
			rows = append(rows, []string{orDash(note), c.Was, c.Would, fmt.Sprint(c.Count), printable(c.Subject), printable(c.Text), rule})
		}
		if len(rows) > 0 {
			table(cmd.OutOrStdout(), "NOTE WAS WOULD-BE TIMES SUBJECT STATEMENT RULE", rows)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d recorded statements in %d sessions: %d texts would be treated in another way, %d of them newly denied\n",
			statements, found.Sessions, len(changes), denied)
	}
	if n := unjudged + found.Unknown; n > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d statements can't be judged: recorded in part, or of a database that is not known\n", n)
	}
	if denied > 0 {
		return exit(statusFailed)
	}
	return nil
}
