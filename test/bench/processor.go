package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// above stands for the processes of Sluice that this program runs under.
const above = "above"

// tick is the unit of /proc/PID/stat in microseconds: USER_HZ is 100 everywhere.
const tick = 10_000

var (
	processedLine = regexp.MustCompile(`transactions actually processed: ([0-9]+)`)
	processorLine = regexp.MustCompile(`processor time = ([0-9.]+)`)
)

// processorTime runs a pgbench, prints what it prints, and then the microseconds
// of processor time that each transaction took of the processes in pids. That
// depends less on what else the machine does than the rate does.
//
//	client processor PIDS COMMAND...
//
// What it takes to connect is measured by itself before, and left out, unless
// every transaction connects.
func processorTime(pids string, command []string) error {
	list, err := processes(pids)
	if err != nil {
		return err
	}
	var around float64
	connects := false
	for _, word := range command {
		connects = connects || word == "-C"
	}
	if !connects {
		short := append([]string{}, command...)
		for i, word := range short[:len(short)-1] {
			if word == "-T" {
				short[i], short[i+1] = "-t", "1"
			}
		}
		if around, _, err = spent(list, short); err != nil {
			return err
		}
	}
	took, out, err := spent(list, command)
	if err != nil {
		return err
	}
	os.Stdout.Write(out)
	m := processedLine.FindSubmatch(out)
	if m == nil {
		return errors.New("pgbench does not say how many transactions it did")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err == nil && n > 0 {
		fmt.Printf("processor time = %.2f\n", max(0, took-around)/n)
	}
	return err
}

// spent is the processor time in microseconds that pids took while a command ran.
func spent(pids []int, command []string) (float64, []byte, error) {
	before, err := used(pids)
	if err != nil {
		return 0, nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", command[0], err)
	}
	after, err := used(pids)
	return float64(after-before) * tick, out.Bytes(), err
}

// processes resolves a list of process ids.
func processes(pids string) ([]int, error) {
	if pids == above {
		top := os.Getppid()
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", top))
		if err != nil {
			return nil, err
		}
		list := []int{top}
		for _, p := range descendants(top) {
			if other, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p)); err == nil && filepath.Base(other) == filepath.Base(exe) {
				list = append(list, p)
			}
		}
		return list, nil
	}
	p, err := strconv.Atoi(pids)
	return []int{p}, err
}

// used is the processor time of pids so far, in ticks.
func used(pids []int) (uint64, error) {
	var sum uint64
	for _, p := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			return 0, err
		}
		// The name may hold anything, even a parenthesis. What follows it does not.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, i := range []int{11, 12} { // utime and stime, proc(5)
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}
