#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Runs the kernel tree's own selftest of task local data, unmodified, against
# this project's headers and library. See usage() below.

set -euo pipefail

usage() {
	cat <<-'EOF'
		usage: kselftest.sh [--tap] [CASE]

		Compiles a kernel tree's prog_tests/test_task_local_data.c and
		progs/test_task_local_data.c where they are, with this project's
		headers or with the kernel's on either side: four pairings, of
		which the kernel's with the kernel's is the control. Runs each in
		one process, then each case in a process of its own. CASE: that
		case alone. --tap: TAP on stdout.

		A pairing passes if no assertion fails and it makes as many as
		the control. Exit status: 0 passed, 1 failed, 77 not possible here
		(with --tap 0 and a plan that says so).

		Environment:
		  KSRC=<tree>     kernel tree; default: the newest that Debian
		                  packages, fetched once by kernel-source.sh
		  KSRC_REFRESH=1  look for a newer one than was fetched
		  BUILD=<dir>     has libtld.so; results go to its kselftest/
		                  (default: build in the project's directory)
		  STRICT=1        not possible counts as failed
		  CC              compiler for the programs (default: gcc)
		  BPF_CLANG       clang for BPF (default: the Swift toolchain's)
		  SUDO            prefix for what needs privileges, as "sudo -n"
	EOF
}

# The selftest of Linux 7.2 and 7.3: its two .c files, and the number of
# assertions it makes on 4 KiB pages. With other files the control's number is
# all there is to compare with.
known_selftest=6bf80ca1f1c138397c17de86cd17f86c8df9f86d5bc0e6fa01ef33f4dfc386da
known_assertions=25748

here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../../.." && pwd)
strict=${STRICT-}
tap=
only_case=

for argument; do
	case $argument in
	--tap) tap=yes ;;
	--help | -h)
		usage
		exit 0
		;;
	-*)
		usage >&2
		exit 2
		;;
	*) only_case=$argument ;;
	esac
done

# For people only.
say() {
	[ -n "$tap" ] || printf '%s\n' "$1"
}

# Ends a run that could not begin.
fail() {
	if [ -n "$tap" ]; then
		printf '1..1\nnot ok 1 - kernel selftest: %s\n' "$1"
	else
		printf 'kselftest: %s\n' "$1" >&2
	fi
	exit 1
}

skip() {
	if [ "$strict" = 1 ]; then
		fail "$1"
	elif [ -n "$tap" ]; then
		# To a TAP reader another status than 0 is a failure.
		printf '1..0 # SKIP kernel: %s\n' "$1"
		exit 0
	fi
	printf 'kselftest: skipped: %s\n' "$1"
	exit 77
}

trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- What the machine must have

cc=${CC:-gcc}
sudo=${SUDO-}

command -v "${cc%% *}" >/dev/null || fail "there is no C compiler $cc."
pkg-config --exists libbpf || fail 'pkg-config knows no libbpf (Debian: libbpf-dev).'
# An ordinary user's PATH need not have the directory that bpftool is in.
bpftool=$(PATH=$PATH:/usr/sbin:/sbin command -v bpftool) ||
	fail 'there is no bpftool (Debian: bpftool).'
bpf_clang=${BPF_CLANG-}
if [ -z "$bpf_clang" ]; then
	swiftc=$(command -v swiftc) ||
		fail 'there is no swiftc in PATH whose clang could compile for BPF; name one with BPF_CLANG=<clang>.'
	bpf_clang=$(dirname "$(readlink -f "$swiftc")")/clang
fi
command -v "$bpf_clang" >/dev/null || fail "there is no clang at $bpf_clang; name one with BPF_CLANG=<clang>."

kernel_btf=/sys/kernel/btf/vmlinux
[ -r "$kernel_btf" ] || skip "this kernel has no type information ($kernel_btf), which BPF programs need here."
$sudo "$bpftool" prog list >/dev/null 2>&1 ||
	skip 'BPF is not allowed to this user here; run it as root, on a kernel whose BPF is not locked down.'

if [ -n "${KSRC-}" ]; then
	ksrc=$(cd "$KSRC" 2>/dev/null && pwd) || fail "KSRC=$KSRC is no directory."
else
	refresh=
	[ "${KSRC_REFRESH-}" != 1 ] || refresh=--refresh
	status=0
	ksrc=$("$here/kernel-source.sh" $refresh) || status=$?
	if [ "$status" = 77 ]; then
		skip "no kernel source: $ksrc"
	elif [ "$status" != 0 ]; then
		fail 'the kernel source could not be fetched (see above).'
	fi
fi

selftests=$ksrc/tools/testing/selftests/bpf
user_test=$selftests/prog_tests/test_task_local_data.c
bpf_test=$selftests/progs/test_task_local_data.c
for file in "$user_test" "$bpf_test" "$ksrc/tools/lib/bpf/bpf_helpers.h"; do
	[ -r "$file" ] || fail "the kernel tree has no ${file#"$ksrc"/}."
done

build=${BUILD:-$project/build}
mkdir -p "$build"
build=$(cd "$build" && pwd)
library=$build/libtld.so
[ -e "$library" ] || fail "$library is not built; run make first."

# --- Building

# Everything anew: it takes three seconds, and nothing stale is ever tested. One
# run at a time.
out=$build/kselftest
exec 9>"$out.lock"
flock 9
rm -rf "$out"
mkdir -p "$out"/{user,bpf,kernel-libbpf,ours,kernel,log}

"$bpftool" btf dump file "$kernel_btf" format c >"$out/vmlinux.h" ||
	fail "bpftool cannot read $kernel_btf."
grep -qw BPF_UPTR "$out/vmlinux.h" ||
	skip "Linux $(uname -r) cannot show user memory to BPF programs (UPTR); that takes 6.13."

# Each .c file includes the header that lies beside it, where there is one. To
# get ours they are compiled through links in directories without any header.
ln -s "$user_test" "$out/user/"
ln -s "$bpf_test" "$out/bpf/"
# The kernel's BPF header wants its own tree's bpf_helpers.h, ours the system's.
ln -s "$ksrc/tools/lib/bpf" "$out/kernel-libbpf/bpf"

# A pairing that does not test what it says would pass unnoticed.
must_include() { # dependency-file header
	grep -qF -- " ${2// /\\ }" "$1" || fail "${1##*/} was compiled with another header than $2."
}

compile_bpf() { # ours|kernel
	local source header include libbpf flags
	libbpf=$(pkg-config --variable=includedir libbpf)
	case $1 in
	ours)
		source=$out/bpf/${bpf_test##*/}
		header=$project/bpf/task_local_data.bpf.h
		include=("-I$project/bpf" "-I$libbpf")
		;;
	kernel)
		source=$bpf_test
		header=$selftests/progs/task_local_data.bpf.h
		# bpf_helper_defs.h is generated, so the system's has to do.
		include=("-I$out/kernel-libbpf" -idirafter "$libbpf/bpf")
		;;
	esac
	# -mcpu=v3 as in the kernel's Makefile. Newer bpftools put kfuncs into
	# vmlinux.h, which bpf_helpers.h declares itself.
	flags=(-target bpf -mcpu=v3 -g -O2 -std=gnu11 -Wall
		-DBPF_NO_KFUNC_PROTOTYPES "-I$out" "-I$here/bpf-include")

	"$bpf_clang" "${flags[@]}" "${include[@]}" -MD -MF "$out/bpf-$1.d" \
		-c "$source" -o "$out/$1/test_task_local_data.bpf.o" ||
		fail "the BPF side does not compile with the header $header."
	must_include "$out/bpf-$1.d" "$header"
	"$bpftool" gen skeleton "$out/$1/test_task_local_data.bpf.o" \
		name test_task_local_data >"$out/$1/test_task_local_data.skel.h" ||
		fail "bpftool makes no skeleton of the BPF side with the header $header."
}

compile_program() { # user-side bpf-side
	local source header include link=() program=$out/user-$1-bpf-$2
	case $1 in
	ours)
		source=$out/user/${user_test##*/}
		header=$project/include/task_local_data.h
		include=("-I$project/include")
		link=("$library" "-Wl,-rpath,$build")
		;;
	kernel)
		source=$user_test
		header=$selftests/prog_tests/task_local_data.h
		include=()
		;;
	esac
	# CC and pkg-config's answer are lists of words.
	# shellcheck disable=SC2046,SC2086
	{
		$cc -std=gnu11 -O2 -g -Wall -pthread "-I$here" "-I$out/$2" \
			"${include[@]}" $(pkg-config --cflags libbpf) \
			-MD -MF "$program.d" -c "$source" -o "$program.o" &&
			$cc -pthread "$program.o" "$out/main.o" -o "$program" \
				"${link[@]}" $(pkg-config --libs libbpf)
	} || fail "the user side does not compile with the header $header."
	must_include "$program.d" "$header"
	if [ "$1" = ours ]; then
		[[ $(ldd "$program") = *"=> $library"* ]] ||
			fail "${program##*/} does not load $library."
	fi
}

pairings=(kernel-kernel ours-ours ours-kernel kernel-ours)
for side in ours kernel; do
	compile_bpf "$side"
done
# shellcheck disable=SC2046,SC2086  # lists of words, as above
$cc -std=gnu11 -O2 -g -Wall $(pkg-config --cflags libbpf) -c "$here/main.c" -o "$out/main.o" ||
	fail "main.c does not compile."
for pairing in "${pairings[@]}"; do
	compile_program "${pairing%-*}" "${pairing#*-}"
done

mapfile -t cases < <("$out/user-kernel-bpf-kernel" --list)
[ "${#cases[@]}" -gt 0 ] || fail 'the selftest has no cases.'
if [ -n "$only_case" ]; then
	[[ " ${cases[*]} " = *" $only_case "* ]] ||
		fail "there is no case $only_case; there are ${cases[*]}."
	cases=("$only_case")
fi

# --- Running

page_size=$(getconf PAGESIZE)
checksum=$(cat "$user_test" "$bpf_test" | sha256sum)
expected=
if [ "$page_size" = 4096 ] && [ "${checksum%% *}" = "$known_selftest" ]; then
	expected=$known_assertions
fi

tree=$ksrc
if [ -r "$ksrc/Makefile" ]; then
	tree="Linux $(awk '$2 == "=" && /^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)/ { v[$1] = $3 }
		END { print v["VERSION"] "." v["PATCHLEVEL"] "." v["SUBLEVEL"] v["EXTRAVERSION"] }' \
		"$ksrc/Makefile"), $ksrc"
fi

declare -A control # the control's number of assertions, by case ("all" for all)
points=0
bad=0

# Runs a case, or all of them, in one process. Sets passed, failed and, if that
# is not as it must be, complaint.
run() { # pairing case|all
	local log=$out/log/$1.$2 status=0 program counts total
	program=$out/user-${1%-*}-bpf-${1#*-}
	counts=
	# The outer redirection silences bash, which would announce a crash.
	{
		if [ "$2" = all ]; then
			counts=$($sudo "$program" 2>"$log") || status=$?
		else
			counts=$($sudo "$program" "$2" 2>"$log") || status=$?
		fi
	} 2>/dev/null

	complaint=
	if ! [[ $counts =~ ^([0-9]+)" passed "([0-9]+)" failed"$ ]]; then
		passed=- failed=-
		case $status in
		142) complaint='did not end in time' ;; # main.c's SIGALRM
		129 | 1[3-9]?) complaint="died of SIG$(kill -l $((status - 128)))" ;;
		*) complaint="ended with status $status and told no result" ;;
		esac
		total=0
	else
		passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}
		total=$((passed + failed))
	fi
	if [ "$1" = kernel-kernel ]; then
		control[$2]=$total
	fi

	if [ -n "$complaint" ]; then
		return
	elif [ "$failed" != 0 ]; then
		complaint="assertions failed: $failed"
	elif [ "$status" != 0 ]; then
		complaint="ended with status $status"
	elif [ "$total" = 0 ]; then
		complaint='made no assertion'
	elif [ "$total" != "${control[$2]}" ]; then
		complaint="made $total assertions, the control ${control[$2]}"
	elif [ "$2" = all ] && [ -n "$expected" ] && [ "$total" != "$expected" ]; then
		complaint="made $total assertions instead of $expected"
	fi
}

# The first assertions that failed, and the end, where the verifier says why.
excerpt() { # file
	{
		if [ "$(wc -l <"$1")" -le 12 ]; then
			cat "$1"
		else
			head -n 4 "$1"
			echo "... $1"
			tail -n 8 "$1"
		fi
	} | cut -c -160 | sed 's/^/  /'
}

# Runs it and tells the result: a TAP point at once; for people what went wrong
# is kept for the end, behind the tables.
details=
check() { # pairing case|all
	local name="user side ${1%-*}, BPF side ${1#*-}, $2" verdict=ok detail=
	run "$1" "$2"
	points=$((points + 1))
	if [ -n "$complaint" ]; then
		verdict='not ok'
		bad=$((bad + 1))
		detail="$name: $complaint"$'\n'$(excerpt "$out/log/$1.$2")
	fi
	if [ -z "$tap" ]; then
		details+=${detail:+$'\n'$detail}
	else
		printf '%s %d - %s: %s passed, %s failed\n' "$verdict" "$points" "$name" "$passed" "$failed"
		[ -z "$detail" ] || printf '%s\n' "# ${detail//$'\n'/$'\n'# }"
	fi
}

say "selftest: $tree"
say "running on: Linux $(uname -r), $page_size-byte pages"
if [ -z "$expected" ]; then
	say "The number of assertions is not known beforehand (it is for the selftest of Linux 7.2"
	say "and 7.3 on 4 KiB pages: $known_assertions); all pairings must make as many as the control."
fi

rows=("${cases[@]}")
if [ -z "$only_case" ]; then
	rows+=(all)
fi
[ -z "$tap" ] || echo "1..$((${#pairings[@]} * ${#rows[@]}))"

if [ -z "$only_case" ]; then
	say ''
	say 'all cases in one process:'
	say "$(printf '  %-12s %-12s %8s %8s' 'user side' 'BPF side' passed failed)"
	for pairing in "${pairings[@]}"; do
		check "$pairing" all
		say "$(printf '  %-12s %-12s %8s %8s' "${pairing%-*}" "${pairing#*-}" "$passed" "$failed")"
	done
fi

say ''
say 'each case in a process of its own, passed/failed, by user side-BPF side:'
say "$(printf '  %-30s' '' && printf '%15s' "${pairings[@]}")"
for case in "${cases[@]}"; do
	row=$(printf '  %-30s' "$case")
	for pairing in "${pairings[@]}"; do
		check "$pairing" "$case"
		row+=$(printf '%15s' "$passed/$failed")
	done
	say "$row"
done

if [ "$bad" -gt 0 ]; then
	say "$details"
	say ''
	say "kselftest: FAILED, $bad of $points runs"
	exit 1
fi
say ''
say "kselftest: passed, $points runs"
