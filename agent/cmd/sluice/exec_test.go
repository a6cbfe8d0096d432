package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// execPlace is a configuration with pins of its own, and this test binary as sluice.
type execPlace struct {
	t                   *testing.T
	sluice, config, dir string
	pins                string
}

func newExecPlace(t *testing.T) *execPlace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: redirecting connections takes BPF")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &execPlace{t: t, dir: dir, sluice: filepath.Join(dir, "sluice"), config: filepath.Join(dir, "sluice.yaml")}
	if err := os.Symlink(self, p.sluice); err != nil {
		t.Fatal(err)
	}
	p.pins = fmt.Sprintf("/sys/fs/bpf/sluicetest-exec-%d-%s", os.Getpid(), strings.ToLower(filepath.Base(dir)))
	text := fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:1"]
  tls: {mode: disable}
  credential: {username: app, passwordFile: /etc/hostname}
---
apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: test}
spec: {bpfDir: %s, runDir: %s/run, stateDir: %s/state}
`, p.pins, dir, dir)
	if err := os.WriteFile(p.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// command is `sluice exec` of one command, as nobody.
func (p *execPlace) command(args ...string) *exec.Cmd {
	return exec.Command(p.sluice, append([]string{"exec", "--config", p.config, "--user", "nobody", "--"}, args...)...)
}

// terminal runs cmd as the leader of a session on a new pseudo terminal.
type terminal struct {
	t    *testing.T
	file *os.File
	cmd  *exec.Cmd

	mu   sync.Mutex
	seen bytes.Buffer
}

func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	file, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, file: file, cmd: cmd}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := file.Read(b)
			term.mu.Lock()
			term.seen.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill(); file.Close(); <-done })
	return term
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.String()
}

func (x *terminal) write(s string) {
	x.t.Helper()
	if _, err := io.WriteString(x.file, s); err != nil {
		x.t.Fatal(err)
	}
}

// expect waits for a text beyond what was seen at the call before.
func (x *terminal) expect(want string) {
	x.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text := x.text()
		if i := strings.Index(text, want); i >= 0 {
			x.mu.Lock()
			x.seen.Next(i + len(want))
			x.mu.Unlock()
			return
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("no %q on the terminal, which shows:\n%s", want, text)
		}
	}
}

func status(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}

func TestExecTerminal(t *testing.T) {
	p := newExecPlace(t)
	x := onTerminal(t, p.command("sh", "-c", `test -t 0 && test -t 1 && stty size
		trap "echo interrupted; exit 3" INT; echo waiting; while :; do sleep 0.05; done`))
	x.expect("33 77")
	x.expect("waiting")
	x.write("\x03")
	x.expect("interrupted")
	if got := status(x.cmd.Wait()); got != 3 {
		t.Errorf("status %d after Ctrl-C, want 3", got)
	}
	if strings.Contains(x.text(), "interrupted") {
		t.Error("the interrupt came twice")
	}
	// A command that does not expect it dies of it.
	x = onTerminal(t, p.command("sh", "-c", "echo waiting; sleep 100"))
	x.expect("waiting")
	x.write("\x03")
	if got := status(x.cmd.Wait()); got != 130 {
		t.Errorf("status %d after Ctrl-C, want 130", got)
	}
}

func TestExecJobControl(t *testing.T) {
	p := newExecPlace(t)
	shell := exec.Command("bash", "--norc", "--noprofile", "-i")
	shell.Env = append(os.Environ(), "PS1=$ ", "TERM=dumb")
	x := onTerminal(t, shell)
	x.write(strings.Join(p.command("sh", "-c", `"echo r''un; sleep 1; read line; echo got \$line"`).Args, " ") + "\n")
	x.expect("run")
	x.write("\x1a")
	x.expect("Stopped")
	x.write("echo in the she''ll\n")
	x.expect("in the shell")
	x.write("fg\n")
	x.write("typed\n")
	x.expect("got typed")
	x.write("echo status $?\n")
	x.expect("status 0")
	// A shell of its own beneath us takes the terminal and gives it back.
	x.write(strings.Join(p.command("bash", "--norc", "--noprofile", "-i").Args, " ") + "\n")
	x.write("echo inn''er; exit 5\n")
	x.expect("inner")
	x.write("echo status $?\n")
	x.expect("status 5")
}

func TestExecSignalsAndPipes(t *testing.T) {
	p := newExecPlace(t)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGINT} {
		cmd := p.command("sh", "-c", fmt.Sprintf("trap 'exit 40' %d; echo ready; while :; do sleep 0.05; done", s))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.ReadFull(out, make([]byte, 6))
		cmd.Process.Signal(s)
		if got := status(cmd.Wait()); got != 40 {
			t.Errorf("status %d after %v, want 40", got, s)
		}
	}
	in := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	cmd := p.command("cat")
	cmd.Stdin = bytes.NewReader(in)
	if out, err := cmd.Output(); err != nil || !bytes.Equal(out, in) {
		t.Errorf("a MiB through cat: %v, %d bytes", err, len(out))
	}
}

func TestExecManyAtOnce(t *testing.T) {
	p := newExecPlace(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			var stderr bytes.Buffer
			cmd := p.command("sh", "-c", fmt.Sprintf("sleep 0.%d; echo %d; exit %d", i, i, i))
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if status(err) != i || strings.TrimSpace(string(out)) != strconv.Itoa(i) {
				t.Errorf("number %d: %v, %q, %s", i, err, out, stderr.String())
			}
		})
	}
	all.Wait()
	if _, err := os.Stat(p.pins); err == nil {
		t.Error("pins are left")
	}
}

// What a command leaves running ends with it: its agent ends, too.
func TestExecKillsWhatIsLeft(t *testing.T) {
	p := newExecPlace(t)
	out, err := p.command("sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	// A zombie is for the first process of the host to bury.
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
		syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("the process in the background goes on: %s", stat)
	}
}

// After SIGKILL of sluice exec the command goes on, refused, and the next one
// sweeps what is left once it has ended.
func TestExecKilled(t *testing.T) {
	p := newExecPlace(t)
	marks := filepath.Join(p.dir, "marks")
	cmd := p.command("bash", "-c", `echo $$; while sleep 0.1; do (exec 3<>/dev/tcp/127.0.0.1/1) 2>&1 | tail -1; done`)
	file, err := os.Create(marks)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	for deadline := time.Now().Add(20 * time.Second); child == 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		data, _ := os.ReadFile(marks)
		first, _, ok := strings.Cut(string(data), "\n")
		if ok {
			child, _ = strconv.Atoi(first)
		}
	}
	if child == 0 {
		t.Fatal("the command did not start")
	}
	cmd.Process.Kill()
	cmd.Wait()
	t.Cleanup(func() { syscall.Kill(child, syscall.SIGKILL) })
	before, _ := os.ReadFile(marks)
	time.Sleep(time.Second)
	after, _ := os.ReadFile(marks)
	if fresh := string(after[len(before):]); !strings.Contains(fresh, "refused") {
		t.Errorf("after its agent's death the command sees %q, want refusals", fresh)
	}
	if entries, _ := os.ReadDir(p.pins); len(entries) != 1 {
		t.Errorf("%d installations are pinned while the command goes on, want 1", len(entries))
	}
	if err := p.command("true").Run(); err != nil {
		t.Errorf("another one beside it: %v", err)
	}
	if entries, _ := os.ReadDir(p.pins); len(entries) != 1 {
		t.Errorf("%d installations are pinned after another one, want 1", len(entries))
	}
	syscall.Kill(child, syscall.SIGKILL)
	for range 100 {
		if syscall.Kill(child, 0) != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // its last sleep and tail
	if err := p.command("true").Run(); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if _, err := os.Stat(p.pins); err == nil {
		t.Error("the next one did not sweep")
	}
}

func TestExecEnforced(t *testing.T) {
	p := newExecPlace(t)
	run := func(args ...string) (string, int) {
		var stderr bytes.Buffer
		cmd := exec.Command(p.sluice, append([]string{"exec", "--config", p.config}, args...)...)
		cmd.Stderr = &stderr
		err := cmd.Run()
		return stderr.String(), status(err)
	}
	if said, got := run("--", "true"); got != 0 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "NOT ENFORCED") {
		t.Errorf("as root: status %d, %q", got, said)
	}
	if said, got := run("--strict", "--", "true"); got != 125 || !strings.Contains(said, "NOT ENFORCED") {
		t.Errorf("as root, strictly: status %d, %q", got, said)
	}
	if said, got := run("--strict", "--user", "nobody", "--", "true"); got != 0 || said != "" {
		t.Errorf("as nobody, strictly: status %d, %q", got, said)
	}
}
