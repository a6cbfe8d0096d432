package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent/record"
)

func replayCommand() *cobra.Command {
	var p place
	var output string
	var speed float64
	var longest time.Duration
	cmd := &cobra.Command{
		Use: "replay SESSION", Short: "Show what happened in a session",
		Long: `Show what happened in a session, at the pace at which it happened. SESSION is the
beginning or the end of an id that ` + "`sluice sessions`" + ` shows.`,
		Args: exactly(1, "the id of a session"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := p.recordings()
			if err != nil {
				return err
			}
			s, err := record.Find(dir, args[0])
			if err != nil {
				return err
			}
			out := printer(cmd.OutOrStdout(), output)
			for e, err := range record.Replay(cmd.Context(), dir, s.ID, speed, longest) {
				if err != nil {
					return err
				}
				if err := out(e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	p.flags(cmd)
	cmd.Flags().Float64Var(&speed, "speed", 1, "times the original pace; 0 does not wait")
	cmd.Flags().DurationVar(&longest, "longest", 2*time.Second, "no pause is longer; 0: as it was")
	outputFlag(cmd, &output)
	return cmd
}

func tailCommand() *cobra.Command {
	var p place
	var output string
	cmd := &cobra.Command{
		Use: "tail [SESSION]", Short: "Follow what happens",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := p.recordings()
			if err != nil {
				return err
			}
			var id record.ID
			if len(args) == 1 {
				s, err := record.Find(dir, args[0])
				if err != nil {
					return err
				}
				id = s.ID
			}
			out := printer(cmd.OutOrStdout(), output)
			for e, err := range record.Tail(cmd.Context(), dir, id) {
				if cmd.Context().Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if err := out(e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	p.flags(cmd)
	outputFlag(cmd, &output)
	return cmd
}

// printer returns what shows one event.
func printer(w io.Writer, output string) func(*record.Event) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		return func(e *record.Event) error { return enc.Encode(e) }
	}
	return func(e *record.Event) error {
		_, err := fmt.Fprint(w, line(e))
		return err
	}
}

// line shows an event to a person. Whatever workloads wrote is made harmless.
func line(e *record.Event) string {
	at := e.Time.Local().Format("15:04:05.000")
	switch {
	case e.Start != nil:
		s := e.Start
		text := fmt.Sprintf("%s session %s: %s in database %s, which it dialled as %s\n", at, e.Session, printable(s.Subject), s.Database, s.Origin)
		if exe := s.Identity["exe"]; exe != "" {
			text += fmt.Sprintf("             process %s: %s\n", s.Identity["pid"], printable(exe))
		}
		if s.Observe {
			text += "             OBSERVE: nothing is refused or masked\n"
		}
		return text
	case e.Statement != nil:
		s := e.Statement
		text := fmt.Sprintf("%s > %s\n", at, printable(s.Text))
		for _, d := range s.Decisions {
			observed := ""
			if d.Observed {
				observed = " (would have been refused)"
			}
			text += fmt.Sprintf("             %s by %s%s\n", d.Verdict, orDash(d.Rule), observed)
		}
		return text
	case e.Refusal != nil:
		r := e.Refusal
		text := ""
		if r.Text != "" {
			text = fmt.Sprintf("%s > %s\n", at, printable(r.Text))
		}
		text += fmt.Sprintf("%s   refused %s: %s\n", at, r.Code, printable(r.Message))
		if r.Detail != "" {
			text += "             " + printable(r.Detail) + "\n"
		}
		return text
	case e.Columns != nil:
		names := make([]string, len(e.Columns.Columns))
		for i, c := range e.Columns.Columns {
			if names[i] = printable(c.Name); c.Tag != "" {
				names[i] += "*"
			}
		}
		return "             | " + strings.Join(names, " | ") + "\n"
	case e.Rows != nil:
		var b strings.Builder
		for _, row := range e.Rows.Values() {
			values := make([]string, len(row))
			for i, v := range row {
				if values[i] = printable(string(v)); v == nil {
					values[i] = "NULL"
				}
			}
			b.WriteString("             | " + strings.Join(values, " | ") + "\n")
		}
		if e.Rows.Cut {
			b.WriteString("             | ... more rows, not recorded\n")
		}
		return b.String()
	case e.Outcome != nil:
		o := e.Outcome
		what := o.Tag
		if o.Code != "" {
			what = "error " + o.Code
		}
		if what == "" {
			what = "not finished"
		}
		masked := ""
		if o.MaskedValues > 0 {
			masked = fmt.Sprintf(", %d values masked", o.MaskedValues)
		}
		return fmt.Sprintf("%s < %s: %d rows, %d bytes, %s%s\n", at, printable(what), o.Rows, o.Bytes,
			time.Duration(o.Micros)*time.Microsecond, masked)
	case e.Notice != nil:
		return fmt.Sprintf("%s   %s: %s\n", at, e.Notice.Type, printable(e.Notice.Text))
	case e.End != nil:
		detail := ""
		if e.End.Detail != "" {
			detail = ": " + printable(e.End.Detail)
		}
		return fmt.Sprintf("%s session %s ends (%s%s)\n", at, e.Session, e.End.Reason, detail)
	}
	return ""
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
