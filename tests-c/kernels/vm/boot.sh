#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# boot.sh QEMU MACHINE IMAGE INITRAMFS DIRECTORY [PARAMETER...] - boots a guest, once.
#
# QEMU is a directory that fetch.sh made, MACHINE x86-64 or arm64. What the guest tells
# goes to DIRECTORY/result, its console to DIRECTORY/console, qemu's own words to
# DIRECTORY/qemu. The exit status says nothing: a guest that panics ends qemu with 0.
#
# Environment: VM_SECONDS (900), after which the guest is killed; VM_CPUS (2); VM_OPTIONS,
# more for qemu.

set -euo pipefail

qemu=$1 machine=$2 image=$3 initramfs=$4 directory=$5
shift 5
libraries=$qemu/usr/lib/x86_64-linux-gnu

case $machine in
x86-64)
	program=qemu-system-x86_64 console=ttyS0
	# One without wide registers, whose saving takes a third of all time. Task storage's
	# locks need its cx16.
	hardware=(-M q35 -cpu Nehalem)
	;;
arm64)
	program=qemu-system-aarch64 console=ttyAMA0
	# One without authenticated pointers; and below no address randomisation of the kernel, for
	# which this one would change page tables at each system call. Both take half of all time.
	hardware=(-M 'virt,gic-version=3' -cpu neoverse-n1)
	;;
esac

mkdir -p "$directory"
rm -f "$directory"/{result,console,qemu}
# In the foreground: in a process group of its own, qemu would outlive who ends ours.
# Its own loader and libraries: it is from a later release than this machine's.
timeout --foreground -k 5 "${VM_SECONDS:-900}" "$libraries"/ld-linux-*.so.2 --library-path "$libraries" \
	"$qemu/usr/bin/$program" -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" \
	"${hardware[@]}" ${VM_OPTIONS-} -accel tcg -smp "${VM_CPUS:-2}" -m 1G -no-reboot -nic none \
	-display none -monitor none -serial "file:$directory/console" \
	-device virtio-serial-pci -chardev "file,id=result,path=$directory/result" \
	-device virtserialport,chardev=result,name=result \
	-kernel "$image" -initrd "$initramfs" \
	-append "console=$console panic=-1 oops=panic quiet loglevel=4 mitigations=off nokaslr $*" \
	</dev/null >"$directory/qemu" 2>&1 || true
