package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// The agent starts its other half as this executable.
	if len(os.Args) > 1 && os.Args[1] == "proxy" {
		os.Exit(run())
	}
	testscript.Main(m, map[string]func(){"sluice": func() { os.Exit(run()) }})
}

// TestScript runs the CLI as its user sees it.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
