package redirect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"

	"sluicegate.io/sluice/bpf"
)

// Enroll makes the cgroup at path, which is below Parent, a workload: sockets that are
// born in it or in any cgroup below it are redirected. With running set it may have
// processes already: they are frozen for the moment, and their connections to
// endpoints are destroyed. It is best done before the first process.
func (k *Kernel) Enroll(path string, running bool) error {
	if err := k.enroll(path, running); err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	return nil
}

func (k *Kernel) enroll(path string, running bool) (err error) {
	c, err := openCgroup(path)
	if err != nil {
		return err
	}
	if !k.parent.holds(c.path) {
		return fmt.Errorf("%s: %w %s", c.path, ErrOutside, k.parent.path)
	}
	if c.level >= k.parent.level+16 {
		return fmt.Errorf("%s is too deep below the parent", c.path)
	}
	if c.holds(k.agent.path) {
		return errors.New("the agent itself is in this cgroup")
	}
	if born, err := k.decide(c.id); err != nil || born {
		return err // none of its processes was ever a stranger
	}
	if running {
		thaw, err := freeze(c.path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, thaw()) }()
	}
	if err := k.put(c.id); err != nil {
		return err
	}
	if !running {
		return nil
	}
	n, err := k.destroy(c)
	if err != nil {
		return fmt.Errorf("enrolled, but its old connections could not be destroyed: %w", err)
	}
	k.log.Info("enrolled a running workload", "cgroup", c.path, "destroyed", n)
	return nil
}

func (k *Kernel) put(id uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return ErrClosed
	}
	// What is there already has a count of its own.
	err := k.maps[bpf.SluiceMapWorkloads].Update(id, &bpf.SluiceWorkload{}, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		return nil
	}
	return err
}

// decide tells if the kernel has enrolled a cgroup by itself, and that it is to stay so.
func (k *Kernel) decide(id uint64) (born bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var w bpf.SluiceWorkload
	if k.pins == nil || k.maps[bpf.SluiceMapWorkloads].Lookup(id, &w) != nil || w.Born == 0 {
		return false, nil
	}
	if w.Born == bornChild {
		w.Born = bornDecided
		err = k.maps[bpf.SluiceMapWorkloads].Update(id, &w, ebpf.UpdateExist)
	}
	return true, err
}

// Unenroll forgets the cgroup at path. If that is gone, use [Kernel.Forget].
func (k *Kernel) Unenroll(path string) error {
	id, err := CgroupID(path)
	if err != nil {
		return fmt.Errorf("unenroll: %w", err)
	}
	return k.Forget(id)
}

// Forget is Unenroll by the id of a cgroup that may be gone. What was not enrolled is
// no error.
func (k *Kernel) Forget(cgroupID uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return fmt.Errorf("unenroll: %w", ErrClosed)
	}
	err := k.maps[bpf.SluiceMapWorkloads].Delete(cgroupID)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("unenroll: %w", err)
	}
	return nil
}

// Enrolled lists the ids of the enrolled cgroups, as the kernel has them.
func (k *Kernel) Enrolled() ([]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return nil, ErrClosed
	}
	var ids []uint64
	var (
		id    uint64
		value bpf.SluiceWorkload
	)
	it := k.maps[bpf.SluiceMapWorkloads].Iterate()
	for it.Next(&id, &value) {
		ids = append(ids, id)
	}
	return ids, it.Err()
}

// Refusals returns how many calls and connections of each enrolled cgroup were refused since
// it was enrolled, by its id. Packets that the kernel drops are not among them.
func (k *Kernel) Refusals() (map[uint64]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return nil, ErrClosed
	}
	all := map[uint64]uint64{}
	var (
		id    uint64
		value bpf.SluiceWorkload
	)
	it := k.maps[bpf.SluiceMapWorkloads].Iterate()
	for it.Next(&id, &value) {
		all[id] = uint64(value.Refused)
	}
	return all, it.Err()
}

// freezeTimeout is how long processes may take to stop: one in an uninterruptible
// sleep cannot.
const freezeTimeout = 3 * time.Second

// freeze stops every process of a cgroup. The function that it returns lets them go
// on, unless somebody else had stopped them.
func freeze(path string) (thaw func() error, err error) {
	control, events := filepath.Join(path, "cgroup.freeze"), filepath.Join(path, "cgroup.events")
	before, err := os.ReadFile(control)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	if bytes.HasPrefix(before, []byte("1")) {
		return func() error { return nil }, nil
	}
	thaw = func() error { return os.WriteFile(control, []byte("0"), 0) }
	if err := os.WriteFile(control, []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	for deadline := time.Now().Add(freezeTimeout); ; time.Sleep(time.Millisecond) {
		data, err := os.ReadFile(events)
		if err == nil && bytes.Contains(data, []byte("frozen 1")) {
			return thaw, nil
		}
		if err != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("freeze %s: processes do not stop", path), err, thaw())
		}
	}
}
