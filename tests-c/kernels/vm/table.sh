#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# table.sh [GUEST...] - fetches, boots and judges guests, all of guests.sh or those named
# (newest-x86-64 and the like are the last of their kind), and prints the table.
#
# Exit status 0: all that could be tried passed. What could not be fetched or does not
# boot is listed, and fails the run under STRICT=1.
#
# A guest that passed with the same kernel, initramfs and qemu is not booted again (column tries:
# before), except with FRESH=1, under STRICT=1, or with words for it.
#
# Environment: BUILD, MAKE; VM_AT_ONCE guests at a time, one more than processors, because
# each waits for a fifth of its time; VM_CPUS (1) in each;
# VM_SECONDS (900) for each; VM_PARAMETERS, words for guest.sh; VM_RESULTS, a directory.

set -euo pipefail

here=$(dirname "$0")
results=${VM_RESULTS:-$BUILD/vm/results} passed=$BUILD/vm/passed
tries=3 at_once=${VM_AT_ONCE:-$(($(nproc) + 1))}
export VM_CPUS=${VM_CPUS:-1} VM_SECONDS=${VM_SECONDS:-900}

progress() {
	echo "vm: $1" >&2
}

mkdir -p "$BUILD/vm"
exec 8>"$BUILD/vm/lock"
flock 8
rm -rf "$results"
mkdir -p "$results"

# --- Which

list=$("$here/guests.sh")
for kind in x86-64 arm64-4k arm64-16k; do
	newest=$(grep -- "-$kind " <<<"$list" | tail -n 1)
	declare "newest_${kind//-/_}=${newest%% *}"
done
names=()
for name in "${@:-all}"; do
	alias=${name//-/_}
	case $name in
	all) mapfile -t names < <(cut -d ' ' -f 1 <<<"$list") ;;
	newest-*) names+=("${!alias-$name}") ;;
	*) names+=("$name") ;;
	esac
done

# --- What is needed. A guest that lacks something has a file NAME/missing with the reason.

fetch() { # guest fetch.sh's words...
	local guest=$1
	shift
	found=$("$here/fetch.sh" "$@") || echo "not fetched: $found" >"$results/$guest/missing"
}

runnable=() flavours=()
for name in "${names[@]}"; do
	read -r _ machine page package < <(grep "^$name " <<<"$list") || {
		echo "there is no guest $name; make test-vm-list lists them" >&2
		exit 2
	}
	mkdir -p "$results/$name"
	if [ "$package" = - ]; then
		echo 'not packaged' >"$results/$name/missing"
		continue
	fi
	debian=${machine/x86-64/amd64}
	for needed in qemu "static amd64" "static $debian" "libbpf $debian" "kernel $package"; do
		# shellcheck disable=SC2086  # words
		fetch "$name" $needed
		[ ! -e "$results/$name/missing" ] || continue 2
	done
	echo "$found" >"$results/$name/image"
	runnable+=("$name")
	flavours+=("$BUILD/vm/$machine-$page.cpio")
done
if [ ${#runnable[@]} -gt 0 ]; then
	progress 'building what the guests run'
	mapfile -t flavours < <(printf '%s\n' "${flavours[@]}" | sort -u)
	"${MAKE:-make}" --no-print-directory -j 2 BUILD="$BUILD" "${flavours[@]}" >&2
	qemu=$("$here/fetch.sh" qemu)
fi

# --- Boots

told() { # guest word: what the guest told in a "total" line
	sed -n "s/^total $2 //p" "$results/$1/result" 2>/dev/null | tail -n 1
}

# What a guest's verdict depends on, as one word.
identity() { # image initramfs parameter...
	{
		cat "$1" "$2" "$here/boot.sh" "$qemu"/usr/bin/qemu-system-*
		echo "$VM_CPUS" "${@:3}"
	} | sha256sum | cut -d ' ' -f 1
}

is_whole() {
	[ -z "${VM_PARAMETERS-}${VM_OPTIONS-}" ]
}

passed_before() { # guest identity
	is_whole && [ "${FRESH-}" != 1 ] && [ "${STRICT-}" != 1 ] &&
		[ "$(cat "$passed/$1/identity" 2>/dev/null)" = "$2" ]
}

# The newest verdict, and only a pass at once.
remember() { # guest identity tries
	is_whole || return 0
	rm -rf "${passed:?}/$1"
	[ "$(verdict "$1")/$3" = pass/1 ] || return 0
	mkdir -p "$passed/$1"
	cp "$results/$1/result" "$passed/$1/result"
	echo "$2" >"$passed/$1/identity"
}

# Without its last line the emulator or the guest broke down: that, and nothing else, is
# tried again.
boot() { # guest
	local machine page identity parameters try from=$SECONDS
	read -ra parameters <<<"${VM_PARAMETERS-}"
	read -r _ machine page _ < <(grep "^$1 " <<<"$list")
	# shellcheck disable=SC2154  # declared above
	case $1 in
	6.12-*) parameters+=(TLD_UPTR=no) ;;
	"$newest_x86_64" | "$newest_arm64_4k" | "$newest_arm64_16k") parameters+=(TLD_LONG=yes) ;;
	esac
	identity=$(identity "$(cat "$results/$1/image")" "$BUILD/vm/$machine-$page.cpio" "${parameters[@]}")
	if passed_before "$1" "$identity"; then
		cp "$passed/$1/result" "$results/$1/result"
		echo before >"$results/$1/tries"
		progress "$1: passed before, with the same bytes; FRESH=1 boots it again"
		return
	fi
	for ((try = 1; try <= tries; try++)); do
		"$here/boot.sh" "$qemu" "$machine" "$(cat "$results/$1/image")" "$BUILD/vm/$machine-$page.cpio" \
			"$results/$1" "${parameters[@]}"
		! tail -n 1 "$results/$1/result" 2>/dev/null | grep -qx END || break
		cp "$results/$1/console" "$results/$1/console.$try"
	done
	try=$((try > tries ? tries : try))
	echo "$try" >"$results/$1/tries"
	remember "$1" "$identity" "$try"
	progress "$1: $(verdict "$1"), $((SECONDS - from)) s"
}

verdict() { # guest
	if [ -e "$results/$1/missing" ]; then
		cat "$results/$1/missing"
	elif [ -z "$(told "$1" kernel)" ]; then
		echo 'does not boot'
	elif ! tail -n 1 "$results/$1/result" | grep -qx END; then
		echo 'NO RESULT'
	elif grep -qx 'rc 0' "$results/$1/result"; then
		echo pass
	else
		echo FAIL
	fi
}

for name in "${runnable[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do
		wait -n
	done
	boot "$name" &
done
wait

# --- The table

failed=0 well=0 others=0
format='%-16s %-30s %6s %9s %8s %9s %10s %8s %8s %6s  %s\n'
# shellcheck disable=SC2059  # two uses of one format
{
	printf "$format" guest kernel page pairings 'C tests' programs sched_ext scx_hint tldctl tries verdict
	for name in "${names[@]}"; do
		is=$(verdict "$name")
		printf "$format" "$name" "$(told "$name" kernel)" "$(told "$name" page)" "$(told "$name" pairings)" \
			"$(told "$name" tests)" "$(told "$name" programs)" "$(told "$name" sched_ext)" \
			"$(told "$name" scx_hint)" "$(told "$name" tldctl)" \
			"$(cat "$results/$name/tries" 2>/dev/null)" "$is"
		case $is in
		pass) well=$((well + 1)) ;;
		*) others=$((others + 1)) ;;
		esac
		case $is in
		pass) ;;
		not* | does*) [ "${STRICT-}" != 1 ] || failed=1 ;;
		*) failed=1 ;;
		esac
	done
}
# What went wrong, in the guests' own words.
for name in "${names[@]}"; do
	case $(verdict "$name") in
	FAIL | NO*)
		printf '\n%s: %s\n' "$name" "$results/$name/result"
		grep -A 2 -E '^(bad: |not ok |Bail out)' "$results/$name/result" | cut -c -160 | head -n 40 || true
		grep -m 1 -A 2 'Kernel panic' "$results/$name/console" || tail -n 5 "$results/$name/console"
		;;
	esac
done
printf '\nguests: %d passed, %d failed\n' $well $others
exit $failed
