-- bypass_published.sql: escapes that were published in 2025 and 2026 against tools which give agents a database, in the format
-- of bypass.sql. Such tools wrap what an agent sends in a READ ONLY transaction, look at its first word or at a list of forbidden
-- ones, scan it with a lexer of their own, or mask results by the names and places of their columns.

-- ======== PA. a transaction ended inside a text
-- @case PA01 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- the wrapper's READ ONLY ends with the COMMIT
COMMIT; DROP TABLE app.orders CASCADE
-- @case PA02 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
BEGIN TRANSACTION READ ONLY; COMMIT; DROP TABLE app.orders CASCADE; SELECT 1
-- @case PA03 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
ROLLBACK; BEGIN; DROP TABLE app.orders CASCADE; COMMIT
-- @case PA04 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
-- the mode itself is set back, as the first statement of the transaction
BEGIN READ ONLY; SET TRANSACTION READ WRITE; DELETE FROM app.orders; COMMIT
-- @case PA05 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
SET default_transaction_read_only = on
-- @next
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
-- @next
DELETE FROM app.orders
-- @case PA06 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- AND CHAIN begins another one with the same mode, which the text leaves at once
BEGIN READ ONLY; COMMIT AND CHAIN; COMMIT; DROP TABLE app.orders CASCADE
-- @case PA07 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- ABORT and END are words for it too
BEGIN READ ONLY; ABORT; DROP TABLE app.orders CASCADE
-- @case PA08 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- the second statement after a string that holds a semicolon
SELECT ';'; COMMIT; DROP TABLE app.orders CASCADE

-- ======== PB. files and programs as tables
-- @case PB01 | expect=deny | as=app_su | leak=root:
SELECT * FROM pg_read_file('/etc/passwd')
-- @case PB02 | expect=deny | as=app_su | leak=root:
SELECT l FROM regexp_split_to_table(pg_read_file('/etc/passwd', 0, 200), '\n') AS l LIMIT 1
-- @case PB03 | expect=deny | as=app_su | leak=base
SELECT name FROM pg_ls_dir('.') AS d(name) WHERE name = 'base'
-- @case PB04 | expect=deny | as=app_su | leak=DataRow\|t
SELECT size > 0 FROM pg_stat_file('PG_VERSION')
-- @case PB05 | expect=deny | as=app_su | leak=DataRow\|[0-9A-F]{24}
SELECT name FROM pg_ls_waldir() LIMIT 1
-- @case PB06 | expect=deny | as=app_su | leak=root:
SELECT encode(pg_read_binary_file('/etc/passwd', 0, 5), 'escape')
-- @case PB07 | expect=deny | as=app_su | leak=uid=
CREATE TEMP TABLE o(l text); COPY o FROM PROGRAM 'id'; SELECT l FROM o
-- @case PB08 | expect=deny | as=app_su | leak=data_directory
SELECT name, setting FROM pg_file_settings UNION ALL SELECT name, setting FROM pg_settings WHERE name = 'data_directory'
-- @case PB09 | expect=deny | as=app_su | leak=root:
SELECT * FROM ROWS FROM (pg_read_file('/etc/passwd'), generate_series(1,1)) AS t(a, b)
-- @case PB10 | expect=deny | as=app_su | leak=root:
-- in a sub-select of a clause that checkers skip
SELECT 1 AS one ORDER BY (SELECT pg_read_file('/etc/passwd')::int)

-- ======== PC. what the first word says
-- @case PC01 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
/* SELECT */ DELETE FROM app.orders
-- @case PC02 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
-- SELECT 1
  -- select
DELETE FROM app.orders
-- @case PC03 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
WITH gone AS (DELETE FROM app.orders RETURNING *) SELECT count(*) FROM gone
-- @case PC04 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
-- the writing query is not even read by the other
WITH gone AS (DELETE FROM app.orders) SELECT 1
-- @case PC05 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
WITH RECURSIVE a AS (SELECT 1), b AS (DELETE FROM app.orders RETURNING 1) SELECT * FROM a
-- @case PC06 | expect=approve | effect=SELECT total=999 FROM app.orders WHERE id=1
WITH u AS (UPDATE app.orders SET total=999 WHERE id=1 RETURNING id) TABLE u
-- @case PC07 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
EXPLAIN (ANALYZE) WITH gone AS (DELETE FROM app.orders RETURNING 1) SELECT * FROM gone
-- @case PC08 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
explain analyze verbose delete from app.orders
-- @case PC09 | expect=deny | effect=SELECT to_regclass('app.made') IS NOT NULL
-- SELECT that makes a table
SELECT * INTO app.made FROM app.orders
-- @case PC10 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
PREPARE p AS DELETE FROM app.orders; EXECUTE p
-- @case PC11 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
(SELECT 1); DROP TABLE app.orders CASCADE
-- @case PC12 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
VALUES (1); WITH d AS (DELETE FROM app.orders) VALUES (1)
-- @case PC13 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
COPY (WITH d AS (DELETE FROM app.orders RETURNING id) SELECT * FROM d) TO STDOUT

-- ======== PD. text that lexers read differently
-- @case PD01 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
-- a backslash before a quote ends the string: standard strings have no escapes
SELECT 'x\'; DROP TABLE app.orders CASCADE; --'
-- @case PD02 | expect=deny | effect=SELECT to_regclass('app.orders') IS NULL
SELECT '\'; DROP TABLE app.orders CASCADE; SELECT '\'
-- @case PD03 | expect=deny | leak=TOPSECRET-42
SELECT E'\\', v FROM app.secrets --'
-- @case PD04 | expect=deny | leak=TOPSECRET-42
-- comments nest, and a lexer that does not know it sees the end of one
SELECT /* /* */ 'hidden' */ v FROM app.secrets
-- @case PD05 | expect=deny | leak=TOPSECRET-42
SELECT $q$ $$ ' $q$, v FROM app.secrets --$q$
-- @case PD06 | expect=deny | leak=TOPSECRET-42
-- a dollar inside a name begins no string
SELECT 1 AS a$b$, v FROM app.secrets WHERE '$b$' = '$b$'
-- @case PD07 | expect=deny | leak=TOPSECRET-42
-- quoted names and strings with what would end the other
SELECT '"' AS "'", v FROM app.secrets --"'
-- @case PD08 | expect=deny | leak=TOPSECRET-42
-- the continuation of a string on the next line, after a comment
SELECT 'a' -- '
  'b', v FROM app.secrets
-- @case PD09 | expect=deny | leak=TOPSECRET-42
SELECT U&'\0027', v FROM app.secrets --'
-- @case PD10 | expect=deny | leak=TOPSECRET-42
-- a bit string and a number that run into names
SELECT b'1'::int, x'1f'::int, v FROM app.secrets
-- @case PD11 | expect=deny | leak=TOPSECRET-42
SELECT 1.5e1 AS e, v FROM"app"."secrets"

-- ======== PE. functions that write inside READ ONLY
-- @case PE01 | expect=deny | effect=SELECT last_value=77 FROM app.counter
CREATE SEQUENCE app.counter
-- @next
BEGIN; SELECT setval('app.counter', 77); COMMIT
-- @case PE02 | expect=deny | leak=DataRow\|\|42
BEGIN READ ONLY; SELECT pg_advisory_lock(42), 42; COMMIT
-- @case PE03 | expect=deny | leak=DataRow\|f
BEGIN READ ONLY; SELECT pg_cancel_backend(2147483600); COMMIT
-- @case PE04 | expect=deny | leak=NotificationResponse ch x
-- the channel outlives the transaction
LISTEN ch
-- @next
SELECT pg_notify('ch', 'x')
-- @case PE05 | expect=deny | as=app_su | leak=DataRow\|t
BEGIN READ ONLY; SELECT pg_reload_conf(); COMMIT
-- @case PE06 | expect=deny | as=app_su | effect=SELECT count(*)=0 FROM app.orders
-- another connection is in no READ ONLY transaction
BEGIN READ ONLY; SELECT dblink_exec('dbname=$DB port=55433 host=127.0.0.1 user=app_rw', 'DELETE FROM app.orders'); COMMIT
-- @case PE07 | expect=deny | as=app_su | leak=DataRow\|
BEGIN READ ONLY; SELECT pg_switch_wal(); COMMIT
-- @case PE08 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
SET default_transaction_read_only = on
-- @next
SELECT set_config('default_transaction_read_only', 'off', false)
-- @next
DELETE FROM app.orders
-- @case PE09 | expect=deny | as=app_su | leak=DataRow\|0
BEGIN READ ONLY; SELECT count(pg_stat_reset()) * 0; COMMIT

-- ======== PF. a masked value put together from groups and order
-- @case PF01 | expect=deny | leak=DataRow\|1\|1
-- one character of each row by grouping
SELECT min(id), count(*) FROM app.customers WHERE id < 4 GROUP BY left(ssn, 1) HAVING left(ssn, 1) = '1'
-- @case PF02 | expect=deny | leak=(?s)DataRow\|1\n.*DataRow\|3\n.*DataRow\|2\n
SELECT id FROM app.customers WHERE id < 4 ORDER BY substr(ssn, 1, 1)
-- @case PF03 | expect=deny | leak=(?s)DataRow\|3\n.*DataRow\|1\n
SELECT id FROM app.customers WHERE id IN (1,3) ORDER BY ssn = '123-45-6789'
-- @case PF04 | expect=deny | leak=DataRow\|49\|1
-- a join with all characters: the group tells which one it is
SELECT c, count(*) FROM generate_series(48, 57) c JOIN app.customers k ON ascii(k.ssn) = c WHERE k.id = 1 GROUP BY c
-- @case PF05 | expect=deny | leak=DataRow\|1\|1
SELECT id, dense_rank() OVER (ORDER BY left(ssn, 3)) FROM app.customers WHERE id < 4 ORDER BY 2 LIMIT 1
-- @case PF06 | expect=deny | leak=DataRow\|Alice
-- bisection
SELECT name FROM app.customers WHERE id = 1 AND ssn BETWEEN '123-45-6000' AND '123-45-7000'
-- @case PF07 | expect=deny | leak=DataRow\|123-45-6789
-- all candidates at once, and the one that fits comes back
SELECT g FROM (SELECT '123-45-' || lpad(n::text, 4, '0') g FROM generate_series(6780, 6790) n) x WHERE EXISTS (SELECT 1 FROM app.customers WHERE ssn = g)
-- @case PF08 | expect=deny | leak=DataRow\|123-45-6789
SELECT g FROM (SELECT '123-45-' || lpad(n::text, 4, '0') g FROM generate_series(6780, 6790) n) x INTERSECT SELECT ssn FROM app.customers

-- ======== PG. values in errors
-- @case PG01 | expect=mask-or-deny | leak=invalid input syntax for type integer: "123-45-6789"
SELECT ssn::int FROM app.customers WHERE id = 1
-- @case PG02 | expect=mask-or-deny | leak=alice@example.com
SELECT CAST(email AS date) FROM app.customers WHERE id = 1
-- @case PG03 | expect=mask-or-deny | leak=4111-1111-1111-1111
SELECT card::uuid FROM app.customers WHERE id = 1
-- @case PG04 | expect=mask-or-deny | leak=alice
SELECT ('{"a": ' || email || '}')::jsonb FROM app.customers WHERE id = 1
-- @case PG05 | expect=mask-or-deny | leak=alice@example.com
SELECT array_to_string(email::text[], ',') FROM app.customers WHERE id = 1
-- @case PG06 | expect=mask-or-deny | leak=123-45-6789
SELECT ssn::numeric(3,1) FROM app.customers WHERE id = 1
-- @case PG07 | expect=mask-or-deny | leak=invalid value "alic"
SELECT to_timestamp(email, 'YYYY') FROM app.customers WHERE id = 1
-- @case PG08 | expect=mask-or-deny | leak=alice@example.com
SELECT email::regtype FROM app.customers WHERE id = 1
-- @case PG09 | expect=mask-or-deny | leak="2" is not a valid binary digit
SELECT ssn::bit(3) FROM app.customers WHERE id = 1
-- @case PG10 | expect=mask-or-deny | leak=123-45-6789
SELECT ssn::macaddr FROM app.customers WHERE id = 1

-- ======== PH. masks by name and place
-- @case PH01 | expect=mask | leak=123-45-6789
-- what stands before the star shifts all places
SELECT 1, * FROM app.customers WHERE id = 1
-- @case PH02 | expect=mask | leak=123-45-6789
SELECT c.balance, c.* FROM app.customers c WHERE id = 1
-- @case PH03 | expect=mask | leak=123-45-6789
SELECT ssn AS name, name AS ssn FROM app.customers WHERE id = 1
-- @case PH04 | expect=mask | leak=123-45-6789
SELECT ssn AS "?column?" FROM (SELECT ssn FROM app.customers WHERE id = 1) t(ssn)
-- @case PH05 | expect=mask | leak=123-45-6789
SELECT *, * FROM app.customers c JOIN app.orders o ON o.customer_id = c.id WHERE o.id = 1
-- @case PH06 | expect=mask | leak=123-45-6789
SELECT o.*, c.* FROM app.orders o, app.customers c WHERE c.id = o.customer_id AND o.id = 1
-- @case PH07 | expect=mask | leak=123-45-6789
SELECT id, name, email, card AS ssn, ssn AS card FROM app.customers WHERE id = 1
-- @case PH08 | expect=mask-or-deny | leak=123-45-6789
SELECT id || '' AS id, ssn || '' AS note FROM app.customers WHERE id = 1
-- @case PH09 | expect=mask-or-deny | via=ext | bind=x | leak=123-45-6789
SELECT $1::text, * FROM app.customers WHERE id = 1
-- @case PH10 | expect=mask-or-deny | via=extbin | leak=123-45-6789
SELECT ssn, * FROM app.customers WHERE id = 1
-- @case PH11 | expect=mask-or-deny | leak=1\|2\|3\|-\|4
-- split into pieces that no pattern finds
SELECT array_to_string(regexp_split_to_array(ssn, ''), '|') FROM app.customers WHERE id = 1
-- @case PH12 | expect=mask-or-deny | leak=9876-54-321
SELECT reverse(s.x) FROM (SELECT ssn x FROM app.customers WHERE id = 1) s
