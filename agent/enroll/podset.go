package enroll

import (
	"fmt"
	"os"
	"slices"
	"time"

	"sluicegate.io/sluice/redirect"
)

// Below has the kernel enroll whatever cgroup is made directly in these folders, until
// AddPod or Exempt decides: its connections to endpoints are refused meanwhile.
func (s *Set) Below(parents []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(parents, s.parents) {
		return
	}
	s.parents = parents
	s.expect()
}

// AddPod enrolls the cgroup of a pod, or replaces what is known of one that is enrolled,
// and listens in its network. What already ran has its connections to endpoints cut.
func (s *Set) AddPod(path string, p Pod) error {
	id, err := redirect.CgroupID(path)
	if err != nil {
		return fmt.Errorf("enroll pod: %w", ErrNoCgroup)
	}
	s.mu.Lock()
	e := s.enrolled[id]
	known := e != nil
	if known {
		e.target.Name, e.target.Pod = p.Name, &p
	} else {
		e = &entry{target: Target{Name: p.Name, Path: path, Pod: &p}, path: path}
		s.enrolled[id] = e
	}
	if !s.closed {
		s.listen() // before it is enrolled, so that what runs finds a listener
	}
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := s.k.Enroll(path, Populated(path)); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.enrolled[id] == e {
			delete(s.enrolled, id)
		}
		return fmt.Errorf("enroll pod: %w", err)
	}
	return nil
}

// Exempt lets the cgroup of a pod go, whoever enrolled it.
func (s *Set) Exempt(path string) error {
	id, err := redirect.CgroupID(path)
	if err != nil {
		return fmt.Errorf("exempt pod: %w", ErrNoCgroup)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.k.Forget(id); err != nil {
		return fmt.Errorf("exempt pod: %w", err)
	}
	if e := s.enrolled[id]; e != nil {
		delete(s.enrolled, id)
		e.since = time.Now() // what it dialled before is accepted yet
		s.gone[id] = e
	}
	return nil
}

// Listen looks for network namespaces without a listener now, and not at the next look.
func (s *Set) Listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.listen()
	}
}

// Listening reports whether there is a listener in the network namespace of each process
// of the cgroup at path.
func (s *Set) Listening(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := Processes(path)
	for _, pid := range pids {
		key, ok := spaceOf(fmt.Sprintf("/proc/%d/ns/net", pid))
		if ok && s.spaces[key] == nil {
			return false
		}
	}
	return len(pids) > 0
}

// Guard holds the packets of a pod that no hook of sockets sees, at the host's ends of its
// veths, and returns their names.
func (s *Set) Guard(path string) ([]string, error) {
	netns, err := Network(path)
	if err != nil {
		return nil, err
	}
	defer netns.Close()
	return s.k.GuardVeths(netns)
}

// Unguard ends that.
func (s *Set) Unguard(path string) error {
	netns, err := Network(path)
	if err != nil {
		return err
	}
	defer netns.Close()
	return s.k.UnguardVeths(netns)
}

// Network opens the network namespace of a process of the cgroup at path.
func Network(path string) (*os.File, error) {
	for _, pid := range Processes(path) {
		if f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			return f, nil
		}
	}
	return nil, ErrNoCgroup
}
