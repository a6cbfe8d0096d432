package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestDesk has one workload with many long texts, and another that comes behind them.
func TestDesk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{room: deskUnit, lines: map[uint64][]*seat{}}
		var turns []uint64
		work := func(cgroup uint64) {
			leave := d.enter(t.Context(), cgroup, deskUnit)
			turns = append(turns, cgroup) // one at a time has the whole desk
			time.Sleep(time.Second)
			leave()
		}
		for range 5 {
			go work(1)
			synctest.Wait()
		}
		go work(2)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan bool)
		go func() { gone <- d.enter(ctx, 3, 1) == nil }()
		synctest.Wait()
		cancel()
		if !<-gone {
			t.Error("who does not wait any more has a place")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(turns) != 6 || turns[2] != 2 {
			t.Errorf("turns: %v; the other workload is to be third at the latest", turns)
		}
		if d.room != deskUnit || len(d.lines)+len(d.turns) != 0 {
			t.Errorf("afterwards: %d bytes of room, %v, %v", d.room, d.lines, d.turns)
		}
	})
}
