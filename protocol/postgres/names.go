package postgres

import "sluicegate.io/sluice/protocol"

// statement is a prepared statement, named or not, made by Parse or by PREPARE.
// Both share one name space on the server, and so they do here.
type statement struct {
	name      string
	text      string // as the workload wrote it
	types     []uint32
	judgement *protocol.Judgement
	view      view
	segment   uint64 // in which it was made
	confirmed bool   // the server said so
	sql       bool   // made by PREPARE: judgement is of the inner statement
	// shape is the last RowDescription seen, and columns what it says.
	shape   []byte
	columns []protocol.ResultColumn
	costs   int64 // what it was counted for when it was named
}

// view is what a judgement depends on beside its text.
type view struct{ path, epoch uint64 }

// portal is a bound statement or a cursor; they share one name space too.
type portal struct {
	name      string
	st        *statement
	judgement *protocol.Judgement
	text      string
	bind      []byte // body of its Bind message, nil for a cursor
	fresh     bool   // bind is still a slice of the client's buffer
	segment   uint64
	confirmed bool
	cursor    bool // made by DECLARE
	done      bool // executed to its end
	described bool // a Describe has been sent
	columns   []protocol.ResultColumn
	returns   bool // columns is what the server said
	costs     int64
}

// names is what a session has prepared and opened. The unnamed ones are kept
// apart, since they come and go with every statement of most drivers.
type names struct {
	statements map[string]*statement
	portals    map[string]*portal
	statement0 *statement
	portal0    *portal
	bytes      int64 // what the named ones cost, as they were when they were named
}

func (n *names) statement(name []byte) *statement {
	if len(name) == 0 {
		return n.statement0
	}
	return n.statements[string(name)]
}

func (n *names) portal(name []byte) *portal {
	if len(name) == 0 {
		return n.portal0
	}
	return n.portals[string(name)]
}

// setStatement makes st what name means, nothing if st is nil.
func (n *names) setStatement(name string, st *statement) {
	switch {
	case name == "":
		n.statement0 = st
	default:
		if old := n.statements[name]; old != nil {
			n.bytes -= old.costs
			delete(n.statements, name)
		}
		if st == nil {
			return
		}
		if n.statements == nil {
			n.statements = make(map[string]*statement)
		}
		st.costs = st.cost()
		n.bytes += st.costs
		n.statements[name] = st
	}
}

func (n *names) setPortal(name string, po *portal) {
	switch {
	case name == "":
		n.portal0 = po
	default:
		if old := n.portals[name]; old != nil {
			n.bytes -= old.costs
			delete(n.portals, name)
		}
		if po == nil {
			return
		}
		if n.portals == nil {
			n.portals = make(map[string]*portal)
		}
		po.costs = po.cost()
		n.bytes += po.costs
		n.portals[name] = po
	}
}

// endTransaction forgets the portals that a transaction's end has closed, up to
// and including those of segment. Cursors may be WITH HOLD, so they stay known:
// the server says if they are gone.
func (n *names) endTransaction(segment uint64) {
	if n.portal0 != nil && n.portal0.segment <= segment {
		n.portal0 = nil
	}
	for name, po := range n.portals {
		if !po.cursor && po.segment <= segment {
			n.setPortal(name, nil)
		}
	}
}

// undo takes back what e did to the names, since its message never ran. What a
// later message has made of a name meanwhile stays.
func (n *names) undo(e *expect) {
	switch e.reply {
	case replyParse:
		if e.st != nil && n.statement([]byte(e.st.name)) == e.st {
			n.setStatement(e.st.name, e.oldSt)
		}
	case replyBind:
		if e.po != nil && n.portal([]byte(e.po.name)) == e.po {
			n.setPortal(e.po.name, e.oldPo)
		}
	case replyClose, replyQuery:
		if e.oldSt != nil && n.statement([]byte(e.oldSt.name)) == nil {
			n.setStatement(e.oldSt.name, e.oldSt)
		}
		if e.oldPo != nil && n.portal([]byte(e.oldPo.name)) == nil {
			n.setPortal(e.oldPo.name, e.oldPo)
		}
	}
}

// apply does what a statement that has succeeded does to the names.
func (n *names) apply(e *protocol.Effect, j *protocol.Judgement, v view) {
	switch e.Kind {
	case protocol.Prepares:
		if e.Inner != nil {
			n.setStatement(e.Name, &statement{name: e.Name, text: e.Text, sql: true, confirmed: true, view: v,
				judgement: inner(e, j)})
		}
	case protocol.Declares:
		if e.Inner != nil {
			n.setPortal(e.Name, &portal{name: e.Name, text: e.Text, cursor: true, confirmed: true,
				judgement: inner(e, j)})
		}
	case protocol.Deallocates:
		n.deallocate(e.Name)
	case protocol.Closes:
		n.closePortals(e.Name)
	case protocol.Discards:
		n.deallocate("")
		n.closePortals("")
		n.statement0, n.portal0 = nil, nil
	}
}

// deallocate forgets a prepared statement, all for "".
func (n *names) deallocate(name string) {
	if name != "" {
		n.setStatement(name, nil)
		return
	}
	for name := range n.statements {
		n.setStatement(name, nil)
	}
}

// closePortals forgets a portal, all but the unnamed one for "".
func (n *names) closePortals(name string) {
	if name != "" {
		n.setPortal(name, nil)
		return
	}
	for name := range n.portals {
		n.setPortal(name, nil)
	}
}

// inner is the judgement of what PREPARE or DECLARE names.
func inner(e *protocol.Effect, j *protocol.Judgement) *protocol.Judgement {
	return &protocol.Judgement{Text: e.Text, Plans: []protocol.Plan{*e.Inner}, Named: j.Named,
		Hold: e.Inner.Verdict == protocol.Approve}
}

// touchesNames reports whether e changes what names mean once its statement is done.
func touchesNames(e *protocol.Effect) bool {
	switch e.Kind {
	case protocol.Prepares, protocol.Declares, protocol.Deallocates, protocol.Closes, protocol.Discards, protocol.AnyEffect:
		return true
	}
	return false
}
