package postgres

import (
	"encoding/binary"
	"fmt"
	"slices"

	"sluicegate.io/sluice/protocol"
)

// This file is about what passes unread, where a protocol.Passer says so.

// anything reports whether r's present statement stands for any number of them.
func (r *run) anything() bool {
	return r.statement < len(r.Judgement.Plans) && r.Judgement.Plans[r.statement].Effect.Kind == protocol.AnyEffect
}

// watch looks at a setting that the server reports: nothing is read rightly under
// another value of a pinned one, so the session ends unless that passes.
func (c *core) watch(name, value string) *protocol.Refusal {
	c.unpinned = slices.DeleteFunc(c.unpinned, func(n string) bool { return n == name })
	why := pinned(name, value)
	if why == nil || c.passer == nil || c.passer.Pass(c.call(), "").Refusal != nil {
		return why
	}
	c.unpinned = append(c.unpinned, name)
	return nil
}

// unread judges a text that the server reads by other rules than the analysis.
func (c *core) unread(text string) (*protocol.Judgement, step) {
	j := c.passer.Pass(c.call(), text)
	if j.Refusal != nil { // the rules have changed since
		why := pinned(c.unpinned[0], "")
		c.gate.Refused(text, why)
		return nil, c.end(why, why)
	}
	return j, stepMore
}

// functionCall handles FunctionCall, which names a function by its number.
func (c *core) functionCall(b, body []byte) step {
	if len(body) < 4 {
		return c.broken('F')
	}
	text := fmt.Sprintf("function call of oid %d", binary.BigEndian.Uint32(body))
	why := &protocol.Refusal{Code: "42501", Message: "function calls by message are not allowed",
		Hint: "Call the function with SELECT, so that the call can be judged."}
	if c.passer == nil {
		return c.refuse('F', text, why)
	}
	j := c.passer.Pass(c.call(), text)
	if j.Refusal != nil {
		return c.refuse('F', text, why)
	}
	r, s, why := c.prepare('Q', j, text)
	if s != stepMore {
		return s
	}
	if why == nil {
		r.simple = true
		why, s = c.begin(r)
		if s != stepMore {
			return s
		}
	}
	if why != nil {
		return c.stopped('F', r, why)
	}
	st := c.names.statement0
	next := c.forwardQuery(b, r)
	c.names.statement0 = st // which only a query replaces
	return next
}

// oneOfAny passes the end of one of the statements of a text that was not read.
func (c *core) oneOfAny(r *run, kind byte, b, body []byte) bool {
	if kind == 'C' {
		tag, _, ok := cstring(body)
		if !ok {
			return false
		}
		r.tag = internTag(tag)
	}
	c.toClient.pass(b)
	r.shaped, r.columns, r.copies = false, nil, false
	return true
}

// endAny ends the statement that stood for all of such a text.
func (c *core) endAny(r *run) {
	tag := r.tag
	if tag == "" {
		tag = "FUNCTION"
	}
	c.gate.End(&r.Run, r.statement, protocol.Outcome{Tag: tag, Rows: r.rows, Bytes: r.bytes})
	r.statement++
}
