package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/test/sluicetest"
)

// slow is how many times longer than usual things take, as on an emulated machine:
// SLUICETEST_SLOW.
var slow = func() int {
	n, _ := strconv.Atoi(os.Getenv("SLUICETEST_SLOW"))
	return max(n, 1)
}()

// ground is where the daemons of a test run: a folder, a name for cgroups and pins, and a
// configuration.
type ground struct {
	mount, name, dir, config string
	daemons                  int
}

// newGround makes one. Daemons that were started on it have ended before it is removed.
func newGround(t *testing.T, name string) *ground {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: starts an agent")
	}
	mount, err := enroll.Mount()
	if err != nil {
		t.Skip(err)
	}
	g := &ground{mount: mount, name: fmt.Sprintf("sluicetest-%s-%d", name, os.Getpid()), dir: t.TempDir()}
	g.config = filepath.Join(g.dir, "config.yaml")
	for d := g.dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	t.Cleanup(func() {
		exec.Command(sluicetest.Binary(t), "agent", "--config", g.config, "--uninstall").Run()
		os.RemoveAll("/sys/fs/bpf/" + g.name)
		enroll.RemoveTree(g.cgroup())
	})
	return g
}

// cgroup is a path below the test's own cgroup.
func (g *ground) cgroup(below ...string) string {
	return filepath.Join(append([]string{g.mount, g.name}, below...)...)
}

// configure writes the configuration: settings of kind Agent beside its directories, a
// database at address, and other documents.
func (g *ground) configure(t *testing.T, settings, address string, documents ...string) {
	t.Helper()
	text := fmt.Sprintf(`kind: Agent
metadata: {name: test}
spec: {runDir: %[1]s/run, stateDir: %[1]s/state, bpfDir: /sys/fs/bpf/%[2]s%[3]s}
`, g.dir, g.name, settings)
	documents = append(documents, fmt.Sprintf(`kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["%s"]
  credential: {username: x, passwordEnv: SLUICETEST_PASSWORD}
`, address))
	for _, d := range append([]string{text}, documents...) {
		text := "---\napiVersion: sluicegate.io/v1alpha1\n" + d + "\n"
		f, err := os.OpenFile(g.config, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(text)
		if cerr := f.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
	}
}

// status is what `sluice status` prints.
func (g *ground) status(t *testing.T) (string, error) {
	out, err := exec.Command(sluicetest.Binary(t), "status", "--config", g.config).CombinedOutput()
	return string(out), err
}

// daemon is one agent, which is told to end with the test at the latest.
type daemon struct {
	cmd *exec.Cmd
	out string
}

// start starts an agent, with these arguments beside its configuration.
func (g *ground) start(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(sluicetest.Binary(t), append([]string{"agent", "--config", g.config}, args...)...), out: filepath.Join(g.dir, fmt.Sprintf("log-%d", g.daemons))}
	g.daemons++
	f, err := os.Create(d.out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d.cmd.Env, d.cmd.Stderr = append(os.Environ(), "SLUICETEST_PASSWORD=x"), f
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.stop()
		if lines := strings.Split(d.log(), "\n"); t.Failed() {
			t.Log(filepath.Base(d.out) + ":\n" + strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return d
}

// stop tells it to end, and waits until it has.
func (d *daemon) stop() error {
	d.cmd.Process.Signal(os.Interrupt)
	return d.cmd.Wait()
}

func (d *daemon) log() string {
	data, _ := os.ReadFile(d.out)
	return string(data)
}

// passed listens as a database would that says D, and counts what gets there: what Sluice
// answers itself does not.
func passed(t *testing.T) (address, port string, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	count = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			c.Write([]byte("D"))
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port, count
}
