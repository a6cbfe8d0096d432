package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"time"
)

// What follows are the documents of the OCI image specification, and the one that
// `docker load` looks for.
type (
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Platform    *platform         `json:"platform,omitempty"`
	}
	platform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	}
	manifest struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}
	index struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}
	image struct {
		Created string `json:"created"`
		platform
		Config config `json:"config"`
		RootFS rootFS `json:"rootfs"`
	}
	config struct {
		Entrypoint []string          `json:"Entrypoint"`
		Env        []string          `json:"Env"`
		WorkingDir string            `json:"WorkingDir"`
		Labels     map[string]string `json:"Labels"`
	}
	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	loadable struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
)

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// layout collects the files of the tarball.
type layout struct{ files []entry }

// blob adds content under its digest.
func (l *layout) blob(mediaType string, data []byte) descriptor {
	d := digestOf(data)
	l.files = append(l.files, entry{blobPath(d), 0o644, data})
	return descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blobPath(digest string) string {
	return "blobs/" + strings.Replace(digest, ":", "/", 1)
}

// write writes the image and returns its digest. The account that a container starts
// with is root: the redirector is that, and starts the proxy as user sluice.
func write(out io.Writer, in Inputs, layer []byte) (string, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := z.Write(layer); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	l := &layout{files: []entry{{"blobs/", 0o755, nil}, {"blobs/sha256/", 0o755, nil}}}
	on := platform{runtime.GOARCH, "linux"}
	document, err := json.Marshal(image{
		Created: time.Unix(0, 0).UTC().Format(time.RFC3339), platform: on,
		Config: config{
			Entrypoint: []string{"/usr/bin/sluice"},
			Env:        []string{"PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			WorkingDir: "/",
			Labels: map[string]string{
				"org.opencontainers.image.title":    "sluice",
				"org.opencontainers.image.version":  in.Version,
				"org.opencontainers.image.revision": in.Commit,
				"org.opencontainers.image.licenses": "Apache-2.0 AND GPL-2.0-only",
			},
		},
		RootFS: rootFS{"layers", []string{digestOf(layer)}},
	})
	if err != nil {
		return "", err
	}
	m := manifest{2, typeManifest, l.blob(typeConfig, document), []descriptor{l.blob(typeLayer, packed.Bytes())}}
	if document, err = json.Marshal(m); err != nil {
		return "", err
	}
	d := l.blob(typeManifest, document)
	digest := d.Digest
	_, tag, _ := strings.Cut(in.Name[strings.LastIndex(in.Name, "/")+1:], ":")
	d.Platform = &on
	d.Annotations = map[string]string{"io.containerd.image.name": in.Name, "org.opencontainers.image.ref.name": tag}
	if document, err = json.Marshal(index{2, typeIndex, []descriptor{d}}); err != nil {
		return "", err
	}
	docker, err := json.Marshal([]loadable{{blobPath(m.Config.Digest), []string{in.Name}, []string{blobPath(m.Layers[0].Digest)}}})
	if err != nil {
		return "", err
	}
	l.files = append(l.files, entry{"index.json", 0o644, document}, entry{"manifest.json", 0o644, docker},
		entry{"oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)})
	return digest, pack(out, l.files)
}

// pack writes a tar file without anything that differs from one run to the next.
func pack(out io.Writer, all []entry) error {
	w := tar.NewWriter(out)
	for _, e := range all {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if e.data == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(e.data); err != nil {
			return err
		}
	}
	return w.Close()
}
