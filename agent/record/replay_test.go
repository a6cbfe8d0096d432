package record_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/record"
)

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, record.Options{SegmentBytes: 256 << 10})
	l := begin(t, s, "x")
	time.Sleep(200 * time.Millisecond)
	l.Append(statement(1))
	l.End("terminate", "")
	pace := func(speed float64, longest time.Duration) time.Duration {
		begin := time.Now()
		n := 0
		for _, err := range record.Replay(t.Context(), dir, l.ID(), speed, longest) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 3 {
			t.Errorf("%d events", n)
		}
		return time.Since(begin)
	}
	if d := pace(1, 0); d < 200*time.Millisecond || d > 2*time.Second {
		t.Errorf("as it was: %v", d)
	}
	if d := pace(4, 0); d < 50*time.Millisecond {
		t.Errorf("four times as fast: %v", d)
	}
	if d := pace(0, 0); d > 150*time.Millisecond {
		t.Errorf("at once: %v", d)
	}
	if d := pace(1, 10*time.Millisecond); d > 150*time.Millisecond {
		t.Errorf("with short pauses: %v", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var last error
	for _, err := range record.Replay(ctx, dir, l.ID(), 1, 0) {
		last = err
	}
	if !errors.Is(last, context.DeadlineExceeded) {
		t.Errorf("after the deadline: %v", last)
	}
	for _, err := range record.Read(dir, record.ID{1}) {
		if !errors.Is(err, record.ErrNoSession) {
			t.Errorf("Read of nothing: %v", err)
		}
	}
	if got, err := record.Sessions("/nonexistent", record.Filter{}); err != nil || got != nil {
		t.Errorf("Sessions of nothing: %v, %v", got, err)
	}
}

func TestFilter(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, record.Options{SegmentBytes: 256 << 10})
	a, b := begin(t, s, "a"), begin(t, s, "b")
	b.Append(&record.Event{Refusal: &record.Refusal{Code: "42501"}})
	b.End("refused", "")
	mid := time.Now()
	for _, tt := range []struct {
		name string
		f    record.Filter
		want []record.ID
	}{
		{"all", record.Filter{}, []record.ID{a.ID(), b.ID()}},
		{"subject", record.Filter{Subject: "b"}, []record.ID{b.ID()}},
		{"database", record.Filter{Database: "other"}, nil},
		{"open", record.Filter{Open: true}, []record.ID{a.ID()}},
		{"refused", record.Filter{Refused: true}, []record.ID{b.ID()}},
		{"limit", record.Filter{Limit: 1}, []record.ID{b.ID()}},
		{"after", record.Filter{After: mid}, nil},
		{"before", record.Filter{Before: mid}, []record.ID{a.ID(), b.ID()}},
		{"id", record.Filter{ID: a.ID().String()}, []record.ID{a.ID()}},
		{"end of an id", record.Filter{ID: a.ID().String()[12:]}, []record.ID{a.ID()}},
		{"too little of an id", record.Filter{ID: a.ID().String()[18:]}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := record.Sessions(dir, tt.f)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d sessions, want %d", len(got), len(tt.want))
			}
			for i := range got {
				if got[i].ID != tt.want[i] {
					t.Errorf("session %d is %s, want %s", i, got[i].ID, tt.want[i])
				}
			}
		})
	}
}

func TestID(t *testing.T) {
	for _, bad := range []string{"", "x", "00000000000000000000 ", "zzzzzzzzzzzzzzzzzzzz", "DC2FD9QTNUGCHJIBBOQG"} {
		if _, err := record.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) was accepted", bad)
		}
	}
	id := record.ID{1, 2, 3, 255, 254, 4, 5, 6, 7, 8, 9, 10}
	if got, err := record.ParseID(id.String()); err != nil || got != id {
		t.Errorf("ParseID(%s) = %s, %v", id, got, err)
	}
}
