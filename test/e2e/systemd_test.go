package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// boot runs systemd as the first process of a pid namespace, with a hierarchy of cgroups
// that is a part of the host's: for those outside its units are below cgroup. Its files are
// the host's, but /run. It ends with the test.
const boot = `
mount --make-rprivate / &&
mount -t proc proc /proc &&
mount -t tmpfs tmpfs /run &&
umount -R /sys/fs/cgroup &&
mount -t cgroup2 none /sys/fs/cgroup &&
exec env -i container=sluicetest PATH="$PATH" SYSTEMD_UNIT_PATH="$1" SYSTEMD_LOG_TARGET=console \
	/lib/systemd/systemd --system --unit=sluicetest.target --show-status=no
`

// attempt connects, and notes what answers a request for TLS: S is Sluice.
const attempt = `import socket, sys
said = "closed"
with socket.socket() as s:
    s.settimeout(5)
    try:
        s.connect(("127.0.0.1", int(sys.argv[1])))
        s.sendall(b"\0\0\0\10\4\322\26\57")
        said = s.recv(1).decode() or said
    except OSError as e:
        said = type(e).__name__
with open(sys.argv[2], "a") as f: f.write(said + "\n")
`

// TestSystemd has a real systemd start a service again and again, as fast as it can, while a
// daemon that shares all cgroups of the host with everybody holds it by the name of its unit.
func TestSystemd(t *testing.T) {
	g := newGround(t, "systemd")
	address, port, reached := passed(t)
	base, dir := g.cgroup(), g.dir
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(file, text string) string {
		t.Helper()
		file = filepath.Join(dir, file)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	script := put("attempt.py", attempt)
	held, free := g.name+"-held.service", g.name+"-free.service"
	for _, service := range []string{held, free} {
		out := put(service+".out", "")
		if err := os.Chmod(out, 0o666); err != nil {
			t.Fatal(err)
		}
		put(service, fmt.Sprintf("[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n"+
			"[Service]\nExecStart=/usr/bin/python3 %s %s %s\nRestart=always\nRestartSec=0\nUser=nobody\n", script, port, out))
	}
	put("sluicetest.target", "[Unit]\nWants="+held+" "+free+"\n")
	g.configure(t, "", address, "kind: Workload\nmetadata: {name: held}\nspec: {systemdUnit: "+held+"}")
	agent := g.start(t)
	eventually(t, "the daemon is ready", func() bool {
		status, _ := g.status(t)
		return strings.Contains(status, "held")
	})
	d, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	systemd := exec.Command("unshare", "--fork", "--pid", "--mount", "--cgroup", "--kill-child", "bash", "-c", boot, "bash", dir)
	systemd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd()), Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	systemd.Stdout, systemd.Stderr = &said, &said
	if err := systemd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			systemd.Process.Kill()
			systemd.Wait()
		}
	}
	t.Cleanup(stop)
	seen := func(service string) map[string]int {
		data, err := os.ReadFile(filepath.Join(dir, service+".out"))
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, word := range strings.Fields(string(data)) {
			counts[word]++
		}
		return counts
	}
	sum := func(counts map[string]int) (n int) {
		for _, c := range counts {
			n += c
		}
		return n
	}
	within(t, "the services were started 100 times each", time.Minute, func() bool {
		return sum(seen(held)) >= 100 && sum(seen(free)) >= 100
	})
	if got := seen(held); got["S"] != sum(got) {
		t.Errorf("the service that is held: %v", got)
	}
	// A killed daemon is no way out.
	agent.cmd.Process.Kill()
	time.Sleep(200 * time.Millisecond)
	before := sum(seen(held))
	eventually(t, "the service was started again without a daemon", func() bool { return sum(seen(held)) >= before+20 })
	stop()
	got, other := seen(held), seen(free)
	if got["D"] != 0 || got["ConnectionRefusedError"] < 10 {
		t.Errorf("the service that is held, without a daemon: %v", got)
	}
	if other["D"] != sum(other) || reached.Load() < int64(other["D"]) || reached.Load() > int64(other["D"])+1 {
		t.Errorf("the other one: %v, and %d connections arrived", other, reached.Load())
	}
	t.Logf("held %v, free %v", got, other)
	if t.Failed() {
		t.Log(said.String())
	}
}
