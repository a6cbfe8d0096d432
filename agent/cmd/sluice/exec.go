package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
)

// defaultRun is where a daemon's sockets are, if its configuration says nothing.
const defaultRun = "/run/sluice"

func execCommand() *cobra.Command {
	var o agent.ExecOptions
	var run, level string
	cmd := &cobra.Command{
		Use:   "exec [--config FILE|DIR] [--state DIR] [--user USER] -- COMMAND [ARG...]",
		Short: "Run a command as an enrolled workload",
		Long: `Run a command, and all that it starts, as an enrolled workload.

With --config, root runs an agent of its own around the command; it ends, with
whatever the command left running, when the command does. Without, the daemon of
this host enrolls the command, which any user may ask for: to be enrolled only
ever restricts.

A command that runs as root can get around what holds others. That is said in one
line on standard error, and refused with --strict; --user runs it as somebody else.

The exit status is the command's. 125 says that Sluice failed, 126 that the
command can't be executed, 127 that there is none.`,
		Example: `  sluice exec --config shop.yaml -- psql -h db.internal shop
  sluice exec -- python agent.py`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage{errors.New("sluice exec wants a command after --")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Argv = args
			if o.Config != "" && os.Geteuid() == 0 {
				o.Log = logger(cmd, level, "text")
				o.Version, _ = build()
				o.Warn = func(why string) { fmt.Fprintln(cmd.ErrOrStderr(), "sluice exec:", why) }
				status, err := agent.Exec(cmd.Context(), o)
				return ended(cmd, status, err)
			}
			if o.Config != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "sluice: not root, so the daemon of this host and its configuration are used")
			}
			if o.User != "" {
				return usage{errors.New("--user takes --config and root: a daemon enrolls a command as who asks")}
			}
			status, err := become(cmd, run, o.Strict, args)
			return ended(cmd, status, err)
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&o.Config, "config", "", "file or directory of resources")
	cmd.Flags().StringVar(&o.State, "state", "", "state directory (default: as kind Agent says, /var/lib/sluice)")
	cmd.Flags().StringVar(&o.User, "user", "", "run the command as this account")
	cmd.Flags().BoolVar(&o.Strict, "strict", false, "refuse a command whose privileges get around Sluice, such as root's")
	cmd.Flags().StringVar(&run, "run", defaultRun, "run directory of the daemon")
	cmd.Flags().StringVar(&level, "log-level", "warn", "what Sluice itself says on standard error: debug, info, warn or error")
	cmd.MarkFlagFilename("config")
	cmd.MarkFlagDirname("state")
	return cmd
}

// ended makes an exit status of how a command ended.
func ended(cmd *cobra.Command, status int, err error) error {
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "sluice exec:", agent.Explain(err))
	}
	if status != 0 {
		return exit(status)
	}
	if err != nil {
		return exit(agent.StatusAgent)
	}
	return nil
}

// become has the daemon enroll this process, and makes it the command.
func become(cmd *cobra.Command, run string, strict bool, args []string) (int, error) {
	path, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		if errors.Is(err, os.ErrPermission) {
			return agent.StatusNotRunable, err
		}
		return agent.StatusNotFound, err
	}
	why, err := agent.Join(run)
	if err != nil {
		if errors.Is(err, agent.ErrNoDaemon) {
			err = errors.New("no agent runs on this host; start `sluice agent`, or give --config as root")
		}
		return agent.StatusAgent, err
	}
	if why != "" && strict {
		return agent.StatusAgent, errors.New(why)
	} else if why != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "sluice exec:", why)
	}
	return agent.StatusNotRunable, syscall.Exec(path, args, os.Environ())
}
