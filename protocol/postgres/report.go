package postgres

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"

	"sluicegate.io/sluice/protocol"
)

// appendReport appends an ErrorResponse ('E') or NoticeResponse ('N').
func appendReport(dst []byte, kind byte, severity string, r *protocol.Refusal) []byte {
	at := len(dst)
	dst = append(dst, kind, 0, 0, 0, 0)
	field := func(code byte, value string) {
		if value != "" {
			dst = append(append(append(dst, code), value...), 0)
		}
	}
	field('S', severity)
	field('V', severity)
	field('C', orDefault(r.Code, "XX000"))
	field('M', orDefault(r.Message, "refused"))
	field('D', r.Detail)
	field('H', r.Hint)
	if r.Position > 0 {
		field('P', strconv.Itoa(r.Position))
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-1))
	return dst
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// appendNotice appends n as a NoticeResponse.
func appendNotice(dst []byte, n protocol.Notice) []byte {
	return appendReport(dst, 'N', "NOTICE", &protocol.Refusal{
		Code: orDefault(n.Code, "00000"), Message: n.Message, Detail: n.Detail, Hint: n.Hint})
}

// reportField returns the value of field code in the body of an ErrorResponse
// or NoticeResponse, nil if it is not there.
func reportField(body []byte, code byte) []byte {
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cstring(body[1:])
		if !ok {
			return nil
		}
		if body[0] == code {
			return value
		}
		body = rest
	}
	return nil
}

// fatalReport tells whether the body of an ErrorResponse says that the server ends the session.
func fatalReport(body []byte) bool {
	s := reportField(body, 'V')
	if s == nil {
		s = reportField(body, 'S')
	}
	return string(s) == "FATAL" || string(s) == "PANIC"
}

// rewriteReport appends the report with body as the workload may see it: its
// position told in terms of the workload's text, and nothing of it that can hold
// a value if redact.
func rewriteReport(dst []byte, kind byte, body []byte, redact bool, text string, j *protocol.Judgement) []byte {
	at := len(dst)
	dst = append(dst, kind, 0, 0, 0, 0)
	code := string(reportField(body, 'C'))
	for len(body) > 1 && body[0] != 0 {
		field := body[0]
		value, rest, ok := cstring(body[1:])
		if !ok {
			break
		}
		body = rest
		switch field {
		case 'P':
			if j != nil && len(j.Edits) > 0 {
				if n, err := strconv.Atoi(string(value)); err == nil {
					value = strconv.AppendInt(nil, int64(position(text, j, n)), 10)
				}
			}
		case 'M':
			if redact {
				value = []byte(withheld(code))
			}
		case 'S', 'V', 'C', 's', 't', 'c', 'd', 'n', 'F', 'L', 'R':
		default: // D, H, W, q, p, and whatever a later server may add
			if redact {
				continue
			}
		}
		dst = append(append(append(dst, field), value...), 0)
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-1))
	return dst
}

// position maps a character position from 1 in the judgement's text to one in
// the workload's.
func position(text string, j *protocol.Judgement, pos int) int {
	at := 0 // byte offset in j.Text
	for i := 1; i < pos && at < len(j.Text); i++ {
		_, n := utf8.DecodeRuneInString(j.Text[at:])
		at += n
	}
	shift := 0 // of the text behind the edits so far, theirs minus ours
	for _, e := range j.Edits {
		start := e.At + shift
		if at < start {
			break
		}
		if at < start+e.Added {
			at, shift = e.At, 0
			return utf8.RuneCountInString(text[:min(at, len(text))]) + 1
		}
		shift += e.Added - e.Length
	}
	at = max(0, min(at-shift, len(text)))
	return utf8.RuneCountInString(text[:at]) + 1
}

// withheld is what stands for a message that may hold a value.
func withheld(code string) string {
	const tail = " (details withheld: the statement reads sensitive data)"
	if what, ok := conditions[code]; ok {
		return what + tail
	}
	if len(code) == 5 {
		if what, ok := classes[code[:2]]; ok {
			return what + tail
		}
	}
	return "error" + tail
}

var conditions = map[string]string{
	"22P02": "invalid input syntax", "22012": "division by zero", "22003": "value out of range",
	"22001": "value too long", "22007": "invalid date or time format", "22008": "date or time out of range",
	"22P03": "invalid binary format", "22021": "invalid byte sequence", "23502": "null value violates not-null constraint",
	"23503": "foreign key constraint violated", "23505": "duplicate key value violates unique constraint",
	"23514": "check constraint violated", "23P01": "exclusion constraint violated", "25P02": "current transaction is aborted, commands ignored until end of transaction block",
	"40001": "could not serialize access", "40P01": "deadlock detected", "42501": "permission denied",
	"42601": "syntax error", "42P01": "relation does not exist", "42703": "column does not exist",
	"42883": "function or operator does not exist", "42804": "datatype mismatch", "55P03": "could not obtain lock",
	"57014": "canceling statement", "57P01": "terminating connection due to administrator command",
	"P0001": "exception raised by a function", "00000": "notice",
}

var classes = map[string]string{
	"00": "notice", "01": "warning", "02": "no data", "08": "connection exception", "0A": "feature not supported",
	"21": "cardinality violation", "22": "data exception", "23": "integrity constraint violation",
	"25": "invalid transaction state", "26": "invalid prepared statement", "28": "invalid authorization",
	"34": "invalid cursor", "40": "transaction rollback", "42": "syntax error or access rule violation",
	"53": "insufficient resources", "54": "program limit exceeded", "55": "object not in prerequisite state",
	"57": "operator intervention", "58": "system error", "P0": "PL/pgSQL error", "XX": "internal error",
}
