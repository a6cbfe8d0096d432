package policy

import (
	"github.com/goccy/go-yaml/ast"
)

// apiVersion is what every document starts with.
const apiVersion = "sluicegate.io/v1alpha1"

// document decodes one resource.
func (d *decoder) document(root ast.Node) (Document, bool) {
	doc := Document{Pos: d.where(root)}
	pairs, ok := d.pairs(root, "a document")
	if !ok {
		return doc, false
	}
	// The kind decides how to read the rest, wherever it stands.
	for _, kv := range pairs {
		if k, ok := ast.Node(kv.Key).(*ast.StringNode); ok && k.Value == "kind" {
			choice(d, &doc.Kind, "kind",
				word[string]{"Database", "Database"}, word[string]{"Policy", "Policy"},
				word[string]{"Workload", "Workload"}, word[string]{"Agent", "Agent"},
				word[string]{"Grant", "Grant"})(kv.Value)
			if doc.Kind == "" {
				return doc, false
			}
		}
	}
	if doc.Kind == "" {
		d.errorf(root, `a document needs "kind": Database, Policy, Workload, Agent or Grant`)
		return doc, false
	}
	before := len(d.problems.list)
	var spec ast.Node
	d.mapping(root, "the document", required{"apiVersion", "metadata", "spec"},
		field{"apiVersion", choice(d, new(string), "apiVersion", word[string]{apiVersion, apiVersion})},
		field{"kind", func(ast.Node) {}},
		field{"metadata", d.metadata(&doc)},
		field{"spec", func(n ast.Node) { spec = n }},
	)
	if spec != nil {
		switch doc.Kind {
		case "Database":
			doc.Database = d.database(spec, &doc)
		case "Policy":
			doc.Policy = d.policy(spec, &doc)
		case "Grant":
			doc.Policy = d.grant(spec, &doc)
		case "Workload":
			doc.Workload = d.workload(spec, &doc)
		case "Agent":
			doc.Agent = d.agent(spec, &doc)
		}
	}
	return doc, len(d.problems.list) == before
}

// metadata reads the name. Labels and annotations are for other tools.
func (d *decoder) metadata(doc *Document) func(ast.Node) {
	return func(n ast.Node) {
		var rest map[string]string
		var namespace string
		d.mapping(n, "metadata", required{"name"},
			field{"name", func(n ast.Node) {
				doc.Pos = d.where(n)
				d.name(&doc.Name, "metadata.name")(n)
			}},
			field{"namespace", d.name(&namespace, "metadata.namespace")},
			field{"labels", d.labels(&rest, "metadata.labels")},
			field{"annotations", d.labels(&rest, "metadata.annotations")},
		)
	}
}
