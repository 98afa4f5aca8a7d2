#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# bpf_header.sh OUTPUT FLAGS CLANG... - compile bpf_header.bpf.c with each clang,
# at -mcpu=v1 to v4, with a vmlinux.h and without, into the directory OUTPUT,
# and write there the list that the test bpf_header reads, a line each:
#
#	load FILE		an object that has to load and to read rightly
#	skip WHAT: REASON	not tried
#	fail WHAT: REASON	did not compile
#	refused WHAT		a wrong use, and the compiler said why
#	accepted WHAT		a wrong use, and nobody noticed
set -u

output=$1 flags=$2
shift 2
source=$(dirname "$0")
list=$output/variants.new
trap 'rm -f "$list"' EXIT

rm -rf "$output"
mkdir -p "$output"
: >"$list"

compile() { # CLANG CPU OUTPUT FLAG...
	clang=$1 cpu=$2 object=$3
	shift 3
	# FLAGS is a list: split it.
	# shellcheck disable=SC2086
	"$clang" -target bpf -g -O2 -mcpu="$cpu" $flags "$@" -I"$source" -Wall -Werror \
		-c "$source/bpf_header.bpf.c" -o "$object" 2>"$output/errors"
}

compile_variant() { # NAME-OF-CLANG CLANG CPU TYPES FLAG...
	what=$1.$3.$4 clang=$2 cpu=$3
	shift 4
	if compile "$clang" "$cpu" "$output/$what.bpf.o" "$@"; then
		echo "load $what.bpf.o"
	else
		echo "fail $what: $(grep -m 1 error "$output/errors")"
	fi >>"$list"
}

# All variants of one clang.
compile_all() { # NAME CLANG
	for cpu in v1 v2 v3 v4; do
		if ! echo 'int x;' | "$2" -target bpf -mcpu=$cpu -x c -c - -o "$output/probe.o" 2>"$output/errors"; then
			echo "skip $1.$cpu: this clang has no -mcpu=$cpu" >>"$list"
			continue
		fi
		compile_variant "$1" "$2" $cpu plain
		if [ -s "$output/vmlinux.h" ]; then
			compile_variant "$1" "$2" $cpu vmlinux -DTEST_VMLINUX -I"$output"
		fi
	done
}

# What the header has to turn away, naming the macro in question.
expect_refusal() { # WHAT WORD FLAG...
	what=$1 word=$2
	shift 2
	if ! compile "$first" v3 "$output/probe.o" "$@" && grep -q "$word" "$output/errors"; then
		echo "refused $what"
	else
		echo "accepted $what"
	fi >>"$list"
}

bpftool=$(PATH=$PATH:/usr/sbin:/sbin command -v bpftool)
if [ -z "$bpftool" ] ||
   ! "$bpftool" btf dump file /sys/kernel/btf/vmlinux format c >"$output/vmlinux.h" 2>"$output/errors"; then
	rm -f "$output/vmlinux.h"
	echo "skip vmlinux.h: bpftool cannot make one here" >>"$list"
fi

first=$1
for clang in "$@"; do
	if [ "$clang" = "$first" ]; then
		compile_all clang "$clang"
	elif command -v "$clang" >/dev/null; then
		compile_all "$clang" "$clang"
	else
		echo "skip $clang: not installed" >>"$list"
	fi
done

expect_refusal "TLD_NAME_LEN other than 62" TLD_NAME_LEN -DTLD_NAME_LEN=32
compile_variant clang "$first" v3 name_len -DTLD_NAME_LEN=62

rm -f "$output/probe.o" "$output/errors"
mv "$list" "$output/variants"
