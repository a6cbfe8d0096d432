package sql

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// DefaultPath is the search_path of a server that nobody has configured.
const DefaultPath = `"$user", public`

// EffectivePath returns what current_schemas(true) tells in a session whose
// search_path is setting, temporary schemas aside.
func (c *Catalog) EffectivePath(setting string) []string {
	path := []string{}
	for part := range strings.SplitSeq(setting, ",") {
		part = strings.TrimSpace(part)
		if part == `"$user"` || part == "$user" {
			part = c.User
		} else if len(part) > 1 && part[0] == '"' && part[len(part)-1] == '"' {
			part = strings.ReplaceAll(part[1:len(part)-1], `""`, `"`)
		} else {
			part = strings.ToLower(part)
		}
		if c.Schema(part) != nil && !slices.Contains(path, part) {
			path = append(path, part)
		}
	}
	if !slices.Contains(path, "pg_catalog") {
		path = append([]string{"pg_catalog"}, path...)
	}
	return path
}

// SetsPath looks in a text for statements that set search_path, as recordings of
// sessions have to. It returns the last setting, in the form that EffectivePath
// reads; "" is that of the session's start. local says that it ends with the
// transaction.
func SetsPath(text string) (setting string, local, found bool) {
	tree, err := pg.Parse(text)
	if err != nil {
		return "", false, false
	}
	for _, raw := range tree.Stmts {
		switch x := raw.Stmt.GetNode().(type) {
		case *pg.Node_VariableSetStmt:
			s := x.VariableSetStmt
			if s.Kind == pg.VariableSetKind_VAR_RESET_ALL {
				setting, local, found = "", false, true
			}
			if s.Name != "search_path" {
				continue
			}
			setting, local, found = pathValues(s.Args), s.IsLocal, true
		case *pg.Node_DiscardStmt:
			if x.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
				setting, local, found = "", false, true
			}
		}
	}
	return setting, local, found
}

// pathValues joins the operands of SET search_path.
func pathValues(args []*pg.Node) string {
	var parts []string
	for _, a := range args {
		if s := a.GetAConst().GetSval(); s != nil {
			parts = append(parts, `"`+strings.ReplaceAll(s.Sval, `"`, `""`)+`"`)
		}
	}
	return strings.Join(parts, ", ")
}

// Normalize returns a text with $n in place of its constants, for people; what
// cannot be parsed is not told.
func Normalize(text string) string {
	s, err := pg.Normalize(text)
	if err != nil {
		return "(a text that is no SQL)"
	}
	return s
}
