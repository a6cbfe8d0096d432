package session

import "sluicegate.io/sluice/agent/record"

// foreign notes that the workload presented a credential that opens nothing here: one
// that it found, or was given for something else. What it is, nobody keeps.
func (g *Gate) foreign(method, what string) {
	g.s.o.Traffic.Foreign.Add(1)
	g.s.o.Log.Warn("foreign credential", "presented", what, "user", g.claimed, "subject", g.name,
		"database", g.conn.Database, "pid", g.conn.Process.PID, "session", g.log.ID())
	err := g.log.Append(&record.Event{Notice: &record.Notice{
		Type: "foreign-credential", Text: "the workload presented " + what,
		Facts: map[string]string{"user": g.claimed, "method": method},
	}})
	if err != nil {
		g.s.o.Log.Error("foreign credential not recorded", "session", g.log.ID(), "error", err)
	}
}
