package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sluicegate.io/sluice/agent"
)

// inputs are a static binary, which is small, and one certificate.
func inputs(t *testing.T) Inputs {
	t.Helper()
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, []byte(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "program")
	if err := os.WriteFile(binary, program(false), 0o700); err != nil {
		t.Fatal(err)
	}
	return Inputs{Binary: binary, Roots: roots, Name: "registry.example:5000/team/sluice:v1.2", Version: "v1.2", Commit: "abc"}
}

func TestSameInputsSameBytes(t *testing.T) {
	in := inputs(t)
	var images [2][]byte
	for i := range images {
		out := filepath.Join(t.TempDir(), "image.tar")
		if _, err := build(in, out); err != nil {
			t.Fatal(err)
		}
		var err error
		if images[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of the same inputs differ")
	}
}

func TestImageHoldsWhatTheAgentNeeds(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	digest, err := build(inputs(t), out)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	layout := untar(t, f)
	for name, data := range layout {
		if sum, is := strings.CutPrefix(name, "blobs/sha256/"); is && sum != "" && "sha256:"+sum != digestOf(data) {
			t.Errorf("%s has another digest", name)
		}
	}
	var top index
	decode(t, layout["index.json"], &top)
	if top.Manifests[0].Digest != digest {
		t.Errorf("index names %s, build said %s", top.Manifests[0].Digest, digest)
	}
	if got := top.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; got != "v1.2" {
		t.Errorf("tag is %q", got)
	}
	var m manifest
	decode(t, layout[blobPath(digest)], &m)
	var c image
	decode(t, layout[blobPath(m.Config.Digest)], &c)
	if diff := cmp.Diff([]string{"/usr/bin/sluice"}, c.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}
	z, err := gzip.NewReader(bytes.NewReader(layout[blobPath(m.Layers[0].Digest)]))
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, z)
	for _, name := range []string{"usr/bin/sluice", "etc/ssl/certs/ca-certificates.crt", "etc/group"} {
		if len(files[name]) == 0 {
			t.Errorf("the image has no %s", name)
		}
	}
	id := strconv.Itoa(agent.FallbackUID)
	if want := "sluice:x:" + id + ":" + id + ":"; !strings.Contains(string(files["etc/passwd"]), want) {
		t.Errorf("/etc/passwd has no %q:\n%s", want, files["etc/passwd"])
	}
	for name := range files {
		if strings.Contains(name, "bin/") && name != "usr/bin/" && name != "usr/bin/sluice" {
			t.Errorf("%s is in the image: it holds one program", name)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	dynamic := filepath.Join(dir, "dynamic")
	if err := os.WriteFile(dynamic, program(true), 0o700); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Inputs)
		want   string
	}{
		"a dynamic binary": {func(in *Inputs) { in.Binary = dynamic }, "not linked statically"},
		"no binary":        {func(in *Inputs) { in.Binary = empty }, "EOF"},
		"no certificate":   {func(in *Inputs) { in.Roots = empty }, "has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := inputs(t), filepath.Join(t.TempDir(), "image.tar")
			c.change(&in)
			if _, err := build(in, out); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("an image was written")
			}
		})
	}
}

func untar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d, time %v", h.Name, h.Uid, h.ModTime)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = data
	}
}

func decode(t *testing.T, data []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}
