"""A session of asyncpg, which speaks binary only. See package drivers."""
import asyncio
import datetime
import io
import json
import os
import ssl

import asyncpg

MASKED = "SELECT ssn, card, email FROM app.customers WHERE id = $1"
TYPES = ("SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\\x0001ff'::bytea, "
         "'2026-01-02 03:04:05+00'::timestamptz, '{\"a\": 1}'::jsonb, ARRAY[1,2,3], NULL::text, "
         "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, '1 day'::interval, '10.0.0.1'::inet, ROW(1, 'x'::text)")


async def report(name, step):
    try:
        value = await step()
    except asyncpg.PostgresError as e:
        value = e.sqlstate
        if e.detail and e.sqlstate != "42501":
            value += "|" + e.detail
    except (OSError, asyncpg.InterfaceError) as e:
        value = "failed: %s" % e
    print("%s: %s" % (name, str(value).replace("\n", " ")), flush=True)


async def connect(**more):
    return await asyncpg.connect(**{"ssl": False, **more})


def joined(rows):
    return "|".join(str(v) for row in rows for v in row)


async def main():
    for mode in "disable", "prefer", "require":
        async def once(mode=mode):
            await (await connect(ssl=mode)).close()
            return "ok"
        await report("connect-" + mode, once)
    for step, host, root in (("verify-full", "127.0.0.1", "TRUSTED"), ("verify-full-name", "localhost", "TRUSTED"),
                             ("verify-untrusted", "127.0.0.1", "UNTRUSTED")):
        async def once(host=host, root=root):
            await (await connect(host=host, ssl=ssl.create_default_context(cafile=os.environ[root + "_CA"]))).close()
            return "ok"
        await report(step, once)
    conn = await connect()

    def one(sql, *args):
        async def run():
            return joined(await conn.fetch(sql, *args))
        return run

    async def prepared():
        st = await conn.prepare("SELECT id, name FROM app.customers WHERE id = $1")
        await st.fetch(1)
        return joined(await st.fetch(1))

    async def transaction():
        count = "SELECT count(*) FROM app.orders"
        before = await conn.fetchval(count)
        tx = conn.transaction()
        await tx.start()
        try:
            await conn.execute("INSERT INTO app.orders VALUES ($1, 1, 1)", 999)
            inside = await conn.fetchval(count)
        finally:
            await tx.rollback()
        return "%d,%d,%d" % (before, inside, await conn.fetchval(count))

    async def batch():
        await conn.executemany("INSERT INTO app.orders VALUES ($1, 1, 1)", [(1000 + n,) for n in range(50)])
        return await conn.execute("DELETE FROM app.orders WHERE id >= 1000")

    async def script():
        return await conn.execute("SELECT 1; SELECT 2; SELECT 3")

    async def copy_out():
        out = io.BytesIO()
        await conn.copy_from_query("SELECT id FROM app.orders", output=out, format="csv")
        return out.getvalue().count(b"\n")

    async def copy_in():
        await conn.copy_records_to_table("orders", schema_name="app", records=[(1001, 1, 5), (1002, 1, 6)])
        return await conn.execute("DELETE FROM app.orders WHERE id > 1000")

    async def listen():
        got = asyncio.get_running_loop().create_future()
        await conn.add_listener("ch", lambda *a: got.done() or got.set_result(a[3]))
        await conn.execute("NOTIFY ch, 'hello'")
        return await asyncio.wait_for(got, 5)

    async def cancel():
        other = await connect()
        try:
            await other.fetch("SELECT count(*) FROM generate_series(1, 100000000000) g", timeout=0.3)
        except asyncio.TimeoutError:
            # The driver cancels on the server, and waits for that.
            assert await other.fetchval("SELECT 1") == 1
            return "57014"
        finally:
            await other.close()

    async def large():
        rows = await conn.fetch("SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")
        return "%d|%d" % (len(rows), sum(r[0] for r in rows))

    async def cursor():
        n = 0
        async with conn.transaction():
            async for _ in conn.cursor("SELECT g FROM generate_series(1, 5000) g", prefetch=100):
                n += 1
        return n

    async def codec():
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        return (await conn.fetchval("SELECT $1::jsonb", {"a": [1, None]}))["a"]

    async def pool():
        async with asyncpg.create_pool(ssl=False, min_size=2, max_size=4) as p:
            return sum(await asyncio.gather(*(p.fetchval("SELECT $1::int", n) for n in range(50))))

    async def parameters():
        when = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
        return joined(await conn.fetch("SELECT $1::timestamptz, $2::int[], $3::text", when, [1, 2], "é"))

    for name, step in [
        ("select", one("SELECT 1+1")), ("prepared", prepared), ("masked", one(MASKED, 1)),
        ("transaction", transaction), ("batch", batch), ("script", script),
        ("copy-out", copy_out), ("copy-in", copy_in), ("listen", listen),
        ("error-column", one("SELECT nope FROM app.orders")),
        ("error-unique", one("INSERT INTO app.orders VALUES (1, 1, 1)")),
        ("error-syntax", one("SELEC 1")),
        ("denied", one("SELECT v FROM app.secrets")),
        ("cancel", cancel), ("large", large), ("cursor", cursor), ("types", one(TYPES)),
        ("codec", codec), ("pool", pool), ("parameters", parameters), ("select-after", one("SELECT 3")),
    ]:
        await report(name, step)
    await conn.close()

asyncio.run(main())
