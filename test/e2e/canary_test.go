package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// The passwords that nobody but the redirector may hold, one from a file, one from
// its environment.
const (
	canaryFile = "canary-Vq3xR7-of-the-file"
	canaryEnv  = "canary-Kd9mZ2-of-the-environment"
)

// traces are the forms in which a password would do harm. What a server keeps of it
// would not (StoredKey), nor the proofs that it has seen.
func traces(t *testing.T, server *pgtest.Server, user, password string) map[string][]byte {
	t.Helper()
	rows, err := server.Query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+user+"'")
	if err != nil || len(rows) != 1 {
		t.Fatalf("verifier of %s: %v", user, err)
	}
	parts := strings.Split(rows[0], "$") // SCRAM-SHA-256$4096:salt$StoredKey:ServerKey
	iterations, salt64, _ := strings.Cut(parts[1], ":")
	n, err := strconv.Atoi(iterations)
	if err != nil {
		t.Fatal(err)
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, n, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	m := hmac.New(sha256.New, salted)
	m.Write([]byte("Client Key"))
	client := m.Sum(nil)
	stored := sha256.Sum256(client)
	if want, _, _ := strings.Cut(parts[2], ":"); want != base64.StdEncoding.EncodeToString(stored[:]) {
		t.Fatal("the traces are not those of the server's verifier")
	}
	hash := md5.Sum([]byte(password + user))
	return map[string][]byte{
		"the password": []byte(password), "its base64": []byte(base64.StdEncoding.EncodeToString([]byte(password))),
		"its SaltedPassword": salted, "its ClientKey": client, "its md5": []byte(hex.EncodeToString(hash[:])),
	}
}

// TestCanary reads everything that a workload can, and as root the memory of the
// process that parses. Nowhere is the password.
func TestCanary(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256", Password: canaryFile})
	server.Exec(t, "postgres", "ALTER ROLE agent_col PASSWORD '"+canaryEnv+"'")
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	server.Exec(t, f.db, "GRANT USAGE ON SCHEMA app TO agent_col; GRANT SELECT ON app.customers TO agent_col")
	shop := sluicetest.Shop(server)
	shop.Extra += "  credentials: [{name: reader, username: agent_col, passwordEnv: CANARY}]\n"
	f.sluice = sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{shop},
		Policy: sluicetest.CorpusPolicy + "  credential: reader\n", Agent: fmt.Sprintf("metrics: {listen: \"%s\"}", f.metrics)})
	folder := filepath.Dir(f.sluice.Config)
	// What the walk has to find, or it proves nothing.
	const planted = "planted-where-everybody-reads"
	if err := os.WriteFile(filepath.Join(folder, "planted"), []byte(planted), 0o644); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	script, err := filepath.Abs("canary.py")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	// An account that nothing else runs as, or what that has in memory would be read too.
	cmd := exec.CommandContext(ctx, sluicetest.Binary(t), "exec", "--config", f.sluice.Config, "--state", f.sluice.State,
		"--user", "games", "--log-level", "debug", "--", "/usr/bin/python3", "-c", string(text))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = []string{"PATH=/usr/bin:/bin", "CANARY=" + canaryEnv, "PORT=" + strconv.Itoa(server.Port), "DB=" + f.db, "LOOK=" + folder + ":/run/sluice:/var/lib/sluice"}
	var seen bytes.Buffer
	cmd.Stdout = &seen
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Process.Signal(os.Interrupt) }()
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && lines.Text() != "READY" {
		said.WriteString(lines.Text() + "\n")
	}

	bad := traces(t, server, "app_rw", canaryFile)
	for what, b := range traces(t, server, "agent_col", canaryEnv) {
		bad[what+", of the policy's credential"] = b
	}
	redirector, proxy := processes(t, cmd.Process.Pid)
	held := found(t, redirector, bad)
	for _, what := range []string{"the password", "the password, of the policy's credential"} {
		if !slices.Contains(held, what) {
			t.Errorf("%s is not in the redirector, so that looking for it shows nothing", what)
		}
	}
	if got := found(t, proxy, bad); len(got) > 0 {
		t.Errorf("the proxy's memory holds %q", got)
	}
	if got := found(t, proxy, map[string][]byte{"user": []byte("app_rw"), "database": []byte(f.db)}); len(got) != 2 {
		t.Errorf("of what the proxy must hold only %q was found", got)
	}
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", proxy, file))
		if err != nil {
			t.Error(err)
		}
		absent(t, "the proxy's "+file, b, bad)
	}
	absent(t, "metrics", fetch(t, "http://"+f.metrics+"/metrics"), bad)
	status, err := f.sluice.Run(ctx, "status", "--output", "json")
	if err != nil {
		t.Logf("status: %v", err)
	}
	absent(t, "status", status, bad)

	in.Close()
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the workload: %v\n%s", err, tail(said.String()))
	}
	absent(t, "the log", []byte(said.String()), bad)
	absent(t, "what the workload read", seen.Bytes(), bad)
	for _, want := range []string{planted, "session [('agent_col', 'Alice')]", "InsufficientPrivilege"} {
		if !bytes.Contains(seen.Bytes(), []byte(want)) {
			t.Errorf("the workload should have read %q", want)
		}
	}
	t.Logf("the workload printed %d bytes; %s", seen.Len(), seen.Bytes()[bytes.LastIndex(seen.Bytes(), []byte("\nread "))+1:])
	recordings(t, f.sluice.State, bad)
}

// absent checks that none of bad is in b.
func absent(t *testing.T, where string, b []byte, bad map[string][]byte) {
	t.Helper()
	for what, trace := range bad {
		if bytes.Contains(b, trace) {
			t.Errorf("%s holds %s", where, what)
		}
	}
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %d bytes, %v", url, len(b), err)
	}
	return b
}

// processes returns the ids of an agent's two processes.
func processes(t *testing.T, agent int) (redirector, proxy int) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", agent, agent))
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", agent))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		children = append(append(children, ' '), b...)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", agent))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(children)) {
		var st syscall.Stat_t
		own, err := os.Readlink("/proc/" + word + "/exe")
		if err != nil || own != exe || syscall.Stat("/proc/"+word, &st) != nil || st.Uid == 0 {
			continue
		}
		proxy, err = strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
	}
	if proxy == 0 {
		t.Fatal("no proxy process")
	}
	return agent, proxy
}

// found returns which of traces are in the memory of a process.
func found(t *testing.T, pid int, traces map[string][]byte) []string {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const overlap = 256 // more than any trace
	var hits []string
	total := 0
	for line := range strings.Lines(string(maps)) {
		var low, high int64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &low, &high, &rights); err != nil || rights[0] != 'r' ||
			strings.Contains(line, "[vvar") || strings.Contains(line, "[vsyscall") {
			continue
		}
		buf := make([]byte, 4<<20)
		for at := low; at < high; at += int64(len(buf)) - overlap {
			n, _ := mem.ReadAt(buf[:min(int64(len(buf)), high-at)], at)
			total += n
			for what, trace := range traces {
				if bytes.Contains(buf[:n], trace) && !slices.Contains(hits, what) {
					hits = append(hits, what)
				}
			}
		}
	}
	if total < 4<<20 {
		t.Errorf("only %d bytes of process %d were read", total, pid)
	}
	return hits
}

// recordings looks at all files of a state directory, and at the events that they hold.
func recordings(t *testing.T, state string, bad map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		absent(t, path, b, bad)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	dir := filepath.Join(state, "sessions")
	sessions, err := record.Sessions(dir, record.Filter{})
	if err != nil || len(sessions) < 5 {
		t.Errorf("%d sessions were recorded, %v", len(sessions), err)
	}
	for _, s := range sessions {
		for e, err := range record.Read(dir, s.ID) {
			if err != nil {
				t.Error(err)
				break
			}
			absent(t, "a recording", fmt.Appendf(nil, "%+v %+v %+v %+v %+v %+v", e.Start, e.Statement, e.Refusal, e.Notice, e.Outcome, e.End), bad)
		}
	}
}

// TestRotation changes the password in the file and at the server, in either order:
// open sessions go on, and new ones log in.
func TestRotation(t *testing.T) {
	f := setUp(t)
	file := filepath.Join(filepath.Dir(f.sluice.Config), "shop.password")
	open := []*wire{session(t, f.sluice, f.server.Addr(), f.db)}
	if a := open[0].query(read); a.rows != 1 {
		t.Fatalf("before: %v", a)
	}
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	alter := func(password string) { f.server.Exec(t, "postgres", "ALTER ROLE app_rw PASSWORD '"+password+"'") }
	for i, change := range []func(password string){
		func(p string) { write(p); alter(p) },
		func(p string) { alter(p); write(p) },
	} {
		change(fmt.Sprintf("rotated-%d", i))
		open = append(open, session(t, f.sluice, f.server.Addr(), f.db))
		for n, w := range open {
			if a := w.query(read); a.rows != 1 {
				t.Errorf("rotation %d, session %d: %v", i, n, a)
			}
		}
	}
	// Between the two, sessions are refused and say nothing of the password.
	alter("rotated-at-the-server-only")
	w := dial(t, f.sluice, f.server.Addr())
	if a := w.login("app_rw", f.db, "placeholder"); !strings.HasPrefix(a.code(), "28") || strings.Contains(a.String(), "rotated-") {
		t.Errorf("with an old password: %v", a)
	}
	if a := open[0].query(read); a.rows != 1 {
		t.Errorf("an open session meanwhile: %v", a)
	}
	write("rotated-at-the-server-only")
	if a := session(t, f.sluice, f.server.Addr(), f.db).query(read); a.rows != 1 {
		t.Errorf("after the file follows: %v", a)
	}
	if n := f.counted(t, "sluice_proxy_restarts_total"); n != 0 {
		t.Errorf("%v restarts of the proxy", n)
	}
}
