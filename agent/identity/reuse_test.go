package identity_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/agent/identity"
)

// again makes a process with a given pid, in a given cgroup, which sleeps. The kernel
// gives a pid of the caller's choice to clone3(2) alone.
const again = `
import ctypes, os, struct, sys
pid, cgroup = int(sys.argv[1]), sys.argv[2]
with open(cgroup + "/cgroup.procs", "w") as f:
    f.write(str(os.getpid()))
tid = (ctypes.c_int * 1)(pid)
args = ctypes.create_string_buffer(struct.pack("<11Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(tid), 1, 0))
libc = ctypes.CDLL(None, use_errno=True)
got = libc.syscall(435, args, 88)
if got == 0:
    os.execv("/bin/sleep", ["sleep", "60"])
if got < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print(got, flush=True)
sys.stdin.readline()
os.kill(got, 9)
os.waitpid(got, 0)
`

// TestPIDReused has the kernel give the pid of a process that connected to another
// process in another cgroup: whatever is known of the first, the second is not it.
func TestPIDReused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chooses a pid, and makes cgroups")
	}
	cgroup := func(name string) (string, *os.File, uint64) {
		t.Helper()
		path := filepath.Join(cgroups(t), fmt.Sprintf("sluicetest-reuse-%d-%s", os.Getpid(), name))
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for range 100 {
				if syscall.Rmdir(path) == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("%s is left", path)
		})
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		var st unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return path, dir, st.Ino
	}
	_, first, firstID := cgroup("first")
	second, _, secondID := cgroup("second")

	cmd := exec.Command("/bin/sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(first.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Millisecond)
	pid := cmd.Process.Pid
	connected := identity.Facts{PID: uint32(pid), CgroupID: firstID, StartTime: started(t, pid), At: now()}
	if p, err := identity.Process(connected); err != nil || p.Exe == "" {
		t.Fatalf("while it is there: %+v, %v", p, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	time.Sleep(30 * time.Millisecond) // more than a tick of start times

	other := exec.Command("/usr/bin/python3", "-c", again, strconv.Itoa(pid), second)
	other.Stderr = os.Stderr
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer in.Close()
	line := make([]byte, 32)
	n, err := out.Read(line)
	if got := strings.TrimSpace(string(line[:n])); err != nil || got != strconv.Itoa(pid) {
		t.Fatalf("the kernel gave pid %q, want %d: %v", got, pid, err)
	}
	time.Sleep(30 * time.Millisecond)
	if p, err := identity.Process(identity.Facts{PID: uint32(pid), CgroupID: secondID}); err != nil || p.Exe == "" {
		t.Fatalf("the second process is not there: %+v, %v", p, err)
	}

	for name, tt := range map[string]struct {
		facts identity.Facts
		want  error
	}{
		"all that is known":         {connected, identity.ErrGone},
		"without its start":         {identity.Facts{PID: uint32(pid), CgroupID: firstID, At: connected.At}, identity.ErrGone},
		"without the time":          {identity.Facts{PID: uint32(pid), CgroupID: firstID, StartTime: connected.StartTime}, identity.ErrGone},
		"the cgroup alone":          {identity.Facts{PID: uint32(pid), CgroupID: firstID}, identity.ErrMoved},
		"moved to the other cgroup": {identity.Facts{PID: uint32(pid), CgroupID: secondID, StartTime: connected.StartTime, At: connected.At}, identity.ErrGone},
	} {
		if p, err := identity.Process(tt.facts); !errors.Is(err, tt.want) || p.Exe != "" || p.Cgroup != "" {
			t.Errorf("%s: %+v, %v, want %v", name, p, err, tt.want)
		}
		if root, err := identity.Root(tt.facts); tt.want == identity.ErrGone && !errors.Is(err, identity.ErrGone) {
			t.Errorf("%s: its root: %v, %v, want ErrGone", name, root, err)
		}
	}
}

// cgroups returns where cgroup2 is mounted.
func cgroups(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Fatal("no cgroup2")
	return ""
}

// started returns what the kernel notes of a process: the start of its thread group.
func started(t *testing.T, pid int) uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	ticks, err := strconv.ParseUint(fields[19], 10, 63)
	if err != nil {
		t.Fatal(err)
	}
	return ticks * uint64(10*time.Millisecond)
}
