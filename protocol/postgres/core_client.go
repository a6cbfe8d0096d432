package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"sluicegate.io/sluice/protocol"
)

// smallMessage bounds messages that hold names only.
const smallMessage = 64 << 10

// fromClient looks at the client's bytes in and returns how many are done with,
// and what has to happen before it is called again with the others. Slices of in
// are in toServer until that is written.
func (c *core) fromClient(in []byte) (int, step) {
	n := 0
	c.want = 0
	for c.ended == nil {
		if c.rest > 0 {
			k := min(c.rest, len(in)-n)
			if !c.drop {
				c.toServer.pass(in[n : n+k])
			}
			c.rest -= k
			n += k
			if c.rest > 0 {
				return n, stepMore
			}
		}
		kind, size, ok := frame(in[n:])
		if !ok {
			return n, stepMore
		}
		if size < header {
			return n, c.violation("invalid message length")
		}
		if kind == 'd' {
			if s := c.copyWait(); s != stepMore {
				return n, s
			}
			c.rest, c.drop = size, !c.copying || c.discard
			continue
		}
		if size > c.limit(kind) {
			s, refused := c.oversized(kind, size)
			if s != stepMore {
				return n, s
			}
			if refused {
				c.rest, c.drop = size, true
				continue
			}
		}
		if size > smallText {
			if c.discard && size > smallMessage && kind != 'S' && known(kind) {
				c.rest, c.drop = size, true
				continue
			}
			if s, refused := c.cramps(kind, size); s != stepMore {
				return n, s
			} else if refused {
				c.rest, c.drop = size, true
				continue
			}
		}
		if len(in)-n < size {
			c.want = size
			return n, stepMore
		}
		if s := c.message(kind, in[n:n+size]); s != stepMore {
			return n, s
		}
		n += size
		if c.terminated {
			return n, stepEnd
		}
	}
	return n, stepEnd
}

// limit is the size up to which a message of kind is read as a whole.
func (c *core) limit(kind byte) int {
	switch kind {
	case 'Q', 'P', 'B', 'F', 'f':
		return c.opts.MaxStatement
	}
	return smallMessage
}

// oversized refuses a message that is too large to be judged, without reading it.
func (c *core) oversized(kind byte, size int) (s step, refused bool) {
	if c.discard {
		return stepMore, true
	}
	switch kind {
	case 'Q', 'P', 'B', 'F':
	default:
		return c.violation("message of type %q is too large", kind), false
	}
	if s := c.settle(); s != stepMore {
		return s, false
	}
	return c.refuse(kind, "", &protocol.Refusal{Code: "54000",
		Message: fmt.Sprintf("message of %d bytes is larger than what is judged (%d bytes)", size, c.opts.MaxStatement),
		Hint:    "Send large values in several statements or with COPY."}), true
}

// cramps refuses a message for which there is no room.
func (c *core) cramps(kind byte, size int) (s step, refused bool) {
	if s, ok := c.room(2 * size); s != stepMore || ok {
		return s, false
	}
	switch kind {
	case 'Q', 'P', 'B', 'F':
	default:
		return stepMore, false // what names things only
	}
	if c.discard {
		return stepMore, true
	}
	if s := c.settle(); s != stepMore {
		return s, false
	}
	return c.refuse(kind, "", cramped), true
}

// settle waits for room in the queue, for a COPY to start or fail, and for what must not
// be overtaken by a cancel.
func (c *core) settle() step {
	if c.cancelling > 0 {
		return stepWait
	}
	if c.bounded > 0 && c.queue.boundaries > 0 {
		return c.wait()
	}
	if c.queue.len >= queueLimit || c.copier != nil && !c.copying {
		return c.wait()
	}
	return stepMore
}

func (c *core) copyWait() step {
	if c.copier != nil && !c.copying {
		return c.wait()
	}
	return stepMore
}

// wait makes sure that the server answers what is awaited.
func (c *core) wait() step {
	if c.queue.len == 0 {
		return stepMore // nothing to wait for: cannot be, but must not hang
	}
	if c.open && !c.flushed {
		c.toServer.add(flushMessage)
		c.flushed = true
	}
	return stepWait
}

// drain waits until nothing is awaited.
func (c *core) drain() step {
	if c.queue.len > 0 {
		return c.wait()
	}
	return stepMore
}

// message handles one whole message. It is called again with the same one after
// a step other than stepMore, and has changed nothing then that would matter.
func (c *core) message(kind byte, b []byte) step {
	if kind == 'X' {
		c.terminated = true
		if !c.retires() {
			c.toServer.pass(b)
		}
		return stepMore
	}
	if c.counting != notCounting {
		return c.counted(kind)
	}
	if c.discard && kind != 'S' {
		if !known(kind) {
			return c.violation("invalid frontend message type %d", kind)
		}
		return stepMore
	}
	if s := c.settle(); s != stepMore {
		return s
	}
	if c.copying {
		return c.copyMessage(kind, b)
	}
	body := b[header:]
	switch kind {
	case 'Q':
		return c.query(b, body)
	case 'P':
		return c.parse(b, body)
	case 'B':
		return c.bind(b, body)
	case 'D':
		return c.describe(b, body)
	case 'E':
		return c.execute(b, body)
	case 'C':
		return c.closeName(b, body)
	case 'H':
		c.toServer.pass(b)
		c.flushed = true
	case 'S':
		// Where the Sync that ends what is to fail was sent already, this is a later one.
		if c.swallow && c.queue.boundaries == 0 {
			c.toServer.message('E', []byte(c.private), []byte{0, 0, 0, 0, 0}, nil)
		}
		c.sync()
		c.toServer.pass(b)
	case 'F':
		return c.functionCall(b, body)
	case 'c', 'f': // of a COPY that has failed: the server would drop it too
	default:
		return c.violation("invalid frontend message type %d", kind)
	}
	return stepMore
}

func known(kind byte) bool { return bytes.IndexByte([]byte("QPBDECHSFdcfX"), kind) >= 0 }

// copyMessage handles a message other than CopyData while the server reads data.
func (c *core) copyMessage(kind byte, b []byte) step {
	switch kind {
	case 'c', 'f':
		c.toServer.pass(b)
		c.copied()
	case 'H', 'S': // the server ignores these now
	default:
		if !known(kind) {
			return c.violation("invalid frontend message type %d", kind)
		}
		c.toServer.message('f', fmt.Appendf(nil, "unexpected message type 0x%02X during COPY from stdin\x00", kind), nil, nil)
		c.copied()
	}
	return stepMore
}

// copied notes the end of the client's data. A text may have another COPY.
func (c *core) copied() {
	c.copying = false
	r := c.copier
	if r.simple {
		for i := r.statement + 1; i < len(r.Judgement.Plans); i++ {
			if r.Judgement.Plans[i].Effect.Kind == protocol.CopiesIn {
				return
			}
		}
		if r.anything() {
			return
		}
	}
	c.copier = nil
}

// sync notes the boundary that a Sync makes. The message itself is the caller's to forward.
func (c *core) sync() {
	c.discard = false
	c.queue.push(expect{reply: replySync, segment: c.segment})
	c.segment++
	c.open, c.flushed = false, false
}

// await notes that an extended message was forwarded.
func (c *core) await(e expect) {
	e.segment = c.segment
	c.queue.push(e)
	c.open, c.flushed = true, false
}

// refuse answers a message of kind with why, in its turn. In its stead the server
// is sent an Execute of a portal that cannot exist: it then aborts what a failing
// statement aborts, skips what a failing statement has skipped, and its error is
// replaced by why. See README.md, "Refusals".
func (c *core) refuse(kind byte, text string, why *protocol.Refusal) step {
	if why.Fatal {
		c.gate.Refused(text, why)
		return c.end(why, why)
	}
	c.stats.Refusals.Add(1)
	c.gate.Refused(text, why)
	c.fail(kind, why)
	return stepMore
}

// fail is refuse for what was noted already.
func (c *core) fail(kind byte, why *protocol.Refusal) {
	c.await(expect{reply: replyRefusal, why: why})
	c.toServer.message('E', []byte(c.private), []byte{0, 0, 0, 0, 0}, nil)
	if kind == 'Q' || kind == 'F' {
		if kind == 'Q' {
			c.names.statement0, c.names.portal0 = nil, nil
		}
		c.sync()
		c.toServer.add(syncMessage)
	} else {
		c.discard = true
	}
}

// broken refuses a message that is not well-formed, as the server does.
func (c *core) broken(kind byte) step {
	c.stats.Violations.Add(1)
	return c.refuse(kind, "", &protocol.Refusal{Code: "08P01", Message: "invalid message format"})
}

// text checks the SQL text of a message.
func (c *core) text(b []byte) *protocol.Refusal {
	if !utf8.Valid(b) && len(c.unpinned) == 0 {
		return &protocol.Refusal{Code: "22021", Message: `invalid byte sequence for encoding "UTF8"`}
	}
	return nil
}

// describe handles Describe.
func (c *core) describe(b, body []byte) step {
	if len(body) < 2 || body[len(body)-1] != 0 || bytes.IndexByte(body, 0) != len(body)-1 {
		return c.broken('D')
	}
	name := body[1 : len(body)-1]
	switch body[0] {
	case 'S':
		st, s := c.named('D', name)
		if st == nil {
			return s
		}
		c.await(expect{reply: replyDescribe, st: st})
	case 'P':
		po, s := c.opened('D', name)
		if po == nil {
			return s
		}
		po.described = true
		c.await(expect{reply: replyDescribe, po: po})
	default:
		return c.refuse('D', "", &protocol.Refusal{Code: "08P01", Message: fmt.Sprintf("invalid DESCRIBE message subtype %d", body[0])})
	}
	c.toServer.pass(b)
	return stepMore
}

// execute handles Execute.
func (c *core) execute(b, body []byte) step {
	name, rest, ok := cstring(body)
	if !ok || len(rest) != 4 {
		return c.broken('E')
	}
	var r *run
	var po *portal
	var why *protocol.Refusal
	var s step
	if c.held != nil && c.heldDone {
		r, po = c.held, c.names.portal(name)
		why = c.begun()
	} else {
		if po, s = c.opened('E', name); po == nil {
			return s
		}
		if r, s, why = c.prepare('E', po.judgement, po.text); s != stepMore {
			return s
		}
		if why != nil {
			return c.refuse('E', po.text, why)
		}
		if r.counts() {
			if why := countable(po.judgement, binary.BigEndian.Uint32(rest)); why != nil {
				c.release(r)
				return c.refuse('E', po.text, why)
			}
		}
		if po.bind != nil {
			c.parameters(po.bind)
			r.Params, r.Formats = c.params, c.formats
		}
		if why, s = c.begin(r); s != stepMore {
			return s
		}
	}
	if why != nil {
		return c.stopped('E', r, why)
	}
	if !po.described && c.returns(r) {
		po.described = true
		c.await(expect{reply: replyDescribe, po: po, hidden: true})
		c.toServer.message('D', []byte{'P'}, name, []byte{0})
	}
	po.done = binary.BigEndian.Uint32(rest) == 0
	c.toServer.pass(b)
	c.await(expect{reply: replyExecute, po: po, run: r})
	c.launch(r)
	if r.counts() {
		c.counting = awaitCount
		return c.wait()
	}
	return stepMore
}

// returns tells whether a run of one statement is expected to return rows.
func (c *core) returns(r *run) bool {
	if len(r.Judgement.Plans) == 0 {
		return false
	}
	if r.Inner != nil && r.Inner[0] != nil {
		return true
	}
	p := &r.Judgement.Plans[0]
	return p.Returns || len(p.Columns) > 0 || p.Effect.Kind == protocol.Executes || p.Effect.Kind == protocol.Fetches
}

// closeName handles Close.
func (c *core) closeName(b, body []byte) step {
	if len(body) < 2 || body[len(body)-1] != 0 || bytes.IndexByte(body, 0) != len(body)-1 {
		return c.broken('C')
	}
	name := body[1 : len(body)-1]
	if c.pendingNames > 0 {
		return c.wait()
	}
	e := expect{reply: replyClose}
	switch body[0] {
	case 'S':
		e.oldSt = c.names.statement(name)
		if e.oldSt != nil && !e.oldSt.confirmed && e.oldSt.segment != c.segment {
			return c.drain()
		}
		c.names.setStatement(string(name), nil)
	case 'P':
		e.oldPo = c.names.portal(name)
		if e.oldPo != nil && !e.oldPo.confirmed && e.oldPo.segment != c.segment {
			return c.drain()
		}
		c.names.setPortal(string(name), nil)
	default:
		return c.refuse('C', "", &protocol.Refusal{Code: "08P01", Message: fmt.Sprintf("invalid CLOSE message subtype %d", body[0])})
	}
	c.toServer.pass(b)
	c.await(e)
	return stepMore
}
