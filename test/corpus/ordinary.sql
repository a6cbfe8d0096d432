-- ordinary.sql: what applications write, over tables with masked columns, under a policy that lets them, in the format of bypass.sql.
-- Run after CREATE of app.items and app.gen; see ordinary_test.go.
-- @case W01 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.customers (id, name, email, ssn) VALUES (100, 'New', 'new@example.com', '111-22-3333') RETURNING *
-- @case W02 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.customers (id, name, email) VALUES (101, 'A', 'a@x.example'), (102, 'B', NULL), (103, 'C', DEFAULT) RETURNING id, name, email AS mail
-- @case W03 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.customers AS c (id, name, email) VALUES (1, 'Alicia', 'alicia@x.example') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, email = EXCLUDED.email WHERE c.name <> EXCLUDED.name RETURNING c.id, c.name, c.email, (xmax <> 0) AS updated
-- @case W04 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.customers (id, name) VALUES (1, 'x'), (120, 'y') ON CONFLICT DO NOTHING RETURNING id
-- @case W05 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.orders (id, customer_id, total) SELECT 100 + id, id, 5 FROM app.customers WHERE id < 4 RETURNING id, total
-- @case W06 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.orders VALUES (200, 1, 10.5) RETURNING id, (SELECT name FROM app.customers WHERE id = customer_id) AS customer
-- @case W07 | expect=mask | leak=DataRow|CopyData
WITH c AS (INSERT INTO app.customers (id, name, email) VALUES (130, 'W', 'w@x.example') RETURNING id) INSERT INTO app.orders SELECT 130, id, 1 FROM c RETURNING *
-- @case W08 | expect=mask | leak=DataRow|CopyData
UPDATE app.customers SET name = 'Al', balance = balance + 1 WHERE id = 1 RETURNING id, name, balance, email
-- @case W09 | expect=mask | leak=DataRow|CopyData
UPDATE app.customers SET email = 'changed@x.example', ssn = NULL WHERE id = 2 RETURNING *
-- @case W10 | expect=mask | leak=DataRow|CopyData
UPDATE app.customers c SET balance = o.sum FROM (SELECT customer_id, sum(total) FROM app.orders GROUP BY 1) o WHERE o.customer_id = c.id RETURNING c.id, c.balance, c.email
-- @case W11 | expect=mask | leak=DataRow|CopyData
UPDATE app.orders SET total = v.total FROM (VALUES (1, 11::numeric), (2, 22)) AS v(id, total) WHERE v.id = orders.id RETURNING orders.id, orders.total
-- @case W12 | expect=mask | leak=DataRow|CopyData
UPDATE "app"."customers" AS "c" SET "name" = 'Bo' WHERE ("c"."id" = 2) RETURNING "c"."id", "c"."name", "c"."email"
-- @case W13 | expect=mask | leak=DataRow|CopyData
UPDATE app.customers SET (name, balance) = ('X', 5) WHERE id = 3 RETURNING *
-- @case W14 | expect=mask | leak=DataRow|CopyData
UPDATE app.orders SET total = total * 2 WHERE id IN (SELECT id FROM app.orders ORDER BY id LIMIT 2) RETURNING *
-- @case W15 | expect=mask | leak=DataRow|CopyData
UPDATE app.customers SET name = CASE id WHEN 1 THEN 'one' WHEN 2 THEN 'two' END WHERE id IN (1, 2) RETURNING id, name
-- @case W16 | expect=mask | leak=DataRow|CopyData
DELETE FROM app.orders WHERE id = 3 RETURNING *
-- @case W17 | expect=mask | leak=DataRow|CopyData
DELETE FROM app.orders USING app.customers c WHERE c.id = orders.customer_id AND c.name = 'Bob' RETURNING orders.id, c.name, c.email
-- @case W18 | expect=mask | leak=DataRow|CopyData
WITH gone AS (DELETE FROM app.orders WHERE customer_id = 1 RETURNING *) SELECT count(*), sum(total) FROM gone
-- @case W19 | expect=mask | leak=DataRow|CopyData
WITH moved AS (UPDATE app.orders SET customer_id = 2 WHERE customer_id = 1 RETURNING id) SELECT o.id, c.email FROM moved o CROSS JOIN app.customers c WHERE c.id = 2
-- @case W20 | expect=mask | leak=DataRow|CopyData
SELECT id, email FROM app.customers WHERE id < 3 ORDER BY id FOR UPDATE
-- @case W21 | expect=mask | leak=DataRow|CopyData
SELECT id FROM app.orders ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
-- @case W22 | expect=mask | leak=DataRow|CopyData
SELECT c.id, c.email FROM app.customers c JOIN app.orders o ON o.customer_id = c.id WHERE o.id = 1 FOR NO KEY UPDATE OF c NOWAIT
-- @case W23 | expect=mask | leak=DataRow|CopyData
SELECT id FROM app.orders WHERE id = 1 FOR SHARE
-- @case W24 | expect=mask | leak=DataRow|CopyData
UPDATE app.orders SET total = 0 WHERE id = (SELECT id FROM app.orders WHERE total > 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id
-- @case W25 | expect=mask | leak=DataRow|CopyData
BEGIN; SAVEPOINT active_record_1; UPDATE app.customers SET balance = 7 WHERE id = 1; RELEASE SAVEPOINT active_record_1; SELECT balance FROM app.customers WHERE id = 1; COMMIT
-- @case W26 | expect=mask | leak=DataRow|CopyData
BEGIN; INSERT INTO app.orders VALUES (300, 1, 1); ROLLBACK; SELECT count(*) FROM app.orders
-- @case W27 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label, qty, doc) VALUES ('a', 1, '{"k": [1, 2]}'), ('b', DEFAULT, NULL) RETURNING id, created IS NOT NULL
-- @case W28 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label) VALUES ('c') RETURNING currval(pg_get_serial_sequence('app.items', 'id')) > 0
-- @case W29 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items DEFAULT VALUES RETURNING *
-- @case W30 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (id, label) VALUES (nextval('app.items_id_seq'), 'n') RETURNING label
-- @case W31 | expect=mask | leak=DataRow|CopyData
SELECT nextval('app.items_id_seq') > 0
-- @case W32 | expect=mask | leak=DataRow|CopyData
SELECT nextval('app.items_id_seq'::regclass) > 0, currval('app.items_id_seq') > 0
-- @case W33 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label) VALUES ('l'); SELECT currval('app.items_id_seq') > 0
-- @case W34 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.gen (v) VALUES ('x') RETURNING id, up
-- @case W35 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.gen OVERRIDING SYSTEM VALUE VALUES (77, 'x') RETURNING *
-- @case W36 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label) VALUES ('x'); UPDATE app.items SET doc = jsonb_set(coalesce(doc, '{}'), '{seen}', 'true'), tags = array_append(tags, 'n'), qty = DEFAULT WHERE id > 0 RETURNING doc, tags
-- @case W37 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label, tags, mood) VALUES ('t', ARRAY['a', 'b'], 'happy') RETURNING tags[1], mood
-- @case W38 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label, tags) VALUES ('x', '{a}'); SELECT id FROM app.items WHERE mood = 'happy'::app.mood OR tags && ARRAY['a'] OR doc @> '{"k": [1]}'
-- @case W39 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label, doc) SELECT x->>'l', x FROM jsonb_array_elements('[{"l": "j1"}, {"l": "j2"}]') x RETURNING label
-- @case W40 | expect=mask | leak=DataRow|CopyData
INSERT INTO app.items (label, qty) SELECT * FROM unnest(ARRAY['u1', 'u2'], ARRAY[1, 2]) RETURNING label, qty
-- @case W41 | expect=mask | leak=DataRow|CopyData
COPY app.orders (id, customer_id, total) TO STDOUT WITH (FORMAT csv, HEADER true)
-- @case W42 | expect=mask | leak=DataRow|CopyData
PREPARE ins(int, text) AS INSERT INTO app.customers (id, name) VALUES ($1, $2) RETURNING id; EXECUTE ins(140, 'p'); DEALLOCATE ins
-- @case W43 | expect=mask | leak=DataRow|CopyData
EXPLAIN UPDATE app.customers SET name = 'x' WHERE id = 1
-- @case W44 | expect=mask | leak=DataRow|CopyData
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO app.orders VALUES (400, 1, 1)
-- @case W45 | expect=mask | leak=DataRow
INSERT INTO app.customers AS c (id, name) VALUES (1, 'Alicia') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, email = 'b@x.example' WHERE c.name <> EXCLUDED.name RETURNING c.*
-- @case W46 | expect=mask | leak=DataRow
INSERT INTO app.items (label) VALUES ('c'); SELECT setval(pg_get_serial_sequence('app.items', 'id'), coalesce(max(id), 1), true) > 0 FROM app.items
