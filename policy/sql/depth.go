package sql

import (
	"strings"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// shortText needs no look at its nesting: it has not the room.
const shortText = 1 << 10

// tooDeep bounds how deep the parse tree of a text can get, from its tokens,
// which are read without recursion. Parentheses nest, and every operator since
// the last comma or AND may hang below the next.
func tooDeep(text string, limit int) bool {
	if len(text) <= shortText {
		return false
	}
	r, err := pg.Scan(text)
	if err != nil {
		return false // the parser will say what is wrong, and gets no further
	}
	// chain starts again at a comma, chained at the end of the level only: joins and
	// set operations hang below the next whatever stands between.
	type level struct{ chain, chained int }
	levels := make([]level, 1, 64)
	below := 0 // of all open levels
	for _, t := range r.Tokens {
		l := &levels[len(levels)-1]
		switch t.Token {
		case pg.Token_ASCII_40, pg.Token_ASCII_91, pg.Token_CASE:
			below += l.chain + l.chained + 1
			levels = append(levels, level{})
		case pg.Token_ASCII_41, pg.Token_ASCII_93, pg.Token_END_P:
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
				below -= levels[len(levels)-1].chain + levels[len(levels)-1].chained + 1
			}
			levels[len(levels)-1].chain++
		case pg.Token_ASCII_59:
			*l = level{}
		case pg.Token_JOIN, pg.Token_UNION, pg.Token_EXCEPT, pg.Token_INTERSECT:
			l.chained++
		case pg.Token_ASCII_44, pg.Token_AND, pg.Token_OR, pg.Token_WHEN, pg.Token_THEN, pg.Token_ELSE:
			l.chain = 0
		case pg.Token_IDENT, pg.Token_UIDENT, pg.Token_ICONST, pg.Token_FCONST, pg.Token_SCONST, pg.Token_PARAM, pg.Token_ASCII_46:
		default:
			l.chain++
		}
		if l = &levels[len(levels)-1]; below+l.chain+l.chained > limit {
			return true
		}
	}
	return false
}

// syntaxError words what the parser says.
func syntaxError(err error) *protocol.Refusal {
	msg := strings.TrimSpace(err.Error())
	if strings.Contains(msg, "recursion depth") || strings.Contains(msg, "memory exhausted") || strings.Contains(msg, "stack depth") {
		return &protocol.Refusal{Code: "54001", Message: "the text is nested too deep"}
	}
	return &protocol.Refusal{Code: "42601", Message: msg}
}
