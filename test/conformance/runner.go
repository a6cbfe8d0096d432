package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluicegate.io/sluice/test/pgtest"
)

type runner struct {
	out, sluice  string
	run, enforce string
}

// compare runs a suite both ways.
func (r *runner) compare(ctx context.Context, s suite) (result, error) {
	var got [2]outcomes
	for i, name := range []string{"direct", "through"} {
		server, err := pgtest.New(pgtest.Options{})
		if err != nil {
			return result{}, err
		}
		w := way{server: server, dir: filepath.Join(r.out, s.name, name)}
		if err := os.MkdirAll(w.dir, 0o755); err != nil {
			return result{}, err
		}
		if name == "through" {
			w.prefix, err = r.configure(w, s)
		}
		if err == nil {
			got[i], err = s.run(ctx, r, w)
		}
		server.Close()
		if err != nil {
			return result{}, err
		}
	}
	res := result{counts: make(map[string]int)}
	all := maps.Clone(got[0])
	maps.Copy(all, got[1])
	for _, part := range slices.Sorted(maps.Keys(all)) {
		direct, through := got[0][part], got[1][part]
		if direct == through {
			res.same++
		} else if why := explained(s.name, part); why != "" {
			res.explained = append(res.explained, part+": "+why)
		} else {
			res.differs = append(res.differs, fmt.Sprintf("%s: directly %s, through %s", part, short(direct), short(through)))
		}
		res.counts[short(direct)]++
	}
	return res, nil
}

// short keeps one-word outcomes and replaces outputs, which the logs have whole.
func short(outcome string) string {
	switch {
	case outcome == "":
		return "missing"
	case len(outcome) > 12:
		return "output"
	}
	return outcome
}

// configure writes the configuration that lets everything pass, and returns the
// command line that puts a client under it.
func (r *runner) configure(w way, s suite) ([]string, error) {
	enforce := "enforce"
	if s.observe {
		enforce = "observe"
	}
	if r.enforce != "" {
		enforce = r.enforce
	}
	config := fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: db}
spec:
  protocol: postgres
  endpoints: ["%s"]
  tls: {mode: disable}
  enforce: %s
  credential: {username: %s, passwordFile: %s}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: anything, effect: allow, actions: [any], on: ["*"]}
  functions: [public.*, pg_catalog.*, information_schema.*]
`, w.server.Addr(), enforce, pgtest.Superuser, filepath.Join(w.dir, "password"))
	file := filepath.Join(w.dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "password"), []byte(w.server.Password()), 0o600); err != nil {
		return nil, err
	}
	state := filepath.Join(w.dir, "state")
	os.RemoveAll(state)
	return []string{r.sluice, "exec", "--config", file, "--state", state, "--"}, nil
}

// client runs one client program to its end and returns what it printed.
func (w way) client(ctx context.Context, dir string, env []string, log string, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	argv = append(slices.Clone(w.prefix), argv...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	file, err := os.Create(filepath.Join(w.dir, log))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var out strings.Builder
	cmd.Stdout = io.MultiWriter(&out, file)
	cmd.Stderr = cmd.Stdout
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil // what failed is in the output
	}
	return advice.ReplaceAll([]byte(out.String()), nil), err
}

// advice is what sluice exec and its log say on their own standard error.
var advice = regexp.MustCompile(`(?m)^(sluice exec: NOT ENFORCED|time=\S+ level=).*\n`)

var testLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// moduleDir returns the folder of a module: of the version that go.mod says, or of one
// that is told by MODULE@VERSION, which is only used here.
func moduleDir(ctx context.Context, module string) (string, error) {
	if !strings.Contains(module, "@") {
		dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		return strings.TrimSpace(string(dir)), err
	}
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	var got struct{ Dir string }
	err = json.Unmarshal(out, &got)
	return got.Dir, err
}

// goTests compiles the tests of each package below a module, as it is in the
// module cache, and runs them.
func (r *runner) goTests(ctx context.Context, w way, module string, env []string) (outcomes, error) {
	root, err := moduleDir(ctx, module)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", module, err)
	}
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}", "./...")
	list.Dir = root
	packages, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages of %s: %w", module, err)
	}
	got := make(outcomes)
	for _, dir := range strings.Fields(string(packages)) {
		name := strings.ReplaceAll(strings.Trim(strings.TrimPrefix(dir, root), "/"), "/", "_")
		if name == "" {
			name = "root"
		}
		binary := filepath.Join(r.out, strings.ReplaceAll(module, "/", "_")+"_"+name+".test")
		build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-o", binary, ".")
		build.Dir = dir
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the tests in %s: %w\n%s", dir, err, out)
		}
		if _, err := os.Stat(binary); err != nil {
			continue // no tests for this platform
		}
		args := []string{binary, "-test.v", "-test.timeout=10m"}
		if r.run != "" {
			args = append(args, "-test.run="+r.run)
		}
		out, err := w.client(ctx, dir, env, name+".log", args...)
		if err != nil {
			return nil, err
		}
		for _, m := range testLine.FindAllStringSubmatch(string(out), -1) {
			got[name+"/"+own.ReplaceAllString(m[2], "…")] = strings.ToLower(m[1])
		}
	}
	return got, nil
}
