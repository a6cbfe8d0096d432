package harden_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/test/corpus"
)

// everything puts back what PUBLIC has by default, which no judgement may need gone.
const everything = `GRANT TEMPORARY ON DATABASE %[1]s TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO PUBLIC; GRANT USAGE ON SCHEMA app TO PUBLIC; GRANT EXECUTE ON ALL ROUTINES IN SCHEMA app TO PUBLIC`

// TestBypass runs the corpora as the scoped login behind the judge.
func TestBypass(t *testing.T) {
	f := start(t, demo)
	f.apply(t)
	for _, state := range []string{"hardened", "public"} {
		if state == "public" {
			f.Exec(t, f.db, one(everything, f.db))
		}
		for _, file := range []string{"bypass*.sql", "benign*.sql"} {
			t.Run(state+"/"+file, func(t *testing.T) {
				bad, all := 0, cases(t, file)
				for _, cs := range all {
					if strings.HasPrefix(cs.Via, "fcall:") || cs.As == "app_repl" {
						continue // the codec refuses it
					}
					var opts []string
					if opt, ok := strings.CutPrefix(cs.Via, "opt:"); ok {
						if k, v, _ := strings.Cut(opt, "="); !sql.StartupParameter(k, v) {
							continue
						}
						opts = append(opts, opt)
					}
					j := f.judged(t, opts...)
					ext := cs.Via != "simple" && !strings.HasPrefix(cs.Via, "opt:")
					for _, m := range cs.Messages {
						j.send(t, strings.ReplaceAll(strings.ReplaceAll(m, "$DB", f.db), "$TMP", f.Temp), ext, cs.Bind, false)
					}
					j.conn.Close(context.Background())
					why := cs.Check(&j.out, "")
					if file == "benign*.sql" {
						why = cs.CheckBenign(&j.out)
					}
					if why == "" {
						continue
					}
					bad++
					// What only differs in how it is refused is for the test of mode inline.
					if file == "benign*.sql" || strings.HasPrefix(why, "LEAK") || strings.Contains(why, "effect") || !strings.HasPrefix(cs.ID, "O") {
						t.Errorf("%s: %s\n%s\nserver got %q\nanswer %s", cs.ID, why, cs.Messages, j.text, j.out.Text)
					}
				}
				t.Logf("%d of %d", len(all)-bad, len(all))
			})
		}
	}
}

// TestUnspliced runs every bypass as the scoped login with no judge in front: what
// a construct comes to that the analysis missed.
func TestUnspliced(t *testing.T) {
	f := start(t, demo)
	f.apply(t)
	counts := map[string]int{}
	for _, cs := range cases(t, "bypass*.sql") {
		if cs.As == "app_repl" {
			continue
		}
		target := corpus.Target{Database: f.db, User: login, Replace: strings.NewReplacer("$DB", f.db, "$TMP", f.Temp, "55433", f.Addr()[strings.LastIndex(f.Addr(), ":")+1:]),
			Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", f.Addr()) },
			OID:  func(string) (uint32, error) { return 3826, nil }}
		tr, err := cs.Run(context.Background(), target)
		if err != nil {
			t.Errorf("%s: %v", cs.ID, err)
			continue
		}
		effect := ""
		if cs.Effect != "" {
			if rows, err := f.Query(f.db, target.Replace.Replace(cs.Effect)); err == nil && len(rows) == 1 {
				effect = rows[0]
			}
		}
		switch {
		case cs.Leak != nil && cs.Leak.MatchString(tr.Text), effect == "t":
			counts["through"]++
			t.Logf("through: %s %s\n%s", cs.ID, cs.Messages, tr.Text)
		case len(tr.Codes) > 0 && contains(tr.Codes, "42501"):
			counts["42501"]++
		case len(tr.Codes) > 0:
			counts["other error"]++
			t.Logf("%s: %v", cs.ID, tr.Errors)
		default:
			counts["ran"]++
			t.Logf("ran: %s %s\n%s", cs.ID, cs.Messages, tr.Text)
		}
	}
	t.Logf("%v", counts)
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}
