package redirect_test

import (
	"net/netip"
	"testing"

	"sluicegate.io/sluice/redirect"
)

// TestCapturedPort captures a port by name: everything but loopback.
func TestCapturedPort(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	all := []redirect.Endpoint{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Port: 8080},
		{Prefix: netip.MustParsePrefix("::/0"), Port: 8080},
	}
	must(t, w.kernel.SetEndpoints(all))
	for to, want := range map[string]string{
		other4: "PROXY*", other6: "PROXY*", db4: "DB*", db6: "DB*",
		"127.0.0.1:8080": "ECONNREFUSED", "[::1]:8080": "ECONNREFUSED", "127.9.9.9:8080": "ECONNREFUSED",
		"[::ffff:127.0.0.1]:8080": "ECONNREFUSED",
	} {
		if got := p.do("connect", to); !like(got, want) {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	must(t, w.kernel.SetEndpoints(append(all, redirect.Endpoint{Prefix: netip.MustParsePrefix("127.0.0.1/32"), Port: 8080})))
	if got := p.do("connect", "127.0.0.1:8080"); !like(got, "PROXY 127.0.0.1:8080*") {
		t.Errorf("listed loopback: %s", got)
	}
	must(t, w.kernel.SetEndpoints(nil))
	if got := p.do("connect", other4); !like(got, "DB*") {
		t.Errorf("no endpoints: %s", got)
	}
	for _, bad := range []redirect.Endpoint{{}, {Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::ffff:0:0/90"), Port: 1}} {
		if err := w.kernel.SetEndpoints([]redirect.Endpoint{bad}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
