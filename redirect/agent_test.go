package redirect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// agentOrder is what an agent process is started with.
type agentOrder struct {
	Options redirect.Options
	// Dial is the address of a server that greets: the agent dials it before it guards the
	// workload's veths, and then guards them. "": it does neither.
	Dial string
}

// agent is a process that serves an installation, in namespace 3, until it is killed.
func agent() {
	var o agentOrder
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Println("order:", err)
		os.Exit(1)
	}
	k, err := redirect.Open(o.Options)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	l, err := k.Listen(os.NewFile(3, "netns"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if o.Dial != "" {
		if err := dialAndGuard(k, o.Dial); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("serving")
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		unix.Write(c.FD, fmt.Appendf(nil, "PROXY %s from %s", c.Origin.Destination, c.Source))
		c.Close()
	}
}

func dialAndGuard(k *redirect.Kernel, to string) error {
	netns := os.NewFile(4, "netns")
	// A SYN that is dropped is sent again after a second.
	ctx, cancel := context.WithTimeout(context.Background(), 900*time.Millisecond)
	defer cancel()
	fd, err := redirect.Dial(ctx, netns, netip.MustParseAddrPort(to))
	if err != nil {
		return err
	}
	if got := greeting(waitable(fd)); got != "DB" {
		return fmt.Errorf("the database said %q", got)
	}
	unix.Close(fd)
	if names, err := k.GuardVeths(netns); err != nil || len(names) == 0 {
		return fmt.Errorf("guarded %v: %w", names, err)
	}
	return nil
}

// startAgent runs an agent in the agent's cgroup, and waits until it serves. dial is that of
// its order.
func startAgent(t testing.TB, w *world, dial string) *exec.Cmd {
	t.Helper()
	path, err := workerPath()
	must(t, err)
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), roleVariable+"=agent")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{w.wl, w.wl}
	dir, err := os.Open(w.options.AgentCgroup)
	must(t, err)
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	options := w.options
	options.Log = nil
	must(t, json.NewEncoder(in).Encode(agentOrder{options, dial}))
	b := make([]byte, 500)
	n, err := out.Read(b)
	if err != nil || string(b[:n]) != "serving\n" {
		t.Fatalf("agent: %q, %v", b[:n], err)
	}
	return cmd
}
