package redirect

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"sluicegate.io/sluice/bpf"
)

// Expected says which cgroups the kernel enrolls by itself, in the moment in which they
// are made: before anybody can see them, and whether or not an agent runs.
type Expected struct {
	// Paths are cgroups below Parent, as Enroll takes them. They need not be there,
	// nor need what is above them.
	Paths []string
	// Names are names of cgroups at any depth below Parent, such as those of systemd's
	// units, but neither below a *.service nor below a workload, and only those that
	// root makes: what others make must not pass for a unit.
	Names []string
	// Parents are cgroups, which are there, whose children are enrolled whatever their
	// names, and are undecided until [Kernel.Enroll] or [Kernel.Forget] decides. They
	// are those in which nobody makes cgroups but who starts containers.
	Parents []string
}

// How a workload came to be one: as in bpf/types.h, and bornDecided, which was bornChild
// before somebody decided.
const (
	bornNamed   = 1
	bornChild   = 2
	bornDecided = 3
)

// traces are the programs that follow the making of cgroups.
var traces = []string{bpf.SluiceProgSluiceGone, bpf.SluiceProgSluiceBorn}

// hasBorn tells if the kernel can enroll by itself: it has tracepoints that programs may
// be attached to.
func hasBorn() bool {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return false
	}
	for _, name := range []string{"btf_trace_cgroup_mkdir", "btf_trace_cgroup_rmdir"} {
		var t *btf.Typedef
		if spec.TypeByName(name, &t) != nil {
			return false
		}
	}
	return true
}

// Expect replaces what the kernel enrolls by itself. It does not look at cgroups that are
// there already: enroll them afterwards, and none is missed. What is enrolled stays so.
// What cannot be enrolled anyway is told in the error, and the rest is expected. It
// returns [ErrUnsupported] if this kernel lacks the tracepoints.
func (k *Kernel) Expect(e Expected) error {
	if err := k.expect(e); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	return nil
}

func (k *Kernel) expect(e Expected) error {
	paths, names := map[bpf.SluiceExpectedPath]bool{}, map[bpf.SluiceExpectedName]bool{}
	var bad error
	for _, path := range e.Paths {
		if key, err := k.expectedPath(path); err != nil {
			bad = errors.Join(bad, err)
		} else {
			paths[key] = true
		}
	}
	for _, name := range e.Names {
		if key, err := k.expectedName(name); err != nil {
			bad = errors.Join(bad, err)
		} else {
			names[key] = true
		}
	}
	parents := map[uint64]bool{}
	for _, path := range e.Parents {
		if c, err := openCgroup(path); err != nil {
			bad = errors.Join(bad, err)
		} else if !k.parent.holds(c.path) {
			bad = errors.Join(bad, fmt.Errorf("%s: %w %s", path, ErrOutside, k.parent.path))
		} else {
			parents[c.id] = true
		}
	}
	return errors.Join(k.setExpected(paths, names, parents), bad)
}

func (k *Kernel) setExpected(paths map[bpf.SluiceExpectedPath]bool, names map[bpf.SluiceExpectedName]bool, parents map[uint64]bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return ErrClosed
	}
	none := len(paths)+len(names)+len(parents) == 0
	if !none && !k.born {
		return ErrUnsupported
	}
	if err := replace(k.maps[bpf.SluiceMapExpectedPaths], paths); err != nil {
		return err
	}
	if err := replace(k.maps[bpf.SluiceMapExpectedNames], names); err != nil {
		return err
	}
	if err := replace(k.maps[bpf.SluiceMapExpectedParents], parents); err != nil {
		return err
	}
	var failed error
	for _, program := range traces {
		if none {
			failed = errors.Join(failed, k.untrace(program))
		} else {
			failed = errors.Join(failed, k.trace(program))
		}
	}
	return failed
}

// expectedPath gives the key of a cgroup: its path from the root of the hierarchy.
func (k *Kernel) expectedPath(path string) (key bpf.SluiceExpectedPath, err error) {
	path = filepath.Clean(path)
	switch rel := strings.TrimPrefix(path, strings.TrimSuffix(k.parent.root, "/")); {
	case !k.parent.holds(path) || path == k.parent.path:
		return key, fmt.Errorf("%s: %w %s", path, ErrOutside, k.parent.path)
	case strings.Count(rel, "/") >= int(k.parent.level)+16:
		return key, fmt.Errorf("%s is too deep below the parent", path)
	case len(rel) >= len(key.Path)-1: // a longer one is cut off, and might look the same
		return key, fmt.Errorf("%s is too long: %d bytes are the most", path, len(key.Path)-2)
	case (cgroup{path: path}).holds(k.agent.path):
		return key, fmt.Errorf("%s: the agent itself is in this cgroup", path)
	default:
		copy(key.Path[:], rel)
	}
	return key, nil
}

func (k *Kernel) expectedName(name string) (key bpf.SluiceExpectedName, err error) {
	switch {
	case name == "" || strings.ContainsAny(name, "/\x00") || len(name) >= len(key.Name):
		return key, fmt.Errorf("%q is no name of a cgroup", name)
	case slices.Contains(strings.Split(k.agent.path, "/"), name):
		return key, fmt.Errorf("%s: the agent itself is in this cgroup", name)
	}
	copy(key.Name[:], name)
	return key, nil
}

// replace makes a table hold these keys. New ones come first, so that what was and stays
// expected is so at every moment.
func replace[K comparable](m *ebpf.Map, want map[K]bool) error {
	for key := range want {
		if err := m.Put(&key, uint32(1)); err != nil {
			return err
		}
	}
	var (
		key K
		old []K
	)
	value := make([]byte, m.ValueSize())
	it := m.Iterate()
	for it.Next(&key, &value) {
		if !want[key] {
			old = append(old, key)
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	for _, key := range old {
		if err := m.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// Born lists the ids of the cgroups that the kernel enrolled by itself, since their path
// or name was expected, and that are there.
func (k *Kernel) Born() ([]uint64, error) {
	return k.bornAs(func(born uint32) bool { return born == bornNamed })
}

// Undecided lists the ids of the cgroups that the kernel enrolled since those above are
// among Expected.Parents, and about which nobody has decided since.
func (k *Kernel) Undecided() ([]uint64, error) {
	return k.bornAs(func(born uint32) bool { return born == bornChild })
}

func (k *Kernel) bornAs(is func(born uint32) bool) ([]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return nil, ErrClosed
	}
	var (
		ids   []uint64
		id    uint64
		value bpf.SluiceWorkload
	)
	it := k.maps[bpf.SluiceMapWorkloads].Iterate()
	for it.Next(&id, &value) {
		if is(value.Born) {
			ids = append(ids, id)
		}
	}
	return ids, it.Err()
}

// CgroupPath returns the path of the cgroup with this id, in the hierarchy that is
// mounted at mount.
func CgroupPath(mount string, id uint64) (string, error) {
	return pathOf(mount, id)
}
