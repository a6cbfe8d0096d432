package sql_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/test/corpus"
)

// shop is what the corpus schema lacks: things that lie on top of masked columns.
const shop = `
CREATE VIEW app.v_deep AS SELECT v.label, v.tax_ref || '' AS t, o.total FROM app.v_contact v LEFT JOIN app.orders o ON o.customer_id = v.id;
CREATE VIEW app.v_clean AS SELECT id, name, balance FROM app.customers;
CREATE VIEW app.v_leak AS SELECT id, app.f_get_ssn(id) AS x FROM app.customers;
CREATE MATERIALIZED VIEW app.mat AS SELECT id, ssn AS s FROM app.customers;
CREATE TABLE app.people (id int PRIMARY KEY, email text, ssn text, tail text GENERATED ALWAYS AS (right(ssn, 2)) STORED);
INSERT INTO app.people VALUES (1, 'alice@example.com', '123-45-6789');
CREATE TABLE app.staff (grade int) INHERITS (app.people);
INSERT INTO app.staff VALUES (7, 'bob@example.com', '987-65-4321', DEFAULT, 3);
CREATE TABLE app.log (at date NOT NULL, email text, n int) PARTITION BY RANGE (at);
CREATE TABLE app.log_1 PARTITION OF app.log DEFAULT;
INSERT INTO app.log VALUES ('2024-01-01', 'carol@example.com', 1);
CREATE TABLE app.lines (id int PRIMARY KEY, order_id int REFERENCES app.orders ON DELETE CASCADE, doc jsonb, tags text[]);
INSERT INTO app.lines VALUES (1, 1, '{"a": {"b": 2}}', '{x,y}');
CREATE VIEW app.v_stats AS SELECT tablename, attname, most_common_vals::text FROM pg_stats;
CREATE TABLE app.ruled (id int PRIMARY KEY, n int);
CREATE RULE also AS ON UPDATE TO app.ruled DO ALSO DELETE FROM app.secrets;
CREATE VIEW app.v_ruled AS SELECT id, n FROM app.ruled;
CREATE FUNCTION app.seen(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END';
CREATE DOMAIN app.watched AS text CHECK (app.seen(VALUE));
CREATE FUNCTION app.json_value(text, text) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT string_agg(ssn, '','') FROM app.customers';
CREATE FUNCTION app.lower(varchar) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT string_agg(ssn, '','') FROM app.customers';
CREATE TABLE app.notes (id int PRIMARY KEY, body varchar);
INSERT INTO app.notes VALUES (1, 'x');
CREATE FUNCTION app.on_note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER note BEFORE INSERT OR UPDATE OF body ON app.notes FOR EACH ROW EXECUTE FUNCTION app.on_note();
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."T""x" (id int PRIMARY KEY, email text, "Mixed Case" int);
INSERT INTO "Odd Schema"."T""x" VALUES (1, 'alice@example.com', 5);
GRANT USAGE ON SCHEMA "Odd Schema" TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA app, "Odd Schema" TO app_rw;
ANALYZE`

const shopPolicy = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: u}
  %s
  sensitive:
    - {tag: ssn,   columns: ["app.customers.ssn", "app.people.ssn"],  mask: {keepLast: 4}}
    - {tag: card,  columns: ["app.customers.card"], mask: {keepLast: 4}}
    - {tag: email, columns: ["*.*.email"],          mask: email}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: all, effect: allow, actions: [select, insert, update, delete, merge, lock, truncate], on: ["app.*", '"Odd Schema".*'], except: [app.secrets]}
`

// statements says what becomes of each text: want is a pattern that the answer
// matches, or "!" and a pattern that the refusal matches. No answer may ever
// hold a true value.
var statements = []struct{ text, want string }{
	// Names
	{`SELECT email FROM app.customers WHERE id = 1`, `a\*\*\*@example.com`},
	{`SELECT "customers"."email" FROM app."customers" WHERE app."customers".id=1`, `a\*\*\*`},
	{`SELECT app.customers.* FROM app.customers WHERE id=1`, `\|Alice\|a\*\*\*`},
	{`SELECT c.* FROM ONLY app.customers AS c WHERE id=1`, `a\*\*\*`},
	{`SELECT c.* FROM ONLY (app.customers) c WHERE id=1`, `a\*\*\*`},
	{`SELECT c.* FROM app.customers * c WHERE id=1`, `a\*\*\*`},
	{`SELECT * FROM app.customers AS t(a, b, c) WHERE a=1`, `a\*\*\*`},
	{`SELECT "T""x".email, "Mixed Case" FROM "Odd Schema"."T""x"`, `a\*\*\*@example.com\|5`},
	{`SELECT "Odd Schema"."T""x".* FROM "Odd Schema"."T""x"`, `a\*\*\*`},
	{`SET search_path = "Odd Schema", app; SELECT email FROM "T""x"; SELECT email FROM people`, `a\*\*\*`},
	{`SELECT nope FROM app.customers`, `!column "nope" does not exist`},
	{`SELECT x.id FROM app.customers`, `!missing FROM-clause`},
	{`SELECT id FROM app.customers a, app.customers b`, `!ambiguous`},
	{`SELECT 1 FROM app.nope`, `!relation "app.nope" does not exist`},
	{`SELECT 1 FROM app.secrets`, `!not allowed, or it is not there`},
	{`SELECT 1 FROM other.nope`, `!not allowed, or it is not there`},
	{`TABLE app.customers`, `a\*\*\*`},
	{`(TABLE app.customers) ORDER BY id LIMIT 1`, `a\*\*\*`},
	{`TABLE app.people UNION ALL TABLE app.people`, `a\*\*\*`},
	{`SELECT ctid, tableoid::regclass, xmin IS NULL, * FROM app.customers WHERE id=1`, `\(0,1\)\|app.customers\|f\|1\|Alice\|a\*\*\*`},
	{`SELECT c.ctid, c.*, o.* FROM app.customers c JOIN app.orders o ON o.customer_id=c.id WHERE o.id=1`, `a\*\*\*`},
	{`SELECT email FROM app.customers TABLESAMPLE BERNOULLI (100) REPEATABLE (1) WHERE id=1`, `a\*\*\*`},
	{`SELECT email FROM app.customers AS c TABLESAMPLE system(100.0) WHERE c.id=1`, `a\*\*\*`},
	// Joins
	{`SELECT c.email, o.total FROM app.customers c JOIN app.orders o ON o.customer_id = c.id WHERE o.id=1`, `a\*\*\*@example.com\|10`},
	{`SELECT id, email FROM app.customers JOIN app.v_clean USING (id) WHERE id=1`, `1\|a\*\*\*`},
	{`SELECT * FROM app.customers c JOIN app.customers d USING (id) WHERE id=1`, `a\*\*\*`},
	{`SELECT u.id FROM app.customers c JOIN app.orders o USING (id) AS u WHERE u.id=1`, `\|1`},
	{`SELECT c.id FROM app.customers c NATURAL JOIN app.v_clean v WHERE c.id=1`, `\|1`},
	{`SELECT 1 FROM app.customers c NATURAL JOIN app.customers d`, `!masked`},
	{`SELECT j.email FROM (app.customers c LEFT JOIN app.orders o ON o.customer_id=c.id) j WHERE j.total=10`, `!ambiguous|a\*\*\*`},
	{`SELECT c.id, l.e FROM app.customers c, LATERAL (SELECT c.email AS e) l WHERE c.id=1`, `a\*\*\*`},
	{`SELECT c.id, x FROM app.customers c LEFT JOIN LATERAL generate_series(1, c.id) x ON true WHERE c.id=1`, `1\|1`},
	// Derived
	{`WITH x AS (SELECT email e FROM app.customers WHERE id=1) SELECT e FROM x`, `a\*\*\*`},
	{`WITH x AS (SELECT email e FROM app.customers) SELECT * FROM x WHERE e='a'`, `!masked for you and cannot be used in`},
	{`WITH x AS NOT MATERIALIZED (SELECT * FROM app.customers) SELECT y.email FROM x y WHERE y.id=1`, `a\*\*\*`},
	{`WITH RECURSIVE t(n, e) AS (SELECT 1, email FROM app.customers WHERE id=1 UNION ALL SELECT n+1, e FROM t WHERE n < 3) SELECT * FROM t`, `3\|a\*\*\*`},
	{`WITH RECURSIVE t(n) AS (VALUES (1) UNION SELECT n+1 FROM t WHERE n < 5) SELECT sum(n) FROM t`, `\|15`},
	{`WITH RECURSIVE t(a, b, c) AS (SELECT id, name, name FROM app.customers WHERE id=1 UNION ALL SELECT a+1, c, (SELECT ssn FROM app.customers WHERE id=1) FROM t WHERE a<3) SELECT * FROM t WHERE b='x'`, `!masked`},
	{`SELECT (SELECT email FROM app.customers c WHERE c.id=o.customer_id) FROM app.orders o WHERE id=1`, `a\*\*\*`},
	{`SELECT ARRAY(SELECT email FROM app.customers WHERE id<3 ORDER BY id)`, `a\*\*\*.*b\*\*\*`},
	{`SELECT id FROM app.orders WHERE customer_id IN (SELECT id FROM app.customers WHERE name='Alice') ORDER BY 1`, `\|1`},
	{`SELECT id FROM app.orders WHERE 'x' IN (SELECT email FROM app.customers)`, `!masked`},
	{`VALUES (1, 'a'), (2, 'b') ORDER BY 1 DESC LIMIT 1`, `2\|b`},
	{`SELECT email FROM app.customers WHERE id=1 UNION SELECT 'x'`, `!masked`},
	{`SELECT id FROM app.customers WHERE id<3 UNION SELECT id FROM app.orders ORDER BY id`, `\|1`},
	// Grouping
	{`SELECT c.id, c.name, c.email, sum(o.total) FROM app.customers c JOIN app.orders o ON o.customer_id=c.id GROUP BY c.id ORDER BY c.name`, `Alice\|a\*\*\*@example.com\|30`},
	{`SELECT c.*, count(o.id) FROM app.customers c LEFT JOIN app.orders o ON o.customer_id=c.id WHERE c.id=1 GROUP BY 1 ORDER BY c.name`, `a\*\*\*.*\|2`},
	{`SELECT c.name, count(*) FROM app.customers c JOIN app.orders o ON o.customer_id=c.id GROUP BY (c.id) HAVING c.name > 'A' ORDER BY c.balance`, `Bob\|1`},
	{`SELECT app.customers.name, count(*) FROM app.customers GROUP BY app.customers.id ORDER BY 1 LIMIT 1`, `Alice\|1`},
	{`SELECT c.name, (SELECT count(*) FROM app.orders o WHERE o.customer_id=c.id AND c.balance > 0) FROM app.customers c WHERE id=1 GROUP BY c.id`, `Alice\|2`},
	{`SELECT name n, count(*) FROM app.customers GROUP BY n ORDER BY n LIMIT 1`, `Alice\|1`},
	{`SELECT email, count(*) FROM app.customers GROUP BY 1`, `!cannot be used in GROUP BY`},
	{`SELECT grouping(name), name, sum(balance) FROM app.customers WHERE id<3 GROUP BY ROLLUP (name) ORDER BY 2 NULLS LAST`, `1\|.*\|350.5`},
	{`SELECT count(email), count(*) FILTER (WHERE name='Bob') FROM app.customers`, `\|54\|1`},
	{`SELECT count(DISTINCT ssn) FROM app.customers`, `!DISTINCT`},
	{`SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY balance), avg(balance) OVER () FROM app.customers GROUP BY balance LIMIT 1`, `\|`},
	{`SELECT max(email) FROM app.customers WHERE id=1`, `a\*\*\*`},
	{`SELECT DISTINCT name FROM app.customers WHERE id<3 ORDER BY name`, `Alice`},
	{`SELECT DISTINCT ON (id) id, email FROM app.customers ORDER BY id LIMIT 1`, `a\*\*\*`},
	{`SELECT id, lag(balance) OVER w FROM app.customers WINDOW w AS (PARTITION BY name ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) LIMIT 1`, `\|`},
	// Expressions
	{`SELECT upper(email), coalesce(ssn, ''), NULLIF(email, ''), email || '!' FROM app.customers WHERE id=1`, `A\*\*\*@EXAMPLE.COM`},
	{`SELECT CASE WHEN email IS NULL THEN 'none' ELSE email END FROM app.customers WHERE id=1`, `a\*\*\*`},
	{`SELECT to_jsonb(c) - 'card', row_to_json(c)->>'ssn' FROM app.customers c WHERE id=1`, `\*6789`},
	{`SELECT json_build_object('c', c) FROM app.customers c WHERE id=1`, `a\*\*\*`},
	{`SELECT (c).email, (c.*)::text FROM app.customers c WHERE id=1`, `a\*\*\*`},
	{`SELECT email(c) FROM app.customers c WHERE id=1`, `!|a\*\*\*`},
	{`SELECT (x).* FROM (SELECT c AS x FROM app.customers c WHERE id=1) y`, `a\*\*\*`},
	{`SELECT email IS DISTINCT FROM NULL FROM app.customers WHERE id=1`, `\|t`},
	{`SELECT starts_with(ssn, '123') FROM app.customers`, `!comparison by function`},
	{`SELECT id, c.name, count(*) FROM app.customers c JOIN app.orders o USING (id) WHERE id=1 GROUP BY id`, `1\|Alice\|1`},
	{`SELECT email = 'x' FROM app.customers`, `!a comparison`},
	{`SELECT id FROM app.customers WHERE (email IS NULL) IS FALSE AND id=1`, `\|1`},
	{`SELECT length(ssn), md5(ssn)::uuid IS NOT NULL FROM app.customers WHERE id=1`, `!cannot be cast|\|`},
	{`SELECT doc->'a'->>'b', doc @> '{"a":{}}', tags[1], 'x' = ANY(tags), array_length(tags, 1) FROM app.lines`, `2\|t\|x\|t\|2`},
	{`SELECT k, v FROM app.lines, jsonb_each(doc) AS e(k, v)`, `a\|\{"b": 2\}`},
	{`SELECT key, value FROM app.lines, jsonb_each(doc)`, `a\|\{"b": 2\}`},
	{`SELECT e.* FROM app.customers c, jsonb_each_text(to_jsonb(c)) e WHERE c.id=1`, `email\|a\*\*\*`},
	{`SELECT * FROM unnest(ARRAY[1,2]) WITH ORDINALITY AS t(a, n)`, `2\|2`},
	{`SELECT * FROM ROWS FROM (generate_series(1,2), generate_series(3,5)) AS t(a, b) ORDER BY 2`, `1\|3`},
	{`SELECT * FROM json_to_recordset('[{"a":1}]') AS t(a int)`, `\|1`},
	{`SELECT d::date FROM generate_series('2024-01-01'::timestamp, '2024-01-02', '1 day') d`, `2024-01-02`},
	{`SELECT extract(year FROM now()) > 2000, position('b' in 'abc'), substring('abc' from 2 for 1), trim(both 'x' from 'xax'), now() AT TIME ZONE 'UTC' IS NULL`, `t\|2\|b\|a\|f`},
	{`SELECT current_user, current_date IS NULL, localtimestamp IS NULL, session_user`, `app_rw`},
	{`SELECT x.a FROM XMLTABLE('/r/a' PASSING ('<r><a>1</a></r>'::xml) COLUMNS a int PATH '.') x`, `\|1`},
	{`SELECT to_tsvector('english', name) @@ to_tsquery('alice') FROM app.customers WHERE id=1`, `\|t`},
	{`SELECT pg_read_file('/etc/passwd')`, `!pg_read_file is not allowed`},
	{`SELECT * FROM pg_ls_dir('.')`, `!pg_ls_dir is not allowed`},
	{`SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)`, `'b' & 'c'|'c' & 'b'`},
	{`SELECT ts_rewrite('a & b'::tsquery, 'SELECT ''a''::tsquery, ssn::tsquery FROM app.customers')`, `!ts_rewrite is not allowed`},
	{`SELECT "lower"('A'), pg_catalog.lower('B')`, `a\|b`},
	{`SELECT nosuch(1)`, `!nosuch is not there`},
	// Views, inheritance, partitions
	{`SELECT * FROM app.v_contact WHERE id=1`, `Alice\|\*+6789`},
	{`SELECT label, t FROM app.v_deep WHERE total=10`, `Alice\|\*+6789`},
	{`SELECT tax_ref FROM app.v_contact WHERE tax_ref='x'`, `!masked`},
	{`SELECT * FROM app.v_clean WHERE id=1`, `Alice\|100.5`},
	{`SELECT * FROM app.v_leak`, `!f_get_ssn`},
	{`SELECT s FROM app.mat WHERE id=1`, `\*+6789`},
	{`SELECT * FROM app.people ORDER BY id`, `b\*\*\*`},
	{`SELECT ssn, tail FROM app.staff`, `\*+4321\|`},
	{`SELECT email FROM app.log_1`, `c\*\*\*`},
	{`SELECT tableoid::regclass, email FROM app.log`, `app.log_1\|c\*\*\*`},
	// Writes
	{`INSERT INTO app.people (id, email, ssn) VALUES (2, 'x@y.example', '111') RETURNING *`, `2\|\*\*\*@y`},
	{`INSERT INTO app.people (id, email) VALUES (3, 'x@y.example') RETURNING id, email, upper(email) AS u, app.people.email, people.*`, `3\|\*\*\*@y.example\|\*\*\*@Y`},
	{`INSERT INTO app.people AS p (id, email) VALUES (4, $$q@y.example$$) ON CONFLICT (id) DO UPDATE SET email = EXCLUDED.email WHERE p.id > 0 RETURNING p.email, p.id`, `\*\*\*@y`},
	{`INSERT INTO app.people (id, email) VALUES (4, 'z@y.example') ON CONFLICT DO NOTHING`, `INSERT 0 0`},
	{`INSERT INTO app.people (id, email) VALUES (4, 'z@y.example') ON CONFLICT (id) DO UPDATE SET ssn = people.email`, `!cannot be`},
	{`INSERT INTO app.orders SELECT 100, id, 1 FROM app.customers WHERE id=1 RETURNING *`, `100\|1\|1`},
	{`INSERT INTO app.people (id, ssn) SELECT 9, email FROM app.customers WHERE id=1`, `!cannot be written`},
	{`UPDATE app.customers SET balance = balance + 1 WHERE id = 1 RETURNING id, email`, `1\|a\*\*\*`},
	{`UPDATE app.customers c SET name = 'Alice' WHERE c.id = 1 RETURNING c.*`, `a\*\*\*`},
	{`UPDATE app.customers SET (name, balance) = ('Alice', 5) WHERE id=1 RETURNING lower(email::text)`, `a\*\*\*`},
	{`UPDATE app.customers SET (name, balance) = (SELECT 'Alice', 5) WHERE email IS NOT NULL AND id=1`, `UPDATE 1`},
	{`UPDATE app.customers SET email = 'new@example.com' WHERE id = 60`, `UPDATE 1`},
	{`UPDATE app.customers SET name = email WHERE id=1`, `!cannot be`},
	{`UPDATE app.customers SET name = 'x' WHERE email = 'a'`, `!cannot be`},
	{`UPDATE app.customers SET email = lower(email)`, `!cannot be`},
	{`UPDATE app.orders o SET total = 11 FROM app.customers c WHERE c.id=o.customer_id AND o.id=1 RETURNING o.*, c.email`, `1\|1\|11\|a\*\*\*`},
	{`UPDATE app.orders o SET total = 11 FROM app.customers c WHERE c.email=o.total::text`, `!masked`},
	{`DELETE FROM app.people WHERE id=4 RETURNING *`, `4\|\*\*\*@y`},
	{`DELETE FROM app.orders USING app.customers c WHERE c.id=customer_id AND app.orders.id=100 RETURNING c.email, total`, `a\*\*\*`},
	{`DELETE FROM app.people WHERE id IN (SELECT id FROM app.people WHERE email LIKE 'a%')`, `!masked`},
	{`WITH d AS (DELETE FROM app.people WHERE id=3 RETURNING *) SELECT * FROM d`, `3\|\*\*\*@y`},
	{`WITH d AS (DELETE FROM app.people WHERE id=2 RETURNING email e) SELECT * FROM d WHERE e='x'`, `!masked`},
	{`MERGE INTO app.people p USING (VALUES (1, 'm@y.example')) s(id, e) ON p.id=s.id WHEN MATCHED THEN UPDATE SET email=s.e WHEN NOT MATCHED THEN INSERT (id, email) VALUES (s.id, s.e)`, `MERGE 1`},
	{`MERGE INTO app.people p USING (SELECT 1 AS id, 'k' AS email) s ON p.id=s.id WHEN NOT MATCHED AND id > 0 THEN INSERT (id, email) VALUES (id, email) WHEN MATCHED AND p.id > 0 THEN DO NOTHING`, `MERGE 0`},
	{`MERGE INTO app.people p USING app.customers c ON p.id=c.id WHEN MATCHED THEN UPDATE SET ssn=c.ssn`, `!cannot be written`},
	{`INSERT INTO app.people (id) VALUES (5) RETURNING (SELECT count(*) FROM app.customers c WHERE c.email = people.email)`, `!masked`},
	{`INSERT INTO app.people (id, email) VALUES (5, 'n@y.example') RETURNING (SELECT email FROM jsonb_each('{}') RIGHT JOIN (SELECT 1) z ON true) AS e`, `!|\*\*\*@y`},
	{`INSERT INTO app.people (id, email) VALUES (6, 'n@y.example') RETURNING row_to_json(people)`, `!whole row`},
	{`INSERT INTO app.people (id, email) VALUES (7, 'n@y.example') RETURNING (people).email`, `!whole row`},
	{`DELETE FROM app.people WHERE people::text LIKE '%x%'`, `!cannot be`},
	// COPY
	{`COPY app.customers TO STDOUT`, `1\tAlice\ta\*\*\*`},
	{`COPY app.customers (email, id) TO STDOUT WITH (FORMAT csv, HEADER)`, `email,id\n[a-z]\*\*\*@`},
	{`COPY app.orders TO STDOUT`, `1\t1`},
	{`COPY app.people TO STDOUT`, `\*\*\*`},
	{`COPY app.customers TO '/tmp/x'`, `!files`},
	{`COPY app.customers FROM PROGRAM 'id'`, `!programs`},
	// Sessions
	{`BEGIN; SET LOCAL search_path = app; SELECT email FROM customers WHERE id=1; COMMIT`, `a\*\*\*`},
	{`BEGIN; SET search_path = app; ROLLBACK; SELECT email FROM customers`, `!does not exist|not allowed`},
	{`PREPARE p (int) AS SELECT email FROM app.customers WHERE id=$1; EXECUTE p(1); DEALLOCATE p`, `a\*\*\*`},
	{`BEGIN; DECLARE c SCROLL CURSOR WITHOUT HOLD FOR SELECT email FROM app.customers ORDER BY id; FETCH NEXT FROM c; MOVE 1 IN c; CLOSE c; COMMIT`, `a\*\*\*`},
	{`EXPLAIN (COSTS OFF) SELECT email FROM app.customers WHERE id=1`, `Scan`},
	{`SELECT email FROM app.customers WHERE id=1 FOR UPDATE`, `a\*\*\*`},
	{`SELECT c.email FROM app.customers c JOIN app.orders o ON o.customer_id=c.id WHERE o.id=1 FOR NO KEY UPDATE OF c SKIP LOCKED`, `a\*\*\*`},
	{`SHOW search_path; SET TIME ZONE 'UTC'; SET application_name = 'x'; RESET application_name`, `DataRow`},
	{`SET ROLE postgres`, `!role`},
	{`SELECT set_config('search_path', 'app', false)`, `\|app`},
	{`SELECT set_config('role', 'x', false)`, `!set_config`},
	{`COMMIT; DROP TABLE app.orders; SELECT 1`, `!drop on app.orders`},
	{`DO $$ BEGIN END $$`, `!DoStmt`},
	{`LOAD 'x'`, `!LoadStmt`},
	{`SELECT 1; SELECT v FROM app.secrets`, `!not allowed`},
	// Attempts
	{`SELECT generate_series(1, ascii(ssn)) FROM app.customers WHERE id=1`, `!cannot be used in generate_series`},
	{`SELECT * FROM app.v_stats`, `!v_stats is not allowed`},
	{`UPDATE app.v_ruled SET n = 1`, `!has a rule`},
	{`SET search_path = app, pg_catalog; SELECT json_value('a', '$')`, `!not known to servers|\|`},
	{`ROLLBACK; SELECT lower(body) FROM app.notes`, `!search path is not known`},
	{`SET search_path = app, pg_catalog; SELECT lower(body) FROM notes`, `!.`},
	{`SELECT app.watched 'x'`, `!app.seen, which is not allowed`},
	{`CREATE TABLE app.guess (e text REFERENCES app.customers (email))`, `!.`},
	{`SELECT merge_action()`, `!not known to servers|MERGE`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT ssn FROM jsonb_populate_record((ARRAY[NULL::app.orders])[1], '{}') AS ssn)`, `!.|\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT ssn FROM jsonb_populate_record((SELECT o FROM app.orders o LIMIT 1), '{}') AS ssn)`, `!.|\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT ssn FROM json_to_record('{}') AS ssn(x int))`, `\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT ssn FROM (SELECT 1 AS a) AS ssn(b))`, `!.|\*\*\*6789|\(1\)`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT ssn FROM (SELECT CASE WHEN true THEN 1 END) q)`, `\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT x.ssn FROM (SELECT customers.*) x)`, `\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT x FROM (SELECT customers.*) x)`, `\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING (SELECT string_agg(s, '') FROM (VALUES (ssn), (card)) v(s))`, `\*\*\*6789\*\*\*1111`},
	{`UPDATE app.customers c SET name=c.name FROM app.customers d WHERE c.id=1 AND d.id=1 RETURNING d.ssn, c.ssn`, `\*\*\*6789\|\*\*\*6789`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING ARRAY[customers.*]::text`, `!whole row`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING U&"s!0073n" UESCAPE '!', 1`, `\*\*\*6789\|1`},
	{`UPDATE app.customers SET name=name WHERE id=1 RETURNING/**/ssn/**/AS x,app . customers . ssn`, `\*\*\*6789\|\*\*\*6789`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (customers.*)::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING json_build_object('a', customers.*)`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING concat(customers.*)`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING customers.* IS NULL`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING CASE WHEN true THEN customers.* END::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING COALESCE(customers.*)::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (customers.*).ssn`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING ROW(customers.*)`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING customers.row_to_json`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING row_to_json(customers)`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING ssn(customers)`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (SELECT customers)::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (SELECT ROW(customers.*))::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (SELECT x FROM (SELECT customers AS x) y)::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING to_json(customers)->>'ssn'`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (SELECT string_agg(v, '') FROM json_each_text(row_to_json(customers)) AS e(k, v))`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING GREATEST(customers, customers)::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING NULLIF(customers, NULL)::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING customers::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING ARRAY[app.customers.*]::text`, `!.`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (SELECT max(q::text) FROM (VALUES (customers)) q)`, `!.`},
	{`DELETE FROM app.people WHERE (SELECT 1 FROM generate_series(1, ascii(ssn)-49) LIMIT 1) IS NULL`, `!cannot be`},
	{`UPDATE app.customers SET balance = (SELECT count(*) FROM app.customers c WHERE c.id=customers.id AND customers.ssn LIKE '1%')`, `!cannot be`},
	{`UPDATE app.customers SET name='Alice' WHERE id=1 AND EXISTS (SELECT FROM (SELECT ssn) x WHERE x.ssn LIKE '1%')`, `!cannot be`},
	{`INSERT INTO app.people (id, email) SELECT 50, 'z' RETURNING (SELECT p.email FROM app.people p WHERE p.id=7)`, `b\*\*\*`},
	{`INSERT INTO app.orders (id, customer_id) SELECT 77, id FROM app.customers WHERE ssn LIKE '1%'`, `!masked`},
	{`UPDATE app.v_contact SET label='Alice' WHERE id=1 RETURNING tax_ref, *`, `\*\*\*6789.*\*\*\*6789`},
	{`UPDATE app.v_contact SET label=tax_ref WHERE id=1`, `!cannot be`},
	{`WITH c AS (UPDATE app.customers SET name='Alice' WHERE id=1 RETURNING *) SELECT row_to_json(c), c.ssn FROM c`, `\*\*\*6789`},
	{`COPY app.v_contact TO STDOUT`, `\*\*\*6789`},
	{`COPY (WITH x AS (UPDATE app.people SET id=id WHERE id=7 RETURNING *) SELECT * FROM x) TO STDOUT`, `\*\*\*4321`},
	{`SELECT ((SELECT c FROM app.customers c WHERE id=1)).ssn`, `!.`}, // the server cannot tell the columns of the mask's row
	{`SELECT x.* FROM app.customers c CROSS JOIN LATERAL (SELECT c.*) x WHERE c.id=1`, `\*\*\*6789`},
	{`SELECT v.* FROM app.customers x, LATERAL (VALUES (x.*, 1)) v WHERE x.id=1`, `\*\*\*6789`},
	{`SELECT v.column4, column7 FROM app.customers x, LATERAL (VALUES (x.*, 1)) v WHERE x.id=1`, `\*\*\*6789\|1`},
	{`UPDATE app.customers SET balance=balance WHERE id=1 RETURNING (SELECT column4 FROM (VALUES (customers.*)) v)`, `!.`},
	{`SELECT v.y FROM app.customers x, LATERAL (VALUES (x.ssn)) v(y) WHERE x.id=1`, `\*\*\*6789`},
	{`SELECT customers FROM app.customers WHERE id=1`, `\*\*\*6789`},
	{`SELECT app/*x*/./*y*/customers . "ssn"FROM app . customers WHERE id=1--`, `\*\*\*6789`},
	{`SELECT "app".ssn FROM app.customers "app"WHERE app.id=1`, `\*\*\*6789`},
	{`SELECT ssn FROM(app.customers)WHERE id=1`, `!syntax error`},
	{`SELECT ssn FROM((app.customers c CROSS JOIN app.orders o))WHERE c.id=1 AND o.id=1`, `\*\*\*6789`},
	{`SELECT ctid FROM app.customers c NATURAL JOIN app.v_clean v`, `!system columns`},
	{`SELECT c.xmin, c FROM app.customers c`, `!system columns`},
	{`WITH customers AS (SELECT 1 AS ssn) SELECT ssn FROM customers`, `\|1`},
	{`WITH x AS (SELECT 1) SELECT (WITH customers AS (SELECT ssn FROM app.customers WHERE id=1) SELECT ssn FROM customers)`, `\*\*\*6789`},
	{`SET search_path=app; WITH customers AS (SELECT ssn FROM customers WHERE id=1) SELECT ssn FROM customers`, `\*\*\*6789`},
	{`SET search_path=app; WITH RECURSIVE a AS (SELECT ssn FROM customers WHERE id=1), customers AS (SELECT 1) SELECT * FROM a`, `\*\*\*6789`},
	{`SELECT ssn FROM app.customers WHERE id = 1 UNION ALL (TABLE app.v_contact LIMIT 0)`, `!same number`},
	{`SELECT query_to_xml('select 1', true, false, '')`, `!query_to_xml is not allowed`},
	{`SELECT setting FROM pg_catalog.pg_settings WHERE name='max_index_keys'`, `\|32`},
	{`SELECT name, s.setting FROM pg_settings s WHERE s.name IN ('TimeZone', 'server_version')`, `TimeZone`},
	{`SELECT setting FROM pg_settings WHERE name = 'data_directory'`, `!setting of pg_catalog.pg_settings`},
	{`SELECT setting FROM pg_settings WHERE name IN ('TimeZone', 'data_directory')`, `!setting of pg_catalog.pg_settings`},
	{`SELECT setting FROM pg_settings WHERE name = 'TimeZone' OR true`, `!setting of pg_catalog.pg_settings`},
	{`SELECT setting FROM pg_settings WHERE name <> 'TimeZone'`, `!setting of pg_catalog.pg_settings`},
	{`SELECT setting FROM pg_settings AS s(setting, name) WHERE name = 'TimeZone'`, `!column name of pg_catalog.pg_settings|setting of pg_catalog.pg_settings`},
	{`SELECT a.setting FROM pg_settings a, pg_settings b WHERE b.name = 'TimeZone'`, `!setting of pg_catalog.pg_settings`},
	{`SELECT (SELECT p.setting FROM pg_settings q WHERE name = 'TimeZone') FROM pg_settings p`, `!setting of pg_catalog.pg_settings`},
	{`SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'`, `!reset_val of pg_catalog.pg_settings`},
	{`SELECT * FROM pg_stats`, `!pg_stats is not allowed`},
	{`SELECT relname, reltuples FROM pg_class`, `!reltuples`},
	{`SELECT 'app.secrets'::regclass`, `!not allowed`},
	{`SELECT pg_relation_size('app.secrets')`, `!not allowed`},
	{`SELECT to_regclass('app.' || 'x') IS NULL`, `\|t`},
	{`SELECT current_setting('is_superuser')`, `\|`},
	{`SELECT nextval('app.secrets')`, `!`},
	{`SELECT currval(pg_get_serial_sequence('app.secrets', 'k'))`, `!insert on app.secrets is not allowed`},
	{`SELECT setval(pg_get_serial_sequence('app.secrets', 'k'), 1)`, `!update on app.secrets is not allowed`},
	{`SELECT pg_relation_size(pg_get_serial_sequence('app.orders', 'id'))`, `!pg_relation_size is not allowed`},
	{`SELECT lastval()`, `!lastval is not allowed`},
	{`LISTEN x`, `!listen`},
	{`CREATE TEMP TABLE x AS SELECT 1`, `!create on pg_temp.x`},
	{`SELECT 1 AS ssn INTO app.y`, `!create on app.y`},
	{`BEGIN; LOCK TABLE app.customers IN ACCESS EXCLUSIVE MODE; ROLLBACK`, `LOCK`},
	{`PREPARE TRANSACTION 'x'`, `!two-phase`},
	{``, ``},
	{`;;`, ``},
	{`SELECT 1 + `, `!syntax error`},
	{"SELECT '\x00'", `!NUL`},
	{"SELECT '\xff'", `!UTF-8`},
	{`SELECT 1_000`, `!junk`},
	{`SELECT 0x1F`, `!junk`},
	{`SELECT 10-n, 1+n, -1*n, 1.5e2-n, .5+n, 1.-n, 2::int, - /*x*/ 1 FROM generate_series(1,1) n`, `\|9\|2\|-1\|149`},
}

var truth = regexp.MustCompile(`123-45-6789|987-65-4321|alice@example\.com|bob@example\.com|carol@example\.com|4111-1111-1111|TOPSECRET|[xqzmn]@y\.example`)

func TestStatements(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, shop)
	c := load(t, connect(t, s.DSN("app_su", db)))
	v := view(t, fmt.Sprintf(shopPolicy, ""))
	for _, tt := range statements {
		t.Run(tt.text, func(t *testing.T) {
			cs := corpus.Case{As: "app_rw", Via: "simple"}
			cl := dial(t, s, db, c, v, &cs)
			defer cl.conn.Close(context.Background())
			cl.send(t, tt.text, &cs)
			answer := cl.out.Text
			if m := truth.FindString(answer); m != "" {
				t.Fatalf("LEAK %q\nserver got %q\n%s", m, cl.text, answer)
			}
			if want, deny := strings.CutPrefix(tt.want, "!"); deny {
				alternatives := regexp.MustCompile(want)
				if len(cl.out.Errors) == 0 && !strings.Contains(want, "|") || !alternatives.MatchString(answer) {
					t.Errorf("want refusal %q\nserver got %q\n%s", want, cl.text, answer)
				}
				return
			}
			if len(cl.out.Errors) > 0 || !regexp.MustCompile(tt.want).MatchString(answer) {
				t.Errorf("want %q\nserver got %q\n%s", tt.want, cl.text, answer)
			}
		})
	}
}

// TestEdits checks that the edits lead from the one text to the other.
func TestEdits(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	c := load(t, connect(t, s.DSN("app_rw", db)))
	v := demoView(t)
	for _, tt := range statements {
		j, _ := sql.Judge(c, v, &protocol.Query{Text: tt.text, Path: []string{"pg_catalog", "public"}}, sql.Options{})
		if j.Refusal != nil {
			continue
		}
		// What no edit covers is the same in both.
		from, to := 0, 0
		for _, e := range j.Edits {
			if n := e.At - from; tt.text[from:e.At] != j.Text[to:to+n] {
				t.Errorf("%q: %+v do not lead to %q", tt.text, j.Edits, j.Text)
			} else {
				from, to = e.At+e.Length, to+n+e.Added
			}
		}
		if tt.text[from:] != j.Text[to:] {
			t.Errorf("%q: %+v do not lead to %q", tt.text, j.Edits, j.Text)
		}
	}
}
