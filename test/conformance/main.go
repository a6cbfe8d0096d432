// Command conformance runs test suites that nobody here wrote, directly against a
// PostgreSQL server and then through Sluice, and says where the two differ.
//
// Suites: pgx and pq are the whole test suites of those drivers, older those of pgx v4 and
// what is around it, sqlx and go-pg, regress is
// PostgreSQL's regression SQL file by file as psql prints it, pgbench its
// built-in scripts, dump a pg_dump restored by psql. Through Sluice the policy
// allows everything and no column is sensitive; regress runs under enforce:
// observe, in which statements that the analysis cannot follow pass.
//
// It prints one line a suite, below it what differs and, with -v, what differs for
// a reason that is known (explained.go), and leaves what each run printed in the
// folder that -out names. Exit status 1 means that something differs that nobody
// has explained. Needs root.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"sluicegate.io/sluice/test/pgtest"
)

func main() {
	out := flag.String("out", "out/conformance", "folder for logs and for what suites need")
	binary := flag.String("sluice", "out/sluice", "the binary")
	only := flag.String("suites", "pgx,pq,older,regress,pgbench,dump", "which suites to run")
	run := flag.String("run", "", "run only tests (pgx, pq) or files (regress) that match")
	enforce := flag.String("enforce", "", "enforce or observe; default observe for regress, else enforce")
	verbose := flag.Bool("v", false, "list what differs for a known reason")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &runner{run: *run, enforce: *enforce}
	var err error
	if r.out, err = filepath.Abs(*out); err == nil {
		r.sluice, err = filepath.Abs(*binary)
	}
	if err == nil {
		err = os.MkdirAll(r.out, 0o755)
	}
	if err != nil {
		fatal(err)
	}
	differs := false
	for _, name := range strings.Split(*only, ",") {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
		if i < 0 {
			fatal(fmt.Errorf("no suite %q", name))
		}
		result, err := r.compare(ctx, suites[i])
		if err != nil {
			fatal(fmt.Errorf("%s: %w", name, err))
		}
		result.print(name, *verbose)
		differs = differs || len(result.differs) > 0
	}
	if differs {
		os.Exit(1)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "conformance:", err)
	os.Exit(2)
}

// A suite is run once directly and once through Sluice, each time on a server of
// its own, and yields what can be compared: an outcome for each of its parts.
type suite struct {
	name    string
	observe bool
	run     func(ctx context.Context, r *runner, w way) (outcomes, error)
}

var suites = []suite{
	{"pgx", false, pgx},
	{"pq", false, pq},
	{"older", false, olderGo},
	{"regress", true, regress},
	{"pgbench", false, pgbench},
	{"dump", false, dump},
}

// outcomes maps a test, file or step to its outcome, such as "pass" or its output.
type outcomes map[string]string

// way is one of the two ways to a server.
type way struct {
	server *pgtest.Server
	prefix []string // command line before a client's own, empty when direct
	dir    string   // for logs
}

// result is what came of one suite.
type result struct {
	same    int
	counts  map[string]int // of short outcomes, direct
	differs []string       // "part: direct outcome, through outcome"
	// explained is what differs for a reason that is known, as "part: why".
	explained []string
}

func (r result) print(name string, verbose bool) {
	var counts []string
	for _, k := range slices.Sorted(maps.Keys(r.counts)) {
		counts = append(counts, fmt.Sprintf("%d %s", r.counts[k], k))
	}
	fmt.Printf("%s: %d same, %d explained, %d differ (directly: %s)\n",
		name, r.same, len(r.explained), len(r.differs), strings.Join(counts, ", "))
	for _, d := range r.differs {
		fmt.Println("   ", d)
	}
	if verbose {
		for _, d := range r.explained {
			fmt.Println("    explained:", d)
		}
	}
}
