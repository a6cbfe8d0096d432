package record_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/protocol"
)

func open(t testing.TB, dir string, o record.Options) *record.Store {
	t.Helper()
	s, err := record.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func begin(t testing.TB, s *record.Store, subject string) *record.Log {
	t.Helper()
	l, err := s.Begin(&record.Start{Subject: subject, Database: "shop", Protocol: "postgres",
		Identity: map[string]string{"pid": "42"}, Params: map[string]string{"user": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func statement(n uint64) *record.Event {
	return &record.Event{Statement: &record.Statement{Number: n, Text: "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
		Decisions: []record.Decision{{Verdict: protocol.Allow, Rule: "bench/read", Tag: "SELECT"}}, Bound: 1}}
}

func outcome(n uint64) *record.Event {
	return &record.Event{Outcome: &record.Outcome{Number: n, Tag: "SELECT 1", Rows: 1, Bytes: 20, Micros: 77}}
}

func dataRow(values ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		if v == "NULL" {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	msg := append([]byte{'D'}, binary.BigEndian.AppendUint32(nil, uint32(len(b)+4))...)
	return append(msg, b...)
}

func verify(t testing.TB, dir string) *record.Report {
	t.Helper()
	r, err := record.Verify(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s := open(t, dir, record.Options{ParamBytes: 100, Rows: 2, TextBytes: 40})
	l := begin(t, s, "agents/support")
	long := strings.Repeat("x", 50)
	events := []*record.Event{
		{Statement: &record.Statement{Number: 1, Text: long, Params: [][]byte{[]byte("a"), nil, {}}, Formats: []int16{0, 1, 0},
			Bound: 3, Held: true, Decisions: []record.Decision{{Verdict: protocol.Mask, Rule: "p/r", Tag: "SELECT", Object: "app.t"}}}},
		{Notice: &record.Notice{Number: 1, Type: "hold", Text: "waits", Facts: map[string]string{"request": "7"}}},
		{Refusal: &record.Refusal{Text: "DROP TABLE x", Code: "42501", Message: "no", Rule: "p/no-ddl"}},
		{Columns: &record.Columns{Number: 1, Columns: []record.Column{{Name: "ssn", Type: 25, Tag: "ssn"}}}},
		{Outcome: &record.Outcome{Number: 1, Tag: "SELECT 3", Rows: 3, Bytes: 99, Micros: 5}},
	}
	for _, e := range events {
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	rows := append(append(dataRow("a", "NULL"), dataRow("b", "c")...), dataRow("d", "e")...)
	l.Rows(1, 0, rows, 3)
	l.Rows(1, 0, rows, 3)
	if err := l.End("terminate", ""); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(statement(2)); !errors.Is(err, record.ErrClosed) {
		t.Errorf("Append after End = %v, want ErrClosed", err)
	}
	var got []*record.Event
	for e, err := range record.Read(dir, l.ID()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if len(got) != 8 {
		t.Fatalf("%d events, want 8", len(got))
	}
	st := got[1].Statement
	if st.Text != long[:40] || st.Length != 50 || len(st.SHA256) != 32 || !st.Held {
		t.Errorf("statement = %+v", st)
	}
	if diff := cmp.Diff([][]byte{[]byte("a"), nil, {}}, st.Params); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(events[2].Refusal, got[3].Refusal); diff != "" {
		t.Error(diff)
	}
	want := [][][]byte{{[]byte("a"), nil}, {[]byte("b"), []byte("c")}}
	if r := got[6].Rows; !r.Cut || r.Count != 2 || cmp.Diff(want, r.Values()) != "" {
		t.Errorf("rows = %+v %s", r, cmp.Diff(want, r.Values()))
	}
	sessions, err := record.Sessions(dir, record.Filter{Subject: "agents/support"})
	if err != nil || len(sessions) != 1 {
		t.Fatalf("Sessions = %v, %v", sessions, err)
	}
	if s := sessions[0]; s.State != "ended" || s.Statements != 1 || s.Refused != 1 || s.Rows != 3 || s.Start.Params["user"] != "x" {
		t.Errorf("session = %+v", s)
	}
	if _, err := record.Find(dir, l.ID().String()[14:]); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := record.Export(&out, dir, record.Filter{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if !strings.Contains(out.String(), `"values":[["a",null],["b","c"]]`) {
		t.Errorf("export has no rows: %s", out.String())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); !r.OK() || len(r.Findings) != 0 || r.Sessions != 1 {
		t.Errorf("Verify = %+v", r)
	}
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	os.Mkdir(dir, 0o755)
	s := open(t, dir, record.Options{SegmentBytes: 1 << 20, Key: []byte("k")})
	begin(t, s, "x")
	s.Close()
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return nil
	})
}

// Many sessions at once, over many segments, with readers beside them.
func TestConcurrency(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []record.Sync{record.Interval, record.Always} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			dir := filepath.Join(dir, fmt.Sprint(mode))
			s := open(t, dir, record.Options{SegmentBytes: 256 << 10, Sync: mode})
			n := 3000
			if mode == record.Always {
				n = 100
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			tailed := make(chan int)
			go func() {
				count := 0
				for e, err := range record.Tail(ctx, dir, record.ID{}) {
					if err != nil {
						t.Error(err)
						break
					}
					if e.Statement != nil {
						count++
					}
					if count == 8*n {
						break
					}
				}
				tailed <- count
			}()
			time.Sleep(50 * time.Millisecond) // let it find the end
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					l := begin(t, s, fmt.Sprint("w", w))
					for i := range n {
						if err := l.Append(statement(uint64(i))); err != nil {
							t.Error(err)
							return
						}
						l.Buffer(outcome(uint64(i)))
					}
					l.End("terminate", "")
				})
			}
			wg.Wait()
			if r := verify(t, dir); !r.OK() {
				t.Errorf("Verify of a live log: %+v", r.Findings)
			}
			select {
			case got := <-tailed:
				if got != 8*n {
					t.Errorf("Tail saw %d statements, want %d", got, 8*n)
				}
			case <-time.After(10 * time.Second):
				t.Error("Tail did not see everything")
				cancel()
				t.Log(<-tailed)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			r := verify(t, dir)
			if !r.OK() || r.Sessions != 8 || r.Events < uint64(8*(2*n+2)) {
				t.Errorf("Verify = %+v", r)
			}
			sessions, err := record.Sessions(dir, record.Filter{})
			if err != nil || len(sessions) != 8 || sessions[3].Statements != uint64(n) {
				t.Errorf("Sessions = %+v, %v", sessions, err)
			}
		})
	}
}
