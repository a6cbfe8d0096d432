package postgres

import "sluicegate.io/sluice/protocol"

// spoil notes what a text that is forwarded may leave in its session.
func (c *core) spoil(j *protocol.Judgement, inner []*protocol.Plan) {
	if !c.keeps || c.spoiled {
		return
	}
	for i := range j.Plans {
		c.spoiled = c.spoiled || !traceless(&j.Plans[i])
	}
	for i, p := range inner {
		if e := j.Plans[i].Effect.Kind; p == nil && (e == protocol.Executes || e == protocol.Fetches) {
			c.spoiled = true // what that is, is not known
		}
		c.spoiled = c.spoiled || p != nil && !traceless(p)
	}
}

func traceless(p *protocol.Plan) bool {
	e := &p.Effect
	switch {
	case !p.Resets, e.Kind == protocol.AnyEffect, e.Inner != nil && !traceless(e.Inner):
		return false
	case p.Free && e.MovesNames():
		return false // nobody follows there what names mean
	}
	return true
}

// retires decides, now that the client has left, whether the server's session stays.
func (c *core) retires() bool {
	if !c.keeps || c.retired {
		return c.retired
	}
	why := notDiscarded
	switch {
	case c.cancelled:
		why = DiscardCancelled
	case c.spoiled || len(c.unpinned) > 0:
		why = DiscardState
	case c.status != 'I', c.queue.len > 0, c.open, c.discard, c.swallow, c.held != nil, c.copier != nil, c.copying,
		c.counting != notCounting, c.asking, c.rest > 0, c.passing > 0, !c.between, c.ended != nil,
		!c.toServer.empty(), !c.quiet():
		why = DiscardMidway
	}
	c.retired = why == notDiscarded
	if !c.retired {
		c.discarded(why)
		c.keeps = false // counted once
	}
	return c.retired
}
