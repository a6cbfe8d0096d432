package sql

import (
	"encoding/binary"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A parse tree is read here as the parser encodes it, without making a tree of Go
// values, which takes longer than the parse. Only what a second look needs is
// told apart.

// nodeKind tells the messages that a second look knows.
type nodeKind uint8

const (
	plainNode   nodeKind = iota
	wrapperNode          // Node: stands for what is in it
	rangeVarNode
	columnRefNode
	rawStmtNode
	selectNode
	writeNode // INSERT, UPDATE, DELETE, MERGE
	copyNode
	withNode
	cteNode
)

// role is what a relation's name is there for.
type role uint8

const (
	reads role = iota // or anything that is not known
	writes
	bears // the relation itself: LOCK, CREATE, ALTER, ...
)

type wireType struct {
	kind   nodeKind
	fields []wireField // by number
}

type wireField struct {
	name  string
	child *wireType
	role  role
}

var wireKinds = map[string]nodeKind{
	"Node": wrapperNode, "RangeVar": rangeVarNode, "ColumnRef": columnRefNode, "RawStmt": rawStmtNode, "SelectStmt": selectNode,
	"InsertStmt": writeNode, "UpdateStmt": writeNode, "DeleteStmt": writeNode, "MergeStmt": writeNode, "CopyStmt": copyNode,
	"WithClause": withNode, "CommonTableExpr": cteNode,
}

// wireRoles are the places where a relation's name does not read it.
var wireRoles = map[string]role{
	"InsertStmt.relation": writes, "UpdateStmt.relation": writes, "DeleteStmt.relation": writes, "MergeStmt.relation": writes,
	"LockStmt.relations": bears, "TruncateStmt.relations": bears, "VacuumRelation.relation": bears, "ReindexStmt.relation": bears,
	"ClusterStmt.relation": bears, "RefreshMatViewStmt.relation": bears, "GrantStmt.objects": bears, "Constraint.pktable": bears,
	"IntoClause.rel": bears, "CreateStmt.relation": bears, "ViewStmt.view": bears, "IndexStmt.relation": bears,
	"AlterTableStmt.relation": bears, "RenameStmt.relation": bears, "CreateSeqStmt.sequence": bears, "AlterSeqStmt.sequence": bears,
	"LockingClause.locked_rels": bears, "ConstraintsSetStmt.constraints": bears, "CreateTrigStmt.relation": bears,
}

// wireRoot is the type of a whole result.
var wireRoot = sync.OnceValue(func() *wireType {
	known := make(map[protoreflect.FullName]*wireType)
	var of func(protoreflect.MessageDescriptor) *wireType
	of = func(d protoreflect.MessageDescriptor) *wireType {
		if t := known[d.FullName()]; t != nil {
			return t
		}
		t := &wireType{kind: wireKinds[string(d.Name())]}
		known[d.FullName()] = t
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			for len(t.fields) <= int(f.Number()) {
				t.fields = append(t.fields, wireField{})
			}
			w := &t.fields[f.Number()]
			w.name, w.role = string(f.Name()), wireRoles[string(d.Name())+"."+string(f.Name())]
			if f.Message() != nil {
				child := of(f.Message())
				t.fields[f.Number()].child = child
			}
		}
		return t
	}
	return of((*pg.ParseResult)(nil).ProtoReflect().Descriptor())
})

// wireNext reads one field: data of a text or a message, else a number.
func wireNext(b []byte) (num int, data []byte, n uint64, rest []byte, ok bool) {
	tag, k := binary.Uvarint(b)
	if k <= 0 {
		return 0, nil, 0, nil, false
	}
	b = b[k:]
	switch tag & 7 {
	case 0:
		n, k = binary.Uvarint(b)
		if k <= 0 {
			return 0, nil, 0, nil, false
		}
		return int(tag >> 3), nil, n, b[k:], true
	case 1:
		if len(b) < 8 {
			return 0, nil, 0, nil, false
		}
		return int(tag >> 3), nil, 0, b[8:], true
	case 2:
		n, k = binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return 0, nil, 0, nil, false
		}
		return int(tag >> 3), b[k : k+int(n) : k+int(n)], 0, b[k+int(n):], true
	case 5:
		if len(b) < 4 {
			return 0, nil, 0, nil, false
		}
		return int(tag >> 3), nil, 0, b[4:], true
	}
	return 0, nil, 0, nil, false
}

// field returns the description of a field, which a newer parser may not have.
func (t *wireType) field(num int) *wireField {
	if num < len(t.fields) && t.fields[num].name != "" {
		return &t.fields[num]
	}
	return nil
}

// has reports whether messages of the type may have a field of that name.
func (t *wireType) has(name string) bool {
	for i := range t.fields {
		if t.fields[i].name == name {
			return true
		}
	}
	return false
}

// find returns the first field of that name.
func (t *wireType) find(b []byte, name string) (f *wireField, data []byte, n uint64) {
	for len(b) > 0 {
		num, data, n, rest, ok := wireNext(b)
		if !ok {
			return nil, nil, 0
		}
		if f := t.field(num); f != nil && f.name == name {
			return f, data, n
		}
		b = rest
	}
	return nil, nil, 0
}

// wireName is what a RangeVar names.
type wireName struct {
	catalog, schema, name, alias string
	at                           int
}

func (t *wireType) rangeVar(b []byte) wireName {
	v := wireName{}
	for len(b) > 0 {
		num, data, n, rest, ok := wireNext(b)
		if !ok {
			return wireName{at: -1}
		}
		if f := t.field(num); f != nil {
			switch f.name {
			case "catalogname":
				v.catalog = string(data)
			case "schemaname":
				v.schema = string(data)
			case "relname":
				v.name = string(data)
			case "alias":
				_, a, _ := f.child.find(data, "aliasname")
				v.alias = string(a)
			case "location":
				v.at = int(int32(n))
			}
		}
		b = rest
	}
	return v
}

// columnRef returns the names of a reference, "*" for a star.
func (t *wireType) columnRef(b []byte, parts []string) (names []string, star bool, at int) {
	for len(b) > 0 {
		num, data, n, rest, ok := wireNext(b)
		if !ok {
			return nil, true, -1
		}
		if f := t.field(num); f != nil {
			switch f.name {
			case "fields":
				k, text, _, _, ok := wireNext(data)
				if !ok {
					return nil, true, -1
				}
				if in := f.child.field(k); in != nil && in.name == "a_star" {
					star = true
				} else if in != nil {
					_, s, _ := in.child.find(text, "sval")
					parts = append(parts, string(s))
				}
			case "location":
				at = int(int32(n))
			}
		}
		b = rest
	}
	return parts, star, at
}
