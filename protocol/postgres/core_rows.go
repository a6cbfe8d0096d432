package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sluicegate.io/sluice/protocol"
)

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
	scan := c.scans(r, kind)
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
		scanned, ok := c.scan(r, msgs)
		if !ok {
			c.serverViolation("data that cannot be looked into")
			return
		}
		msgs = scanned
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
	c.cancelling++
}

// largeRow handles a row that is not there as a whole yet.
func (c *core) largeRow(r *run, kind byte, in []byte, size int, scan bool, limits protocol.Limits) int {
	if scan && size > c.opts.MaxRow {
		c.end(errors.New("row too large to be scanned"), &protocol.Refusal{Code: "54000", Fatal: true,
			Message: "a row is too large to be looked into"})
		return 0
	}
	if scan || size <= streamAbove {
		if size > smallMessage && !c.memory.covers(c.kept()+int64(size)) {
			c.end(errors.New("no memory for a row"), crampedEnd)
			return 0
		}
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
