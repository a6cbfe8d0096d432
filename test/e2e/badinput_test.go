package e2e_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// fixture is a server, a Sluice in front of it, and a database.
type fixture struct {
	server  *pgtest.Server
	sluice  *sluicetest.Sluice
	db      string
	metrics string
}

func setUp(t *testing.T, more ...sluicetest.Database) fixture {
	t.Helper()
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	f.sluice = sluicetest.Start(t, sluicetest.Options{
		Databases: append([]sluicetest.Database{sluicetest.Shop(server)}, more...),
		Policy:    sluicetest.CorpusPolicy,
		Agent:     fmt.Sprintf("metrics: {listen: \"%s\"}", f.metrics),
	})
	return f
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// counted sums the samples of metrics that have one of the prefixes.
func (f fixture) counted(t *testing.T, prefixes ...string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + f.metrics + "/metrics")
	if err != nil {
		t.Errorf("metrics: %v", err)
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(body)) {
		i := strings.LastIndexByte(line, ' ')
		if i > 0 && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) }) {
			v, _ := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
			sum += v
		}
	}
	return sum
}

// recorded reports whether some session's log tells of a refusal, an outcome, or
// an end, with one of these SQLSTATEs.
func (f fixture) recorded(t *testing.T, codes ...string) bool {
	t.Helper()
	for range 50 { // an end is written a moment after the client sees it
		dir := f.sluice.State + "/sessions"
		sessions, err := record.Sessions(dir, record.Filter{})
		if err != nil {
			t.Logf("sessions: %v", err)
		}
		for _, s := range sessions {
			for e, err := range record.Read(dir, s.ID) {
				if err != nil {
					break
				}
				if e.Refusal != nil && slices.Contains(codes, e.Refusal.Code) ||
					e.Outcome != nil && slices.Contains(codes, e.Outcome.Code) ||
					e.End != nil && slices.ContainsFunc(codes, func(c string) bool { return strings.Contains(e.End.Detail, "SQLSTATE "+c) }) {
					return true
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

func TestUnreachableDatabase(t *testing.T) {
	gone := freeAddress(t)
	refusing := pgtest.Start(t, pgtest.Options{Auth: "reject"})
	f := setUp(t,
		sluicetest.Database{Name: "gone", Endpoint: gone, Username: "app_rw", Password: "x"},
		sluicetest.Database{Name: "refusing", Endpoint: refusing.Addr(), Username: "app_rw", Password: "x"})
	for name, address := range map[string]string{"nobody listens": gone, "pg_hba.conf rejects": refusing.Addr()} {
		t.Run(name, func(t *testing.T) {
			a := dial(t, f.sluice, address).login("app_rw", "postgres", "placeholder")
			if !a.closed || len(a.codes) != 1 || !(strings.HasPrefix(a.code(), "08") || a.code() == "28000") {
				t.Errorf("got %v", a)
			}
			if !f.recorded(t, a.code()) {
				t.Errorf("no record of %s", a.code())
			}
		})
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
}

func TestWrongCredential(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	wrong := sluicetest.Shop(server)
	wrong.Name, wrong.Password = "wrong", "not-the-password-of-anyone"
	f := setUp(t, wrong)
	a := dial(t, f.sluice, server.Addr()).login("app_rw", "postgres", "placeholder")
	if !a.closed || len(a.codes) != 1 || !strings.HasPrefix(a.code(), "28") && !strings.HasPrefix(a.code(), "08") {
		t.Errorf("got %v", a)
	}
	if strings.Contains(a.String(), wrong.Password) {
		t.Error("the error tells the credential")
	}
	if !f.recorded(t, a.code()) {
		t.Errorf("no record of %s", a.code())
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
}

// TestMessages sends what no driver would, after a good login.
func TestMessages(t *testing.T) {
	f := setUp(t)
	big := binary.BigEndian.AppendUint32([]byte{'Q'}, 0x7fffffff)
	tests := []struct {
		name   string
		send   []byte
		codes  []string // one of them; none: the connection just ends
		goesOn bool     // the session can be used afterwards
	}{
		{"length of 2 GiB", big, []string{"08P01", "54000"}, false},
		{"length below 4", []byte{'Q', 0, 0, 0, 3}, []string{"08P01"}, false},
		{"negative length", []byte{'Q', 0xff, 0xff, 0xff, 0xff}, []string{"08P01", "54000"}, false},
		{"unknown type", frame('!', "x"), []string{"08P01"}, false},
		{"password after login", frame('p', "x\x00"), []string{"08P01"}, false},
		{"startup after login", append([]byte{0, 0, 0, 8, 0, 3, 0, 0}, make([]byte, 4096)...), []string{"08P01"}, false},
		{"bind of nothing", append(frame('B', "\x00nothing\x00\x00\x00\x00\x00\x00\x00"), frame('S', "")...), []string{"26000"}, true},
		{"execute of nothing", append(frame('E', "nothing\x00\x00\x00\x00\x00"), frame('S', "")...), []string{"34000"}, true},
		{"describe of nothing", append(frame('D', "Snothing\x00"), frame('S', "")...), []string{"26000"}, true},
		{"describe of what", append(frame('D', "Xnothing\x00"), frame('S', "")...), []string{"08P01"}, true},
		{"copy data without copy", append(frame('d', "data"), frame('Q', "SELECT 1\x00")...), nil, true},
		{"no end of text", frame('Q', "SELECT 1"), []string{"08P01"}, true},
		{"NUL inside text", frame('Q', "SELECT 1\x00; SELECT 2\x00"), []string{"08P01"}, true},
		{"invalid UTF-8", frame('Q', "SELECT '\xff\xfe'\x00"), []string{"22021"}, true},
		{"invalid UTF-8 in Parse", append(frame('P', "\x00SELECT '\xc3('\x00\x00\x00"), frame('S', "")...), []string{"22021"}, true},
		{"truncated Parse", append(frame('P', "\x00SELECT 1\x00\x00\x05"), frame('S', "")...), []string{"08P01"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := session(t, f.sluice, f.server.Addr(), f.db)
			w.raw(tt.send)
			a := w.read("")
			if len(tt.codes) > 0 && !slices.Contains(tt.codes, a.code()) {
				t.Errorf("got %v, want one of %v", a, tt.codes)
			}
			if len(tt.codes) == 0 && len(a.codes) > 0 {
				t.Errorf("got %v, want no error", a)
			}
			if tt.goesOn {
				if a.closed {
					t.Error("the session ended")
				} else if a := w.query("SELECT name FROM app.customers WHERE id = 1"); a.rows != 1 {
					t.Errorf("afterwards: %v", a)
				}
			} else if !a.closed && !w.read("").closed {
				t.Error("the connection stays open")
			}
			if len(tt.codes) > 0 && !f.recorded(t, a.code()) {
				t.Errorf("no record of %s", a.code())
			}
		})
	}
	t.Run("truncated", func(t *testing.T) {
		for _, part := range [][]byte{{'Q'}, {'Q', 0, 0}, frame('Q', "SELECT 1\x00")[:9], {0, 0, 0, 80, 0, 3, 0, 0, 'u'}} {
			w := dial(t, f.sluice, f.server.Addr())
			if part[0] == 'Q' {
				w.login("app_rw", f.db, "placeholder")
			}
			w.raw(part)
			w.Close()
		}
	})
	goesOn(t, f.sluice, f.server.Addr(), f.db)
	if f.counted(t, "sluice_denials_total", "sluice_statement_errors_total", "sluice_session_ends_total") == 0 {
		t.Error("nothing was counted")
	}
}

// TestStartup sends startup packets that are not right.
func TestStartup(t *testing.T) {
	f := setUp(t)
	packet := func(code uint32, body string) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+8))
		return append(binary.BigEndian.AppendUint32(b, code), body...)
	}
	tests := []struct {
		name string
		send []byte
		code []string
	}{
		{"far too long", packet(3<<16, strings.Repeat("x", 20_000)), []string{"08P01", ""}},
		{"too short", []byte{0, 0, 0, 4, 0, 3, 0, 0}, []string{"08P01", ""}},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), []string{"08P01", ""}},
		{"version 2", packet(2<<16, "user\x00app_rw\x00\x00"), []string{"0A000"}},
		{"no terminator", packet(3<<16, "user\x00app_rw\x00"), []string{"08P01"}},
		{"no user", packet(3<<16, "database\x00x\x00\x00"), []string{"28000"}},
		{"replication", packet(3<<16, "user\x00app_rw\x00replication\x00true\x00\x00"), []string{"42501", "0A000"}},
		{"setting outside the list", packet(3<<16, "user\x00app_rw\x00options\x00-c log_statement=none\x00\x00"), []string{"42501"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := dial(t, f.sluice, f.server.Addr())
			w.raw(tt.send)
			a := w.read("")
			if !a.closed || !slices.Contains(tt.code, a.code()) {
				t.Errorf("got %v, want one of %q and a closed connection", a, tt.code)
			}
		})
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
}

func TestLongPipeline(t *testing.T) {
	const statements = 10_000
	f := setUp(t)
	w := session(t, f.sluice, f.server.Addr(), f.db)
	go func() {
		for i := range statements {
			w.f.SendParse(&pgproto3.Parse{Query: "SELECT name FROM app.customers WHERE id = $1"})
			w.f.SendBind(&pgproto3.Bind{Parameters: [][]byte{[]byte(strconv.Itoa(i%3 + 1))}})
			w.f.SendDescribe(&pgproto3.Describe{ObjectType: 'P'})
			w.f.SendExecute(&pgproto3.Execute{})
			if i%100 == 99 {
				w.f.Flush()
			}
		}
		w.f.SendSync(&pgproto3.Sync{})
		w.f.Flush()
	}()
	if a := w.read(""); a.rows != statements || len(a.codes) > 0 {
		t.Errorf("%d rows of %d, codes %v", a.rows, statements, a.codes)
	}
	if a := w.query("SELECT name FROM app.customers WHERE id = 1"); a.rows != 1 {
		t.Errorf("afterwards: %v", a)
	}
}

func TestHugeStatement(t *testing.T) {
	f := setUp(t)
	w := session(t, f.sluice, f.server.Addr(), f.db)
	text := "SELECT '" + strings.Repeat("x", 64<<20) + "'"
	go w.raw(frame('Q', text+"\x00"))
	a := w.read("")
	if a.code() != "54000" && a.rows != 1 {
		t.Errorf("got %v", a)
	}
	if a.code() == "54000" && !f.recorded(t, "54000") {
		t.Error("no record")
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
}

// TestSlowReader has a client ask for much and read nothing.
func TestSlowReader(t *testing.T) {
	f := setUp(t)
	w := session(t, f.sluice, f.server.Addr(), f.db)
	before := f.sluice.Memory(t)
	w.f.Send(&pgproto3.Query{String: "SELECT g, repeat('x', 1000) FROM generate_series(1, 1000000) g"})
	w.flush()
	time.Sleep(2 * time.Second)
	if grown := f.sluice.Memory(t) - before; grown > 32<<20 {
		t.Errorf("the agent holds %d MiB for a client that does not read", grown>>20)
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
	w.Close()
	goesOn(t, f.sluice, f.server.Addr(), f.db)
}

func TestServerDies(t *testing.T) {
	f := setUp(t)
	w := session(t, f.sluice, f.server.Addr(), f.db)
	w.f.Send(&pgproto3.Query{String: "SELECT g, repeat('x', 1000) FROM generate_series(1, 1000000) g"})
	w.flush()
	if _, err := w.f.Receive(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.server.Query("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+f.db+"' AND query LIKE 'SELECT g,%'"); err != nil {
		t.Fatal(err)
	}
	a := w.read("")
	if !a.closed || a.code() != "57P01" && !strings.HasPrefix(a.code(), "08") {
		t.Errorf("got %v", a)
	}
	if !f.recorded(t, "57P01", "08006") {
		t.Error("no record")
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
	f.server.Close()
	if a := dial(t, f.sluice, f.server.Addr()).login("app_rw", f.db, "placeholder"); !strings.HasPrefix(a.code(), "08") {
		t.Errorf("with the server gone: %v", a)
	}
}

// TestCancel cancels the right statement with a key that is not the server's,
// and with a wrong one nothing.
func TestCancel(t *testing.T) {
	f := setUp(t)
	w := dial(t, f.sluice, f.server.Addr())
	w.f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{"user": "app_rw", "database": f.db}})
	w.flush()
	var key *pgproto3.BackendKeyData
	for done := false; !done; {
		m, err := w.f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.BackendKeyData:
			copied := *m
			key = &copied
		case *pgproto3.ReadyForQuery:
			done = true
		}
	}
	if key == nil {
		t.Fatal("no key")
	}
	cancel := func(pid uint32, secret []byte) {
		c := dial(t, f.sluice, f.server.Addr())
		c.f.Send(&pgproto3.CancelRequest{ProcessID: pid, SecretKey: secret})
		c.flush()
		c.read("")
	}
	wrong := slices.Clone(key.SecretKey)
	wrong[0] ^= 1
	go func() {
		time.Sleep(300 * time.Millisecond)
		cancel(key.ProcessID, wrong)
		time.Sleep(300 * time.Millisecond)
		cancel(key.ProcessID, key.SecretKey)
	}()
	began := time.Now()
	a := w.query("SELECT count(*) FROM generate_series(1, 100000000000) g")
	if a.code() != "57014" || time.Since(began) < 500*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(began), a)
	}
	if a := w.query("SELECT name FROM app.customers WHERE id = 1"); a.rows != 1 {
		t.Errorf("afterwards: %v", a)
	}
}
