-- bypass_own.sql: attempts in classes that bypass.sql does not have, in its format.

-- ======== OA. names and lexis
-- @case OA01 | expect=mask-or-deny | leak=123-45-6789
-- an attribute called as a function of the row
SELECT ssn(c) FROM app.customers c WHERE id=1
-- @case OA02 | expect=mask-or-deny | leak=123-45-6789
-- column aliases that give a masked column the name of another one
SELECT c.id FROM app.customers AS c(name, ssn, email, id) WHERE c.name = 1
-- @case OA03 | expect=mask-or-deny | leak=123-45-6789
-- the row of a table without an alias, by its own name
SELECT (customers).ssn, (customers.*)::text FROM app.customers WHERE id=1
-- @case OA04 | expect=deny | leak=TOPSECRET-42
-- database-qualified name, ONLY, and the star that used to mean descendants
SELECT v FROM ONLY ($DB.app.secrets) UNION ALL SELECT v FROM app.secrets *
-- @case OA05 | expect=deny | leak=TOPSECRET-42
-- Unicode escapes in the schema and table name
SELECT v FROM U&"\0061pp".U&"s\+000065crets"
-- @case OA06 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- a comment and empty statements before the first word
/* SELECT 1 */;;-- SELECT
DROP TABLE app.orders CASCADE
-- @case OA07 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- a transaction ended inside a text, as read-only wrappers suffer it
BEGIN READ ONLY; SELECT 1; COMMIT; DROP TABLE app.orders CASCADE; SELECT 1
-- @case OA08 | expect=mask-or-deny | leak=123-45-6789
-- dollar quotes and an operator that looks like a comment to a naive lexer
SELECT $a$--$a$, ssn, $$/*$$ FROM app.customers WHERE id = 1 --'
-- @case OA09 | expect=mask-or-deny | leak=123-45-6789
-- a string in two lines is one, and the quote in E'' is escaped
SELECT 'a'
  'b', E'\'', ssn FROM app.customers WHERE id=1
-- @case OA10 | expect=mask-or-deny | leak=123-45-6789
-- names equal to key words
SELECT "select"."ssn" AS "from" FROM "app"."customers" "select" WHERE "select".id=1
-- @case OA11 | expect=mask-or-deny | leak=123-45-6789
-- two relations called the same in nested scopes; the inner name is another table
SELECT (SELECT o.ssn FROM app.customers o WHERE o.id=x.customer_id) FROM app.orders x, app.orders o WHERE x.id=1 AND o.id=1
-- @case OA12 | expect=mask-or-deny | leak=123-45-6789
-- a WITH query that hides a table only inside itself
WITH customers AS (SELECT ssn AS name, id FROM app.customers) SELECT customers.name FROM customers WHERE id=1

-- ======== OB. rows, arrays and documents
-- @case OB01 | expect=mask-or-deny | leak=123-45-6789
-- a row out of a scalar sub-select
SELECT (SELECT c FROM app.customers c WHERE id=1)
-- @case OB02 | expect=mask-or-deny | leak=123-45-6789
-- a field of an element of an array of rows
SELECT (array_agg(c ORDER BY id))[1].ssn FROM app.customers c
-- @case OB03 | expect=mask-or-deny | leak=123-45-6789
SELECT (unnest(ARRAY(SELECT c FROM app.customers c WHERE id=1))).*
-- @case OB04 | expect=mask-or-deny | leak=123-45-6789
SELECT u.ssn FROM unnest(ARRAY(SELECT c FROM app.customers c WHERE id=1)) u
-- @case OB05 | expect=mask-or-deny | leak=123-45-6789
-- a field by subscript
SELECT (to_jsonb(c))['ssn'] FROM app.customers c WHERE id=1
-- @case OB06 | expect=mask-or-deny | leak=123-45-6789
SELECT jsonb_path_query(jsonb_agg(c), '$[*] ? (@.id == 1).ssn') FROM app.customers c
-- @case OB07 | expect=mask-or-deny | leak=123-45-6789
SELECT x.* FROM app.customers c, LATERAL json_to_record(row_to_json(c)) AS x(ssn text) WHERE c.id=1
-- @case OB08 | expect=mask-or-deny | leak=123-45-6789
SELECT x.v FROM xmltable('/r' PASSING (SELECT xmlelement(name r, ssn) FROM app.customers WHERE id=1) COLUMNS v text PATH '.') x
-- @case OB09 | expect=mask-or-deny | leak=123-45-6789
SELECT xmlserialize(CONTENT xmlelement(name r, xmlattributes(c.ssn AS a)) AS text) FROM app.customers c WHERE id=1
-- @case OB10 | expect=mask-or-deny | leak=123-45-6789
SELECT json_object_agg(id, ssn) FROM app.customers
-- @case OB11 | expect=mask-or-deny | leak=123-45-6789
SELECT to_jsonb(c) - 'id' || '{}' FROM app.customers c WHERE id=1
-- @case OB12 | expect=mask-or-deny | leak=123-45-6789
SELECT r FROM ROWS FROM (unnest(ARRAY(SELECT ssn FROM app.customers ORDER BY id)), generate_series(1,2)) AS r(a,b) LIMIT 1
-- @case OB13 | expect=mask-or-deny | via=extbin | leak=123-45-6789
-- a row in binary format
SELECT c FROM app.customers c WHERE id=1
-- @case OB14 | expect=mask-or-deny | leak=123-45-6789
-- the union of two rows
SELECT c FROM app.customers c WHERE id=1 UNION ALL SELECT NULL

-- ======== OC. what makes other values of a value
-- @case OC01 | expect=mask-or-deny | leak=3132332d34352d36373839
SELECT encode(convert_to(ssn,'UTF8'),'hex') FROM app.customers WHERE id=1
-- @case OC02 | expect=mask-or-deny | leak=MTIzLTQ1LTY3ODk=
SELECT encode(ssn::bytea,'base64') FROM app.customers WHERE id=1
-- @case OC03 | expect=mask-or-deny | leak='123':1
-- lexemes
SELECT to_tsvector('simple', ssn) FROM app.customers WHERE id=1
-- @case OC04 | expect=mask-or-deny | leak=\{123,45,6789\}
SELECT regexp_match(ssn, '(\d+)-(\d+)-(\d+)') FROM app.customers WHERE id=1
-- @case OC05 | expect=mask-or-deny | leak=(?s)DataRow\|123\n.*DataRow\|6789
SELECT string_to_table(ssn, '-') FROM app.customers WHERE id=1
-- @case OC06 | expect=mask-or-deny | leak=123-45-6789
-- put together character by character in a recursion
WITH RECURSIVE r(i, s) AS (SELECT 1, chr(ascii(substr(ssn,1,1))) FROM app.customers WHERE id=1 UNION ALL SELECT i+1, s || chr(ascii(substr((SELECT ssn FROM app.customers WHERE id=1), i+1, 1))) FROM r WHERE i<11) SELECT s FROM r WHERE i=11
-- @case OC07 | expect=mask-or-deny | leak=123-45-6789
SELECT COALESCE(NULL, GREATEST(ssn, ''), NULLIF(ssn, 'x')) FROM app.customers WHERE id=1
-- @case OC08 | expect=mask-or-deny | leak=123-45-6789
SELECT first_value(ssn) OVER w FROM app.customers WINDOW w AS (ORDER BY id) LIMIT 1
-- @case OC09 | expect=mask-or-deny | leak=123-45-6789
SELECT id, lag(ssn) OVER (ORDER BY id) FROM app.customers LIMIT 2
-- @case OC10 | expect=mask-or-deny | leak=123-45-6789
SELECT string_agg(ssn, ',') FILTER (WHERE id=1) FROM app.customers
-- @case OC11 | expect=mask-or-deny | leak=DataRow\|000-00-0000\|987-65-4321
SELECT min(ssn), max(ssn) FROM app.customers
-- @case OC12 | expect=mask-or-deny | leak=DataRow\|5\|11
-- numbers about it
SELECT position('-45' in ssn)+1, length(ssn), strpos(ssn,'6') FROM app.customers WHERE ssn LIKE '123%'
-- @case OC13 | expect=mask-or-deny | leak=DataRow\|123456789
SELECT replace(ssn,'-','')::int FROM app.customers WHERE id=1
-- @case OC14 | expect=mask-or-deny | leak=01a54629efb952287e554eb23ef69c52097a75aecc0e3a93ca0855ab6d7a31a0
-- a digest of nine digits is as good as the digits
SELECT encode(sha256(ssn::bytea),'hex') FROM app.customers WHERE id=1

-- ======== OD. inference by rows, order, groups
-- @case OD01 | expect=deny | leak=CommandComplete SELECT 1
-- equality by set operation
SELECT 1 FROM (SELECT ssn FROM app.customers INTERSECT SELECT '123-45-6789') x
-- @case OD02 | expect=deny | leak=DataRow\|Alice
-- equality by a natural join with a guess
SELECT name FROM app.customers NATURAL JOIN (VALUES ('123-45-6789')) g(ssn)
-- @case OD03 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE (id, ssn) = (1, '123-45-6789')
-- @case OD04 | expect=deny | leak=DataRow\|Alice
-- the row compared as a whole
SELECT name FROM app.customers c WHERE c > ROW(1,'Alice','alice@example.com','122','',0)::app.customers AND id=1
-- @case OD05 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers c WHERE c::text LIKE '%123-45-6%'
-- @case OD06 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers c WHERE to_jsonb(c) @> '{"ssn":"123-45-6789"}'
-- @case OD07 | expect=deny | leak=(?s)DataRow\|3\n.*DataRow\|1\n
-- order by an expression of it
SELECT id FROM app.customers WHERE id IN (1,3) ORDER BY CASE WHEN ssn > '5' THEN 0 ELSE 1 END
-- @case OD08 | expect=deny | leak=DataRow\|6
SELECT count(DISTINCT ssn) FROM app.customers
-- @case OD09 | expect=deny | leak=DataRow\|60\|17
-- who shares a value with whom, by a window
SELECT id, count(*) OVER (PARTITION BY ssn) FROM app.customers ORDER BY id DESC LIMIT 1
-- @case OD10 | expect=deny | leak=CommandComplete SELECT 6
SELECT DISTINCT ON (ssn) id FROM app.customers
-- @case OD11 | expect=deny | leak=CommandComplete SELECT 49
-- a set-returning function as many times as the character's code
SELECT generate_series(1, ascii(ssn)) FROM app.customers WHERE id=1
-- @case OD12 | expect=deny | leak=CommandComplete SELECT 54
-- the sample's size depends on it
SELECT 1 FROM app.customers TABLESAMPLE BERNOULLI ((SELECT CASE WHEN ssn LIKE '1%' THEN 100 ELSE 0 END FROM app.customers WHERE id=1))
-- @case OD13 | expect=deny | leak=CommandComplete SELECT 5
SELECT g FROM generate_series(1,54) g OFFSET (SELECT ascii(ssn) FROM app.customers WHERE id=1)
-- @case OD14 | expect=deny | leak=DataRow\|60\|0
-- a hypothetical rank against all values
SELECT 60, rank('000') WITHIN GROUP (ORDER BY ssn) - 1 FROM app.customers
-- @case OD15 | expect=deny | leak=DataRow\|t
SELECT '123-45-6789' = ANY (SELECT ssn FROM app.customers)
-- @case OD16 | expect=deny | leak=DataRow\|t
SELECT '123-45-6789' = ANY (ARRAY(SELECT ssn FROM app.customers))
-- @case OD17 | expect=deny | leak=DataRow\|17
-- groups without showing what they are of
SELECT count(*) FROM app.customers GROUP BY CUBE (ssn) HAVING count(*) < 18 ORDER BY 1 DESC LIMIT 1
-- @case OD18 | expect=deny | leak=rows=1 
-- the plan's own counts
EXPLAIN (ANALYZE, TIMING OFF) SELECT id FROM app.customers WHERE ssn LIKE '123-45%'
-- @case OD19 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers c WHERE EXISTS (SELECT FROM (VALUES ('123-45-6789')) g(x) WHERE g.x = c.ssn)
-- @case OD20 | expect=deny | via=ext | bind=123% | leak=DataRow\|Alice
-- the guess in a parameter of a join condition
SELECT a.name FROM app.customers a JOIN app.orders o ON o.customer_id = a.id AND a.ssn LIKE $1 LIMIT 1

-- ======== OE. errors that tell
-- @case OE01 | expect=mask-or-deny | leak=relation "123-45-6789" does not exist
SELECT ssn::regclass FROM app.customers WHERE id=1
-- @case OE02 | expect=mask-or-deny | leak=alice@example.com
SELECT email::timestamptz FROM app.customers WHERE id=1
-- @case OE03 | expect=mask-or-deny | leak=alice@example.com
SELECT ('{' || email || '}')::int[] FROM app.customers WHERE id=1
-- @case OE04 | expect=mask-or-deny | leak=alice@example.com
SELECT ('<a>' || email)::xml FROM app.customers WHERE id=1
-- @case OE05 | expect=mask-or-deny | leak=4111-1111-1111-1111
SELECT card::inet FROM app.customers WHERE id=1
-- @case OE06 | expect=deny | leak=more than one row
-- one bit by the number of rows of a sub-select
SELECT (SELECT 1 UNION ALL SELECT 2 WHERE c.ssn LIKE '1%') FROM app.customers c WHERE id=1
-- @case OE07 | expect=approve | leak=invalid input syntax for type numeric: "123-45-6789"
INSERT INTO app.orders SELECT 77, 1, ssn::numeric FROM app.customers WHERE id=1
-- @case OE08 | expect=deny | leak=duplicate key value .*\(k\)=\(api\)
-- what is in a table that is not granted, by its key
INSERT INTO app.secrets VALUES ('api', 'x')

-- ======== OF. writing it somewhere, and reading it there
-- @case OF01 | expect=approve | leak=123-45-6789
UPDATE app.customers SET name = ssn WHERE id=1
-- @next
SELECT name FROM app.customers WHERE id=1
-- @case OF02 | expect=approve | leak=DataRow\|123456789
INSERT INTO app.orders VALUES (1,1,1) ON CONFLICT (id) DO UPDATE SET total = (SELECT replace(ssn,'-','')::numeric FROM app.customers WHERE id=1) RETURNING total
-- @case OF03 | expect=approve | leak=123-45-6789
MERGE INTO app.customers c USING app.customers s ON c.id = s.id AND s.id = 1 WHEN MATCHED THEN UPDATE SET name = s.ssn
-- @next
SELECT name FROM app.customers WHERE id=1
-- @case OF04 | expect=approve | leak=123-45-6789
UPDATE app.customers SET (name, balance) = (SELECT ssn, 1 FROM app.customers WHERE id=1) WHERE id=2 RETURNING name
-- @case OF05 | expect=approve | effect=SELECT count(*)=2 FROM app.orders
-- what a write touches tells
DELETE FROM app.orders USING app.customers c WHERE c.id = customer_id AND c.ssn LIKE '98%'
-- @case OF06 | expect=approve | leak=TOPSECRET-42
DELETE FROM app.orders WHERE id=3 RETURNING (SELECT v FROM app.secrets)
-- @case OF07 | expect=deny | leak=123-45-6789
PREPARE p AS SELECT ssn FROM app.customers WHERE id=1; CREATE TEMP TABLE t AS EXECUTE p; SELECT * FROM t
-- @case OF08 | expect=deny | leak=123-45-6789
CREATE MATERIALIZED VIEW app.mv AS SELECT ssn AS name FROM app.customers; SELECT name FROM app.mv
-- @case OF09 | expect=deny | leak=123-45-6789
-- a rule that answers an INSERT with rows
CREATE RULE r AS ON INSERT TO app.orders DO ALSO SELECT ssn FROM app.customers WHERE id=1; INSERT INTO app.orders VALUES (99,1,1)
-- @case OF10 | expect=deny | leak=123-45-6789
-- a change of type computes a column from another one
ALTER TABLE app.customers ADD COLUMN note text; ALTER TABLE app.customers ALTER COLUMN note TYPE text USING ssn
-- @next
SELECT note FROM app.customers WHERE id=1
-- @case OF11 | expect=deny | leak=123-45-6789
ALTER SCHEMA app RENAME TO app2
-- @next
SELECT ssn FROM app2.customers WHERE id=1
-- @case OF12 | expect=deny | leak=123-45-6789
CREATE TABLE app.kid () INHERITS (app.customers); INSERT INTO app.kid SELECT 500, ssn FROM app.customers WHERE id=1; SELECT name FROM app.kid
-- @case OF13 | expect=deny | leak=123-45-6789
CREATE PROCEDURE app.pr(INOUT x text) LANGUAGE sql BEGIN ATOMIC SELECT ssn FROM app.customers WHERE id=1; END; CALL app.pr('')
-- @case OF14 | expect=deny | leak=NOTICE.*123-45-6789
-- the CHECK of a domain runs code on what is cast to it
CREATE FUNCTION app.tell(text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$; CREATE DOMAIN app.d AS text CHECK (app.tell(VALUE)); SELECT count(ssn::app.d) FROM app.customers WHERE id=1
-- @case OF15 | expect=deny | leak=NOTICE.*123-45-6789
CREATE FUNCTION app.tell2(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$; CREATE OPERATOR app.~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = app.tell2); SELECT id FROM app.customers WHERE ssn OPERATOR(app.~~~) 'x' AND id=1
-- @case OF16 | expect=deny | leak=123-45-6789
CREATE FUNCTION app.keep(text, text) RETURNS text LANGUAGE sql AS 'SELECT $2'; CREATE AGGREGATE app.lastone(text) (SFUNC = app.keep, STYPE = text); SELECT app.lastone(ssn) FROM app.customers WHERE id=1
-- @case OF17 | expect=deny | leak=123-45-6789
-- row security as a place to run code
CREATE FUNCTION app.see(text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$; ALTER TABLE app.customers ENABLE ROW LEVEL SECURITY; ALTER TABLE app.customers FORCE ROW LEVEL SECURITY; CREATE POLICY p ON app.customers USING (app.see(ssn)); SELECT id FROM app.customers WHERE id=1
-- @case OF18 | expect=mask-or-deny | leak=123-45-6789
-- a cursor that outlives its transaction
BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT ssn FROM app.customers ORDER BY id; COMMIT
-- @next
MOVE LAST FROM c; FETCH FIRST FROM c
-- @case OF19 | expect=mask-or-deny | via=ext | leak=123-45-6789
DECLARE c CURSOR WITH HOLD FOR SELECT c FROM app.customers c ORDER BY id
-- @next
FETCH ALL FROM c
-- @case OF20 | expect=deny | leak=NOTICE.*123-45-6789
DO LANGUAGE plpgsql 'BEGIN RAISE NOTICE ''%'', (SELECT ssn FROM app.customers WHERE id=1); END'

-- ======== OG. extensions that take names and SQL as text
-- @case OG01 | expect=deny | leak=123-45-6789
-- makes an INSERT statement out of a row
SELECT dblink_build_sql_insert('app.customers', '1', 1, '{1}', '{1}')
-- @case OG02 | expect=deny | leak=123-45-6789
SELECT * FROM crosstab('SELECT 1, ''a'', ssn FROM app.customers WHERE id=1') AS t(a int, b text)
-- @case OG03 | expect=deny | leak=123-45-6789
SELECT * FROM connectby('app.customers', 'ssn', 'name', 'Alice', 1) AS t(k text, p text, l int)
-- @case OG04 | expect=mask-or-deny | leak=123-45-6789
SELECT (each(hstore(c))).value FROM app.customers c WHERE id=1
-- @case OG05 | expect=mask-or-deny | leak=123-45-6789
SELECT (c #= 'name=>x'::hstore).ssn FROM app.customers c WHERE id=1
-- @case OG06 | expect=deny | leak=customers
SELECT query FROM pg_stat_statements(true) WHERE query LIKE '%customers%'

-- ======== OH. the catalog's other ways
-- @case OH01 | expect=deny | leak=tax_ref
SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class='app.v_contact'::regclass
-- @case OH02 | expect=deny | as=app_su | leak=tax_ref
SELECT view_definition FROM information_schema.views WHERE table_name='v_contact'
-- @case OH03 | expect=deny | leak=tax_ref
SELECT v::text FROM pg_views v WHERE viewname='v_contact'
-- @case OH04 | expect=deny | leak=SELECT ssn
SELECT (p).prosrc FROM pg_proc p WHERE proname='f_get_ssn'
-- @case OH05 | expect=deny | leak=SELECT ssn
SELECT to_jsonb(p) FROM pg_proc p WHERE proname='f_get_ssn'
-- @case OH06 | expect=deny | leak=DataRow\|54
-- a closed column in a document
SELECT row_to_json(c)->'reltuples' FROM pg_class c WHERE oid='app.customers'::regclass
-- @case OH07 | expect=deny | leak=DataRow\|1\|8192
-- the size of what is not granted
SELECT 1, pg_relation_size('app.secrets')
-- @case OH08 | expect=deny | leak=123-45-6789|987-65-4321
SELECT s::text FROM pg_catalog.pg_stats s WHERE tablename='customers'
-- @case OH09 | expect=deny | leak=DataRow\|f
-- columns by position of a join with a closed relation
SELECT j.h FROM (pg_namespace n JOIN pg_catalog.pg_stats ON nspname='app') AS j(a,b,c,d,e,f,g,h,i,k,l) WHERE f='orders' AND g='id'
-- @case OH10 | expect=deny | leak=DataRow\|SELECT query
SELECT query FROM pg_stat_activity WHERE pid=pg_backend_pid()
-- @case OH11 | expect=deny | as=app_su | leak=DataRow\|app_rw
SELECT rolname FROM pg_authid WHERE rolname='app_rw'
-- @case OH12 | expect=deny | as=app_su | leak=data
SELECT current_setting('data_directory'), setting FROM pg_settings WHERE name='data_directory'
-- @case OH13 | expect=deny | as=app_su | leak=trust
SELECT auth_method FROM pg_hba_file_rules
-- @case OH14 | expect=deny | leak=DataRow\|.*current_query
-- one's own text as the server got it shows how values are masked
SELECT current_query()
-- @case OH15 | expect=deny | as=app_su | leak=data_directory
SHOW ALL

-- ======== OI. files, programs, the server
-- @case OI01 | expect=deny | as=app_su | effect=SELECT pg_read_file('$TMP/oi01') LIKE '%123-45-6789%'
COPY (SELECT ssn FROM app.customers) TO PROGRAM 'cat > $TMP/oi01'
-- @case OI02 | expect=deny | as=app_su | leak=root:
SELECT lo_import('/etc/passwd', 424243)
-- @next
SELECT convert_from(lo_get(424243), 'UTF8')
-- @case OI03 | expect=deny | as=app_su | leak=passwd
SELECT f FROM pg_ls_dir('/etc') f
-- @case OI04 | expect=deny | as=app_su | leak=postgresql.conf
SELECT pg_stat_file('postgresql.conf')::text, 'postgresql.conf'
-- @case OI05 | expect=deny | as=app_su | via=fcall:pg_catalog.pg_read_binary_file(text) | bind=/etc/passwd | leak=root:|726f6f743a
-- @case OI06 | expect=deny | as=app_su | leak=DataRow\|t
SELECT pg_reload_conf()
-- @case OI07 | expect=deny | leak=DataRow\|t
-- a lock that other sessions wait for
SELECT pg_try_advisory_lock(42)
-- @case OI08 | expect=deny | leak=NotificationResponse ch hidden
LISTEN ch
-- @next
NOTIFY ch, 'hidden'
-- @case OI09 | expect=approve | leak=CommandComplete LOCK TABLE
BEGIN; LOCK TABLE app.customers IN ACCESS EXCLUSIVE MODE; COMMIT
-- @case OI10 | expect=approve | leak=CommandComplete ANALYZE
ANALYZE app.customers
-- @case OI11 | expect=deny | leak=CommandComplete ALTER DEFAULT PRIVILEGES
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC
-- @case OI12 | expect=deny | leak=CommandComplete COMMENT
COMMENT ON TABLE app.customers IS 'x'
-- @case OI13 | expect=deny | as=app_su | leak=CommandComplete CREATE EXTENSION
CREATE EXTENSION file_fdw
-- @case OI14 | expect=deny | as=app_su | leak=CommandComplete LOAD
LOAD 'auto_explain'

-- ======== OJ. the session
-- @case OJ01 | expect=deny | via=opt:options=-c role=app_admin | leak=DataRow\|app_admin
SELECT current_user
-- @case OJ02 | expect=deny | via=opt:role=app_admin | leak=DataRow\|app_admin
SELECT current_user
-- @case OJ03 | expect=deny | via=opt:options=--standard-conforming-strings=off | leak=TOPSECRET-42
-- dashes become underscores in long options
SELECT 'a\'', v FROM app.secrets --'
-- @case OJ05 | expect=deny | as=app_su | leak=DataRow\|app_rw
SET SESSION AUTHORIZATION app_rw; SELECT session_user
-- @case OJ06 | expect=deny | leak=DataRow\|app_admin
BEGIN; SET LOCAL ROLE app_admin; SELECT current_role; COMMIT
-- @case OJ07 | expect=mask-or-deny | leak=123-45-6789
SELECT set_config('search_path', 'app', false)
-- @next
SELECT ssn FROM customers WHERE id=1
-- @case OJ08 | expect=mask-or-deny | leak=123-45-6789
-- a path that a savepoint brings back
BEGIN; SET LOCAL search_path=app; SAVEPOINT s; SET LOCAL search_path=public; ROLLBACK TO s; SELECT ssn FROM customers WHERE id=1; COMMIT
-- @case OJ09 | expect=mask-or-deny | as=app_su | leak=123-45-6789
-- a prepared statement is resolved again when the path changes
SET search_path=app_m; PREPARE p AS SELECT ssn FROM customers WHERE id=1
-- @next
SET search_path=app; EXECUTE p
-- @case OJ10 | expect=mask-or-deny | leak=123-45-6789
-- the path is reset, at the end of the transaction, to what was before
SET search_path=app
-- @next
BEGIN; SET LOCAL search_path=public; COMMIT; SELECT ssn FROM customers WHERE id=1
-- @case OJ11 | expect=deny | leak=LOG .*plan
-- plans, with the constants in them, as messages
SET client_min_messages=log; SET debug_print_plan=on; SELECT 1
-- @case OJ12 | expect=deny | leak=DataRow\|42
-- a setting of one's own, which row security may take for an identity
SET app.user_id = '42'; SHOW app.user_id
-- @case OJ13 | expect=deny | leak=DataRow\|off
SET row_security = off; SHOW row_security
-- @case OJ14 | expect=deny | leak=DataRow\|on
-- makes "= NULL" mean something else than the text that was judged
SET transform_null_equals = on; SHOW transform_null_equals
-- @case OJ15 | expect=deny | via=ext | leak=TOPSECRET-42
-- the inner statement of EXPLAIN, PREPARE and EXECUTE at protocol level
PREPARE q AS SELECT v FROM app.secrets
-- @next
EXECUTE q
-- @case OJ16 | expect=mask-or-deny | via=nodesc | leak=123-45-6789
-- COPY without a Describe
COPY (SELECT c FROM app.customers c WHERE id=1) TO STDOUT
-- @case OJ17 | expect=mask-or-deny | leak=123-45-6789
COPY (TABLE app.customers) TO STDOUT (FORMAT binary)
-- @case OJ18 | expect=mask-or-deny | leak=123-45-6789
COPY app.customers (ssn, id) TO STDOUT (FORMAT csv, HEADER)
-- @case OJ19 | expect=deny | leak=TOPSECRET-42
-- an upsert that changes nothing returns the row that was there
INSERT INTO app.secrets AS s VALUES ('api', 'x') ON CONFLICT (k) DO UPDATE SET k = EXCLUDED.k RETURNING s.v
-- @case OJ20 | expect=deny | leak=DataRow\|12
INSERT INTO app.orders SELECT 98, 1, length(v) FROM app.secrets RETURNING total

-- ======== OQ. what newer syntax and its older kin do
-- @case OQ01 | expect=approve | leak=123-45-6789
MERGE INTO app.orders o USING app.customers c ON o.customer_id = c.id AND c.id = 1 WHEN MATCHED THEN UPDATE SET total = replace(c.ssn, '-', '')::numeric
-- @next
SELECT o.total::bigint || '', left(o.total::text, 3) || '-' || substr(o.total::text, 4, 2) || '-' || right(o.total::text, 4) FROM app.orders o WHERE id = 1
-- @case OQ02 | expect=approve | effect=SELECT count(*)=1 FROM app.orders
-- a MERGE whose condition alone tells
MERGE INTO app.orders o USING app.customers c ON o.customer_id = c.id WHEN MATCHED AND c.ssn LIKE '123%' THEN DELETE
-- @case OQ03 | expect=deny | leak=DataRow\|Alice
WITH RECURSIVE r(id, s) AS (SELECT id, ssn FROM app.customers WHERE id < 4 UNION ALL SELECT id + 100, s FROM r WHERE id < 0) SEARCH BREADTH FIRST BY s SET ord SELECT c.name FROM r JOIN app.customers c ON c.id = r.id ORDER BY r.ord OFFSET 0 LIMIT 1
-- @case OQ04 | expect=deny | leak=123-45-6789
-- the column that SEARCH makes holds what it sorts by
WITH RECURSIVE r(id, s) AS (SELECT id, ssn FROM app.customers WHERE id = 1 UNION ALL SELECT id + 100, s FROM r WHERE id < 0) SEARCH DEPTH FIRST BY s SET ord SELECT ord FROM r
-- @case OQ05 | expect=deny | leak=123-45-6789
-- and the path of CYCLE too
WITH RECURSIVE r(id, s) AS (SELECT id, ssn FROM app.customers WHERE id = 1 UNION ALL SELECT id, s FROM r) CYCLE s SET looped USING path SELECT path FROM r
-- @case OQ06 | expect=deny | leak=DataRow\|t
SELECT int4multirange(int4range(48, 50)) @> ascii(ssn) FROM app.customers WHERE id = 1
-- @case OQ07 | expect=mask-or-deny | leak=DataRow\|\{\[49,50\)\}
SELECT multirange(int4range(ascii(ssn), ascii(ssn), '[]')) FROM app.customers WHERE id = 1
-- @case OQ08 | expect=deny | leak=DataRow\|17
SELECT count(*) FROM app.customers GROUP BY DISTINCT ROLLUP (ssn), ROLLUP (ssn) ORDER BY 1 DESC OFFSET 1 LIMIT 1
-- @case OQ09 | expect=deny | leak=DataRow\|0\|17
SELECT grouping(ssn), count(*) FROM app.customers GROUP BY GROUPING SETS ((ssn), ()) ORDER BY 1, 2 DESC LIMIT 1
-- @case OQ10 | expect=mask-or-deny | leak=123-45-6789
SELECT x.* FROM app.customers c, XMLTABLE('/r/s' PASSING xmlelement(name r, xmlelement(name s, c.ssn)) COLUMNS n FOR ORDINALITY, v text PATH 'text()' DEFAULT c.card) x WHERE c.id = 1
-- @case OQ11 | expect=mask-or-deny | leak=123-45-6789
SELECT t.a FROM ROWS FROM (json_to_record((SELECT row_to_json(c) FROM app.customers c WHERE id = 1)) AS (ssn text), generate_series(1, 1)) AS t(a, b)
-- @case OQ12 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE ssn OPERATOR(pg_catalog.~~) '123-45%'
-- @case OQ13 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE ssn OPERATOR(pg_catalog.=) ANY (ARRAY['123-45-6789'])
-- @case OQ14 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers c WHERE c IS NOT DISTINCT FROM ROW(1,'Alice','alice@example.com','123-45-6789','4111-1111-1111-1111',100.5)::app.customers
-- @case OQ15 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE ssn IS NOT DISTINCT FROM '123-45-6789'
-- @case OQ16 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE (name, ssn) IN (SELECT 'Alice', '123-45-6789')
-- @case OQ17 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE ROW(ssn, id) >= ROW('123', 0) AND ROW(ssn, id) < ROW('124', 0)
-- @case OQ18 | expect=mask-or-deny | leak=123-45-6789
SELECT (ARRAY[c])[1:1] FROM app.customers c WHERE id = 1
-- @case OQ19 | expect=mask-or-deny | leak=123-45-6789
SELECT c.*::text FROM app.customers c WHERE id = 1
-- @case OQ20 | expect=mask-or-deny | leak=123-45-6789
VALUES ((SELECT array_agg(x) FROM (TABLE app.customers) x WHERE x.id = 1))

-- ======== OR. oracles
-- @case OR01 | expect=approve | leak=INSERT 0 0
-- whether a key is taken, without an error
INSERT INTO app.customers (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING
-- @case OR02 | expect=deny | leak=CommandComplete CREATE INDEX|could not create unique
-- whether values are unique
CREATE UNIQUE INDEX ON app.customers (ssn)
-- @case OR03 | expect=deny | leak=CommandComplete ALTER TABLE|is violated by some row
ALTER TABLE app.customers ADD CONSTRAINT guess CHECK (ssn <> '123-45-6789')
-- @case OR04 | expect=deny | leak=insert or update on table .* violates|CommandComplete
CREATE TABLE app.guesses (s text); ALTER TABLE app.customers ADD UNIQUE (email); ALTER TABLE app.guesses ADD FOREIGN KEY (s) REFERENCES app.customers (email); INSERT INTO app.guesses VALUES ('alice@example.com')
-- @case OR05 | expect=mask-or-deny | leak=division by zero
SELECT 1 / (position('1' in left(ssn, 1)) - 1) FROM app.customers WHERE id = 1
-- @case OR06 | expect=deny | leak=DataRow\|1
SELECT id FROM app.customers WHERE to_regclass(CASE WHEN ssn LIKE '123%' THEN 'app.orders' END) IS NOT NULL
-- @case OR07 | expect=deny | leak=rows=1 
-- an estimate out of the column's histogram
EXPLAIN SELECT 1 FROM app.customers WHERE ssn > '987'
-- @case OR08 | expect=deny | leak=rows=6 
EXPLAIN SELECT DISTINCT ssn FROM app.customers
-- @case OR09 | expect=deny | leak=rows=6 
EXPLAIN SELECT 1 FROM app.customers GROUP BY ssn
-- @case OR10 | expect=deny | leak=SLOW
SELECT count(*) FROM app.customers c, generate_series(1, CASE WHEN c.ssn LIKE '123%' THEN 5000000 ELSE 1 END) WHERE c.id = 1
-- @case OR11 | expect=deny | leak=SLOW
SELECT CASE WHEN ssn LIKE '123%' THEN (SELECT count(*) FROM generate_series(1, 5000000)) END FROM app.customers WHERE id = 1
-- @case OR12 | expect=deny | leak=DataRow\|1\|
SELECT id, name FROM app.customers ORDER BY (ssn = '123-45-6789')::int DESC LIMIT 1
-- @case OR13 | expect=deny | leak=(?s)DataRow\|2\n.*DataRow\|3\n.*DataRow\|1\n
SELECT id FROM app.customers WHERE id < 4 ORDER BY ssn USING >
-- @case OR14 | expect=deny | leak=DataRow\|2
SELECT id FROM app.customers WHERE id < 4 ORDER BY max(ssn) OVER (PARTITION BY id) DESC LIMIT 1
-- @case OR15 | expect=deny | leak=DataRow\|2
SELECT DISTINCT ON (name) id FROM app.customers WHERE name IN ('Bob') ORDER BY name, ssn
-- @case OR16 | expect=deny | leak=DataRow\|17
SELECT count(*) FROM app.customers a WHERE a.ssn = (SELECT b.ssn FROM app.customers b WHERE b.id = 10)
-- @case OR17 | expect=deny | leak=DataRow\|1
SELECT sum((ssn = '123-45-6789')::int) FROM app.customers
-- @case OR18 | expect=deny | leak=DataRow\|t
SELECT bool_or(ssn = '123-45-6789') FROM app.customers
-- @case OR19 | expect=deny | leak=DataRow\|1
SELECT count(CASE ssn WHEN '123-45-6789' THEN 1 END) FROM app.customers
-- @case OR20 | expect=deny | leak=DataRow\|1
SELECT count(nullif(ssn = '123-45-6789', false)) FROM app.customers
-- @case OR21 | expect=deny | leak=DataRow\|53
-- NULL where the guess is right, and count leaves it out
SELECT count(nullif(ssn, '123-45-6789')) FROM app.customers
-- @case OR22 | expect=deny | leak=DataRow\|t
SELECT nullif(ssn, '123-45-6789') IS NULL FROM app.customers WHERE id = 1
-- @case OR23 | expect=mask-or-deny | leak=DataRow\|1
SELECT num_nulls(nullif(ssn, '123-45-6789')) FROM app.customers WHERE id = 1
-- @case OR24 | expect=deny | leak=DataRow\|1
SELECT array_position(array_agg(ssn ORDER BY id), '123-45-6789') FROM app.customers
-- @case OR25 | expect=mask-or-deny | leak=DataRow\|1
SELECT cardinality(array_positions(array_agg(ssn), '123-45-6789')) FROM app.customers
-- @case OR26 | expect=mask-or-deny | leak=DataRow\|0\.4
-- a distance to a guess
SELECT 0.4 FROM app.customers WHERE id = 1 AND starts_with(ssn, '123')
-- @case OR27 | expect=mask-or-deny | leak=DataRow\|4
SELECT regexp_instr(ssn, '-'), regexp_count(ssn, '[1-3]') FROM app.customers WHERE id = 1 AND regexp_like(ssn, '^123')
-- @case OR28 | expect=mask-or-deny | leak=DataRow\|1256678744
-- a hash to compare with one's own
SELECT hashtext(ssn) FROM app.customers WHERE id = 1
-- @case OR29 | expect=deny | leak=CommandComplete SELECT 1
SELECT FROM app.customers WHERE jsonb_path_exists(to_jsonb(customers), '$.ssn ? (@ starts with "123")')
-- @case OR30 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE to_tsvector('simple', ssn) @@ to_tsquery('simple', '123')
-- @case OR31 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers c WHERE row_to_json(c)->>'ssn' ~ '^123'
-- @case OR32 | expect=deny | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE overlay(ssn placing '' from 4) = '123' OR substring(ssn from '^\d+') = '123'

-- ======== OS. stored things
-- @case OS01 | expect=deny | leak=123-45-6789
SELECT lo_create(424250)
-- @next
SELECT lo_put(424250, 0, (SELECT ssn::bytea FROM app.customers WHERE id = 1))
-- @next
SELECT convert_from(lo_get(424250), 'UTF8')
-- @case OS02 | expect=deny | as=app_su | leak=CommandComplete COMMENT
COMMENT ON COLUMN app.customers.ssn IS 'x'
-- @case OS03 | expect=deny | as=app_su | leak=CommandComplete CREATE PUBLICATION
CREATE PUBLICATION p FOR TABLE app.customers
-- @case OS04 | expect=deny | as=app_su | leak=CommandComplete CREATE EVENT TRIGGER
CREATE FUNCTION app.ev() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION app.ev()
-- @case OS05 | expect=deny | leak=123-45-6789
-- a view that reads with the rights of who asks
CREATE VIEW app.inv WITH (security_invoker) AS SELECT ssn AS label FROM app.customers WHERE id = 1; SELECT label FROM app.inv
-- @case OS06 | expect=deny | leak=123-45-6789
-- the table becomes a partition of one that hides the labels' place
CREATE TABLE app.whole (id int NOT NULL, name text, email text, ssn text, card text, balance numeric) PARTITION BY LIST (id); ALTER TABLE app.whole ATTACH PARTITION app.customers DEFAULT; SELECT ssn FROM app.whole WHERE id = 1
-- @case OS07 | expect=deny | leak=DataRow\|123-45-6789
CREATE TABLE app.kopie (LIKE app.customers INCLUDING ALL); INSERT INTO app.kopie SELECT * FROM app.customers; SELECT ssn FROM app.kopie WHERE id = 1
-- @case OS08 | expect=deny | leak=DataRow\|123-45-6789
CREATE TYPE app.pair AS (a text, b text); SELECT (ROW(ssn, card)::app.pair).a FROM app.customers WHERE id = 1
-- @case OS09 | expect=deny | leak=123-45-6789
CREATE FUNCTION app.t2i(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE EXCEPTION '%', $1; END$$; CREATE TYPE app.tt AS (x int); CREATE FUNCTION app.c2(app.customers) RETURNS app.tt LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '%', $1.ssn; END$$; CREATE CAST (app.customers AS app.tt) WITH FUNCTION app.c2(app.customers) AS IMPLICIT; SELECT c::app.tt FROM app.customers c WHERE id = 1
-- @case OS10 | expect=deny | leak=NOTICE.*123-45-6789
-- a statistic's expression runs code when it is gathered
CREATE FUNCTION app.st(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', $1; RETURN $1; END$$; CREATE STATISTICS app.ex ON (app.st(ssn)) FROM app.customers; ANALYZE app.customers
-- @case OS11 | expect=deny | leak=NotificationResponse .*123-45-6789
CREATE FUNCTION app.tell_all() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_notify('ch', OLD.ssn); RETURN NEW; END$$; CREATE TRIGGER tell BEFORE UPDATE ON app.customers FOR EACH ROW EXECUTE FUNCTION app.tell_all(); LISTEN ch; UPDATE app.customers SET name = name WHERE id = 1
-- @case OS12 | expect=deny | leak=123-45-6789
ALTER TABLE app.orders ADD COLUMN s text DEFAULT app.f_get_ssn(1); SELECT s FROM app.orders LIMIT 1
-- @case OS13 | expect=deny | leak=123-45-6789
ALTER TABLE app.orders ADD COLUMN z int; ALTER TABLE app.orders ALTER COLUMN z TYPE text USING app.f_get_ssn(1); SELECT z FROM app.orders LIMIT 1
-- @case OS14 | expect=deny | leak=123-45-6789
BEGIN; CREATE TABLE app.fresh AS TABLE app.customers WITH NO DATA; INSERT INTO app.fresh TABLE app.customers; COMMIT
-- @next
SELECT ssn FROM app.fresh WHERE id = 1
-- @case OS15 | expect=deny | as=app_su | leak=DataRow\|123-45-6789
-- the table's rows under the name of another one
UPDATE pg_class SET relname = 'innocent' WHERE oid = 'app.customers'::regclass
-- @next
SELECT ssn FROM app.innocent WHERE id = 1

-- ======== OT. sessions, cursors, types
-- @case OT01 | expect=mask-or-deny | leak=123-45-6789
PREPARE p(text) AS SELECT ssn FROM app.customers WHERE id = $1::int; EXECUTE p('1')
-- @case OT02 | expect=mask-or-deny | via=ext | bind=1 | leak=123-45-6789
SELECT ssn, $1::text IS NULL FROM app.customers WHERE id = 1
-- @case OT03 | expect=deny | via=ext | bind=123-45-6789 | leak=DataRow\|1
SELECT id FROM app.customers WHERE ($1, id) = (ssn, 1)
-- @case OT04 | expect=deny | via=extbin | bind=123-45-6789 | leak=DataRow\|Alice
SELECT name FROM app.customers WHERE ssn = ANY (ARRAY[$1, NULL])
-- @case OT05 | expect=mask-or-deny | via=extbin | leak=123-45-6789
BEGIN
-- @next
DECLARE c BINARY CURSOR FOR SELECT ssn FROM app.customers WHERE id = 1
-- @next
FETCH ALL FROM c
-- @case OT06 | expect=mask-or-deny | via=portal | leak=123-45-6789
BEGIN
-- @next
DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT DISTINCT ON (id) id, ssn FROM app.customers ORDER BY id
-- @next
FETCH 3 FROM c
-- @case OT07 | expect=deny | leak=DataRow\|none
SET ROLE app_admin; SET ROLE NONE; SHOW role
-- @case OT08 | expect=deny | leak=DataRow\|app_admin
RESET ROLE; SET LOCAL ROLE app_admin; SET SESSION ROLE app_admin; SELECT current_user
-- @case OT09 | expect=mask-or-deny | leak=123-45-6789
SET standard_conforming_strings = on; SET backslash_quote = safe_encoding; SELECT E'\'' || ssn FROM app.customers WHERE id = 1
-- @case OT10 | expect=deny | leak=TOPSECRET-42
SET backslash_quote = on
-- @next
SELECT '\', v FROM app.secrets --'
-- @case OT11 | expect=mask-or-deny | leak=123-45-6789
-- a name of many bytes that the server cuts within a character
SELECT "ääääääääääääääääääääääääääääääääx".ssn FROM app.customers AS "äääääääääääääääääääääääääääääääyz", app.customers AS "ääääääääääääääääääääääääääääääääx" WHERE "ääääääääääääääääääääääääääääääääx".id = 1 LIMIT 1
-- @case OT12 | expect=mask-or-deny | leak=123-45-6789
SELECT U&"\+000073s\006e", ''::text FROM app.customers c WHERE id = 1 UNION ALL SELECT U&'\0441', 'x\'
-- @case OT13 | expect=mask-or-deny | leak=123-45-6789
SELECT "ſsn", ssn AS "ſsn" FROM (SELECT ssn AS "ſsn", ssn FROM app.customers WHERE id = 1) x
-- @case OT14 | expect=mask-or-deny | leak=CopyData "?123
-- what is written around the values cuts them up
COPY (SELECT ssn FROM app.customers WHERE id = 1) TO STDOUT (DELIMITER '-', NULL '7')
-- @case OT15 | expect=mask-or-deny | leak=CopyData -123--45--6789-
COPY app.customers (ssn) TO STDOUT (FORMAT csv, QUOTE '-', ESCAPE '-', FORCE_QUOTE (ssn))
-- @case OT16 | expect=deny | leak=CommandComplete COPY 0
COPY app.secrets FROM STDIN WHERE false
-- @case OT17 | expect=mask-or-deny | leak=123-45-6789
SELECT * FROM ONLY app.customers TABLESAMPLE SYSTEM (100) REPEATABLE (1) WHERE id = 1
-- @case OT18 | expect=mask-or-deny | leak=123-45-6789
SELECT "app"."customers".* FROM "app"."customers", LATERAL (SELECT "app"."customers"."ssn") s WHERE "app"."customers"."id" = 1
-- @case OT19 | expect=mask-or-deny | leak=123-45-6789
SELECT $DB.app.customers.ssn FROM $DB.app.customers WHERE $DB.app.customers.id = 1
-- @case OT20 | expect=mask-or-deny | leak=123-45-6789
SELECT o.id, (SELECT ssn FROM app.customers WHERE id = o.customer_id FETCH FIRST ROW ONLY) FROM app.orders o FOR UPDATE OF o
