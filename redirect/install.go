package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/bpf"
)

// A hook is a program with the place where it belongs.
type hook struct {
	program string
	attach  ebpf.AttachType
	at      func(*Kernel) cgroup
}

func onParent(k *Kernel) cgroup { return k.parent }
func onAgent(k *Kernel) cgroup  { return k.agent }
func onRoot(k *Kernel) cgroup   { return cgroup{path: k.parent.root, id: k.parent.top} }

// hooks lists what is attached to cgroups, in the order in which it is.
var hooks = []hook{
	{bpf.SluiceProgSluiceAccept, ebpf.AttachCGroupSockOps, onAgent},
	{bpf.SluiceProgSluiceSockops, ebpf.AttachCGroupSockOps, onParent},
	{bpf.SluiceProgSluiceCreate, ebpf.AttachCGroupInetSockCreate, onParent},
	{bpf.SluiceProgSluicePeer4, ebpf.AttachCgroupInet4GetPeername, onParent},
	{bpf.SluiceProgSluicePeer6, ebpf.AttachCgroupInet6GetPeername, onParent},
	{bpf.SluiceProgSluiceConnect4, ebpf.AttachCGroupInet4Connect, onParent},
	{bpf.SluiceProgSluiceConnect6, ebpf.AttachCGroupInet6Connect, onParent},
	{bpf.SluiceProgSluiceGate4, ebpf.AttachCGroupInet4Connect, onRoot},
	{bpf.SluiceProgSluiceGate6, ebpf.AttachCGroupInet6Connect, onRoot},
	{bpf.SluiceProgSluiceSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, onParent},
	{bpf.SluiceProgSluiceSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, onParent},
	{bpf.SluiceProgSluiceBind4, ebpf.AttachCGroupInet4Bind, onParent},
	{bpf.SluiceProgSluiceBind6, ebpf.AttachCGroupInet6Bind, onParent},
	{bpf.SluiceProgSluiceEgress, ebpf.AttachCGroupInetEgress, onParent},
	{bpf.SluiceProgSluiceUnix, ebpf.AttachCgroupUnixConnect, onParent},
	{bpf.SluiceProgSluiceGateUnix, ebpf.AttachCgroupUnixConnect, onRoot},
}

// wanted tells if this installation has the hook.
func (k *Kernel) wanted(h hook) bool {
	switch h.program {
	case bpf.SluiceProgSluiceEgress:
		return !k.options.NoGuard
	case bpf.SluiceProgSluiceGate4, bpf.SluiceProgSluiceGate6:
		return k.parent.id != k.parent.top // the programs on the parent see every socket then
	case bpf.SluiceProgSluiceUnix:
		return k.unix
	case bpf.SluiceProgSluiceGateUnix:
		return k.unix && k.parent.id != k.parent.top
	}
	return true
}

// install loads the programs, with the maps that are pinned or new ones, and attaches
// or updates each.
func (k *Kernel) install() error {
	if err := k.adoptable(); err != nil {
		return err
	}
	if err := k.load(); err != nil {
		return err
	}
	if err := k.admitAgent(); err != nil {
		return err
	}
	// The names that a dead agent listened on are anybody's now.
	if err := replace(k.maps[bpf.SluiceMapUnixProxies], map[bpf.SluiceUnixPlace]bool{}); err != nil {
		return fmt.Errorf("forget old listeners: %w", err)
	}
	spec := k.spec.Copy()
	delete(spec.Programs, bpf.SluiceProgSluiceLookup)
	delete(spec.Programs, bpf.SluiceProgSluiceVeth)
	delete(spec.Programs, bpf.SluiceProgSluiceUnixGuard) // SetUnix attaches it
	for _, name := range traces {                        // Expect attaches them
		delete(spec.Programs, name)
	}
	for _, h := range hooks {
		if !k.wanted(h) {
			delete(spec.Programs, h.program)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: k.maps})
	if err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	defer c.Close()
	for _, h := range hooks {
		if !k.wanted(h) {
			os.Remove(k.pins.link(h.program))
			continue
		}
		if err := k.attach(h, c.Programs[h.program]); err != nil {
			return err
		}
	}
	return k.pins.removeOthers()
}

// attach puts a program into the place of the pinned link, or makes and pins one.
func (k *Kernel) attach(h hook, p *ebpf.Program) error {
	pin, at := k.pins.link(h.program), h.at(k)
	if old, err := link.LoadPinnedLink(pin, nil); err == nil {
		defer old.Close()
		if id, err := cgroupOf(old); err == nil && id == at.id {
			if err := old.Update(p); err != nil {
				return fmt.Errorf("update %s: %w", h.program, err)
			}
			return nil
		}
		// Its cgroup is gone, as the agent's is after a restart.
		if err := os.Remove(pin); err != nil {
			return fmt.Errorf("pin %s: %w", h.program, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pinned link %s: %w", h.program, err)
	}
	dir, err := os.Open(at.path)
	if err != nil {
		return fmt.Errorf("attach %s: %w", h.program, err)
	}
	defer dir.Close()
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(dir.Fd()), Program: p, Attach: h.attach})
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", h.program, at.path, err)
	}
	defer l.Close()
	if err := l.Pin(pin); err != nil {
		return fmt.Errorf("pin %s: %w", h.program, err)
	}
	return nil
}

// cgroupOf asks the kernel what a link is attached to; 0 means that it is gone.
func cgroupOf(l link.Link) (uint64, error) {
	info, err := l.Info()
	if err != nil {
		return 0, err
	}
	c := info.Cgroup()
	if c == nil {
		return 0, errors.New("not a link to a cgroup")
	}
	return c.CgroupId, nil
}

// admitAgent has the guards of veths let the connections of this agent to endpoints through.
// What those that it takes over from have open goes on until they end.
func (k *Kernel) admitAgent() error {
	before, err := k.agents()
	if err != nil {
		return fmt.Errorf("agents: %w", err)
	}
	m := k.maps[bpf.SluiceMapAgents]
	all := []bpf.SluiceAgent{{Id: k.agent.id, Level: k.agent.level}}
	for _, a := range before {
		if _, err := pathOf(k.agent.root, a.Id); err == nil && a.Id != k.agent.id && len(all) < int(m.MaxEntries()) {
			all = append(all, a)
		}
	}
	// From the last to the first, so that none is missing meanwhile.
	for slot := m.MaxEntries(); slot > 0; slot-- {
		var a bpf.SluiceAgent
		if int(slot) <= len(all) {
			a = all[slot-1]
		}
		if err := m.Put(slot-1, &a); err != nil {
			return fmt.Errorf("agents: %w", err)
		}
	}
	return nil
}

// agents are those that were admitted, the last one first.
func (k *Kernel) agents() (all []bpf.SluiceAgent, err error) {
	m := k.maps[bpf.SluiceMapAgents]
	for slot := range m.MaxEntries() {
		var a bpf.SluiceAgent
		if err := m.Lookup(slot, &a); err != nil || a.Id == 0 {
			return all, err
		}
		all = append(all, a)
	}
	return all, nil
}

// adoptable removes what is pinned for a parent that is gone, and refuses what is
// pinned for another one that is not.
func (k *Kernel) adoptable() error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(k.pins.maps(), bpf.SluiceMapSettings), nil)
	if errors.Is(err, fs.ErrNotExist) {
		k.fresh = true
		return nil
	} else if err != nil {
		return fmt.Errorf("pinned settings: %w", err)
	}
	defer m.Close()
	var s bpf.SluiceSetting
	if err := m.Lookup(uint32(0), &s); err != nil {
		return fmt.Errorf("pinned settings: %w", err)
	}
	if s.Parent == k.parent.id || s.Parent == 0 {
		return nil
	}
	if _, err := pathOf(k.parent.root, s.Parent); err == nil {
		return fmt.Errorf("pin %s belongs to another parent, cgroup %d", k.pins.dir, s.Parent)
	}
	detachVeths(k.pins.links(), k.log)
	if err := removePins(filepath.Join(k.pins.dir, layout)); err != nil {
		return err
	}
	for _, sub := range []string{k.pins.maps(), k.pins.links()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return fmt.Errorf("pin: %w", err)
		}
	}
	return nil
}

// load makes or finds the maps, and sets the constants of the programs.
func (k *Kernel) load() error {
	spec, err := bpf.LoadSluice()
	if err != nil {
		return err
	}
	maps := spec.Copy()
	maps.Programs, maps.Variables = nil, nil
	for name, m := range maps.Maps {
		if strings.HasPrefix(name, ".") {
			delete(maps.Maps, name)
			continue
		}
		m.Pinning = ebpf.PinByName
	}
	c, err := ebpf.NewCollectionWithOptions(maps, ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: k.pins.maps()}})
	if err != nil {
		return fmt.Errorf("maps: %w", err)
	}
	k.maps, c.Maps = c.Maps, nil
	k.spec = spec
	if err := k.maps[bpf.SluiceMapSettings].Lookup(uint32(0), &k.setting); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if k.setting.Parent == 0 {
		if err := k.setFresh(nil); err != nil {
			return err
		}
		k.setting = k.choose()
		if err := k.maps[bpf.SluiceMapSettings].Put(uint32(0), &k.setting); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
	}
	return k.constants()
}

// choose picks the redirect address and port at random: installations that share a
// namespace act on their own only. The port is outside of what the kernel hands out, or
// a socket that listens without bind could get it.
func (k *Kernel) choose() bpf.SluiceSetting {
	s := bpf.SluiceSetting{Parent: k.parent.id}
	taken := k.siblingPorts()
	for s.Port == 0 || taken[s.Port] {
		s.Port = uint16(12000 + rand.IntN(18000))
	}
	net := [4]byte{127, byte(64 + rand.IntN(128)), 0, 0}
	s.Net = binary.NativeEndian.Uint32(net[:])
	return s
}

// siblingPorts finds the ports of the installations beside this one.
func (k *Kernel) siblingPorts() map[uint16]bool {
	taken := map[uint16]bool{}
	pattern := filepath.Join(filepath.Dir(k.pins.dir), "*", layout, "maps", bpf.SluiceMapSettings)
	found, _ := filepath.Glob(pattern)
	for _, path := range found {
		m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			continue
		}
		var s bpf.SluiceSetting
		if m.Lookup(uint32(0), &s) == nil {
			taken[s.Port] = true
		}
		m.Close()
	}
	return taken
}

func (k *Kernel) constants() error {
	values := map[string]any{
		bpf.SluiceVarRedirectNet:   k.setting.Net,
		bpf.SluiceVarRedirectPort:  k.setting.Port,
		bpf.SluiceVarParentId:      k.parent.id,
		bpf.SluiceVarParentLevel:   k.parent.level,
		bpf.SluiceVarPassStrangers: flag(k.options.PassStrangers),
		bpf.SluiceVarHasSetRetval:  flag(hasHelper(asm.FnSetRetval)),
		bpf.SluiceVarHasPid:        flag(hasHelper(asm.FnGetCurrentPidTgid)),
		bpf.SluiceVarPidNamespace:  pidNamespace(),
		bpf.SluiceVarHasTask:       flag(hasHelper(asm.FnGetCurrentTask) && hasHelper(asm.FnProbeReadKernel)),
	}
	for name, value := range values {
		if err := k.spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("constant %s: %w", name, err)
		}
	}
	return nil
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

// hasHelper tells if connect hooks may call a helper. When in doubt they do without.
func hasHelper(fn asm.BuiltinFunc) bool {
	return haveHelper(ebpf.CGroupSockAddr, fn) == nil
}

// haveHelper asks for a helper. bpf_set_retval is tried with an argument: newer
// verifiers look at it before they say that they know the helper.
func haveHelper(kind ebpf.ProgramType, fn asm.BuiltinFunc) error {
	if fn != asm.FnSetRetval {
		return features.HaveProgramHelper(kind, fn)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, AttachType: ebpf.AttachCGroupInet4Connect, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R1, -int32(unix.ECONNREFUSED)), fn.Call(),
			asm.Mov.Imm(asm.R0, 0), asm.Return(),
		},
	})
	if errors.Is(err, unix.EINVAL) {
		return ebpf.ErrNotSupported
	} else if err != nil {
		return err
	}
	return p.Close()
}

// loadOne loads one more program with the maps of k. The caller closes it.
func (k *Kernel) loadOne(name string, constants map[string]any) (*ebpf.Program, error) {
	spec := k.spec.Copy()
	for other := range spec.Programs {
		if other != name {
			delete(spec.Programs, other)
		}
	}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("constant %s: %w", name, err)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: k.maps})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	defer c.Close()
	return c.DetachProgram(name), nil
}

// pathOf finds the path of a cgroup by its id.
func pathOf(root string, id uint64) (string, error) {
	dir, err := os.Open(root)
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	defer dir.Close()
	const fileidKernfs = 0xfe
	handle := unix.NewFileHandle(fileidKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(int(dir.Fd()), handle, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("cgroup %d: %w", id, err)
	}
	defer unix.Close(fd)
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// firstPIDNamespace is the inode of the machine's first (PROC_PID_INIT_INO of
// include/linux/proc_ns.h).
const firstPIDNamespace = 0xEFFFFFFC

// pidNamespace is that of this process, in which it looks processes up: 0 for the first.
// Nodes that are containers themselves have one of their own.
func pidNamespace() uint32 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil || st.Ino == firstPIDNamespace {
		return 0
	}
	return uint32(st.Ino)
}
