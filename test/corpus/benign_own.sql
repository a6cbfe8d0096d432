-- benign_own.sql: ordinary statements that have to keep working over tables with masked columns, in the format of bypass.sql.
-- All of them work with the rights that bypass.sql assumes.

-- ======== window functions
-- @case NO001 | expect=mask | leak=DataRow
SELECT id, balance, rank() OVER (ORDER BY balance DESC), dense_rank() OVER w, row_number() OVER w, percent_rank() OVER w, cume_dist() OVER w, ntile(4) OVER w FROM app.customers WINDOW w AS (ORDER BY balance) LIMIT 5
-- @case NO002 | expect=mask | leak=DataRow
SELECT id, email, lag(balance) OVER (ORDER BY id), lead(balance, 2, 0) OVER (ORDER BY id) FROM app.customers LIMIT 3
-- @case NO003 | expect=mask | leak=DataRow
SELECT id, sum(balance) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM app.customers LIMIT 5
-- @case NO004 | expect=mask | leak=DataRow
SELECT id, avg(balance) OVER (ORDER BY id RANGE BETWEEN 10 PRECEDING AND 10 FOLLOWING EXCLUDE CURRENT ROW) FROM app.customers LIMIT 5
-- @case NO005 | expect=mask | leak=DataRow
SELECT customer_id, total, first_value(total) OVER w, last_value(total) OVER w, nth_value(total, 2) OVER w FROM app.orders WINDOW w AS (PARTITION BY customer_id ORDER BY id GROUPS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
-- @case NO006 | expect=mask | leak=DataRow
SELECT * FROM (SELECT c.*, row_number() OVER (PARTITION BY left(name, 1) ORDER BY balance DESC) AS n FROM app.customers c) x WHERE n <= 2 ORDER BY id LIMIT 5
-- @case NO007 | expect=mask | leak=DataRow
SELECT id, count(*) FILTER (WHERE balance > 20) OVER (PARTITION BY name) FROM app.customers LIMIT 3
-- @case NO008 | expect=mask | leak=DataRow
SELECT name, email, balance / nullif(sum(balance) OVER (), 0) AS share FROM app.customers ORDER BY share DESC LIMIT 3
-- @case NO009 | expect=mask | leak=DataRow
SELECT id, max(email) OVER (PARTITION BY id % 2) FROM app.customers LIMIT 2
-- @case NO010 | expect=mask | leak=DataRow
SELECT id, sum(total) OVER (PARTITION BY customer_id) - total AS rest FROM app.orders ORDER BY id

-- ======== aggregates and percentiles
-- @case NO011 | expect=mask | leak=DataRow
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY balance), percentile_disc(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY balance), mode() WITHIN GROUP (ORDER BY balance) FROM app.customers
-- @case NO012 | expect=mask | leak=DataRow
SELECT count(*), count(email), count(ssn) FROM app.customers
-- @case NO013 | expect=mask | leak=DataRow
SELECT name, array_agg(id ORDER BY id DESC) FROM app.customers GROUP BY name ORDER BY name LIMIT 3
-- @case NO014 | expect=mask | leak=DataRow
SELECT string_agg(name, ', ' ORDER BY id) FROM app.customers WHERE id < 4
-- @case NO015 | expect=mask | leak=DataRow
SELECT stddev(balance), variance(balance), stddev_pop(balance), corr(id, balance), regr_slope(balance, id), covar_pop(id, balance) FROM app.customers
-- @case NO016 | expect=mask | leak=DataRow
SELECT bool_and(balance > 0), bool_or(balance > 200), every(id > 0), bit_and(id), bit_or(id) FROM app.customers
-- @case NO017 | expect=mask | leak=DataRow
SELECT jsonb_agg(jsonb_build_object('id', id, 'mail', email) ORDER BY id) FROM app.customers WHERE id < 4
-- @case NO018 | expect=mask | leak=DataRow
SELECT jsonb_object_agg(id, name), json_object_agg(id, balance) FROM app.customers WHERE id < 4
-- @case NO019 | expect=mask | leak=DataRow
SELECT sum(total) FILTER (WHERE customer_id = 1) AS one, sum(total) FILTER (WHERE customer_id <> 1) AS rest FROM app.orders
-- @case NO020 | expect=mask | leak=DataRow
SELECT customer_id, count(DISTINCT total), sum(DISTINCT total) FROM app.orders GROUP BY customer_id HAVING sum(total) > 10 ORDER BY 1
-- @case NO021 | expect=mask | leak=DataRow
SELECT width_bucket(balance, 0, 300, 3) AS bucket, count(*) FROM app.customers GROUP BY bucket ORDER BY bucket
-- @case NO022 | expect=mask | leak=DataRow
SELECT min(email), max(ssn) FROM app.customers WHERE id = 1
-- @case NO023 | expect=mask | leak=DataRow
SELECT array_agg(email) FROM app.customers WHERE id < 3
-- @case NO024 | expect=mask | leak=DataRow
SELECT any_value FROM (SELECT min(name) AS any_value FROM app.customers) x

-- ======== grouping
-- @case NO025 | expect=mask | leak=DataRow
SELECT id % 2 AS parity, name, count(*) FROM app.customers WHERE id < 4 GROUP BY GROUPING SETS ((parity), (name), ()) ORDER BY 1, 2
-- @case NO026 | expect=mask | leak=DataRow
SELECT customer_id, id, sum(total), grouping(customer_id, id) FROM app.orders GROUP BY ROLLUP (customer_id, id) ORDER BY 1 NULLS LAST, 2 NULLS LAST
-- @case NO027 | expect=mask | leak=DataRow
SELECT customer_id, id % 2, count(*) FROM app.orders GROUP BY CUBE (customer_id, id % 2)
-- @case NO028 | expect=mask | leak=DataRow
SELECT c.id, c.name, c.email, c.balance, count(o.id) AS orders, coalesce(sum(o.total), 0) AS spent FROM app.customers c LEFT JOIN app.orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY spent DESC, c.name LIMIT 5
-- @case NO029 | expect=mask | leak=DataRow
SELECT c.*, count(o.*) FROM app.customers c LEFT JOIN app.orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY c.id LIMIT 3
-- @case NO030 | expect=mask | leak=DataRow
SELECT date_trunc('month', now()) AS m, count(*) FROM app.customers GROUP BY m
-- @case NO031 | expect=mask | leak=DataRow
SELECT extract(dow FROM date '2024-01-01' + id) AS d, avg(balance)::numeric(10,2) FROM app.customers GROUP BY 1 ORDER BY 1
-- @case NO032 | expect=mask | leak=DataRow
SELECT (balance > 50) AS rich, count(*) FROM app.customers GROUP BY (balance > 50) HAVING count(*) > 1
-- @case NO033 | expect=mask | leak=DataRow
SELECT customer_id FROM app.orders GROUP BY DISTINCT ROLLUP (customer_id), ROLLUP (customer_id) ORDER BY 1
-- @case NO034 | expect=mask | leak=DataRow
SELECT left(name, 1) AS initial, count(*), round(avg(balance), 2) FROM app.customers GROUP BY initial ORDER BY count(*) DESC, initial LIMIT 3

-- ======== series, times and numbers
-- @case NO035 | expect=mask | leak=DataRow
SELECT g, count(c.id) FROM generate_series(0, 300, 100) g LEFT JOIN app.customers c ON c.balance >= g AND c.balance < g + 100 GROUP BY g ORDER BY g
-- @case NO036 | expect=mask | leak=DataRow
SELECT d::date, coalesce(sum(o.total), 0) FROM generate_series('2024-01-01'::timestamptz, '2024-01-05', interval '1 day') d LEFT JOIN app.orders o ON o.id = extract(day FROM d)::int GROUP BY d ORDER BY d
-- @case NO037 | expect=mask | leak=DataRow
SELECT date_trunc('week', timestamp '2024-03-05 10:11:12'), date_part('year', now()), age(timestamp '2024-01-01', timestamp '2020-02-29'), to_char(now(), 'YYYY-MM-DD HH24:MI:SS'), make_date(2024, 2, 29), date_bin('15 minutes', now(), timestamp '2001-01-01')
-- @case NO038 | expect=mask | leak=DataRow
SELECT now() - interval '1 day' < current_timestamp, current_date + 7, localtime IS NOT NULL, clock_timestamp() > now() - interval '1 hour', timezone('UTC', now()) IS NOT NULL
-- @case NO039 | expect=mask | leak=DataRow
SELECT to_char(balance, 'FM999G999D00'), round(balance, 1), trunc(balance), ceil(balance), floor(balance), sign(balance), abs(-balance), mod(id, 2), power(2, 3), sqrt(balance), ln(balance), log(10, balance) FROM app.customers WHERE id = 1
-- @case NO040 | expect=mask | leak=DataRow
SELECT id, name, random() < 2 AS r FROM app.customers ORDER BY random() LIMIT 3
-- @case NO041 | expect=mask | leak=DataRow
SELECT greatest(balance, 100), least(balance, 100), coalesce(name, '?'), nullif(name, 'Bob') FROM app.customers WHERE id < 4 ORDER BY id
-- @case NO042 | expect=mask | leak=DataRow
SELECT n, n::text, to_hex(n), chr(64 + n), md5(n::text), lpad(n::text, 3, '0') FROM generate_series(1, 3) n
-- @case NO043 | expect=mask | leak=DataRow
SELECT make_interval(days => 3), justify_days(interval '40 days'), extract(epoch FROM interval '1 hour'), isfinite(now()), date '2024-01-31' + interval '1 month', (date '2024-01-01', date '2024-02-01') OVERLAPS (date '2024-01-15', date '2024-03-01')
-- @case NO044 | expect=mask | leak=DataRow
SELECT numrange(1, 10) @> balance, int4range(id, id + 5, '[]') && int4range(2, 3), upper(int4range(1, 5)), int4multirange(int4range(1, 3), int4range(5, 7)) @> id FROM app.customers WHERE id = 1

-- ======== documents
-- @case NO045 | expect=mask | leak=DataRow
SELECT jsonb_build_object('id', id, 'email', email, 'tags', jsonb_build_array(name, balance)) FROM app.customers WHERE id = 1
-- @case NO046 | expect=mask | leak=DataRow
SELECT row_to_json(c), to_jsonb(c) - 'balance', (to_jsonb(c))->>'name' FROM app.customers c WHERE id = 1
-- @case NO047 | expect=mask | leak=DataRow
SELECT d->'a'->0->>'b', d#>'{a,0}', d#>>'{a,0,b}', d ? 'a', d ?| ARRAY['x', 'a'], d ?& ARRAY['a'], d @> '{"c": 1}', d || '{"z": 2}', d - 'a', d #- '{a,0}' FROM (SELECT '{"a": [{"b": "x"}], "c": 1}'::jsonb AS d) x
-- @case NO048 | expect=mask | leak=DataRow
SELECT jsonb_path_query(d, '$.items[*] ? (@.n > $min).name', '{"min": 1}'), jsonb_path_exists(d, '$.items[*].n'), d @? '$.items', d @@ '$.items[0].n == 1' FROM (SELECT '{"items": [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}]}'::jsonb d) x
-- @case NO049 | expect=mask | leak=DataRow
SELECT e.key, e.value FROM jsonb_each_text('{"a": 1, "b": "x"}') e
-- @case NO050 | expect=mask | leak=DataRow
SELECT c.id, k FROM app.customers c, jsonb_object_keys(to_jsonb(c)) k WHERE c.id = 1
-- @case NO051 | expect=mask | leak=DataRow
SELECT x.id, x.name FROM jsonb_to_recordset('[{"id": 1, "name": "a"}, {"id": 2}]') AS x(id int, name text)
-- @case NO052 | expect=mask | leak=DataRow
SELECT o.id, i.* FROM app.orders o CROSS JOIN LATERAL jsonb_to_record(jsonb_build_object('t', o.total, 'c', o.customer_id)) AS i(t numeric, c int) ORDER BY o.id
-- @case NO053 | expect=mask | leak=DataRow
SELECT jsonb_set('{"a": 1}', '{b}', to_jsonb(balance)), jsonb_insert('{"a": [1]}', '{a,0}', '0'), jsonb_pretty(jsonb_strip_nulls('{"a": null}')), jsonb_typeof('[]'), jsonb_array_length('[1,2]') FROM app.customers WHERE id = 1
-- @case NO054 | expect=mask | leak=DataRow
SELECT (v->>'n')::int FROM jsonb_array_elements('[{"n": 1}, {"n": 2}]') WITH ORDINALITY AS t(v, pos) ORDER BY pos DESC
-- @case NO055 | expect=mask | leak=DataRow
SELECT ('{"a": {"b": 5}}'::jsonb)['a']['b'], ('{"k": [1,2]}'::json)->'k'->>1
-- @case NO056 | expect=mask | leak=DataRow
SELECT json_agg(t) FROM (SELECT id, name, email FROM app.customers ORDER BY id LIMIT 2) t
-- @case NO057 | expect=mask | leak=DataRow
SELECT coalesce(json_agg(o ORDER BY o.id) FILTER (WHERE o.id IS NOT NULL), '[]') FROM app.customers c LEFT JOIN app.orders o ON o.customer_id = c.id WHERE c.id = 1 GROUP BY c.id
-- @case NO058 | expect=mask | leak=DataRow
SELECT xmlelement(name customer, xmlattributes(id AS id), xmlforest(name, email)) FROM app.customers WHERE id = 1
-- @case NO059 | expect=mask | leak=DataRow
SELECT (xpath('/a/b/text()', '<a><b>1</b></a>'::xml))[1]::text

-- ======== texts and search
-- @case NO060 | expect=mask | leak=DataRow
SELECT to_tsvector('english', name || ' is a happy customer') @@ plainto_tsquery('english', 'happy customers') FROM app.customers WHERE id = 1
-- @case NO061 | expect=mask | leak=DataRow
SELECT id, ts_rank(to_tsvector('simple', name), q) FROM app.customers, to_tsquery('simple', 'alice | bob') q WHERE to_tsvector('simple', name) @@ q ORDER BY 2 DESC
-- @case NO062 | expect=mask | leak=DataRow
SELECT ts_headline('english', 'the quick brown fox', websearch_to_tsquery('english', 'fox')), phraseto_tsquery('big cats'), setweight(to_tsvector('a b'), 'A')
-- @case NO063 | expect=mask | leak=DataRow
SELECT upper(name), initcap(name), length(name), reverse(name), position('li' in name), substring(name from 2 for 2), overlay(name placing 'X' from 1 for 1), trim(both 'A' from name), split_part(name, 'i', 1), repeat(name, 2), translate(name, 'A', 'B') FROM app.customers WHERE id = 1
-- @case NO064 | expect=mask | leak=DataRow
SELECT name FROM app.customers WHERE name ILIKE 'a%' OR name ~* '^bo' OR name SIMILAR TO '(C|D)%' ORDER BY name
-- @case NO065 | expect=mask | leak=DataRow
SELECT regexp_replace(name, '[aeiou]', '*', 'g'), regexp_matches(name, '(l)(i)'), regexp_split_to_array(name, 'i'), regexp_count(name, 'i') FROM app.customers WHERE id = 1
-- @case NO066 | expect=mask | leak=DataRow
SELECT format('%s (%L) %I', name, balance, 'col'), concat_ws('-', id, name), quote_literal(name), quote_ident(name), quote_nullable(NULL) FROM app.customers WHERE id = 1
-- @case NO067 | expect=mask | leak=DataRow
SELECT name COLLATE "C" FROM app.customers ORDER BY name COLLATE "C" DESC LIMIT 2
-- @case NO068 | expect=mask | leak=DataRow
SELECT encode(digest, 'hex') FROM (SELECT sha256(convert_to(name, 'UTF8')) AS digest FROM app.customers WHERE id = 1) x
-- @case NO069 | expect=mask | leak=DataRow
SELECT unnest(string_to_array('a,b,c', ',')), unnest(ARRAY[1, 2, 3])
-- @case NO070 | expect=mask | leak=DataRow
SELECT id, left(email, 3) || '...' AS short FROM app.customers WHERE id = 1
-- @case NO071 | expect=mask | leak=DataRow
SELECT starts_with(name, 'A'), name LIKE 'A\_%' ESCAPE '\', ascii(name), btrim(name), strpos(name, 'l') FROM app.customers WHERE id = 1

-- ======== sub-selects, CTEs, LATERAL, sets
-- @case NO072 | expect=mask | leak=DataRow
WITH spent AS (SELECT customer_id, sum(total) AS s FROM app.orders GROUP BY customer_id), ranked AS (SELECT *, rank() OVER (ORDER BY s DESC) AS r FROM spent) SELECT c.name, c.email, r.s, r.r FROM ranked r JOIN app.customers c ON c.id = r.customer_id ORDER BY r.r
-- @case NO073 | expect=mask | leak=DataRow
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t
-- @case NO074 | expect=mask | leak=DataRow
WITH RECURSIVE path(id, name, depth) AS (SELECT id, name, 0 FROM app.customers WHERE id = 1 UNION ALL SELECT c.id, c.name, p.depth + 1 FROM path p JOIN app.customers c ON c.id = p.id + 1 WHERE p.depth < 2) SELECT * FROM path
-- @case NO075 | expect=mask | leak=DataRow
WITH RECURSIVE s(id, v) AS (SELECT id, email FROM app.customers WHERE id = 1 UNION ALL SELECT id + 1, v FROM s WHERE id < 3) SEARCH DEPTH FIRST BY id SET ord SELECT id, v FROM s ORDER BY ord
-- @case NO076 | expect=mask | leak=DataRow
WITH RECURSIVE s(id) AS (SELECT 1 UNION ALL SELECT id % 3 + 1 FROM s) CYCLE id SET looped USING path SELECT id, looped FROM s
-- @case NO077 | expect=mask | leak=DataRow
SELECT c.name, l.total FROM app.customers c CROSS JOIN LATERAL (SELECT total FROM app.orders o WHERE o.customer_id = c.id ORDER BY total DESC LIMIT 1) l ORDER BY c.id
-- @case NO078 | expect=mask | leak=DataRow
SELECT c.name, l.n FROM app.customers c LEFT JOIN LATERAL (SELECT count(*) AS n FROM app.orders o WHERE o.customer_id = c.id) l ON true ORDER BY l.n DESC, c.id LIMIT 3
-- @case NO079 | expect=mask | leak=DataRow
SELECT name FROM app.customers c WHERE EXISTS (SELECT FROM app.orders o WHERE o.customer_id = c.id) AND NOT EXISTS (SELECT FROM app.orders o WHERE o.customer_id = c.id AND total > 100) ORDER BY 1
-- @case NO080 | expect=mask | leak=DataRow
SELECT name, (SELECT max(total) FROM app.orders WHERE customer_id = c.id) FROM app.customers c ORDER BY 2 DESC NULLS LAST LIMIT 2
-- @case NO081 | expect=mask | leak=DataRow
SELECT id FROM app.customers WHERE id IN (SELECT customer_id FROM app.orders) UNION SELECT id FROM app.orders ORDER BY id
-- @case NO082 | expect=mask | leak=DataRow
SELECT id FROM app.customers EXCEPT SELECT customer_id FROM app.orders ORDER BY 1 LIMIT 3
-- @case NO083 | expect=mask | leak=DataRow
(SELECT id, name, email FROM app.customers ORDER BY id LIMIT 1) UNION ALL (SELECT id, name, email FROM app.customers ORDER BY id DESC LIMIT 1)
-- @case NO084 | expect=mask | leak=DataRow
SELECT c.id, v.label FROM app.customers c JOIN (VALUES (1, 'first'), (2, 'second')) AS v(id, label) USING (id) ORDER BY c.id
-- @case NO085 | expect=mask | leak=DataRow
SELECT a.id, b.id FROM app.customers a JOIN app.customers b ON b.id = a.id + 1 ORDER BY 1 LIMIT 2
-- @case NO086 | expect=mask | leak=DataRow
SELECT * FROM app.orders NATURAL JOIN (SELECT 1 AS id) x
-- @case NO087 | expect=mask | leak=DataRow
SELECT c.id, o.id FROM app.customers c FULL JOIN app.orders o ON o.customer_id = c.id ORDER BY c.id, o.id LIMIT 5
-- @case NO088 | expect=mask | leak=DataRow
SELECT * FROM app.customers CROSS JOIN (SELECT count(*) AS all_orders FROM app.orders) n LIMIT 1
-- @case NO089 | expect=mask | leak=DataRow
SELECT (c).email, (c).name FROM (SELECT c FROM app.customers c WHERE id = 1) x
-- @case NO090 | expect=mask | leak=DataRow
SELECT DISTINCT name FROM app.customers WHERE id < 4 ORDER BY name DESC
-- @case NO091 | expect=mask | leak=DataRow
SELECT DISTINCT ON (customer_id) customer_id, id, total FROM app.orders ORDER BY customer_id, total DESC
-- @case NO092 | expect=mask | leak=DataRow
TABLE app.orders ORDER BY id LIMIT 2
-- @case NO093 | expect=mask | leak=DataRow
SELECT ALL id FROM app.orders WHERE total BETWEEN SYMMETRIC 30 AND 10 AND id = ANY (ARRAY[1,2,3]) AND id NOT IN (9) ORDER BY id
-- @case NO094 | expect=mask | leak=DataRow
SELECT CASE WHEN balance > 200 THEN 'high' WHEN balance > 90 THEN 'mid' ELSE 'low' END AS tier, count(*) FROM app.customers GROUP BY tier ORDER BY tier
-- @case NO095 | expect=mask | leak=DataRow
SELECT CASE id WHEN 1 THEN email ELSE name END FROM app.customers WHERE id < 3 ORDER BY id
-- @case NO096 | expect=mask | leak=DataRow
SELECT t.x, t.y FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a', 'b'])) AS t(x, y)
-- @case NO097 | expect=mask | leak=DataRow
SELECT tableoid::regclass, ctid, xmin::text::bigint > 0, id FROM app.customers WHERE id = 1
-- @case NO098 | expect=mask | leak=DataRow
SELECT coalesce(email, name) AS contact, email IS NULL AS none, num_nulls(email, ssn), num_nonnulls(email) FROM app.customers WHERE id = 1

-- ======== pages
-- @case NO099 | expect=mask | leak=DataRow
SELECT id, name, email FROM app.customers WHERE (balance, id) > (20, 5) ORDER BY balance, id LIMIT 3
-- @case NO100 | expect=mask | leak=DataRow
SELECT id, name, email FROM app.customers WHERE id > 10 ORDER BY id FETCH FIRST 3 ROWS ONLY
-- @case NO101 | expect=mask | leak=DataRow
SELECT id, name FROM app.customers ORDER BY name, id OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY
-- @case NO102 | expect=mask | leak=DataRow
SELECT *, count(*) OVER () AS full_count FROM app.customers ORDER BY id LIMIT 2 OFFSET 2
-- @case NO103 | expect=mask | leak=DataRow
SELECT id, balance FROM app.customers ORDER BY balance DESC FETCH FIRST 2 ROWS WITH TIES
-- @case NO104 | expect=mask | leak=DataRow
SELECT "t0"."id", "t0"."email" FROM "app"."customers" AS "t0" WHERE ("t0"."name" = 'Alice' AND 1=1) ORDER BY "t0"."id" ASC LIMIT 1 OFFSET 0

-- ======== plans and statements of the session
-- @case NO105 | expect=mask | leak=DataRow
EXPLAIN SELECT id, email FROM app.customers WHERE id = 1
-- @case NO106 | expect=mask | leak=DataRow
EXPLAIN (ANALYZE, BUFFERS, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT c.name, count(*) FROM app.customers c JOIN app.orders o ON o.customer_id = c.id GROUP BY c.name
-- @case NO107 | expect=mask | leak=DataRow
EXPLAIN (FORMAT JSON) SELECT * FROM app.orders WHERE total > 10
-- @case NO108 | expect=mask | leak=DataRow
SELECT version()
-- @case NO109 | expect=mask | leak=DataRow
SELECT current_database(), current_user, session_user, current_schema, current_schemas(true), pg_backend_pid() > 0, inet_server_port() IS NOT NULL
-- @case NO110 | expect=mask | leak=DataRow
SHOW server_version
-- @case NO111 | expect=mask | leak=DataRow
SHOW search_path
-- @case NO112 | expect=mask | leak=DataRow
SHOW timezone
-- @case NO113 | expect=mask | leak=DataRow
SHOW transaction_isolation
-- @case NO114 | expect=mask | leak=DataRow
SHOW standard_conforming_strings
-- @case NO115 | expect=mask | leak=DataRow
SHOW client_encoding
-- @case NO116 | expect=mask | leak=DataRow
SHOW statement_timeout
-- @case NO117 | expect=mask | leak=DataRow
SHOW server_version_num
-- @case NO118 | expect=mask | leak=DataRow
SHOW max_identifier_length
-- @case NO119 | expect=mask | leak=DataRow
SHOW default_transaction_isolation
-- @case NO120 | expect=mask | leak=DataRow
SHOW lc_collate
-- @case NO121 | expect=mask | leak=DataRow
SHOW DateStyle
-- @case NO122 | expect=mask | leak=DataRow
SELECT current_setting('server_version_num')::int > 0, current_setting('search_path'), current_setting('TimeZone', true)
-- @case NO123 | expect=mask | leak=DataRow
SET statement_timeout = '5s'; SELECT 1
-- @case NO124 | expect=mask | leak=DataRow
SET LOCAL lock_timeout = '1s'; SELECT 1
-- @case NO125 | expect=mask | leak=DataRow
SET SESSION timezone TO 'Europe/Berlin'; SELECT now() IS NOT NULL
-- @case NO126 | expect=mask | leak=DataRow
SET application_name = 'report'; SHOW application_name
-- @case NO127 | expect=mask | leak=DataRow
SET datestyle = 'ISO, DMY'; SELECT date '2024-02-01'
-- @case NO128 | expect=mask | leak=DataRow
SET extra_float_digits = 3; SELECT 1.5::float8
-- @case NO129 | expect=mask | leak=DataRow
SET idle_in_transaction_session_timeout = '1min'; SELECT 1
-- @case NO130 | expect=mask | leak=DataRow
SET client_min_messages TO warning; SELECT 1
-- @case NO131 | expect=mask | leak=DataRow
SET bytea_output = 'hex'; SELECT '\x00'::bytea
-- @case NO132 | expect=mask | leak=DataRow
SET NAMES 'UTF8'; SELECT 1
-- @case NO133 | expect=mask | leak=DataRow
SET search_path TO app, public; SELECT id, email FROM customers WHERE id = 1
-- @case NO134 | expect=mask | leak=DataRow
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM app.orders; COMMIT
-- @case NO135 | expect=mask | leak=DataRow
BEGIN; SAVEPOINT a; SELECT 1; ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a; SELECT id FROM app.orders LIMIT 1; COMMIT
-- @case NO136 | expect=mask | leak=DataRow
START TRANSACTION; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1; ROLLBACK
-- @case NO137 | expect=mask | leak=DataRow
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SELECT 1
-- @case NO138 | expect=mask | leak=DataRow
BEGIN; SET CONSTRAINTS ALL DEFERRED; SELECT 1; COMMIT
-- @case NO139 | expect=mask | leak=DataRow
PREPARE q(int) AS SELECT id, email FROM app.customers WHERE id = $1; EXECUTE q(2); DEALLOCATE q
-- @case NO140 | expect=mask | leak=DataRow
BEGIN; DECLARE cur SCROLL CURSOR FOR SELECT id, email FROM app.customers ORDER BY id; FETCH FORWARD 2 FROM cur; FETCH BACKWARD 1 FROM cur; FETCH ABSOLUTE 3 FROM cur; MOVE 1 FROM cur; CLOSE cur; COMMIT
-- @case NO141 | expect=mask | leak=DataRow
DISCARD ALL
-- @next
SELECT 1
-- @case NO142 | expect=mask | leak=DataRow
RESET ALL; SELECT 1
-- @case NO143 | expect=mask | leak=DataRow
DEALLOCATE ALL; SELECT 1
-- @case NO144 | expect=mask | leak=DataRow
SELECT txid_current_if_assigned() IS NULL, pg_is_in_recovery(), pg_postmaster_start_time() IS NOT NULL
-- @case NO145 | expect=mask | leak=DataRow
SELECT pg_typeof(balance), pg_column_size(balance), col_description('app.customers'::regclass, 1), obj_description('app.customers'::regclass, 'pg_class') FROM app.customers WHERE id = 1
-- @case NO146 | expect=mask | leak=DataRow
SELECT pg_get_serial_sequence('app.customers', 'id') IS NULL
-- @case NO147 | expect=mask | leak=DataRow
SELECT has_table_privilege('app.orders', 'SELECT'), has_schema_privilege('app', 'USAGE'), has_column_privilege('app.customers', 'name', 'SELECT')
-- @case NO148 | expect=mask | leak=DataRow
SELECT gen_random_uuid() IS NOT NULL, uuid_nil IS NULL FROM (SELECT NULL AS uuid_nil) x
-- @case NO149 | expect=mask | leak=DataRow
SELECT 'a'::text, 1::int2, 1.5::numeric(4,2), true::bool, '{1,2}'::int[], '[1,2)'::int4range, '\x01'::bytea, 'x'::"char", '1 day'::interval, '10.0.0.0/8'::cidr, 'a=>1' IS NOT NULL, B'101', X'1F', E'a\tb', U&'\0041', $$x$$

-- ======== catalog
-- @case NO150 | expect=mask | leak=DataRow|CommandComplete SELECT 0
SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = 'app' ORDER BY table_name
-- @case NO151 | expect=mask | leak=DataRow|CommandComplete SELECT 0
SELECT column_name, data_type, is_nullable, column_default, character_maximum_length, numeric_precision, ordinal_position FROM information_schema.columns WHERE table_schema = 'app' AND table_name = 'customers' ORDER BY ordinal_position
-- @case NO152 | expect=mask | leak=DataRow|CommandComplete SELECT 0
SELECT tc.constraint_name, kcu.column_name, ccu.table_name AS foreign_table FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name JOIN information_schema.constraint_column_usage ccu ON ccu.constraint_name = tc.constraint_name WHERE tc.table_schema = 'app'
-- @case NO153 | expect=mask | leak=DataRow
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = 'app.orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
-- @case NO154 | expect=mask | leak=DataRow
SELECT i.relname, pg_get_indexdef(x.indexrelid), x.indisunique, x.indisprimary FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = 'app.customers'::regclass
-- @case NO155 | expect=mask | leak=DataRow
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'app.orders'::regclass ORDER BY 1
-- @case NO156 | expect=mask | leak=DataRow
SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1
-- @case NO157 | expect=mask | leak=DataRow
SELECT t.typname, t.oid, t.typarray FROM pg_type t WHERE t.typname IN ('int4', 'text', 'jsonb') ORDER BY 1
-- @case NO158 | expect=mask | leak=DataRow
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'app' ORDER BY 2
-- @case NO159 | expect=mask | leak=DataRow
SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1
-- @case NO160 | expect=mask | leak=DataRow
SELECT extname FROM pg_extension ORDER BY 1
-- @case NO161 | expect=mask | leak=DataRow
SELECT name, vartype, category FROM pg_settings WHERE name IN ('TimeZone', 'server_version')
-- @case NO162 | expect=mask | leak=DataRow
SELECT 'app.customers'::regclass::oid > 0, to_regclass('app.orders') IS NOT NULL, 'int4'::regtype, to_regtype('text') IS NOT NULL
-- @case NO163 | expect=mask | leak=DataRow
SELECT e.enumlabel FROM pg_enum e RIGHT JOIN (SELECT 1) x ON true LIMIT 1
