// Command crdgen writes the CustomResourceDefinitions that package cluster defines into a
// directory, a file for each kind. `make generate` runs it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
	"sluicegate.io/sluice/agent/enroll/cluster"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: crdgen DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for _, k := range append(cluster.Kinds(), cluster.NodeReport()) {
		data, err := yaml.Marshal(k.Definition())
		if err != nil {
			return fmt.Errorf("kind %s: %w", k.Name, err)
		}
		data = append([]byte("# Made by `make generate` from the decoder of package policy. Do not edit.\n"), data...)
		if err := os.WriteFile(filepath.Join(dir, k.Plural+".yaml"), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
