package agent

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// TestSayReady asks as kubelet and as others do.
func TestSayReady(t *testing.T) {
	l, err := listenMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	beside, err := listenMetrics(l.Addr().String()) // as the agent that is to be replaced does
	if err != nil {
		t.Fatal(err)
	}
	beside.Close()
	done := make(chan struct{})
	go func() { defer close(done); sayReady(l) }()
	defer func() { l.Close(); <-done }()
	slow, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close() // says nothing while others ask
	for path, want := range map[string]int{"/readyz": 200, "/healthz": 200, "/metrics": 503, "/readyzx": 503} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}
