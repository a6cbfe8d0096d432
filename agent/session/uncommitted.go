package session

import "sluicegate.io/sluice/protocol"

// uncommitted explains why a name is unknown to a session that has changed the
// schema in its open transaction: the catalog is read on another connection, which
// sees nothing of it before it is committed.
func uncommitted(j *protocol.Judgement) *protocol.Judgement {
	if j.Refusal == nil {
		return j
	}
	why := *j.Refusal
	why.Detail = "This transaction has changed the schema, and what it made is not known before it is committed."
	why.Hint = "COMMIT first, then use the new object: make and use it in transactions of their own."
	return &protocol.Judgement{Refusal: &why}
}
