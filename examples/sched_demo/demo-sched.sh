#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# demo-sched.sh --host DIRECTORY|--guest FILE OPTION... - finds a kernel for the guest, then
# demo_sched.py. KERNEL: a series, as 7.2; else the newest.

set -euo pipefail

here=$(dirname "$0")
vm=$here/../../tests-c/kernels/vm

if [ "$1" = --guest ]; then
	package=$("$vm/guests.sh" | awk -v series="${KERNEL-}" '
		$2 == "x86-64" && $4 != "-" && (series == "" || index($1, series "-") == 1) { package = $4 }
		END { print package }')
	if [ -z "$package" ]; then
		echo "demo-sched: there is no packaged kernel ${KERNEL-}: make test-vm-list names them." >&2
		exit 1
	fi
	kernel=$("$vm/fetch.sh" kernel "$package") || { echo "demo-sched: $kernel" >&2; exit 1; }
	qemu=$("$vm/fetch.sh" qemu) || { echo "demo-sched: $qemu" >&2; exit 1; }
	echo "demo-sched: $package under qemu" >&2
	set -- "$@" --kernel "$kernel" --qemu "$qemu"
fi
exec "$here/demo_sched.py" "$@"
