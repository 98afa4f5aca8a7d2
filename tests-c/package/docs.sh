#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The examples of docs/guide/bpf.md as printed: each BPF program compiles and loads, and the
# loader's question about the kernel is answered rightly. And the texts lead nowhere in vain: each
# link and each path that they name is there.

. "$(dirname "$0")/../support/run/script.sh"
own_directory
PATH=$PATH:/usr/sbin
pins=
! may_pin || own_pins docs

compiles()
{
	"$CLANG" -target bpf -g -O2 -Wall -Werror "-I/usr/include/$(uname -m)-linux-gnu" "-I$SRC/bpf" -c "$1" -o "$2"
}

# Links to files, of each text.
lost_links()
{
	cd "$SRC" && grep -oE '\]\([^)#: ]+' ./*.md docs/*.md docs/*/*.md examples/*/*.md | while IFS=: read -r text link; do
		[ "${link#*(}" = https ] || [ -e "$(dirname "$text")/${link#*(}" ] || echo "$text: ${link#*(}"
	done
}
is "each link leads to a file" "$(lost_links)" ""
# Paths of ours that the texts name, and those of texts that any source names.
lost_paths()
{
	cd "$SRC" && {
		grep -rhoE '\bdocs/[A-Za-z0-9_./-]*[A-Za-z0-9_]' Makefile Sources bpf examples include mk tests-c
		grep -hoE '`(docs|tests-c|mk|Sources|examples|Tests)/[A-Za-z0-9_./-]*`' ./*.md docs/*.md docs/*/*.md | tr -d '`'
	} | sort -u | while read -r path; do
		[ -e "$path" ] || echo "$path"
	done
}
is "each path that they name is there" "$(lost_paths)" ""

number=1 examples=0
while block docs/guide/bpf.md c $number >"$tmp/example.bpf.c" && [ -s "$tmp/example.bpf.c" ]; do
	if grep -q '^SEC(' "$tmp/example.bpf.c"; then
		examples=$((examples + 1))
		what="example $examples, of $(grep -o '"[a-z_.]*\.bpf\.h"' "$tmp/example.bpf.c")"
		ok "$what, compiles" compiles "$tmp/example.bpf.c" "$tmp/$examples.bpf.o"
		if [ -n "$pins" ]; then
			ok "and loads" bpftool prog loadall "$tmp/$examples.bpf.o" "$pins/$examples"
		else
			skip "and loads" "kernel: needs root and a bpffs"
		fi
	elif grep -q 'tld_pin.h' "$tmp/example.bpf.c"; then
		ok "the example of pinning compiles" "$CC" -D_GNU_SOURCE -Wall -Wextra -Werror "-I$SRC/include" \
			-x c -c "$tmp/example.bpf.c" -o "$tmp/pinning.o"
		pinning=1
	elif grep -q '^int main' "$tmp/example.bpf.c"; then
		cp "$tmp/example.bpf.c" "$tmp/loader.c"
	fi
	number=$((number + 1))
done
is "there are that many, and one of pinning" "$examples ${pinning-none}" "3 1"

cat >"$tmp/kernels.c" <<'EOF'
#define main loader
#include "loader.c"
#undef main

/* Kernels as they were: without the type, with it but without UPTRs, and with them. */
int main(void)
{
	struct btf *kernel = btf__new_empty();

	if (has_uptr(kernel))
		return 1;
	if (btf__add_enum(kernel, "btf_field_type", 4) < 0 || btf__add_enum_value(kernel, "BPF_KPTR", 1))
		return 2;
	if (has_uptr(kernel))
		return 3;
	if (btf__add_enum_value(kernel, "BPF_UPTR", 2))
		return 4;
	return !has_uptr(kernel);
}
EOF
libbpf="$(pkg-config --cflags --libs libbpf) -lelf -lz"
# A list of words.
# shellcheck disable=SC2086
{
	ok "the loader compiles" "$CC" -Wall -Wextra -Werror "$tmp/loader.c" -o "$tmp/loader" $libbpf
	ok "and for doctored kernels" "$CC" -Wall -Wextra -Werror "$tmp/kernels.c" -o "$tmp/kernels" $libbpf
}
ok "it knows kernels without UPTRs from one with them" "$tmp/kernels"
if [ -r /sys/kernel/btf/vmlinux ]; then
	ok "and takes the one at hand, which loads the examples" "$tmp/loader"
else
	skip "and takes the one at hand" "kernel: has no BTF"
fi
finish
