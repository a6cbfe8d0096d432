package postgres

import "sluicegate.io/sluice/protocol"

// queueLimit bounds the replies that are awaited at a time. A client's pipeline
// may be of any length: beyond this its next messages wait.
const queueLimit = 1024

// A reply is what an awaited reply answers.
type reply uint8

const (
	replyParse reply = iota
	replyBind
	replyDescribe // of a statement or a portal
	replyClose
	replyExecute
	replySync
	replyQuery
	replyRefusal // an Execute that fails on purpose, see core.refuse
)

// expect is one awaited reply.
type expect struct {
	reply    reply
	hidden   bool // the message was ours, so its reply is swallowed
	rowsOnly bool // NoData is swallowed
	path     bool // it is part of asking for the search path
	segment  uint64
	st       *statement // of Parse, Describe, Bind
	po       *portal    // of Describe, Bind, Execute
	oldSt    *statement // what it replaced or closed, put back if it never ran
	oldPo    *portal
	run      *run
	why      *protocol.Refusal
	notices  []protocol.Notice
	size     int // of the message
}

// queue is a ring of awaited replies in the order in which they will come.
type queue struct {
	ring       []expect
	first, len int
	boundaries int // replySync and replyQuery among them
	bytes      int64
}

func (q *queue) push(e expect) {
	if q.len == len(q.ring) {
		grown := make([]expect, max(8, 2*len(q.ring)))
		for i := range q.len {
			grown[i] = *q.at(i)
		}
		q.ring, q.first = grown, 0
	}
	if e.reply == replySync || e.reply == replyQuery {
		q.boundaries++
	}
	q.bytes += int64(e.size)
	q.ring[(q.first+q.len)&(len(q.ring)-1)] = e
	q.len++
}

func (q *queue) at(i int) *expect { return &q.ring[(q.first+i)&(len(q.ring)-1)] }

// head returns the next awaited reply, nil if there is none.
func (q *queue) head() *expect {
	if q.len == 0 {
		return nil
	}
	return &q.ring[q.first]
}

func (q *queue) pop() {
	e := &q.ring[q.first]
	if e.reply == replySync || e.reply == replyQuery {
		q.boundaries--
	}
	q.bytes -= int64(e.size)
	*e = expect{}
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.len--
	if q.len == 0 && len(q.ring) > 16 {
		q.ring, q.first = nil, 0
	}
}
