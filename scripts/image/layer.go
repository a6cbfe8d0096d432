package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
)

// proxyID is the account of the proxy: agent.FallbackUID, which distributions and
// systemd leave alone. State on a host's disk belongs to it, so it never changes.
const proxyID = "60987"

const (
	passwd = "root:x:0:0:root:/:/sbin/nologin\n" +
		"sluice:x:" + proxyID + ":" + proxyID + ":Sluice's proxy:/:/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	group = "root:x:0:\nsluice:x:" + proxyID + ":\nnobody:x:65534:\n"
)

// entry is a file of the image, or a directory, if its name ends with a slash.
type entry struct {
	name string
	mode int64
	data []byte
}

// files returns the one layer of the image, as a tar file.
func files(in Inputs) ([]byte, error) {
	binary, err := os.ReadFile(in.Binary)
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadFile(in.Roots)
	if err != nil {
		return nil, err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("%s has no certificate", in.Roots)
	}
	var b bytes.Buffer
	err = pack(&b, []entry{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte(group)},
		{"etc/passwd", 0o644, []byte(passwd)},
		{"etc/sluice/", 0o755, nil},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, roots},
		{"run/", 0o755, nil},
		{"tmp/", 0o1777, nil},
		{"usr/", 0o755, nil},
		{"usr/bin/", 0o755, nil},
		{"usr/bin/sluice", 0o755, binary},
		{"var/", 0o755, nil},
		{"var/lib/", 0o755, nil},
		{"var/lib/sluice/", 0o755, nil},
	})
	return b.Bytes(), err
}
