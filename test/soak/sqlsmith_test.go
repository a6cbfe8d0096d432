//go:build soak

package soak_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

var (
	span = flag.Duration("smith", 10*time.Minute, "how long random statements are sent")
	seed = flag.Int64("seed", 0, "of the random statements; 0: of the time")
)

func TestMain(m *testing.M) {
	flag.Parse()
	sluicetest.Main(m)
}

// canary is in every sensitive text, and the numbers and moments stand for nothing else.
const (
	canary = "Kx7Qz9VwTr"
	number = "918273645546372819"
	moment = "1913-07-19"
)

// schema has a sensitive column of each kind of type, a view over them, a child and
// a partition, and others that are not sensitive and may be compared with them.
const schema = `
DROP EXTENSION dblink, hstore, tablefunc, pg_stat_statements; DROP SCHEMA app_m CASCADE; DROP SCHEMA app CASCADE;
CREATE SCHEMA app;
CREATE TABLE app.person (id int PRIMARY KEY, name text NOT NULL, born date, secret text, code varchar(40), fixed char(24), amount bigint,
	price numeric, day date, at timestamptz, doc jsonb, old json, tags text[], raw bytea, note text);
INSERT INTO app.person SELECT g, 'n' || g, date '2000-01-01' + g, 'CANARY' || g, 'CANARY-' || g, 'CANARY' || g, NUMBER, NUMBER, 'MOMENT', 'MOMENT 10:00+00',
	jsonb_build_object('k', 'CANARY' || g, 'n', NUMBER), json_build_object('k', 'CANARY' || g), ARRAY['CANARY' || g, 'x'], convert_to('CANARY' || g, 'UTF8'), 'note ' || g FROM generate_series(1, 20) g;
CREATE TABLE app.sale (id int PRIMARY KEY, person_id int REFERENCES app.person, total numeric, made date, doc jsonb, remark text);
INSERT INTO app.sale SELECT g, g % 20 + 1, g, date '2020-01-01' + g, '{"a": 1}', 'r' || g FROM generate_series(1, 30) g;
CREATE TABLE app.vip (rank int) INHERITS (app.person);
INSERT INTO app.vip (id, name, secret, amount, day, rank) VALUES (100, 'v', 'CANARYv', NUMBER, 'MOMENT', 1);
CREATE TABLE app.event (at date NOT NULL, who int, what text, secret text) PARTITION BY RANGE (at);
CREATE TABLE app.event_1 PARTITION OF app.event DEFAULT;
INSERT INTO app.event SELECT date '2020-01-01' + g, g, 'w' || g, 'CANARY' || g FROM generate_series(1, 10) g;
CREATE VIEW app.contact AS SELECT id, name AS label, secret AS reference, amount, tags FROM app.person;
CREATE MATERIALIZED VIEW app.summary AS SELECT p.name, count(s.id) AS sales, max(p.secret) AS best FROM app.person p LEFT JOIN app.sale s ON s.person_id = p.id GROUP BY p.name;
GRANT USAGE ON SCHEMA app TO app_rw; GRANT ALL ON ALL TABLES IN SCHEMA app TO app_rw; ANALYZE`

const sensitive = `
  conditions: %s
  sensitive:
    - {tag: text, columns: ["*.*.secret", "*.*.code", "*.*.fixed"], mask: {keepLast: 1}}
    - {tag: token, columns: ["app.event.secret"], mask: hash}
    - {tag: rest, columns: ["app.person.amount", "app.person.price", "app.person.day", "app.person.at", "app.person.doc", "app.person.old", "app.person.tags", "app.person.raw"], mask: null}
`

const policy = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: soak}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: all, effect: allow, actions: [select, insert, update, delete, merge, lock], on: ["app.*"]}
`

// forms are what a canary looks like in what a client may read.
func forms() [][]byte {
	all := []string{canary, strings.ToUpper(canary), strings.ToLower(canary), hex.EncodeToString([]byte(canary)), number, moment}
	back := []byte(canary)
	slices.Reverse(back)
	all = append(all, string(back))
	for i := range 3 { // of each place in a text
		s := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + canary + "xx"))
		all = append(all, s[4:len(s)-6])
	}
	n, _ := strconv.ParseInt(number, 10, 64)
	all = append(all, string([]byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}))
	out := make([][]byte, len(all))
	for i, s := range all {
		out[i] = []byte(s)
	}
	return out
}

// tap is a client's connection that looks at every byte it reads.
type tap struct {
	net.Conn
	forms [][]byte
	last  []byte // the end of what was read before
	found []byte
	said  string // the last error
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	all := append(c.last, p[:n]...)
	for _, f := range c.forms {
		if bytes.Contains(all, f) && c.found == nil {
			c.found = f
		}
	}
	c.last = append([]byte(nil), all[max(0, len(all)-64):]...)
	return n, err
}

// client speaks the protocol raw.
type client struct {
	*tap
	f *pgproto3.Frontend
}

func connect(ctx context.Context, dial func(context.Context) (net.Conn, error), user, db string) (*client, error) {
	nc, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &client{tap: &tap{Conn: nc, forms: forms()}}
	c.f = pgproto3.NewFrontend(c.tap, nc)
	c.f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": db}})
	if err := c.f.Flush(); err != nil {
		return nil, err
	}
	_, err = c.answer()
	return c, err
}

// patience is how long an answer may take; the server stops a statement much earlier.
const patience = 60 * time.Second

// answer reads up to ReadyForQuery, and returns the SQLSTATE of an error.
func (c *client) answer() (code string, err error) {
	for {
		c.SetReadDeadline(time.Now().Add(patience))
		m, err := c.f.Receive()
		if err != nil {
			return code, err
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			code = m.Code
			c.said = m.Message
		case *pgproto3.CopyInResponse:
			c.f.Send(&pgproto3.CopyFail{Message: "x"})
			c.f.Flush()
		case *pgproto3.ReadyForQuery:
			return code, nil
		}
	}
}

func (c *client) simple(text string) (string, error) {
	c.f.Send(&pgproto3.Query{String: text})
	if err := c.f.Flush(); err != nil {
		return "", err
	}
	return c.answer()
}

func (c *client) extended(text string, format int16, rows uint32, describe bool) (string, error) {
	c.f.Send(&pgproto3.Parse{Query: text})
	c.f.Send(&pgproto3.Bind{ResultFormatCodes: []int16{format}})
	if describe {
		c.f.Send(&pgproto3.Describe{ObjectType: 'P'})
	}
	c.f.Send(&pgproto3.Execute{MaxRows: rows})
	c.f.Send(&pgproto3.Sync{})
	if err := c.f.Flush(); err != nil {
		return "", err
	}
	return c.answer()
}

// run sends a statement in the n-th of several ways, in a transaction that is undone.
func (c *client) run(n int, text string) (string, error) {
	if _, err := c.simple("BEGIN"); err != nil {
		return "", err
	}
	var code string
	var err error
	switch n % 5 {
	case 0, 1:
		code, err = c.simple(text)
	case 2:
		code, err = c.extended(text, 0, 0, n%2 == 0)
	case 3:
		code, err = c.extended(text, 1, 0, n%2 == 0)
	case 4:
		code, err = c.extended(text, 0, 3, true)
	}
	if err != nil {
		return code, err
	}
	_, err = c.simple("ROLLBACK")
	return code, err
}

// statements starts sqlsmith, which reads what there is from one database and only
// prints what it would send.
func statements(t *testing.T, s *pgtest.Server, db string, seed int64) (<-chan string, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "sqlsmith", fmt.Sprintf("--target=host=127.0.0.1 port=%d user=app_su dbname=%s", s.Port, db),
		"--dry-run", "--exclude-catalog", "--max-queries=100000000", fmt.Sprintf("--seed=%d", seed))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: scripts/setup.sh soak installs it", err)
	}
	texts := make(chan string)
	done := make(chan struct{})
	go func() {
		defer close(texts)
		var text strings.Builder
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line := lines.Text()
			if text.Len() == 0 && (strings.HasSuffix(line, "done.") || strings.HasPrefix(line, "SQLsmith")) {
				continue
			}
			text.WriteString(line + "\n")
			if strings.HasSuffix(line, ";") {
				select {
				case texts <- text.String():
				case <-done:
					return
				}
				text.Reset()
			}
		}
	}()
	return texts, func() { close(done); cancel(); cmd.Wait() }
}

// TestSQLsmith sends random statements through Sluice: no byte that comes back may
// hold what a sensitive column holds, no session may end, and nothing may hang.
func TestSQLsmith(t *testing.T) {
	if *seed == 0 {
		*seed = time.Now().UnixNano() % 1_000_000
	}
	t.Logf("seed %d", *seed)
	server := pgtest.Start(t, pgtest.Options{Listen: "127.0.0.1,127.0.0.2", Settings: map[string]string{"statement_timeout": "2s"}})
	text := strings.NewReplacer("CANARY", canary, "NUMBER", number, "MOMENT", moment).Replace(schema)
	db, generator := server.Database(t), server.Database(t)
	server.Exec(t, db, text)
	server.Exec(t, generator, text)
	prune(t, server, generator)
	shop := func(name, address, conditions string) sluicetest.Database {
		d := sluicetest.Shop(server)
		d.Name, d.Endpoint, d.Extra = name, net.JoinHostPort(address, strconv.Itoa(server.Port)), fmt.Sprintf(sensitive, conditions)
		return d
	}
	through := []sluicetest.Database{shop("strict", "127.0.0.1", "deny"), shop("loose", "127.0.0.2", "mask")}
	sluice := sluicetest.Start(t, sluicetest.Options{Databases: through, Policy: policy})
	texts, stop := statements(t, server, generator, *seed)
	defer stop()
	ctx := context.Background()
	dialers := []func(context.Context) (net.Conn, error){
		func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", server.Addr())
		},
		func(ctx context.Context) (net.Conn, error) { return sluice.Dial(ctx, through[0].Endpoint) },
		func(ctx context.Context) (net.Conn, error) { return sluice.Dial(ctx, through[1].Endpoint) },
	}
	names := []string{"direct", "strict", "loose"}
	clients := make([]*client, len(dialers))
	again := func(i int) {
		if clients[i] != nil {
			clients[i].Close()
		}
		var err error
		if clients[i], err = connect(ctx, dialers[i], "app_rw", db); err != nil {
			t.Fatalf("%s: %v", names[i], err)
		}
	}
	for i := range clients {
		again(i)
	}
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	processes := fmt.Sprint(sluice.Processes())
	var sent, leaked int
	direct, refused := "", map[string]int{}
	codes := []map[string]int{{}, {}, {}}
	for end := time.Now().Add(*span); time.Now().Before(end); sent++ {
		text, ok := <-texts
		if !ok {
			t.Fatal("sqlsmith ended")
		}
		for i, c := range clients {
			if i == 0 && sent >= 500 {
				continue // enough to know that they would leak, and what else would run
			}
			code, err := c.run(sent, text)
			codes[i][code]++
			if i == 0 {
				direct = code
			} else if i == 2 && sent < 500 && direct == "" && code != "" {
				refused[c.said]++
			}
			switch {
			case i == 0 && c.found != nil:
				leaked++
				c.found = nil
			case i > 0 && (strings.Contains(c.said, "cannot be analysed") || strings.Contains(c.said, "cannot be rewritten")) && code != "":
				t.Errorf("%s: %s\n%s", names[i], c.said, text)
			case c.found != nil:
				t.Fatalf("%s: LEAK of %q by\n%s", names[i], c.found, text)
			}
			if err == nil {
				continue
			}
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				t.Fatalf("%s: no answer for %v to\n%s", names[i], patience, text)
			}
			if i > 0 {
				t.Errorf("%s: the session ended (%s, %v) at\n%s", names[i], code, err, text)
			} else if !errors.Is(err, io.EOF) {
				t.Logf("direct: %v", err)
			}
			again(i)
		}
	}
	for i := range clients {
		ran := codes[i][""]
		all := 0
		for _, n := range codes[i] {
			all += n
		}
		t.Logf("%s: %d statements, %d ran, %d refused, %v", names[i], all, ran, codes[i]["42501"]+codes[i]["0A000"], codes[i])
	}
	t.Logf("%d statements, %d of 500 leaked directly", sent, leaked)
	for _, said := range slices.Sorted(maps.Keys(refused)) {
		t.Logf("ran directly, but not through Sluice: %d: %s", refused[said], said)
	}
	if leaked == 0 {
		t.Error("nothing leaked directly, so that the test shows nothing")
	}
	if codes[1][""] == 0 || codes[2][""] == 0 {
		t.Error("nothing ran through Sluice, so that the test shows nothing")
	}
	if now := fmt.Sprint(sluice.Processes()); now != processes {
		t.Errorf("a process was replaced: %s, now %s\n%s", processes, now, sluice.Log())
	}
}

// prune takes the functions that are refused by name out of what sqlsmith knows, so
// that most statements are about something else.
func prune(t *testing.T, s *pgtest.Server, db string) {
	rows, err := s.Query(db, "SELECT DISTINCT proname || ' ' || pronargs FROM pg_proc WHERE oid < 16384")
	if err != nil {
		t.Fatal(err)
	}
	var gone []string
	for _, r := range rows {
		name, n, _ := strings.Cut(r, " ")
		args, _ := strconv.Atoi(n)
		if f := sql.BuiltinFunction(name, args); !f.Safe {
			gone = append(gone, fmt.Sprintf("('%s', %d)", name, args))
		}
	}
	s.Exec(t, db, "DELETE FROM pg_proc WHERE (proname::text, pronargs::int) IN ("+strings.Join(gone, ", ")+") AND prorettype <> 'trigger'::regtype AND proname NOT LIKE '%in' AND proname NOT LIKE '%out' AND proname NOT LIKE '%recv' AND proname NOT LIKE '%send' AND proname NOT LIKE 'pg_get%' AND proname NOT LIKE '%handler' AND proname NOT LIKE '%support' AND proname NOT LIKE '%sel'")
}
