package agent

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/redirect"
)

// folder is our cgroup below the mount of cgroup2.
const folder = "sluice"

// execPrefix begins the names of the cgroups of each `sluice exec` in it.
const execPrefix = "exec-"

// place is the cgroups of one `sluice exec`: the agent's own, and one in which
// what is enrolled lives, with the programs on it.
type place struct {
	mount, base string
	agent       string // the agent's own processes
	parent      string // the programs sit here
	command     string // enrolled: the command and all that it starts
	before      string // where this process came from
	pin         string
}

// newPlace makes the cgroups and moves this process into the agent's. Undo it with
// leave.
func newPlace(mount, pins string) (*place, error) {
	var id [4]byte
	rand.Read(id[:])
	name := execPrefix + strconv.Itoa(os.Getpid()) + "-" + hex.EncodeToString(id[:])
	base := filepath.Join(mount, folder, name)
	p := &place{mount: mount, base: base, agent: filepath.Join(base, "agent"), parent: filepath.Join(base, "workload"),
		pin: filepath.Join(pins, name)}
	p.command = filepath.Join(p.parent, "command")
	var err error
	if p.before, err = enroll.Own(mount, os.Getpid()); err != nil {
		return nil, err
	}
	for _, dir := range []string{p.agent, p.command} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
	}
	if err := enroll.Join(p.agent, os.Getpid()); err != nil {
		enroll.RemoveTree(base)
		return nil, err
	}
	return p, nil
}

// end kills what is left of the command's processes.
func (p *place) end() error {
	if !enroll.Populated(p.command) {
		return nil
	}
	// cgroup.kill is of Linux 5.14; before it, one by one.
	if err := os.WriteFile(filepath.Join(p.command, "cgroup.kill"), []byte("1"), 0); err != nil {
		for range 100 {
			for _, pid := range enroll.Processes(p.command) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			if !enroll.Populated(p.command) {
				break
			}
		}
	}
	return waitEmpty(p.command)
}

// leave moves this process back and removes the cgroups.
func (p *place) leave() error {
	err := enroll.Join(p.before, os.Getpid())
	err = errors.Join(err, waitEmpty(p.base), enroll.RemoveTree(p.base))
	os.Remove(filepath.Join(p.mount, folder)) // succeeds for the last one
	return err
}

// sweep removes what dead agents of `sluice exec` left behind.
func sweep(mount, pins string) []error {
	var all []error
	if _, err := redirect.Sweep(pins); err != nil {
		all = append(all, err)
	}
	entries, err := os.ReadDir(filepath.Join(mount, folder))
	if err != nil {
		return all
	}
	for _, e := range entries {
		rest, found := strings.CutPrefix(e.Name(), execPrefix)
		digits, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(digits)
		path := filepath.Join(mount, folder, e.Name())
		if !found || err != nil || syscall.Kill(pid, 0) == nil || enroll.Populated(path) {
			continue
		}
		if err := enroll.RemoveTree(path); err != nil {
			all = append(all, err)
		}
	}
	os.Remove(pins) // succeeds if it is empty
	return all
}
