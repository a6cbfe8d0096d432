package postgres

import (
	"bytes"
	"sluicegate.io/sluice/protocol"
)

// description handles RowDescription.
func (c *core) description(e *expect, b, body []byte) bool {
	switch {
	case e.reply == replyDescribe && e.po != nil:
		cols, ok := c.columns(e.po.st, b, body)
		if !ok {
			return false
		}
		e.po.columns, e.po.returns = cols, true
		c.reply(e, b)
		c.queue.pop()
		return true
	case e.reply == replyDescribe:
		c.reply(e, b)
		c.queue.pop()
		return true
	case e.reply == replyQuery && e.run != nil && !e.run.failed:
		if e.run.statement >= len(e.run.Judgement.Plans) {
			return false
		}
		cols, err := parseColumns(body)
		if err != nil {
			return false
		}
		if c.shape(e.run, cols) {
			c.toClient.pass(b)
		}
		return true
	}
	return false
}

// columns decodes a RowDescription, or finds that it is the one known of st.
func (c *core) columns(st *statement, b, body []byte) ([]protocol.ResultColumn, bool) {
	if st != nil && bytes.Equal(st.shape, b) && st.shape != nil {
		return st.columns, true
	}
	cols, err := parseColumns(body)
	if err != nil {
		return nil, false
	}
	if st != nil && st.name != "" {
		st.shape, st.columns = bytes.Clone(b), cols
	}
	return cols, true
}

// copyResponse handles CopyInResponse and CopyOutResponse, which have to be
// what the plan says.
func (c *core) copyResponse(e *expect, kind byte, b []byte) bool {
	r := e.run
	if r == nil || r.failed || r.statement >= len(r.Judgement.Plans) {
		return false
	}
	effect := r.Judgement.Plans[r.statement].Effect.Kind
	free := r.Judgement.Plans[r.statement].Free
	switch {
	case kind == 'G' && (effect == protocol.CopiesIn || free):
		c.copier, c.copying = r, true
	case kind == 'H' && (effect == protocol.CopiesOut || free):
		r.shaped, r.copies = true, true
	default:
		return false
	}
	c.toClient.pass(b)
	return true
}

// complete handles CommandComplete, EmptyQueryResponse and PortalSuspended.
func (c *core) complete(e *expect, kind byte, b, body []byte) bool {
	if e.path && e.reply == replyExecute && kind == 'C' {
		c.queue.pop()
		return true
	}
	r := e.run
	if r == nil || r.failed || kind == 's' && r.simple {
		return false
	}
	if kind == 'I' && r.simple && len(r.Judgement.Plans) == 0 {
		c.toClient.pass(b)
		return true
	}
	if r.statement >= len(r.Judgement.Plans) && kind != 'I' {
		return false
	}
	if r.simple && r.anything() {
		return c.oneOfAny(r, kind, b, body)
	}
	o := protocol.Outcome{Rows: r.rows, Bytes: r.bytes, Refused: r.limited, Suspended: kind == 's'}
	if kind == 'C' {
		tag, _, ok := cstring(body)
		if !ok {
			return false
		}
		o.Tag = internTag(tag)
	}
	over := !r.simple && c.count(r, o.Tag)
	if over {
		o.Tag, o.Refused = "", c.over
	}
	if r.limited != nil && !r.simple {
		// The server was done before the cancel came. What it says next stands for
		// the transaction; the workload reads why there are no more rows.
		c.toClient.add(appendReport(nil, 'E', "ERROR", r.limited))
	} else if r.limited == nil && !over {
		c.toClient.pass(b)
	}
	if r.statement < len(r.Judgement.Plans) {
		plan := &r.Judgement.Plans[r.statement]
		if kind == 'C' && !over {
			c.names.apply(&plan.Effect, r.Judgement, r.view)
		}
		c.gate.End(&r.Run, r.statement, o)
	}
	r.statement++
	r.shaped, r.columns, r.rows, r.bytes = false, nil, 0, 0
	if r.copies {
		r.copies = false
	}
	if !r.simple {
		lim := r.limited
		c.retire(r)
		c.queue.pop()
		if lim != nil {
			// The server goes on where it should skip: its replies up to the next
			// ReadyForQuery are of no use, and the transaction is to fail.
			c.swallow = true
			c.skip("")
		}
		return true
	}
	if r.limited != nil {
		c.toClient.add(appendReport(nil, 'E', "ERROR", r.limited))
		c.finish0(r, "")
		r.failed, r.swallow = true, true
	}
	return true
}

// retire lets go of a run whose statements have all ended.
func (c *core) retire(r *run) {
	if r.touches {
		c.pendingNames--
	}
	if r.bounded {
		c.bounded--
	}
	if r.clock != nil {
		r.clock.Stop()
	}
	if c.copier == r {
		c.copier, c.copying = nil, false
	}
	c.release(r)
}

// finish0 delivers the Outcome of the statements of r that have none yet: code
// for the first of them, none for those behind it, which never ran.
func (c *core) finish0(r *run, code string) {
	for i := r.statement; i < len(r.Judgement.Plans); i++ {
		o := protocol.Outcome{Code: code, Rows: r.rows, Bytes: r.bytes, Refused: r.limited}
		c.gate.End(&r.Run, i, o)
		code, r.rows, r.bytes = "", 0, 0
		r.limited = nil
	}
	r.statement = len(r.Judgement.Plans)
}

// finish is finish0 and retire.
func (c *core) finish(r *run, code string) {
	c.finish0(r, code)
	c.retire(r)
}
