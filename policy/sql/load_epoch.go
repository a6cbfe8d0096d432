package sql

// EpochQuery returns one text in one row. Two equal texts mean that what
// LoadCatalog reads has not changed in between; different ones mean that it may
// have. It holds under any search_path, and takes one or two milliseconds for an
// ordinary database, some 40 ms for 100,000 columns.
//
// Rows of user objects are hashed by OID and xmin, the transaction that wrote
// them. pg_class is hashed by content instead: TRUNCATE and CREATE INDEX rewrite its rows
// without changing what names mean. What belongs to temporary relations is left out:
// it is not in a catalog, and goes when its session does, whenever that is.
const EpochQuery = `SELECT pg_catalog.concat_ws(' ', pg_catalog.current_setting('server_version_num'), d.oid, d.name,
(SELECT pg_catalog.concat(r.rolname, r.rolsuper, r.rolbypassrls) FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER),
(SELECT pg_catalog.concat(pg_catalog.count(*), '/', pg_catalog.sum(pg_catalog.hashtext(pg_catalog.concat_ws(' ', c.oid, c.relname, c.relnamespace,
  c.relkind, c.reltype, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relispartition, c.reloptions))))
  FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.>=) 16384 AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
  AND c.relkind OPERATOR(pg_catalog.<>) 't'),
(SELECT pg_catalog.concat(pg_catalog.count(*), '/', pg_catalog.sum(pg_catalog.hashint8((h.a OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.#)
  (h.b OPERATOR(pg_catalog.<<) 16) OPERATOR(pg_catalog.#) h.x::pg_catalog.text::bigint))) FROM (
  SELECT a.attrelid::bigint AS a, a.attnum::bigint AS b, a.xmin AS x FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.>=) 16384 AND a.attnum OPERATOR(pg_catalog.>) 0
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) a.attrelid
      AND (c.relpersistence OPERATOR(pg_catalog.=) 't' OR c.relkind OPERATOR(pg_catalog.=) 't'))
  UNION ALL SELECT n.oid::bigint, 1, n.xmin FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'
  UNION ALL SELECT t.oid::bigint, 2, t.xmin FROM pg_catalog.pg_type t
    WHERE t.oid OPERATOR(pg_catalog.>=) 16384 AND EXISTS (SELECT FROM pg_catalog.pg_namespace n
      WHERE n.oid OPERATOR(pg_catalog.=) t.typnamespace AND n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_')
  UNION ALL SELECT p.oid::bigint, 3, p.xmin FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL SELECT w.oid::bigint, 4, w.xmin FROM pg_catalog.pg_rewrite w WHERE w.oid OPERATOR(pg_catalog.>=) 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) w.ev_class
      AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL SELECT i.inhrelid::bigint OPERATOR(pg_catalog.#) (i.inhparent::bigint OPERATOR(pg_catalog.<<) 8), 5, i.xmin FROM pg_catalog.pg_inherits i WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) i.inhrelid
      AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL SELECT k.oid::bigint, 6, k.xmin FROM pg_catalog.pg_constraint k WHERE k.oid OPERATOR(pg_catalog.>=) 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) k.conrelid
      AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL SELECT g.oid::bigint, 7, g.xmin FROM pg_catalog.pg_trigger g WHERE g.oid OPERATOR(pg_catalog.>=) 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) g.tgrelid
      AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL SELECT f.oid::bigint, 8, f.xmin FROM pg_catalog.pg_attrdef f WHERE f.oid OPERATOR(pg_catalog.>=) 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) f.adrelid
      AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL SELECT y.oid::bigint, 9, y.xmin FROM pg_catalog.pg_policy y WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) y.polrelid
      AND c.relpersistence OPERATOR(pg_catalog.=) 't')
  UNION ALL SELECT o.oid::bigint, 10, o.xmin FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL SELECT s.oid::bigint, 11, s.xmin FROM pg_catalog.pg_cast s WHERE s.oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL SELECT e.oid::bigint, 12, e.xmin FROM pg_catalog.pg_extension e) h))
FROM (SELECT oid, datname AS name FROM pg_catalog.pg_database
  WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) d`
