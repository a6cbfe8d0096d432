package postgres

import (
	"encoding/binary"
	"fmt"
	"sluicegate.io/sluice/protocol"
)

// query handles a simple query.
func (c *core) query(b, body []byte) step {
	if c.held != nil && c.heldDone {
		r := c.held
		why := c.begun()
		if why != nil {
			return c.stopped('Q', r, why)
		}
		return c.forwardQuery(b, r)
	}
	raw, rest, ok := cstring(body)
	if !ok || len(rest) > 0 {
		return c.broken('Q')
	}
	if why := c.text(raw); why != nil {
		return c.refuse('Q', "", why)
	}
	text := string(raw)
	j, s := c.judge(text, false, nil)
	if s != stepMore {
		return s
	}
	if j.Refusal != nil {
		return c.refuse('Q', text, j.Refusal)
	}
	if s, ok := c.roomForNames(j); s != stepMore {
		return s
	} else if !ok {
		return c.refuse('Q', text, cramped)
	}
	r, s, why := c.prepare('Q', j, text)
	if s != stepMore {
		return s
	}
	if why != nil {
		return c.refuse('Q', text, why)
	}
	r.simple = true
	if r.counts() {
		if why := countable(j, 0); why != nil {
			c.release(r)
			return c.refuse('Q', text, why)
		}
	}
	why, s = c.begin(r)
	if s != stepMore {
		return s
	}
	if why != nil {
		return c.stopped('Q', r, why)
	}
	return c.forwardQuery(b, r)
}

// stopped answers for a run that Begin refused.
func (c *core) stopped(kind byte, r *run, why *protocol.Refusal) step {
	c.stats.Refusals.Add(1)
	if why.Fatal {
		return c.end(why, why)
	}
	c.fail(kind, why)
	c.release(r)
	return stepMore
}

func (c *core) forwardQuery(b []byte, r *run) step {
	if r.counts() {
		c.forwardCounted(r)
		c.counting = awaitCount
		return c.wait()
	}
	j := r.Judgement
	if j.Text == r.Text {
		c.toServer.pass(b)
	} else {
		c.toServer.message('Q', []byte(j.Text), []byte{0}, nil)
	}
	c.queue.push(expect{reply: replyQuery, segment: c.segment, run: r, notices: j.Notices, size: len(b),
		oldSt: c.names.statement0, oldPo: c.names.portal0})
	c.names.statement0, c.names.portal0 = nil, nil
	c.launch(r)
	c.segment++
	c.open, c.flushed = false, false
	return stepMore
}

// parse handles Parse.
func (c *core) parse(b, body []byte) step {
	name, rest, ok := cstring(body)
	if !ok {
		return c.broken('P')
	}
	raw, rest, ok := cstring(rest)
	if !ok || len(rest) < 2 {
		return c.broken('P')
	}
	count := int(binary.BigEndian.Uint16(rest))
	if len(rest) != 2+4*count {
		return c.broken('P')
	}
	if why := c.text(raw); why != nil {
		return c.refuse('P', "", why)
	}
	old := c.names.statement(name)
	if c.pendingNames > 0 {
		return c.wait()
	}
	if len(name) == 0 {
		old = nil // replaced or gone, whatever becomes of this one
	} else if old != nil && !old.confirmed && old.segment != c.segment {
		return c.drain()
	}
	if len(c.names.statements) >= c.opts.MaxStatements && old == nil {
		return c.refuse('P', "", &protocol.Refusal{Code: "54000",
			Message: fmt.Sprintf("more than %d prepared statements in one session", c.opts.MaxStatements),
			Hint:    "Close those that are no longer used."})
	}
	if len(name) > 0 {
		if s, ok := c.room(2*len(raw) + statementCost); s != stepMore {
			return s
		} else if !ok {
			return c.refuse('P', "", cramped)
		}
	}
	var types []uint32
	if count > 0 {
		types = make([]uint32, count)
		for i := range types {
			types[i] = binary.BigEndian.Uint32(rest[2+4*i:])
		}
	}
	text := string(raw)
	j, s := c.judge(text, true, types)
	if s != stepMore {
		return s
	}
	if j.Refusal != nil {
		return c.refuse('P', text, j.Refusal)
	}
	if s, ok := c.roomForNames(j); s != stepMore {
		return s
	} else if !ok {
		return c.refuse('P', text, cramped)
	}
	if len(j.Plans) > 1 {
		return c.refuse('P', text, &protocol.Refusal{Code: "42601", Message: "cannot insert multiple commands into a prepared statement"})
	}
	c.spoil(j, nil) // planning runs functions too
	st := &statement{name: string(name), text: text, types: types, judgement: j, view: c.view(), segment: c.segment}
	if j.Text == text {
		c.toServer.pass(b)
	} else {
		c.parseMessage(st)
	}
	c.await(expect{reply: replyParse, st: st, oldSt: old, notices: j.Notices, size: len(b)})
	c.names.setStatement(st.name, st)
	return stepMore
}

// parseMessage sends the Parse of a text that is not the workload's.
func (c *core) parseMessage(st *statement) {
	tail := binary.BigEndian.AppendUint16([]byte{0}, uint16(len(st.types)))
	for _, oid := range st.types {
		tail = binary.BigEndian.AppendUint32(tail, oid)
	}
	c.toServer.message('P', append([]byte(st.name), 0), []byte(st.judgement.Text), tail)
}
