package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxObject bounds one object of a cluster: etcd takes no more by default.
const maxObject = 2 << 20

// json parses the JSON of one object. It becomes the same tree that YAML does, so
// that one decoder reads both; in place of lines, nodes know their field.
func (d *decoder) json(data []byte) (ast.Node, bool) {
	if len(data) > maxObject {
		d.problems.add(Position{File: d.file}, "larger than %d MiB", maxObject>>20)
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	root, err := jsonNode(dec, "", 0)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = fmt.Errorf("something follows it")
		}
	}
	if err != nil {
		d.problems.add(Position{File: d.file}, "not readable as JSON")
		return nil, false
	}
	return root, true
}

// objectFiles is how the paths of files start that an object may name.
const objectFiles = "/etc/sluice"

// confine refuses what would make who may write a Database of the cluster as mighty as
// root on every node: a command, any variable, any file.
func (d *decoder) confine(spec ast.Node, db *Database) {
	files := []string{db.ClientPasswordFile, db.TLS.CAFile, db.TLS.CertFile, db.TLS.KeyFile}
	for _, c := range db.all() {
		if len(c.PasswordCommand) > 0 || c.PasswordEnv != "" {
			d.errorf(spec, "passwordCommand and passwordEnv are for files of configuration: an object names a passwordSecret")
		}
		files = append(files, c.PasswordFile)
	}
	for _, path := range files {
		if path != "" && (!strings.HasPrefix(path, objectFiles) || strings.Contains(path+"/", "/../")) {
			d.errorf(spec, "the file %q is not below %s, which is what an object may name of a node: use a Secret", clip(path), objectFiles)
		}
	}
}

func jsonNode(dec *json.Decoder, path string, depth int) (ast.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested too deeply")
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	node := func(n ast.Node) (ast.Node, error) {
		n.SetPath(path)
		return n, nil
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return jsonList(dec, path, depth)
		}
		return jsonMapping(dec, path, depth)
	case string:
		return node(ast.String(scalar(t)))
	case bool:
		return node(ast.Bool(scalar(strconv.FormatBool(t))))
	case json.Number:
		if _, err := t.Int64(); err == nil {
			return node(ast.Integer(scalar(t.String())))
		}
		return node(ast.Float(scalar(t.String())))
	}
	return node(ast.Null(scalar("null")))
}

func scalar(s string) *token.Token { return token.New(s, s, &token.Position{Line: 1, Column: 1}) }

func jsonList(dec *json.Decoder, path string, depth int) (ast.Node, error) {
	list := ast.Sequence(scalar("["), true)
	list.SetPath(path)
	for dec.More() {
		n, err := jsonNode(dec, fmt.Sprintf("%s[%d]", path, len(list.Values)), depth+1)
		if err != nil {
			return nil, err
		}
		list.Values = append(list.Values, n)
	}
	_, err := dec.Token()
	return list, err
}

func jsonMapping(dec *json.Decoder, path string, depth int) (ast.Node, error) {
	m := ast.Mapping(scalar("{"), true)
	m.SetPath(path)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		below := name
		if path != "" {
			below = path + "." + name
		}
		value, err := jsonNode(dec, below, depth+1)
		if err != nil {
			return nil, err
		}
		key := ast.String(scalar(name))
		key.SetPath(below)
		m.Values = append(m.Values, ast.MappingValue(scalar(":"), key, value))
	}
	_, err := dec.Token()
	return m, err
}
