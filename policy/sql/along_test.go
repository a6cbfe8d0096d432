package sql_test

import (
	"regexp"
	"testing"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// tangled holds things that are reached by more than one name.
const tangled = `
CREATE VIEW app.v_secrets AS SELECT k AS a, v AS b FROM app.secrets;
CREATE VIEW app.v_over AS SELECT a FROM app.v_secrets;
CREATE MATERIALIZED VIEW app.m_secrets AS SELECT v FROM app.secrets;
CREATE TABLE app.pay (id int PRIMARY KEY, name text NOT NULL, salary int);
CREATE VIEW app.v_names AS SELECT id, name FROM app.pay;
CREATE VIEW app.v_pay AS SELECT id AS salary, name, salary AS hidden FROM app.pay;
CREATE TABLE app.log (at date NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE app.log_1 PARTITION OF app.log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.log_2 PARTITION OF app.log DEFAULT;
CREATE TABLE app.events (at date NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE app.events_secret PARTITION OF app.events DEFAULT;
CREATE TABLE app.base (id int, t text);
CREATE TABLE app.kid (extra text) INHERITS (app.base);
CREATE TABLE app.par (id int PRIMARY KEY, n int);
CREATE TABLE app.few (id int PRIMARY KEY, par int REFERENCES app.par ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE app.firm (id int PRIMARY KEY, n int);
CREATE TABLE app.none (id int PRIMARY KEY, firm int REFERENCES app.firm ON DELETE CASCADE);
CREATE VIEW app.v_par AS SELECT id AS key, n FROM app.par;
CREATE VIEW app.v_firm AS SELECT id, n FROM app.firm;
CREATE TABLE app.logins (email text PRIMARY KEY, at date);
GRANT ALL ON ALL TABLES IN SCHEMA app TO app_rw`

const tangledPolicy = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: u}
  sensitive: [{tag: email, columns: ["*.*.email"], mask: email}]
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: all, effect: allow, actions: [select, insert, update, delete, merge, truncate, create, alter, drop], on: ["app.*"], except: [app.few, app.other]}
    - {name: few, effect: allow, actions: [insert, update, delete], on: [app.few], match: {affected: "<=2"}}
    - {name: secrets, effect: deny, actions: [select], on: [app.secrets]}
    - {name: salary, effect: deny, actions: [select, update], on: [app.pay], columns: [salary]}
    - {name: log, effect: deny, actions: [select, insert, delete], on: [app.log]}
    - {name: events, effect: deny, actions: [select, insert, update], on: [app.events_secret]}
    - {name: kid, effect: deny, actions: [select, insert], on: [app.kid]}
    - {name: none, effect: deny, actions: [delete], on: [app.none]}
`

// want is a pattern of the refusal, "" for none, "sensitive" if errors have to be redacted.
var tangledStatements = []struct{ text, want string }{
	// A deny holds through views, parents and partitions.
	{`SELECT a FROM app.v_secrets`, `select on app.secrets is not allowed.*because of view app.v_secrets`},
	{`SELECT a FROM app.v_over`, `select on app.secrets is not allowed.*because of view app.v_secrets`},
	{`SELECT count(*) FROM app.m_secrets`, `select on app.secrets is not allowed`},
	{`COPY app.m_secrets TO STDOUT`, `select on app.secrets is not allowed`},
	{`CREATE TABLE app.x AS SELECT * FROM app.v_secrets`, `select on app.secrets is not allowed`},
	{`SELECT id, name FROM app.pay`, ``},
	{`SELECT name FROM app.v_names`, ``},
	{`SELECT name FROM app.v_pay`, `select of column salary on app.pay is not allowed`},
	{`SELECT note FROM app.log_1`, `select on app.log is not allowed.*because of app.log_1`},
	{`INSERT INTO app.log_2 VALUES ('2020-01-01', '')`, `insert on app.log is not allowed`},
	{`DELETE FROM app.log_2`, `delete on app.log is not allowed`},
	{`UPDATE app.log_2 SET note = ''`, ``},
	{`SELECT note FROM app.events`, `select on app.events_secret is not allowed.*because of app.events`},
	{`INSERT INTO app.events VALUES ('2020-01-01', '')`, `insert on app.events_secret is not allowed`},
	{`UPDATE app.events SET note = ''`, `update on app.events_secret is not allowed`},
	{`SELECT t FROM app.base`, `select on app.kid is not allowed`},
	{`INSERT INTO app.base VALUES (1, '')`, ``}, // its descendants get nothing
	// Writing to a view is writing to the columns below it, with all that follows.
	{`UPDATE app.v_pay SET salary = 1`, `sensitive`}, // which is the id
	{`UPDATE app.v_pay SET hidden = 1`, `update of column salary on app.pay is not allowed.*because of view app.v_pay`},
	{`UPDATE app.v_par SET n = 1`, ``},
	{`UPDATE app.v_par SET key = 1`, `affected rows of app.few is limited, and foreign key`},
	{`DELETE FROM app.v_par`, `affected rows of app.few is limited, and foreign key`},
	{`DELETE FROM app.v_firm`, `delete on app.none is not allowed`},
	{`DELETE FROM app.firm`, `delete on app.none is not allowed`},
	// Rows that a foreign key changes are not counted.
	{`DELETE FROM app.par WHERE id = 1`, `affected rows of app.few is limited, and foreign key`},
	{`UPDATE app.par SET id = 2 WHERE id = 1`, `affected rows of app.few is limited`},
	{`UPDATE app.par SET n = 2`, ``},
	{`DELETE FROM app.few`, `sensitive`},
	// No definition computes with what may not be read, or is a way to another name for it.
	{`ALTER TABLE app.pay RENAME COLUMN salary TO pay`, `renaming salary of app.pay would allow select`},
	{`ALTER TABLE app.pay RENAME COLUMN name TO label`, `sensitive`},
	{`ALTER TABLE app.pay RENAME TO wages`, `renaming salary of app.pay would allow select`},
	{`ALTER TABLE app.secrets RENAME TO public`, `renaming app.secrets would allow select`},
	{`ALTER INDEX app.secrets RENAME TO public`, `renaming app.secrets would allow select`},
	{`ALTER TABLE app.none RENAME TO anything`, `renaming app.none would allow delete`},
	{`ALTER TABLE app.par RENAME TO other`, ``}, // gives nothing
	{`ALTER TABLE app.par RENAME CONSTRAINT par_pkey TO key`, ``},
	{`ALTER INDEX app.par_pkey RENAME TO key`, ``},
	{`ALTER TABLE app.pay ADD COLUMN g int GENERATED ALWAYS AS (salary) STORED`, `select of column salary`},
	{`ALTER TABLE app.pay ADD COLUMN g int GENERATED ALWAYS AS (pay.salary + 1) STORED`, `select of column salary`},
	{`ALTER TABLE app.pay ADD COLUMN g int GENERATED ALWAYS AS (id) STORED`, `sensitive`},
	{`ALTER TABLE app.pay ADD COLUMN g int DEFAULT 1`, `sensitive`},
	{`ALTER TABLE app.pay ALTER COLUMN name TYPE text USING (salary::text)`, `select of column salary`},
	{`ALTER TABLE app.pay ADD CHECK (salary < 10)`, `select of column salary`},
	{`ALTER TABLE app.pay ADD CHECK (pay IS NULL)`, `select of column salary`},
	{`CREATE UNIQUE INDEX ON app.pay ((salary / 1000))`, `select of column salary`},
	{`CREATE INDEX ON app.pay (name) WHERE salary > 10`, `select of column salary`},
	{`CREATE UNIQUE INDEX ON app.pay (salary)`, `sensitive`}, // its error tells of a value
	{`CREATE TABLE app.probe (e text REFERENCES app.logins)`, `email of app.logins is masked`},
	{`CREATE TABLE app.probe (e text REFERENCES app.logins (email))`, `email of app.logins is masked`},
	{`ALTER TABLE app.par ADD FOREIGN KEY (n) REFERENCES app.firm`, ``},
	// An error about a change quotes the row as it is.
	{`UPDATE app.pay SET name = NULL WHERE id = 1`, `sensitive`},
	{`INSERT INTO app.pay (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = NULL`, `sensitive`},
	{`INSERT INTO app.pay (id) VALUES (1)`, ``}, // that of the workload's own
	{`UPDATE app.par SET n = NULL`, ``},
}

// TestAlong judges what is reached by more than one name.
func TestAlong(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, tangled)
	c := load(t, connect(t, s.DSN("app_su", db)))
	v := view(t, tangledPolicy)
	for _, tt := range tangledStatements {
		j, _ := sql.Judge(c, v, &protocol.Query{Text: tt.text, Path: []string{"pg_catalog", "public"}}, sql.Options{})
		switch {
		case tt.want == "" || tt.want == "sensitive":
			if j.Refusal != nil {
				t.Errorf("%s: refused: %s %s", tt.text, j.Refusal.Message, j.Refusal.Detail)
			} else if got := j.Plans[0].Sensitive; got != (tt.want == "sensitive") {
				t.Errorf("%s: sensitive %v", tt.text, got)
			}
		case j.Refusal == nil:
			t.Errorf("%s: passes, want %q", tt.text, tt.want)
		case !regexp.MustCompile(tt.want).MatchString(j.Refusal.Message):
			t.Errorf("%s: %q, want %q", tt.text, j.Refusal.Message, tt.want)
		}
	}
}
