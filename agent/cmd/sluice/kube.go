package main

import (
	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
)

// kubeCommand is what the Helm chart runs: the image has no shell.
func kubeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "kube", Short: "Commands of the Helm chart", Hidden: true}
	var namespace string
	await := &cobra.Command{
		Use: "await DAEMONSET", Short: "Wait until every pod of a DaemonSet is ready", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return agent.AwaitDaemonSet(cmd.Context(), namespace, args[0])
		},
	}
	await.Flags().StringVar(&namespace, "namespace", "default", "of the DaemonSet")
	cmd.AddCommand(await, &cobra.Command{
		Use: "idle", Short: "Do nothing until told to end", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { <-cmd.Context().Done(); return nil },
	})
	return cmd
}
