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
