package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"sluicegate.io/sluice/protocol"
)

// core is the state machine of one session past its login. It does no I/O: bytes
// of the client go into fromClient, bytes of the server into fromServer, and
// what is to be written comes out in toServer and toClient. It is not safe for
// concurrent use; its driver (session) holds one lock around every call, which
// also keeps the calls of the Gate apart.
type core struct {
	gate    protocol.Gate
	scanner protocol.Scanner // nil if gate is none
	passer  protocol.Passer  // nil if gate is none
	opts    *Options
	stats   *Stats
	epoch   func() uint64
	call    func() context.Context // for Judge and Begin
	expire  func(*run, time.Duration) interface{ Stop() bool }
	notify  func(protocol.Notice) // tells the client at once
	private string                // names of our own that no client can guess

	toServer, toClient output

	names
	queue   queue
	memory  allowance
	status  byte   // of the last ReadyForQuery
	segment uint64 // number of the part of the stream between two boundaries

	// Of the client's side.
	rest       int  // bytes of a message that passes in pieces
	drop       bool // ... or does not
	discard    bool // an error was (or will be) answered: nothing counts before Sync
	open       bool // extended messages since the last boundary
	flushed    bool // the server was told to answer all that was forwarded
	terminated bool // the client said Terminate
	clientDone bool // the client sends no more
	copier     *run // in flight, and will read data from the client
	copying    bool // the server reads data
	want       int  // size of the message that is to be read as a whole
	held       *run // waits for its Begin, or has been through it
	heldDone   bool
	heldWhy    *protocol.Refusal
	counting   counting
	over       *protocol.Refusal
	fresh      []*portal // bound in this batch
	params     [][]byte
	formats    []int16

	// Of names on the server.
	pendingNames int // runs in flight that change what names mean
	path         []string
	pathKnown    bool
	pathVersion  uint64
	pathDirty    bool // changed since the last transaction ended
	dirtyAt      uint64
	asking       bool // the server was asked for the search path
	asked        []string
	askFailed    bool     // and did not tell
	unpinned     []string // pinned settings that have another value, where that passes
	asks         int
	lastEpoch    uint64

	// Of the server's side.
	passing   int  // bytes of a message that passes in pieces
	dropping  bool // ... or does not
	between   bool // no piece of a message to the client is outstanding
	swallow   bool // replies up to ReadyForQuery are of no use
	sensitive bool // something sensitive was touched in this transaction
	wantBack  int  // size of the message that is to be read as a whole
	cancel    bool // the driver is to have the server cancel what it runs
	// Until the server has taken a cancel of ours nothing is sent to it, and what follows
	// runs that may be cancelled is sent when they are done: it would be hit in their stead.
	cancelling int    // cancels that are on their way
	bounded    int    // runs that may be cancelled
	runs       []*run // to be used again

	// Of a session whose server's may be kept.
	keeps     bool
	spoiled   bool       // a statement may have left what a reset does not take back
	cancelled bool       // a CancelRequest was sent to the server
	retired   bool       // the client has left, and the server's session stays
	moved     bool       // names may resolve differently than at the start
	names0    func() any // see Pool.Names
	under     any        // what that was when the path was asked for
	begins    func(path []string, under any)
	quiet     func() bool // nothing of the server is on its way to the client
	reported  func(name, value string)
	discarded func(why Discard)

	lastRun uint64
	ended   *ending
}

// ending is why and how a session ends.
type ending struct {
	err     error
	refusal *protocol.Refusal // told to the client, nil if there is nothing to tell
}

// run is a protocol.Run in flight.
type run struct {
	protocol.Run
	id        uint64
	simple    bool // a whole simple query
	hold      bool
	converted bool // a simple query that runs by extended messages
	view      view
	statement int  // the one that runs now
	shaped    bool // Shape was called for it
	columns   []protocol.ResultColumn
	rows      int64
	bytes     int64
	tag       string // of the last of the statements of AnyEffect
	failed    bool
	swallow   bool // what the server still says of it is of no use
	copies    bool
	touches   bool // changes names
	sensitive bool
	limited   *protocol.Refusal // the limit that was passed
	bounded   bool              // it may be cancelled for one
	millis    int64             // how long it may take, 0: as long as it does
	clock     interface{ Stop() bool }
}

// step is what has to happen before more of the client's bytes are looked at.
type step uint8

const (
	stepMore step = iota // read more
	stepWait             // the server has to answer something first
	stepHold             // Begin is to be called for core.held, without the lock
	stepEnd              // nothing: the session ends
)

func newCore(gate protocol.Gate, opts *Options, stats *Stats) *core {
	var random [8]byte
	rand.Read(random[:])
	c := &core{gate: gate, opts: opts, stats: stats, status: 'I', segment: 1, between: true,
		private: "sluice." + hex.EncodeToString(random[:]),
		call:    context.Background,
		notify:  func(protocol.Notice) {},
		expire:  func(*run, time.Duration) interface{ Stop() bool } { return nil },
		epoch:   func() uint64 { return 0 },
	}
	c.scanner, _ = gate.(protocol.Scanner)
	if g, ok := gate.(*guarded); ok {
		gate = g.Gate
	}
	c.passer, _ = gate.(protocol.Passer)
	return c
}

// end ends the session. Only the first reason counts.
func (c *core) end(err error, why *protocol.Refusal) step {
	if c.ended == nil {
		c.ended = &ending{err: err, refusal: why}
	}
	return stepEnd
}

// violation ends the session for a message that cannot be.
func (c *core) violation(format string, args ...any) step {
	msg := fmt.Sprintf(format, args...)
	if c.ended == nil {
		c.stats.Violations.Add(1)
	}
	why := &protocol.Refusal{Code: "08P01", Message: msg, Fatal: true}
	c.gate.Refused("", why)
	return c.end(fmt.Errorf("protocol violation: %s", msg), why)
}

// busy reports whether the server has something to answer.
func (c *core) busy() bool { return c.queue.len > 0 || c.held != nil }

// close delivers the Outcome of everything that was begun and did not end.
func (c *core) close() {
	for c.queue.len > 0 {
		if r := c.queue.head().run; r != nil {
			c.finish(r, "08006")
		}
		c.queue.pop()
	}
	if c.held != nil && c.heldDone && c.heldWhy == nil {
		c.finish(c.held, "08006")
		c.held = nil
	}
	c.names, c.queue, c.want, c.wantBack = names{}, queue{}, 0, 0
	c.memory.ease(0)
}

// take returns a run to fill in.
func (c *core) take() *run {
	c.lastRun++
	if n := len(c.runs); n > 0 {
		r := c.runs[n-1]
		c.runs = c.runs[:n-1]
		r.id = c.lastRun
		return r
	}
	return &run{id: c.lastRun}
}

// release lets a finished run be used again.
func (c *core) release(r *run) {
	*r = run{} // a clock that has just gone off must not find it
	if len(c.runs) < 4 {
		c.runs = append(c.runs, r)
	}
}
