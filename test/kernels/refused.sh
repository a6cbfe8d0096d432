#!/bin/bash
# refused.sh SLUICE: checks, on a kernel that is too old, that SLUICE says so and leaves
# nothing behind. Its last line is what it found.
sluice=$1 failed=0
check() { [ "$2" = "$3" ] || { echo "$1: $2, want $3"; failed=1; }; }
config=$(mktemp)
cat >"$config" <<END
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:5432"]
  tls: {mode: disable}
  credential: {username: app, passwordFile: /etc/hostname}
END
said=$("$sluice" doctor) status=$?
echo "$said" | grep -v '^ok'
check 'exit status of doctor' $status 1
check 'lines of doctor about the kernel' "$(echo "$said" | grep -c '^missing *kernel .* is older than 5.15')" 1
for how in 'exec --config' 'agent --config'; do
	end='-- touch /tmp/has-run'
	[ "$how" = 'exec --config' ] || end=
	said=$(timeout 60 "$sluice" $how "$config" --state /tmp/state $end 2>&1) status=$?
	echo "$said"
	check "refusals of $how" "$(echo "$said" | grep -c "this host can't run Sluice")" 1
	[ $status != 0 ] && [ $status != 124 ] || { echo "exit status of $how: $status"; failed=1; }
done
[ ! -e /tmp/has-run ] || { echo "the command ran"; failed=1; }
check 'pins that are left' "$(find /sys/fs/bpf -mindepth 1 | wc -l)" 0
[ $failed = 0 ] && echo 'refused: doctor, exec and agent say what is missing, nothing is left'
exit $failed
