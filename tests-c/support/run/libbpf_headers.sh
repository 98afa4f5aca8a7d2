#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Prints the directory in which bpf/bpf_helpers.h is that of the newest libbpf that Debian
# packages. The first run downloads the package, later ones find it in
# ${XDG_CACHE_HOME:-~/.cache}/libtld and ask no network; a month later it is looked for again,
# and kept if there is no network. If there is none to be had, what is printed is the reason,
# and the exit status 77.
set -euo pipefail

unavailable() {
	echo "$1"
	exit 77
}

# shellcheck source-path=SCRIPTDIR source=packages.sh
. "$(dirname "$0")/packages.sh"
packages_cache

newest() { # FIND-OPTION...
	find "$cache" -mindepth 1 -maxdepth 1 -type d -name 'libbpf-dev_*' "$@" -printf '%f\n' |
		sort -V | tail -n 1
}

use() {
	printf '%s\n' "$cache/$1/usr/include"
	exit 0
}

use_newest() {
	local found
	found=$(newest "$@")
	[ -z "$found" ] || use "$found"
}

download() {
	local deb
	packages_configure "$work" native sid experimental || return
	private apt-get -qq update </dev/null >/dev/null || true
	(cd "$work" && private apt-get -qq download libbpf-dev </dev/null >/dev/null) || return
	deb=$(cd "$work" && echo libbpf-dev_*.deb)
	dpkg-deb -x "$work/$deb" "$work/tree"
	[ -e "$work/tree/usr/include/bpf/bpf_helpers.h" ] || return
	name=${deb%_*.deb}
	rm -rf "${cache:?}/$name"
	mv "$work/tree" "$cache/$name"
	touch "$cache/$name"
}

use_newest -mtime -30
exec 9>"$cache/libbpf.lock"
flock 9
use_newest -mtime -30
work=$(mktemp -d "$cache/libbpf.XXXXXX")
trap 'rm -rf "$work"' EXIT
name=
if download; then
	use "$name"
fi
use_newest
unavailable "Debian's newest libbpf-dev cannot be downloaded (apt: $(apt_says))."
