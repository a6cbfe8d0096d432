//go:build kube

package apiserver

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// Server is a running API server.
type Server struct {
	URL, CA, Dir string // Dir has a kubeconfig of the administrator, admin.conf
	t            *testing.T
	port, etcd   int
	api          *exec.Cmd
	log          *os.File
}

// adminToken is that of an administrator of this one server, which is on loopback and
// lives as long as a test.
const adminToken = "administrator"

// Binaries returns the directory with kube-apiserver and kubectl.
func Binaries(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("KUBE_DIR"), "out/kube", "../out/kube", "../../out/kube"} {
		if dir == "" {
			continue
		}
		bin, err := filepath.Abs(filepath.Join(dir, "bin"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(bin, "kube-apiserver")); err == nil {
			return bin
		}
	}
	t.Fatal("no kube-apiserver: make test-kube builds it; KUBE_DIR says where")
	return ""
}

// Start starts a server that ends with the test.
func Start(t *testing.T) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), port: free(t), etcd: free(t)}
	s.URL = fmt.Sprintf("https://127.0.0.1:%d", s.port)
	s.CA = filepath.Join(s.Dir, "certs", "apiserver.crt")
	var err error
	if s.log, err = os.Create(filepath.Join(s.Dir, "log")); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.write("sa.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	s.write("tokens.csv", []byte(adminToken+`,admin,1,"system:masters"`+"\n"))
	s.run(exec.Command("etcd", "--data-dir", filepath.Join(s.Dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", s.etcdURL(), "--advertise-client-urls", s.etcdURL(),
		"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", free(t)), "--log-level", "error"))
	s.Up()
	s.write("admin.conf", s.kubeconfig(adminToken))
	return s
}

// Kubeconfig writes the file with which who holds a token reaches the server.
func (s *Server) Kubeconfig(path, token string) {
	s.t.Helper()
	if err := os.WriteFile(path, s.kubeconfig(token), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) kubeconfig(token string) []byte {
	return []byte(fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: a,
contexts: [{name: a, context: {cluster: a, user: a}}],
clusters: [{name: a, cluster: {server: %q, certificate-authority: %q}}],
users: [{name: a, user: {token: %s}}]}
`, s.URL, s.CA, token))
}

func (s *Server) etcdURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.etcd) }

func (s *Server) write(name string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run starts a process that ends with the test, or before.
func (s *Server) run(cmd *exec.Cmd) *exec.Cmd {
	s.t.Helper()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.end(cmd) })
	return cmd
}

func (s *Server) end(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// Up starts the API server, also after Down.
func (s *Server) Up() {
	s.t.Helper()
	issuer := "https://kubernetes.default.svc"
	key := filepath.Join(s.Dir, "sa.key")
	s.api = s.run(exec.Command(filepath.Join(Binaries(s.t), "kube-apiserver"),
		"--etcd-servers", s.etcdURL(), "--secure-port", fmt.Sprint(s.port), "--bind-address", "127.0.0.1",
		"--cert-dir", filepath.Join(s.Dir, "certs"), "--authorization-mode", "Node,RBAC",
		"--enable-admission-plugins", "NodeRestriction", "--disable-admission-plugins", "ServiceAccount",
		"--token-auth-file", filepath.Join(s.Dir, "tokens.csv"), "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", issuer, "--service-account-key-file", key, "--service-account-signing-key-file", key))
	deadline := time.Now().Add(time.Minute)
	for {
		if err := s.ready(); err == nil {
			return
		} else if time.Now().After(deadline) {
			log, _ := os.ReadFile(s.log.Name())
			s.t.Fatalf("the API server is not ready: %v\n%s", err, log[max(0, len(log)-4000):])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *Server) ready() error {
	c, err := rest.HTTPClientFor(s.Admin())
	if err != nil {
		return err
	}
	r, err := c.Get(s.URL + "/readyz")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != 200 {
		return fmt.Errorf("status %s", r.Status)
	}
	return nil
}

// Down stops the API server. What it stored stays.
func (s *Server) Down() { s.end(s.api) }

// Admin is the configuration of an administrator's client.
func (s *Server) Admin() *rest.Config { return s.As(adminToken) }

// As is the configuration of the client that holds a token.
func (s *Server) As(token string) *rest.Config {
	return &rest.Config{Host: s.URL, BearerToken: token, QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{CAFile: s.CA}}
}

// Kubectl runs kubectl as an administrator with input, and returns what it printed.
func (s *Server) Kubectl(input string, args ...string) (string, error) {
	return s.kubectl("admin.conf", input, args...)
}

// KubectlAs is Kubectl by who holds a token.
func (s *Server) KubectlAs(token, input string, args ...string) (string, error) {
	s.write("other.conf", s.kubeconfig(token))
	return s.kubectl("other.conf", input, args...)
}

func (s *Server) kubectl(config, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(Binaries(s.t), "kubectl"),
		append([]string{"--kubeconfig", filepath.Join(s.Dir, config)}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.Dir)
	cmd.Stdin = bytes.NewBufferString(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// MustKubectl is Kubectl that fails the test.
func (s *Server) MustKubectl(input string, args ...string) string {
	s.t.Helper()
	out, err := s.Kubectl(input, args...)
	if err != nil {
		s.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
