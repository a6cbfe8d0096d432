// Package test holds what looks at the tree as a whole. The harnesses that
// other packages' tests use are in the folders below it.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "sluicegate.io/sluice/"

// layers says who may import whom: a package imports only packages of strictly
// lower levels. A package below a listed one has the level of that, unless it is
// listed itself. Half levels are for two rooms of one floor with one door.
var layers = map[string]float64{
	"bpf":               0,
	"protocol":          0,
	"agent/tally":       0.5,
	"redirect":          1,
	"protocol/postgres": 1,
	"policy":            1,
	"policy/mask":       2,
	"policy/sql":        2.5,
	"policy/harden":     3,
	"agent/identity":    2,
	"agent/credential":  2,
	"agent/approval":    2,
	"agent/record":      2,
	"agent/channel":     2,
	"agent/ca":          2,
	"agent/sandbox":     2,
	"agent/rehearsal":   3,
	"agent/session":     3,
	"agent/enroll":      3,
	"agent/web":         3,
	"agent/metrics":     4,
	"agent":             5,
	"agent/cmd/sluice":  6,
	"scripts":           9,
	"test":              9,
}

// importers names the packages that may import a heavy dependency. A package
// stands for those below it too.
var importers = map[string][]string{
	"github.com/cilium/ebpf":               {"bpf", "redirect"},
	"github.com/prometheus":                {"agent/metrics"},
	"k8s.io":                               {"agent/enroll"},
	"sigs.k8s.io":                          {"agent/enroll"},
	"github.com/containerd/nri":            {"agent/enroll"},
	"github.com/pganalyze/pg_query_go":     {"policy/sql"},
	"github.com/coreos/go-oidc":            {"agent/identity"},
	"github.com/go-jose/go-jose":           {"agent/identity"},
	"github.com/spf13/cobra":               {"agent/cmd/sluice"},
	"github.com/vishvananda/netlink":       {"redirect"},
	"github.com/jackc/pgx":                 {"test"},
	"github.com/lib/pq":                    {"test"},
	"github.com/landlock-lsm/go-landlock":  {"agent"},
	"github.com/goccy/go-yaml":             {"policy"},
	"google.golang.org/protobuf":           {"policy/sql"},
	"honnef.co/go/tools":                   {},
	"github.com/inconshreveable/mousetrap": {},
	"github.com/jackc/pgproto3":            {"protocol/postgres"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

// TestLayers holds the tree to the table of ARCHITECTURE.md.
func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		from, ok := level(p.ImportPath)
		if !ok {
			t.Errorf("%s has no level: add it to layers", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if to, ours := level(imported); ours && to >= from && !sameRoom(p.ImportPath, imported) {
				t.Errorf("%s (level %v) imports %s (level %v)", short(p.ImportPath), from, short(imported), to)
			}
		}
	}
}

// TestImporters holds heavy dependencies to the packages that they are for.
// Tests, and what is below test, may use what they like.
func TestImporters(t *testing.T) {
	for _, p := range packages(t) {
		if anyAbove(short(p.ImportPath), []string{"test"}) {
			continue
		}
		for _, imported := range p.Imports {
			for dependency, allowed := range importers {
				if below(imported, dependency) && !anyAbove(short(p.ImportPath), allowed) {
					t.Errorf("%s imports %s, which is for %v", short(p.ImportPath), imported, allowed)
				}
			}
		}
	}
}

// TestNames refuses the names that say nothing.
func TestNames(t *testing.T) {
	empty := []string{"util", "utils", "common", "helpers", "types", "base", "pkg", "manager", "impl"}
	for _, p := range packages(t) {
		name := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]
		for _, e := range empty {
			if name == e {
				t.Errorf("%s: call it by what a user of the system would say", p.ImportPath)
			}
		}
	}
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func short(path string) string { return strings.TrimPrefix(path, module) }

// level returns the level of the nearest listed folder at or above path.
func level(path string) (float64, bool) {
	l, ok := layers[room(path)]
	return l, ok && strings.HasPrefix(path, module)
}

// sameRoom reports whether two packages share the folder that has their level,
// such as the harnesses below test, or a package and its own sub-packages.
func sameRoom(a, b string) bool { return room(a) == room(b) }

func room(path string) string {
	for p := short(path); ; {
		if _, ok := layers[p]; ok {
			return p
		}
		i := strings.LastIndex(p, "/")
		if i < 0 {
			return path
		}
		p = p[:i]
	}
}

func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func anyAbove(path string, folders []string) bool {
	for _, f := range folders {
		if below(path, f) {
			return true
		}
	}
	return false
}
