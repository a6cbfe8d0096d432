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
		field{"status", ignored}, // what `kubectl get --output yaml` adds
	)
	if spec != nil {
		d.kinds(&doc)[doc.Kind](spec)
	}
	return doc, len(d.problems.list) == before
}

// ignored is the decoder of what only an API server writes.
func ignored(ast.Node) {}

// metadata reads the name. Labels and annotations are for other tools, and the rest
// is what an API server keeps of an object.
func (d *decoder) metadata(doc *Document) func(ast.Node) {
	return func(n ast.Node) {
		var namespace string
		d.mapping(n, "metadata", required{"name"},
			field{"name", func(n ast.Node) {
				doc.Pos = d.where(n)
				d.name(&doc.Name, "metadata.name")(n)
			}},
			field{"namespace", d.name(&namespace, "metadata.namespace")},
			field{"labels", d.strings("metadata.labels")},
			field{"annotations", d.strings("metadata.annotations")},
			field{"creationTimestamp", ignored},
			field{"deletionGracePeriodSeconds", ignored},
			field{"deletionTimestamp", ignored},
			field{"finalizers", ignored},
			field{"generateName", ignored},
			field{"generation", ignored},
			field{"managedFields", ignored},
			field{"ownerReferences", ignored},
			field{"resourceVersion", ignored},
			field{"selfLink", ignored},
			field{"uid", ignored},
		)
	}
}

// kinds are the decoders of spec, by kind.
func (d *decoder) kinds(doc *Document) map[string]func(spec ast.Node) {
	return map[string]func(ast.Node){
		"Database": func(n ast.Node) { doc.Database = d.database(n, doc) },
		"Policy":   func(n ast.Node) { doc.Policy = d.policy(n, doc) },
		"Grant":    func(n ast.Node) { doc.Policy = d.grant(n, doc) },
		"Workload": func(n ast.Node) { doc.Workload = d.workload(n, doc) },
		"Agent":    func(n ast.Node) { doc.Agent = d.agent(n, doc) },
	}
}

// strings returns a decoder that takes any mapping of strings, empty ones too.
func (d *decoder) strings(what string) func(ast.Node) {
	return func(n ast.Node) {
		pairs, _ := d.pairs(n, what)
		for _, kv := range pairs {
			switch kv.Value.(type) {
			case *ast.StringNode, *ast.LiteralNode:
			default:
				d.errorf(kv, "%s must hold strings, not %s: put it in quotes", what, describe(kv.Value))
			}
		}
	}
}
