package credential_test

import (
	"fmt"
	"strings"
	"testing"

	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/test/pgtest"
)

// What a real server stores of a password is what we prove to know: it prepares
// the password as we do.
func TestStoredByPostgreSQL(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{})
	for i, password := range []string{
		"pencil", " spaces ", "quote'quote", "a\u00a0b", "I\u00adX", "\u00aa\u2168", "e\u0301", "\u0627\u0631", "\u0627\u0031",
		"\u00aa\U0001f600", "\u00aa\ue000", "\u00ad", "passwörd", "ﬁ", "\u2163\u06f1", "\u00aa\u1e9e", "\u0221\u00aa", "a\u200bb", "\u00aa\ufffd", "\uac00\u1100\u1161",
	} {
		role := fmt.Sprint("sluicetest_credential_", i)
		pg.Exec(t, "postgres", fmt.Sprintf("SET password_encryption = 'scram-sha-256'; CREATE ROLE %s PASSWORD '%s'",
			role, strings.ReplaceAll(password, "'", "''")))
		rows, err := pg.Query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+role+"'")
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		// SCRAM-SHA-256$4096:salt$StoredKey:ServerKey
		parts := strings.FieldsFunc(rows[0], func(r rune) bool { return r == '$' || r == ':' })
		v := &credential.Verifier{Salt: decode(t, parts[2]), Iterations: 4096}
		copy(v.StoredKey[:], decode(t, parts[3]))
		copy(v.ServerKey[:], decode(t, parts[4]))
		p := credential.New(role, fixed(password), credential.Options{})
		proof, want, err := p.SCRAM(t.Context(), v.Salt, v.Iterations, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if sig, ok := v.Check([]byte("message"), proof); !ok || string(sig) != string(want) {
			t.Errorf("%+q: the server would refuse it", password)
		}
	}
}
