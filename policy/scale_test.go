package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// large is a set of n rules, a tenth of them about whole schemas.
func large(n int) []policy.File {
	var b strings.Builder
	b.WriteString(head + policyHead + "  rules:\n")
	for i := range n {
		on := fmt.Sprintf("app.t%d, app.u%d", i, i)
		if i%10 == 0 {
			on = fmt.Sprintf(`"s%d.*"`, i)
		}
		fmt.Fprintf(&b, "    - {name: r%d, effect: allow, actions: [select, update], on: [%s]}\n", i, on)
	}
	return []policy.File{{Name: "large.yaml", Data: []byte(b.String())}}
}

// wide is a set of n rules that are all about every object.
func wide(n int) []policy.File {
	var b strings.Builder
	b.WriteString(head + policyHead + "  rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "    - {effect: deny, actions: [select], on: [\"*.*\"], columns: [c%d]}\n", i)
	}
	return []policy.File{{Name: "wide.yaml", Data: []byte(b.String())}}
}

func TestTenThousandRules(t *testing.T) {
	files := large(10_000)
	start := time.Now()
	set, err := policy.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("loaded in %v", took)
	if took > 20*time.Second { // a loaded machine; alone it takes half a second
		t.Errorf("loading takes %v", took)
	}
	v := view(set, &policy.Subject{})
	if d := v.Decide(touch(protocol.Select, "app", "t7", "a")); d.Rule != "p/r7" {
		t.Errorf("%+v", d)
	}
	if d := v.Decide(touch(protocol.Select, "s20", "x", "a")); d.Rule != "p/r20" {
		t.Errorf("%+v", d)
	}
	if d := v.Decide(touch(protocol.Select, "app", "t20", "a")); d.Verdict != protocol.Deny || len(d.Allowed) > 450 {
		t.Errorf("%+v", d)
	}
}

func BenchmarkLoad(b *testing.B) {
	files := large(10_000)
	for b.Loop() {
		if _, err := policy.Load(files); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, files := range map[string][]policy.File{
		"rules=10": large(10), "rules=10000": large(10_000), "wide=10000": wide(10_000),
	} {
		set, err := policy.Load(files)
		if err != nil {
			b.Fatal(err)
		}
		v := view(set, &policy.Subject{})
		st := both(touch(protocol.Select, "app", "t1", "id", "name", "email"), touch(protocol.Select, "app", "u1", "id", "total"))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Decide(st)
			}
		})
		b.Run(name+"/Column", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Column("app", "t1", "name")
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	set, err := policy.Load(large(10_000))
	if err != nil {
		b.Fatal(err)
	}
	sub := support()
	b.ReportAllocs()
	for b.Loop() {
		set.View(sub, "shop", now)
	}
}
