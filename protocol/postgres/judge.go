package postgres

import (
	"fmt"
	"slices"
	"time"

	"sluicegate.io/sluice/protocol"
)

const askPath = "SELECT s FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) AS s"

// view is what judgements depend on now. It is only right when the path is known.
func (c *core) view() view { return view{path: c.pathVersion, epoch: c.lastEpoch} }

// judge has the Gate judge text, under the real search path if that matters.
func (c *core) judge(text string, parse bool, types []uint32) (*protocol.Judgement, step) {
	c.checkEpoch()
	if c.pathDirty && c.queue.boundaries > 0 {
		// A transaction that ends takes its path along.
		if s := c.drain(); s != stepMore {
			return nil, s
		}
	}
	if len(c.unpinned) > 0 {
		return c.unread(text)
	}
	q := &protocol.Query{Text: text, Parse: parse, ParamTypes: types}
	if c.pathKnown {
		q.Path = c.path
	}
	j := c.gate.Judge(c.call(), q)
	if j == nil {
		j = &protocol.Judgement{}
	}
	if j.Named && !c.pathKnown {
		s, why := c.ask()
		if s != stepMore {
			return nil, s
		}
		if why != nil {
			if why == aborted && len(j.Plans) == 1 {
				why = &protocol.Refusal{Code: why.Code, Message: why.Message} // as the server says it
			}
			return &protocol.Judgement{Refusal: why}, stepMore
		}
		q.Path = c.path
		if j = c.gate.Judge(c.call(), q); j == nil {
			j = &protocol.Judgement{}
		}
	}
	if j.Refusal == nil && j.Text == "" && len(j.Plans) > 0 {
		return &protocol.Judgement{Refusal: undecided}, stepMore
	}
	if j.Refusal == nil && j.Text == "" && text != "" && len(j.Plans) == 0 {
		return &protocol.Judgement{Refusal: undecided}, stepMore
	}
	return j, stepMore
}

// undecided answers for the zero Judgement.
var undecided = &protocol.Refusal{Code: "42501", Message: "the statement could not be judged"}

func (c *core) checkEpoch() {
	if e := c.epoch(); e != c.lastEpoch {
		c.lastEpoch = e
		c.pathKnown = false
	}
}

// ask finds out the effective search path. The server is asked with messages of
// our own under a name that no client can guess, in the client's transaction if
// it has one, and never by the unnamed statement.
func (c *core) ask() (step, *protocol.Refusal) {
	if c.pathKnown {
		return stepMore, nil
	}
	if c.asking {
		return c.wait(), nil
	}
	if c.askFailed {
		c.askFailed = false
		if c.status == 'E' {
			return stepMore, aborted
		}
		return stepMore, &protocol.Refusal{Code: "58000", Message: "the search path could not be read from the server"}
	}
	if s := c.settle(); s != stepMore {
		return s, nil
	}
	if c.status == 'E' && c.queue.len == 0 && !c.open {
		return stepMore, aborted
	}
	c.asks++
	if c.names0 != nil {
		c.under = c.names0()
	}
	c.asking, c.asked = true, []string{}
	name := fmt.Appendf(nil, "%s.%d\x00", c.private, c.asks)
	own := !c.open
	e := expect{hidden: true, path: true, segment: c.segment}
	for _, m := range []struct {
		reply   reply
		kind    byte
		a, b, c []byte
	}{
		{replyParse, 'P', name, []byte(askPath), []byte{0, 0, 0}},
		{replyBind, 'B', name, name, []byte{0, 0, 0, 0, 0, 0}},
		{replyExecute, 'E', name, []byte{0, 0, 0, 0}, nil},
		{replyClose, 'C', []byte{'P'}, name, nil},
		{replyClose, 'C', []byte{'S'}, name, nil},
	} {
		e.reply = m.reply
		c.queue.push(e)
		c.toServer.message(m.kind, m.a, m.b, m.c)
	}
	if own {
		e.reply = replySync
		c.queue.push(e)
		c.segment++
		c.toServer.add(syncMessage)
	} else {
		c.flushed = false
	}
	return c.wait(), nil
}

// aborted is what the server would say, which could not say the path either.
var aborted = &protocol.Refusal{Code: "25P02",
	Message: "current transaction is aborted, commands ignored until end of transaction block",
	Hint:    "Send ROLLBACK, by itself."}

// learned notes the path that the server told.
func (c *core) learned() {
	c.asking = false
	c.pathKnown = true
	if c.path == nil || !slices.Equal(c.path, c.asked) {
		c.path = c.asked
		c.pathVersion++
	}
	c.asked = nil
	if c.begins != nil && !c.moved {
		c.begins(c.path, c.under)
	}
}

// current makes sure that st was judged as it would be now. It is judged again
// if names resolve differently or the rules have changed, and prepared again on
// the server if its text comes out differently. It returns nil if that takes a
// step, or was refused.
func (c *core) current(kind byte, st *statement) (*statement, step) {
	c.checkEpoch()
	stale := st.view.epoch != c.lastEpoch
	if st.judgement.Named && !stale {
		if c.pathDirty && c.queue.boundaries > 0 {
			if s := c.drain(); s != stepMore {
				return nil, s
			}
		}
		if !c.pathKnown {
			s, why := c.ask()
			if s != stepMore {
				return nil, s
			}
			if why != nil {
				return nil, c.refuse(kind, st.text, why)
			}
		}
		stale = st.view.path != c.pathVersion
	}
	if !stale {
		return st, stepMore
	}
	j, s := c.judge(st.text, true, st.types)
	if s != stepMore {
		return nil, s
	}
	if j.Refusal != nil {
		return nil, c.refuse(kind, st.text, j.Refusal)
	}
	if len(j.Plans) > 1 {
		return nil, c.refuse(kind, st.text, undecided)
	}
	if st.sql {
		if j.Text != st.text {
			return nil, c.refuse(kind, st.text, prepareAgain)
		}
		st.judgement, st.view = j, c.view()
		return st, stepMore
	}
	if j.Text == st.judgement.Text {
		st.judgement, st.view = j, c.view()
		return st, stepMore
	}
	again := &statement{name: st.name, text: st.text, types: st.types, judgement: j, view: c.view(), segment: c.segment}
	c.spoil(j, nil)
	c.await(expect{reply: replyClose, hidden: true, oldSt: st})
	c.toServer.message('C', []byte{'S'}, []byte(st.name), []byte{0})
	c.parseMessage(again)
	c.await(expect{reply: replyParse, hidden: true, st: again})
	c.names.setStatement(st.name, again)
	return again, stepMore
}

var prepareAgain = &protocol.Refusal{Code: "0A000",
	Message: "the prepared statement was judged under other rules or another search path",
	Hint:    "DEALLOCATE it and PREPARE it again."}

// movedWithin and movedAtEnd refuse a text whose names may mean something else by the
// time that they are read.
var (
	movedWithin = &protocol.Refusal{Code: "0A000",
		Message: "names may resolve differently in the rest of this text",
		Hint:    "Send its statements separately."}
	movedAtEnd = &protocol.Refusal{Code: "0A000",
		Message: "names may resolve differently after the end of the transaction",
		Hint:    "Send the statements behind it separately."}
)

// prepare makes the run of a judged text: the names that it uses have to be known.
func (c *core) prepare(kind byte, j *protocol.Judgement, text string) (*run, step, *protocol.Refusal) {
	uses, hold := false, j.Hold
	dirty := c.pathDirty
	for i := range j.Plans {
		e := &j.Plans[i].Effect
		switch e.Kind {
		case protocol.Executes, protocol.Fetches:
			uses = true
		case protocol.End, protocol.Savepoint:
			if dirty && j.Named && i < len(j.Plans)-1 {
				return nil, stepMore, movedAtEnd
			}
		}
		dirty = dirty || e.MovesNames()
	}
	var list []*protocol.Plan
	var texts []string
	if uses {
		if s := c.drain(); s != stepMore {
			return nil, s, nil
		}
		list, texts = make([]*protocol.Plan, len(j.Plans)), make([]string, len(j.Plans))
		dirty, moved := c.pathDirty, -1 // where in the text names came to resolve differently
		for i := range j.Plans {
			e := &j.Plans[i].Effect
			in, text, s, why := c.resolve(j, i, moved)
			if s != stepMore || why != nil {
				return nil, s, why
			}
			list[i], texts[i] = in, text
			hold = hold || in != nil && in.Verdict == protocol.Approve
			moves := e.MovesNames()
			if in != nil && in.Effect.MovesNames() {
				// What is executed is not known where the text is judged.
				if moves = true; j.Named && i < len(j.Plans)-1 {
					return nil, stepMore, movedWithin
				}
			}
			if moves || dirty && (e.Kind == protocol.End || e.Kind == protocol.Savepoint) {
				moved = i
			}
			dirty = dirty || moves
		}
	}
	if hold && c.queue.len > 0 {
		return nil, c.wait(), nil
	}
	r := c.take()
	r.Judgement, r.Text, r.Inner, r.InnerText = j, text, list, texts
	r.hold = hold
	for i := range j.Plans {
		r.sensitive = r.sensitive || j.Plans[i].Sensitive || list != nil && list[i] != nil && list[i].Sensitive
	}
	return r, stepMore, nil
}

// resolve returns the plan that statement i of j executes or fetches from, and
// the text of that if an earlier message had it. moved is the last statement of the
// text behind which names may resolve differently, -1 if there is none: what was
// prepared is read anew by the server then.
func (c *core) resolve(j *protocol.Judgement, i, moved int) (*protocol.Plan, string, step, *protocol.Refusal) {
	p := &j.Plans[i]
	e := &p.Effect
	if e.Kind != protocol.Executes && e.Kind != protocol.Fetches {
		return nil, "", stepMore, nil
	}
	for k := i - 1; k >= 0; k-- { // what the text itself did to the name, last first
		d := &j.Plans[k].Effect
		switch {
		case d.Kind == protocol.Prepares && e.Kind == protocol.Executes && d.Name == e.Name,
			d.Kind == protocol.Declares && e.Kind == protocol.Fetches && d.Name == e.Name:
			if d.Inner == nil {
				return nil, "", stepMore, undecided
			}
			if d.Kind == protocol.Prepares && j.Named && moved > k {
				return nil, "", stepMore, movedWithin
			}
			return d.Inner, "", stepMore, nil
		case d.Kind == protocol.Discards,
			d.Kind == protocol.Deallocates && e.Kind == protocol.Executes && (d.Name == "" || d.Name == e.Name),
			d.Kind == protocol.Closes && e.Kind == protocol.Fetches && (d.Name == "" || d.Name == e.Name):
			return c.unknownName(p)
		}
	}
	if e.Kind == protocol.Fetches {
		po := c.names.portal([]byte(e.Name))
		if po == nil || len(po.judgement.Plans) != 1 {
			return c.unknownName(p)
		}
		in := &po.judgement.Plans[0]
		if !po.cursor && !fetchable(in) {
			return nil, "", stepMore, &protocol.Refusal{Code: "0A000",
				Message: "FETCH and MOVE run only queries that read, and this portal is of another statement",
				Hint:    "Run the statement with Execute."}
		}
		return in, po.text, stepMore, nil
	}
	st := c.names.statement([]byte(e.Name))
	if st == nil || e.Name == "" || len(st.judgement.Plans) != 1 {
		return c.unknownName(p)
	}
	if c.stale(st) {
		jj, s := c.judge(st.text, true, st.types)
		if s != stepMore {
			return nil, "", s, nil
		}
		if jj.Refusal != nil {
			return nil, "", stepMore, jj.Refusal
		}
		if jj.Text != st.text && jj.Text != st.judgement.Text || len(jj.Plans) != 1 {
			return nil, "", stepMore, prepareAgain
		}
		if st.sql && jj.Text != st.text {
			return nil, "", stepMore, prepareAgain
		}
		st.judgement, st.view = jj, c.view()
	}
	in := &st.judgement.Plans[0]
	switch {
	case moved >= 0 && st.judgement.Named:
		return nil, "", stepMore, movedWithin
	case in.Observed || in.Free || in.Effect.Kind == protocol.NoEffect || in.Effect.Kind == protocol.ChangesPath:
		return in, st.text, stepMore, nil
	}
	// The server executes whatever has such a name, also what executes another one.
	return nil, "", stepMore, &protocol.Refusal{Code: "0A000",
		Message: "EXECUTE runs only queries, and this statement does something to the session",
		Hint:    "Run the statement itself."}
}

// fetchable reports whether FETCH from a bound portal of p runs no more than p: the
// server runs whatever a portal holds, also what writes, or what executes another one.
func fetchable(p *protocol.Plan) bool {
	if p.Observed {
		return true
	}
	for i := range p.Statement.Accesses {
		if p.Statement.Accesses[i].Action != protocol.Select {
			return false
		}
	}
	return p.Verdict != protocol.Approve && p.Effect.Kind == protocol.NoEffect && p.Limits.Affected == 0
}

func (c *core) unknownName(p *protocol.Plan) (*protocol.Plan, string, step, *protocol.Refusal) {
	in, s, why := c.unknown(p)
	return in, "", s, why
}

// stale reports whether st may be judged differently now. An unknown path counts.
func (c *core) stale(st *statement) bool {
	c.checkEpoch()
	return st.view.epoch != c.lastEpoch || st.judgement.Named && (!c.pathKnown || st.view.path != c.pathVersion)
}

func (c *core) unknown(p *protocol.Plan) (*protocol.Plan, step, *protocol.Refusal) {
	if p.Observed || p.Free {
		return nil, stepMore, nil
	}
	if p.Effect.Kind == protocol.Fetches {
		return nil, stepMore, &protocol.Refusal{Code: "34000", Message: fmt.Sprintf("cursor %q does not exist", p.Effect.Name)}
	}
	return nil, stepMore, &protocol.Refusal{Code: "26000", Message: fmt.Sprintf("prepared statement %q does not exist", p.Effect.Name)}
}

// begin calls the Gate's Begin, or asks the driver to where that may take minutes.
func (c *core) begin(r *run) (*protocol.Refusal, step) {
	if len(r.Judgement.Plans) == 0 {
		return nil, stepMore // an empty text runs nothing
	}
	r.Notify = c.notify
	if r.hold {
		c.held = r
		return nil, stepHold
	}
	why := c.gate.Begin(c.call(), &r.Run)
	r.Params, r.Formats, r.Notify = nil, nil, nil
	return why, stepMore
}

// begun returns what came of the Begin of the held run.
func (c *core) begun() *protocol.Refusal {
	r, why := c.held, c.heldWhy
	c.held, c.heldDone, c.heldWhy = nil, false, nil
	r.Params, r.Formats, r.Notify = nil, nil, nil
	return why
}

// launch notes what follows from r being on its way to the server.
func (c *core) launch(r *run) {
	r.view = c.view()
	c.spoil(r.Judgement, r.Inner)
	for i := range r.Judgement.Plans {
		e := &r.Judgement.Plans[i].Effect
		if e.MovesNames() || i < len(r.Inner) && r.Inner[i] != nil && r.Inner[i].Effect.MovesNames() {
			c.pathKnown, c.pathDirty, c.dirtyAt = false, true, c.segment
			c.moved = true
			// What the text prepares was judged somewhere between two paths.
			r.view.path = ^uint64(0)
		}
		switch e.Kind {
		case protocol.AnyEffect:
			c.copier = r
		case protocol.End, protocol.Savepoint:
			if c.pathDirty {
				c.pathKnown = false
			}
		case protocol.CopiesIn:
			c.copier = r
		}
		r.touches = r.touches || touchesNames(e)
	}
	if r.touches {
		c.pendingNames++
	}
	if r.sensitive {
		c.sensitive = true
	}
	for i := range r.Judgement.Plans {
		l := r.limits(i)
		r.millis = max(r.millis, l.Millis)
		r.bounded = r.bounded || l.Rows > 0 || l.Bytes > 0 || l.Millis > 0
	}
	if r.bounded {
		c.bounded++
	}
}

// tick sets the clock of the run that the server has come to: one that waits for others
// must not have them cancelled.
func (c *core) tick() {
	e := c.queue.head()
	if e == nil || e.run == nil || e.run.millis == 0 || e.run.clock != nil {
		return
	}
	e.run.clock = c.expire(e.run, time.Duration(e.run.millis)*time.Millisecond)
}

// limits are those of statement i, the smaller ones where it executes another.
func (r *run) limits(i int) protocol.Limits {
	if i >= len(r.Judgement.Plans) {
		return protocol.Limits{}
	}
	l := r.Judgement.Plans[i].Limits
	if i < len(r.Inner) && r.Inner[i] != nil {
		o := r.Inner[i].Limits
		l = protocol.Limits{Rows: least(l.Rows, o.Rows), Bytes: least(l.Bytes, o.Bytes),
			Affected: least(l.Affected, o.Affected), Millis: least(l.Millis, o.Millis)}
	}
	return l
}

// least is the smaller of two limits, where zero is none.
func least(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
