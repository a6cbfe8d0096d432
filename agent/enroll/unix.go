package enroll

import (
	"os"
	"slices"

	"sluicegate.io/sluice/redirect"
)

// Unix replaces the unix sockets whose connections are redirected. What is new is refused
// until it is listened for.
func (s *Set) Unix(all []redirect.UnixEndpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.spaces {
		for e, l := range p.unix {
			if !slices.Contains(all, e) {
				l.Close()
				delete(p.unix, e)
			}
		}
	}
	s.unix = slices.Clone(all)
	err := s.k.SetUnix(s.unix)
	s.listenUnix()
	return err
}

// listenUnix makes the listeners that are missing. Folders of sockets that were made
// again are looked up anew. s.mu is held.
func (s *Set) listenUnix() {
	if len(s.unix) == 0 || s.closed {
		return
	}
	if err := s.k.SetUnix(s.unix); err != nil {
		s.o.Log.Error("unix sockets not captured", "error", err)
		return
	}
	for key, p := range s.spaces {
		for _, e := range s.unix {
			if p.unix[e] != nil {
				continue
			}
			l, err := s.k.ListenUnix(p.file, e)
			if err != nil {
				s.o.Log.Error("no listener for a unix socket: its connections are refused", "endpoint", e, "namespace", key.ino, "error", err)
				continue
			}
			p.unix[e] = l
			s.accept(l, p.file)
		}
	}
}

// accept has the owner of the Set accept the connections of l.
func (s *Set) accept(l *redirect.UnixListener, netns *os.File) {
	s.running.Go(func() { s.o.AcceptUnix(l, netns) })
}
