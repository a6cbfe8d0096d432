package postgres_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// exchange is what a client sends, and how many ReadyForQuery it waits for.
type exchange struct {
	name   string
	send   []byte
	rounds int
}

var exchanges = []exchange{
	{"simple", query("select 1"), 1},
	{"several", query("select 1; select 2, 'x'; select"), 1},
	{"empty", query(""), 1},
	{"comment", query("-- nothing"), 1},
	{"syntax error", query("selec 1"), 1},
	{"error in the middle", query("select 1; select 1/0; select 2"), 1},
	{"transaction", join(query("begin"), query("select 1"), query("commit")), 3},
	{"failed transaction", join(query("begin"), query("select 1/0"), query("select 1"), query("rollback")), 4},
	{"notice", query("do $$begin raise notice 'hello'; end$$"), 1},
	{"extended", join(all("select 1"), syncMsg()), 1},
	{"described", join(parse("", "select $1::int"), describe('S', ""), bind("", "", "7"), describe('P', ""), execute("", 0), syncMsg()), 1},
	{"named", join(parse("s", "select $1::text"), syncMsg(), bind("p", "s", "a"), execute("p", 0), bind("p2", "s", "b"), execute("p2", 0), syncMsg()), 2},
	{"named twice", join(parse("s", "select 1"), parse("s", "select 2"), syncMsg(), bind("", "s"), execute("", 0), syncMsg()), 2},
	{"close and parse again", join(parse("s", "select 1"), bind("", "s"), execute("", 0), closeMsg('S', "s"), parse("s", "select 2, 3"), bind("", "s"), execute("", 0), syncMsg()), 1},
	{"close what is not there", join(closeMsg('S', "nothing"), closeMsg('P', "nothing"), syncMsg()), 1},
	{"portal in parts", join(query("begin"), parse("", "select generate_series(1,5)"), bind("p", ""), execute("p", 2), execute("p", 2), execute("p", 2), syncMsg(), query("commit")), 3},
	{"flush", join(parse("", "select 1"), flushMsg(), bind("", ""), flushMsg(), execute("", 0), flushMsg(), syncMsg()), 1},
	{"parse error skips", join(parse("", "selec"), bind("", ""), execute("", 0), parse("x", "select 1"), syncMsg(), bind("", "x"), execute("", 0), syncMsg()), 2},
	{"execute error skips", join(all("select 1"), all("select 1/0"), all("select 3"), syncMsg(), all("select 4"), syncMsg()), 2},
	{"close is undone", join(parse("s", "select 1"), syncMsg(), all("select 1/0"), closeMsg('S', "s"), parse("s", "select 2"), syncMsg(), bind("", "s"), execute("", 0), syncMsg()), 3},
	{"no such statement", join(bind("", "nothing"), execute("", 0), syncMsg()), 1},
	{"no such portal", join(execute("nothing", 0), syncMsg()), 1},
	{"no sync between", join(all("create temp table t(a int)"), all("insert into t values (1)"), query("select * from t")), 1},
	{"non-query", join(parse("", "set work_mem = '1MB'"), bind("", ""), describe('P', ""), execute("", 0), syncMsg()), 1},
	{"empty extended", join(all(""), syncMsg()), 1},
	{"several in parse", join(parse("", "select 1; select 2"), syncMsg()), 1},
	{"sync only", join(syncMsg(), syncMsg(), syncMsg()), 3},
	{"copy out", query("copy (select generate_series(1,3)) to stdout"), 1},
	{"copy out extended", join(all("copy (select 1) to stdout"), syncMsg()), 1},
	{"copy in", join(query("create temp table t(a int)"), query("copy t from stdin"), copyData("1\n2\n"), copyDone(), query("select sum(a) from t")), 3},
	{"copy in fails", join(query("create temp table t(a int)"), query("copy t from stdin"), copyData("x\n"), copyData("2\n"), copyDone(), query("select count(*) from t")), 3},
	{"copy in is failed", join(query("create temp table t(a int)"), query("copy t from stdin"), copyData("1\n"), copyFail("no"), query("select count(*) from t")), 3},
	{"copy in extended", join(query("create temp table t(a int)"), all("copy t from stdin"), syncMsg(), copyData("1\n"), copyDone(), syncMsg(), query("select count(*) from t")), 3},
	{"copy in extended fails", join(query("create temp table t(a int)"), all("copy t from stdin"), syncMsg(), copyData("x\n"), copyData("2\n"), copyDone(), syncMsg(), query("select count(*) from t")), 3},
	{"two copies", join(query("create temp table t(a int)"), query("copy t from stdin; copy t from stdin; select count(*) from t"), copyData("1\n"), copyDone(), copyData("2\n"), copyDone()), 2},
	{"copy data outside", join(copyData("1\n"), copyDone(), query("select 1")), 1},
	{"sql names", join(query("prepare a as select 41; execute a"), query("execute a"), query("deallocate a"), query("select 1")), 4},
	{"sql name bound", join(query("prepare a as select 41"), bind("", "a"), execute("", 0), syncMsg()), 2},
	{"bound name executed", join(parse("a", "select 42"), syncMsg(), query("execute a")), 2},
	{"cursor", join(query("begin; declare c cursor for select generate_series(1,4); fetch 2 from c"), query("fetch 1 from c; close c"), query("commit")), 3},
	{"cursor as portal", join(query("begin; declare c cursor for select generate_series(1,4)"), describe('P', "c"), execute("c", 3), syncMsg(), query("commit")), 3},
	{"portal as cursor", join(query("begin"), parse("", "select generate_series(1,4)"), bind("c", ""), syncMsg(), query("fetch 2 from c"), query("commit")), 4},
	{"deferred constraint at sync", join(query("create temp table d(a int unique deferrable initially deferred)"), all("insert into d values (1)"), all("insert into d values (1)"), syncMsg()), 2},
	{"listen", join(query("listen ch"), query("notify ch, 'hello'"), query("select 1")), 3},
	{"unnamed ends with query", join(parse("", "select 1"), syncMsg(), query("select 2"), bind("", ""), syncMsg()), 3},
	{"discard all", join(parse("s", "select 1"), syncMsg(), query("discard all"), bind("", "s"), syncMsg()), 3},
	{"explain execute", join(query("prepare a as select 1"), query("execute a; execute a")), 2},
	{"terminate", join(query("select 1"), terminate()), 2},
	{"savepoint", join(query("begin"), query("savepoint a"), query("select 1/0"), query("rollback to a"), query("select 1"), query("commit")), 6},
	{"binary", join(parse("", "select 1::int4, 'x'::text"), msg('B', "", "", int16(0), int16(0), int16(1), int16(1)), execute("", 0), syncMsg()), 1},
	{"large", query("select repeat('x', 300000), repeat('y', 200000) from generate_series(1,3)"), 1},
}

func TestTransparent(t *testing.T) {
	srv := server(t)
	p := start(t, srv.Addr(), nil)
	for _, tt := range exchanges {
		want := talk(t, srv.Addr(), tt, 0)
		for _, size := range []int{0, 1, 7} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, size), func(t *testing.T) {
				got := talk(t, p.ln.Addr().String(), tt, size)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("differs (-direct +through):\n%s", diff)
				}
			})
		}
	}
}

// talk returns what the server says to an exchange, sent size bytes at a time.
func talk(t testing.TB, addr string, e exchange, size int) string {
	t.Helper()
	r := dialRaw(t, addr, pgDatabase(t))
	defer r.conn.Close()
	done := make(chan string)
	go func() { done <- r.rounds(e.rounds) }()
	if size == 0 {
		r.send(e.send)
	} else {
		r.conn.(*net.TCPConn).SetNoDelay(true)
		for b := e.send; len(b) > 0; {
			n := min(size, len(b))
			if _, err := r.conn.Write(b[:n]); err != nil {
				break
			}
			b = b[n:]
		}
	}
	s := <-done
	if i := strings.Index(s, "portal \"sluice"); i >= 0 {
		t.Errorf("a name of our own shows: %s", s)
	}
	return s
}
