// Command programs prints how many BPF programs of Sluice are in the kernel.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
)

func main() {
	n := 0
	var id ebpf.ProgramID
	for {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "programs:", err)
			os.Exit(1)
		}
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // it went away
		}
		if info, err := p.Info(); err == nil && strings.HasPrefix(info.Name, "sluice_") {
			n++
		}
		p.Close()
	}
	fmt.Println(n)
}
