package session

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol/postgres"
)

// pool returns the right of this session to leave its server's session to another one
// that is alike, nil if there is none: a password of which no version is known may have
// been changed since.
func (g *Gate) pool(db *policy.Database) *postgres.Pool {
	if !db.Pool.Sessions || g.conn.Passwords == 0 {
		return nil
	}
	return &postgres.Pool{
		Key: func() string { return g.likeness(db) }, Name: db.Name,
		Names: func() any { return resolution{g.catalog, g.catalog.version.Load()} },
		Idle:  db.Pool.Idle, Age: db.Pool.Age, Max: db.Pool.Max, Total: db.Pool.Total,
		Reused: func() {
			g.log.Buffer(&record.Event{Notice: &record.Notice{Type: "pool",
				Text: "served by a session of the server that was kept and reset"}})
		},
	}
}

// resolution is what a catalog knew at a time.
type resolution struct {
	of      *catalog
	version uint64
}

// likeness is all of a session that another one must have too, to get its server's
// session: whom it serves, as far as that is proven, with every claim of a token, and
// where the server is. Which process of a workload it is does not matter.
func (g *Gate) likeness(db *policy.Database) string {
	c, p, w := &g.conn, &g.subject.Process, &g.subject.Workload
	b := make([]byte, 0, 512)
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(all ...string) {
		for _, s := range all {
			number(uint64(len(s)))
			b = append(b, s...)
		}
	}
	number(c.CgroupID)
	number(c.Netns)
	number(c.Passwords)
	number(uint64(db.TLS.Mode))
	number(uint64(p.UID))
	text(db.Name, c.Host, c.to(), g.name, g.credential, p.User, p.Exe, p.Cgroup,
		w.Name, w.Namespace, w.Pod, w.PodUID, w.ServiceAccount, w.Container)
	for _, k := range slices.Sorted(maps.Keys(w.Labels)) {
		text(k, w.Labels[k])
	}
	if g.subject.Token != nil {
		token, err := json.Marshal(g.subject.Token)
		if err != nil { // a claim that cannot be written down is like no other
			return g.log.ID().String()
		}
		text("token", string(token))
	}
	return string(b)
}
