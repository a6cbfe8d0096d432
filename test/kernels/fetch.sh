#!/bin/bash
# fetch.sh KVER...: downloads Debian's cloud kernels of these series (5.10, 6.1, 6.12, …)
# and extracts them to $KERNELS_DIR/KVER, without installing anything.
# fetch.sh --list: the series that Debian's releases offer now.
. "$(dirname "$0")/lib.sh"
need apt-get=apt dpkg-deb=dpkg depmod=kmod
[ $# -gt 0 ] || fail "usage: fetch.sh --list | KVER..."

# Where kernels come from: the machine's own sources, then these suites of its mirrors.
# A suite that is gone by now is skipped.
suites=(own bookworm-backports bullseye-security bullseye trixie-backports sid)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cache=$KERNELS_DIR/apt
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$' || true)
[ -n "$mirror" ] || fail "no Debian mirror among the machine's apt sources"

# in_suite SUITE TOOL ARGUMENTS... runs apt-get or apt-cache on that suite alone.
in_suite() {
	local suite=$1 tool=$2 dir=$cache/$1
	shift 2
	if [ "$suite" = own ]; then "$tool" "$@"; return; fi
	"$tool" -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" "$@"
}

# refresh SUITE reads the suite's index, once a day.
refresh() {
	local dir=$cache/$1 uri=$mirror
	case $1 in *-security) uri=${mirror%/}-security/ ;; esac
	[ -z "$(find "$dir/fresh" -mtime -1 2>/dev/null)" ] || return 0
	mkdir -p "$dir/lists/partial" "$dir/cache"
	echo "deb [signed-by=$keyring] $uri $1 main" >"$dir/sources.list"
	in_suite "$1" apt-get -qq update >"$dir/log" 2>&1 || { rm -rf "$dir/lists"; return 1; }
	touch "$dir/fresh"
}

# kernels SUITE lists its signed cloud kernels, oldest first.
kernels() {
	in_suite "$1" apt-cache search --names-only '^linux-image-[0-9]+\.[0-9]+[0-9.]*[-+].*cloud-amd64$' |
		cut -d' ' -f1 | sort -V
}

if [ "$1" = --list ]; then
	for suite in "${suites[@]}"; do
		refresh "$suite" || continue
		for package in $(kernels "$suite"); do
			echo "$(echo "$package" | grep -oE '[0-9]+\.[0-9]+' | head -n 1) $suite $package"
		done
	done | sort -V -s -k1,1 | awk '{last[$1 " " $2] = $3} END {for (k in last) print k, last[k]}' | sort -V
	exit
fi

for series; do
	dir=$KERNELS_DIR/$series
	if [ -e "$dir/fetched" ]; then echo "$series: $(cat "$dir/fetched")"; continue; fi
	package=
	for suite in "${suites[@]}"; do
		refresh "$suite" || continue
		package=$(kernels "$suite" | grep -E "^linux-image-${series//./\\.}[.+-]" | tail -n 1) || true
		[ -z "$package" ] || break
	done
	[ -n "$package" ] || fail "no kernel $series in ${suites[*]}: see fetch.sh --list"
	rm -rf "$dir" && mkdir -p "$dir"
	# Newer releases keep the image and its modules in packages of their own.
	for part in $(in_suite "$suite" apt-cache depends --no-recommends --no-suggests "$package" |
		grep -oE " linux-(modules|binary|base)-[0-9][^ <>]*" || true) "$package"; do
		(cd "$dir" && in_suite "$suite" apt-get -qq -o APT::Sandbox::User=root download "$part")
	done
	for deb in "$dir"/*.deb; do dpkg-deb -x "$deb" "$dir" && rm "$deb"; done
	# One layout for all: vmlinuz, and modules/ with an index for modprobe.
	image=$(find "$dir" -name 'vmlinuz*' -type f | head -n 1)
	[ -d "$dir/lib/modules" ] || { mkdir -p "$dir/lib" && mv "$dir/usr/lib/modules" "$dir/lib/"; }
	version=$(ls "$dir/lib/modules")
	[ -e "$image" ] || image=$dir/lib/modules/$version/vmlinuz
	[ -e "$image" ] && [ -d "$dir/lib/modules/$version/kernel" ] || fail "$package: found no kernel or no modules in it"
	depmod -b "$dir" "$version"
	ln -s "${image#"$dir/"}" "$dir/vmlinuz"
	echo "${package#linux-image-} from $suite" >"$dir/fetched"
	echo "$series: $(cat "$dir/fetched")"
done
