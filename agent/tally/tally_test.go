package tally_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/protocol"
)

func TestHistogram(t *testing.T) {
	var h tally.Histogram
	for _, d := range []time.Duration{0, time.Microsecond, time.Microsecond + 1, 10 * time.Second, time.Hour} {
		h.Observe(d)
	}
	s := h.Snapshot()
	if s.Counts[0] != 2 || s.Counts[1] != 1 || s.Counts[len(s.Counts)-2] != 1 || s.Counts[len(s.Counts)-1] != 1 {
		t.Errorf("counts = %v", s.Counts)
	}
	if len(s.Counts) != len(tally.Bounds())+1 || s.Sum != time.Hour+10*time.Second+2001 {
		t.Errorf("sum = %v", s.Sum)
	}
}

func TestNames(t *testing.T) {
	c := tally.Names{Max: 3}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				c.Add(fmt.Sprint("n", (i+w)%10), 1)
			}
		})
	}
	wg.Wait()
	var total uint64
	for _, n := range c.Snapshot() {
		total += n
	}
	if got := c.Snapshot(); total != 400 || len(got) != 4 || got[tally.Other] != 280 {
		t.Errorf("counts = %v", got)
	}
}

func TestStatements(t *testing.T) {
	var traffic tally.Traffic
	traffic.Statement(protocol.Drop, protocol.Deny)
	traffic.Statement(protocol.Action(200), protocol.Verdict(200))
	n := 0
	traffic.Statements(func(a protocol.Action, v protocol.Verdict, count uint64) {
		n++
		if a != protocol.Drop || v != protocol.Deny || count != 1 {
			t.Errorf("%v %v %d", a, v, count)
		}
	})
	if n != 1 {
		t.Errorf("%d statements", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h tally.Histogram
	for b.Loop() {
		h.Observe(37 * time.Microsecond)
	}
}

func BenchmarkNames(b *testing.B) {
	var c tally.Names
	for b.Loop() {
		c.Add("policy/rule", 1)
	}
}
