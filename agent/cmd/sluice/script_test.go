package main

import (
	"fmt"
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
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(e *testscript.Env) error {
			// The proxy has an account of its own, and reads below here.
			return os.Chmod(e.WorkDir, 0o755)
		},
	})
}
