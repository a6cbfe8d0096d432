// Command bench compares Sluice with a direct connection, with PgBouncer and
// with a bare relay, on one machine in one run. The paths take turns within each
// case, so that a slow spell of the machine hits all of them, and the median of
// the turns counts. It prints a table and writes out/bench.json.
//
// BENCH_SECONDS (3) is how long one pgbench run takes, BENCH_ROUNDS (3) how
// often each path has its turn, BENCH_CASES a regular expression of the cases to
// run, SLUICE_BINARY (out/sluice) the binary. It needs root. docs/performance.md
// says how to read the figures.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		if err := client(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench client:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are what the environment chooses.
type settings struct {
	seconds, rounds int
	only            *regexp.Regexp
	binary          string
}

func fromEnvironment() (settings, error) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	s := settings{seconds: number("BENCH_SECONDS", 3), rounds: number("BENCH_ROUNDS", 3), binary: os.Getenv("SLUICE_BINARY")}
	if s.binary == "" {
		s.binary = "out/sluice"
	}
	var err error
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return s, err
	}
	s.only, err = regexp.Compile(os.Getenv("BENCH_CASES"))
	return s, err
}

// result is one line of out/bench.json. A path that a case is not for is null.
type result struct {
	Case      string   `json:"case"`
	Direct    *float64 `json:"direct"`
	PgBouncer *float64 `json:"pgbouncer"`
	Relay     *float64 `json:"relay"`
	Sluice    *float64 `json:"sluice"`
	Unit      string   `json:"unit"`
}

func (r *result) set(path string, value float64) {
	switch path {
	case "direct":
		r.Direct = &value
	case "pgbouncer":
		r.PgBouncer = &value
	case "relay":
		r.Relay = &value
	case "sluice":
		r.Sluice = &value
	}
}

func run(ctx context.Context) error {
	began := time.Now()
	s, err := fromEnvironment()
	if err != nil {
		return err
	}
	stage, err := setUp(ctx, s)
	if err != nil {
		return err
	}
	defer stage.close()
	var results []result
	for _, c := range cases(s) {
		if !s.only.MatchString(c.name) {
			continue
		}
		r, err := stage.measure(ctx, c, s.rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		results = append(results, r...)
		for _, r := range r {
			fmt.Fprintf(os.Stderr, "%s\n", line(r, " "))
		}
	}
	if s.only.MatchString("memory") {
		memory, err := stage.memory(ctx)
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		results = append(results, memory...)
	}
	fmt.Fprintln(os.Stderr)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "case\tdirect\tpgbouncer\trelay\tsluice\tunit\tsluice/relay\t")
	for _, r := range results {
		fmt.Fprintln(table, line(r, "\t")+"\t")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Printf("\n%d rounds of %d s, %s in all\n", s.rounds, s.seconds, time.Since(began).Round(time.Second))
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("out", 0o755); err != nil {
		return err
	}
	return os.WriteFile("out/bench.json", append(text, '\n'), 0o644)
}

func line(r result, tab string) string {
	text := r.Case
	for _, v := range []*float64{r.Direct, r.PgBouncer, r.Relay, r.Sluice} {
		text += tab
		switch {
		case v == nil:
			text += "-"
		case *v < 100:
			text += strconv.FormatFloat(*v, 'f', 2, 64)
		default:
			text += strconv.FormatFloat(*v, 'f', 0, 64)
		}
	}
	text += tab + r.Unit + tab
	if r.Relay != nil && r.Sluice != nil {
		text += strconv.FormatFloat(*r.Sluice / *r.Relay, 'f', 2, 64)
	}
	return text
}
