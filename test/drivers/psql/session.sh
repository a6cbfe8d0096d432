#!/bin/sh
# A session of psql, the way people and scripts use it.
for mode in disable prefer require; do
	echo "connect-$mode: $(PGSSLMODE=$mode psql -XAtc 'SELECT 1' 2>&1)"
done
verify() { echo "$1: $(psql -XAtc 'SELECT 1' "host=$2 sslmode=verify-full sslrootcert=$3" 2>&1 | paste -sd' ' -)"; }
verify verify-full 127.0.0.1 "$TRUSTED_CA"
verify verify-full-name localhost "$TRUSTED_CA"
verify verify-untrusted 127.0.0.1 "$UNTRUSTED_CA"
q() { psql -XAt -F '|' -v ON_ERROR_STOP=1 "$@" 2>&1; }
code() { psql -XAt -v VERBOSITY=verbose -c "$1" 2>&1 | grep -E '^(ERROR|DETAIL)' | sed -e 's/^ERROR:  \([0-9A-Z]*\):.*/\1/' -e 's/^DETAIL:  //' | paste -sd'|' -; }
one() { paste -sd, -; }

echo "select: $(q -c 'SELECT 1+1')"
echo "prepared: $(q -c 'PREPARE p(int) AS SELECT id, name FROM app.customers WHERE id = $1' -c 'EXECUTE p(1)' | tail -n 1)"
echo "masked: $(q -c 'SELECT ssn, card, email FROM app.customers WHERE id = 1')"
echo "transaction: $(q -c 'SELECT count(*) FROM app.orders' -c BEGIN -c 'INSERT INTO app.orders VALUES (999, 1, 1)' \
	-c 'SELECT count(*) FROM app.orders' -c ROLLBACK -c 'SELECT count(*) FROM app.orders' | grep -E '^[0-9]' | one)"
echo "batch: $(q -c 'SELECT 1; SELECT 2; SELECT 3' | one)"
echo "copy-out: $(q -c '\copy app.orders to stdout csv' | wc -l)"
echo "copy-in: $(printf '1001,1,5\n1002,1,6\n' | q -c '\copy app.orders from stdin csv' -c 'SELECT count(*) FROM app.orders' \
	-c 'DELETE FROM app.orders WHERE id > 1000' | grep -E '^[0-9]')"
echo "listen: $(q -c 'LISTEN ch' -c "NOTIFY ch, 'hello'" | sed -n 's/.*payload "\([a-z]*\)".*/\1/p')"
echo "error-column: $(code 'SELECT nope FROM app.orders')"
echo "error-unique: $(code 'INSERT INTO app.orders VALUES (1, 1, 1)')"
echo "error-syntax: $(code 'SELEC 1')"
echo "denied: $(q -c 'SELECT v FROM app.secrets' 2>/dev/null | grep -vE 'ERROR|DETAIL|HINT')$(code 'SELECT v FROM app.secrets' | cut -d'|' -f1)"
echo "cancel: $(timeout -s INT 1 psql -XAt -v VERBOSITY=sqlstate -c 'SELECT count(*) FROM generate_series(1, 100000000000) g' 2>&1 | grep -oE '57014' | one)"
echo "large: $(q -c "SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g" | awk -F'|' '{ n++; s += $1 } END { printf "%d|%.0f", n, s }')"
echo "cursor: $(q -v FETCH_COUNT=100 -c 'SELECT g FROM generate_series(1, 5000) g' | wc -l)"
echo "types: $(q -c "SELECT 42::int, 4.5::float8, 1.10::numeric, true, 'é'::text, '\x0001ff'::bytea, '2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC', '{\"a\": 1}'::jsonb, ARRAY[1,2,3], NULL")"
echo "describe: $(q -c '\d app.orders' | grep -c .)"
