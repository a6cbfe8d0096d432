package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/policy"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Check, explain, test, compare and make policies", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(policyCheck(), policyExplain(), policyTest(), policyDiff(), policySuggest(), policyCatalog())
	return cmd
}

func policyCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE|DIR...", Short: "Check that files of resources are valid together",
		Long: `Check that files of resources are valid together. What is wrong goes to standard
error as file:line:column: message, and the exit status is 1.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage{errors.New("sluice policy check wants at least one file or directory")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []policy.File
			for _, a := range args {
				some, err := agent.ReadConfig(a)
				if err != nil {
					return err
				}
				files = append(files, some...)
			}
			if _, err := policy.Load(files); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), agent.Explain(err))
				return exit(statusFailed)
			}
			return nil
		},
	}
}
