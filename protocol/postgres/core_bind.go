package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sluicegate.io/sluice/protocol"
)

// lookup waits until it is certain what a name means: until runs that change
// names are done, and until an earlier segment that changed this one is.
func (c *core) lookup(found, confirmed bool, segment uint64) step {
	if c.pendingNames > 0 {
		return c.wait()
	}
	if found && !confirmed && segment != c.segment || !found && c.queue.len > 0 {
		return c.drain()
	}
	return stepMore
}

// named returns the statement called name, or refuses.
func (c *core) named(kind byte, name []byte) (*statement, step) {
	st := c.names.statement(name)
	if s := c.lookup(st != nil, st != nil && st.confirmed, segmentOf(st)); s != stepMore {
		return nil, s
	}
	if st != nil {
		return st, stepMore
	}
	msg := "unnamed prepared statement does not exist"
	if len(name) > 0 {
		msg = fmt.Sprintf("prepared statement %q does not exist", printable(name))
	}
	return nil, c.refuse(kind, "", &protocol.Refusal{Code: "26000", Message: msg})
}

func segmentOf(st *statement) uint64 {
	if st == nil {
		return 0
	}
	return st.segment
}

// opened returns the portal called name, or refuses.
func (c *core) opened(kind byte, name []byte) (*portal, step) {
	po := c.names.portal(name)
	var segment uint64
	if po != nil {
		segment = po.segment
	}
	if s := c.lookup(po != nil, po != nil && po.confirmed, segment); s != stepMore {
		return nil, s
	}
	if po != nil {
		return po, stepMore
	}
	return nil, c.refuse(kind, "", &protocol.Refusal{Code: "34000", Message: fmt.Sprintf("portal %q does not exist", printable(name))})
}

// printable is a name as it may stand in a message.
func printable(name []byte) string {
	return string(bytes.ToValidUTF8(name[:min(len(name), 63)], []byte("?")))
}

// bind handles Bind.
func (c *core) bind(b, body []byte) step {
	name, rest, ok := cstring(body)
	if !ok {
		return c.broken('B')
	}
	stName, rest, ok := cstring(rest)
	if !ok || !validBind(rest) {
		return c.broken('B')
	}
	st, s := c.named('B', stName)
	if st == nil {
		return s
	}
	st, s = c.current('B', st)
	if st == nil {
		return s
	}
	po := &portal{name: string(name), st: st, judgement: st.judgement, text: st.text, bind: rest, fresh: true, segment: c.segment}
	old := c.names.portal(name)
	if c.pendingNames > 0 {
		return c.wait()
	}
	if len(name) == 0 {
		old = nil
	} else if old != nil && !old.confirmed && old.segment != c.segment {
		return c.drain()
	}
	if old == nil && len(c.names.portals) >= c.opts.MaxStatements {
		return c.refuse('B', "", &protocol.Refusal{Code: "54000", Message: "too many open portals in one session"})
	}
	if len(name) > 0 {
		if s, ok := c.room(len(rest) + portalCost); s != stepMore {
			return s
		} else if !ok {
			return c.refuse('B', "", cramped)
		}
	}
	c.toServer.pass(b)
	c.await(expect{reply: replyBind, st: st, po: po, oldPo: old, size: len(b)})
	c.names.setPortal(po.name, po)
	c.fresh = append(c.fresh, po)
	return stepMore
}

// validBind checks what follows the names in a Bind.
func validBind(b []byte) bool {
	u16 := func() (int, bool) {
		if len(b) < 2 {
			return 0, false
		}
		n := int(binary.BigEndian.Uint16(b))
		b = b[2:]
		return n, true
	}
	formats := func() bool {
		n, ok := u16()
		if !ok || len(b) < 2*n {
			return false
		}
		b = b[2*n:]
		return true
	}
	if !formats() {
		return false
	}
	n, ok := u16()
	if !ok {
		return false
	}
	for range n {
		if len(b) < 4 {
			return false
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < 0 {
			continue
		}
		if len(b) < size {
			return false
		}
		b = b[size:]
	}
	return formats() && len(b) == 0
}

// parameters sets params and formats from what validBind has checked.
func (c *core) parameters(b []byte) {
	c.formats, c.params = c.formats[:0], c.params[:0]
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for i := range n {
		c.formats = append(c.formats, int16(binary.BigEndian.Uint16(b[2*i:])))
	}
	b = b[2*n:]
	n = int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range n {
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < 0 {
			c.params = append(c.params, nil)
			continue
		}
		c.params = append(c.params, b[:size:size])
		b = b[size:]
	}
}

// settled keeps what has to outlive the client's buffer. The driver calls it
// before it uses the buffer again.
func (c *core) settled() {
	for i, po := range c.fresh {
		if po.bind != nil && !po.done && c.names.portal([]byte(po.name)) == po {
			po.bind = bytes.Clone(po.bind)
		} else {
			po.bind = nil
		}
		po.fresh = false
		c.fresh[i] = nil
	}
	c.fresh = c.fresh[:0]
	if cap(c.fresh) > 64 {
		c.fresh = nil
	}
}
