package corpus_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestDetect copies a table that nobody has labelled: content detectors look into
// the text and csv formats, and the binary one is refused.
func TestDetect(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	d := sluicetest.Plain(server)
	d.Name, d.Extra = "shop", "detect: [email, us-ssn, credit-card]"
	sluice := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{d}, Policy: sluicetest.CorpusPolicy})
	db := server.Database(t)
	target := direct(server, db)
	target.Dial = func(ctx context.Context) (net.Conn, error) { return sluice.Dial(ctx, server.Addr()) }
	for _, via := range []string{"simple", "ext", "nodesc"} {
		for text, want := range map[string]string{
			`COPY app.customers TO STDOUT`: "1\tAlice\t[email]\t[us-ssn]\t",
			`COPY (SELECT id, 'to ' || email, ssn FROM app.customers WHERE id < 3) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)`: `"2","to [email]","[us-ssn]"`,
			`COPY (SELECT format(E'"%s"\n,%s', email, ssn) FROM app.customers WHERE id < 3) TO STDOUT CSV`:                        `,[us-ssn]"`,
			`COPY app.customers TO STDOUT (FORMAT binary)`:                                                                        `binary format is not available here`,
			`SELECT email, ssn FROM app.customers WHERE id = 1`:                                                                   `DataRow|[email]|[us-ssn]`,
		} {
			c := corpus.Case{ID: text, As: "app_rw", Via: via, Messages: []string{text}}
			got, err := c.Run(context.Background(), target)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.Text, want) || strings.Contains(got.Text, "@example.com") || strings.Contains(got.Text, "123-45-6789") || strings.Contains(got.Text, "987-65-4321") {
				t.Errorf("%s: %s\n%s", via, text, got.Text)
			}
		}
	}
}
