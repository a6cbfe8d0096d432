package enroll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"sluicegate.io/sluice/redirect"
)

// scanEvery is how often cgroups and namespaces are looked at. What is new between two
// looks the kernel has enrolled by itself; where it cannot, it is refused meanwhile.
const scanEvery = time.Second

// spacesEach bounds the network namespaces in which one workload has listeners: whoever
// may make namespaces could use up those of all others.
const spacesEach = 64

// goneFor is how long a cgroup that is gone is still known: connections of its last
// moment may be on their way.
const goneFor = 10 * time.Second

// Target is a workload that is to be enrolled.
type Target struct {
	Name   string
	Cgroup string // path below the mount, or:
	Unit   string // systemd unit
	Path   string // or: path of the cgroup, which the caller has enrolled itself
	Token  string // file, "" for none
	Pod    *Pod   // of a pod: who it is; Path is that of its cgroup
}

// kernel is what a Set needs of the redirection. The real one is *redirect.Kernel.
type kernel interface {
	Enroll(path string, running bool) error
	Forget(cgroupID uint64) error
	Expect(e redirect.Expected) error
	Born() ([]uint64, error)
	Listen(netns *os.File) (*redirect.Listener, error)
	SetUnix(all []redirect.UnixEndpoint) error
	ListenUnix(netns *os.File, e redirect.UnixEndpoint) (*redirect.UnixListener, error)
	GuardVeths(netns *os.File) ([]string, error)
	UnguardVeths(netns *os.File) error
}

// Options tune a Set.
type Options struct {
	Log *slog.Logger // default: discard
	// Accept is given each new listener, and the namespace that it is in, for its
	// whole life. It owns neither.
	Accept func(l *redirect.Listener, netns *os.File)
	// AcceptUnix is given those of unix sockets, in the same way.
	AcceptUnix func(l *redirect.UnixListener, netns *os.File)
}

// Set is the enrolled workloads, and the listeners for them.
type Set struct {
	mount string
	k     kernel
	o     Options

	mu       sync.Mutex
	wanted   map[string]Target // by name
	enrolled map[uint64]*entry // by cgroup id
	gone     map[uint64]*entry // for a moment longer
	problems map[string]string // by name
	spaces   map[space]*place
	unix     []redirect.UnixEndpoint
	parents  []string // below which pods are made
	closed   bool
	running  sync.WaitGroup
}

type entry struct {
	target Target
	path   string
	risks  []string
	since  time.Time // of one that is gone

	crowded bool // it was told that it uses too many namespaces
}

// space identifies a network namespace.
type space struct{ dev, ino uint64 }

type place struct {
	file     *os.File
	listener *redirect.Listener
	unix     map[redirect.UnixEndpoint]*redirect.UnixListener
}

// close closes the listeners of a namespace.
func (p *place) close() {
	for _, l := range p.unix {
		l.Close()
	}
	p.listener.Close()
}

// Workload is what status shows of one target.
type Workload struct {
	Name, Cgroup string
	Enrolled     bool
	Problem      string
	Risks        []string
	CgroupID     uint64 // 0: not enrolled
	Refused      uint64
}

// New returns an empty Set for the cgroup2 hierarchy at mount.
func New(mount string, k kernel, o Options) *Set {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Set{mount: mount, k: k, o: o, wanted: map[string]Target{}, enrolled: map[uint64]*entry{},
		gone: map[uint64]*entry{}, problems: map[string]string{}, spaces: map[space]*place{}}
}

// Want replaces what is to be enrolled by name. What is not wanted any more is
// forgotten by the kernel. Targets that were added with Add stay.
func (s *Set) Want(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make(map[string]Target, len(targets))
	for _, t := range targets {
		wanted[t.Name] = t
	}
	for id, e := range s.enrolled {
		if e.target.Path != "" {
			continue
		}
		if t, ok := wanted[e.target.Name]; ok && t.Cgroup == e.target.Cgroup && t.Unit == e.target.Unit {
			e.target = t
			continue
		}
		s.forget(id)
	}
	s.wanted = wanted
	s.expect()
	s.scan()
}

// expect has the kernel enroll what is wanted in the moment in which it is made. It
// comes before the look at what is there, so that nothing is missed between. s.mu is held.
func (s *Set) expect() {
	e := redirect.Expected{Parents: s.parents}
	for _, t := range s.wanted {
		if t.Unit != "" {
			e.Names = append(e.Names, t.Unit)
		} else {
			e.Paths = append(e.Paths, filepath.Join(s.mount, t.Cgroup))
		}
	}
	if err := s.k.Expect(e); err != nil {
		s.o.Log.Warn("a workload that is started again is enrolled a moment later", "error", err)
	}
}

// Add enrolls a cgroup that has no process yet.
func (s *Set) Add(t Target) error {
	id, err := redirect.CgroupID(t.Path)
	if err != nil {
		return fmt.Errorf("enroll %s: %w", t.Name, err)
	}
	if err := s.k.Enroll(t.Path, Populated(t.Path)); err != nil {
		return fmt.Errorf("enroll %s: %w", t.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enrolled[id] = &entry{target: t, path: t.Path}
	return nil
}

// Remove forgets a cgroup that was added.
func (s *Set) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.enrolled {
		if e.path == path {
			s.forget(id)
		}
	}
}

// forget takes a cgroup out of the kernel's table. s.mu is held.
func (s *Set) forget(id uint64) {
	if err := s.k.Forget(id); err != nil {
		s.o.Log.Warn("cgroup not forgotten", "workload", s.enrolled[id].target.Name, "error", err)
	}
	delete(s.enrolled, id)
}

// Lookup tells which workload a cgroup is, or was a moment ago. The kernel may have
// enrolled it before this process has heard of it: then it looks.
func (s *Set) Lookup(cgroupID uint64) (t Target, path string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.enrolled[cgroupID]
	if e == nil {
		e = s.gone[cgroupID]
	}
	if e == nil {
		s.scan()
		e = s.enrolled[cgroupID]
	}
	if e == nil {
		return Target{}, "", false
	}
	return e.target, e.path, true
}

// Within reports whether a cgroup is that of a target or below it, also of one that
// is still looked for.
func (s *Set) Within(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	below := func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	for _, e := range s.enrolled {
		if below(e.path) {
			return true
		}
	}
	for _, t := range s.wanted {
		if t.Cgroup != "" && below(filepath.Join(s.mount, t.Cgroup)) || t.Path != "" && below(t.Path) ||
			t.Unit != "" && strings.Contains(path+"/", "/"+t.Unit+"/") {
			return true
		}
	}
	return false
}

// Workloads lists all targets but pods.
func (s *Set) Workloads() []Workload {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Workload
	found := map[string]bool{}
	for id, e := range s.enrolled {
		if e.target.Pod != nil {
			continue
		}
		found[e.target.Name] = true
		all = append(all, Workload{Name: e.target.Name, Cgroup: s.below(e.path), Enrolled: true, Risks: e.risks, CgroupID: id})
	}
	for name, t := range s.wanted {
		if !found[name] {
			all = append(all, Workload{Name: name, Cgroup: t.Cgroup, Problem: s.problems[name]})
		}
	}
	slices.SortFunc(all, func(a, b Workload) int { return strings.Compare(a.Name+a.Cgroup, b.Name+b.Cgroup) })
	return all
}

func (s *Set) below(path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, s.mount), "/")
}

// Run keeps cgroups and namespaces up to date until ctx is done. What is enrolled stays so,
// and listeners go on until Close.
func (s *Set) Run(ctx context.Context) error {
	// A cgroup that is made again is seen at once if the kernel tells of it; the look
	// each second is for what it does not tell.
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch cgroups: %w", err)
	}
	defer w.Close()
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for {
		for _, dir := range s.watched() {
			w.Add(dir) // a folder that is gone is watched when it is back
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if !e.Has(fsnotify.Create) {
				continue
			}
		case <-w.Errors:
		case <-tick.C:
		}
		s.mu.Lock()
		s.scan()
		s.mu.Unlock()
	}
}

// watched are the folders in which wanted cgroups appear.
func (s *Set) watched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, t := range s.wanted {
		if t.Cgroup != "" {
			all = append(all, filepath.Dir(filepath.Join(s.mount, t.Cgroup)))
		}
	}
	for _, e := range s.enrolled {
		if e.target.Unit != "" {
			all = append(all, filepath.Dir(e.path))
		}
	}
	return all
}

// Replaced reports whether another agent listens in all namespaces, and all that came here
// before have been accepted. It is asked when Run has ended.
func (s *Set) Replaced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.spaces {
		if !p.listener.Replaced() {
			return false
		}
	}
	return true
}

// Close closes the listeners: connections are refused from then on, unless another agent
// has its own. What is enrolled stays so in the kernel.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	for key, p := range s.spaces {
		p.close()
		delete(s.spaces, key)
	}
	s.mu.Unlock()
	s.running.Wait()
}

// scan enrolls what is new and listens where it has to. s.mu is held.
func (s *Set) scan() {
	if s.closed {
		return
	}
	for id, e := range s.enrolled {
		if now, err := redirect.CgroupID(e.path); err != nil || now != id {
			s.o.Log.Info("cgroup is gone", "workload", e.target.Name, "cgroup", s.below(e.path))
			s.forget(id)
			e.since = time.Now()
			s.gone[id] = e
		}
	}
	for id, e := range s.gone {
		if time.Since(e.since) > goneFor {
			delete(s.gone, id)
		}
	}
	for name, t := range s.wanted {
		if err := s.find(t); err != nil {
			if s.problems[name] != err.Error() && !errors.Is(err, ErrNoCgroup) {
				s.o.Log.Warn("workload not enrolled", "workload", name, "error", err)
			}
			s.problems[name] = err.Error()
			continue
		}
		delete(s.problems, name)
	}
	s.disown()
	s.listen()
}

// disown forgets what the kernel has enrolled by itself, and is not wanted: its name is
// that of a unit, and its place is not. s.mu is held.
func (s *Set) disown() {
	ids, err := s.k.Born()
	if err != nil {
		s.o.Log.Warn("enrolled cgroups not listed", "error", err)
	}
	for _, id := range ids {
		if s.enrolled[id] != nil {
			continue
		}
		// One that was made since the targets were looked for is for the next look.
		if path, err := redirect.CgroupPath(s.mount, id); err == nil && s.wants(path) {
			continue
		}
		if err := s.k.Forget(id); err != nil {
			s.o.Log.Warn("cgroup not forgotten", "error", err)
		}
	}
}

// wants reports whether path is the cgroup of a target. s.mu is held.
func (s *Set) wants(path string) bool {
	for _, t := range s.wanted {
		if t.Unit == "" {
			if path == filepath.Join(s.mount, t.Cgroup) {
				return true
			}
		} else if found, err := Unit(s.mount, t.Unit); err == nil && found == path {
			return true
		}
	}
	return false
}

// find enrolls the cgroup of a target, if it is not.
func (s *Set) find(t Target) error {
	path := filepath.Join(s.mount, t.Cgroup)
	if t.Unit != "" {
		var err error
		if path, err = Unit(s.mount, t.Unit); err != nil {
			return err
		}
	}
	if _, err := os.Stat(path); err != nil {
		return ErrNoCgroup
	}
	id, err := redirect.CgroupID(path)
	if err != nil {
		return err
	}
	if s.enrolled[id] != nil {
		return nil
	}
	if err := s.k.Enroll(path, Populated(path)); err != nil {
		return err
	}
	e := &entry{target: t, path: path}
	s.enrolled[id] = e
	s.o.Log.Info("workload enrolled", "workload", t.Name, "cgroup", s.below(path))
	if risks, err := redirect.Inspect(path); err == nil {
		for _, r := range risks {
			e.risks = append(e.risks, r.Text)
			if r.Breaks {
				s.o.Log.Warn("workload is not fully enforced", "workload", t.Name, "risk", r.Code, "because", r.Text)
			}
		}
	}
	return nil
}

// listen makes a listener for each namespace of enrolled processes, and of this
// process, and closes those that nobody uses any more. s.mu is held.
func (s *Set) listen() {
	used := map[space]bool{}
	s.place("/proc/self/ns/net", used)
	for _, e := range s.enrolled {
		own := map[space]bool{}
		pids := Processes(e.path)
		slices.Sort(pids) // who was there first keeps its listener
		for _, pid := range pids {
			file := fmt.Sprintf("/proc/%d/ns/net", pid)
			if key, ok := spaceOf(file); ok && (own[key] || len(own) < spacesEach) {
				own[key] = true
				s.place(file, used)
			} else if ok && !e.crowded {
				e.crowded = true
				s.o.Log.Warn("a workload uses too many network namespaces: in those beyond, its connections are refused",
					"workload", e.target.Name, "most", spacesEach)
			}
		}
	}
	for key, p := range s.spaces {
		if !used[key] {
			p.close()
			delete(s.spaces, key)
		}
	}
	s.listenUnix()
}

// spaceOf tells which namespace a file is; not ok if its process is gone.
func spaceOf(file string) (key space, ok bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		return key, false
	}
	return space{st.Dev, st.Ino}, true
}

func (s *Set) place(file string, used map[space]bool) {
	key, ok := spaceOf(file)
	if !ok {
		return
	}
	if used[key] || s.spaces[key] != nil {
		used[key] = true
		return
	}
	f, err := os.Open(file)
	if err != nil {
		return
	}
	l, err := s.k.Listen(f)
	if err != nil {
		f.Close()
		if !errors.Is(err, redirect.ErrNoNamespace) {
			s.o.Log.Error("no listener in a network namespace: its connections are refused", "namespace", key.ino, "error", err)
		}
		return
	}
	used[key] = true
	s.spaces[key] = &place{f, l, map[redirect.UnixEndpoint]*redirect.UnixListener{}}
	s.running.Go(func() {
		defer f.Close()
		s.o.Accept(l, f)
	})
}

// Scan looks at cgroups and namespaces now. It returns an error if this process's
// own namespace has no listener.
func (s *Set) Scan() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scan()
	if len(s.spaces) == 0 {
		return errors.New("no listener could be opened")
	}
	return nil
}
