package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/enroll"
)

// TestDaemon enrolls a process that already runs, and speaks to the daemon as root
// and as somebody else.
func TestDaemon(t *testing.T) {
	p := newExecPlace(t)
	// Others can't go where the test binary lies.
	binary, err := os.ReadFile(p.sluice)
	if err != nil {
		t.Fatal(err)
	}
	p.sluice = filepath.Join(p.dir, "bin", "sluice")
	if err := os.Mkdir(filepath.Dir(p.sluice), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.sluice, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	const mount = "/sys/fs/cgroup/unified"
	root := mount
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	name := fmt.Sprintf("sluicetest-daemon-%d", os.Getpid())
	cgroup := filepath.Join(root, name, "w")
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		t.Skipf("no cgroup2: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reached atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			defer c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("127.0.0.1:1\""), []byte("127.0.0.1:"+port+"\""), 1)
	text = bytes.Replace(text, []byte("stateDir:"), []byte("cgroup: /"+name+", stateDir:"), 1)
	text = append(text, []byte("---\napiVersion: sluicegate.io/v1alpha1\nkind: Workload\nmetadata: {name: w}\nspec: {cgroup: /"+name+"/w}\n")...)
	if err := os.WriteFile(p.config, text, 0o644); err != nil {
		t.Fatal(err)
	}
	// workload starts a process in the cgroup that connects, waits for the end of its
	// connection, and does so again.
	workload := func(out string) *exec.Cmd {
		t.Helper()
		file, err := os.Create(out)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		dir, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd := exec.Command("bash", "-c", `while :; do if exec 3<>/dev/tcp/127.0.0.1/`+port+`; then echo connected; cat <&3; echo ended; else echo refused; fi 2>/dev/null; sleep 0.2; done`)
		cmd.Stdout = file
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() }
	out := filepath.Join(p.dir, "out")
	w := workload(out)
	shows := func(file, want string) bool {
		for range 150 {
			if data, _ := os.ReadFile(file); strings.Contains(string(data), want) {
				return true
			}
			time.Sleep(50 * time.Millisecond)
		}
		return false
	}
	if !shows(out, "connected") || reached.Load() != 1 {
		t.Fatalf("without an agent %d connections arrive, want 1", reached.Load())
	}
	var log bytes.Buffer
	daemon := exec.Command(p.sluice, "agent", "--config", p.config)
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		end(w)
		daemon.Process.Signal(syscall.SIGTERM)
		daemon.Wait()
		if out, err := exec.Command(p.sluice, "agent", "--config", p.config, "--uninstall").CombinedOutput(); err != nil {
			t.Errorf("uninstall: %v %s", err, out)
		}
		for range 50 {
			if enroll.RemoveTree(filepath.Dir(cgroup)) == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	if !shows(out, "ended") {
		t.Error("the connection from before goes on")
	}
	time.Sleep(time.Second)
	if n := reached.Load(); n != 1 {
		t.Errorf("%d connections arrived, want none after enrolment", n-1)
	}
	// A cgroup that is made again is refused, then served, and never let through.
	end(w)
	for range 50 {
		if os.Remove(cgroup) == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(p.dir, "again")
	w = workload(again)
	if !shows(again, "e") { // connected, refused or ended
		t.Error("the new process did nothing")
	}
	time.Sleep(1500 * time.Millisecond)
	if n := reached.Load(); n != 1 {
		t.Errorf("%d connections of the new cgroup arrived", n-1)
	}
	// Root is told everything, in a form for programs too.
	var status struct {
		Ready bool `json:"ready"`
		Agent struct {
			Workloads []struct {
				Name     string
				Enrolled bool
			} `json:"workloads"`
		} `json:"agent"`
	}
	data, err := exec.Command(p.sluice, "status", "--config", p.config, "--output", "json").Output()
	if err != nil || json.Unmarshal(data, &status) != nil || !status.Ready ||
		len(status.Agent.Workloads) != 1 || !status.Agent.Workloads[0].Enrolled {
		t.Errorf("status: %v, %s", err, data)
	}
	for _, args := range [][]string{{"sessions", "--output", "json"}, {"sessions"}, {"verify", "--output", "json"}} {
		if out, err := exec.Command(p.sluice, append(args, "--config", p.config)...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	// Another user runs commands, which are enrolled, and reads nothing.
	as := func(args ...string) (string, error) {
		cmd := exec.Command(p.sluice, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := as("exec", "--run", p.dir+"/run", "--strict", "--", "cat", "/proc/self/cgroup"); err != nil || !strings.Contains(out, name+"/sluice/commands/") {
		t.Errorf("exec as nobody: %v %s", err, out)
	}
	if out, err := as("exec", "--run", p.dir+"/run", "--", "bash", "-c", "echo >/dev/tcp/127.0.0.1/"+port); reached.Load() != 1 {
		t.Errorf("a connection of nobody arrived: %v %s", err, out)
	}
	for _, args := range [][]string{{"status"}, {"sessions"}, {"tail"}, {"replay", "x"}} {
		if out, err := as(append(args, "--config", p.config)...); err == nil {
			t.Errorf("%v as nobody: %s", args, out)
		}
	}
}
