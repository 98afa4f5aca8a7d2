#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# initramfs.sh OUTPUT BUSYBOX GUEST-BUSYBOX @DIRECTORY FILE... [@DIRECTORY FILE...]
#
# Makes an initramfs: the guest's busybox, and files in directories.

set -euo pipefail

output=$(realpath "$1")
busybox=$(realpath "$2")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

# Links, which cpio follows.
chmod 755 "$tree" # mktemp makes it for its owner alone, and tests are also others
mkdir -p "$tree"/{bin,dev,proc,sys,tmp,run,root}
ln -s "$(realpath "$3")" "$tree/bin/busybox"
shift 3
for file; do
	case $file in
	@*)
		directory=$tree${file#@}
		mkdir -p "$directory"
		;;
	*) ln -s "$(realpath "$file")" "$directory/" ;;
	esac
done
(cd "$tree" && find . | "$busybox" cpio -o -L -H newc 2>/dev/null) >"$output"
