#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Prints the path of the newest kernel source that Debian packages: of its few
# files that the kernel's selftest of task local data is made of. The first run
# downloads the package (160 MB), later ones find the files in
# ${XDG_CACHE_HOME:-~/.cache}/libtld and ask no network.
#
#   --refresh   ask the archive for a newer one even if there is a cached one
#
# The machine's own package sources stay as they are: apt gets a private
# configuration. If there is none to be had, what is printed is the reason, and
# the exit status 77. Progress goes to stderr.

set -euo pipefail

suites='sid experimental'

# The files wanted, below the source's top directory. Makefile tells the version.
wanted=(
	Makefile
	tools/lib/bpf/bpf_helpers.h
	tools/testing/selftests/bpf/prog_tests/task_local_data.h
	tools/testing/selftests/bpf/prog_tests/test_task_local_data.c
	tools/testing/selftests/bpf/progs/task_local_data.bpf.h
	tools/testing/selftests/bpf/progs/test_task_local_data.c
)

unavailable() {
	echo "$1 Or name a kernel tree with KSRC=<tree>."
	exit 77
}

progress() {
	echo "kernel source: $1" >&2
}

refresh=
case ${1-} in
'') ;;
--refresh) refresh=yes ;;
*)
	echo "usage: $0 [--refresh]" >&2
	exit 2
	;;
esac

# shellcheck source-path=SCRIPTDIR source=../../support/run/packages.sh
. "$(dirname "$0")/../../support/run/packages.sh"
packages_cache

# A directory gets its final name, linux-source-N.M_<package version>, when it
# is complete; that its files are all there is checked for the day on which
# another one is wanted.
complete() {
	local file
	for file in "${wanted[@]}"; do
		[ -e "$cache/$1/$file" ] || return 1
	done
}

use() {
	printf '%s\n' "$cache/$1"
	exit 0
}

use_cached() {
	local newest
	newest=$(find "$cache" -mindepth 1 -maxdepth 1 -type d -name 'linux-source-*' -printf '%f\n' |
		sort -V | tail -n 1)
	if [ -n "$newest" ] && [ -z "$refresh" ] && complete "$newest"; then
		use "$newest"
	fi
}

use_cached

# One at a time. Whoever holds the lock owns all temporary directories, also
# those that a killed predecessor left. apt must not inherit the lock (9>&-),
# or it would keep it when this script is killed.
{ exec 9>"$cache/lock"; } 2>/dev/null || unavailable "cannot write to $cache."
if ! flock --nonblock 9; then
	progress 'waiting for another process that is getting it'
	flock 9
	use_cached
fi
rm -rf "$cache"/partial.*
work=$(mktemp -d "$cache/partial.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck disable=SC2086  # a list
packages_configure "$work" native $suites
mkdir "$work/deb"

progress "reading the package lists of Debian's $suites"
# An update that could not read a suite may still have read the other one.
private apt-get -qq update </dev/null >/dev/null || true
update_says=$(apt_says)

package=$(private apt-cache search --names-only '^linux-source-[0-9]+[.][0-9]+$' |
	cut -d ' ' -f 1 | sort -V | tail -n 1) || true
[ -n "$package" ] ||
	unavailable "the package lists of Debian's $suites cannot be read (apt: $update_says)."

# 'address' file-name size hash
read -r _ file size _ < <(cd "$work/deb" && private apt-get -qq download --print-uris "$package") ||
	unavailable "apt cannot say where $package is (apt: $(apt_says))."
name=${file%_*.deb}
if complete "$name"; then
	use "$name"
fi

progress "downloading $package ($((size / 1000000)) MB, once)"
quiet=-qq
if [ -t 2 ]; then
	quiet=-q=0 # on a terminal, apt's own progress line
fi
(cd "$work/deb" && private apt-get "$quiet" download "$package") </dev/null >&2 ||
	unavailable "$package cannot be downloaded (apt: $(apt_says))."

progress "extracting ${#wanted[@]} files of $package"
archived=./usr/src/$package.tar.xz
mkdir "$work/source"
dpkg-deb --fsys-tarfile "$work/deb/$file" |
	tar --extract --to-stdout "$archived" |
	xz --decompress --stdout --threads=2 |
	tar --extract --directory "$work/source" --strip-components=1 \
		--no-same-owner "${wanted[@]/#/$package/}" ||
	unavailable "$package does not hold the selftest of task local data, or cannot be unpacked."

rm -rf "${cache:?}/$name" # there may be an incomplete one
mv "$work/source" "$cache/$name"
use "$name"
