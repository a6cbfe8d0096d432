package channel

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxMemory bounds what travels in a memory file.
const maxMemory = 256 << 20

// Bundle is a configuration as it travels in Config: JSON in a memory file.
type Bundle struct {
	Files []File `json:"files"`
	// Material holds the files that resources name and the proxy needs: certificate
	// authorities and client certificates, by path. No password is in it.
	Material map[string][]byte `json:"material,omitempty"`
	// MaskKey makes the tokens of mask hash.
	MaskKey []byte `json:"maskKey,omitempty"`
	// Verifiers check the placeholders of Databases with clientAuth: scram, by name.
	Verifiers map[string]Verifier `json:"verifiers,omitempty"`
	// Issuers are those of kind Agent, and that of the cluster.
	Issuers []Issuer `json:"issuers,omitempty"`
}

// Issuer is an OIDC issuer whose tokens are believed. CAFile is a key of Material.
type Issuer struct {
	Issuer   string            `json:"issuer"`
	Audience string            `json:"audience"`
	CAFile   string            `json:"caFile,omitempty"`
	Claims   map[string]string `json:"claims,omitempty"`
	Groups   string            `json:"groups,omitempty"`
}

// Verifier is what a SCRAM server keeps of a password.
type Verifier struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"storedKey"`
	ServerKey  []byte `json:"serverKey"`
}

// File is one file of resources.
type File struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
	// Object says that Data is JSON of an object of the cluster.
	Object bool `json:"object,omitempty"`
}

// Memory returns a memory file that holds data and that nobody can change any
// more. The caller closes it.
func Memory(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("sluice-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("fill memory file: %w", err)
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal memory file: %w", err)
	}
	return f, nil
}

// ReadMemory returns what a memory file holds, and closes it. A file that is not
// sealed is refused, since it could change while it is read.
func ReadMemory(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "memory")
	if f == nil {
		return nil, errors.New("read memory file: no descriptor")
	}
	defer f.Close()
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_WRITE == 0 || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, errors.New("read memory file: not sealed")
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read memory file: %w", err)
	}
	if info.Size() > maxMemory {
		return nil, errors.New("read memory file: too large")
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, info.Size()), data); err != nil {
		return nil, fmt.Errorf("read memory file: %w", err)
	}
	return data, nil
}
