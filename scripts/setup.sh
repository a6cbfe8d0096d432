#!/bin/sh
# setup.sh installs what building, testing, the demo or the benchmark need, and
# does nothing when it is all there. It expects Debian 12 with Go, gcc, git and
# make; where it is not root, it only says what is missing.
#
#   scripts/setup.sh [demo|test|bench|soak|kernels|kube]
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-test}

need=""
want() { # want PACKAGE COMMAND-OR-FILE...: PACKAGE is needed unless one of the others is there
	package=$1
	shift
	for there; do
		case $there in
		/*) for f in $there; do [ -e "$f" ] && return 0; done ;;
		*) command -v "$there" >/dev/null 2>&1 && return 0 ;;
		esac
	done
	need="$need $package"
}

want postgresql '/usr/lib/postgresql/*/bin/postgres'
want postgresql-client psql
want iproute2 ip
want ca-certificates /etc/ssl/certs/ca-certificates.crt
want python3-psycopg /usr/lib/python3/dist-packages/psycopg
case $purpose in
kernels)
	want qemu-system-x86 qemu-system-x86_64
	want qemu-system-common /usr/lib/qemu/virtiofsd
	want busybox-static busybox
	want cpio cpio
	want kmod depmod /sbin/depmod
	want nftables nft /usr/sbin/nft
	;;
kube)
	want etcd-server etcd
	want runc runc /usr/sbin/runc
	want nftables nft /usr/sbin/nft
	want util-linux nsenter
	want openssl openssl
	want procps ps
	want kmod depmod /sbin/depmod
	;;
soak)
	want sqlsmith sqlsmith
	;;
test | bench)
	want pgbouncer pgbouncer /usr/sbin/pgbouncer
	;;
esac
case $purpose in
test)
	want clang clang
	want llvm llvm-strip
	want libbpf-dev /usr/include/bpf/bpf_helpers.h
	want python3-psycopg2 /usr/lib/python3/dist-packages/psycopg2
	want python3-asyncpg /usr/lib/python3/dist-packages/asyncpg
	want nodejs node nodejs
	want npm npm
	want default-jdk-headless javac
	want libpostgresql-jdbc-java /usr/share/java/postgresql.jar
	want codespell codespell
	want nftables nft /usr/sbin/nft
	want systemd /lib/systemd/systemd
	;;
esac

if [ -n "$need" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "setup: missing, and only root can install:$need" >&2
		exit 1
	fi
	echo "setup: installing$need" >&2
	log=$(mktemp)
	# The packages' own database and pooler are not wanted, only their programs:
	# no cluster is made, and no service is started.
	policy=/usr/sbin/policy-rc.d
	cluster=/etc/postgresql-common/createcluster.conf
	[ -e $policy ] && policy="" || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; }
	trap '[ -z "$policy" ] || rm -f "$policy"; rm -f "$log"' EXIT
	if [ ! -e $cluster ]; then
		mkdir -p /etc/postgresql-common
		echo "create_main_cluster = false" >$cluster
	fi
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -q update || true
	  # shellcheck disable=SC2086 # a list of words on purpose
	  apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install $need
	} >"$log" 2>&1 || { tail -n 30 "$log" >&2; exit 1; }
fi

if [ "$purpose" = test ] && [ -f test/drivers/node/package-lock.json ] &&
	! cmp -s test/drivers/node/package-lock.json test/drivers/node/node_modules/.installed-lock; then
	echo "setup: installing the Node drivers" >&2
	(cd test/drivers/node && npm ci --silent --no-audit --no-fund --ignore-scripts)
	cp test/drivers/node/package-lock.json test/drivers/node/node_modules/.installed-lock
fi
