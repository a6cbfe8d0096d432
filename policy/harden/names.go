package harden

import (
	"strconv"
	"strings"
)

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func qualified(schema, name string) string { return quote(schema) + "." + quote(name) }

// literal returns s as an SQL string, whatever standard_conforming_strings is.
func literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// split takes a dotted name apart, as the server prints it.
func split(s string) []string {
	var parts []string
	part, quoted := "", false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && quoted && i+1 < len(s) && s[i+1] == '"':
			part += `"`
			i++
		case c == '"':
			quoted = !quoted
		case c == '.' && !quoted:
			parts, part = append(parts, part), ""
		default:
			part += s[i : i+1]
		}
	}
	return append(parts, part)
}

// do returns a DO block. Names in the body are the database's, and whoever makes
// a table chooses one: the quotes around the body must not be in it.
func do(body string) string {
	tag := "$sluice$"
	for n := 0; strings.Contains(body, tag); n++ {
		tag = "$sluice" + strconv.Itoa(n) + "$"
	}
	return "DO " + tag + " BEGIN " + body + " END " + tag
}
