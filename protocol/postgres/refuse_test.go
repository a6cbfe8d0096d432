package postgres_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/protocol"
)

func TestRefusal(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	const denied = "E ERROR 42501 denied by test"
	tests := []struct {
		name   string
		send   []byte
		rounds int
		want   string
	}{
		{"simple", query("/*deny*/ select 1"), 1, denied + "\nZ I"},
		{"simple, then on", join(query("/*deny*/ select 1"), query("select 1")), 2, denied + "\nZ I\nT ?column? 0000000000170004ffffffff0000\nD 1\nC SELECT 1\nZ I"},
		{"in a transaction, which fails", join(query("begin"), query("/*deny*/ select 1"), query("select 1"), query("commit")), 4,
			"C BEGIN\nZ T\n" + denied + "\nZ E\nE ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block\nZ E\nC ROLLBACK\nZ I"},
		{"in a failed transaction", join(query("begin"), query("select 1/0"), query("/*deny*/ select 1"), query("rollback")), 4,
			"C BEGIN\nZ T\nE ERROR 22012 division by zero\nZ E\n" + denied + "\nZ E\nC ROLLBACK\nZ I"},
		{"parse", join(all("/*deny*/ select 1"), syncMsg()), 1, denied + "\nZ I"},
		{"parse described", join(parse("s", "/*deny*/ select 1"), describe('S', "s"), syncMsg(), bind("", "s"), syncMsg()), 2,
			denied + "\nZ I\nE ERROR 26000 prepared statement \"s\" does not exist\nZ I"},
		{"middle of a pipeline", join(all("select 1"), all("/*deny*/ select 2"), all("select 3"), syncMsg(), all("select 4"), syncMsg()), 2,
			"1 \n2 \nD 1\nC SELECT 1\n" + denied + "\nZ I\n1 \n2 \nD 4\nC SELECT 1\nZ I"},
		{"behind an error", join(all("select 1/0"), all("/*deny*/ select 2"), syncMsg()), 1, "1 \nE ERROR 22012 division by zero\nZ I"},
		{"what came before is undone", join(all("create temp table undone(a int)"), all("/*deny*/ select 2"), syncMsg(), query("select to_regclass('undone') is null")), 2,
			"1 \n2 \nC CREATE TABLE\n" + denied + "\nZ I\nT ?column? 0000000000100001ffffffff0000\nD t\nC SELECT 1\nZ I"},
		{"begin of simple", query("/*begin*/ select 1"), 1, "E ERROR 42501 not begun by test\nZ I"},
		{"begin of execute", join(all("/*begin*/ select 1"), syncMsg()), 1, "1 \n2 \nE ERROR 42501 not begun by test\nZ I"},
		{"second execute", join(parse("s", "/*begin*/ select 1"), all("select 7"), bind("", "s"), execute("", 0), all("select 8"), syncMsg()), 1,
			"1 \n1 \n2 \nD 7\nC SELECT 1\n2 \nE ERROR 42501 not begun by test\nZ I"},
		{"named statement stays", join(parse("s", "select 1"), syncMsg(), closeMsg('S', "x"), all("/*deny*/ x"), closeMsg('S', "s"), parse("s", "select 2"), syncMsg(), bind("", "s"), execute("", 0), syncMsg()), 3,
			"1 \nZ I\n3 \n" + denied + "\nZ I\n2 \nD 1\nC SELECT 1\nZ I"},
		{"function call", join(msg('F', 1598, int16(0), int16(0), int16(0)), query("select")), 2, "E ERROR 42501 function calls by message are not allowed\nZ I\n\nD \nC SELECT 1\nZ I"},
		{"two statements under a name", query("execute nothing"), 1, "E ERROR 26000 prepared statement \"nothing\" does not exist\nZ I"},
		{"cursor", query("fetch 1 from nothing"), 1, "E ERROR 34000 cursor \"nothing\" does not exist\nZ I"},
		{"shape", query("/*shape*/ select 1"), 1, "E FATAL 42501 not the shape that was judged \nEOF"},
		{"shape of execute", join(all("/*shape*/ select 1"), syncMsg()), 1, "1 \n2 \nE FATAL 42501 not the shape that was judged \nEOF"},
		{"invalid UTF-8", join(query("select '\xff'"), query("select")), 2, "E ERROR 22021 invalid byte sequence for encoding \"UTF8\"\nZ I\n\nD \nC SELECT 1\nZ I"},
		{"NUL", join(msg('Q', "select 1", "select 2"), query("select")), 2, "E ERROR 08P01 invalid message format\nZ I\n\nD \nC SELECT 1\nZ I"},
		{"no NUL", join(msg('Q', []byte("select 1")), query("select")), 2, "E ERROR 08P01 invalid message format\nZ I\n\nD \nC SELECT 1\nZ I"},
		{"unknown message", msg('y'), 1, "E FATAL 08P01 invalid frontend message type 121 \nEOF"},
		{"password message", msg('p', "x"), 1, "E FATAL 08P01 invalid frontend message type 112 \nEOF"},
		{"length", []byte{'Q', 0, 0, 0, 3, 0}, 1, "E FATAL 08P01 invalid message length \nEOF"},
		{"huge length", []byte{'Q', 0xff, 0, 0, 3, 0}, 1, "E FATAL 08P01 invalid message length \nEOF"},
		{"pinned setting", join(query("set standard_conforming_strings = off"), query("select 1")), 2,
			"C SET\nE FATAL 42501 the setting standard_conforming_strings has been changed, and statements could no longer be read safely \nEOF"},
		{"client encoding", join(query("set client_encoding = 'LATIN1'"), query("select 1")), 2,
			"C SET\nE FATAL 42501 the setting client_encoding has been changed, and statements could no longer be read safely \nEOF"},
		{"sensitive error", query("/*sensitive*/ select 'sesame'::int"), 1, "E ERROR 22P02 invalid input syntax (details withheld: the statement reads sensitive data) 22\nZ I"},
		{"sensitive notice", query("/*sensitive*/ do $$begin raise notice 'sesame'; end$$"), 1, "N NOTICE 00000 notice (details withheld: the statement reads sensitive data)\nC DO\nZ I"},
		{"position", query("select v, nothing from spliced x"), 1, "E ERROR 42703 column \"nothing\" does not exist 11\nZ I"},
		{"position behind", query("select v from spliced x where nothing"), 1, "E ERROR 42703 column \"nothing\" does not exist 31\nZ I"},
		{"position extended", join(parse("", "select v from spliced x where nothing"), syncMsg()), 1, "E ERROR 42703 column \"nothing\" does not exist 31\nZ I"},
		{"scan", query("/*scan*/ select 'secret', 'secret' union all select 'plain', 'b'"), 1,
			"T ?column? 000000000019ffffffffffff0000T ?column? 000000000019ffffffffffff0000\nD ***secret\nD plainb\nC SELECT 2\nZ I"},
		{"scan of COPY", query("/*scan*/ copy (values ('secret', 'secret'), (e'a\tb\\\\c', 'd'), (null, 'secret'), ('secret', e'x\ny')) to stdout"), 1,
			"H 00000200000000\nd ***secret\nd a\\tb\\\\cd\nd \\Nsecret\nd ***x\\ny\nc \nC COPY 4\nZ I"},
		{"scan of COPY CSV", query("/*scan*/ copy (values ('secret', 'secret'), (e'a,\"b\nc', 'd')) to stdout (format csv, header, force_quote *)"), 1,
			"H 00000200000000\nd column1,column2\nd \"***\",\"secret\"\nd \"a,\"\"bc\",\"d\"\nc \nC COPY 2\nZ I"},
		{"notice", query("/*notice*/ select 1"), 1, "N NOTICE 00000 masked for you\nT ?column? 0000000000170004ffffffff0000\nD 1\nC SELECT 1\nZ I"},
		{"rows", join(query("/*rows=2*/ select generate_series(1,3)"), query("select")), 2, "T generate_series 0000000000170004ffffffff0000\nD 1\nD 2\nE ERROR 54000 the result is larger than the policy allows\nZ I\n\nD \nC SELECT 1\nZ I"},
		{"many rows", join(query("/*rows=1*/ select generate_series(1,10000000)"), query("select")), 2, "T generate_series 0000000000170004ffffffff0000\nD 1\nE ERROR 54000 the result is larger than the policy allows\nZ I\n\nD \nC SELECT 1\nZ I"},
		{"rows in a pipeline", join(all("/*rows=1*/ select generate_series(1,10000000)"), all("select 2"), syncMsg(), all("select 3"), syncMsg()), 2,
			"1 \n2 \nD 1\nE ERROR 54000 the result is larger than the policy allows\nZ I\n1 \n2 \nD 3\nC SELECT 1\nZ I"},
		{"few rows in a pipeline", join(all("/*rows=1*/ select generate_series(1,3)"), all("select 2"), syncMsg(), all("select 3"), syncMsg()), 2,
			"1 \n2 \nD 1\nE ERROR 54000 the result is larger than the policy allows\nZ I\n1 \n2 \nD 3\nC SELECT 1\nZ I"},
		{"time", join(query("/*millis=50*/ select pg_sleep(5)"), query("select")), 2, "T pg_sleep 0000000008e60004ffffffff0000\nE ERROR 57014 the statement took longer than the policy allows\nZ I\n\nD \nC SELECT 1\nZ I"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{0, 1} {
				got := talk(t, p.ln.Addr().String(), exchange{send: tt.send, rounds: tt.rounds}, size)
				if got != tt.want && strings.TrimSpace(got) != strings.ReplaceAll(tt.want, " \nEOF", "\nEOF") {
					t.Errorf("got (%d)\n%s\nwant\n%s", size, got, tt.want)
				}
			}
		})
	}
}

// TestPath checks that the search path is asked for, and that what was judged
// under another one is judged and prepared again.
func TestPath(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	tests := []struct {
		name   string
		send   []byte
		rounds int
		want   []string // values of rows, and errors
	}{
		{"first", query("/*named*/ select v from spliced x"), 1, []string{"public"}},
		{"changed", join(query("set search_path = app"), query("/*named*/ select v from spliced x")), 2, []string{"app"}},
		{"in a pipeline", join(all("set search_path = app"), all("/*named*/ select v from spliced x"), syncMsg(), query("/*named*/ select v from spliced x")), 2, []string{"app", "app"}},
		{"rolled back", join(query("begin"), query("set local search_path = app"), query("/*named*/ select v from spliced x"), query("rollback"), query("/*named*/ select v from spliced x")), 5, []string{"app", "public"}},
		{"rolled back by an error", join(query("begin"), query("set search_path = app"), query("/*named*/ select v from spliced x"), query("select 1/0"), query("rollback"), query("/*named*/ select v from spliced x")), 6,
			[]string{"app", "E ERROR 22012 division by zero", "public"}},
		{"pipeline rolled back", join(all("set search_path = app"), all("/*named*/ select v from spliced x"), all("select 1/0"), syncMsg(), all("/*named*/ select v from spliced x"), syncMsg()), 2,
			[]string{"app", "E ERROR 22012 division by zero", "public"}},
		{"prepared before", join(parse("s", "/*named*/ select v from spliced x"), bind("", "s"), execute("", 0), syncMsg(), query("set search_path = app"), bind("", "s"), execute("", 0), syncMsg(),
			query("reset search_path"), bind("", "s"), execute("", 0), syncMsg()), 5, []string{"public", "app", "public"}},
		{"failed transaction", join(query("begin"), query("select 1/0"), query("/*named*/ select v from spliced x"), query("rollback"), query("/*named*/ select v from spliced x")), 5,
			[]string{"E ERROR 22012 division by zero", "E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block", "public"}},
		{"unnamed stays", join(parse("", "select 'kept'"), query("set search_path = app"), parse("", "select 'kept'"), parse("t", "/*named*/ select v from spliced x"), bind("", ""), execute("", 0), syncMsg()), 2, []string{"kept"}},
		{"isolation can still be set", join(query("begin"), query("set transaction isolation level serializable"), query("/*named*/ select v from spliced x"), query("commit")), 4, []string{"public"}},
		{"end in the middle", join(query("begin"), query("set search_path = app"), query("rollback; /*named*/ select v from spliced x"), query("rollback")), 4,
			[]string{"E ERROR 0A000 names may resolve differently after the end of the transaction"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{0, 1} {
				out := talk(t, p.ln.Addr().String(), exchange{send: tt.send, rounds: tt.rounds}, size)
				var got []string
				for line := range strings.Lines(out) {
					line = strings.TrimSpace(line)
					if s, ok := strings.CutPrefix(line, "D "); ok {
						got = append(got, strings.TrimLeft(strings.Map(func(r rune) rune {
							if r < 32 || r == 0xfffd {
								return -1
							}
							return r
						}, s), " "))
					} else if strings.HasPrefix(line, "E ") || strings.HasPrefix(line, "error") {
						got = append(got, line)
					}
				}
				if strings.Join(got, "|") != strings.Join(tt.want, "|") || strings.Count(out, "Z ") != tt.rounds {
					t.Errorf("got %q, want %q\n%s", got, tt.want, out)
				}
			}
		})
	}
}

func TestHeld(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	const notice = "N NOTICE 00000 held as request 7"
	t.Run("released", func(t *testing.T) {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(all("select 1"), all("/*hold*/ select 2"), all("select 3"), syncMsg())
		if got := r.until('N'); got != "1 \n2 \nD \x00\x01\x00\x00\x00\x011" && !strings.HasSuffix(got, notice) {
			t.Fatalf("got %s", got)
		}
		p.gate.release <- nil
		if got := r.until('Z'); !strings.Contains(got, "D 2") || !strings.Contains(got, "D 3") {
			t.Errorf("got %s", got)
		}
		r.conn.Close()
	})
	t.Run("refused", func(t *testing.T) {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query("/*hold*/ select 2"))
		r.until('N')
		p.gate.release <- &protocol.Refusal{Code: "42501", Message: "a human said no"}
		if got := r.until('Z'); got != "E ERROR 42501 a human said no\nZ I" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("client leaves", func(t *testing.T) {
		for _, text := range []string{"/*hold*/ select 2", "/*slow*/ select 3"} {
			r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
			r.send(query(text))
			if strings.Contains(text, "hold") {
				r.until('N')
			}
			time.Sleep(20 * time.Millisecond)
			start := time.Now()
			r.conn.Close()
			for !strings.Contains(p.gate.log(), text[2:6]+" over") && time.Since(start) < time.Second {
				time.Sleep(time.Millisecond)
			}
			if d := time.Since(start); d > 500*time.Millisecond {
				t.Errorf("%s: noticed after %v", text, d)
			}
		}
	})
}

func TestLarge(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
	big := strings.Repeat("x", 64<<20)
	go func() {
		r.conn.Write(query("select '" + big + "'"))
		r.conn.Write(query("select 1"))
		r.conn.Write(join(parse("", "select '"+big+"'"), bind("", ""), execute("", 0), syncMsg()))
	}()
	got := r.rounds(3)
	want := "E ERROR 54000 message of 67108879 bytes is larger than what is judged (16777216 bytes)\nZ I\nT ?column? 0000000000170004ffffffff0000\nD 1\nC SELECT 1\nZ I\nE ERROR 54000 message of 67108882 bytes is larger than what is judged (16777216 bytes)\nZ I"
	if strings.Map(func(r rune) rune {
		if r < 32 && r != '\n' {
			return -1
		}
		return r
	}, got) != want {
		t.Errorf("got %s", got)
	}
}

func TestDeepPipeline(t *testing.T) {
	p := start(t, server(t).Addr(), func(p *proxy) { p.gate.quiet = true })
	for _, n := range []int{10000} {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		var b []byte
		for range n {
			b = append(b, all("select 1")...)
		}
		r.send(b, syncMsg()) // without reading
		got := r.until('Z')
		if k := strings.Count(got, "C SELECT 1"); k != n {
			t.Errorf("%d of %d", k, n)
		}
		b = nil
		for range n {
			b = append(b, join(all("select 1"), syncMsg())...)
		}
		r.send(b)
		if got := r.rounds(n); strings.Count(got, "C SELECT 1") != n {
			t.Errorf("with Sync: %d", strings.Count(got, "C SELECT 1"))
		}
	}
}

// TestCancelOvertakes checks that a cancel of ours, which comes late where a statement is
// done already, hits none that the client has sent behind it.
func TestCancelOvertakes(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	const rounds = 60
	tests := []struct {
		name string
		one  []byte
		each int
	}{
		{"extended", join(all("/*rows=1*/ select generate_series(1,3)"), syncMsg(), all("select 7"), syncMsg()), 2},
		{"simple", join(query("/*rows=1*/ select generate_series(1,3)"), query("select 7")), 2},
		{"time", join(query("/*millis=1*/ select pg_sleep(0.001)"), query("select 7")), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := talk(t, p.ln.Addr().String(), exchange{send: bytes.Repeat(tt.one, rounds), rounds: rounds * tt.each}, 0)
			if n := strings.Count(got, "D 7\n"); n != rounds {
				_, hit, _ := strings.Cut(got, "57014 canceling")
				t.Errorf("%d of %d statements behind limited ones ran:\n...%s", n, rounds, hit[:min(len(hit), 500)])
			}
		})
	}
}
