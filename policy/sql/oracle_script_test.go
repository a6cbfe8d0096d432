//go:build oracle

package sql_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// script reads one file of PostgreSQL's regression suite as a list of
// statements. What only psql understands is left out: backslash commands, the
// data of COPY, statements with psql's variables. Temporary tables and views
// become ordinary ones, since a catalog has none.
func script(t *testing.T, file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	var text strings.Builder
	flush := func() {
		out = append(out, split(text.String())...)
		text.Reset()
	}
	copying := false
	for line := range strings.Lines(string(b)) {
		switch {
		case copying:
			copying = strings.TrimSpace(line) != `\.`
		case strings.HasPrefix(strings.TrimSpace(line), `\`):
			flush()
		case fromStdin.MatchString(line):
			flush()
			copying = true
		default:
			// A backslash command may end a statement.
			if i := trailing.FindStringIndex(line); i != nil {
				line = line[:i[0]] + ";\n"
			}
			text.WriteString(line)
			if strings.HasSuffix(strings.TrimSpace(line), ";") && text.Len() > 20_000 {
				flush()
			}
		}
	}
	flush()
	return out
}

var (
	fromStdin = regexp.MustCompile(`(?i)^\s*copy\b.*\bfrom\s+stdin`)
	trailing  = regexp.MustCompile(`\s*\\(gset|gexec|gdesc|g|gx|crosstabview|;).*$`)
	temporary = regexp.MustCompile(`(?i)^(create\s+(?:or\s+replace\s+)?)(?:local\s+|global\s+)?temp(?:orary)?\s+`)
)

func split(text string) []string {
	stmts, err := pg.SplitWithScanner(text, true)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range stmts {
		s = stripComments(s)
		if s == "" || strings.Contains(s, ":'") || strings.Contains(s, `:"`) {
			continue
		}
		out = append(out, temporary.ReplaceAllString(s, "$1"))
	}
	return out
}

// stripComments removes the line comments and blanks before a statement.
func stripComments(s string) string {
	for {
		s = strings.TrimSpace(s)
		if !strings.HasPrefix(s, "--") {
			return s
		}
		_, s, _ = strings.Cut(s, "\n")
	}
}

// oracleFiles are the files of the suite that read tables most. All others are
// run too where SLUICE_ORACLE_FILES is "all".
func oracleFiles(t *testing.T, dir string) []string {
	names := "select select_into select_distinct select_having subselect union case join aggregates groupingsets limit window with " +
		"rowtypes rangefuncs tsrf inherit arrays json jsonb jsonb_jsonpath rangetypes multirangetypes text strings numeric date timestamp " +
		"timestamptz interval tsearch xml create_view rules select_views portals tablesample matview polymorphism geometry inet uuid enum " +
		"create_index hash_index partition_prune partition_join updatable_views equivclass sqljson merge returning insert_conflict generated identity"
	if f := os.Getenv("SLUICE_ORACLE_FILES"); f == "all" {
		all, _ := filepath.Glob(filepath.Join(dir, "sql", "*.sql"))
		return all
	} else if f != "" {
		names = f
	}
	var out []string
	for n := range strings.FieldsSeq(names) {
		f := filepath.Join(dir, "sql", n+".sql")
		if _, err := os.Stat(f); err == nil {
			out = append(out, f)
		}
	}
	return out
}
