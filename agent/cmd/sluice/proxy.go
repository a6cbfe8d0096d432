package main

import (
	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
)

// proxyCommand is how the agent starts its unprivileged half.
func proxyCommand() *cobra.Command {
	var o agent.ProxyOptions
	cmd := &cobra.Command{
		Use: "proxy", Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return agent.Proxy(o) },
	}
	cmd.Flags().StringVar(&o.Level, "level", "warn", "")
	cmd.Flags().StringVar(&o.Format, "format", "text", "")
	cmd.Flags().BoolVar(&o.Sealed, "sealed", false, "")
	return cmd
}
