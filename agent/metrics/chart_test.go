package metrics_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestChart checks that alerts and dashboard of the chart name metrics that there are.
func TestChart(t *testing.T) {
	source, err := os.ReadFile("descs.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`desc\("([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		known["sluice_"+m[1]] = true
	}
	for _, name := range []string{"alerts.yaml", "dashboard.json"} {
		data, err := os.ReadFile("../chart/files/" + name)
		if err != nil {
			t.Fatal(err)
		}
		used := regexp.MustCompile(`sluice_[a-z_]+`).FindAllString(string(data), -1)
		if len(used) == 0 {
			t.Errorf("%s names no metric", name)
		}
		for _, m := range used {
			if !known[strings.TrimSuffix(m, "_bucket")] {
				t.Errorf("%s: there is no metric %s", name, m)
			}
		}
	}
}
