#!/bin/bash
# demo.sh shows the whole path on this machine: ordinary clients under
# `sluice exec`, a real PostgreSQL, a policy. It checks what it shows, fails if
# something does not come out as the caption claims, and leaves nothing behind.
# `make demo` installs what it needs and builds the binary first.
set -euo pipefail
cd "$(dirname "$0")/.."
sluice=$PWD/out/sluice
[ "$(id -u)" = 0 ] || { echo "demo: needs root, since redirecting connections takes BPF" >&2; exit 1; }
[ -x "$sluice" ] || { echo "demo: no out/sluice; run make build" >&2; exit 1; }

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' off=$'\e[0m'; else bold="" dim="" red="" green="" off=""; fi
dir=$(mktemp -d /tmp/sluice-demo-XXXXXX)
chmod 755 "$dir"
failures=0 step=0 agent_pid=""

# What Sluice could leave on a host: pins, cgroups, processes of this binary. Those of
# another `sluice exec` that goes on meanwhile, called exec-PID-..., are not ours.
leftovers() {
	local path pid
	while read -r path; do
		pid=$(grep -oE 'exec-[0-9]+' <<<"$path" | head -n 1 | cut -d- -f2 || true)
		if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then continue; fi
		echo "$path"
	done < <(find /sys/fs/bpf /sys/fs/cgroup \( -path '*luice*' \) 2>/dev/null | grep -v -e sluicetest -e '/cgroup/.*/[a-z]*\.[a-z.]*$' | grep -v '/sluice$')
	for exe in /proc/[0-9]*/exe; do
		[ "$(readlink "$exe" 2>/dev/null)" = "$sluice" ] && echo "process ${exe%/exe}"
	done
	true
}

finish() {
	touch "$dir/metrics-read" 2>/dev/null || true
	[ -z "$agent_pid" ] || wait "$agent_pid" 2>/dev/null || true
	exec 9>&- || true # the database ends with its standard input
	[ -z "${server_pid:-}" ] || wait "$server_pid" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

caption() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" $step "$1" "$off"; }
say() { printf '%s   %s%s\n' "$dim" "$1" "$off"; }

# run COMMAND... prints the command and what it prints; the output stays in $output.
output="" status=0
run() {
	local shown="$*"
	shown=${shown//$sluice/sluice}
	printf '   %s$ %s%s\n' "$dim" "${shown//$dir\//}" "$off"
	status=0
	output=$("$@" 2>&1 </dev/null) || status=$?
	printf '%s\n' "$output" | sed 's/^/     /'
}
fail() { printf '   %s✗ %s%s\n' "$red" "$1" "$off"; failures=$((failures + 1)); }
pass() { printf '   %s✓ %s%s\n' "$green" "$1" "$off"; }
shows() { if grep -qF -- "$1" <<<"$output"; then pass "$2"; else fail "$2 (expected to see: $1)"; fi; }
hides() { if grep -qF -- "$1" <<<"$output"; then fail "$2 (saw: $1)"; else pass "$2"; fi; }

before=$(leftovers)
printf '%sSluice: an agent, its database, and what may pass between them%s\n' "$bold" "$off"
say "Starting a real PostgreSQL ..."
held="the-real-password-$$"
mkfifo "$dir/stdin"
go build -o "$dir/serve" ./test/pgtest/serve
"$dir/serve" -password "$held" <"$dir/stdin" >"$dir/server" 2>"$dir/server.log" &
server_pid=$!
exec 9>"$dir/stdin"
for _ in $(seq 300); do grep -q ready "$dir/server" 2>/dev/null && break; sleep 0.1; done
grep -q ready "$dir/server" || { cat "$dir/server.log" >&2; exit 1; }
. "$dir/server"
metrics=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

printf '%s\n' "$held" >"$dir/password"
chmod 600 "$dir/password"
cat >"$dir/shop.yaml" <<YAML
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:$PORT"]
  tls: {mode: disable}
  credential: {username: app_rw, passwordFile: $dir/password}
  sensitive:
    - {tag: ssn,   columns: ["app.customers.ssn"],  mask: {keepLast: 4}}
    - {tag: card,  columns: ["app.customers.card"], mask: {keepLast: 4}}
    - {tag: email, columns: ["*.*.email"],          mask: email}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: support-agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers, app.orders]}
    - {name: no-ddl, effect: deny, actions: [ddl], reason: "schema changes go through migrations"}
---
apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: demo}
spec:
  metrics: {listen: "127.0.0.1:$metrics"}
YAML

url="postgres://app_rw:placeholder@127.0.0.1:$PORT/shop?sslmode=disable"
open="postgres://app_rw:$held@127.0.0.1:$PORT/shop?sslmode=disable"
# The agent runs as an ordinary account: root's own processes can get around anything.
through=("$sluice" exec --config "$dir/shop.yaml" --state "$dir/state" --user nobody --)
psql=(psql -X)

caption "The policy: what may be read, and what of it is masked"
sed -n '/^  sensitive/,/^---/p;/^  rules/,/^---/p' "$dir/shop.yaml" | grep -v '^---' | sed 's/^/   /'
run "$sluice" policy check "$dir/shop.yaml"
[ $status = 0 ] && pass "the policy is valid" || fail "the policy is valid"

caption "Without Sluice, a placeholder password opens nothing"
run "${psql[@]}" "$url" -c "SELECT 1"
shows "password authentication failed" "the database refuses the placeholder"

caption "Under Sluice, the same psql and the same connection string: masked"
run "${through[@]}" "${psql[@]}" "$url" -c "SELECT id, name, ssn, card, email FROM app.customers WHERE id < 4 ORDER BY id"
shows "Alice" "the rows are there"
shows "6789" "the last four digits are kept"
hides "123-45-6789" "no ssn in clear"
hides "4111-1111" "no card number in clear"
hides "alice@example.com" "no e-mail address in clear"

caption "What is not granted is denied, and the error says what would be allowed"
run "${through[@]}" "${psql[@]}" "$url" -v VERBOSITY=verbose -c "SELECT * FROM app.secrets"
shows "42501" "SQLSTATE 42501"
hides "TOPSECRET-42" "no secret"

caption "Hiding a masked value in an expression does not help"
run "${through[@]}" "${psql[@]}" "$url" -c "SELECT row_to_json(c), c.ssn || '' AS ssn FROM app.customers c WHERE id = 1"
hides "123-45-6789" "no ssn in clear"

caption "COMMIT; DROP TABLE ...: the escape that defeats read-only modes is refused as a whole"
run "${through[@]}" "${psql[@]}" "$url" -c "COMMIT; DROP TABLE app.orders; SELECT 1"
shows "ERROR" "refused"
run psql -X -h "$SOCKET" -p "$PORT" -U postgres shop -Atc "SELECT count(*) FROM app.orders"
[ "$output" = 3 ] && pass "all three orders are still there" || fail "all three orders are still there"

caption "An agent with a stock Python driver (psycopg), held to the same"
(exec 9>&-; exec "${through[@]}" /usr/bin/python3 scripts/demo_agent.py "$url" "$dir/metrics-read") >"$dir/agent" 2>&1 </dev/null &
agent_pid=$!
for _ in $(seq 300); do grep -q '^done' "$dir/agent" && break; kill -0 $agent_pid 2>/dev/null || break; sleep 0.1; done
output=$(cat "$dir/agent")
printf '%s\n' "$output" | grep -v '^done$' | sed 's/^/     /'
shows "Bob" "it reads what it may"
hides "bob@example.com" "masked for it too"
hides "9876-54-321" "and reversed is no way around"

caption "The numbers, while that session is open"
output=$(/usr/bin/python3 - "$metrics" <<'PY' 2>&1 || true
import sys, urllib.request
print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://127.0.0.1:%s/metrics" % sys.argv[1], timeout=5).read().decode())
PY
)
printf '%s\n' "$output" | grep -E '^sluice_(statements|denials|masked|sessions|connections)[a-z_]*(\{|  *)' | grep -v ' 0$' | head -n 12 | sed 's/^/     /'
shows "sluice_" "metrics with standard names"
touch "$dir/metrics-read"
wait $agent_pid || fail "the agent's script ended well"
agent_pid=""

caption "What happened, from the record"
run "$sluice" sessions --state "$dir/state"
id=$("$sluice" sessions --state "$dir/state" --output json | /usr/bin/python3 -c '
import json, sys
text = sys.stdin.read().strip()
try:
    rows = json.loads(text)
    rows = rows if isinstance(rows, list) else rows.get("sessions", rows.get("items", []))
except ValueError:
    rows = [json.loads(line) for line in text.splitlines()]
print(max(rows, key=lambda r: str(r.get("started", r.get("start", ""))))["id"])')
run "$sluice" replay --state "$dir/state" --speed 0 "$id"
shows "reverse" "the statements of the agent"
hides "bob@example.com" "the record holds masks, not values"
run "$sluice" verify --state "$dir/state"
[ $status = 0 ] && pass "the chain of the record is whole" || fail "the chain of the record is whole"

caption "The same client outside Sluice is untouched"
run "${psql[@]}" "$open" -Atc "SELECT ssn FROM app.customers WHERE id = 1"
shows "123-45-6789" "the owner of the real password sees what the database says"

caption "Nothing is left behind"
sleep 0.5
left=$(comm -13 <(sort <<<"$before") <(leftovers | sort))
if [ -z "$left" ]; then
	pass "no BPF pins, no cgroups, no processes"
else
	printf '%s\n' "$left" | sed 's/^/     /'
	fail "no BPF pins, no cgroups, no processes"
fi

echo
if [ $failures -ne 0 ]; then
	echo "${red}$failures of the claims above did not hold.${off}"
	exit 1
fi
echo "${bold}Done.${off} README.md says what to read next."
