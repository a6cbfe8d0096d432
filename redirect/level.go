package redirect

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// rootID is the id of the hierarchy's root, in every kernel since 5.5.
const rootID = 1

// maxTop is how deep in the hierarchy what is mounted as its root may lie.
const maxTop = 32

// levelOf tells the depth of the cgroup that is mounted as the root of the hierarchy,
// and that this process is below. It is 0, but on a node that is a container itself
// (kind, k3d): paths begin at the node's own cgroup there, and programs count from the
// machine's. Only a program can tell, so one is run, once, by this process.
func levelOf(top uint64) (uint32, error) {
	if top == rootID {
		return 0, nil
	}
	var code asm.Instructions
	code = append(code, asm.LoadImm(asm.R6, int64(top), asm.DWord))
	for level := range int32(maxTop) {
		next := fmt.Sprint("level", level+1)
		code = append(code,
			asm.Mov.Imm(asm.R1, level).WithSymbol(fmt.Sprint("level", level)),
			asm.FnGetCurrentAncestorCgroupId.Call(),
			asm.JNE.Reg(asm.R0, asm.R6, next),
			asm.Mov.Imm(asm.R0, level),
			asm.Return())
	}
	code = append(code, asm.Mov.Imm(asm.R0, maxTop).WithSymbol(fmt.Sprint("level", maxTop)), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "sluice_level", Type: ebpf.RawTracepoint, Instructions: code, License: "GPL"})
	if err != nil {
		return 0, fmt.Errorf("level of the node's cgroup: %w", err)
	}
	defer p.Close()
	level, err := p.Run(nil)
	if err != nil {
		return 0, fmt.Errorf("level of the node's cgroup: %w", err)
	}
	if level >= maxTop {
		return 0, errors.New("the root of the hierarchy is not mounted here: this is a container with a cgroup namespace of its own")
	}
	return level, nil
}
