package session

import (
	"net/netip"
	"testing"

	"sluicegate.io/sluice/policy"
)

// TestServerOfNamespace keeps catalogs apart: that of a server which a workload runs in a
// network namespace of its own must not be taken for the database's.
func TestServerOfNamespace(t *testing.T) {
	tests := []struct {
		to, unix string
		mode     policy.TLSMode
		same     bool // in two namespaces
	}{
		{"10.0.0.5:5432", "", policy.TLSVerifyFull, true},
		{"10.0.0.5:5432", "", policy.TLSVerifyCA, true},
		{"10.0.0.5:5432", "", policy.TLSRequire, false},
		{"10.0.0.5:5432", "", policy.TLSDisable, false},
		{"127.0.0.1:5432", "", policy.TLSVerifyFull, false},
		{"[::1]:5432", "", policy.TLSVerifyFull, false},
		{"", "/run/postgresql/.s.PGSQL.5432", policy.TLSDisable, true},
		{"", "@db", policy.TLSVerifyFull, false},
	}
	for _, tt := range tests {
		a := Conn{Unix: tt.unix, Netns: 1}
		if tt.to != "" {
			a.Destination = netip.MustParseAddrPort(tt.to)
		}
		b := a
		b.Netns = 2
		if got := a.server(tt.mode) == b.server(tt.mode); got != tt.same {
			t.Errorf("%+v: one server in two namespaces: %v", tt, got)
		}
	}
}
