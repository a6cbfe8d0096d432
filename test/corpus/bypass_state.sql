-- bypass_state.sql: attempts that need more than one message, or that change what a later one means. The format is that of bypass.sql.

-- ======== SA. a search path that something else than SET has moved
-- @case SA01 | expect=deny | leak=TOPSECRET-42
-- EXECUTE runs set_config
PREPARE p AS SELECT set_config('search_path', 'app', false)
-- @next
EXECUTE p
-- @next
SELECT v FROM secrets
-- @case SA02 | expect=deny | leak=TOPSECRET-42
-- FETCH runs it
BEGIN; DECLARE c CURSOR FOR SELECT set_config('search_path', 'app', false)
-- @next
FETCH c
-- @next
SELECT v FROM secrets
-- @case SA03 | expect=deny | leak=TOPSECRET-42
-- COMMIT runs it, for a cursor that is to be held
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT set_config('search_path', 'app', false)
-- @next
COMMIT
-- @next
SELECT v FROM secrets
-- @case SA04 | expect=deny | leak=TOPSECRET-42
-- COPY runs it
COPY (SELECT set_config('search_path', 'app', false)) TO STDOUT
-- @next
SELECT v FROM secrets
-- @case SA05 | expect=deny | leak=TOPSECRET-42
-- the arguments of EXECUTE run it
PREPARE p(text) AS SELECT $1
-- @next
EXECUTE p(set_config('search_path', 'app', false))
-- @next
SELECT v FROM secrets
-- @case SA06 | expect=deny | leak=TOPSECRET-42
-- a view runs it whenever it is read
CREATE VIEW app.moves AS SELECT set_config('search_path', 'app', false)
-- @next
SELECT * FROM app.moves
-- @next
SELECT v FROM secrets
-- @case SA07 | expect=deny | leak=TOPSECRET-42
-- a default runs it with each row
CREATE TABLE app.moves (a int, b text DEFAULT set_config('search_path', 'app', false)); INSERT INTO app.moves (a) VALUES (1)
-- @next
SELECT v FROM secrets
-- @case SA08 | expect=deny | leak=123-45-6789
-- the rest of the same text is read under the path that EXECUTE has set
PREPARE p AS SELECT set_config('search_path', 'app', false)
-- @next
EXECUTE p; SELECT f_get_ssn(1)
-- @case SA09 | expect=deny | leak=TOPSECRET-42
-- back to the path before a savepoint
BEGIN; SET LOCAL search_path = app; SAVEPOINT a; SET LOCAL search_path = public
-- @next
ROLLBACK TO a
-- @next
SELECT v FROM secrets
-- @case SA10 | expect=deny | leak=TOPSECRET-42
-- back to the path before a transaction that failed
SET search_path = app
-- @next
BEGIN; SET search_path = public; EXECUTE nothing
-- @next
ROLLBACK; SELECT v FROM secrets
-- @case SA11 | expect=deny | leak=DataRow\|app_admin
-- another role, by the same ways
PREPARE p AS SELECT set_config('role', 'app_admin', false)
-- @next
EXECUTE p
-- @next
SELECT current_user
-- @case SA12 | expect=deny | leak=DataRow\|app_admin
COPY (SELECT set_config('role', 'app_admin', false)) TO STDOUT
-- @next
SELECT current_user
-- @case SA13 | expect=deny | leak=DataRow\|app_admin
BEGIN; SET LOCAL ROLE app_admin; SELECT current_user
-- @case SA14 | expect=deny | via=opt:client_min_messages=debug5 | leak=DEBUG
-- messages of debug levels tell how a statement was run
SELECT 1
-- @case SA15 | expect=deny | via=opt:options=-c client_min_messages=debug5 | leak=DEBUG
SELECT 1

-- ======== SB. what a name stands for later
-- @case SB01 | expect=mask | leak=123-45-6789
-- one name, two statements
PREPARE p AS SELECT name FROM app.customers WHERE id = 1; DEALLOCATE p; PREPARE p AS SELECT ssn FROM app.customers WHERE id = 1
-- @next
EXECUTE p
-- @case SB02 | expect=mask-or-deny | leak=123-45-6789
-- prepared in a transaction that fails: it stays
BEGIN; PREPARE p AS SELECT ssn FROM app.customers WHERE id = 1; SELECT 1/0
-- @next
ROLLBACK
-- @next
EXECUTE p
-- @case SB03 | expect=mask | leak=123-45-6789
-- a cursor that outlives its transaction, read backwards
BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT ssn FROM app.customers ORDER BY id; COMMIT
-- @next
MOVE 2 FROM c
-- @next
FETCH BACKWARD 1 FROM c
-- @case SB04 | expect=mask | leak=123-45-6789
-- binary because the cursor says so
BEGIN; DECLARE c BINARY CURSOR FOR SELECT ssn FROM app.customers ORDER BY id
-- @next
FETCH 1 FROM c
-- @case SB05 | expect=deny | leak=123-45-6789
-- a table made of what EXECUTE gives
PREPARE p AS SELECT ssn FROM app.customers WHERE id = 1
-- @next
CREATE TEMP TABLE x AS EXECUTE p
-- @next
SELECT * FROM x
-- @case SB06 | expect=approve | effect=SELECT count(*)=0 FROM app.orders
PREPARE p AS DELETE FROM app.orders
-- @next
EXPLAIN ANALYZE EXECUTE p
-- @case SB07 | expect=deny | leak=TOPSECRET-42
-- the server takes ALTER INDEX for any relation
ALTER INDEX app.secrets RENAME TO harmless
-- @next
SELECT v FROM app.harmless
-- @case SB08 | expect=deny | leak=TOPSECRET-42
-- in a transaction that nobody else sees
BEGIN; ALTER TABLE app.orders RENAME TO older; ALTER TABLE app.secrets RENAME TO orders
-- @next
SELECT * FROM app.orders
-- @case SB09 | expect=deny | leak=123-45-6789
CREATE MATERIALIZED VIEW app.kept AS SELECT id, ssn AS n FROM app.customers
-- @next
SELECT n FROM app.kept WHERE id = 1
-- @case SB10 | expect=deny | leak=TOPSECRET-42
BEGIN; CREATE VIEW app.open AS SELECT v FROM app.secrets; COMMIT
-- @next
SELECT v FROM app.open

-- ======== SC. definitions and errors that tell of rows
-- @case SC01 | expect=deny | leak=Key \(ssn\)=\(000-00-000
-- an index that cannot be unique names the value
CREATE UNIQUE INDEX ON app.customers (ssn)
-- @case SC02 | expect=deny | leak=CommandComplete INSERT 0 1
-- a foreign key without columns references the primary key
CREATE TABLE app.probe (k text REFERENCES app.secrets); INSERT INTO app.probe VALUES ('api')
-- @case SC03 | expect=deny | leak=123-45-6789
CREATE TABLE app.probe (s text); ALTER TABLE app.customers ADD COLUMN again text GENERATED ALWAYS AS (ssn) STORED; SELECT again FROM app.customers WHERE id = 1
-- @case SC04 | expect=approve | leak=Failing row contains \(null, Alice, alice@example.com, 123-45-6789
WITH u AS (UPDATE app.customers SET id = NULL WHERE id = 1 RETURNING 1) SELECT * FROM u
-- @case SC05 | expect=approve | leak=Failing row contains \(null, Alice, alice@example.com, 123-45-6789
INSERT INTO app.customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = NULL
