"""Stands for an agent that was given a database tool: it knows a stock driver and
an ordinary connection string, and nothing of Sluice. Run by scripts/demo.sh."""
import os
import sys
import time

import psycopg


def tool(conn, sql):
    print("agent> " + sql)
    try:
        cur = conn.execute(sql)
        for row in cur.fetchall() if cur.description else []:
            print("       " + " | ".join(str(v) for v in row))
    except psycopg.Error as e:
        print("       %s %s" % (e.sqlstate, e.diag.message_primary))
        for extra in e.diag.message_detail, e.diag.message_hint:
            if extra:
                print("       " + extra)


with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    tool(conn, "SELECT name, email, card FROM app.customers WHERE id = 2")
    tool(conn, "SELECT c.name, sum(o.total) FROM app.customers c JOIN app.orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY 2 DESC")
    tool(conn, "SELECT reverse(ssn) FROM app.customers WHERE id = 1")
    tool(conn, "DELETE FROM app.orders WHERE true")
    print("done", flush=True)
    for _ in range(300):  # until the demo has looked at the metrics
        if len(sys.argv) < 3 or os.path.exists(sys.argv[2]):
            break
        time.sleep(0.1)
