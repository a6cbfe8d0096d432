// Package bpf has the programs that run in the kernel, compiled, and Go mirrors of what
// they keep in maps. It loads nothing: package redirect says which program sits where.
//
// The objects are committed; make generate compiles them again. Each program is a C
// file of its own, whose head says what it reads, writes and answers.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -cc clang -strip llvm-strip -cflags "-O2 -g -Wall -Werror -Wno-address-of-packed-member -Iinclude" -type origin -type tuple -type handover -type intent -type workload -type port_set -type place -type unix_name -type unix_place -type unix_proxy -type unix_file -type expected_path -type expected_name -type agent -type setting -type destination -type counter Sluice sluice.c
