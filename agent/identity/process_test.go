package identity_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/agent/identity"
)

func now() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

func start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	time.Sleep(30 * time.Millisecond) // until it has called exec
	return cmd
}

func TestProcess(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if sleep, err = filepath.EvalSymlinks(sleep); err != nil {
		t.Fatal(err)
	}
	before := now()
	cmd := start(t, sleep, "60")
	f := identity.Facts{PID: uint32(cmd.Process.Pid), UID: uint32(os.Getuid()), At: now()}
	got, err := identity.Process(f)
	if err != nil || got.Exe != sleep || got.PID != f.PID || got.Cgroup == "" {
		t.Fatalf("Process = %+v, %v", got, err)
	}
	if os.Getuid() == 0 && got.User != "root" {
		t.Errorf("user %q", got.User)
	}
	earlier, another := f, f
	earlier.At = before - time.Second // it connected before this process was there
	another.StartTime = uint64(before - time.Hour)
	for name, f := range map[string]identity.Facts{
		"pid was used again": earlier,
		"another start time": another,
		"no such process":    {PID: 1 << 30},
		"no process":         {},
	} {
		got, err := identity.Process(f)
		if !errors.Is(err, identity.ErrGone) || got.Exe != "" || got.Cgroup != "" {
			t.Errorf("%s: %+v, %v, want ErrGone", name, got, err)
		}
	}
	moved := f
	moved.CgroupID = 1 << 60
	if got, err := identity.Process(moved); !errors.Is(err, identity.ErrMoved) || got.Exe != "" {
		t.Errorf("another cgroup: %+v, %v, want ErrMoved", got, err)
	}
	var st unix.Stat_t
	if unix.Stat(filepath.Join("/sys/fs/cgroup", got.Cgroup), &st) == nil {
		here := f
		here.CgroupID = st.Ino
		if _, err := identity.Process(here); err != nil {
			t.Errorf("with its cgroup: %v", err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if _, err := identity.Process(f); !errors.Is(err, identity.ErrGone) {
		t.Errorf("after it ended: %v, want ErrGone", err)
	}
}

// A name that is made to look like the fields after it.
func TestProcessName(t *testing.T) {
	sleep, _ := exec.LookPath("sleep")
	b, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a) R 1 (b")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := start(t, path, "60")
	f := identity.Facts{PID: uint32(cmd.Process.Pid), At: now()}
	if got, err := identity.Process(f); err != nil || got.Exe != path {
		t.Errorf("Process = %+v, %v", got, err)
	}
	// The file is another one now: what runs is not what the host finds there.
	os.Remove(path)
	os.WriteFile(path, b, 0o755)
	if got, err := identity.Process(f); err != nil || got.Exe != "" {
		t.Errorf("after the file was replaced: %+v, %v", got, err)
	}
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	s := &identity.Source{Path: path}
	if _, _, err := s.Read(); !errors.Is(err, identity.ErrNoToken) {
		t.Errorf("missing: %v, want ErrNoToken", err)
	}
	os.WriteFile(path, []byte("one\n"), 0o600)
	token, v1, err := s.Read()
	if err != nil || string(token) != "one" {
		t.Fatalf("Read = %q, %v", token, err)
	}
	if _, v, _ := s.Read(); v != v1 {
		t.Error("the version changed by itself")
	}
	os.WriteFile(path, []byte("two"), 0o600)
	if token, v2, err := s.Read(); err != nil || string(token) != "two" || v2 == v1 {
		t.Errorf("Read = %q, %d, %v", token, v2, err)
	}
	os.WriteFile(path, make([]byte, identity.TokenMax+100), 0o600)
	if _, _, err := s.Read(); !errors.Is(err, identity.ErrNoToken) {
		t.Errorf("large: %v, want ErrNoToken", err)
	}
}

// Below a root nothing leads out of it, and nothing hangs.
func TestSourceInRoot(t *testing.T) {
	outside := t.TempDir()
	os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o600)
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "var/data"), 0o700)
	os.WriteFile(filepath.Join(dir, "var/data/token"), []byte("inside"), 0o600)
	os.Symlink("data/token", filepath.Join(dir, "var/token"))
	os.Symlink("/var/data/token", filepath.Join(dir, "absolute"))
	os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "escape"))
	os.Symlink("../../../../../.."+filepath.Join(outside, "secret"), filepath.Join(dir, "dots"))
	os.Symlink("/proc/self/root"+filepath.Join(outside, "secret"), filepath.Join(dir, "magic"))
	unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for path, want := range map[string]string{"/var/token": "inside", "var/data/token": "inside", "/absolute": "inside",
		"/escape": "", "/dots": "", "/magic": "", "/pipe": "", "/var": "", "/../../etc/passwd": ""} {
		token, _, err := (&identity.Source{Path: path, Root: root}).Read()
		if string(token) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", path, token, err)
		}
	}
	if r, err := identity.Root(identity.Facts{PID: uint32(os.Getpid()), At: now()}); err != nil {
		t.Error(err)
	} else {
		defer r.Close()
		if _, _, err := (&identity.Source{Path: filepath.Join(dir, "var/data/token"), Root: r}).Read(); err != nil {
			t.Error(err)
		}
	}
}
