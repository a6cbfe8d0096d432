package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/agent/ca"
)

func caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ca", Short: "The certificate authority that workloads may trust", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(caShow(), caExport(), caRotate())
	return cmd
}

// authority opens the one of a state directory, which must be there.
func authority(p *place) (*ca.Authority, error) {
	state, _, err := p.dirs()
	if err != nil {
		return nil, err
	}
	dir := agent.PrivateDir(state)
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err != nil {
		return nil, fmt.Errorf("no certificate authority in %s: an agent makes it when it first runs", state)
	}
	return ca.Open(dir, ca.Options{})
}

func caShow() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use: "show", Short: "Show the current certificate", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := authority(&p)
			if err != nil {
				return err
			}
			c := a.Certificate()
			fmt.Fprintf(cmd.OutOrStdout(), "subject  %s\nserial   %x\nexpires  %s\n", c.Subject, c.SerialNumber, c.NotAfter.Format(time.DateOnly))
			return nil
		},
	}
	p.flags(cmd)
	return cmd
}

func caExport() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use: "export", Short: "Write the certificates to trust, in PEM, to standard output", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := authority(&p)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(a.Bundle())
			return err
		},
	}
	p.flags(cmd)
	return cmd
}

func caRotate() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use: "rotate", Short: "Make a new key; export what to trust again",
		Long: `Make a new key. Certificates of earlier keys stay in what export writes until they
expire. A running agent uses the new key after its next start.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := authority(&p)
			if err != nil {
				return err
			}
			if err := a.Rotate(); err != nil {
				return err
			}
			state, _, err := p.dirs()
			if err != nil {
				return err
			}
			return agent.GivePrivate(state)
		},
	}
	p.flags(cmd)
	return cmd
}
