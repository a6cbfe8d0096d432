package record_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/agent/record"
)

const writerEnv = "SLUICE_TEST_RECORD_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		writer(dir)
	}
	os.Exit(m.Run())
}

// writer appends until it is killed, and says after each append that it is done.
func writer(dir string) {
	s, err := record.Open(dir, record.Options{SegmentBytes: 256 << 10})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for w := range 2 {
		go func() {
			l, err := s.Begin(&record.Start{Subject: fmt.Sprint("w", w)})
			for i := uint64(1); err == nil; i++ {
				if err = l.Append(statement(i)); err == nil {
					fmt.Printf("%d %d\n", w, i)
				}
			}
		}()
	}
	time.Sleep(time.Minute)
	os.Exit(1)
}

// What Append returned for is there after kill -9, whole, and the next writer
// goes on behind it.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var want [2]uint64
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Both have begun when it is killed.
		var timer *time.Timer
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w, n, _ := strings.Cut(lines.Text(), " ")
			if n, err := strconv.ParseUint(n, 10, 64); err == nil {
				want[w[0]-'0'] = n
			}
			if timer == nil && want[0] > 0 && want[1] > 0 {
				timer = time.AfterFunc(time.Duration(20+round*37)*time.Millisecond, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		if timer == nil {
			t.Fatal("the writers did not begin")
		}
		s := open(t, dir, record.Options{SegmentBytes: 256 << 10})
		for w := range want {
			sessions, err := record.Sessions(dir, record.Filter{Subject: fmt.Sprint("w", w)})
			if err != nil || len(sessions) != round+1 {
				t.Fatalf("sessions = %v, %v", sessions, err)
			}
			got := sessions[round]
			if got.Statements < want[w] || got.Statements > want[w]+1 || got.State != "lost" {
				t.Errorf("round %d: %d statements and %s, want %d and lost", round, got.Statements, got.State, want[w])
			}
			want[w] = 0
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		r := verify(t, dir)
		if !r.OK() || len(r.Findings) == 0 {
			t.Errorf("Verify after kill: %+v", r.Findings)
		}
	}
}

// A reserved segment that nobody used, and a page that was written without its
// size, are no damage.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines, n := bufio.NewScanner(out), 0; lines.Scan(); n++ {
		if n == 1000 {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	lane := filepath.Join(dir, "lane-00")
	files, _ := filepath.Glob(filepath.Join(lane, "*.seg"))
	last := files[len(files)-1]
	b, _ := os.ReadFile(last)
	if len(b) > 128 && string(b[:8]) == "SLUICER1" {
		end := 128
		for n := 0; ; end += (n + 7) &^ 7 {
			if n = int(b[end]) | int(b[end+1])<<8; n == 0 {
				break
			}
		}
		copy(b[end+4:], "half of an event")
		os.WriteFile(last, b, 0o600)
	}
	os.WriteFile(filepath.Join(lane, "0000009999.seg"), make([]byte, 4096), 0o600)
	s := open(t, dir, record.Options{SegmentBytes: 256 << 10})
	l := begin(t, s, "x")
	l.End("terminate", "")
	s.Close()
	if r := verify(t, dir); !r.OK() {
		t.Errorf("Verify = %+v", r.Findings)
	}
}

// smallDisk mounts a tmpfs.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a tmpfs")
	}
	dir := t.TempDir()
	if err := unix.Mount("sluicetest-record", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "3m")
	s := open(t, dir, record.Options{SegmentBytes: 1 << 20})
	l := begin(t, s, "x")
	var err error
	n := 0
	for ; err == nil && n < 100_000; n++ {
		err = l.Append(statement(uint64(n)))
	}
	if !errors.Is(err, record.ErrFull) {
		t.Fatalf("after %d events: %v, want ErrFull", n, err)
	}
	// What must still be told has room, and the refusal is not for ever.
	if err := l.Append(&record.Event{Refusal: &record.Refusal{Code: "53100", Message: "no room to record"}}); err != nil {
		t.Errorf("refusal: %v", err)
	}
	if _, err := s.Begin(&record.Start{Subject: "y"}); !errors.Is(err, record.ErrFull) {
		t.Errorf("Begin = %v, want ErrFull", err)
	}
	if st := s.Stats(); !st.Full || st.Refused == 0 || s.Health() == nil {
		t.Errorf("stats = %+v", st)
	}
	if r := verify(t, dir); !r.OK() {
		t.Errorf("Verify = %+v", r.Findings)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(150 * time.Millisecond)
	if err := l.Append(statement(1)); err != nil {
		t.Errorf("after room was made: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); !r.OK() || len(r.Findings) > 0 {
		t.Errorf("Verify = %+v", r.Findings)
	}
}

// A file that was truncated under the mapping is an error and not a crash.
func TestTruncatedUnderneath(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, record.Options{SegmentBytes: 1 << 20})
	l := begin(t, s, "x")
	if err := os.Truncate(filepath.Join(dir, "lane-00", "0000000001.seg"), 4096); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := range 1000 {
		if err = l.Append(statement(uint64(i))); err != nil {
			break
		}
	}
	if !errors.Is(err, record.ErrFailed) || !errors.Is(s.Health(), record.ErrFailed) {
		t.Errorf("Append = %v, want ErrFailed", err)
	}
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, record.Options{SegmentBytes: 256 << 10, MaxBytes: 1 << 20, Interval: 50 * time.Millisecond})
	early := begin(t, s, "early")
	early.End("terminate", "")
	long := begin(t, s, "long")
	for deadline := time.Now().Add(10 * time.Second); ; {
		for i := range 2000 {
			if err := long.Append(statement(uint64(i))); err != nil {
				t.Fatal(err)
			}
		}
		sessions, err := record.Sessions(dir, record.Filter{Subject: "early"})
		if err != nil {
			t.Fatal(err)
		}
		if len(sessions) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was removed")
		}
		time.Sleep(100 * time.Millisecond)
	}
	long.End("terminate", "")
	s.Close()
	r := verify(t, dir)
	if !r.OK() || len(r.Findings) != 1 {
		t.Errorf("Verify = %+v", r.Findings)
	}
	if got, err := record.Sessions(dir, record.Filter{}); err != nil || len(got) != 1 || got[0].Start != nil || got[0].State != "ended" {
		t.Errorf("sessions = %+v, %v", got, err)
	}
	// Whoever removes more than that is noticed.
	files, _ := filepath.Glob(filepath.Join(dir, "lane-00", "*.seg"))
	os.Remove(files[0])
	if r := verify(t, dir); r.OK() {
		t.Error("a segment was removed unnoticed")
	}
}

func TestLanes(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, record.Options{SegmentBytes: 256 << 10})
	b := open(t, dir, record.Options{SegmentBytes: 256 << 10})
	begin(t, a, "a")
	begin(t, b, "b")
	if got, err := record.Sessions(dir, record.Filter{Open: true}); err != nil || len(got) != 2 {
		t.Errorf("sessions = %+v, %v", got, err)
	}
	a.Close()
	b.Close()
	if r := verify(t, dir); !r.OK() || r.Lanes != 2 || r.Sessions != 2 {
		t.Errorf("Verify = %+v", r)
	}
	os.RemoveAll(filepath.Join(dir, "lane-00"))
	if r := verify(t, dir); r.OK() {
		t.Error("a lane was removed unnoticed")
	}
}
