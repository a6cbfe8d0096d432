package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sluicegate.io/sluice/protocol"
)

// streamAbove is the size from which a row passes in pieces if nobody has to
// look into it.
const streamAbove = 32 << 10

// fromServer looks at the server's bytes in and returns how many are done with.
// Slices of in are in toClient until that is written.
func (c *core) fromServer(in []byte) int {
	n := 0
	c.wantBack = 0
	for c.ended == nil {
		if c.passing > 0 {
			k := min(c.passing, len(in)-n)
			if !c.dropping {
				c.toClient.pass(in[n : n+k])
			}
			c.passing -= k
			n += k
			if c.passing > 0 {
				return n
			}
			c.between = true
		}
		kind, size, ok := frame(in[n:])
		if !ok {
			return n
		}
		if size < header {
			c.serverViolation("invalid message length")
			return n
		}
		if kind == 'D' || kind == 'd' {
			k := c.data(kind, in[n:])
			if k == 0 {
				return n
			}
			n += k
			continue
		}
		if size > c.opts.MaxRow {
			c.serverViolation(fmt.Sprintf("message of type %q is too large", kind))
			return n
		}
		if len(in)-n < size {
			if size > smallMessage && !c.memory.covers(c.kept()+int64(size)) {
				c.end(errors.New("no memory for a message of the server"), crampedEnd)
				return n
			}
			c.wantBack = size
			return n
		}
		c.serverMessage(kind, in[n:n+size])
		n += size
	}
	return n
}

// serverViolation ends the session for a message that the server may not send now.
func (c *core) serverViolation(what string) {
	if c.ended == nil {
		c.stats.Violations.Add(1)
	}
	c.end(fmt.Errorf("server: %s", what), &protocol.Refusal{Code: "08P01", Fatal: true,
		Message: "the database sent what it should not: " + what})
}

func (c *core) unexpected(kind byte) {
	c.serverViolation(fmt.Sprintf("unexpected message type %q", kind))
}

// serverMessage handles one whole message other than a row.
func (c *core) serverMessage(kind byte, b []byte) {
	body := b[header:]
	switch kind {
	case 'S':
		c.parameter(b, body)
		return
	case 'N':
		c.notice(b, body)
		return
	case 'A':
		c.toClient.pass(b)
		return
	case 'E':
		c.failure(b, body)
		return
	}
	e := c.queue.head()
	if e == nil {
		c.unexpected(kind)
		return
	}
	if kind != 'Z' && (c.swallow || e.run != nil && e.run.swallow) {
		if kind == 'G' {
			c.end(errors.New("data asked for behind a limit"), e.run.limited)
		}
		return
	}
	if len(e.notices) > 0 && !e.hidden && kind != '1' {
		c.tell(e)
	}
	ok := false
	switch kind {
	case '1':
		if ok = e.reply == replyParse; ok {
			if e.st != nil {
				e.st.confirmed = true
			}
			c.reply(e, b)
			c.tell(e)
			c.queue.pop()
		}
	case '2':
		if ok = e.reply == replyBind; ok {
			if e.po != nil {
				e.po.confirmed = true
			}
			c.reply(e, b)
			c.queue.pop()
		}
	case '3':
		if ok = e.reply == replyClose; ok {
			c.reply(e, b)
			path := e.path
			c.queue.pop()
			if next := c.queue.head(); path && (next == nil || !next.path || next.reply != replyClose) {
				c.learned()
			}
		}
	case 't':
		if ok = e.reply == replyDescribe && e.st != nil; ok {
			c.reply(e, b)
		}
	case 'n':
		if ok = e.reply == replyDescribe; ok {
			if !e.rowsOnly {
				c.reply(e, b)
			}
			c.queue.pop()
		}
	case 'T':
		ok = c.description(e, b, body)
	case 'C', 'I', 's':
		ok = c.complete(e, kind, b, body)
	case 'G', 'H':
		ok = c.copyResponse(e, kind, b)
	case 'V':
		if ok = e.run != nil && e.run.simple && e.run.anything(); ok {
			c.toClient.pass(b)
		}
	case 'c':
		if ok = e.run != nil && e.run.copies; ok {
			c.toClient.pass(b)
		}
	case 'Z':
		ok = c.ready(e, b, body)
	}
	if !ok && c.ended == nil {
		c.unexpected(kind)
	}
}

// reply passes b on unless it answers a message of our own.
func (c *core) reply(e *expect, b []byte) {
	if !e.hidden {
		c.toClient.pass(b)
	}
}

// tell sends the notices that go with e.
func (c *core) tell(e *expect) {
	for _, n := range e.notices {
		c.toClient.add(appendNotice(nil, n))
	}
	e.notices = nil
}

// parameter watches the settings that the analysis of statements relies on.
func (c *core) parameter(b, body []byte) {
	name, rest, ok := cstring(body)
	value, _, ok2 := cstring(rest)
	if !ok || !ok2 {
		c.serverViolation("invalid ParameterStatus")
		return
	}
	if why := c.watch(string(name), string(value)); why != nil {
		c.end(why, why)
		return
	}
	if c.keeps {
		c.reported(string(name), string(value))
	}
	c.toClient.pass(b)
}

// notice passes a notice on, redacted if something sensitive was touched.
func (c *core) notice(b, body []byte) {
	if e := c.queue.head(); e != nil && e.path {
		return
	}
	if c.sensitive || c.touchesSensitive(c.queue.head()) {
		c.toClient.add(rewriteReport(nil, 'N', body, true, "", nil))
		return
	}
	if e := c.queue.head(); e != nil && e.run != nil {
		if other := c.scanReport(e.run, 'N', body); other != nil {
			c.toClient.add(other)
			return
		}
	}
	c.toClient.pass(b)
}

// touchesSensitive reports whether e concerns a statement that touches sensitive data.
func (c *core) touchesSensitive(e *expect) bool {
	if e == nil {
		return false
	}
	switch {
	case e.run != nil:
		return e.run.sensitive
	case e.po != nil:
		return sensitivePlans(e.po.judgement)
	case e.st != nil:
		return sensitivePlans(e.st.judgement)
	}
	return false
}

func sensitivePlans(j *protocol.Judgement) bool {
	for i := range j.Plans {
		if j.Plans[i].Sensitive {
			return true
		}
	}
	return false
}

// ready handles ReadyForQuery.
func (c *core) ready(e *expect, b, body []byte) bool {
	if len(body) != 1 || strings.IndexByte("ITE", body[0]) < 0 {
		return false
	}
	switch e.reply {
	case replySync:
	case replyQuery:
		r := e.run
		if !r.failed && r.anything() {
			c.endAny(r)
		}
		if !r.failed && r.statement < len(r.Judgement.Plans) {
			return false // fewer statements than were judged: not the text that was judged
		}
		c.retire(r)
	default:
		return false
	}
	c.status, c.swallow = body[0], false
	if c.pathDirty && c.status != 'T' {
		c.pathKnown = false
		if c.status == 'I' && e.segment >= c.dirtyAt {
			c.pathDirty = false
		}
	}
	if c.status == 'I' {
		c.names.endTransaction(e.segment)
		if c.queue.boundaries == 1 && c.queue.len == 1 {
			c.sensitive = false
		}
	}
	c.reply(e, b)
	c.queue.pop()
	c.memory.ease(c.kept())
	return true
}

// internTag returns the tag without an allocation where it is a usual one.
func internTag(tag []byte) string {
	switch string(tag) {
	case "SELECT 1":
		return "SELECT 1"
	case "SELECT 0":
		return "SELECT 0"
	case "INSERT 0 1":
		return "INSERT 0 1"
	case "UPDATE 1":
		return "UPDATE 1"
	case "UPDATE 0":
		return "UPDATE 0"
	case "DELETE 1":
		return "DELETE 1"
	case "BEGIN":
		return "BEGIN"
	case "COMMIT":
		return "COMMIT"
	case "ROLLBACK":
		return "ROLLBACK"
	case "SET":
		return "SET"
	}
	return string(tag)
}

func internCode(code []byte) string {
	if len(code) != 5 {
		return "XX000"
	}
	return string(code)
}

// affected is the number of rows that a CommandComplete tag tells, -1 if none.
func affected(tag string) int64 {
	i := strings.LastIndexByte(tag, ' ')
	n, err := strconv.ParseInt(tag[i+1:], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
