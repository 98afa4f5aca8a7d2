#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Lists the guests, a line each: name, machine, page size, and the package of the kernel,
# or "-" where there is none. Those that are wanted, and newer kernels as they come.
#
# 6.13 to 6.16 are left out: not packaged, or (6.16) with faults of their own, by which
# the kernel's own selftest of its own headers fails now and then.

set -euo pipefail

packaged=$("$(dirname "$0")/fetch.sh" kernels) || {
	echo "$packaged" >&2
	exit 77
}

# The newest package of a series. linux-image without linux-binary has the image itself.
package_of() { # series Debian-flavour
	sed -nE "s/^linux-(binary|image)-(${1//./\\.}\.[0-9]+[^-]*)-$2(-unsigned)?$/\2 \1 &/p" "$packaged" |
		sort -k 1,1V -k 2,2r | tail -n 1 | cut -d ' ' -f 3
}

newer_than() { # series Debian-flavour
	sed -nE "s/^linux-(binary|image)-([0-9]+\.[0-9]+)\.[0-9]+[^-]*-$2(-unsigned)?$/\2/p" "$packaged" |
		sort -uV | sed "1,/^${1//./\\.}$/d"
}

guests() { # machine page-size Debian-flavour series...
	local package series
	# shellcheck disable=SC2046  # a list
	for series in "${@:4}" $(newer_than "${!#}" "$3"); do
		package=$(package_of "$series" "$3")
		case $1 in
		x86-64) echo "$series-$1 $1 $2 ${package:--}" ;;
		arm64) echo "$series-$1-$2 $1 $2 ${package:--}" ;;
		esac
	done
}

guests x86-64 4k cloud-amd64 6.12 6.17 6.18 6.19 7.0 7.1 7.2 7.3
guests arm64 4k cloud-arm64 6.18 7.2 7.3
guests arm64 16k arm64-16k 6.18 7.2 7.3
