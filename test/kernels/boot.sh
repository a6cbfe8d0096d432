#!/bin/bash
# boot.sh KVER [--share DIR]... [--memory MIB] [--timeout SECONDS] [--nic TAP] -- COMMAND...
#
# Boots a kernel that fetch.sh got and runs COMMAND in it as root, in this directory and
# with this PATH. The guest's root is this machine's, read-only below a layer in memory:
# every tool is there, and nothing written reaches the machine, except in DIRs. With --nic it
# has a network card at TAP, a device of the network namespace that this runs in. Standard
# output is the command's output and errors; so is the exit status (125: the guest failed,
# 124: out of time). Standard error ends with the kernel's version.
# KERNEL_ACCEL=kvm or tcg overrides the choice of accelerator, KERNEL_LOG=FILE keeps the console.
. "$(dirname "$0")/lib.sh"

usage() { fail "usage: boot.sh KVER [--share DIR]... [--memory MIB] [--timeout SECONDS] [--nic TAP] -- COMMAND..."; }
[ $# -gt 1 ] || usage
series=$1 shares=() nic=() memory=2048 limit=600
shift
while [ "${1---}" != -- ]; do
	[ $# -gt 1 ] || usage
	case $1 in
	--share) [ -d "$2" ] || fail "--share $2: no such directory"; shares+=("$(readlink -f "$2")") ;;
	--memory) memory=$2 ;;
	--timeout) limit=$2 ;;
	--nic) nic=(-netdev "tap,id=nic,ifname=$2,script=no,downscript=no" -device virtio-net-pci,netdev=nic,romfile=) ;;
	*) usage ;;
	esac
	shift 2
done
shift || usage
[ $# -gt 0 ] || usage

need qemu-system-x86_64=qemu-system-x86 setpriv=util-linux modprobe=kmod cpio=cpio busybox=busybox-static
virtiofsd=/usr/lib/qemu/virtiofsd
[ -x $virtiofsd ] || fail "missing: apt-get install qemu-system-common"
kernel=$KERNELS_DIR/$series
[ -e "$kernel/fetched" ] || fail "no kernel $series in $KERNELS_DIR: $kit/fetch.sh $series gets it"
[ "$(id -u)" = 0 ] || fail "must run as root"

# The initramfs has busybox, what is needed to mount the root, and init.sh.
initramfs() {
	local tree=$kernel/initramfs version module number=10
	version=$(ls "$kernel/lib/modules")
	rm -rf "$tree" && mkdir -p "$tree"/{bin,modules,proc,dev,host,memory,root}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	cp "$kit/init.sh" "$tree/init"
	for module in virtio_pci virtiofs overlay; do
		modprobe -d "$kernel" -S "$version" --show-depends $module
	done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r module; do
		case $module in
		*.xz) xz -dc "$module" >"$tree/modules/$number-$(basename "$module" .xz)" ;;
		*) cp "$module" "$tree/modules/$number-$(basename "$module")" ;;
		esac
		number=$((number + 1))
	done
	(cd "$tree" && find . | cpio --quiet -o -H newc) >"$kernel/initramfs.cpio.new"
	mv "$kernel/initramfs.cpio.new" "$kernel/initramfs.cpio"
	rm -rf "$tree"
}
[ "$kernel/initramfs.cpio" -nt "$kit/init.sh" ] || initramfs

# Some machines offer a /dev/kvm that emulates instructions one by one, and badly: it
# counts only where the processor has the extensions for it.
if [ -z "${KERNEL_ACCEL-}" ]; then
	KERNEL_ACCEL=tcg
	if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then KERNEL_ACCEL=kvm; fi
fi
case $KERNEL_ACCEL in
kvm) accel=(-accel kvm -cpu host) ;;
tcg) accel=(-accel tcg,thread=multi -cpu max,-la57,-avx,-avx2) ;; # emulated vectors only cost time
*) fail "KERNEL_ACCEL=$KERNEL_ACCEL: must be kvm or tcg" ;;
esac

find "$KERNELS_DIR" -maxdepth 1 -name 'run.*' -mtime +1 -exec rm -rf {} + # of runs that were killed
exchange=$(mktemp -d "$KERNELS_DIR/run.XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$exchange"' EXIT
{
	printf 'cd %q\nexport PATH=%q HOME=%q\n' "$PWD" "$PATH" "$HOME"
	printf '%q ' "$@"
} >"$exchange/command"
printf '%s\n' "${shares[@]}" >"$exchange/shares"

"$virtiofsd" --socket-path="$exchange/fs" -o source=/ -o cache=always -o sandbox=chroot >"$exchange/virtiofsd.log" 2>&1 &
until [ -S "$exchange/fs" ]; do
	kill -0 $! 2>/dev/null || fail "virtiofsd: $(tail -n 3 "$exchange/virtiofsd.log")"
	sleep 0.02
done

console=${KERNEL_LOG:-$exchange/console}
# If this shell is killed, the guest goes with it.
setpriv --pdeathsig TERM timeout --foreground "$limit" qemu-system-x86_64 -M q35,memory-backend=memory "${accel[@]}" -smp 2 -m "$memory" \
	-object "memory-backend-memfd,id=memory,size=${memory}M,share=on" \
	-nodefaults -no-user-config -display none -no-reboot "${nic[@]}" \
	-chardev "socket,id=fs,path=$exchange/fs" -device vhost-user-fs-pci,chardev=fs,tag=host \
	-chardev "file,id=console,path=$console" -serial chardev:console \
	-chardev stdio,id=output,signal=off -serial chardev:output \
	-kernel "$kernel/vmlinuz" -initrd "$kernel/initramfs.cpio" \
	-append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr exchange=$exchange kernel=$kernel kit=$kit" </dev/null || {
	status=$?
	[ $status != 124 ] || { echo "boot.sh: out of time after $limit s" >&2; exit 124; }
}
if [ ! -s "$exchange/status" ]; then
	tail -n 20 "$console" >&2
	echo "boot.sh: kernel $series ended without running the command to its end" >&2
	exit 125
fi
cat "$exchange/booted" >&2
exit "$(cat "$exchange/status")"
