package postgres

import (
	"fmt"
)

// failure handles ErrorResponse.
func (c *core) failure(b, body []byte) {
	code := internCode(reportField(body, 'C'))
	fatal := fatalReport(body)
	e := c.queue.head()
	redact := c.sensitive || c.touchesSensitive(e)
	if e != nil && !fatal {
		if c.swallow || e.run != nil && e.run.swallow {
			return
		}
		c.tell0(e)
	}
	switch {
	case fatal:
		c.pass(e, b, body, redact)
		c.end(fmt.Errorf("the server ended the session (SQLSTATE %s)", code), nil)
		return
	case e == nil:
		c.pass(nil, b, body, redact)
		return
	case e.reply == replySync:
		// A failing COMMIT of an implicit transaction reports itself here.
		if !e.hidden {
			c.pass(e, b, body, redact)
		}
		return
	case e.reply == replyQuery && e.run.failed:
		if e.run.limited == nil {
			c.pass(e, b, body, redact)
		}
		return
	case e.reply == replyQuery:
		r := e.run
		if r.limited != nil {
			c.toClient.add(appendReport(nil, 'E', "ERROR", r.limited))
		} else {
			c.pass(e, b, body, redact)
		}
		c.finish0(r, code)
		r.failed = true
		if c.copier == r {
			c.copier, c.copying = nil, false
		}
		return
	case e.reply == replyRefusal:
		c.toClient.add(appendReport(nil, 'E', "ERROR", e.why))
	case e.path && c.ownSync():
		c.askFailed = true
	case e.run != nil && e.run.limited != nil:
		c.toClient.add(appendReport(nil, 'E', "ERROR", e.run.limited))
	default:
		c.pass(e, b, body, redact)
	}
	if e.path {
		c.asking = false
	}
	c.skip(code)
}

func (c *core) tell0(e *expect) {
	if e.reply == replyQuery {
		c.tell(e)
	}
}

// ownSync reports whether the next boundary is a Sync of our own.
func (c *core) ownSync() bool {
	for i := range c.queue.len {
		if e := c.queue.at(i); e.reply == replySync || e.reply == replyQuery {
			return e.hidden
		}
	}
	return false
}

// skip drops what the server skips after an error: everything up to the next Sync.
func (c *core) skip(code string) {
	n := 0
	for n < c.queue.len && c.queue.at(n).reply != replySync {
		n++
	}
	for i := n - 1; i >= 0; i-- {
		c.names.undo(c.queue.at(i))
	}
	if n == c.queue.len {
		c.discard = true
	}
	if c.counting == awaitCount {
		c.counting = countFailed
	}
	for range n {
		e := c.queue.head()
		if e.path {
			c.asking = false
		}
		if e.run != nil {
			c.finish(e.run, code)
			code = ""
		}
		c.queue.pop()
	}
}

// pass forwards an ErrorResponse as the workload may see it.
func (c *core) pass(e *expect, b, body []byte, redact bool) {
	edited := e != nil && (e.run != nil && (e.run.simple || e.run.converted) && len(e.run.Judgement.Edits) > 0 ||
		e.reply == replyParse && e.st != nil && len(e.st.judgement.Edits) > 0)
	if !redact && !edited {
		if e != nil && e.run != nil {
			if other := c.scanReport(e.run, 'E', body); other != nil {
				c.toClient.add(other)
				return
			}
		}
		c.toClient.pass(b)
		return
	}
	seen := c.seen(e, body, redact)
	if !redact && e.run != nil {
		if other := c.scanReport(e.run, 'E', seen[header:]); other != nil {
			seen = other
		}
	}
	c.toClient.add(seen)
}

func (c *core) seen(e *expect, body []byte, redact bool) []byte {
	switch {
	case e != nil && e.run != nil && (e.run.simple || e.run.converted):
		return rewriteReport(nil, 'E', body, redact, e.run.Text, e.run.Judgement)
	case e != nil && e.reply == replyParse && e.st != nil:
		return rewriteReport(nil, 'E', body, redact, e.st.text, e.st.judgement)
	}
	return rewriteReport(nil, 'E', body, redact, "", nil)
}
