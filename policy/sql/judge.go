package sql

import (
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/protocol"
)

// Options tune how texts are judged. The zero value is production.
type Options struct {
	MaxLength int // bytes of a text; default: 1 MiB
	MaxDepth  int // nesting of a text; default: 1000
	// Key gives the key of the hash mask of a tag. Without it a hash mask reads as NULL.
	Key func(tag string) mask.Key
}

// Judge decides about every statement of a text: what it does, whether v allows
// that, and what the server gets instead of the text. It never returns nil, and
// one refused statement refuses the whole text. It does no I/O, and the result
// is the same for the same text, path, v and c.
//
// stale says that the text names something that c does not know: a caller whose
// catalog may be old loads it again and asks once more.
func Judge(c *Catalog, v *policy.View, q *protocol.Query, o Options) (j *protocol.Judgement, stale bool) {
	return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "0A000", Message: "statements are not judged yet"}}, false
}
