package credential_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/credential"
)

func TestRemote(t *testing.T) {
	answer, err, asked := "one\n", error(nil), 0
	r := &credential.Remote{What: "secret a/b", TTL: time.Hour, Get: func(context.Context) ([]byte, error) {
		asked++
		return []byte(answer), err
	}}
	check := func(step, want string, version uint64, asks int) {
		t.Helper()
		s, v, err := r.Password(t.Context())
		switch {
		case want == "" && !errors.Is(err, credential.ErrNone):
			t.Errorf("%s: got %v, want ErrNone", step, err)
		case want != "" && (err != nil || string(s.Reveal()) != want || v != version):
			t.Errorf("%s: got version %d, %v", step, v, err)
		}
		s.Zero()
		if asked != asks {
			t.Errorf("%s: asked %d times, want %d", step, asked, asks)
		}
	}
	check("first", "one", 1, 1)
	check("kept", "one", 1, 1)
	answer = "two"
	check("kept while fresh", "one", 1, 1)
	r.Stale()
	check("rotated", "two", 2, 2)
	r.Stale()
	err = errors.New("nobody answers")
	check("unreachable", "two", 2, 3)
	check("unreachable, not asked again at once", "two", 2, 3)
	if r.Failed() == nil {
		t.Error("that nobody answers is not told")
	}
	r.Stale()
	err = fmt.Errorf("forbidden: %w", credential.ErrNone)
	check("taken away", "", 0, 4)
	err = errors.New("nobody answers")
	check("nothing kept of what was taken away", "", 0, 5)
	err, answer = nil, ""
	check("empty", "", 0, 6)
	answer = "three"
	check("back", "three", 3, 7)
	if r.Failed() != nil {
		t.Errorf("mended, and says %v", r.Failed())
	}
}
