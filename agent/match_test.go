package agent

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
)

func load(t *testing.T, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const twoDatabases = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: wide}
spec:
  protocol: postgres
  endpoints: ["10.0.0.0/8:5432", "named.internal:5432"]
  credential: {username: a, passwordFile: /etc/hostname}
---
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: narrow}
spec:
  protocol: postgres
  endpoints: ["10.1.0.0/16:5432", "[2001:db8::/32]:5432"]
  credential: {username: a, passwordFile: /etc/hostname}
---
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: rest}
spec:
  protocol: postgres
  endpoints: ["*:6432"]
  credential: {username: a, passwordFile: /etc/hostname}
`

func TestMatch(t *testing.T) {
	m := newMatcher(load(t, twoDatabases), nil)
	asked := 0
	m.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		asked++
		return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
	}
	tests := []struct {
		to, want, host string
	}{
		{"10.2.0.1:5432", "wide", ""},
		{"10.1.0.1:5432", "narrow", ""},
		{"[::ffff:10.1.0.1]:5432", "narrow", ""},
		{"[2001:db8::1]:5432", "narrow", ""},
		{"10.1.0.1:5433", "", ""},
		{"192.0.2.7:5432", "wide", "named.internal"}, // unknown until it is asked for
		{"192.0.2.8:5432", "", ""},
		{"192.0.2.8:6432", "rest", ""},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			db, host := m.match(context.Background(), netip.MustParseAddrPort(tt.to))
			name := ""
			if db != nil {
				name = db.Name
			}
			if name != tt.want || host != tt.host {
				t.Errorf("match(%s) = %q, %q; want %q, %q", tt.to, name, host, tt.want, tt.host)
			}
		})
	}
	if asked > 2 {
		t.Errorf("a name was resolved %d times within a second", asked)
	}
}

// A failover must find no closed door, in either direction.
func TestNamesKeepTheirAddresses(t *testing.T) {
	m := newMatcher(load(t, twoDatabases), nil)
	addr := "192.0.2.7"
	m.lookup = func(context.Context, string) ([]netip.Addr, error) {
		if addr == "" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr(addr)}, nil
	}
	m.poll(context.Background())
	addr = "192.0.2.8"
	m.names[0].asked = time.Time{}
	m.poll(context.Background())
	addr = ""
	m.names[0].asked = time.Time{}
	m.poll(context.Background())
	next := newMatcher(load(t, twoDatabases), m)
	next.lookup = m.lookup
	for _, to := range []string{"192.0.2.7:5432", "192.0.2.8:5432"} {
		if db, _ := next.match(context.Background(), netip.MustParseAddrPort(to)); db == nil {
			t.Errorf("%s is not known any more", to)
		}
	}
}

func TestEndpoints(t *testing.T) {
	m := newMatcher(load(t, twoDatabases), nil)
	m.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.9")}, nil
	}
	m.poll(context.Background())
	got := map[string]bool{}
	for _, e := range m.endpoints() {
		got[netip.AddrPortFrom(e.Prefix.Addr(), e.Port).String()] = true
	}
	for _, want := range []string{"10.0.0.0:5432", "10.1.0.0:5432", "[2001:db8::]:5432", "0.0.0.0:5432", "[::]:5432", "127.0.0.9:5432", "0.0.0.0:6432", "[::]:6432"} {
		if !got[want] {
			t.Errorf("%s is not captured: %v", want, got)
		}
	}
}
