package postgres

import (
	"fmt"

	"sluicegate.io/sluice/protocol"
)

// counting is where a statement with a limit on affected rows stands. It runs in
// the extended protocol, and the Sync that would commit it is held back until its
// CommandComplete tells how many rows there were: beyond the limit it is followed
// by an Execute that fails instead, which takes it back.
type counting uint8

const (
	notCounting counting = iota
	awaitCount
	countFits
	countOver
	countFailed
)

// countable refuses what cannot be taken back by its count.
func countable(j *protocol.Judgement, rows uint32) *protocol.Refusal {
	switch {
	case len(j.Plans) != 1:
		return &protocol.Refusal{Code: "0A000", Message: "a statement with a limit on affected rows has to be sent by itself",
			Hint: "Send the statements of this text one by one."}
	case j.Plans[0].Effect.Kind == protocol.CopiesIn:
		return &protocol.Refusal{Code: "0A000", Message: "COPY FROM STDIN cannot be limited in affected rows", Hint: "Use INSERT."}
	case rows != 0:
		return &protocol.Refusal{Code: "0A000", Message: "a statement with a limit on affected rows cannot be executed in parts",
			Hint: "Execute it without a row limit."}
	}
	return nil
}

// counts reports whether a run has a limit on affected rows.
func (r *run) counts() bool {
	for i := range r.Judgement.Plans {
		if r.limits(i).Affected > 0 {
			return true
		}
	}
	return false
}

// forwardCounted forwards a simple query of one statement by extended messages.
func (c *core) forwardCounted(r *run) {
	r.simple, r.converted = false, true
	j := r.Judgement
	c.names.statement0, c.names.portal0 = nil, nil
	st := &statement{text: r.Text, judgement: j, view: c.view(), segment: c.segment}
	po := &portal{st: st, judgement: j, text: r.Text, segment: c.segment, described: true}
	c.parseMessage(st)
	c.toServer.add([]byte{'B', 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0})
	c.toServer.add([]byte{'D', 0, 0, 0, 6, 'P', 0})
	c.toServer.add([]byte{'E', 0, 0, 0, 9, 0, 0, 0, 0, 0})
	c.await(expect{reply: replyParse, st: st, hidden: true})
	c.await(expect{reply: replyBind, po: po, hidden: true})
	c.await(expect{reply: replyDescribe, po: po, rowsOnly: true})
	c.await(expect{reply: replyExecute, po: po, run: r, notices: j.Notices})
	c.launch(r)
}

// counted goes on with the message whose run is being counted.
func (c *core) counted(kind byte) step {
	state, why := c.counting, c.over
	if state == awaitCount {
		return c.wait()
	}
	c.counting, c.over = notCounting, nil
	switch {
	case state == countOver:
		c.stats.Limited.Add(1)
		c.fail(kind, why)
	case kind == 'Q':
		c.sync()
		c.toServer.add(syncMessage)
	}
	return stepMore
}

// count looks at the end of a run that is being counted, and reports whether it
// was beyond its limit.
func (c *core) count(r *run, tag string) bool {
	if c.counting != awaitCount {
		return false
	}
	limit := r.limits(0).Affected
	if n := affected(tag); n <= limit {
		c.counting = countFits
		return false
	}
	c.counting = countOver
	c.over = &protocol.Refusal{Code: "54000", Message: "the statement affects more rows than the policy allows",
		Detail: fmt.Sprintf("limit: %d rows a statement", limit), Hint: "Nothing was changed. Narrow the statement with WHERE.",
		Rule: r.Judgement.Plans[0].Rule}
	return true
}
