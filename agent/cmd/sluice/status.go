package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/agent/record"
)

func statusCommand() *cobra.Command {
	var p place
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether the agent works, and for whom",
		Long: `Show whether the agent works, and for whom. Exit status 1 says that it is not ready.

With --state the state directory is read in place of asking a daemon.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.state != "" {
				return recorded(cmd, &p, output)
			}
			var s agent.Status
			if err := p.admin(cmd.Context(), "/v1/status", &s); err != nil {
				return err
			}
			if output == "json" {
				if err := printJSON(cmd, &s); err != nil {
					return err
				}
			} else {
				printStatus(cmd, &s)
			}
			if !s.Ready {
				return exit(statusFailed)
			}
			return nil
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&p.socket, "socket", "", "admin socket of the daemon (default /run/sluice/admin.sock)")
	outputFlag(cmd, &output)
	return cmd
}

// recorded is what a state directory tells without a daemon.
func recorded(cmd *cobra.Command, p *place, output string) error {
	dir, err := p.recordings()
	if err != nil {
		return err
	}
	open, err := record.Sessions(dir, record.Filter{Open: true})
	if err != nil {
		return err
	}
	if open == nil {
		open = []record.Session{}
	}
	if output == "json" {
		return printJSON(cmd, map[string]any{"records": dir, "sessions": open})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "recordings  %s\nsessions    %d open\n", dir, len(open))
	return nil
}

func printStatus(cmd *cobra.Command, s *agent.Status) {
	w := cmd.OutOrStdout()
	state := "ready"
	if !s.Ready {
		state = "NOT READY"
	}
	if f := s.Facts; f != nil {
		fmt.Fprintf(w, "agent       %s, version %s, up %s, proxy restarted %d times\n", state, f.Version,
			time.Since(f.Started).Round(time.Second), f.Restarts)
		fmt.Fprintf(w, "policy      in force since %s, %d reloads, %d refused\n", f.Loaded.Format(time.RFC3339), f.Reloads, f.Failures)
		if f.Refused != "" {
			fmt.Fprintf(w, "            the last one was REFUSED: %s\n", strings.ReplaceAll(f.Refused, "\n", "\n            "))
		}
	} else {
		fmt.Fprintf(w, "agent       %s\n", state)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "problem     %s\n", p)
	}
	if s.Facts != nil {
		for _, p := range s.Facts.Warnings {
			fmt.Fprintf(w, "warning     %s\n", p)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Misfits)) {
		for _, text := range s.Misfits[name] {
			fmt.Fprintf(w, "misfit      database %s: %s\n", name, text)
		}
	}
	for _, o := range s.Observe {
		fmt.Fprintf(w, "OBSERVE     %s does not enforce: nothing is refused or masked\n", o)
	}
	fmt.Fprintf(w, "sessions    %d\n", len(s.Sessions))
	if s.Facts != nil && (s.Facts.Runtime != "" || len(s.Facts.Pods) > 0) {
		printPods(w, s)
	}
	if s.Facts == nil || len(s.Facts.Workloads) == 0 {
		return
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, x := range s.Facts.Workloads {
		note := x.Problem
		if len(x.Risks) > 0 {
			note = strings.Join(x.Risks, "; ")
		}
		enrolled := "no"
		if x.Enrolled {
			enrolled = "yes"
		}
		rows = append(rows, []string{x.Name, enrolled, strconv.FormatUint(x.Refused, 10), x.Cgroup, note})
	}
	table(w, "WORKLOAD ENROLLED REFUSED CGROUP NOTE", rows)
}

// printPods lists the pods of a node that are, or should be, enrolled.
func printPods(w io.Writer, s *agent.Status) {
	type key struct{ namespace, pod string }
	sessions := map[key]int{}
	for _, x := range s.Sessions {
		sessions[key{x.Namespace, x.Pod}]++
	}
	var rows [][]string
	exempt := 0
	for _, p := range s.Facts.Pods {
		if p.Decision == "exempt" {
			exempt++
			continue
		}
		enforced, note := "yes", p.Because
		switch {
		case p.Problem != "":
			enforced, note = "NO", p.Problem
		case p.Decision != "enrolled":
			enforced, note = "refused", "not decided: "+p.Because
		case p.Unenforced != "":
			enforced, note = "NO", p.Unenforced
		}
		listener := "no"
		if p.Listener {
			listener = "yes"
		}
		rows = append(rows, []string{p.Namespace + "/" + p.Name, p.Decision, enforced, listener, strconv.Itoa(sessions[key{p.Namespace, p.Name}]),
			strconv.FormatUint(p.Refused, 10), note})
	}
	fmt.Fprintf(w, "runtime     NRI: %s\npods        %d enrolled or undecided, %d not to be enrolled\n", s.Facts.Runtime, len(rows), exempt)
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, "POD DECISION ENFORCED LISTENER SESSIONS REFUSED NOTE", rows)
	}
}
