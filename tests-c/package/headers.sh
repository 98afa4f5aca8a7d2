#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# headers.sh - tld.h, task_local_data.h and tld_pin.h with every language standard,
# compiler and optimisation that we promise. The program of headers/ has translation
# units that include the headers in either order.
#
# "headers.sh one COMPILER LANGUAGE STANDARD OPTIONS" is one build, for xargs.
. "$(dirname "$0")/../support/run/script.sh"

warnings="-Wall -Wextra -Wpedantic -Werror"
units="$SRC/tests-c/package/headers/main.c $SRC/tests-c/package/headers/drop_in_first.c $SRC/tests-c/package/headers/new_first.c $SRC/tests-c/package/headers/pin_first.c"

# Leaves a file that is right or wrong, named after the compiler and standard.
one()
{
	compiler=$1 language=$2 standard=$3
	shift 3
	name=$(basename "$compiler").$standard
	program=$tmp/$name.$(echo "$*" | tr -d ' ')
	linker=
	# Only LLVM's own linker is sure to understand clang's link-time format.
	case "$name $*" in clang*-flto*) linker=-fuse-ld=lld ;; esac
	{
		"$compiler" -x "$language" -std="$standard" $warnings "$@" -I"$SRC/include" $units \
			$linker -L"$BUILD" -Wl,-rpath,"$BUILD" -ltld -o "$program" && "$program"
	} >"$program.log" 2>&1
	if [ $? = 0 ]; then
		mv "$program.log" "$program.right"
	else
		{ echo "with $*:"; cat "$program.log"; } >"$program.wrong"
	fi
	rm -f "$program" "$program.log"
}

if [ "${1:-}" = one ]; then
	shift
	one "$@"
	exit
fi

own_directory
export tmp

options="-O0
-O1
-O2
-O3
-O2 -flto
-O1 -fno-plt"

# The compiler's own spelling of a standard that was young when it came.
spelling()
{
	for name in "$3" "$4"; do
		echo | "$1" -x "$2" -std="$name" -E - >/dev/null 2>&1 && break
	done
	echo "$name"
}

# Compiler, language and standard, a line each.
combinations()
{
	for compiler in "$CC" "$CLANG"; do
		command -v "$compiler" >/dev/null || continue
		for standard in c11 c17 "$(spelling "$compiler" c c23 c2x)"; do
			echo "$compiler c $standard"
		done
		for standard in c++11 c++14 c++17 c++20 "$(spelling "$compiler" c++ c++23 c++2b)"; do
			echo "$compiler c++ $standard"
		done
	done
}

combinations >"$tmp/combinations"
while read -r combination; do
	echo "$options" | sed "s|^|$combination |"
done <"$tmp/combinations" | xargs -P "$(nproc)" -L 1 sh "$0" one

while read -r compiler language standard; do
	name=$(basename "$compiler").$standard
	sentence="$(basename "$compiler") -std=$standard compiles, links and runs, with every optimisation"
	right=$(find "$tmp" -name "$name.*.right" | wc -l)
	if [ "$right" = "$(echo "$options" | wc -l)" ]; then
		pass "$sentence"
	else
		fail "$sentence" "$(echo "$right builds right"; cat "$tmp/$name".*.wrong | head -n 30)"
	fi
done <"$tmp/combinations"

# What must not compile says why.
refuses_name_length()
{
	echo "#include \"$2\"" >"$tmp/refused.c"
	if "$1" -std=c11 -DTLD_NAME_LEN=32 -I"$SRC/include" -fsyntax-only "$tmp/refused.c" >"$tmp/refused" 2>&1; then
		echo "it compiles"
		return 1
	fi
	cat "$tmp/refused"
	grep -q 'error:.*TLD_NAME_LEN is part of the format that BPF programs read' "$tmp/refused"
}

refuses_without_gnu_source()
{
	echo '#include "tld_pin.h"' >"$tmp/refused.c"
	! "$1" -std=c11 -I"$SRC/include" -fsyntax-only "$tmp/refused.c" >"$tmp/refused" 2>&1 &&
		grep -q 'error:.*define _GNU_SOURCE' "$tmp/refused"
}

# Directories in which the compiler looks for headers, without libbpf's: symbolic
# links to all that is there, but for bpf/.
without_libbpf()
{
	mkdir "$tmp/system"
	echo | "$1" -x c -E -Wp,-v - 2>&1 >/dev/null | sed -n 's/^ \(\/.*\)/\1/p' >"$tmp/search"
	number=0
	while read -r directory; do
		number=$((number + 1))
		mkdir "$tmp/system/$number"
		for entry in "$directory"/*; do
			[ "$(basename "$entry")" = bpf ] || ln -s "$entry" "$tmp/system/$number/"
		done
		echo "-isystem $tmp/system/$number"
	done <"$tmp/search"
}

compiles_without_libbpf()
{
	compiler=$1
	rm -rf "$tmp/system"
	set -- $(without_libbpf "$compiler")
	echo '#include <bpf/bpf.h>' >"$tmp/libbpf.c"
	if "$compiler" -nostdinc "$@" -fsyntax-only "$tmp/libbpf.c" 2>/dev/null; then
		echo "libbpf's headers cannot be hidden"
		return 1
	fi
	"$compiler" -std=c11 $warnings -nostdinc "$@" -I"$SRC/include" $units \
		-L"$BUILD" -Wl,-rpath,"$BUILD" -ltld -o "$tmp/program" && "$tmp/program"
}

# With libbpf at hand the drop-in header includes it, as the kernel's does.
includes_libbpf()
{
	echo '#include "task_local_data.h"
int (*update)(int, const void *, const void *, __u64) = bpf_map_update_elem;' >"$tmp/libbpf.c"
	"$1" -std=c11 $warnings -I"$SRC/include" -fsyntax-only "$tmp/libbpf.c"
}

for compiler in "$CC" "$CLANG"; do
	name=$(basename "$compiler")
	if ! command -v "$compiler" >/dev/null; then
		skip "$name compiles, links and runs" "$compiler is not installed"
		continue
	fi
	ok "$name: TLD_NAME_LEN=32 is an error that says why, in tld.h" refuses_name_length "$compiler" tld.h
	ok "$name: and in task_local_data.h" refuses_name_length "$compiler" task_local_data.h
	ok "$name: tld_pin.h without _GNU_SOURCE is an error that says why" refuses_without_gnu_source "$compiler"
	ok "$name: the headers work where libbpf's are not installed" compiles_without_libbpf "$compiler"
	if [ -e /usr/include/bpf/bpf.h ]; then
		ok "$name: task_local_data.h brings libbpf's functions where they are" includes_libbpf "$compiler"
	else
		skip "$name: task_local_data.h brings libbpf's functions where they are" "libbpf is not installed"
	fi
done
finish
