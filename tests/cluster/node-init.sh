#!/bin/sh
# The first process of the node, in a mount and a PID namespace of its own: node.sh starts it. What
# runs on a node sees its usual paths, but writes below $1, which outlives it as a disk does. When
# this process is killed, all others of the node are, and its mounts are gone: a power cut.
set -eu

disk=$1
umask 022
# Its number outside: this is still the outer /proc.
read -r outside _ </proc/self/stat

# Nothing of this is seen outside, and among the node's containers all of it.
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/cni /run/volume-plugins "$disk/upper" "$disk/work" "$disk/log"
mount --bind "$disk/log" /var/log
# An overlay, so that directories can be made here that the machine does not have. They are mounts,
# since containerd cannot have its overlays on another.
mount -t overlay -o "lowerdir=/var/lib,upperdir=$disk/upper,workdir=$disk/work" overlay /var/lib
for name in kubelet containerd skillmount; do
    mkdir -p "$disk/$name" "/var/lib/$name"
    mount --bind "$disk/$name" "/var/lib/$name"
    # Else what is mounted here would be mounted below $disk as well.
    mount --make-private "/var/lib/$name"
    mount --make-shared "/var/lib/$name"
done
# Kubelet and containerd tell a reboot by it.
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id

echo "$outside" >"$disk/init.new"
mv "$disk/init.new" "$disk/init"
# It has nothing to do but to be there, and to reap what is orphaned.
while :; do
    sleep 3600 &
    wait
done
