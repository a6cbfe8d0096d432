package identity_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/identity"
)

// A process that becomes another program between two connections is that program from
// then on, and one that ends is gone, although its directory is open.
func TestProcessChanges(t *testing.T) {
	cmd := exec.Command("/bin/bash", "-c", "read line; exec /bin/sleep 60")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	time.Sleep(50 * time.Millisecond)
	pid := cmd.Process.Pid
	f := identity.Facts{PID: uint32(pid), StartTime: started(t, pid), At: now()}
	exe := func() string {
		p, err := identity.Process(f)
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Base(p.Exe)
	}
	if got := exe(); got != "bash" {
		t.Fatalf("at first: %s", got)
	}
	in.Write([]byte("\n"))
	for i := 0; exe() != "sleep"; i++ {
		if i == 100 {
			t.Fatalf("after exec: %s", exe())
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for range 2 {
		if p, err := identity.Process(f); !errors.Is(err, identity.ErrGone) || p.Exe != "" || p.Cgroup != "" {
			t.Errorf("gone: %+v, %v", p, err)
		}
	}
}

// Many processes, and each by many connections at once.
func TestProcessesMany(t *testing.T) {
	var all []identity.Facts
	for range 150 {
		cmd := exec.Command("/bin/sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		all = append(all, identity.Facts{PID: uint32(cmd.Process.Pid), StartTime: started(t, cmd.Process.Pid)})
	}
	time.Sleep(50 * time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, f := range slices.Concat(all, all) {
				if p, err := identity.Process(f); err != nil || filepath.Base(p.Exe) != "sleep" || p.PID != f.PID {
					t.Errorf("%+v, %v", p, err)
				}
			}
		})
	}
	wg.Wait()
}
