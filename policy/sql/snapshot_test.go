//go:build update

package sql_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestSnapshot writes the snapshot anew: go test -tags update -run TestSnapshot.
func TestSnapshot(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, shop)
	b, err := json.Marshal(load(t, connect(t, s.DSN("app_su", db))))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(snapshot), 0o755); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	z.Write(b)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(snapshot, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
