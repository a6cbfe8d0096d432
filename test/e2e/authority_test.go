package e2e_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAuthority follows what workloads may trust from its first agent through a
// change of its key: there is no moment without a certificate that verifies.
func TestAuthority(t *testing.T) {
	f := setUp(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	run := func(args ...string) string {
		t.Helper()
		out, err := f.sluice.Run(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if out, err := f.sluice.Run(ctx, "ca", "export"); err == nil || !strings.Contains(err.Error(), "an agent makes it when it first runs") {
		t.Errorf("export before there is one: %q, %v", out, err)
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db) // an agent that runs on
	export := func() string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, []byte(run("ca", "export")), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// psql verifies with a file, under the agent that runs or under a new one.
	verify := func(root string) string {
		t.Helper()
		cmd := f.sluice.Command(ctx, "psql", "-XAtwc", read, fmt.Sprintf("host=127.0.0.1 port=%d user=app_rw dbname=%s sslmode=verify-full sslrootcert=%s", f.server.Port, f.db, root))
		out, err := cmd.CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		return string(out)
	}
	shown, first := run("ca", "show"), export()
	serial := regexp.MustCompile(`serial +([0-9a-f]+)`).FindStringSubmatch(shown)
	if serial == nil || !strings.Contains(shown, "Sluice agent CA") || !strings.Contains(shown, fmt.Sprint("expires  ", time.Now().Year()+9, "-")) && !strings.Contains(shown, fmt.Sprint("expires  ", time.Now().Year()+10, "-")) {
		t.Errorf("ca show: %s", shown)
	}
	if out := verify(first); !strings.Contains(out, "Alice") {
		t.Errorf("with what was exported: %s", out)
	}

	run("ca", "rotate")
	if again := run("ca", "show"); strings.Contains(again, serial[1]) {
		t.Errorf("ca show after rotate: %s", again)
	}
	both := export()
	if n := certificates(t, both); n != 2 {
		t.Errorf("%d certificates are exported after a rotation, want the new and the old one", n)
	}
	// The agent that runs has the old key still; what starts from now on has the new one.
	if a := tlsSession(t, f, first); a != "" {
		t.Errorf("the agent that runs, with the first export: %s", a)
	}
	if a := tlsSession(t, f, both); a != "" {
		t.Errorf("the agent that runs, with both: %s", a)
	}
	if out := verify(both); !strings.Contains(out, "Alice") {
		t.Errorf("a new agent, with both: %s", out)
	}
	if out := verify(first); !strings.Contains(out, "certificate verify failed") {
		t.Errorf("a new agent, with the first export: %s", out)
	}
	// The key is for the proxy's eyes, before and after.
	err := filepath.WalkDir(f.sluice.State, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte("PRIVATE KEY")) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid == 0 {
			t.Errorf("%s has mode %v and belongs to %d", path, info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func certificates(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			t.Errorf("the export holds a %s", block.Type)
		}
		n++
	}
	return n
}

// tlsSession speaks TLS to the agent that runs, and tells what went wrong.
func tlsSession(t *testing.T, f fixture, root string) string {
	t.Helper()
	d := &doors{fixture: f}
	if got := d.pgx("127.0.0.1", "placeholder", "sslmode=verify-full&sslrootcert="+root); got != "ok Alice" {
		return got
	}
	return ""
}
