# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# script.sh - what the test scripts share: where things are, a directory of their
# own that is gone when they are, and TAP. Sourced by them.
#
# From the environment: SRC, the repository; BUILD, where it was built; CC, CXX,
# CLANG, the compilers.

if [ -z "${SRC:-}" ]; then
	SRC=$(cd "$(dirname "$0")" && pwd)
	until [ -e "$SRC/Package.swift" ]; do SRC=$(dirname "$SRC"); done
fi
BUILD=${BUILD:-$SRC/build}
case $BUILD in /*) ;; *) BUILD=$SRC/$BUILD ;; esac
CC=${CC:-gcc}
CXX=${CXX:-g++}
if [ -z "${CLANG:-}" ]; then
	swiftc=$(readlink -f "$(command -v swiftc || true)")
	if [ -n "$swiftc" ]; then CLANG=$(dirname "$swiftc")/clang; else CLANG=clang; fi
fi
export SRC BUILD CC CXX CLANG LC_ALL=C

# Whatever a make around us says is not for the programs that we start.
unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR PREFIX LIBDIR INCLUDEDIR BPFINCLUDEDIR BINDIR DATADIR TLDCTL || true

points=0
failures=0

own_directory()
{
	tmp=$(mktemp -d) || exit 1
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

pass()
{
	points=$((points + 1))
	echo "ok $points - $*"
}

# The sentence, and what is to be shown.
fail()
{
	points=$((points + 1))
	failures=$((failures + 1))
	echo "not ok $points - $1"
	printf '%s\n' "$2" | sed 's/^/#   /'
}

skip()
{
	points=$((points + 1))
	echo "ok $points - $1 # SKIP $2"
}

# Sentence, then a command: its output is shown if it fails.
ok()
{
	sentence=$1
	shift
	if "$@" >"$tmp/output" 2>&1 </dev/null; then
		pass "$sentence"
	else
		fail "$sentence" "failed: $* $(echo; cat "$tmp/output")"
	fi
}

# Sentence, what was found, what was wanted: the differing lines are shown.
is()
{
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		printf '%s\n' "$2" >"$tmp/found"
		printf '%s\n' "$3" >"$tmp/wanted"
		fail "$1" "$(diff --label wanted --label found -U0 "$tmp/wanted" "$tmp/found" | sed '1,2d; /^@@/d')"
	fi
}

skip_all()
{
	echo "1..0 # SKIP $*"
	exit 0
}

bail()
{
	fail "the test can begin" "$*"
	finish
}

finish()
{
	echo "1..$points"
	[ $failures = 0 ]
	exit
}

# FILE LANGUAGE N: the N-th fenced block of a language in one of our texts.
block()
{
	awk -v language="$2" -v wanted="$3" '
		/^```/ { if (inside) { inside = 0 } else if ($0 == "```" language) { n++; inside = 1 } ; next }
		inside && n == wanted' "$SRC/$1"
}

# A directory for pins, which nobody else can have made. Sets pins.
own_pins()
{
	pins=/sys/fs/bpf/libtld-$1-$$
	mkdir -m 0755 "$pins" || bail "cannot make $pins"
	trap 'rm -rf "$pins" "$tmp"' EXIT
}

# Whether BPF objects can be pinned, in a bpffs that is mounted if need be.
may_pin()
{
	[ "$(id -u)" = 0 ] && { grep -q ' /sys/fs/bpf bpf ' /proc/mounts || mount -t bpf bpf /sys/fs/bpf 2>/dev/null; }
}
