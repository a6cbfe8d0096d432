package agent

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
)

// ReadConfig reads the files of resources at path: a file, or a directory whose
// *.yaml and *.yml files are read in order of name.
func ReadConfig(path string) ([]policy.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	names := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		names = names[:0]
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("read configuration: no *.yaml file in %s", path)
		}
	}
	files := make([]policy.File, 0, len(names))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && info.IsDir() {
			continue // removed meanwhile; the watcher reads again
		}
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		files = append(files, policy.File{Name: name, Data: data})
	}
	return files, nil
}

// LoadConfig reads and compiles the resources at path.
func LoadConfig(path string) (*policy.Set, []policy.File, error) {
	files, err := ReadConfig(path)
	if err != nil {
		return nil, nil, err
	}
	set, err := policy.Load(files)
	if err != nil {
		return nil, nil, err
	}
	return set, files, nil
}

// systemRoots are where hosts keep the certificates that they trust; see
// crypto/x509/root_linux.go of the Go standard library.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// bundle gathers what the proxy needs of a configuration.
func bundle(set *policy.Set, files []policy.File, maskKey []byte) (*channel.Bundle, error) {
	b := &channel.Bundle{MaskKey: maskKey, Material: map[string][]byte{}}
	for _, f := range files {
		b.Files = append(b.Files, channel.File{Name: f.Name, Data: f.Data, Object: f.Object})
	}
	system := false
	read := func(path string, pos policy.Position) error {
		if path == "" || b.Material[path] != nil {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", pos, err)
		}
		b.Material[path] = data
		return nil
	}
	for _, db := range set.Databases() {
		system = system || db.TLS.CA() == "" && db.TLS.Mode < policy.TLSRequire
		if err := cmp.Or(read(db.TLS.CAFile, db.Pos), read(db.TLS.CertFile, db.Pos), read(db.TLS.KeyFile, db.Pos)); err != nil {
			return nil, err
		}
	}
	if err := verifiers(b, set); err != nil {
		return nil, err
	}
	for _, i := range set.Agent().Issuers {
		b.Issuers = append(b.Issuers, channel.Issuer(i))
		system = system || i.CAFile == ""
		if err := read(i.CAFile, set.Agent().Pos); err != nil {
			return nil, err
		}
	}
	for _, path := range systemRoots {
		if data, err := os.ReadFile(path); system && err == nil {
			b.Material[session.SystemRoots] = data
			break
		}
	}
	return b, nil
}

// verifiers derives what checks the placeholders of clientAuth: scram. Equal
// configurations give equal bytes, so the salt is derived as well.
func verifiers(b *channel.Bundle, set *policy.Set) error {
	for _, db := range set.Databases() {
		if db.ClientAuth != policy.ClientSCRAM {
			continue
		}
		src := credential.File{Path: db.ClientPasswordFile}
		password, _, err := src.Password(context.Background())
		if err != nil {
			return fmt.Errorf("%s: clientPasswordFile: %w", db.Pos, err)
		}
		m := hmac.New(sha256.New, b.MaskKey)
		m.Write([]byte("placeholder of " + db.Name))
		v, err := credential.SaltedVerifier(password, m.Sum(nil)[:16], 0)
		password.Zero()
		if err != nil {
			return fmt.Errorf("%s: clientPasswordFile: %w", db.Pos, err)
		}
		if b.Verifiers == nil {
			b.Verifiers = map[string]channel.Verifier{}
		}
		b.Verifiers[db.Name] = channel.Verifier{Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey[:], ServerKey: v.ServerKey[:]}
	}
	return nil
}
