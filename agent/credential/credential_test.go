package credential_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/credential"
)

const canary = "c4n4ry-Passw0rd"

// fixed is a Source that never changes.
type fixed string

func (f fixed) Password(context.Context) (credential.Secret, uint64, error) {
	return credential.NewSecret([]byte(f)), 1, nil
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 7677, section 3.
const (
	rfcSalt    = "W22ZaJ0SNY7soEsUEjb6gQ=="
	rfcProof   = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcServer  = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	rfcMessage = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)

func TestSCRAM(t *testing.T) {
	p := credential.New("user", fixed("pencil"), credential.Options{})
	for range 2 { // derived, and from the cache
		proof, sig, err := p.SCRAM(t.Context(), decode(t, rfcSalt), 4096, []byte(rfcMessage))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(proof, decode(t, rfcProof)) || !bytes.Equal(sig, decode(t, rfcServer)) {
			t.Errorf("proof %x, signature %x", proof, sig)
		}
	}
	if st := p.Stats(); st.CacheHits != 1 || st.CacheMisses != 1 || st.Proofs != 2 {
		t.Errorf("stats = %+v", st)
	}
}

func TestSCRAMBounds(t *testing.T) {
	p := credential.New("user", fixed("pencil"), credential.Options{})
	salt := []byte("0123456789abcdef")
	tests := []struct {
		name       string
		salt       []byte
		iterations int
		message    []byte
	}{
		{"no iterations", salt, 0, nil},
		{"negative iterations", salt, -1, nil},
		{"a second of work", salt, 1_000_001, nil},
		{"no salt", nil, 4096, nil},
		{"large salt", make([]byte, 1<<20), 4096, nil},
		{"large message", salt, 4096, make([]byte, 1<<20)},
	}
	for _, tt := range tests {
		if _, _, err := p.SCRAM(t.Context(), tt.salt, tt.iterations, tt.message); !errors.Is(err, credential.ErrServer) {
			t.Errorf("%s: %v, want ErrServer", tt.name, err)
		}
	}
}

func TestVerifier(t *testing.T) {
	v, err := credential.NewVerifier(credential.NewSecret([]byte("placeholder")), 0)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("n=,r=a,r=ab,s=x,i=4096,c=biws,r=ab")
	good := credential.New("x", fixed("placeholder"), credential.Options{})
	proof, want, err := good.SCRAM(t.Context(), v.Salt, v.Iterations, message)
	if err != nil {
		t.Fatal(err)
	}
	if sig, ok := v.Check(message, proof); !ok || !bytes.Equal(sig, want) {
		t.Error("the right password was refused")
	}
	if _, ok := v.Check(append(message, 'x'), proof); ok {
		t.Error("a proof for another exchange was accepted")
	}
	if _, ok := v.Check(message, proof[:31]); ok {
		t.Error("a short proof was accepted")
	}
	bad := credential.New("x", fixed("another"), credential.Options{})
	proof, _, _ = bad.SCRAM(t.Context(), v.Salt, v.Iterations, message)
	if _, ok := v.Check(message, proof); ok {
		t.Error("the wrong password was accepted")
	}
}

func TestMD5(t *testing.T) {
	p := credential.New("md5_user", fixed("password"), credential.Options{})
	got, err := p.MD5(t.Context(), [4]byte{0x2a, 0x3d, 0x8f, 0xe0})
	if err != nil || got != "md562af4dd09bbb41884907a838a3233294" {
		t.Errorf("MD5 = %s, %v", got, err)
	}
}

func TestCleartext(t *testing.T) {
	if _, err := credential.New("u", fixed(canary), credential.Options{}).Cleartext(t.Context()); !errors.Is(err, credential.ErrCleartext) {
		t.Errorf("Cleartext = %v, want ErrCleartext", err)
	}
	if got, err := credential.New("u", fixed(canary), credential.Options{Cleartext: true}).Cleartext(t.Context()); err != nil || got != canary {
		t.Errorf("Cleartext = %v", err)
	}
}

func reveal(t *testing.T, src credential.Source) (string, uint64) {
	t.Helper()
	s, v, err := src.Password(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Zero()
	return string(s.Reveal()), v
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	var log bytes.Buffer
	f := &credential.File{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))}
	if _, _, err := f.Password(t.Context()); !errors.Is(err, credential.ErrNone) {
		t.Errorf("no file: %v, want ErrNone", err)
	}
	versions := make(map[uint64]bool)
	for _, tt := range []struct{ content, want string }{
		{"first", "first"}, {"secon\n", "secon"}, {"third\r\n", "third"}, {"two\n\n", "two\n"}, {"spaces ", "spaces "},
	} {
		if err := os.WriteFile(path, []byte(tt.content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, v := reveal(t, f)
		if got != tt.want || versions[v] {
			t.Errorf("%q: %q, version %d", tt.content, got, v)
		}
		versions[v] = true
		if _, again := reveal(t, f); again != v {
			t.Errorf("%q: version changed from %d to %d", tt.content, v, again)
		}
	}
	if !strings.Contains(log.String(), "everybody can read") || strings.Contains(log.String(), "first") {
		t.Errorf("log: %s", log.String())
	}
	for _, bad := range []string{"", "\n", "a\x00b", strings.Repeat("x", 70<<10)} {
		os.WriteFile(path, []byte(bad), 0o600)
		if _, _, err := f.Password(t.Context()); !errors.Is(err, credential.ErrNone) {
			t.Errorf("%.10q: %v, want ErrNone", bad, err)
		}
	}
	os.Remove(path)
	if _, _, err := f.Password(t.Context()); !errors.Is(err, credential.ErrNone) {
		t.Errorf("removed: %v, want ErrNone", err)
	}
	if _, _, err := (&credential.File{Path: "/dev/zero"}).Password(t.Context()); !errors.Is(err, credential.ErrNone) {
		t.Errorf("a device: %v, want ErrNone", err)
	}
}

// A Kubernetes Secret is replaced by moving a symbolic link.
func TestFileBehindLink(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a", "b"} {
		os.Mkdir(filepath.Join(dir, name), 0o700)
		path := filepath.Join(dir, name, "password")
		os.WriteFile(path, []byte(name), 0o600)
		old := time.Now().Add(-time.Hour) // the same time: only the inode differs
		os.Chtimes(path, old, old)
		link := filepath.Join(dir, fmt.Sprint("new", i))
		os.Symlink(name, link)
		os.Rename(link, filepath.Join(dir, "data"))
		if i == 0 {
			continue
		}
	}
	f := &credential.File{Path: filepath.Join(dir, "data", "password")}
	if got, _ := reveal(t, f); got != "b" {
		t.Fatalf("got %q", got)
	}
	os.Symlink("a", filepath.Join(dir, "again"))
	os.Rename(filepath.Join(dir, "again"), filepath.Join(dir, "data"))
	if got, _ := reveal(t, f); got != "a" {
		t.Errorf("after the link moved: %q", got)
	}
}

func TestEnv(t *testing.T) {
	e := &credential.Env{Name: "SLUICE_TEST_PASSWORD"}
	if _, _, err := e.Password(t.Context()); !errors.Is(err, credential.ErrNone) {
		t.Errorf("not set: %v", err)
	}
	t.Setenv("SLUICE_TEST_PASSWORD", "one")
	if got, v := reveal(t, e); got != "one" || v == 0 {
		t.Errorf("got %q, %d", got, v)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	c := &credential.Command{Argv: []string{"/bin/sh", "-c", "echo >>" + count + "; wc -l <" + count}}
	if got, v := reveal(t, c); got != "1" || v != 1 {
		t.Errorf("got %q, %d", got, v)
	}
	if got, _ := reveal(t, c); got != "1" {
		t.Errorf("the command ran again: %q", got)
	}
	p := credential.New("u", c, credential.Options{})
	p.Rejected()
	if got, v := reveal(t, c); got != "2" || v != 2 {
		t.Errorf("after a rejection: %q, %d", got, v)
	}
	p.Rejected()
	if got, _ := reveal(t, c); got != "2" {
		t.Errorf("a second rejection at once ran the command: %q", got)
	}
	t.Setenv("SLUICE_TEST_LEAK", canary)
	for name, argv := range map[string][]string{
		"fails":       {"/bin/sh", "-c", "echo " + canary + "; echo " + canary + " >&2; exit 3"},
		"empty":       {"/bin/true"},
		"endless":     {"/bin/cat", "/dev/zero"},
		"hangs":       {"/bin/sh", "-c", "sleep 1000 & sleep 1000"},
		"relative":    {"sh"},
		"missing":     {"/nowhere"},
		"nothing":     nil,
		"environment": {"/bin/sh", "-c", "printf '%s' \"$SLUICE_TEST_LEAK\""},
	} {
		c := &credential.Command{Argv: argv, Timeout: 300 * time.Millisecond}
		begin := time.Now()
		_, _, err := c.Password(t.Context())
		if !errors.Is(err, credential.ErrNone) || strings.Contains(fmt.Sprint(err), canary) {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

// However a secret, or what holds it, is shown: not itself.
func TestRedaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	os.WriteFile(path, []byte(canary), 0o600)
	f := &credential.File{Path: path}
	s, _, err := f.Password(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := credential.New("u", f, credential.Options{})
	p.SCRAM(t.Context(), []byte("salt"), 4096, nil)
	var out bytes.Buffer
	for _, v := range []any{s, &s, f, p, struct{ s credential.Secret }{s}, []credential.Secret{s}, map[string]any{"x": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%t"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	b, _ := json.Marshal(map[string]any{"s": s})
	out.Write(b)
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary)),
		strings.Trim(fmt.Sprint([]byte(canary)), "[]"), base64.StdEncoding.EncodeToString([]byte(canary))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("shown as %q", leak)
		}
	}
	if s.Zero(); strings.Trim(string(s.Reveal()), "\x00") != "" {
		t.Error("Zero left something")
	}
}

// Many at once, while the password changes: each proof is of one password or the other.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	os.WriteFile(path, []byte("old"), 0o600)
	p := credential.New("u", &credential.File{Path: path}, credential.Options{})
	salt, message := []byte("0123456789abcdef"), []byte("message")
	proofs := make(map[string]bool)
	for _, pw := range []string{"old", "new"} {
		proof, _, err := credential.New("u", fixed(pw), credential.Options{}).SCRAM(t.Context(), salt, 4096, message)
		if err != nil {
			t.Fatal(err)
		}
		proofs[string(proof)] = true
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				proof, _, err := p.SCRAM(t.Context(), salt, 4096, message)
				if err != nil || !proofs[string(proof)] {
					t.Errorf("proof of neither, %v", err)
					return
				}
			}
		})
	}
	os.WriteFile(path+".new", []byte("new"), 0o600)
	os.Rename(path+".new", path)
	wg.Wait()
}

// The version of a Prover is that of the password which is there, and 0 where none is.
func TestVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	p := credential.New("user", &credential.File{Path: path}, credential.Options{})
	if v := p.Version(); v != 0 {
		t.Errorf("version %d of no password", v)
	}
	seen := map[uint64]bool{0: true}
	for _, password := range []string{"one", "two", "one"} {
		if err := os.WriteFile(path, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		v := p.Version()
		if seen[v] || p.Version() != v {
			t.Errorf("%s: version %d, then %d; seen %v", password, v, p.Version(), seen)
		}
		seen[v] = true
	}
}

func BenchmarkSCRAM(b *testing.B) {
	path := filepath.Join(b.TempDir(), "p")
	os.WriteFile(path, []byte("pencil"), 0o600)
	old := time.Now().Add(-time.Hour)
	os.Chtimes(path, old, old)
	p := credential.New("user", &credential.File{Path: path}, credential.Options{})
	salt, message := decode(b, rfcSalt), []byte(rfcMessage)
	for b.Loop() {
		if _, _, err := p.SCRAM(b.Context(), salt, 4096, message); err != nil {
			b.Fatal(err)
		}
	}
}
