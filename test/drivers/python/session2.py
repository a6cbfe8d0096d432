"""A session of psycopg2. See package drivers."""
import io
import os
import select
import sys
import threading
import time

import psycopg2
import psycopg2.extras


def report(name, step):
    try:
        value = step()
    except psycopg2.Error as e:
        value = e.pgcode or "failed: %s" % str(e).strip()
        if e.diag.message_detail and e.pgcode != "42501":
            value += "|" + e.diag.message_detail
    print("%s: %s" % (name, str(value).replace("\n", " ")), flush=True)


def connect(**more):
    return psycopg2.connect("", **more)


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
conn.autocommit = True


def rows(sql, *args):
    with conn.cursor() as cur:
        cur.execute(sql, args or None)
        return cur.fetchall() if cur.description else []


def one(sql, *args):
    return lambda: "|".join(str(v.tobytes() if isinstance(v, memoryview) else v) for row in rows(sql, *args) for v in row)


def transaction():
    before = rows("SELECT count(*) FROM app.orders")[0][0]
    conn.autocommit = False
    try:
        rows("INSERT INTO app.orders VALUES (%s, 1, 1)", 999)
        inside = rows("SELECT count(*) FROM app.orders")[0][0]
    finally:
        conn.rollback()
        conn.autocommit = True
    return "%d,%d,%d" % (before, inside, rows("SELECT count(*) FROM app.orders")[0][0])


def batch():
    with conn.cursor() as cur:
        psycopg2.extras.execute_values(cur, "SELECT * FROM (VALUES %s) AS t(n)", [(1,), (2,), (3,)])
        return ",".join(str(r[0]) for r in cur.fetchall())


def copy_out():
    out = io.StringIO()
    with conn.cursor() as cur:
        cur.copy_expert("COPY app.orders TO STDOUT (FORMAT csv)", out)
    return len(out.getvalue().splitlines())


def copy_in():
    with conn.cursor() as cur:
        cur.copy_expert("COPY app.orders FROM STDIN (FORMAT csv)", io.StringIO("1001,1,5\n1002,1,6\n"))
        cur.execute("DELETE FROM app.orders WHERE id > 1000")
        return cur.rowcount


def listen():
    rows("LISTEN ch")
    rows("NOTIFY ch, 'hello'")
    deadline = time.time() + 5
    while time.time() < deadline:
        select.select([conn], [], [], 1)
        conn.poll()
        if conn.notifies:
            return conn.notifies.pop(0).payload
    return "none"


def cancel():
    other = connect()
    threading.Timer(0.3, other.cancel).start()
    try:
        with other.cursor() as cur:
            cur.execute("SELECT count(*) FROM generate_series(1, 100000000000) g")
    finally:
        other.close()


def large():
    got = rows("SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")
    return "%d|%d" % (len(got), sum(r[0] for r in got))


def cursor():
    conn.autocommit = False
    try:
        with conn.cursor("cur") as cur:  # a cursor of the server
            cur.itersize = 100
            cur.execute("SELECT g FROM generate_series(1, 5000) g")
            return sum(1 for _ in cur)
    finally:
        conn.rollback()
        conn.autocommit = True


for name, step in [
    ("select", one("SELECT 1+1")),
    ("prepared", one("SELECT id, name FROM app.customers WHERE id = %s", 1)),
    ("masked", one("SELECT ssn, card, email FROM app.customers WHERE id = %s", 1)),
    ("transaction", transaction), ("batch", batch), ("copy-out", copy_out), ("copy-in", copy_in), ("listen", listen),
    ("error-column", one("SELECT nope FROM app.orders")),
    ("error-unique", one("INSERT INTO app.orders VALUES (1, 1, 1)")),
    ("error-syntax", one("SELEC 1")),
    ("denied", one("SELECT v FROM app.secrets")),
    ("cancel", cancel), ("large", large), ("cursor", cursor),
    ("types", one("SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\\x0001ff'::bytea, "
                  "'2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC', '{\"a\": 1}'::jsonb, ARRAY[1,2,3], NULL")),
    ("select-after", one("SELECT 3")),
]:
    report(name, step)
