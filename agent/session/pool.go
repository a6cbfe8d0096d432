package session

import (
	"encoding/json"
	"strconv"

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
		Idle: db.Pool.Idle, Age: db.Pool.Age, Max: db.Pool.Max, Total: db.Pool.Total,
		Reused: func() {
			g.log.Buffer(&record.Event{Notice: &record.Notice{Type: "pool",
				Text: "served by a session of the server that was kept and reset"}})
		},
	}
}

// likeness is all of a session that another one must have too, to get its server's
// session: whom it serves, as far as that is proven, with every claim of a token, and
// where the server is. Which process of a workload it is does not matter.
func (g *Gate) likeness(db *policy.Database) string {
	s := g.subject
	s.Process.PID = 0
	who, err := json.Marshal(struct {
		Subject                               policy.Subject
		Cgroup, Netns, Passwords              uint64
		Database, Host, To, Mode, Name, Login string
	}{s, g.conn.CgroupID, g.conn.Netns, g.conn.Passwords, db.Name, g.conn.Host, g.conn.to(), strconv.Itoa(int(db.TLS.Mode)), g.name, g.credential})
	if err != nil { // a claim that cannot be written down is like no other
		return g.log.ID().String()
	}
	return string(who)
}
