package session

import (
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol/postgres"
)

// audit returns the setting by which the server's own audit names the subject.
func (g *Gate) audit(db *policy.Database) []postgres.Setting {
	if db.AuditAs == "" {
		return nil
	}
	name := g.subject.Audit()
	if name == "" {
		name = "unknown"
	}
	return []postgres.Setting{{Name: db.AuditAs, Value: name}}
}
