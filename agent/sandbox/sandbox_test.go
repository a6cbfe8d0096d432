package sandbox_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/sandbox"
)

// The test binary stands for the proxy: TestMain is its two steps.
func TestMain(m *testing.M) {
	switch os.Getenv("SANDBOX_TEST") {
	case "enter":
		o := sandbox.Options{ReadWrite: []string{os.Getenv("SANDBOX_DIR")}, ReadOnly: []string{"/nonexistent", "/lib", "/lib64", "/usr/lib"}} // a test binary is dynamically linked
		err := sandbox.Enter(o, os.Args, []string{"SANDBOX_TEST=seal", "SANDBOX_DIR=" + os.Getenv("SANDBOX_DIR")})
		fmt.Println("enter:", err)
		os.Exit(2)
	case "seal":
		for c := uintptr(0); c < 64; c++ {
			if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err == nil && has == 1 {
				fmt.Println("capability in the bounding set:", c)
			}
		}
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		if err := unix.Capget(&h, &d[0]); err != nil || d != [2]unix.CapUserData{} {
			fmt.Println("capabilities:", d, err)
		}
		if err := sandbox.Seal(); err != nil {
			fmt.Println("seal:", err)
			os.Exit(2)
		}
		attempts()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attempts prints what the sealed process can do, one line each.
func attempts() {
	dir := os.Getenv("SANDBOX_DIR")
	try := func(name string, f func() error) {
		if err := f(); err != nil {
			fmt.Printf("%s: refused\n", name)
		} else {
			fmt.Printf("%s: done\n", name)
		}
	}
	try("write in state", func() error { return os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600) })
	try("read shadow", func() error { _, err := os.ReadFile("/etc/shadow"); return err })
	try("read passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err })
	try("inet socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err })
	try("unix socket", func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err })
	try("dial", func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err })
	try("execute", func() error { return exec.Command("/bin/true").Run() })
	try("fork", func() error {
		pid, _, errno := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return nil
	})
	try("signal parent", func() error { return unix.Kill(os.Getppid(), 0) })
	try("executable memory", func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	})
	try("new namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) })
	try("threads", func() error {
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				var ts unix.Timespec
				ts.Nsec = 1e6
				unix.Nanosleep(&ts, nil) // holds a thread
			})
		}
		wg.Wait()
		return nil
	})
}

func TestSandbox(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to change the user id")
	}
	const uid = 61987
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	// The binary must be reachable for that uid; go test's own directory is not.
	cmd := sandbox.Command(uid, uid, []string{"SANDBOX_TEST=enter", "SANDBOX_DIR=" + dir}, "-test.run=^$")
	cmd.Path = copied(t, dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sandboxed process: %v\n%s", err, out)
	}
	want := []string{
		"write in state: done", "read shadow: refused", "read passwd: refused", "inet socket: refused",
		"unix socket: refused", "dial: refused", "execute: refused", "fork: refused", "signal parent: refused",
		"executable memory: refused", "new namespace: refused", "threads: done",
	}
	if got := strings.TrimSpace(string(out)); got != strings.Join(want, "\n") {
		t.Errorf("the sandboxed process could do:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestEnterAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if err := sandbox.Enter(sandbox.Options{}, []string{"x"}, nil); err == nil || !strings.Contains(err.Error(), "still root") {
		t.Errorf("Enter as root = %v, want a refusal", err)
	}
}

// copied puts this test binary where any user may execute it.
func copied(t *testing.T, dir string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "proxy")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
