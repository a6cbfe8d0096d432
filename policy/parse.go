package policy

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of what is read. The YAML parser is recursive, so depth needs one.
const (
	maxFile   = 64 << 20
	maxDepth  = 32  // of flow collections
	maxIndent = 200 // columns of a block collection
	maxErrors = 100
)

// Parse reads the resources of one file. References between them are not
// checked, which [Load] does. The error is a *SyntaxError.
func Parse(name string, data []byte) ([]Document, error) {
	return ParseFile(File{Name: name, Data: data})
}

// ParseFile is Parse of a File, which may be an object of the cluster.
func ParseFile(f File) ([]Document, error) {
	p := &problems{}
	docs := parse(f, p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return docs, nil
}

// parse adds what is wrong to p and returns what could be read.
func parse(f File, p *problems) []Document {
	name, data := f.Name, f.Data
	if f.Object {
		d := &decoder{file: name, object: true, problems: p}
		if root, ok := d.json(data); ok {
			if doc, ok := d.document(root); ok {
				return []Document{doc}
			}
		}
		return nil
	}
	if len(data) > maxFile {
		p.add(Position{File: name, Line: 1, Column: 1}, "file is larger than %d MiB", maxFile>>20)
		return nil
	}
	if at := invalidUTF8(data); at >= 0 {
		p.add(place(name, data, at), "not UTF-8 text")
		return nil
	}
	var docs []Document
	for _, part := range split(data) {
		d := &decoder{file: name, offset: part.line, problems: p}
		root, ok := d.tree(part.text)
		if !ok || root == nil {
			continue
		}
		if doc, ok := d.document(root); ok {
			docs = append(docs, doc)
		}
	}
	return docs
}

// A part is one YAML document and the number of lines before it.
type part struct {
	text []byte
	line int
}

// split cuts a stream at its document markers, which in YAML may appear in no
// scalar. The parser is not trusted with it: it loses what follows an empty
// document, and a lost document could be the one that denies.
func split(data []byte) []part {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var parts []part
	start, startLine, line := 0, 0, 0
	for at := 0; at < len(data); line++ {
		end := len(data)
		if n := bytes.IndexByte(data[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		if text, marker := afterMarker(data[at:end]); marker {
			parts = append(parts, part{data[start:at], startLine})
			// The rest of a marker's line belongs to the next document.
			start, startLine = end-len(text), line
		}
		at = end
	}
	return append(parts, part{data[start:], startLine})
}

// afterMarker returns what follows "---" or "..." in a line that starts with it.
func afterMarker(line []byte) ([]byte, bool) {
	for _, m := range []string{"---", "..."} {
		rest, found := bytes.CutPrefix(line, []byte(m))
		if found && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0) {
			return rest, true
		}
	}
	return nil, false
}

// tree parses one document. The root is nil if it is empty.
func (d *decoder) tree(text []byte) (root ast.Node, ok bool) {
	defer func() {
		// The parser reads a file that an operator wrote; a mistake of its own must
		// refuse that file and not end the process that guards the sessions.
		if r := recover(); r != nil {
			d.problems.add(d.at(1, 1), "not readable as YAML")
			root, ok = nil, false
		}
	}()
	tokens := lexer.Tokenize(string(text))
	if !d.shallow(tokens) {
		return nil, false
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		var e yaml.Error
		if errors.As(err, &e) && e.GetToken() != nil && e.GetToken().Position != nil {
			d.problems.add(d.pos(e.GetToken()), "%s", e.GetMessage())
		} else {
			d.problems.add(d.at(1, 1), "not readable as YAML")
		}
		return nil, false
	}
	keys := 0
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			d.problems.add(d.pos(doc.Body.GetToken()), "a second document without \"---\" before it")
			return nil, false
		}
		root = doc.Body
		keys += countKeys(root)
	}
	if want := countColons(tokens); keys != want {
		d.problems.add(d.at(1, 1), "not readable as YAML: %d keys in the text, %d understood", want, keys)
		return nil, false
	}
	return root, true
}

// shallow refuses what is nested so deeply that a recursive parser is in danger,
// and what makes a document other than what it looks like.
func (d *decoder) shallow(tokens token.Tokens) bool {
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.DirectiveType:
			d.problems.add(d.pos(t), "directives are not supported")
			return false
		case token.MappingKeyType:
			d.problems.add(d.pos(t), "\"?\" keys are not supported: write \"key: value\"")
			return false
		case token.SequenceEntryType, token.MappingValueType:
			if depth == 0 && t.Type == token.SequenceEntryType && t.Position.Column > maxIndent {
				d.problems.add(d.pos(t), "nested too deeply")
				return false
			}
		}
		if depth > maxDepth || depth == 0 && t.Position != nil && t.Position.IndentNum > maxIndent {
			d.problems.add(d.pos(t), "nested too deeply")
			return false
		}
	}
	return true
}

func countColons(tokens token.Tokens) int {
	n := 0
	for _, t := range tokens {
		if t.Type == token.MappingValueType {
			n++
		}
	}
	return n
}

// countKeys returns the number of "key: value" pairs below n.
func countKeys(n ast.Node) int {
	total := 0
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			total += countKeys(v)
		}
	case *ast.MappingValueNode:
		total = 1 + countKeys(n.Value)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			total += countKeys(v)
		}
	case *ast.AnchorNode:
		total = countKeys(n.Value)
	case *ast.TagNode:
		total = countKeys(n.Value)
	}
	return total
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

func place(name string, data []byte, at int) Position {
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	return Position{File: name, Line: line, Column: at - bytes.LastIndexByte(data[:at], '\n')}
}
