#!/bin/busybox sh
# The guest's first program: makes the root file system and goes on in it (guest.sh).
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev
for module in /modules/*; do $bb insmod "$module"; done
$bb mount -t virtiofs host /host || exec $bb poweroff -f
$bb mount -t tmpfs memory /memory
$bb mkdir /memory/upper /memory/work
$bb mount -t overlay root /root -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work || exec $bb poweroff -f
for word in $($bb cat /proc/cmdline); do
	case $word in exchange=* | kernel=* | kit=*) export "$word" ;; esac
done
$bb mkdir -p /root/run
$bb mount -t tmpfs run /root/run
$bb mkdir /root/run/exchange
$bb mount -o bind "/host$exchange" /root/run/exchange
while read -r share; do
	[ -z "$share" ] || $bb mount -o bind "/host$share" "/root$share"
done <"/host$exchange/shares"
$bb umount /proc /dev
exec $bb switch_root /root "$kit/guest.sh"
