"""Connects with one driver and prints who answered, or the error. The arguments are
a driver, host, port, database, password, sslmode, and libpq's further parameters."""
import sys

driver, host, port, database, password, sslmode = sys.argv[1:7]
more = dict(p.split("=", 1) for p in sys.argv[7:])
sql = "SELECT name FROM app.customers WHERE id = 1"
try:
    if driver == "asyncpg":
        import asyncio
        import asyncpg

        async def run():
            c = await asyncpg.connect(host=host, port=int(port), user="app_rw", database=database, password=password,
                                      ssl=sslmode)
            try:
                return await c.fetchval(sql)
            finally:
                await c.close()
        print("ok", asyncio.run(run()))
    else:
        module = __import__(driver)
        with module.connect(host=host, port=port, user="app_rw", dbname=database, password=password,
                            sslmode=sslmode, **more) as c:
            cur = c.cursor()
            cur.execute(sql)
            print("ok", cur.fetchone()[0])
except Exception as e:
    print(type(e).__name__, getattr(e, "sqlstate", None), str(e).replace("\n", " "))
