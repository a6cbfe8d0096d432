package postgres_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"sluicegate.io/sluice/protocol"
)

// gate allows everything, but for what comments in the text ask of it:
//
//	/*deny*/      the text is refused
//	/*begin*/     Begin refuses
//	/*hold*/      Begin waits for release, or the end of its context
//	/*slow*/      Judge waits for the end of its context
//	/*named*/     depends on the path; a table "spliced" becomes the path's first schema
//	/*sensitive*/ reads what is sensitive
//	/*rows=N*/ /*bytes=N*/ /*millis=N*/ /*affected=N*/ limits
//	/*scan*/      first column is looked into: "secret" becomes "***"
//	/*shape*/     the shape is refused
//	/*stays*/     leaves what a reset does not take back
type gate struct {
	mu       sync.Mutex
	calls    []string
	begun    int
	ended    int
	rows     int64
	shapes   int
	outcomes []protocol.Outcome
	release  chan *protocol.Refusal
	cache    map[string]*protocol.Judgement
	quiet    bool
	mask     string
}

func newGate() *gate {
	return &gate{release: make(chan *protocol.Refusal), cache: map[string]*protocol.Judgement{}}
}

func (g *gate) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.quiet {
		g.calls = append(g.calls, fmt.Sprintf(format, args...))
	}
}

func (g *gate) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.calls, "\n")
}

var limitPattern = regexp.MustCompile(`/\*(rows|bytes|millis|affected)=(\d+)\*/`)

func (g *gate) Judge(ctx context.Context, q *protocol.Query) *protocol.Judgement {
	key := fmt.Sprint(q.Text, q.Parse, q.Path == nil, q.Path, g.mask)
	g.mu.Lock()
	j := g.cache[key]
	g.mu.Unlock()
	if j != nil {
		return j
	}
	if strings.Contains(q.Text, "/*slow*/") {
		g.note("slow")
		<-ctx.Done()
		g.note("slow over")
		return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "57014", Message: "canceling statement due to user request"}}
	}
	g.note("judge %s path=%v", q.Text, q.Path)
	j = g.judge(q)
	g.mu.Lock()
	g.cache[key] = j
	g.mu.Unlock()
	return j
}

func (g *gate) judge(q *protocol.Query) *protocol.Judgement {
	if strings.Contains(q.Text, "/*deny*/") {
		return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "42501", Message: "denied by test", Detail: "rule t/deny", Hint: "ask nicely"}}
	}
	j := &protocol.Judgement{Text: q.Text}
	j.Named = strings.Contains(q.Text, "/*named*/")
	j.Hold = strings.Contains(q.Text, "/*hold*/")
	if at := strings.Index(q.Text, "spliced"); at >= 0 {
		with := "(select '" + g.mask + "'::text as v)"
		if j.Named && len(q.Path) > 0 {
			with = "(select '" + q.Path[len(q.Path)-1] + g.mask + "'::text as v)"
		}
		j.Text = q.Text[:at] + with + q.Text[at+7:]
		j.Edits = []protocol.Edit{{At: at, Length: 7, Added: len(with)}}
	}
	if strings.Contains(q.Text, "/*notice*/") {
		j.Notices = []protocol.Notice{{Message: "masked for you"}}
	}
	tree, err := pg_query.Parse(j.Text)
	if err != nil {
		j.Plans = []protocol.Plan{{Verdict: protocol.Allow}}
		return j
	}
	for _, s := range tree.Stmts {
		p := plan(s.Stmt, j.Text)
		p.Resets = !strings.Contains(q.Text, "/*stays*/")
		if p.Effect.Inner != nil {
			p.Effect.Inner.Resets = p.Resets
		}
		p.Sensitive = strings.Contains(q.Text, "/*sensitive*/")
		for _, m := range limitPattern.FindAllStringSubmatch(q.Text, -1) {
			n, _ := strconv.ParseInt(m[2], 10, 64)
			switch m[1] {
			case "rows":
				p.Limits.Rows = n
			case "bytes":
				p.Limits.Bytes = n
			case "millis":
				p.Limits.Millis = n
			case "affected":
				p.Limits.Affected = n
			}
		}
		if strings.Contains(q.Text, "/*scan*/") {
			p.Columns = []protocol.Column{{Scan: true}}
			if p.Effect.Kind == protocol.CopiesOut {
				p.Copy, p.Columns = &protocol.Copy{Columns: []protocol.Column{{Scan: true}, {}}, Delimiter: '\t'}, nil
				if strings.Contains(strings.ToLower(q.Text), "csv") {
					p.Copy.CSV, p.Copy.Delimiter, p.Copy.Quote, p.Copy.Escape = true, ',', '"', '"'
				}
			}
		}
		j.Plans = append(j.Plans, p)
	}
	return j
}

func plan(n *pg_query.Node, text string) protocol.Plan {
	p := protocol.Plan{Verdict: protocol.Allow, Returns: true}
	e := &p.Effect
	switch s := n.Node.(type) {
	case *pg_query.Node_TransactionStmt:
		p.Returns = false
		switch s.TransactionStmt.Kind {
		case pg_query.TransactionStmtKind_TRANS_STMT_BEGIN, pg_query.TransactionStmtKind_TRANS_STMT_START:
			e.Kind = protocol.Begin
		case pg_query.TransactionStmtKind_TRANS_STMT_SAVEPOINT, pg_query.TransactionStmtKind_TRANS_STMT_RELEASE, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
			e.Kind = protocol.Savepoint
		default:
			e.Kind = protocol.End
		}
	case *pg_query.Node_VariableSetStmt:
		p.Returns = false
		if s.VariableSetStmt.Name == "search_path" {
			e.Kind = protocol.ChangesPath
		}
	case *pg_query.Node_PrepareStmt:
		p.Returns = false
		e.Kind, e.Name = protocol.Prepares, s.PrepareStmt.Name
		in := plan(s.PrepareStmt.Query, text)
		e.Inner, e.Text = &in, "inner"
		if len(text) > 1000 {
			e.Text = text
		}
	case *pg_query.Node_ExecuteStmt:
		e.Kind, e.Name = protocol.Executes, s.ExecuteStmt.Name
	case *pg_query.Node_DeallocateStmt:
		p.Returns = false
		e.Kind, e.Name = protocol.Deallocates, s.DeallocateStmt.Name
	case *pg_query.Node_DeclareCursorStmt:
		p.Returns = false
		in := protocol.Plan{Verdict: protocol.Allow, Returns: true}
		e.Kind, e.Name, e.Inner = protocol.Declares, s.DeclareCursorStmt.Portalname, &in
	case *pg_query.Node_FetchStmt:
		e.Kind, e.Name = protocol.Fetches, s.FetchStmt.Portalname
	case *pg_query.Node_ClosePortalStmt:
		p.Returns = false
		e.Kind, e.Name = protocol.Closes, s.ClosePortalStmt.Portalname
	case *pg_query.Node_DiscardStmt:
		p.Returns = false
		e.Kind = protocol.Discards
	case *pg_query.Node_CopyStmt:
		p.Returns = false
		e.Kind = protocol.CopiesOut
		if s.CopyStmt.IsFrom {
			e.Kind = protocol.CopiesIn
		}
	}
	return p
}

func (g *gate) Begin(ctx context.Context, r *protocol.Run) *protocol.Refusal {
	g.note("begin %s %q", r.Text, r.Params)
	if strings.Contains(r.Text, "/*begin*/") {
		return &protocol.Refusal{Code: "42501", Message: "not begun by test"}
	}
	if strings.Contains(r.Text, "/*hold*/") {
		r.Notify(protocol.Notice{Message: "held as request 7"})
		select {
		case why := <-g.release:
			if why != nil {
				return why
			}
		case <-ctx.Done():
			g.note("hold over: %v", context.Cause(ctx))
			return &protocol.Refusal{Code: "57014", Message: "canceling statement due to user request"}
		}
	}
	g.mu.Lock()
	g.begun += len(r.Judgement.Plans)
	g.mu.Unlock()
	return nil
}

func (g *gate) Refused(text string, why *protocol.Refusal) { g.note("refused %s %s", text, why.Code) }

func (g *gate) Shape(r *protocol.Run, i int, columns []protocol.ResultColumn) *protocol.Refusal {
	g.note("shape %d of %s: %d", i, r.Text, len(columns))
	g.mu.Lock()
	g.shapes++
	g.mu.Unlock()
	if strings.Contains(r.Text, "/*shape*/") {
		return &protocol.Refusal{Code: "42501", Message: "not the shape that was judged", Fatal: true}
	}
	return nil
}

func (g *gate) Rows(r *protocol.Run, i int, msgs []byte, count int) {
	g.mu.Lock()
	g.rows += int64(count)
	g.mu.Unlock()
}

func (g *gate) End(r *protocol.Run, i int, o protocol.Outcome) {
	g.note("end %d of %s: %s %s rows=%d suspended=%v", i, r.Text, o.Tag, o.Code, o.Rows, o.Suspended)
	g.mu.Lock()
	g.ended++
	if !g.quiet {
		g.outcomes = append(g.outcomes, o)
	}
	g.mu.Unlock()
}

func (g *gate) Value(r *protocol.Run, i, column int, value []byte) ([]byte, bool) {
	if string(value) == "secret" {
		return []byte("***"), true
	}
	return value, false
}
