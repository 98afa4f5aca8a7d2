#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# guest.sh - what a guest runs. Passes on what each program prints; the lines that begin
# with "total" are for the table. Exit status 0: all is as it must be.
#
# From the kernel's command line: TLD_UPTR=no, this kernel has no UPTR; TLD_PARTS=a,b, not
# all parts; TLD_LONG=yes, the tests of /long, too; TLD_STRESS=a,b,c, hint_stress's words;
# TLD_PROVOKE=fail, panic or hang, what becomes of such a guest.

# busybox has ulimit -s
# shellcheck disable=SC3045
limit=120 # seconds for a program, which nothing takes that is well
failed=0
good=0 points=0 verdict=none # of the last program, by judge.awk

wanted() { # part
	case ,${TLD_PARTS-$1}, in
	*",$1,"*) true ;;
	*) false ;;
	esac
}

# Runs a program, and tells what became of it.
run() { # name command...
	echo "== $1"
	shift
	from=$(cut -d ' ' -f 1 /proc/uptime)
	timeout -s KILL $limit "$@" >/tmp/output 2>&1
	status=$?
	cat /tmp/output
	to=$(cut -d ' ' -f 1 /proc/uptime)
	echo "exit $status after $(echo "$to $from" | awk '{ print $1 - $2 }') s"
}

# The same for one that prints TAP. Sets good, points and verdict.
run_tap() { # name command...
	run "$@"
	eval "$(awk -v status="$status" -v lacking="$lacking" -f /judge.awk /tmp/output)"
	if [ "$verdict" = bad ]; then
		failed=1
		echo "bad: $1"
	fi
}

# The kernel's own selftest, its header or ours on either side: as many assertions as
# with its own on both, and none that fails. Before 6.18 task storage cannot be had by one syscall
# program while another is at it: the kernel's own headers fail there now and then, and may again.
selftest() {
	tries=1
	case $(uname -r) in
	6.1[0-7].*) tries=3 ;;
	esac
	# Thousands of threads: the C library keeps small stacks for the next ones.
	stacks=$(ulimit -s)
	ulimit -S -s 256
	export GLIBC_TUNABLES=glibc.pthread.stack_cache_size=0x10000000
	passed=0 control=
	for pairing in kernel-bpf-kernel ours-bpf-ours ours-bpf-kernel kernel-bpf-ours; do
		for _ in $(seq $tries); do
			run "selftest, user side $pairing" /selftest/user-$pairing
			count=$(sed -n 's/^\([1-9][0-9]*\) passed 0 failed$/\1/p' /tmp/output)
			[ -z "$count" ] || break
		done
		: "${control:=$count}"
		if [ "$status" = 0 ] && [ -n "$count" ] && [ "$count" = "$control" ]; then
			passed=$((passed + 1))
		else
			failed=1
			echo "bad: selftest $pairing"
		fi
	done
	ulimit -S -s "$stacks"
	unset GLIBC_TUNABLES
	echo "total pairings $passed/4"
}

tests() {
	all=0 well=0 skipped=0 all_points=0
	for test in /tests/*; do
		case ${test##*/} in
		*.* | load_all* | traced | sched | no_uptr) continue ;;
		esac
		[ "${TLD_LONG-}" = yes ] || ! grep -qx "${test##*/}" /long || continue
		run_tap "${test##*/}" "$test"
		all_points=$((all_points + good))
		case $verdict in
		ok) well=$((well + 1)) all=$((all + 1)) ;;
		bad) all=$((all + 1)) ;;
		skip) skipped=$((skipped + 1)) ;;
		esac
	done
	if [ "${TLD_UPTR-}" = no ]; then
		run_tap no_uptr /tests/no_uptr
	fi
	echo "total tests $well/$all"
	echo "total skipped $skipped"
	echo "total points $all_points"
}

# With libbpf 1.1 and, some, with the newest.
load() {
	run_tap load_all /tests/load_all ${refused:+"$refused"} /load/*.v1.* /load/traced.*
	loaded=$good programs=$points
	run_tap load_all_newest /tests/load_all_newest ${refused:+"$refused"} /load/*.v4.* /load/traced.*
	loaded=$((loaded + good)) programs=$((programs + points))
	echo "total programs $loaded/$programs"
	[ -n "$refused" ] || run_tap traced /tests/traced
}

sched() {
	verdict=none
	[ ! -e /sys/kernel/sched_ext ] || run_tap sched /tests/sched
	if [ "$verdict" = ok ]; then
		echo 'total sched_ext yes'
	else
		echo 'total sched_ext no'
	fi
}

# The scheduler of examples, with libbpf 1.1 and the newest: "yes", or for which known want
# of the kernel it rightly refused to run.
hint() {
	limit=300 # it starts the scheduler four times, and the verifier is slow here
	run_tap hint /hint/hint
	[ "$verdict" = ok ] && word=$(sed -n 's/^# scx_hint: //p' /tmp/output) || word=FAIL
	echo "total scx_hint $word"
}

# The tool, where it is built for this machine.
tldctl() {
	word=-
	if [ -e /tldctl/tldctl ]; then
		run_tap tldctl /tldctl.sh
		[ "$verdict" = ok ] && word=${refused:+refuses} word=${word:-yes} || word=FAIL
	fi
	echo "total tldctl $word"
}

# The same scheduler for longer, in guests of their own: see test-hint in mk/guests.mk.
stress() {
	limit=1000
	# shellcheck disable=SC2046  # words
	run_tap stress /hint/hint_stress $(echo "$TLD_STRESS" | tr , ' ')
}

budget() {
	run_tap budget /hint/hint_budget
}

lacking=no refused=
if [ "${TLD_UPTR-}" = no ]; then
	lacking=yes refused=--refused
fi
uname -srvm
echo "total kernel $(uname -r)"
echo "total page $(awk '/^KernelPageSize/ { print $2 * 1024; exit }' /proc/self/smaps)"
if [ -z "$refused" ] && wanted selftest; then selftest; fi
if wanted tests; then tests; fi
if wanted load; then load; fi
if wanted sched; then sched; fi
if wanted hint; then hint; fi
if wanted tldctl; then tldctl; fi
# Not what each guest does.
if [ -n "${TLD_PARTS-}" ] && wanted stress; then stress; fi
if [ -n "${TLD_PARTS-}" ] && wanted budget; then budget; fi
case ${TLD_PROVOKE-} in
fail) run_tap provoked false ;;
panic) echo c >/proc/sysrq-trigger ;;
hang) sleep 1000000 ;;
esac
echo "total seconds $(cut -d . -f 1 /proc/uptime)"
exit $failed
