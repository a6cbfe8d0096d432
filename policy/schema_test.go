package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
)

var clusterKinds = []string{"Database", "Policy", "Grant", "Workload"}

// Every field has words of its own, a type, and no two names.
func TestSchemaDescribesEveryField(t *testing.T) {
	for _, kind := range clusterKinds {
		s := policy.SchemaOf(kind)
		if s == nil {
			t.Fatalf("kind %s has no schema", kind)
		}
		for _, path := range s.Fields("spec") {
			f, err := s.At(path)
			if err != nil {
				t.Fatal(err)
			}
			if f.Description == "" {
				t.Errorf("%s: %s is not described in schema_docs.go", kind, path)
			}
			if f.Type == "" && !f.IntOrString && !f.Open {
				t.Errorf("%s: %s has no type: its decoder ignores outlines", kind, path)
			}
			if f.Open && !strings.HasSuffix(path, ".mask") && !strings.HasSuffix(path, ".scope.equals") {
				t.Errorf("%s: %s is open", kind, path)
			}
		}
	}
	if policy.SchemaOf("Frobnicator") != nil {
		t.Error("a kind that there is not has a schema")
	}
}

// The words of schema_docs.go all belong to a field.
func TestSchemaWordsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, kind := range clusterKinds {
		for _, path := range policy.SchemaOf(kind).Fields("spec") {
			_, key := policy.DescribeField(kind, path)
			used[key] = true
		}
	}
	for key := range policy.Descriptions {
		if !used[key] {
			t.Errorf("%q describes no field", key)
		}
	}
	for key := range policy.Conditions {
		kind, path := "", key
		if k, rest, _ := strings.Cut(key, "."); slices.Contains(clusterKinds, k) {
			kind, path = k, rest
		}
		found := false
		for _, k := range clusterKinds {
			if kind == "" || kind == k {
				found = found || slices.Contains(policy.SchemaOf(k).Fields("spec"), path)
			}
		}
		if !found {
			t.Errorf("%q is a condition on no field", key)
		}
	}
}

// For each field of the schema, a document that holds it, and one beside it that does
// not exist: what the schema knows the decoder knows, and the other way round.
func TestSchemaAndDecoderKnowTheSameFields(t *testing.T) {
	for _, kind := range clusterKinds {
		s := policy.SchemaOf(kind)
		for _, path := range s.Fields("spec") {
			if path == "spec" {
				continue
			}
			for _, known := range []bool{true, false} {
				text := document(kind, path, known)
				_, err := policy.ParseFile(policy.File{Name: kind + " x", Data: []byte(text), Object: true})
				if err == nil {
					t.Fatalf("%s: a document with an odd value in %s is valid: %s", kind, path, text)
				}
				unknown := strings.Contains(err.(*policy.SyntaxError).All(), "unknown field")
				if unknown == known {
					t.Errorf("%s: %s: known %v, but the decoder says: %v", kind, path, known, err)
				}
			}
		}
	}
}

// document has an odd value at path, or, not known, beside it in a field that there is not.
func document(kind, path string, known bool) string {
	parts := strings.Split(path, ".")
	value := `{"odd": [[]]}`
	if known {
		value = `[[[]]]`
	}
	for i := len(parts) - 1; i >= 0; i-- {
		name := strings.TrimRight(parts[i], "[]")
		if i == len(parts)-1 && !known {
			name += "Odd"
		}
		for range strings.Count(parts[i], "[]") {
			if i < len(parts)-1 {
				value = "[" + value + "]"
			}
		}
		value = fmt.Sprintf(`{%q: %s}`, name, value)
	}
	return fmt.Sprintf(`{"apiVersion": "sluicegate.io/v1alpha1", "kind": %q, "metadata": {"name": "x"}, %s`, kind, value[1:])
}

func TestObjectErrorsNameTheField(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Policy","metadata":{"name":"p"},"spec":{"subjects":[{"any":true}],"databases":["d"],"rules":[{"effect":"perhaps","actions":["select"],"on":["a.b"]}]}}`,
			`Policy p: spec.rules[0].effect: unknown effect "perhaps"`},
		{`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Policy","metadata":{"name":"p"},"spec":{"subjects":[{"any":true}],"databases":["d"],"rule":[]}}`,
			`Policy p: spec.rule: unknown field "rule" in Policy.spec`},
		{`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Workload","metadata":{"name":"p"},"spec":{"pods":{}}}`,
			`Policy p: spec.pods: pods needs at least one`},
		{`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Database","metadata":{"name":"p"},"spec":{"protocol":"postgres","endpoints":["d:5432"],"credential":{"username":"u","passwordCommand":["/bin/sh"]}}}`,
			`Policy p: spec: passwordCommand and passwordEnv are for files`},
		{`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Database","metadata":{"name":"p"},"spec":{"protocol":"postgres","endpoints":["d:5432"],"credential":{"username":"u","passwordFile":"/etc/shadow"}}}`,
			`Policy p: spec: the file "/etc/shadow" is not below /etc/sluice`},
		{`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Database","metadata":{"name":"p"},"spec":{"protocol":"postgres","endpoints":["d:5432"],"credential":{"username":"u"},"tls":{"mode":"verify-ca","caFile":"/etc/sluice/../shadow"}}}`,
			`Policy p: spec: the file "/etc/sluice/../shadow" is not below`},
		{`{"apiVersion":`, `Policy p: not readable as JSON`},
		{`{} {}`, `Policy p: not readable as JSON`},
		{strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), `Policy p: not readable as JSON`},
	} {
		_, err := policy.ParseFile(policy.File{Name: "Policy p", Data: []byte(tt.data), Object: true})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s…", err, tt.want)
		}
	}
}

// What `kubectl get --output yaml` prints can be checked as it is.
func TestParseWhatAnAPIServerAdds(t *testing.T) {
	const text = `
apiVersion: sluicegate.io/v1alpha1
kind: Workload
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"sluicegate.io/v1alpha1"}
  creationTimestamp: "2026-11-27T01:20:18Z"
  generation: 1
  labels: {app.kubernetes.io/part-of: ""}
  managedFields:
  - {apiVersion: sluicegate.io/v1alpha1, fieldsType: FieldsV1, manager: kubectl}
  name: bots
  namespace: default
  resourceVersion: "217"
  uid: 2c7e4f6e-6b3b-4f0e-9d0e-4a6b1d2c3e4f
spec:
  pods: {namespaces: [agents], labels: {app: bot}}
status:
  observedGeneration: 1
  conditions: []
`
	docs, err := policy.Parse("w.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := docs[0].Workload.Pods
	for _, tt := range []struct {
		w    policy.Workload
		want bool
	}{
		{policy.Workload{Namespace: "agents", Labels: map[string]string{"app": "bot", "x": "y"}}, true},
		{policy.Workload{Namespace: "other", Labels: map[string]string{"app": "bot"}}, false},
		{policy.Workload{Namespace: "agents", Labels: map[string]string{"app": "web"}}, false},
		{policy.Workload{}, false},
	} {
		if got := p.Matches(&tt.w); got != tt.want {
			t.Errorf("Matches(%v) = %v", tt.w, got)
		}
	}
	if _, err := policy.Parse("w.yaml", []byte(strings.Replace(text, `""`, "3", 1))); err == nil || !strings.Contains(err.Error(), "must hold strings") {
		t.Errorf("a label that is a number: %v", err)
	}
}

// JSON and YAML of one document mean the same.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Grant","metadata":{"name":"g"},"spec":{"subjects":[{"any":true}],"databases":["*"],"expires":"2026-01-31T18:00:00Z"}}`))
	f.Add([]byte(`{"kind":"Database","spec":[null,1e3,true,"\u0000"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := policy.ParseFile(policy.File{Name: "x", Data: b, Object: true})
		if err == nil && len(docs) != 1 {
			t.Errorf("%d documents, no error", len(docs))
		}
	})
}
