#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Fetches one thing that guests need, unless it is there already, and prints its path.
#
#   fetch.sh kernels              the names of all packaged kernels, a file
#   fetch.sh kernel PACKAGE       the image of one of them
#   fetch.sh qemu                 a directory with qemu 10 and all its libraries
#   fetch.sh static MACHINE       one with busybox, libbpf, libelf and zlib of this
#                                 machine's release for amd64 or arm64
#   fetch.sh libbpf MACHINE       one with the newest packaged libbpf
#
# All is kept in ${XDG_CACHE_HOME:-~/.cache}/libtld/vm. What cannot be had: the reason
# is printed, and the exit status is 77. Progress goes to stderr.

set -euo pipefail

# qemu 7.2, Debian 12's, crashes x86 guests at random.
qemu_suite=trixie
kernel_suites="trixie trixie-backports sid experimental"
newest_suite=sid
own_suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

unavailable() {
	echo "$1"
	exit 77
}

progress() {
	echo "vm: $1" >&2
}

# shellcheck source-path=SCRIPTDIR source=../../support/run/packages.sh
. "$(dirname "$0")/../../support/run/packages.sh"
packages_cache
# shellcheck disable=SC2154  # packages_cache sets it
cache=$cache/vm
mkdir -p "$cache"

# --- apt

# The package lists, a day old at most; or older ones, if the archive cannot be reached.
lists() {
	packages=$cache/apt
	if [ -z "$(find "$packages/updated" -mtime -1 2>/dev/null)" ]; then
		# shellcheck disable=SC2086  # a list
		packages_configure "$packages" "amd64 arm64" $own_suite $kernel_suites
		progress "reading the package lists of Debian's $own_suite $kernel_suites"
		if private apt-get -qq update </dev/null >&2; then
			touch "$packages/updated"
		else
			progress "some of them cannot be read (apt: $(apt_says))"
		fi
	fi
}

# Downloads packages, without what they depend on, and unpacks them: all, or what has this name.
unpack() { # directory pattern package...
	local directory=$1 pattern=$2 deb
	shift 2
	progress "downloading $*"
	mkdir -p "$directory.deb"
	(cd "$directory.deb" && private apt-get -qq download "$@") </dev/null >&2 ||
		unavailable "$* cannot be downloaded (apt: $(apt_says))."
	for deb in "$directory.deb"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar --extract --directory "$directory" --wildcards "$pattern" ||
			unavailable "${deb##*/} cannot be unpacked."
	done
	rm -r "$directory.deb"
}

# --- What there is. Each fills the directory $1.

get_kernel() {
	local machine=amd64
	case $2 in
	*arm64*) machine=arm64 ;;
	esac
	unpack "$1" '*vmlinu?*' "$2:$machine"
	# It moved with 7.2, and again with 7.3.
	find "$1" -name 'vmlinu*' -type f -exec mv '{}' "$1/image" ';'
	[ -e "$1/image" ] || unavailable "$2 has no kernel image."
	find "$1" -mindepth 1 -type d -empty -delete
}

get_static() {
	unpack "$1" '*' "busybox-static:$2/$own_suite" "libbpf-dev:$2/$own_suite" \
		"libelf-dev:$2/$own_suite" "zlib1g-dev:$2/$own_suite"
}

get_libbpf() {
	unpack "$1" '*' "libbpf-dev:$2/$newest_suite"
}

get_qemu() {
	local deb
	progress "downloading qemu from Debian's $qemu_suite"
	private apt-get -qq -y -t "$qemu_suite" install --download-only --no-install-recommends \
		qemu-system-x86 qemu-system-arm </dev/null >&2 ||
		unavailable "qemu cannot be downloaded (apt: $(apt_says))."
	for deb in "$packages"/cache/archives/*.deb; do
		dpkg-deb --extract "$deb" "$1"
	done
	rm "$packages"/cache/archives/*.deb
}

# A directory gets its name when it is complete.
directory() { # name function argument...
	local name=$cache/$1 work=$cache/partial
	shift
	if [ ! -e "$name" ]; then
		lists
		rm -rf "$work" "$work.deb"
		mkdir "$work"
		"$1" "$work" "${@:2}"
		mv "$work" "$name"
	fi
	found=$name
}

exec 9>"$cache/lock"
flock 9
case ${1-}/$# in
kernels/1)
	lists
	found=$cache/kernels
	# Whole at once: others may be reading it.
	private apt-cache pkgnames linux- | grep -E '^linux-(binary|image)-[0-9]' >"$found.new" ||
		unavailable "no packaged kernels (apt: $(apt_says))."
	mv "$found.new" "$found"
	;;
kernel/2)
	directory "$2" get_kernel "$2"
	found=$found/image
	;;
qemu/1) directory "qemu-$qemu_suite" get_qemu ;;
static/2) directory "static-$own_suite-$2" get_static "$2" ;;
libbpf/2) directory "libbpf-$newest_suite-$2" get_libbpf "$2" ;;
*)
	sed -n 's/^#   //p' "$0" >&2
	exit 2
	;;
esac
printf '%s\n' "$found"
