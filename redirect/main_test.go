package redirect_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary is four programs. Started by go test, as root, it starts itself again
// in network and mount namespaces of its own: nothing it does there is seen outside, but
// its cgroups. From there it starts itself as workloads and as agents.
const roleVariable = "SLUICETEST_REDIRECT_ROLE"

// init keeps the first thread out of the way: what it does to its namespaces would be
// seen as the process's.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "worker":
		worker()
	case "agent":
		agent()
	case "inside":
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "test namespaces:", err)
			os.Exit(1)
		}
		if divide > 1 {
			fmt.Println("SLUICETEST_DIVIDE: the counts of long loops are divided by", divide)
		}
		code := m.Run()
		cleanup()
		os.Exit(code)
	default:
		if os.Geteuid() != 0 {
			os.Exit(m.Run())
		}
		os.Exit(inside())
	}
}

// inside runs the tests in a child with namespaces of its own.
func inside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"=inside")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// settle mounts a bpffs that goes with this process.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=700")
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces, cgroups and BPF on the real kernel")
	}
}
