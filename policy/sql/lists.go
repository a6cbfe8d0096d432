package sql

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

// The closed lists are data, each entry in a group with its reason. They are
// compiled in and read once; a mistake in them fails every test that asks.

//go:embed functions.txt
var functionsText string

// Trait is what a caller of a built-in function should know beyond whether it is
// safe. See the head of functions.txt.
type Trait uint8

const (
	TraitCatalog   Trait = 1 << iota // tells about objects
	TraitErrors                      // repeats its argument in errors
	TraitExpensive                   // much work from a small argument
	TraitRelation                    // names a relation by an argument
	TraitSetting                     // names a setting by its first argument
	TraitSQL                         // runs SQL that is in an argument
	TraitNewer                       // not in every supported version
)

var traitNames = map[string]Trait{
	"catalog": TraitCatalog, "errors": TraitErrors, "expensive": TraitExpensive, "relation": TraitRelation,
	"setting": TraitSetting, "sql": TraitSQL, "newer": TraitNewer,
}

// FunctionRule is what the list says of one of PostgreSQL's own functions. The
// zero value is a function that is not listed, and not safe.
type FunctionRule struct {
	Safe   bool
	Traits Trait
	Group  string
	Reason string
}

// BuiltinFunction returns the rule for a function of pg_catalog that is called with
// that many arguments. It looks at the name only: an overload that an extension
// put into pg_catalog is not meant, see [Function.System].
func BuiltinFunction(function string, args int) FunctionRule {
	rules := functionRules()
	if r := rules[function]; r != nil {
		return *r
	}
	if r := rules[fmt.Sprintf("%s/%d", function, args)]; r != nil {
		return *r
	}
	return FunctionRule{}
}

// safeFunction reports whether f is one of PostgreSQL's own that anybody may
// call. One with TraitSetting may be called only with a literal that the caller
// of safeFunction has checked with [BuiltinSetting].
func safeFunction(f *Function) bool {
	if f.System() && f.Schema == "information_schema" {
		return f.Name == "_pg_expandarray" // JDBC spreads an index's columns with it
	}
	return f.System() && f.Schema == "pg_catalog" && BuiltinFunction(f.Name, len(f.Args)).Safe
}

var functionRules = sync.OnceValue(func() map[string]*FunctionRule {
	rules := make(map[string]*FunctionRule)
	var group *FunctionRule
	entries(functionsText, func(head []string, name, reason string) {
		group = &FunctionRule{Safe: head[0] == "safe", Group: name, Reason: reason}
		for _, t := range head[1:] {
			if traitNames[t] == 0 {
				panic("functions.txt: no trait " + t)
			}
			group.Traits |= traitNames[t]
		}
	}, func(line string) {
		for _, n := range strings.Fields(line) {
			if rules[n] != nil {
				panic("functions.txt: " + n + " is listed twice")
			}
			rules[n] = group
		}
	})
	return rules
})

// BuiltinFunctions calls f with every entry of the list: a name, or name/arguments.
func BuiltinFunctions(f func(entry string, r FunctionRule)) {
	for n, r := range functionRules() {
		f(n, *r)
	}
}

// entries reads a list: heads "[word ...] group: reason", and lines below them.
func entries(text string, head func(words []string, group, reason string), line func(string)) {
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		switch {
		case l == "" || l[0] == '#':
		case l[0] == '[':
			words, rest, ok := strings.Cut(l[1:], "]")
			group, reason, ok2 := strings.Cut(rest, ":")
			if !ok || !ok2 || strings.TrimSpace(reason) == "" {
				panic("list: head without a reason: " + l)
			}
			head(strings.Fields(words), strings.TrimSpace(group), strings.TrimSpace(reason))
		default:
			line(l)
		}
	}
}
