package record_test

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluicegate.io/sluice/agent/record"
)

// frames returns the offsets of the frames of a segment.
func frames(b []byte) []int {
	var all []int
	for at := 128; at+4 <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[at:]))
		if n == 0 {
			break
		}
		all = append(all, at)
		at += (n + 7) &^ 7
	}
	return all
}

func size(b []byte, at int) int { return (int(binary.LittleEndian.Uint32(b[at:])) + 7) &^ 7 }

func fixCRC(b []byte, at int) {
	n := int(binary.LittleEndian.Uint32(b[at:]))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:at+n], crc32.MakeTable(crc32.Castagnoli)))
}

// edit changes one segment file of a lane.
func edit(t *testing.T, lane, name string, f func(b []byte) []byte) {
	t.Helper()
	path := filepath.Join(lane, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFinds(t *testing.T) {
	const one, two, three = "0000000001.seg", "0000000002.seg", "0000000003.seg"
	key := []byte("0123456789abcdef")
	cut := func(name string, from, to int) func(*testing.T, string) {
		return func(t *testing.T, lane string) {
			edit(t, lane, name, func(b []byte) []byte {
				f := frames(b)
				if from < 0 {
					from, to = len(f)+from, len(f)+to
				}
				if to < len(f) {
					return append(b[:f[from]:f[from]], b[f[to]:]...)
				}
				return b[:f[from]]
			})
		}
	}
	tests := []struct {
		name   string
		tamper func(t *testing.T, lane string)
		want   string
	}{
		{"bit in a text", func(t *testing.T, lane string) {
			edit(t, lane, one, func(b []byte) []byte { b[frames(b)[5]+60] ^= 4; return b })
		}, "an event is damaged"},
		{"bit in a text and its checksum", func(t *testing.T, lane string) {
			edit(t, lane, one, func(b []byte) []byte { at := frames(b)[5]; b[at+60] ^= 4; fixCRC(b, at); return b })
		}, "was changed"},
		{"bit in a size", func(t *testing.T, lane string) {
			edit(t, lane, one, func(b []byte) []byte { b[frames(b)[5]+1] ^= 0x40; return b })
		}, "nothing can be read"},
		{"bit in a hash", func(t *testing.T, lane string) {
			edit(t, lane, one, func(b []byte) []byte {
				at := frames(b)[5]
				b[at+size(b, at)-12] ^= 1
				fixCRC(b, at)
				return b
			})
		}, "was changed"},
		{"bit in the store's own", func(t *testing.T, lane string) {
			edit(t, lane, one, func(b []byte) []byte { at := frames(b)[0]; b[at+40] ^= 1; fixCRC(b, at); return b })
		}, "changed"},
		{"bit in a header", func(t *testing.T, lane string) {
			edit(t, lane, two, func(b []byte) []byte { b[40] ^= 1; return b })
		}, "header is damaged"},
		{"one event removed", cut(one, 5, 6), "events were removed"},
		{"last event of a session removed", cut(three, -2, -1), "no end"},
		{"last event of a segment removed", cut(one, -1, 1<<30), "does not follow"},
		{"tail of the last segment", cut(three, -4, 1<<30), "are missing"},
		{"segment in the middle", func(t *testing.T, lane string) { os.Remove(filepath.Join(lane, two)) }, "segments 2 to 2 are missing"},
		{"first segment", func(t *testing.T, lane string) { os.Remove(filepath.Join(lane, one)) }, "retention did not"},
		{"last segment", func(t *testing.T, lane string) { os.Remove(filepath.Join(lane, three)) }, "are missing"},
		{"last segment and the head", func(t *testing.T, lane string) {
			os.Remove(filepath.Join(lane, three))
			os.Remove(filepath.Join(lane, "head"))
		}, "the anchor of"},
		{"head", func(t *testing.T, lane string) { os.Remove(filepath.Join(lane, "head")) }, "head file is missing"},
		{"anchor", func(t *testing.T, lane string) { os.Remove(filepath.Join(lane, "anchor")) }, "no anchor file"},
		{"forged anchor", func(t *testing.T, lane string) {
			edit(t, lane, "anchor", func(b []byte) []byte {
				return []byte(strings.Replace(string(b), `"events":`, `"events":1`, 1))
			})
		}, "not made with the key"},
		{"everything", func(t *testing.T, lane string) {
			for _, name := range []string{one, two, three} {
				os.Remove(filepath.Join(lane, name))
			}
		}, "all segments"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			// Three segments, one for each time the log is opened.
			for range 3 {
				s := open(t, dir, record.Options{SegmentBytes: 256 << 10, Key: key})
				a, b := begin(t, s, "a"), begin(t, s, "b")
				for i := range 10 {
					a.Append(statement(uint64(i)))
					b.Append(statement(uint64(i)))
				}
				a.End("terminate", "")
				b.End("terminate", "")
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := record.Verify(dir, key)
			if err != nil || !r.OK() || len(r.Findings) > 0 || r.Segments != 3 || r.Sessions != 6 {
				t.Fatalf("untouched: %+v, %v", r, err)
			}
			tt.tamper(t, filepath.Join(dir, "lane-00"))
			r, err = record.Verify(dir, key, r.Anchors...)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range r.Findings {
				found = found || f.Grave && strings.Contains(f.Problem, tt.want)
			}
			if !found {
				t.Errorf("no grave finding of %q: %+v", tt.want, r.Findings)
			}
			// Whatever was done to it, it can be opened and written, and the finding stays.
			s, err := record.Open(dir, record.Options{SegmentBytes: 256 << 10, Key: key})
			if err != nil {
				t.Fatalf("open after that: %v", err)
			}
			begin(t, s, "later").End("terminate", "")
			s.Close()
			if r, err := record.Verify(dir, nil, r.Anchors...); err != nil || r.OK() && tt.name != "anchor" && tt.name != "forged anchor" && tt.name != "head" && tt.name != "last segment and the head" {
				t.Errorf("forgotten after the log was opened again: %+v, %v", r, err)
			}
		})
	}
}

// FuzzRead has readers look at damaged files.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	s := open(f, dir, record.Options{SegmentBytes: 256 << 10, ParamBytes: 100})
	l := begin(f, s, "x")
	l.Append(&record.Event{Statement: &record.Statement{Number: 1, Text: "SELECT 1", Params: [][]byte{{1}, nil}, Formats: []int16{1}}})
	l.Append(&record.Event{Columns: &record.Columns{Number: 1, Columns: []record.Column{{Name: "a"}}}})
	l.Rows(1, 0, dataRow("a", "NULL"), 1)
	l.Append(outcome(1))
	l.End("terminate", "")
	s.Close()
	segment, err := os.ReadFile(filepath.Join(dir, "lane-00", "0000000001.seg"))
	if err != nil {
		f.Fatal(err)
	}
	head, _ := os.ReadFile(filepath.Join(dir, "lane-00", "head"))
	f.Add(segment, head[:256], uint16(0))
	f.Fuzz(func(t *testing.T, segment, head []byte, fix uint16) {
		dir := t.TempDir()
		lane := filepath.Join(dir, "lane-00")
		os.Mkdir(lane, 0o700)
		// Checksums are set right, so that more than the checksum is tested.
		if len(segment) > 128 {
			binary.LittleEndian.PutUint32(segment[64:], crc32.Checksum(segment[:64], crc32.MakeTable(crc32.Castagnoli)))
			for at := 128; at+72 <= len(segment); {
				n := int(binary.LittleEndian.Uint32(segment[at:]))
				if n < 72 || at+n > len(segment) {
					break
				}
				fixCRC(segment, at)
				at += (n + 7) &^ 7
			}
		}
		os.WriteFile(filepath.Join(lane, "0000000001.seg"), segment, 0o600)
		os.WriteFile(filepath.Join(lane, "head"), head, 0o600)
		record.Verify(dir, nil)
		sessions, _ := record.Sessions(dir, record.Filter{})
		for i := range sessions {
			for e, err := range record.Read(dir, sessions[i].ID) {
				if err == nil && e.Rows != nil {
					e.Rows.Values()
				}
			}
		}
		s, err := record.Open(dir, record.Options{SegmentBytes: 256 << 10})
		if err != nil {
			return
		}
		l := begin(t, s, "later")
		if err := l.Append(statement(1)); err != nil {
			t.Error(err)
		}
		s.Close()
	})
}

// Whoever writes the log anew, chains and all, can't write the anchor.
func TestVerifyForgedLog(t *testing.T) {
	key := []byte("0123456789abcdef")
	var dirs [2]string
	for i := range dirs {
		dirs[i] = t.TempDir()
		s := open(t, dirs[i], record.Options{SegmentBytes: 256 << 10, Key: key})
		l := begin(t, s, []string{"alice", "mallory"}[i])
		l.Append(statement(1))
		l.End("terminate", "")
		s.Close()
	}
	genuine, forged := filepath.Join(dirs[0], "lane-00"), filepath.Join(dirs[1], "lane-00")
	for _, name := range []string{"0000000001.seg", "head"} {
		b, err := os.ReadFile(filepath.Join(forged, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(genuine, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := record.Verify(dirs[0], key)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || !strings.Contains(r.Findings[len(r.Findings)-1].Problem, "is another one") {
		t.Errorf("Verify = %+v", r.Findings)
	}
}
