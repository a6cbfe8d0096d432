package postgres_test

import (
	"context"
	"net"
	"testing"
	"time"

	"sluicegate.io/sluice/protocol/postgres"
)

func complete(tag string) []byte { return join(msg('C', tag), msg('Z', byte('I'))) }

func reported(name, value string) []byte {
	return msg('S', append(append([]byte(name), 0), append([]byte(value), 0)...))
}

// Whatever a server says to a reset that it should not, the session is not used again.
func TestPoolResetReplies(t *testing.T) {
	settings := map[string]string{"TimeZone": "UTC"}
	good := complete("DISCARD ALL")
	for _, tt := range []struct {
		name  string
		first bool
		reply []byte
		why   string // "": clean
	}{
		{"clean", false, good, ""},
		{"a setting goes back", false, join(reported("TimeZone", "UTC"), good), ""},
		{"a setting goes there and back", false, join(reported("TimeZone", "Asia/Tokyo"), reported("TimeZone", "UTC"), good), ""},
		{"a setting is another one", false, join(reported("TimeZone", "Asia/Tokyo"), good), "reset"},
		{"a setting is new", false, join(reported("my.own", ""), good), "reset"},
		{"a notice", false, join(msg('N', byte(0)), good), "reset"},
		{"a notification", false, join(msg('A', 1, "x", ""), good), "reset"},
		{"an error", false, join(msg('E', byte(0)), msg('Z', byte('I'))), "reset"},
		{"another tag", false, complete("SELECT 1"), "reset"},
		{"a row", false, join(msg('D', int16(0)), good), "reset"},
		{"in a transaction", false, join(msg('C', "DISCARD ALL"), msg('Z', byte('T'))), "reset"},
		{"no completion", false, msg('Z', byte('I')), "reset"},
		{"twice", false, join(msg('C', "DISCARD ALL"), msg('C', "DISCARD ALL")), "reset"},
		{"more behind", false, join(good, msg('Z', byte('I'))), "reset"},
		{"a bad length", false, []byte{'C', 0, 0, 0, 1}, "reset"},
		{"endless", false, join([]byte{'C', 0, 1, 0, 0}, make([]byte, 20000)), "reset"},
		{"first", true, join(good, complete("RESET"), msg('T', int16(0)), msg('D', int16(1), 4, []byte("none")), complete("SHOW"),
			msg('T', int16(0)), complete("SELECT 0")), ""},
		{"first, with a trigger", true, join(good, complete("RESET"), msg('T', int16(0)), msg('D', int16(1), 4, []byte("none")), complete("SHOW"),
			msg('T', int16(0)), msg('D', int16(0)), complete("SELECT 1")), "trigger"},
		{"first, the catalog is closed", true, join(good, complete("RESET"), msg('T', int16(0)), msg('D', int16(1), 4, []byte("none")), complete("SHOW"),
			msg('E', byte(0)), msg('Z', byte('I'))), "reset"},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			done, why := postgres.Reset(tt.first, settings, tt.reply, size)
			// In pieces, what comes behind the end is seen by who waits for it.
			if tt.name == "more behind" && size < 1<<20 && !done {
				continue
			}
			if why.String() != tt.why || done != (tt.why == "") {
				t.Errorf("%s, by %d: done %v, %q; want %q", tt.name, size, done, why, tt.why)
			}
		}
	}
}

func FuzzReset(f *testing.F) {
	good := complete("DISCARD ALL")
	f.Add(good)
	f.Add(join(reported("TimeZone", "UTC"), good))
	f.Fuzz(func(t *testing.T, reply []byte) {
		settings := map[string]string{"TimeZone": "UTC"}
		whole, why := postgres.Reset(false, settings, reply, max(1, len(reply)))
		byOne, why1 := postgres.Reset(false, settings, reply, 1)
		if whole != byOne || whole && (why != 0 || why1 != 0) {
			t.Errorf("as a whole %v %v, byte by byte %v %v", whole, why, byOne, why1)
		}
	})
}

// A cancel request of the first client that comes when it has left finds nobody.
func TestPoolLateCancel(t *testing.T) {
	p := pooled(t, server(t).Addr(), nil)
	ctx := context.Background()
	a := connect(t, p.dsn())
	pid := backend(t, a)
	raw, err := a.PgConn().Hijack() // its key stays known
	if err != nil {
		t.Fatal(err)
	}
	raw.Conn.Write(terminate())
	raw.Conn.Close()
	p.settled()
	b := connect(t, p.dsn())
	if backend(t, b) != pid {
		t.Fatalf("the second client has another session: %v", p.discards())
	}
	done := make(chan error)
	go func() {
		_, err := b.Exec(ctx, "select pg_sleep(0.5)")
		done <- err
	}()
	time.Sleep(100 * time.Millisecond)
	before := p.srv.Stats.CancelsIgnored.Load()
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(append([]byte{0, 0, 0, byte(12 + len(raw.SecretKey)), 4, 210, 22, 46, byte(pid >> 24), byte(pid >> 16), byte(pid >> 8), byte(pid)}, raw.SecretKey...))
	if err := <-done; err != nil {
		t.Errorf("the second client's statement: %v", err)
	}
	if n := p.srv.Stats.CancelsIgnored.Load(); n != before+1 {
		t.Errorf("%d cancel requests found nobody, want %d", n, before+1)
	}
}
