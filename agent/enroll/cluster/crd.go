package cluster

import (
	"fmt"
	"strings"

	"sluicegate.io/sluice/policy"
)

// Names in the API.
const (
	Group   = "sluicegate.io"
	Version = "v1alpha1"
)

// A Kind is one of the kinds that an API server holds for us.
type Kind struct {
	Name, Plural string
	Short        []string
	columns      []column
	schema       func() map[string]any // of what is beside metadata
	status       bool                  // is a subresource
}

// column is what `kubectl get` shows.
type column struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Format   string `json:"format,omitempty"`
	Path     string `json:"jsonPath"`
	About    string `json:"description,omitempty"`
	Priority int    `json:"priority,omitempty"`
}

// Kinds are those that hold configuration, in the order in which one may refer to
// another: later ones to earlier ones.
func Kinds() []Kind {
	return []Kind{
		resource("Database", "databases", nil,
			column{Name: "Protocol", Type: "string", Path: ".spec.protocol", Priority: 1},
			column{Name: "Endpoints", Type: "string", Path: ".spec.endpoints"}),
		resource("Workload", "workloads", []string{"swl"}),
		resource("Policy", "policies", nil,
			column{Name: "Databases", Type: "string", Path: ".spec.databases"}),
		resource("Grant", "grants", nil,
			column{Name: "Databases", Type: "string", Path: ".spec.databases"},
			column{Name: "Expires", Type: "string", Path: ".spec.expires"}),
	}
}

// resource is a kind whose spec package policy decodes.
func resource(name, plural string, short []string, columns ...column) Kind {
	condition := func(title, of, field string, priority int) column {
		return column{Name: title, Type: "string", Priority: priority,
			Path: fmt.Sprintf(`.status.conditions[?(@.type=="%s")].%s`, of, field)}
	}
	columns = append(columns,
		condition("Accepted", Accepted, "status", 0),
		condition("Enforced", Enforced, "status", 0),
		column{Name: "Pods", Type: "integer", Path: ".status.pods", About: "Enrolled pods that it concerns."},
		column{Name: "Not-Enforced", Type: "integer", Path: ".status.podsNotEnforced", Priority: 1,
			About: "Those of them that could get around the redirection."},
		column{Name: "Nodes", Type: "string", Path: ".status.nodes", Priority: 1, About: "Nodes that have this generation in force, of all."},
		condition("Message", Accepted, "message", 1),
		column{Name: "Age", Type: "date", Path: ".metadata.creationTimestamp"})
	return Kind{Name: name, Plural: plural, Short: short, columns: columns, status: true,
		schema: func() map[string]any {
			return map[string]any{"spec": policy.SchemaOf(name), "status": statusSchema()}
		}}
}

// NodeReport is what one node's agent tells of itself. Who leads makes the status of
// the other kinds of all reports.
func NodeReport() Kind {
	return Kind{Name: "NodeReport", Plural: "nodereports", columns: []column{
		{Name: "Agent", Type: "string", Path: ".report.agent"},
		{Name: "Objects", Type: "integer", Path: ".report.inForce", About: "Objects in force."},
		{Name: "Refused", Type: "integer", Path: ".report.refused", About: "Objects whose newest version is not in force."},
		{Name: "Pods", Type: "integer", Path: ".report.pods", About: "Enrolled pods."},
		{Name: "Not-Enforced", Type: "integer", Path: ".report.podsNotEnforced", About: "Those that could get around the redirection."},
		{Name: "Sessions", Type: "integer", Path: ".report.sessions", About: "Open connections of those pods."},
		{Name: "Denials", Type: "integer", Path: ".report.denials", About: "Connections, sessions and statements of those pods that were refused."},
		{Name: "Updated", Type: "date", Path: ".report.time"},
	}, schema: func() map[string]any { return map[string]any{"report": reportSchema()} }}
}

// Definition returns the CustomResourceDefinition of a kind.
func (k Kind) Definition() map[string]any {
	properties := map[string]any{
		"apiVersion": map[string]any{"type": "string"},
		"kind":       map[string]any{"type": "string"},
		"metadata":   map[string]any{"type": "object"},
	}
	for name, s := range k.schema() {
		properties[name] = s
	}
	root := map[string]any{"type": "object", "properties": properties, "description": about[k.Name]}
	version := map[string]any{"name": Version, "served": true, "storage": true,
		"additionalPrinterColumns": k.columns, "schema": map[string]any{"openAPIV3Schema": root}}
	if k.status {
		root["required"] = []string{"spec"}
		root["x-kubernetes-validations"] = []policy.Validation{{
			Rule: "self.metadata.name.size() <= 63", Message: "a name has at most 63 characters"}}
		version["subresources"] = map[string]any{"status": map[string]any{}}
	}
	names := map[string]any{"kind": k.Name, "listKind": k.Name + "List", "plural": k.Plural,
		"singular": strings.ToLower(k.Name), "categories": []string{"sluice"}}
	if len(k.Short) > 0 {
		names["shortNames"] = k.Short
	}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": k.Plural + "." + Group,
			"labels": map[string]any{"app.kubernetes.io/name": "sluice", "app.kubernetes.io/part-of": "sluice"}},
		"spec": map[string]any{"group": Group, "scope": "Cluster", "names": names, "versions": []any{version}},
	}
}

var about = map[string]string{
	"Database":   "Database is a server that Sluice protects, and what is sensitive in it.",
	"Policy":     "Policy says what subjects may do in Databases.",
	"Grant":      "Grant is a right that ends.",
	"Workload":   "Workload enrolls pods without a label of their own, or a cgroup or unit of every node.",
	"NodeReport": "NodeReport is what the agent of the node of that name tells of itself. Agents write it; it configures nothing.",
}

func text(about string, bound int) map[string]any {
	return map[string]any{"type": "string", "description": about, "maxLength": bound}
}

func count(about string) map[string]any {
	return map[string]any{"type": "integer", "format": "int64", "minimum": 0, "description": about}
}

// statusSchema is the status of every kind that holds configuration.
func statusSchema() map[string]any {
	return map[string]any{"type": "object", "description": "What the agents made of it.", "properties": map[string]any{
		"observedGeneration": count("The generation that the conditions are about."),
		"conditions": map[string]any{
			"type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []string{"type"},
			"description": "Accepted: it is valid by itself and with all others. Enforced: it is in force, and is not only observed.",
			"items": map[string]any{"type": "object", "required": []string{"type", "status", "lastTransitionTime", "reason", "message"},
				"properties": map[string]any{
					"type":               text("Accepted or Enforced.", 64),
					"status":             map[string]any{"type": "string", "enum": []string{"True", "False", "Unknown"}},
					"observedGeneration": count("The generation that this is about."),
					"lastTransitionTime": map[string]any{"type": "string", "format": "date-time"},
					"reason":             text("One word for a program.", 128),
					"message":            text("A sentence for a person.", messageMax),
				}}},
		"pods":            count("Enrolled pods that it concerns, on all nodes."),
		"podsEnforced":    count("Those of them that cannot get around the redirection."),
		"podsNotEnforced": count("Those of them that could."),
		"nodes":           text("Nodes that have this generation in force, of all that report: 2/3.", 32),
		"notEnforced": map[string]any{"type": "array", "maxItems": podsListed, "x-kubernetes-list-type": "atomic",
			"description": "Some of the pods that are not enforced, and why.",
			"items": map[string]any{"type": "object", "required": []string{"namespace", "name", "reason"},
				"properties": podProperties()}},
	}}
}

func podProperties() map[string]any {
	return map[string]any{"namespace": text("Its namespace.", 63), "name": text("Its name.", 253),
		"reason": text("Why it is not enforced.", 256)}
}

// reportSchema is what one node says.
func reportSchema() map[string]any {
	return map[string]any{"type": "object", "description": "What the agent says of itself.", "properties": map[string]any{
		"agent":           text("Version of the agent.", 128),
		"time":            map[string]any{"type": "string", "format": "date-time", "description": "When it said so."},
		"inForce":         count("Objects in force."),
		"digest":          text("Fingerprint of all objects in force and their generations.", 64),
		"refused":         count("Objects whose newest version is not in force."),
		"pods":            count("Enrolled pods."),
		"podsNotEnforced": count("Enrolled pods that could get around the redirection."),
		"sessions":        count("Open connections of the enrolled pods."),
		"denials":         count("Connections, sessions and statements of the enrolled pods that were refused."),
		"workloads": map[string]any{"type": "array", "maxItems": workloadsListed, "x-kubernetes-list-type": "atomic",
			"description": "Enrolled pods. Numbers are at most a minute old.",
			"items": map[string]any{"type": "object", "required": []string{"namespace", "name"},
				"properties": map[string]any{"namespace": text("Its namespace.", 63), "name": text("Its name.", 253),
					"enforced": map[string]any{"type": "boolean", "description": "It cannot get around the redirection."},
					"listener": map[string]any{"type": "boolean", "description": "Sluice listens in its network namespace."},
					"sessions": count("Its open connections."), "denials": count("Connections, sessions and statements that were refused.")}}},
		"refusals": map[string]any{"type": "array", "maxItems": refusalsListed, "x-kubernetes-list-type": "atomic",
			"description": "Some of the objects whose newest version is not in force here, and why.",
			"items": map[string]any{"type": "object", "required": []string{"kind", "name", "reason", "message"},
				"properties": map[string]any{"kind": text("Its kind.", 64), "name": text("Its name.", 253), "uid": text("Its uid.", 64),
					"generation": count("The version that is refused."), "reason": text("One word.", 128), "message": text("A sentence.", messageMax)}}},
		"concerns": map[string]any{"type": "array", "maxItems": concernsListed, "x-kubernetes-list-type": "atomic",
			"description": "Objects that concern pods of this node.",
			"items": map[string]any{"type": "object", "required": []string{"kind", "name"},
				"properties": map[string]any{"kind": text("Its kind.", 64), "name": text("Its name.", 253),
					"pods": count("Enrolled pods that it concerns."), "podsNotEnforced": count("Those that are not enforced.")}}},
		"notEnforced": map[string]any{"type": "array", "maxItems": podsListed, "x-kubernetes-list-type": "atomic",
			"description": "Some of the pods that are not enforced, and why.",
			"items": map[string]any{"type": "object", "required": []string{"namespace", "name", "reason"},
				"properties": podProperties()}},
	}}
}

// Bounds of what is written into a status.
const (
	messageMax      = 1024
	podsListed      = 20
	workloadsListed = 256
	refusalsListed  = 100
	concernsListed  = 1000
)

// Conditions of a status.
const (
	Accepted = "Accepted"
	Enforced = "Enforced"
)
