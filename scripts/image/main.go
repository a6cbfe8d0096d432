// Command image writes the container image of Sluice as a tarball, with no daemon:
// one static binary, accounts, and the certificate authorities of the machine. The
// tarball is an OCI image layout that `docker load` reads as well. The same inputs
// give the same bytes.
//
//	image --binary FILE --roots FILE --version VERSION --name NAME:TAG --out FILE
package main

import (
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Inputs are what an image is made of.
type Inputs struct {
	Binary  string // static
	Roots   string // PEM file of certificate authorities
	Name    string // such as sluicegate.io/sluice:v1
	Version string
	Commit  string
}

func main() {
	var in Inputs
	out := flag.String("out", "", "tarball to write")
	flag.StringVar(&in.Binary, "binary", "out/sluice", "the static binary")
	flag.StringVar(&in.Roots, "roots", "/etc/ssl/certs/ca-certificates.crt", "certificate authorities, PEM")
	flag.StringVar(&in.Name, "name", "sluicegate.io/sluice:dev", "NAME:TAG of the image")
	flag.StringVar(&in.Version, "version", "", "for the image's labels")
	flag.StringVar(&in.Commit, "commit", "", "for the image's labels")
	flag.Parse()
	digest, err := build(in, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Printf("%s %s %s\n", *out, in.Name, digest)
}

// build writes the tarball, whole or not at all, and returns the digest of the image.
func build(in Inputs, out string) (string, error) {
	if out == "" {
		return "", errors.New("--out is missing")
	}
	if err := static(in.Binary); err != nil {
		return "", err
	}
	layer, err := files(in)
	if err != nil {
		return "", err
	}
	f, err := os.Create(out + ".new")
	if err != nil {
		return "", fmt.Errorf("write image: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	digest, err := write(f, in, layer)
	if err != nil {
		return "", fmt.Errorf("write image: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write image: %w", err)
	}
	return digest, os.Rename(f.Name(), out)
}

// static refuses a binary that needs what the image does not have.
func static(path string) error {
	p, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer p.Close()
	for _, s := range p.Progs {
		if s.Type == elf.PT_INTERP {
			name, _ := io.ReadAll(s.Open())
			return fmt.Errorf("%s is not linked statically: it wants %s", path, name)
		}
	}
	return nil
}
