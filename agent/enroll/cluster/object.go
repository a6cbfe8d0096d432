package cluster

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluicegate.io/sluice/policy"
)

// Key names an object. All kinds are cluster-scoped.
type Key struct{ Kind, Name string }

// String returns what errors of package policy call it.
func (k Key) String() string { return k.Kind + " " + k.Name }

// Object is one version of an object.
type Object struct {
	Key
	UID        string
	Generation int64
	Created    time.Time
	Data       []byte // JSON of what package policy reads
}

// version is an Object and what package policy made of it.
type version struct {
	Object
	docs []policy.Document
	bad  error
}

func read(o Object) *version {
	v := &version{Object: o}
	v.docs, v.bad = policy.ParseFile(v.file())
	if v.bad == nil && (len(v.docs) != 1 || v.docs[0].Kind != o.Kind || v.docs[0].Name != o.Name) {
		v.bad = fmt.Errorf("%s: it is not what its name says", o.Key)
	}
	return v
}

func (v *version) file() policy.File {
	return policy.File{Name: v.Key.String(), Data: v.Data, Object: true}
}

// same reports whether two versions mean the same.
func (v *version) same(w *version) bool {
	return v != nil && w != nil && v.UID == w.UID && bytes.Equal(v.Data, w.Data)
}

// order is that in which one may refer to another, and then of age: of two that
// contradict each other the later one is at fault.
func order(a, b *version) int {
	rank := func(v *version) int {
		return slices.IndexFunc(Kinds(), func(k Kind) bool { return k.Name == v.Kind })
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

// A Refusal says why the newest version of an object is not in force.
type Refusal struct {
	Object
	Reason  string // one of the reasons below
	Message string
	// Before says that an earlier version is in force, or the object was deleted and is
	// in force still.
	Before bool
}

// Reasons of a Refusal, and of condition Accepted.
const (
	Invalid  = "Invalid"     // by itself
	Conflict = "Conflict"    // with others, or refers to what there is not
	Failed   = "NotInForce"  // the agent could not put it in force
	Needed   = "StillNeeded" // deleted, while others refer to it
	TooMany  = "TooMany"     // beyond what an agent reads
	Fine     = "InForce"
	Waiting  = "NotYetReported"
)

// digest is a fingerprint of the versions in force.
func digest(versions map[Key]*version) string {
	h := sha256.New()
	for _, v := range sorted(versions) {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%d\n", v.Kind, v.Name, v.UID, v.Generation)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func sorted(versions map[Key]*version) []*version {
	all := make([]*version, 0, len(versions))
	for _, v := range versions {
		all = append(all, v)
	}
	slices.SortFunc(all, order)
	return all
}

// blamed returns what an error says of each object, in its own words.
func blamed(err error) map[Key]string {
	said := map[Key]string{}
	add := func(file, text string) {
		kind, name, found := strings.Cut(file, " ")
		if !found || !slices.ContainsFunc(Kinds(), func(k Kind) bool { return k.Name == kind }) {
			return
		}
		k := Key{kind, name}
		if said[k] != "" {
			text = said[k] + "; " + text
		}
		said[k] = clip(text)
	}
	var bad *policy.SyntaxError
	if errors.As(err, &bad) {
		for _, e := range append([]*policy.SyntaxError{bad}, bad.Others...) {
			text := e.Msg
			if e.Field != "" {
				text = e.Field + ": " + e.Msg
			}
			add(e.File, text)
		}
		return said
	}
	// What others say of an object starts with its place.
	for line := range strings.Lines(err.Error()) {
		if file, text, found := strings.Cut(strings.TrimSpace(line), ": "); found {
			add(file, text)
		}
	}
	return said
}

// clip bounds a message of a status.
func clip(s string) string {
	if len(s) > messageMax {
		return strings.ToValidUTF8(s[:messageMax-3], "") + "..."
	}
	return s
}
