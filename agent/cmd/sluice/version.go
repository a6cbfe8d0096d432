package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and commit are set by the linker, see Makefile.
var version, commit string

// build returns what this binary was made of, by Go's own notes if the linker was
// told nothing.
func build() (v, c string) {
	v, c = version, commit
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, c
	}
	if v == "" {
		v = info.Main.Version
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && c == "" && len(s.Value) >= 12:
			c = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" && c != "" {
		c += dirty
	}
	return v, c
}

func versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Tell version and commit", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, c := build()
			if v == "" {
				v = "unknown"
			}
			if c == "" {
				c = "unknown"
			}
			if output == "json" {
				return printJSON(cmd, map[string]string{"version": v, "commit": c, "go": runtime.Version()})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "sluice %s (commit %s, %s)\n", v, c, runtime.Version())
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
