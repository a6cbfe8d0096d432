package sluicetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options of one Sluice.
type Options struct {
	Databases []Database
	Policy    string // further YAML documents, each after "---"
	Agent     string // lines of the spec of kind Agent, indented by two
	State     string // state directory, default a temporary one
}

// A Sluice is a configuration, a state directory, and what runs under them.
type Sluice struct {
	Config string // file
	State  string
	dir    string
	binary string

	mu     sync.Mutex
	dialer *dialer
	stderr bytes.Buffer
}

// Start prepares a Sluice and skips the test where this user cannot run one.
// Nothing is started until it is needed.
func Start(t testing.TB, o Options) *Sluice {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: redirecting connections takes BPF")
	}
	dir := t.TempDir()
	// The proxy process runs as another user and reads what it is pointed at.
	for d := dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &Sluice{Config: filepath.Join(dir, "config.yaml"), State: o.State, dir: dir, binary: Binary(t)}
	if s.State == "" {
		s.State = filepath.Join(dir, "state")
	}
	s.Configure(t, o)
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			if log := s.Log(); log != "" {
				t.Logf("sluice said:\n%s", tail(log, 40))
			}
		}
	})
	return s
}

// Configure writes the configuration anew.
func (s *Sluice) Configure(t testing.TB, o Options) {
	t.Helper()
	var text strings.Builder
	for _, d := range o.Databases {
		file := filepath.Join(s.dir, d.Name+".password")
		if err := os.WriteFile(file, []byte(d.Password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text.WriteString(d.yaml(file))
	}
	text.WriteString(o.Policy)
	if o.Agent != "" {
		fmt.Fprintf(&text, "---\napiVersion: sluicegate.io/v1alpha1\nkind: Agent\nmetadata: {name: test}\nspec:\n  %s\n", strings.TrimSpace(o.Agent))
	}
	s.WriteConfig(t, text.String())
}

// WriteConfig replaces the configuration as an editor does, by a rename.
func (s *Sluice) WriteConfig(t testing.TB, text string) {
	t.Helper()
	if err := os.WriteFile(s.Config+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.Config+".new", s.Config); err != nil {
		t.Fatal(err)
	}
}

// Command prepares a program to be run under `sluice exec`.
func (s *Sluice) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	all := append([]string{"exec", "--config", s.Config, "--state", s.State, "--", name}, args...)
	return s.command(ctx, all...)
}

// Run runs an admin command such as "sessions", on this Sluice's state.
func (s *Sluice) Run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := s.command(ctx, append(args, "--state", s.State)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, err
}

func (s *Sluice) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// Log returns what the embedded agent wrote to standard error so far.
func (s *Sluice) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

// Write takes the standard error of the process that dials.
func (s *Sluice) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.Write(p)
}

func (s *Sluice) stop() {
	s.mu.Lock()
	d := s.dialer
	s.dialer = nil
	s.mu.Unlock()
	if d != nil {
		d.close()
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Processes returns the ids of this Sluice's own processes: what runs the binary
// below the process that dials.
func (s *Sluice) Processes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialer == nil {
		return nil
	}
	var own []int
	for _, pid := range tree(s.dialer.cmd.Process.Pid) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && strings.TrimSuffix(exe, " (deleted)") == s.binary {
			own = append(own, pid)
		}
	}
	return own
}

// Memory returns the private bytes of this Sluice's processes together.
func (s *Sluice) Memory(t testing.TB) int {
	t.Helper()
	sum := 0
	for _, pid := range s.Processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Errorf("memory: %v", err)
		}
		for line := range strings.Lines(string(text)) {
			var kib int
			if n, _ := fmt.Sscanf(line, "Private_Dirty: %d", &kib); n == 1 {
				sum += kib << 10
			}
		}
	}
	return sum
}

// tree returns pid and everything below it.
func tree(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, tree(child)...)
			}
		}
	}
	return all
}
