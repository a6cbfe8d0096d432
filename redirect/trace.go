package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf/link"
)

// trace attaches a program to a function or tracepoint of the kernel, in place of the one
// that an earlier agent left. Links of this kind cannot be updated: both are attached for
// a moment, which does no harm. k.mu is held.
func (k *Kernel) trace(program string) error {
	if k.traced[program] {
		return nil
	}
	p, err := k.loadOne(program, nil)
	if err != nil {
		return err
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	p.Close()
	if err != nil {
		return fmt.Errorf("attach %s: %w", program, err)
	}
	defer l.Close()
	pin := k.pins.link(program)
	os.Remove(pin + "-new")
	if err = l.Pin(pin + "-new"); err == nil {
		err = os.Rename(pin+"-new", pin)
	}
	if err != nil {
		return fmt.Errorf("pin %s: %w", program, err)
	}
	k.traced[program] = true
	return nil
}

// untrace takes a program away again.
func (k *Kernel) untrace(program string) error {
	delete(k.traced, program)
	if err := os.Remove(k.pins.link(program)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pin %s: %w", program, err)
	}
	return nil
}

// checkTraces looks at the programs that trace has attached.
func (k *Kernel) checkTraces() []Problem {
	var problems []Problem
	for program := range k.traced {
		l, err := link.LoadPinnedLink(k.pins.link(program), nil)
		if err != nil {
			problems = append(problems, Problem{Code: ProblemDetached, Text: "The link of " + program + " is not pinned: " + err.Error() + "."})
			continue
		}
		l.Close()
	}
	return problems
}
