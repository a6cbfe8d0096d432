package agent

import (
	"slices"
	"testing"

	"sluicegate.io/sluice/policy"
)

func TestSettled(t *testing.T) {
	a := policy.Agent{User: "sluice", Sessions: 10, Record: policy.Record{Rows: 1}}
	b := a
	if got := settled(&a, &b); len(got) > 0 {
		t.Errorf("no change is told as %q", got)
	}
	b.User, b.Record.Rows, b.Sessions = "other", 2, 20
	if got := settled(&a, &b); !slices.Equal(got, []string{"record", "user"}) {
		t.Errorf("got %q, want record and user: sessions are bounded at once", got)
	}
}
