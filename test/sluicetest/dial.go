package sluicetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dialerVariable makes a test binary run as the process that dials. Its value is
// the unix socket on which the test waits for it.
const dialerVariable = "SLUICETEST_DIALER"

// Main runs a test binary's tests, or makes it the process that dials.
func Main(m *testing.M) {
	if socket := os.Getenv(dialerVariable); socket != "" {
		if err := serveDials(socket); err != nil {
			fmt.Fprintln(os.Stderr, "sluicetest dialer:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// dialer is the test's end of the process that dials.
type dialer struct {
	mu   sync.Mutex
	conn *net.UnixConn
	cmd  *exec.Cmd
	done chan struct{}
}

// Dial connects to address as a workload under Sluice does.
func (s *Sluice) Dial(ctx context.Context, address string) (net.Conn, error) {
	s.mu.Lock()
	d := s.dialer
	s.mu.Unlock()
	if d == nil {
		var err error
		if d, err = s.startDialer(ctx); err != nil {
			return nil, err
		}
	}
	return d.dial(address)
}

// Workload returns the process id of what dials, or 0.
func (s *Sluice) Workload() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialer == nil {
		return 0
	}
	return s.dialer.cmd.Process.Pid
}

func (s *Sluice) startDialer(ctx context.Context) (*dialer, error) {
	path := filepath.Join(s.dir, "dialer.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := s.Command(context.WithoutCancel(ctx), self)
	cmd.Env = append(os.Environ(), dialerVariable+"="+path)
	cmd.Stderr = s
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &dialer{cmd: cmd, done: make(chan struct{})}
	go func() { cmd.Wait(); l.Close(); close(d.done) }()
	l.SetDeadline(time.Now().Add(30 * time.Second))
	if d.conn, err = l.AcceptUnix(); err != nil {
		d.close()
		return nil, fmt.Errorf("sluice exec did not run its command: %w\n%s", err, s.Log())
	}
	s.mu.Lock()
	s.dialer = d
	s.mu.Unlock()
	return d, nil
}

func (d *dialer) close() {
	if d.conn != nil {
		d.conn.Close() // the dialer exits when its socket ends
	} else {
		d.cmd.Process.Signal(os.Interrupt)
	}
	select {
	case <-d.done:
	case <-time.After(15 * time.Second):
		d.cmd.Process.Kill()
		<-d.done
	}
}

func (d *dialer) dial(address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.conn.Write([]byte(address)); err != nil {
		return nil, err
	}
	text, control := make([]byte, 1024), make([]byte, syscall.CmsgSpace(4))
	n, cn, _, _, err := d.conn.ReadMsgUnix(text, control)
	if err != nil {
		return nil, err
	}
	if cn == 0 {
		if n == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, errors.New(string(text[:n]))
	}
	messages, err := syscall.ParseSocketControlMessage(control[:cn])
	if err != nil {
		return nil, err
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fds[0]), address)
	defer f.Close()
	return net.FileConn(f)
}

// serveDials is the process that dials: for every address that it reads it
// answers with a connected socket, or with the error.
func serveDials(socket string) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	address := make([]byte, 512)
	for {
		n, err := conn.Read(address)
		if errors.Is(err, io.EOF) || n == 0 {
			return nil
		} else if err != nil {
			return err
		}
		if err := answer(conn, string(address[:n])); err != nil {
			return err
		}
	}
}

// answer sends a socket that is connected to address. Its own copy of it is
// closed, so that the one that asked alone keeps the connection open.
func answer(conn *net.UnixConn, address string) error {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		_, err = conn.Write([]byte(err.Error()))
		return err
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, err = conn.WriteMsgUnix([]byte("ok"), syscall.UnixRights(int(f.Fd())), nil)
	return err
}
