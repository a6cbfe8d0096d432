package channel_test

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/channel"
)

var address = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func messages() []channel.Message {
	return []channel.Message{
		&channel.Config{Generation: 7},
		&channel.Accepted{
			Conn: 9, Fate: channel.Serve, Database: "shop", Host: "db.internal",
			Destination: netip.MustParseAddrPort("10.0.0.1:5432"), Client: netip.MustParseAddrPort("[::1]:4711"),
			PID: 42, UID: 1000, User: "alice", Exe: "/usr/bin/psql", Cgroup: "/x", CgroupID: 12,
			At: time.Hour, Workload: "exec", Token: true, Passwords: 7, Namespace: "agents", Account: "bot",
			Pod: "bot-0", PodUID: "0d1a", Container: "main", Labels: "app=bot\ntier=\n",
		},
		&channel.Dialled{ID: 3, Code: channel.Done},
		&channel.Dialled{ID: 3, Code: channel.Timeout, Text: "nobody there"},
		&channel.Proved{ID: 4, Code: channel.Done, Proof: []byte("p"), Signature: []byte("s"), Answer: "md5"},
		&channel.Token{ID: 5, Code: channel.Done, Version: 2},
		&channel.Listener{Purpose: channel.ForAdmin},
		&channel.Report{},
		&channel.Drain{Grace: time.Second},
		&channel.Ready{Generation: 7, Code: channel.Failed, Text: "no"},
		&channel.Dial{ID: 1, Reach: channel.ToDatabase, Conn: 9},
		&channel.Prove{ID: 2, Conn: 9, Method: channel.SCRAM, Salt: []byte("salt"), Iterations: 4096, AuthMessage: []byte("n=,r=")},
		&channel.ReadToken{ID: 3, Conn: 9},
		&channel.Closed{Conns: []uint64{9, 1 << 60}},
		&channel.Denied{Cgroups: []uint64{9, 1 << 60}, Counts: []uint32{1, 1 << 31}},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range messages() {
		b, err := channel.Marshal(m)
		if err != nil {
			t.Errorf("Marshal(%T): %v", m, err)
			continue
		}
		got, err := channel.Unmarshal(b)
		if err != nil {
			t.Errorf("Unmarshal(%T): %v", m, err)
			continue
		}
		if diff := cmp.Diff(m, got, address); diff != "" {
			t.Errorf("%T changed on its way (-sent +received):\n%s", m, diff)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	good, err := channel.Marshal(&channel.Closed{Conns: []uint64{1}})
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, v byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = v
		return b
	}
	tests := []struct {
		name string
		in   []byte
	}{
		{"empty", nil},
		{"short", good[:len(good)-1]},
		{"long", append(append([]byte(nil), good...), 0)},
		{"kind zero", change(0, 0)},
		{"unknown kind", change(0, 200)},
		{"something behind the end", change(channel.Size-1, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := channel.Unmarshal(tt.in); !errors.Is(err, channel.ErrMessage) {
				t.Errorf("Unmarshal = %v, %v; want ErrMessage", m, err)
			}
		})
	}
}

func TestLongTextsAreNotShortened(t *testing.T) {
	m := &channel.Accepted{Fate: channel.Serve, Exe: strings.Repeat("x", 5000)}
	if _, err := channel.Marshal(m); err == nil {
		t.Error("a path that does not fit was sent")
	}
	m.Trim()
	if m.Exe != "" {
		t.Errorf("Trim left %d bytes of a path", len(m.Exe))
	}
	if _, err := channel.Marshal(m); err != nil {
		t.Errorf("after Trim: %v", err)
	}
}

func pair(t *testing.T) (a, b *channel.Conn) {
	t.Helper()
	a, f, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err = channel.New(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestDescriptorsTravel(t *testing.T) {
	a, b := pair(t)
	mem, err := channel.Memory("test", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	if err := a.Send(&channel.Config{Generation: 1}, int(mem.Fd())); err != nil {
		t.Fatal(err)
	}
	m, fd, err := b.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.(*channel.Config); !ok {
		t.Fatalf("received %T", m)
	}
	data, err := channel.ReadMemory(fd)
	if err != nil || string(data) != "content" {
		t.Errorf("ReadMemory = %q, %v", data, err)
	}
	a.Close()
	if _, _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("Receive after Close = %v, want EOF", err)
	}
}

// A peer that was taken over sends what it likes. Descriptors that do not belong
// to a message are closed, and the channel is given up.
func TestUnwantedDescriptorsAreClosed(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	hostile := fds[0]
	defer unix.Close(hostile)
	c, err := channel.New(os.NewFile(uintptr(fds[1]), "channel"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, _ := channel.Marshal(&channel.Closed{Conns: []uint64{1}})
	if err := unix.Sendmsg(hostile, b, unix.UnixRights(int(w.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	if m, _, err := c.Receive(); !errors.Is(err, channel.ErrMessage) {
		t.Errorf("Receive = %v, %v; want ErrMessage", m, err)
	}
	w.Close()
	r.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the descriptor is still open: %v", err)
	}
}

func TestUnsealedMemoryIsRefused(t *testing.T) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channel.ReadMemory(fd); err == nil {
		t.Error("read a memory file that can change")
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, m := range messages() {
		b, err := channel.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:128])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := make([]byte, channel.Size)
		copy(whole, b)
		m, err := channel.Unmarshal(whole)
		if err != nil {
			return
		}
		again, err := channel.Marshal(m)
		if err != nil {
			t.Fatalf("a message that was accepted can't be sent: %v", err)
		}
		if string(again) != string(whole) {
			t.Fatalf("%T has two encodings", m)
		}
	})
}
