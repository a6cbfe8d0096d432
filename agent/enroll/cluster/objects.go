package cluster

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"sluicegate.io/sluice/policy"
)

// Bounds of what an agent reads of a cluster. The redirector is root, and parses what
// the API server says on the word of those who may write these kinds.
const (
	maxObjects = 10_000
	maxBytes   = 64 << 20
	// maxSingly bounds how many objects are tried one by one.
	maxSingly = 200
)

// objects are the versions that the API server has, and those in force. All is pure:
// who reads and who writes is in other files.
type objects struct {
	mu      sync.Mutex
	newest  map[Key]*version
	good    map[Key]*version // in force
	refused map[Key]Refusal
	// failed are versions that were valid and could not be put in force. They are
	// tried again when anything changes.
	failed map[Key]failure
	bytes  int
	kept   map[Key]bool // of the disk, and not confirmed by the API server
}

type failure struct {
	of   *version
	said string
}

func newObjects() *objects {
	return &objects{newest: map[Key]*version{}, good: map[Key]*version{}, refused: map[Key]Refusal{}, failed: map[Key]failure{}}
}

// put takes a version over and reports whether it says something new.
func (o *objects) put(obj Object) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.kept, obj.Key)
	before := o.newest[obj.Key]
	if before != nil && before.UID == obj.UID && before.Generation == obj.Generation && string(before.Data) == string(obj.Data) {
		return false
	}
	size := len(obj.Data)
	if before != nil {
		size -= len(before.Data)
	}
	v := &version{Object: obj}
	if before == nil && len(o.newest) >= maxObjects || o.bytes+size > maxBytes {
		v.Data, size = nil, size-len(obj.Data)
		v.bad = errTooMany
	} else {
		v = read(obj)
	}
	o.bytes += size
	o.newest[obj.Key] = v
	clear(o.failed)
	return true
}

var errTooMany = fmt.Errorf("the cluster has more objects than an agent reads: %d, or %d MiB of them", maxObjects, maxBytes>>20)

// assume takes a version over from the disk: it was in force, so that it is what a
// newer version that is not valid falls back to.
func (o *objects) assume(obj Object) {
	o.put(obj)
	o.mu.Lock()
	defer o.mu.Unlock()
	if v := o.newest[obj.Key]; v.bad == nil {
		o.good[obj.Key] = v
	}
	if o.kept == nil {
		o.kept = map[Key]bool{}
	}
	o.kept[obj.Key] = true
}

// complete says that the API server has told everything: what is only on disk was
// deleted while nobody looked.
func (o *objects) complete() {
	o.mu.Lock()
	gone := o.kept
	o.kept = nil
	o.mu.Unlock()
	for k := range gone {
		o.remove(k)
	}
}

// remove forgets a deleted object, and reports whether it was known.
func (o *objects) remove(k Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.newest[k]
	if v == nil {
		return false
	}
	o.bytes -= len(v.Data)
	delete(o.newest, k)
	clear(o.failed)
	return true
}

// A Candidate is a valid set that could be put in force.
type Candidate struct {
	Set     *policy.Set
	Files   []policy.File
	chosen  map[Key]*version
	refused map[Key]Refusal
}

// candidate joins objects with files of configuration, which were parsed already. An
// object that is not valid is there in its last good version, or not at all; the
// error says that no such choice makes a valid set.
func (o *objects) candidate(files []policy.File, docs []policy.Document) (*Candidate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := &choice{o: o, docs: docs, chosen: map[Key]*version{}, refused: map[Key]Refusal{}}
	c.start()
	set, err := c.settle()
	if err != nil {
		// What contradicts the rest is among what changed, and was not named.
		if set, err = c.singly(err); err != nil {
			o.none(err)
			return nil, err
		}
	}
	all := append([]policy.File(nil), files...)
	for _, v := range sorted(c.chosen) {
		all = append(all, v.file())
	}
	return &Candidate{Set: set, Files: all, chosen: c.chosen, refused: c.refused}, nil
}

// adopt notes that a candidate is in force.
func (o *objects) adopt(c *Candidate) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.good, o.refused = c.chosen, c.refused
}

// fail notes why a candidate could not be put in force, and reports whether another
// one may: then at least one object is blamed that has changed.
func (o *objects) fail(c *Candidate, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := false
	for k, text := range blamed(err) {
		if v := c.chosen[k]; v != nil && !v.same(o.good[k]) {
			o.failed[k] = failure{v, text}
			found = true
		}
	}
	if !found {
		o.none(err)
	}
	return found
}

// none notes that nothing new is in force. Who wrote it should know. o.mu is held.
func (o *objects) none(err error) {
	for k, v := range o.newest {
		if !v.same(o.good[k]) {
			o.refuse(o.refused, v, Failed, clip("the configuration as a whole is not in force: "+err.Error()))
		}
	}
}

// retry makes the next candidate try again what could not be put in force, and
// reports whether there is such.
func (o *objects) retry() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	some := len(o.failed) > 0
	clear(o.failed)
	return some
}

// fallback is the last good version of an object, nil if there is none. One of
// another object that had the name does not count.
func (o *objects) fallback(v *version) *version {
	if g := o.good[v.Key]; g != nil && g.UID == v.UID {
		return g
	}
	return nil
}

func (o *objects) refuse(to map[Key]Refusal, v *version, reason, message string) {
	to[v.Key] = Refusal{Object: v.Object, Reason: reason, Message: message, Before: o.fallback(v) != nil}
}

// choice is a candidate in the making.
type choice struct {
	o       *objects
	docs    []policy.Document
	chosen  map[Key]*version
	refused map[Key]Refusal
}

func (c *choice) start() {
	for k, v := range c.o.newest {
		switch {
		case v.bad != nil:
			reason, text := Invalid, blamed(v.bad)[k]
			if text == "" {
				text = clip(v.bad.Error())
			}
			if errors.Is(v.bad, errTooMany) {
				reason = TooMany
			}
			c.refuse(v, reason, text)
		case c.o.failed[k].of.same(v):
			c.refuse(v, Failed, c.o.failed[k].said)
		default:
			c.chosen[k] = v
		}
	}
}

// refuse replaces a version by the last good one.
func (c *choice) refuse(v *version, reason, message string) {
	c.o.refuse(c.refused, v, reason, message)
	if g := c.o.fallback(v); g != nil {
		c.chosen[v.Key] = g
	} else {
		delete(c.chosen, v.Key)
	}
}

func (c *choice) compile() (*policy.Set, error) {
	docs := append([]policy.Document(nil), c.docs...)
	var late []*version
	for _, v := range sorted(c.chosen) {
		if !v.same(c.o.good[v.Key]) {
			late = append(late, v) // of two with one name the newcomer is at fault
			continue
		}
		docs = append(docs, v.docs...)
	}
	for _, v := range late {
		docs = append(docs, v.docs...)
	}
	return policy.New(docs)
}

// settle takes back what the errors name until the set is valid. Each round takes at
// least one version back, so that it ends.
func (c *choice) settle() (*policy.Set, error) {
	for {
		set, err := c.compile()
		if err == nil {
			return set, nil
		}
		said := blamed(err)
		progress := false
		for k, text := range said {
			if v := c.chosen[k]; v != nil && !v.same(c.o.good[k]) {
				c.refuse(v, Conflict, text)
				progress = true
			}
		}
		// What is in force refers to what was deleted. It stays as long as it is needed:
		// to leave the policy out that names it would take its denials away too. A right
		// that was deleted is never brought back.
		if !progress {
			progress = c.keep(err)
		}
		if !progress {
			return nil, err
		}
	}
}

func (c *choice) keep(err error) bool {
	text := err.Error()
	var bad *policy.SyntaxError
	if errors.As(err, &bad) {
		text = bad.All()
	}
	kept := false
	for k, v := range c.o.good {
		if c.chosen[k] == nil && c.o.newest[k] == nil && (k.Kind == "Database" || k.Kind == "Workload") &&
			strings.Contains(text, strconv.Quote(k.Name)) {
			c.chosen[k] = v
			c.refused[k] = Refusal{Object: v.Object, Reason: Needed, Before: true,
				Message: "it was deleted, and stays in force as long as a policy in force names it"}
			kept = true
		}
	}
	return kept
}

// singly starts from what is in force, and takes the changes over one by one.
func (c *choice) singly(cause error) (*policy.Set, error) {
	var changed []*version
	for _, v := range sorted(c.chosen) {
		if !v.same(c.o.good[v.Key]) {
			changed = append(changed, v)
		}
	}
	if len(changed) == 0 {
		return nil, cause
	}
	for _, v := range changed {
		c.refuse(v, Conflict, "")
	}
	set, err := c.settle()
	if err != nil {
		return nil, err
	}
	for i, v := range changed {
		if i >= maxSingly {
			c.refuse(v, Conflict, "another object contradicts the set, and too many changed at once to find out which: it is tried again")
			continue
		}
		chosen, refused := maps.Clone(c.chosen), maps.Clone(c.refused)
		c.chosen[v.Key] = v
		delete(c.refused, v.Key)
		next, err := c.compile()
		if err == nil {
			set = next
			continue
		}
		c.chosen, c.refused = chosen, refused
		var bad *policy.SyntaxError
		text := err.Error()
		if errors.As(err, &bad) {
			text = strings.ReplaceAll(bad.All(), "\n", "; ")
		}
		c.refuse(v, Conflict, clip(text))
	}
	return set, nil
}

// inForce returns the versions in force.
func (o *objects) inForce() map[Key]*version {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.good)
}

// standing returns what became of the newest version of each object.
func (o *objects) standing() (newest, good map[Key]*version, refused map[Key]Refusal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.newest), maps.Clone(o.good), maps.Clone(o.refused)
}
