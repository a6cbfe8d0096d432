package pgtest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"sluicegate.io/sluice/test/corpus"
)

// layout changes when what a template holds changes otherwise than by the corpus.
const layout = "2"

// ensureTemplate returns a data directory with the roles and the corpus, making
// it on first use. It is kept between test runs, under a name that tells what
// went in, and made under a lock so that concurrent test binaries share it.
func ensureTemplate(bin string, own *owner) (string, error) {
	sum := sha256.Sum256([]byte(layout + bin + corpus.Roles + corpus.Setup))
	base := filepath.Join(os.TempDir(), fmt.Sprintf("sluicetest-pg-template-%d-%x", own.uid, sum[:6]))
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	if err := own.take(base, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(base, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	data, done := filepath.Join(base, "data"), filepath.Join(base, "done")
	if _, err := os.Stat(done); err == nil {
		return data, nil
	}
	if err := os.RemoveAll(data); err != nil {
		return "", err
	}
	if err := makeTemplate(bin, own, base, data); err != nil {
		return "", err
	}
	return data, os.WriteFile(done, nil, 0o644)
}

func makeTemplate(bin string, own *owner, base, data string) error {
	err := own.command(filepath.Join(bin, "initdb"), "-D", data, "-U", Superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync").run()
	if err != nil {
		return err
	}
	conf := filepath.Join(data, "postgresql.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	if err := own.write(conf, string(text)+"\ninclude_if_exists 'pgtest.conf'\n"); err != nil {
		return err
	}
	// A single-user backend would do for the schema, but extensions and ANALYZE
	// are closer to a real database when a real server makes them.
	dir, err := own.tempDir()
	if err != nil {
		return err
	}
	s := &Server{Dir: dir, Temp: filepath.Join(dir, "tmp"), stop: func() { os.RemoveAll(dir) }}
	if err := s.start(bin, own, data, Options{}); err != nil {
		return err
	}
	defer s.Close()
	for _, step := range []struct{ database, sql string }{
		{"postgres", corpus.Roles},
		{"postgres", "CREATE DATABASE " + Template},
		{Template, corpus.Setup},
	} {
		if err := s.TryExec(step.database, step.sql); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	// What the server has now, after a clean stop, becomes the template.
	if err := own.command(filepath.Join(bin, "pg_ctl"), "-D", filepath.Join(dir, "data"), "-m", "fast", "-w", "stop").run(); err != nil {
		return err
	}
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	return own.command("cp", "-a", "--reflink=auto", filepath.Join(dir, "data"), data).run()
}
