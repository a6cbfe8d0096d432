package main

import (
	"errors"

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
	started := &cobra.Command{
		Use: "started FILE", Short: "Succeed if the agent that was given --started FILE serves or stands by", Args: exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !agent.Started(args[0]) {
				return errors.New("the agent of this pod neither serves nor stands by yet: its log says what it waits for")
			}
			return nil
		},
	}
	cmd.AddCommand(await, started, &cobra.Command{
		Use: "idle", Short: "Do nothing until told to end", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { <-cmd.Context().Done(); return nil },
	})
	return cmd
}
