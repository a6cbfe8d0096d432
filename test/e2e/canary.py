"""Reads what a workload can read, and prints it: its own environment, every
process, every file of Sluice, and what the database and Sluice answer."""
import glob, os, sys
import psycopg2

out = sys.stdout.buffer
opened = refused = 0

def dump(path, limit=64 << 20):
    global opened, refused
    try:
        with open(path, "rb") as f:
            out.write(b"\n== " + path.encode() + b"\n" + f.read(limit))
        opened += 1
    except OSError:
        refused += 1

def memory(pid):
    global opened, refused
    try:
        maps = open(f"/proc/{pid}/maps").read().splitlines()
        mem = open(f"/proc/{pid}/mem", "rb", buffering=0)
    except OSError:
        refused += 1
        return
    for line in maps:
        span, rights = line.split()[:2]
        if "r" not in rights:
            continue
        low, high = (int(x, 16) for x in span.split("-"))
        try:
            mem.seek(low)
            out.write(mem.read(high - low))
        except (OSError, ValueError, OverflowError):
            pass
    opened += 1

def ask(sql, **params):
    try:
        with psycopg2.connect(host="127.0.0.1", port=os.environ["PORT"], dbname=os.environ["DB"],
                              **{"user": "app_rw", "password": "placeholder", **params}) as c:
            with c.cursor() as q:
                q.execute(sql)
                out.write(repr(q.fetchall()).encode() + b"\n")
    except Exception as e:
        out.write(repr(e).encode() + b"\n")

conn = psycopg2.connect(host="127.0.0.1", port=os.environ["PORT"], dbname=os.environ["DB"], user="app_rw", password="placeholder")
cur = conn.cursor()
cur.execute("SELECT current_user, name FROM app.customers WHERE id = 1")
out.write(b"session %r\n" % (cur.fetchall(),))

for sql in ("SELECT 1", "SHOW ALL", "SELECT * FROM pg_authid", "SELECT * FROM pg_shadow", "SELECT * FROM pg_stat_activity",
            "SELECT pg_read_file('pg_hba.conf')", "SELECT current_setting('application_name')", "SELECT nothing", "SELEC"):
    ask(sql)
ask("SELECT 1", dbname="nowhere")
ask("SELECT 1", user="nobody", password="another")
ask("SELECT 1", sslmode="require")
ask("SELECT 1", options="-c log_statement=all")

for name, value in os.environ.items():
    out.write(f"{name}={value}\n".encode())
for proc in glob.glob("/proc/[0-9]*"):
    for file in ("environ", "cmdline", "status", "maps", "auxv", "stack", "syscall", "mountinfo", "net/tcp"):
        dump(f"{proc}/{file}")
    for fd in glob.glob(f"{proc}/fd/*"):
        try:
            out.write(os.readlink(fd).encode() + b"\n")
        except OSError:
            pass
        if os.path.isfile(fd):
            dump(fd)
    if proc != f"/proc/{os.getpid()}":
        memory(proc[6:])
for top in os.environ["LOOK"].split(":"):
    for folder, _, files in os.walk(top):
        for file in files:
            dump(os.path.join(folder, file))
out.write(b"\nread %d, refused %d\n" % (opened, refused))
out.flush()
print("READY", file=sys.stderr, flush=True)
sys.stdin.readline()  # the session stays open while root looks at the proxy
