package postgres

import (
	"bytes"
	"encoding/binary"
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

// data handles the rows at the start of in, many at a time, and returns the bytes
// that are done with: 0 if more are needed, or the session ends.
func (c *core) data(kind byte, in []byte) int {
	e := c.queue.head()
	if e == nil {
		c.unexpected(kind)
		return 0
	}
	if e.path && e.reply == replyExecute && kind == 'D' {
		return c.pathRow(in)
	}
	r := e.run
	if c.swallow || r != nil && r.swallow {
		k, size := 0, 0
		if _, size, _ = frame(in); size > len(in) {
			k = len(in)
		} else {
			k = size
		}
		c.passing, c.dropping = size-k, true
		return k
	}
	if r == nil || r.failed || r.copies != (kind == 'd') {
		c.unexpected(kind)
		return 0
	}
	if !r.shaped {
		if kind == 'd' || e.reply != replyExecute || !e.po.returns {
			c.unexpected(kind) // CopyData has its CopyOutResponse, and a row its description
			return 0
		}
		if !c.shape(r, e.po.columns) {
			return 0
		}
	}
	limits := r.limits(r.statement)
	scan := kind == 'D' && c.scans(r)
	done, count := 0, 0
	for done < len(in) {
		k, size, ok := frame(in[done:])
		if !ok || k != kind {
			break
		}
		if size < header {
			c.serverViolation("invalid message length")
			return 0
		}
		if len(in)-done < size {
			if done > 0 {
				break
			}
			return c.largeRow(r, kind, in, size, scan, limits)
		}
		done += size
		count++
	}
	if count == 0 {
		return 0
	}
	c.rows(r, in[:done], count, scan, limits)
	return done
}

// rows passes whole rows on.
func (c *core) rows(r *run, msgs []byte, count int, scan bool, limits protocol.Limits) {
	if r.limited != nil {
		return
	}
	if limits.Rows > 0 && r.rows+int64(count) > limits.Rows || limits.Bytes > 0 && r.bytes+int64(len(msgs)) > limits.Bytes {
		// Up to the limit and no further.
		keep, fits := 0, 0
		for keep < len(msgs) {
			_, size, _ := frame(msgs[keep:])
			if limits.Rows > 0 && r.rows+int64(fits) >= limits.Rows ||
				limits.Bytes > 0 && r.bytes+int64(keep+size) > limits.Bytes {
				break
			}
			keep += size
			fits++
		}
		msgs, count = msgs[:keep], fits
		c.limit54(r, limits)
	}
	if count == 0 {
		return
	}
	r.rows += int64(count)
	r.bytes += int64(len(msgs))
	if scan {
		msgs = c.scan(r, msgs)
	}
	c.gate.Rows(&r.Run, r.statement, msgs, count)
	c.toClient.pass(msgs)
}

// limit54 stops a run that has passed a limit on its result.
func (c *core) limit54(r *run, l protocol.Limits) {
	r.limited = &protocol.Refusal{Code: "54000", Message: "the result is larger than the policy allows",
		Hint: "Ask for fewer rows or columns, for example with WHERE or LIMIT."}
	switch {
	case l.Rows > 0 && r.rows >= l.Rows || l.Bytes == 0:
		r.limited.Detail = fmt.Sprintf("limit: %d rows a statement", l.Rows)
	default:
		r.limited.Detail = fmt.Sprintf("limit: %d bytes a statement", l.Bytes)
	}
	r.limited.Rule = r.Judgement.Plans[r.statement].Rule
	c.stats.Limited.Add(1)
	c.cancel = true
}

// largeRow handles a row that is not there as a whole yet.
func (c *core) largeRow(r *run, kind byte, in []byte, size int, scan bool, limits protocol.Limits) int {
	if scan && size > c.opts.MaxRow {
		c.end(errors.New("row too large to be scanned"), &protocol.Refusal{Code: "54000", Fatal: true,
			Message: "a row is too large to be looked into"})
		return 0
	}
	if scan || size <= streamAbove {
		c.wantBack = size
		return 0
	}
	if r.limited == nil && (limits.Rows > 0 && r.rows+1 > limits.Rows || limits.Bytes > 0 && r.bytes+int64(size) > limits.Bytes) {
		c.limit54(r, limits)
	}
	c.passing, c.dropping = size, r.limited != nil
	if !c.dropping {
		r.rows++
		r.bytes += int64(size)
		c.gate.Rows(&r.Run, r.statement, nil, 1)
		c.between = false
	}
	k := min(size, len(in))
	if !c.dropping {
		c.toClient.pass(in[:k])
	}
	c.passing -= k
	return k
}

// pathRow takes one row of the answer to askPath.
func (c *core) pathRow(in []byte) int {
	_, size, ok := frame(in)
	if !ok || size < header {
		c.serverViolation("invalid message length")
		return 0
	}
	if size > smallMessage {
		c.serverViolation("invalid search path")
		return 0
	}
	if len(in) < size {
		c.wantBack = size
		return 0
	}
	b := in[header:size]
	if len(b) < 6 || binary.BigEndian.Uint16(b) != 1 || int(binary.BigEndian.Uint32(b[2:])) != len(b)-6 {
		c.serverViolation("invalid search path")
		return 0
	}
	c.asked = append(c.asked, string(b[6:]))
	return size
}

// shape shows the Gate what the result of r's present statement looks like.
func (c *core) shape(r *run, columns []protocol.ResultColumn) bool {
	if why := c.gate.Shape(&r.Run, r.statement, columns); why != nil {
		c.end(why, why)
		return false
	}
	r.shaped, r.columns = true, columns
	return true
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
	if why := pinned(string(name), string(value)); why != nil {
		c.end(why, why)
		return
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
	switch {
	case kind == 'G' && effect == protocol.CopiesIn:
		c.copier, c.copying = r, true
	case kind == 'H' && effect == protocol.CopiesOut:
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
		c.toClient.pass(b)
		return
	}
	c.toClient.add(c.seen(e, body, redact))
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

// ready handles ReadyForQuery.
func (c *core) ready(e *expect, b, body []byte) bool {
	if len(body) != 1 || strings.IndexByte("ITE", body[0]) < 0 {
		return false
	}
	switch e.reply {
	case replySync:
	case replyQuery:
		r := e.run
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
