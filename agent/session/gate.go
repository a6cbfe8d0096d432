package session

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// Gate is the [protocol.Gate] of one session.
type Gate struct {
	s       *Server
	conn    Conn
	began   time.Time
	name    string
	payer   string // whose budgets it spends
	user    string // at the database
	claimed string // the user that the client named
	// credential is the name of what the session is logged in with, "" for the
	// Database's own, and for the workload's.
	credential string
	subject    policy.Subject
	catalog    *catalog
	log        *record.Log

	// What the next statement is judged by, and until when.
	rules   *Rules
	view    *policy.View
	scanner *mask.Scanner // nil: nothing is looked for
	until   time.Time     // zero: no end
	lapses  uint64
	tokens  tokenState
	byToken bool // the client's password was its token
	expiry  *time.Timer
	stop    context.CancelCauseFunc // ends the session
	running atomic.Int64            // runs that have begun and not ended
	closed  atomic.Bool
	changes bool // DDL ran in the open transaction

	number     uint64
	statements atomic.Uint64
	observes   atomic.Bool
	free       *run

	// Reused, so that recording allocates nothing.
	event     record.Event
	statement record.Statement
	outcome   record.Outcome
	header    record.Columns
}

// run is what a Gate keeps of a protocol.Run.
type run struct {
	number  uint64
	began   time.Time
	left    int   // statements that have not ended
	found   int64 // values that detectors replaced, not told yet
	scanner *mask.Scanner
	next    *run
}

// adopt makes r what the next statement is judged by.
func (g *Gate) adopt(r *Rules, now time.Time) *protocol.Refusal {
	g.rules = r
	g.subject.Workload = r.Set.Enrolled(g.subject.Workload)
	g.payer = g.subject.Account()
	g.view, g.until = r.Set.View(&g.subject, g.conn.Database, now)
	g.observes.Store(g.view.Observe())
	var err error
	if g.scanner, err = r.scanners.of(g.view); err != nil {
		g.rules = nil // so that the next statement comes here again
		return unavailable("a content detector is not available", err, g.s)
	}
	return nil
}

// refresh makes sure that the view is the one in force.
func (g *Gate) refresh(ctx context.Context) *protocol.Refusal {
	now := time.Now()
	rules := g.s.rules.Load()
	if t := g.subject.Token; t != nil && rules != g.rules && !rules.Set.Believes(t) {
		g.forgetToken()
	}
	if g.conn.Token {
		if why := g.freshToken(ctx, rules, now); why != nil {
			return why
		}
	}
	if rules != g.rules || !g.until.IsZero() && !now.Before(g.until) || g.tokens.changed {
		g.tokens.changed = false
		if why := g.adopt(rules, now); why != nil {
			return why
		}
		if why := g.relogin(); why != nil {
			g.rules = nil // so that the next statement comes here again
			return why
		}
	}
	if why := g.lapsed(now); why != nil {
		return why
	}
	return g.spentOut(now)
}

// Epoch changes whenever a judgement made before may not hold any more: other
// rules, another catalog, another token, or one of them has come to its end.
func (g *Gate) Epoch() uint64 {
	if !g.until.IsZero() && !time.Now().Before(g.until) ||
		(g.conn.Token || g.byToken) && (g.subject.Token == nil || !time.Now().Before(g.subject.Token.Expires)) {
		g.lapses++
	}
	// Each counts upwards, so that their sum never comes back to what it was.
	return g.s.epoch.Load() + g.catalog.version.Load() + g.tokens.version + g.lapses
}

// Judge implements [protocol.Gate].
func (g *Gate) Judge(ctx context.Context, q *protocol.Query) *protocol.Judgement {
	began := time.Now()
	q.User = g.user
	if why := g.refresh(ctx); why != nil {
		return &protocol.Judgement{Refusal: why}
	}
	cat, err := g.known(ctx)
	if err != nil {
		return g.noCatalog(ctx, err)
	}
	j, stale := g.judge(ctx, cat, q)
	if stale {
		fresh, err := g.catalog.refresh(ctx, cat)
		if err != nil {
			return g.noCatalog(ctx, err)
		}
		if fresh != cat {
			j, stale = g.judge(ctx, fresh, q)
		}
		if stale && g.changes {
			j = uncommitted(j)
		}
	}
	g.s.o.Traffic.Decision.Observe(time.Since(began))
	if why := g.unseen(j); why != nil {
		return &protocol.Judgement{Refusal: why}
	}
	return j
}

// judge judges q by a catalog when there is room for its text.
func (g *Gate) judge(ctx context.Context, cat *sql.Catalog, q *protocol.Query) (j *protocol.Judgement, stale bool) {
	if len(q.Text) > longText {
		leave := g.s.desk.enter(ctx, g.conn.CgroupID, len(q.Text))
		if leave == nil {
			return &protocol.Judgement{Refusal: withdrawn}, false
		}
		defer leave()
	}
	return g.rules.cache.Judge(cat, g.view, q)
}

// withdrawn is what a client is told that does not wait for the judgement.
var withdrawn = &protocol.Refusal{Code: "57014", Message: "canceling statement due to user request"}

func (g *Gate) noCatalog(ctx context.Context, err error) *protocol.Judgement {
	if ctx.Err() != nil {
		return &protocol.Judgement{Refusal: withdrawn}
	}
	g.s.o.Log.Warn("catalog not readable", "database", g.conn.Database, "error", err)
	return &protocol.Judgement{Refusal: &protocol.Refusal{
		Code: "57P03", Message: "the database's catalog can't be read now, so nothing can be judged",
		Hint: "Try again; if it stays, the operator finds the reason in Sluice's log.",
	}}
}

// Begin implements [protocol.Gate].
func (g *Gate) Begin(ctx context.Context, r *protocol.Run) *protocol.Refusal {
	began := time.Now()
	j := r.Judgement
	if j.Refusal != nil {
		g.Refused(r.Text, j.Refusal)
		return j.Refusal
	}
	if why := held(r); why != nil {
		g.Refused(r.Text, why)
		return why
	}
	if why := g.spend(j, r.First); why != nil {
		g.Refused(r.Text, why)
		return why
	}
	for i := range j.Plans {
		if j.Plans[i].Statement.Tag == protocol.TagDatabase {
			g.s.wire.FlushPool()
			g.s.catalogs.leave(ctx, g.catalog.key.address)
		}
	}
	g.number++
	g.statement = record.Statement{
		Number: g.number, Text: r.Text, Decisions: g.s.words.of(j), Rewritten: j.Text != r.Text,
		Params: r.Params, Formats: r.Formats, Bound: len(r.Params),
	}
	for _, text := range r.InnerText {
		if text != "" {
			// What it runs, which an earlier message had: Parse is not recorded itself.
			g.log.Buffer(&record.Event{Notice: &record.Notice{Number: g.number, Type: "runs", Text: text}})
		}
	}
	g.event = record.Event{Statement: &g.statement}
	err := g.log.Append(&g.event)
	g.statement.Text, g.statement.Params = "", nil
	if err != nil {
		g.number--
		g.s.o.Log.Error("statement refused: it can't be recorded", "session", g.log.ID(), "error", err)
		why := &protocol.Refusal{Code: "58030", Message: "the statement can't be recorded, so it is refused"}
		if errors.Is(err, record.ErrFull) {
			why.Code, why.Detail = "53100", "There is no room left for recordings."
		}
		g.s.o.Traffic.Denials.Add("record", 1)
		return why
	}
	g.statements.Add(1)
	for i := r.First; i < len(j.Plans); i++ {
		if j.Plans[i].Observed {
			g.s.o.Traffic.Observed.Add(j.Plans[i].Rule, 1)
		}
	}
	x := g.free
	if x == nil {
		x = new(run)
	} else {
		g.free = x.next
	}
	*x = run{number: g.number, began: time.Now(), left: 1, scanner: g.scanner}
	if r.First == 0 && len(j.Plans) > 1 {
		x.left = len(j.Plans)
	}
	r.State = x
	g.running.Add(1)
	g.s.o.Traffic.Added.Observe(x.began.Sub(began))
	return nil
}

// held refuses what would wait for a human, whether the text says it or names what
// was prepared before.
func held(r *protocol.Run) *protocol.Refusal {
	hold, rule := r.Judgement.Hold, ""
	for i := range r.Judgement.Plans {
		p := &r.Judgement.Plans[i]
		if i < len(r.Inner) && r.Inner[i] != nil && r.Inner[i].Verdict == protocol.Approve && !r.Inner[i].Observed {
			hold, p = true, r.Inner[i]
		}
		if p.Verdict == protocol.Approve && rule == "" {
			rule = p.Rule
		}
	}
	if !hold {
		return nil
	}
	why := &protocol.Refusal{
		Code: "42501", Message: "this statement needs the approval of a human, and approvals are not available yet",
		Hint: "Ask the operator to run it, or to grant it in the policy.", Rule: rule,
	}
	if rule != "" {
		why.Detail = "Rule " + rule + " asks for approval."
	}
	return why
}

// Refused implements [protocol.Gate].
func (g *Gate) Refused(text string, why *protocol.Refusal) {
	g.s.o.Traffic.Denials.Add(why.Rule, 1)
	g.s.denied.add(g.conn.CgroupID)
	if why.Code != suspendedCode { // being suspended does not use up more
		g.account(policy.Usage{Denials: 1}, time.Now())
	}
	err := g.log.Append(&record.Event{Refusal: &record.Refusal{
		Text: text, Length: len(text), Code: why.Code, Message: why.Message, Detail: why.Detail,
		Hint: why.Hint, Rule: why.Rule, Fatal: why.Fatal,
	}})
	if err != nil {
		g.s.o.Log.Error("refusal not recorded", "session", g.log.ID(), "error", err)
	}
}

// Rows implements [protocol.Gate].
func (g *Gate) Rows(r *protocol.Run, i int, msgs []byte, count int) {
	if x, ok := r.State.(*run); ok {
		g.log.Rows(x.number, i, msgs, count)
	}
}

// End implements [protocol.Gate].
func (g *Gate) End(r *protocol.Run, i int, o protocol.Outcome) {
	x, ok := r.State.(*run)
	if !ok {
		return
	}
	var plan *protocol.Plan
	if i >= 0 && i < len(r.Judgement.Plans) {
		plan = &r.Judgement.Plans[i]
	}
	ran := o.Tag != "" || o.Code != "" || o.Suspended || o.Refused != nil
	took := time.Since(x.began)
	g.outcome = record.Outcome{Number: x.number, Index: i, Tag: o.Tag, Code: o.Code,
		Rows: o.Rows, Bytes: o.Bytes, Micros: took.Microseconds()}
	if o.Refused != nil {
		g.outcome.Code = o.Refused.Code
	}
	if plan != nil && ran {
		g.outcome.MaskedValues = g.count(plan, r.Inner, i, &o) + x.found
		x.found = 0
		g.s.o.Traffic.Statement(action(plan), plan.Verdict)
		g.follow(plan, &o)
		if i < len(r.Inner) && r.Inner[i] != nil {
			g.follow(r.Inner[i], &o)
		}
	}
	g.event = record.Event{Outcome: &g.outcome}
	g.log.Buffer(&g.event)
	if o.Refused != nil {
		g.Refused("", o.Refused)
	}
	if x.left--; x.left <= 0 {
		g.running.Add(-1)
		r.State = nil
		x.next, g.free = g.free, x
	}
}

// count counts masked values by tag, and returns their sum.
func (g *Gate) count(plan *protocol.Plan, inner []*protocol.Plan, i int, o *protocol.Outcome) int64 {
	if o.Code != "" {
		g.s.o.Traffic.Errors.Add(o.Code, 1)
	}
	if o.Rows > 0 {
		g.account(policy.Usage{Rows: o.Rows}, time.Now())
	}
	columns := plan.Columns
	if i < len(inner) && inner[i] != nil {
		columns = inner[i].Columns
	}
	if o.Rows == 0 || !plan.Returns && len(columns) == 0 {
		return 0
	}
	var sum int64
	for c := range columns {
		if columns[c].Sensitive {
			g.s.o.Traffic.Masked.Add(columns[c].Tag, uint64(o.Rows))
			sum += o.Rows
		}
	}
	return sum
}

// action returns what a statement counts as.
func action(p *protocol.Plan) protocol.Action {
	for i := range p.Statement.Accesses {
		if a := p.Statement.Accesses[i].Action; a != protocol.Select {
			return a
		}
	}
	if len(p.Statement.Accesses) > 0 {
		return protocol.Select
	}
	return protocol.ActionUnknown
}

// follow notices when the catalog may have changed by this session's doing.
func (g *Gate) follow(plan *protocol.Plan, o *protocol.Outcome) {
	for i := range plan.Statement.Accesses {
		switch plan.Statement.Accesses[i].Action {
		case protocol.Create, protocol.Alter, protocol.Drop, protocol.Grant, protocol.Call:
			g.changes = true
		}
	}
	if !plan.Statement.Understood && mayDefine(plan) { // it ran because nothing is enforced
		g.changes = true
	}
	if !g.changes {
		return
	}
	// What ran in a transaction is seen by others at its end, so both count.
	g.catalog.suspect()
	if plan.Effect.Kind == protocol.End {
		g.changes = false
	}
}

// close records the end of the session and gives back what it held.
func (g *Gate) close(ctx context.Context, err error) {
	g.s.mu.Lock()
	delete(g.s.live, g)
	g.s.mu.Unlock()
	g.closed.Store(true)
	if g.expiry != nil {
		g.expiry.Stop()
	}
	g.s.catalogs.detach(g.catalog)
	g.s.leave(&g.conn)
	g.s.o.Traffic.Sessions.Add(-1)
	reason, detail := "terminate", ""
	switch {
	case ctx.Err() != nil:
		reason = "shutdown"
	case err != nil:
		reason, detail = "failed", err.Error()
	}
	g.s.o.Traffic.Ended.Add(reason, 1)
	if err := g.log.End(reason, detail); err != nil {
		g.s.o.Log.Error("end of session not recorded", "session", g.log.ID(), "error", err)
	}
}

func viewName(v *policy.View) string { return strings.Join(v.Policies(), ",") }
