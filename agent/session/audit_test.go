package session_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The server's session names the subject, whatever the workload says it is called.
func TestAuditAs(t *testing.T) {
	p := start(t)
	ctx := context.Background()
	for _, setting := range []string{"application_name", "sluice.subject"} {
		p.configure("  auditAs: "+setting, document("Policy", "read", readAll), nil)
		c := p.mustConnect()
		for _, sql := range []string{"SET X = 'somebody'", "RESET X", "SELECT set_config('X', 'somebody', false)"} {
			sql = strings.Replace(sql, "X", setting, 1)
			if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); code(err) != "42501" {
				t.Errorf("%s: %v, want 42501", sql, err)
			}
		}
		if setting == "application_name" {
			if got := c.PgConn().ParameterStatus(setting); got != "alice" {
				t.Errorf("reported application_name = %q, want alice", got)
			}
			rows, err := p.pg.Query(p.name, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'alice'")
			if err != nil || len(rows) != 1 || rows[0] != "1" {
				t.Errorf("sessions of alice = %v, %v", rows, err)
			}
		}
		c.Close(ctx)
	}
	// What passes unjudged shows what the server has.
	p.configure("  auditAs: sluice.subject", document("Policy", "all",
		"  rules: [{name: all, effect: allow, actions: [any], on: [\"*\"]}]\n  reveal: [ssn]\n"), nil)
	if got, err := one(p.mustConnect(), "SELECT current_setting('sluice.subject')"); err != nil || got != "alice" {
		t.Errorf("sluice.subject = %q, %v", got, err)
	}
}
