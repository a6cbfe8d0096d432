package cluster_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
	"sluicegate.io/sluice/agent/enroll/cluster"
)

// What is committed is what `make generate` makes of the decoder.
func TestDefinitionsAreCommitted(t *testing.T) {
	for _, k := range append(cluster.Kinds(), cluster.NodeReport()) {
		want, err := yaml.Marshal(k.Definition())
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("../../chart/crds", k.Plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, got, _ = bytes.Cut(got, []byte("\n")); !bytes.Equal(got, want) {
			t.Errorf("%s.yaml is not what its decoder says: run make generate and commit", k.Plural)
		}
	}
}
