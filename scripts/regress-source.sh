#!/usr/bin/env bash
# regress-source.sh DIR
#
# Puts PostgreSQL's own regression suite (src/test/regress) into DIR/regress. It
# comes from Debian's source package, through the machine's apt sources with
# deb-src switched on in a copy; the machine's configuration is not changed.
set -euo pipefail

dir=${1:?usage: regress-source.sh DIR}
[ -e "$dir/regress/sql/select.sql" ] && exit 0
mkdir -p "$dir/apt/parts" "$dir/apt/lists/partial"
dir=$(readlink -f "$dir")

for f in /etc/apt/sources.list.d/*.sources; do
	[ -e "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"$dir/apt/parts/$(basename "$f")"
done
{ grep -h '^deb ' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
	sed 's/^deb /deb-src /' >"$dir/apt/sources.list"

apt=(-q -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts="$dir/apt/parts"
	-o Dir::State::lists="$dir/apt/lists" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update >"$dir/apt/log" 2>&1 || true # a source without deb-src is no failure

# The newest version that can be had: an index may name one that is gone.
cd "$dir"
for version in $(apt-cache "${apt[@]}" showsrc postgresql-15 2>>"$dir/apt/log" | sed -n 's/^Version: //p' | sort -rV); do
	if apt-get "${apt[@]}" source --tar-only --download-only "postgresql-15=$version" >>"$dir/apt/log" 2>&1; then
		break
	fi
done
tarball=$(ls postgresql-15_*.orig.tar.* 2>/dev/null | sort -V | tail -n 1)
[ -n "$tarball" ] || { echo "regress-source.sh: no source package of postgresql-15; see $dir/apt/log" >&2; exit 1; }
mkdir -p regress
tar -xf "$tarball" -C regress --strip-components=4 --wildcards '*/src/test/regress'
rm -rf "$tarball" apt
