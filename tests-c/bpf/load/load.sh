#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# load.sh OUTPUT FLAGS CLANG... - compile load.bpf.c with each clang, for each -mcpu, with a
# vmlinux.h and without, with the installed libbpf's headers and the newest, each time with
# both BPF headers, into the directory OUTPUT; and write there the list that the test load
# reads, words and then a text a line:
#
#	load HEADER COMPILER CPU TYPES LIBBPF TAG	TAG.bpf.o has to load and to read rightly
#	uses HEADER COMPILER CPU TYPES LIBBPF TAG	the same, of load_uses.bpf.c
#	keys|pinned|built|bare - COMPILER ... TAG	the other objects
#	fail HEADER COMPILER CPU TYPES LIBBPF REASON	did not compile
#	cannot - COMPILER CPU - - REASON		a combination that cannot exist
#	missing - WHAT - - - REASON			what this machine should have
#	refused|accepted HEADER COMPILER - - - WHAT	a wrong use, and what the compiler did
set -euo pipefail

export output=$1 flags=$2
shift 2
source=$(dirname "$0")
export source
list=$output/variants.new

rm -rf "$output"
mkdir -p "$output"
: >"$list"

note() { # WORD... TEXT
	echo "$*" >>"$list"
}

# The flags that make the headers, types and libbpfs what they are called. vmlinux.h is
# most of what there is to read: it is precompiled.
choose() { # HEADER COMPILER CPU TYPES LIBBPF
	[ "$1" != native ] || echo -DNATIVE
	[ "$4" != vmlinux ] || echo -DTEST_VMLINUX "-I$output" -include-pch "$output/$2.$3.pch"
	if [ "$5" = "$newest" ]; then echo "-I$newest_headers"; fi
}

compile() { # CLANG CPU TAG FLAG...
	# FLAGS is a list: split it.
	# shellcheck disable=SC2086
	"$1" $flags -mcpu="$2" "${@:4}" -I"$source" -Wall -Werror 2>"$output/$3.errors"
}

types_job() { # TAG COMPILER CLANG CPU
	compile "$3" "$4" "$1" -x c-header "$output/vmlinux.h" -o "$output/$2.$4.pch" ||
		echo "fail - $2 $4 vmlinux - $(grep -m 1 error "$output/$1.errors")"
	rm -f "$output/$1.errors"
}

compile_job() { # TAG VERDICT HEADER COMPILER CLANG CPU TYPES LIBBPF SOURCE FLAG...
	local row="$3 $4 $6 $7 $8"
	# shellcheck disable=SC2046  # lists
	if compile "$5" "$6" "$1" $(choose "$3" "$4" "$6" "$7" "$8") "${@:10}" "-DTEST_NAME=\"$1\"" \
			-c "$source/$9" -o "$output/$1.bpf.o"; then
		echo "$2 $row $1"
	else
		echo "fail $row $(grep -m 1 error "$output/$1.errors")"
	fi
	rm -f "$output/$1.errors"
}

# What a header has to turn down, saying why.
refuse_job() { # TAG HEADER COMPILER CLANG SENTENCE WHAT FLAG...
	local verdict=accepted
	# shellcheck disable=SC2046
	if ! compile "$4" v3 "$1" $(choose "$2" - - plain -) "${@:7}" -fsyntax-only "$source/load_refused.bpf.c" &&
	   grep -qF "$5" "$output/$1.errors"; then
		verdict=refused
	fi
	rm -f "$output/$1.errors"
	echo "$verdict $2 $3 - - - $6"
}
export -f choose compile types_job compile_job refuse_job

# --- What there is here -------------------------------------------------------

bpftool=$(PATH=$PATH:/usr/sbin:/sbin command -v bpftool) || bpftool=false
types=plain
if $bpftool btf dump file /sys/kernel/btf/vmlinux format c >"$output/vmlinux.h" 2>/dev/null; then
	types='plain vmlinux'
else
	note missing - vmlinux.h - - - 'bpftool cannot make one of /sys/kernel/btf/vmlinux'
fi

version() { # INCLUDE-DIRECTORY
	sed -n 's/^#define LIBBPF_M[AJINOR]*_VERSION //p' "$1/bpf/libbpf_version.h" | paste -sd.
}

libbpfs=libbpf-$(version /usr/include)
if newest_headers=$("$source/../../support/run/libbpf_headers.sh"); then
	newest=libbpf-$(version "$newest_headers")
	libbpfs="$libbpfs $newest"
else
	note missing - libbpf - - - "$newest_headers"
	newest=none
fi
export newest newest_headers
# Objects of one compiler and -mcpu, with two headers.
objects=$((2 * $(wc -w <<<"$types") * $(wc -w <<<"$libbpfs")))

# --- The jobs, a line of quoted words each --------------------------------------

tag=0
job() { # FUNCTION WORD...
	tag=$((tag + 1))
	printf '%q ' "$1" "tld$tag" "${@:2}"
	echo
}

# The uses once for each -mcpu, and with all that is newest.
objects_of() { # COMPILER CLANG CPU
	local header type libbpf
	for header in native drop-in; do
		job compile_job uses $header "$1" "$2" "$3" plain "${libbpfs%% *}" load_uses.bpf.c
		[ "$3" != v3 ] ||
			job compile_job uses $header "$1" "$2" "$3" "${types##* }" "${libbpfs##* }" load_uses.bpf.c
		for type in $types; do
			for libbpf in $libbpfs; do
				job compile_job load $header "$1" "$2" "$3" "$type" "$libbpf" load.bpf.c
			done
		done
	done
}

wrong_uses() { # COMPILER CLANG
	local wrong="job refuse_job" many
	many=$(seq -s, -f 'key_%g' 64)
	$wrong native "$1" "$2" 'include either' 'both headers in one object' \
		'-DOTHER_HEADER="task_local_data.bpf.h"'
	$wrong drop-in "$1" "$2" 'include either' 'both headers in one object, in the other order' \
		'-DOTHER_HEADER="tld.bpf.h"'
	$wrong native "$1" "$2" 'takes 1 to 63 names' 'TLD_KEYS() without a name' -DKEYS=
	$wrong native "$1" "$2" 'takes 1 to 63 names' 'TLD_KEYS() with 64 names' "-DKEYS=$many"
	$wrong drop-in "$1" "$2" 'too many members' 'the 64th member of struct tld_keys' -DMEMBERS=63
	$wrong native "$1" "$2" 'a literal of 1 to 61 bytes' 'an empty name' '-DNAME=""'
	$wrong native "$1" "$2" 'a literal of 1 to 61 bytes' 'a name of 62 bytes' \
		"-DNAME=\"$(printf %062d 0)\""
	for header in native drop-in; do
		$wrong $header "$1" "$2" 'the size of a TLD' 'size 0' -DSIZE=0
		$wrong $header "$1" "$2" 'the size of a TLD' 'the size of a page' -DSIZE=4096
		$wrong $header "$1" "$2" 'TLD_NAME_LEN' 'TLD_NAME_LEN other than 62' -DTLD_NAME_LEN=32
	done
}

# The limits that are allowed.
other_objects() { # COMPILER CLANG
	local libbpf=${libbpfs%% *}
	job compile_job keys native "$1" "$2" v3 plain "$libbpf" load_keys.bpf.c -DONE_KEY -DTLD_MAP_NAME=hints
	job compile_job pinned native "$1" "$2" v3 plain "$libbpf" load_keys.bpf.c -DTLD_PINNED
	job compile_job built native "$1" "$2" v3 plain "$libbpf" load_refused.bpf.c \
		"-DNAME=\"$(printf %061d 0)\"" -DSIZE=4095 -DTLD_NAME_LEN=62
	job compile_job built drop-in "$1" "$2" v3 plain "$libbpf" load_refused.bpf.c \
		-DMEMBERS=62 -DSIZE=4095 -DTLD_NAME_LEN=62
}

objects_of_all_cpus() { # COMPILER CLANG
	for cpu in v1 v2 v3 v4; do
		if "$2" -target bpf -mcpu=$cpu -x c -c /dev/null -o "$output/probe.o" 2>/dev/null; then
			[ "$types" = plain ] || job types_job "$1" "$2" $cpu >>"$output/first"
			objects_of "$1" "$2" $cpu
		else
			note cannot - "$1" $cpu - - "$objects objects: this clang has no -mcpu=$cpu"
		fi
	done
	rm -f "$output/probe.o"
}

# GCC has type tags from 16 on; without them no map has UPTRs.
gcc_bpf() {
	if ! command -v bpf-gcc >/dev/null; then
		note missing - gcc-bpf - - - 'not installed'
	elif echo 'int __attribute__((btf_type_tag("uptr"))) *x;' |
	     bpf-gcc -Werror -x c -fsyntax-only - 2>/dev/null; then
		note fail - gcc-bpf - - - "$(bpf-gcc -dumpversion) has btf_type_tag: to be made part of the matrix"
	else
		note cannot - gcc-bpf - - - \
			"$((4 * objects)) objects: $(bpf-gcc -dumpversion) has no btf_type_tag, so no map has UPTRs"
	fi
}

in_parallel() {
	xargs -r -P "$(nproc)" -d '\n' -n 1 bash -c >>"$list"
}

first=$1
: >"$output/first"
{
	job compile_job bare - clang "$first" v3 plain "${libbpfs%% *}" load.bpf.c -DBARE
	for clang in "$@"; do
		name=$clang
		[ "$clang" != "$first" ] || name=clang
		if command -v "$clang" >/dev/null; then
			objects_of_all_cpus "$name" "$clang"
			other_objects "$name" "$clang"
			wrong_uses "$name" "$clang"
		else
			note missing - "$clang" - - - 'not installed'
		fi
	done
	gcc_bpf
} >"$output/then"
in_parallel <"$output/first"
in_parallel <"$output/then"
rm -f "$output"/*.pch "$output/first" "$output/then"

sort -V -k 2,6 -k 1,1 -o "$list" "$list"
mv "$list" "$output/variants"
