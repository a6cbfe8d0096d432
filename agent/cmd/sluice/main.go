// Command sluice stands between workloads and their databases; see README.md.
//
// It reads flags and calls the packages below it. Exit status 0 is success, 1 a
// denial or a finding, 2 wrong usage; `sluice exec` exits with its command's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

// Exit statuses.
const (
	statusFailed = 1
	statusUsage  = 2
)

// exit is an error that only carries an exit status: all has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is main with an exit status, which tests need.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	var wrong usage
	// cobra has no type for a flag that is missing.
	if errors.As(err, &wrong) || strings.HasPrefix(err.Error(), "required flag(s) ") {
		return statusUsage
	}
	return statusFailed
}

// usage is a mistake in how a command was called.
type usage struct{ error }

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sluice",
		Short: "Sluice stands between workloads and their databases",
		Long: `Sluice stands between workloads and their databases: what an enrolled workload
sends to a database is redirected in the kernel, judged by policy, masked and
recorded, or it does not pass.`,
		SilenceErrors: true, SilenceUsage: true,
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "policy", Title: "Decide:"})
	group := func(id string, all ...*cobra.Command) {
		for _, c := range all {
			c.GroupID = id
			cmd.AddCommand(c)
		}
	}
	group("run", execCommand(), agentCommand(), doctorCommand(), kubeCommand())
	group("look", statusCommand(), sessionsCommand(), replayCommand(), tailCommand(), verifyCommand())
	group("policy", policyCommand(), databaseCommand(), caCommand())
	cmd.AddCommand(versionCommand(), proxyCommand())
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage{fmt.Errorf("%s: unknown argument %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}

// exactly wants n arguments that are called what.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage{fmt.Errorf("%s wants %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}
