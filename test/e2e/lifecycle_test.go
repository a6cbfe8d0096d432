package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluicegate.io/sluice/test/oidc"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

const read = "SELECT name FROM app.customers WHERE id = 1"

// eventually waits for something that happens a moment later.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, what, 10*time.Second, ok)
}

// within waits for something that is much work for a machine.
func within(t *testing.T, what string, most time.Duration, ok func() bool) {
	t.Helper()
	most *= time.Duration(slow)
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("%s: not within %v", what, most)
}

// TestReload gives the agent a configuration that is wrong, then a better one.
func TestReload(t *testing.T) {
	f := setUp(t)
	goesOn(t, f.sluice, f.server.Addr(), f.db)
	good, err := os.ReadFile(f.sluice.Config)
	if err != nil {
		t.Fatal(err)
	}
	f.sluice.WriteConfig(t, strings.Replace(string(good), "effect: allow", "effect: perhaps", 1))
	eventually(t, "the refused configuration is counted", func() bool {
		return f.counted(t, `sluice_policy_reloads_total{result="refused"}`) > 0
	})
	w := session(t, f.sluice, f.server.Addr(), f.db)
	if a := w.query(read); a.rows != 1 {
		t.Errorf("under the last good configuration: %v", a)
	}
	if a := w.query("SELECT v FROM app.secrets"); a.code() != "42501" {
		t.Errorf("not granted: %v", a)
	}
	f.sluice.WriteConfig(t, strings.Replace(string(good), "on: [app.customers, app.orders]", "on: [app.customers, app.orders, app.secrets]", 1))
	eventually(t, "the new configuration holds for an open session", func() bool {
		return w.query("SELECT v FROM app.secrets").rows == 1
	})
}

// TestDiskFull has no room for records: no record, no statement.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a file system")
	}
	state := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("sluicetest", state, "tmpfs", 0, "size=8m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	f.sluice = sluicetest.Start(t, sluicetest.Options{
		Databases: []sluicetest.Database{sluicetest.Shop(server)},
		Policy:    sluicetest.OpenPolicy, State: state,
		Agent: fmt.Sprintf("metrics: {listen: \"%s\"}", f.metrics),
	})
	w := session(t, f.sluice, server.Addr(), f.db)
	if a := w.query(read); a.rows != 1 {
		t.Fatalf("before: %v", a)
	}
	filler := filepath.Join(state, "filler")
	fill(t, filler)
	var refused answer
	eventually(t, "a statement is refused", func() bool {
		if refused.closed {
			return true
		}
		refused = w.query("INSERT INTO app.orders SELECT max(id) + 1, 1, 1 FROM app.orders -- " + strings.Repeat("x", 64<<10))
		return refused.code() != ""
	})
	if !strings.HasPrefix(refused.code(), "53") && !strings.HasPrefix(refused.code(), "58") {
		t.Errorf("refused with %v", refused)
	}
	count := func() string {
		rows, err := server.Query(f.db, "SELECT count(*) FROM app.orders")
		if err != nil {
			t.Fatal(err)
		}
		return rows[0]
	}
	before := count()
	for range 3 {
		w := dial(t, f.sluice, server.Addr())
		// As long as the one before: what is reserved may have room for a short one.
		if a := w.login("app_rw", f.db, "placeholder"); !a.closed && w.query("DELETE FROM app.orders -- "+strings.Repeat("x", 64<<10)).code() == "" {
			t.Error("a statement ran without a record")
		}
		w.Close()
	}
	if after := count(); after != before {
		t.Errorf("%s orders, %s before", after, before)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "statements run again", func() bool {
		w := dial(t, f.sluice, server.Addr())
		defer w.Close()
		a := w.login("app_rw", f.db, "placeholder")
		return !a.closed && len(a.codes) == 0 && w.query(read).rows == 1
	})
}

// fill writes a file until there is no room.
func fill(t *testing.T, name string) {
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// TestProxyDies kills the process that parses: its sessions end, and the next
// ones find a new one.
func TestProxyDies(t *testing.T) {
	f := setUp(t)
	w := session(t, f.sluice, f.server.Addr(), f.db)
	killed := 0
	for _, pid := range f.sluice.Processes() {
		var st syscall.Stat_t
		if err := syscall.Stat(fmt.Sprintf("/proc/%d", pid), &st); err == nil && st.Uid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
			killed++
		}
	}
	if killed != 1 {
		t.Fatalf("%d processes without privileges, want 1", killed)
	}
	if a := w.read(""); !a.closed {
		t.Errorf("the session goes on: %v", a)
	}
	eventually(t, "another proxy serves", func() bool {
		c, err := f.sluice.Dial(context.Background(), f.server.Addr())
		if err != nil {
			return false
		}
		c.Close()
		w := dial(t, f.sluice, f.server.Addr())
		defer w.Close()
		a := w.login("app_rw", f.db, "placeholder")
		return !a.closed && len(a.codes) == 0 && w.query(read).rows == 1
	})
	if f.counted(t, "sluice_proxy_restarts_total") == 0 {
		t.Error("not counted")
	}
}

// TestAgentDies kills the whole agent under load: whatever the workload tries
// afterwards, no connection reaches the database.
func TestAgentDies(t *testing.T) {
	f := setUp(t)
	goesOn(t, f.sluice, f.server.Addr(), f.db)
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		reached := 0
		for {
			select {
			case <-stop:
				done <- reached
				return
			default:
			}
			c, err := f.sluice.Dial(context.Background(), f.server.Addr())
			if err != nil {
				continue
			}
			// Trust is not what the database asks of who reaches it without Sluice:
			// an answer to SSLRequest would come from the server itself.
			c.SetDeadline(time.Now().Add(time.Second))
			c.Close()
		}
	}()
	time.Sleep(300 * time.Millisecond)
	for _, pid := range f.sluice.Processes() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	<-done
	for range 50 {
		c, err := f.sluice.Dial(context.Background(), f.server.Addr())
		if err != nil {
			continue // refused, or the workload ended with the agent
		}
		w := &wire{Conn: c, t: t}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		w.raw([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
		answer := make([]byte, 1)
		if n, _ := c.Read(answer); n == 1 {
			t.Fatalf("somebody answered %q after the agent's death", answer)
		}
		c.Close()
	}
}

// TestTokens logs in with a JWT as the password.
func TestTokens(t *testing.T) {
	provider := oidc.Start(t)
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	shop := sluicetest.Shop(server)
	shop.Extra += "  clientAuth: token\n"
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	f.sluice = sluicetest.Start(t, sluicetest.Options{
		Databases: []sluicetest.Database{shop},
		Policy: fmt.Sprintf(`---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: support}
spec:
  subjects: [{oidc: {issuer: "%s", groups: [support]}}]
  databases: [shop]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers]}
`, provider.URL),
		Agent: fmt.Sprintf("metrics: {listen: \"%s\"}\n  oidc: [{issuer: \"%s\", audience: %s, caFile: %s}]",
			f.metrics, provider.URL, oidc.Audience, provider.CAFile),
	})
	support := map[string]any{"groups": []string{"support"}}
	with := func(key string, value any) map[string]any {
		return map[string]any{"groups": []string{"support"}, key: value}
	}
	tests := []struct {
		name, token string
		ok, granted bool
	}{
		{"good", provider.Token(t, support), true, true},
		{"another group", provider.Token(t, map[string]any{"groups": []string{"sales"}}), true, false},
		{"expired", provider.Token(t, with("exp", time.Now().Add(-time.Hour).Unix())), false, false},
		{"not yet", provider.Token(t, with("nbf", time.Now().Add(time.Hour).Unix())), false, false},
		{"forged", provider.Forged(t, support), false, false},
		{"for somebody else", provider.Token(t, with("aud", "other")), false, false},
		{"from somebody else", provider.Token(t, with("iss", "https://elsewhere.example")), false, false},
		{"no token", "placeholder", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := dial(t, f.sluice, server.Addr())
			a := w.login("app_rw", f.db, tt.token)
			if in := !a.closed && len(a.codes) == 0; in {
				got := w.query(read)
				if (got.rows == 1) != tt.granted {
					t.Errorf("got %v, want granted %v", got, tt.granted)
				}
				if !tt.ok && got.rows > 0 {
					t.Errorf("a bad token reads")
				}
				return
			}
			if tt.granted {
				t.Fatalf("login: %v", a)
			}
			if !strings.HasPrefix(a.code(), "28") && a.code() != "42501" {
				t.Errorf("got %v", a)
			}
			if strings.Contains(a.String(), tt.token) && tt.token != "placeholder" {
				t.Error("the error repeats the token")
			}
			if !f.recorded(t, a.code()) {
				t.Error("no record")
			}
		})
	}
}

// TestProxyCannotStart gives the proxy what it does not accept: the agent ends and says why,
// instead of running without it.
func TestProxyCannotStart(t *testing.T) {
	g := newGround(t, "start")
	g.configure(t, ", cgroup: /"+g.name, "192.0.2.1:5432")
	private := filepath.Join(g.dir, "state", "proxy")
	if err := os.MkdirAll(private, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(private, "ca.pem"), []byte("no key"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := g.start(t)
	ended := make(chan error, 1)
	go func() { ended <- d.cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(d.log(), "Error: start proxy: certificate authority") {
			t.Errorf("%v: %s", err, d.log())
		}
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		t.Error("it runs without a proxy")
		<-ended
	}
}
