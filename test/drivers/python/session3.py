"""A session of psycopg (3). See package drivers."""
import os
import threading
import time

import psycopg


def report(name, step):
    try:
        value = step()
    except psycopg.Error as e:
        value = e.sqlstate or "failed: %s" % str(e).strip()
        if e.diag.message_detail and e.sqlstate != "42501":
            value += "|" + e.diag.message_detail
    print("%s: %s" % (name, str(value).replace("\n", " ")), flush=True)


def connect(**more):
    return psycopg.connect("", autocommit=True, **more)


for mode in "disable", "prefer", "require":
    def once(mode=mode):
        connect(sslmode=mode).close()
        return "ok"
    report("connect-" + mode, once)

for step, host, root in (("verify-full", "127.0.0.1", "TRUSTED"), ("verify-full-name", "localhost", "TRUSTED"),
                         ("verify-untrusted", "127.0.0.1", "UNTRUSTED")):
    def once(host=host, root=root):
        connect(host=host, sslmode="verify-full", sslrootcert=os.environ[root + "_CA"]).close()
        return "ok"
    report(step, once)

conn = connect()


def rows(sql, args=None, **more):
    cur = conn.execute(sql, args, **more)
    return cur.fetchall() if cur.description else []


def one(sql, args=None, **more):
    return lambda: "|".join(str(v) for row in rows(sql, args, **more) for v in row)


def transaction():
    before = rows("SELECT count(*) FROM app.orders")[0][0]
    with conn.transaction(force_rollback=True):
        rows("INSERT INTO app.orders VALUES (%s, 1, 1)", [999])
        inside = rows("SELECT count(*) FROM app.orders")[0][0]
    return "%d,%d,%d" % (before, inside, rows("SELECT count(*) FROM app.orders")[0][0])


def batch():
    with conn.cursor() as cur:
        cur.executemany("SELECT %s::int", [(1,), (2,), (3,)], returning=True)
        got = [cur.fetchone()[0]]
        while cur.nextset():
            got.append(cur.fetchone()[0])
        return ",".join(map(str, got))


def pipeline():
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int", [i], prepare=True) for i in range(200)]
        return sum(c.fetchone()[0] for c in cursors)


def copy_out():
    with conn.cursor() as cur, cur.copy("COPY app.orders TO STDOUT (FORMAT csv)") as copy:
        return sum(bytes(chunk).count(b"\n") for chunk in copy)


def copy_binary():
    with conn.cursor() as cur, cur.copy("COPY (SELECT id, name FROM app.customers ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        return len(list(copy.rows()))


def copy_in():
    with conn.cursor() as cur:
        with cur.copy("COPY app.orders FROM STDIN") as copy:
            copy.write_row((1001, 1, 5))
            copy.write_row((1002, 1, 6))
        return conn.execute("DELETE FROM app.orders WHERE id > 1000").rowcount


def listen():
    got = []
    conn.add_notify_handler(lambda n: got.append(n.payload))
    conn.execute("LISTEN ch")
    conn.execute("NOTIFY ch, 'hello'")
    deadline = time.time() + 5
    while not got and time.time() < deadline:
        conn.execute("SELECT 1")
    return got[0] if got else "none"


def cancel():
    with connect() as other:
        threading.Timer(0.3, other.cancel).start()
        other.execute("SELECT count(*) FROM generate_series(1, 100000000000) g")


def large():
    got = rows("SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")
    return "%d|%d" % (len(got), sum(r[0] for r in got))


def stream():
    with conn.cursor() as cur:
        return sum(1 for _ in cur.stream("SELECT g FROM generate_series(1, 2000) g"))


def cursor():
    with conn.transaction(), conn.cursor("cur") as cur:
        cur.itersize = 100
        cur.execute("SELECT g FROM generate_series(1, 5000) g")
        return sum(1 for _ in cur)


TYPES = ("SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\\x0001ff'::bytea, "
         "'2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC', '{\"a\": 1}'::jsonb, ARRAY[1,2,3], NULL")

for name, step in [
    ("select", one("SELECT 1+1")),
    ("prepared", one("SELECT id, name FROM app.customers WHERE id = %s", [1], prepare=True)),
    ("masked", one("SELECT ssn, card, email FROM app.customers WHERE id = %s", [1])),
    ("masked-binary", one("SELECT ssn, card, email FROM app.customers WHERE id = %s", [1], binary=True)),
    ("transaction", transaction), ("batch", batch), ("pipeline", pipeline),
    ("copy-out", copy_out), ("copy-binary", copy_binary), ("copy-in", copy_in), ("listen", listen),
    ("error-column", one("SELECT nope FROM app.orders")),
    ("error-unique", one("INSERT INTO app.orders VALUES (1, 1, 1)")),
    ("error-syntax", one("SELEC 1")),
    ("denied", one("SELECT v FROM app.secrets")),
    ("cancel", cancel), ("large", large), ("stream", stream), ("cursor", cursor),
    ("types", one(TYPES)), ("types-binary", one(TYPES, binary=True)),
    ("select-after", one("SELECT 3")),
]:
    report(name, step)
