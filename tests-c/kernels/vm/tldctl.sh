#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# tldctl.sh - tldctl on this kernel, as TAP: its BPF programs load and tell the truth. With
# TLD_UPTR=no: it says that the kernel cannot, with the exit status for that.

points=0

ok() { # sentence command...
	sentence=$1
	shift
	points=$((points + 1))
	if "$@"; then
		echo "ok $points - $sentence"
	else
		echo "not ok $points - $sentence"
		sed 's/^/# /' /tmp/said /tmp/errors
	fi
}

# With its own libraries: the guest has none.
tldctl() {
	/tldctl/ld-linux-x86-64.so.2 --library-path /tldctl /tldctl/tldctl "$@" >/tmp/said 2>/tmp/errors
}

ends_with() { # exit-status word...
	wanted=$1
	shift
	tldctl "$@"
	[ $? = "$wanted" ]
}

says() { # pattern
	grep -qE "$1" /tmp/said /tmp/errors
}

if [ "${TLD_UPTR-}" = no ]; then
	ok 'doctor: the kernel cannot' ends_with 5 doctor
	ok 'which it says' says 'Hints cannot work here'
	ok 'because of UPTRs' says '^\[no\].*UPTR'
	ok 'maps finds none' ends_with 0 maps
	ok 'list finds nobody' ends_with 0 list
	ok 'a map for programs cannot be made' ends_with 5 map create /sys/fs/bpf/hints/map
	ok 'because of the kernel' says '6\.13'
	ok 'and nothing is left of the attempt' [ ! -e /sys/fs/bpf/hints ]
	echo "1..$points"
	exit
fi

ok 'doctor: hints can work here' ends_with 0 doctor
ok 'which it says' says 'Hints can work here'

mkfifo /tmp/commands
/tldctl/publisher -t 3 -s 16 -s 24 -s 64 </tmp/commands >/tmp/published 2>&1 &
pid=$!
exec 3>/tmp/commands
for _ in $(seq 100); do
	! grep -q ready /tmp/published || break
	sleep 0.1
done

values() { # map wanted
	[ "$(awk -v map="$1" '/ in map / { here = $0 ~ " in map " map " " } here && $2 == "publisher" { print $3 }' /tmp/said |
		sort -n | tr '\n' ' ')" = "$2" ]
}

ok 'maps knows the three formats' ends_with 0 maps
ok '(v1)' says '\(v1\)'
ok '(v2)' says '\(v2\)'
ok '(native)' says '\(native\)'
ok 'list reads them' ends_with 0 list
for map in $(sed -n 's/^ready //p' /tmp/published); do
	ok "map $map: each thread with its value" values "$map" '100 101 102 '
done
ok 'set writes a value' ends_with 0 set "$pid" request 7
ok 'and says what was there' says 'is 7, was 100'
ok 'which get reads' ends_with 0 get "$pid" request
ok '7' says '^7$'
ok 'watch reads' ends_with 0 watch --json --iterations 1 request
ok 'three threads in three maps' [ "$(grep -o '"tid"' /tmp/said | wc -l)" = 9 ]
(
	while sleep 0.3; do
		echo wake >&3
	done
) &
waker=$!
ok 'record records' ends_with 0 record -o /tmp/recording --pid "$pid" --duration 2 request
ok 'and report knows' ends_with 0 report /tmp/recording
ok 'the thread that was woken' says '^ +101 '
kill "$waker" "$pid"
exec 3>&-
echo "1..$points"
