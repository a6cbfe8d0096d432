package main

import (
	"errors"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
)

func agentCommand() *cobra.Command {
	var o agent.Options
	var uninstall bool
	cmd := &cobra.Command{
		Use:   "agent --config FILE|DIR [--state DIR]",
		Short: "Run the daemon of this host",
		Long: `Run the daemon of this host: it enrolls what kind Workload names, serves
` + "`sluice exec`" + ` for every user, reloads its configuration when that changes, and offers
/metrics, /healthz, /readyz and the admin socket as kind Agent says.

When it stops, the kernel goes on refusing the connections of what is enrolled,
until it runs again or --uninstall takes everything away.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := agent.EnterHost(); err != nil {
				return err
			}
			set, _, err := agent.LoadConfig(o.Config)
			if err != nil {
				return errors.New(agent.Explain(err))
			}
			log := set.Agent().Log
			o.Log = logger(cmd, log.Level, log.Format)
			o.Version, _ = build()
			if uninstall {
				return agent.Uninstall(o)
			}
			return agent.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.Config, "config", "", "file or directory of resources (required)")
	cmd.Flags().StringVar(&o.State, "state", "", "state directory (default: as kind Agent says, /var/lib/sluice)")
	cmd.Flags().StringVar(&o.Started, "started", "", "file to lock while this agent serves or stands by; sluice kube started asks for it")
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "remove what a daemon left in the kernel, and end")
	cmd.MarkFlagRequired("config")
	cmd.MarkFlagFilename("config")
	cmd.MarkFlagFilename("started")
	cmd.MarkFlagDirname("state")
	return cmd
}
