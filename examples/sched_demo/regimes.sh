#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# regimes.sh DIRECTORY ROUNDS MS PART... - load under one scheduler after the other, ROUNDS times.
#
# Runs in the guest, or as root on a machine that has sched_ext. DIRECTORY has scx_hint and
# sched_load, and for the part "server" http and http-load. Prints a line for each figure:
#
#	figure ROUND REGIME NAME VALUE...
#
# Parts: "load" (latency beside burners, and burners alone), "lies" (a program that calls all
# its threads interactive), "server".

set -u
directory=$1 rounds=$2 ms=$3
shift 3
cpus=$(nproc)
burners=$((2 * cpus)) wakers=$((2 * cpus))
pin=/sys/fs/bpf/sched_demo/tld_data_map
work=$(mktemp -d)
scheduler="" server=""

# Functions' output goes to files.
exec 3>&1
fail() {
	echo "failed: $1" >&3
	exit 1
}

# Whatever was started ends with this script.
clean_up() {
	for pid in $scheduler $server; do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

start_scheduler() { # option...
	"$directory/scx_hint" --pin $pin "$@" >"$work/scheduler" 2>&1 &
	scheduler=$!
	until grep -q '^scheduling' "$work/scheduler"; do
		kill -0 "$scheduler" 2>/dev/null || fail "scx_hint: $(cat "$work/scheduler")"
		sleep 0.1
	done
}

# It must be the one that scheduled all the time.
stop_scheduler() {
	kill -INT "$scheduler"
	wait "$scheduler" || fail "scx_hint: $(cat "$work/scheduler")"
	scheduler=
}

load() { # mode option...
	mode=$1
	shift
	"$directory/sched_load" "$mode" --rounds "$rate" --time "$ms" --pin $pin "$@" || fail "sched_load $mode"
}

figures() { # regime name file
	echo "figure $round $1 $2 $(cat "$3")"
}

# Threads that wake up, beside burners.
both() { # regime option-of-the-threads-that-wake-up...
	regime=$1
	shift
	load burn --threads $burners >"$work/burn" &
	burn=$!
	load wake --threads $wakers "$@" >"$work/wake"
	wait $burn || exit 1
	figures "$regime" beside "$work/burn"
	figures "$regime" latency "$work/wake"
}

alone() { # regime
	load burn --threads $burners >"$work/burn"
	figures "$1" alone "$work/burn"
}

# Two users, of whom the second has a quarter of the burners, and may lie.
two_users() { # regime option-of-the-second...
	regime=$1
	shift
	load burn --threads $((3 * cpus)) --uid 1000 --gid 1000 >"$work/first" &
	first=$!
	load burn --threads "$cpus" --uid 1001 --gid 1000 "$@" >"$work/second"
	wait $first || exit 1
	figures "$regime" others "$work/first"
	figures "$regime" liar "$work/second"
}

part_load() {
	both default
	both nice --nice -10
	alone default
	start_scheduler --no-hints
	both off --hint interactive
	alone off
	stop_scheduler
	start_scheduler
	both hints --hint interactive
	stop_scheduler
}

part_lies() {
	start_scheduler --group 1000 --mode 0660
	two_users honest
	two_users lying --hint interactive
	stop_scheduler
	start_scheduler --group 1000 --mode 0660 --trust uid:0
	two_users distrusted --hint interactive
	stop_scheduler
}

# Requests for which somebody waits, beside as many long ones as fill every processor twice.
serve() { # regime option...
	regime=$1
	shift
	"$directory/http" --threads 16 --pin $pin --rounds $((rate / 5)) "$@" >"$work/http" &
	server=$!
	until grep -q 'listening' "$work/http"; do
		kill -0 "$server" 2>/dev/null || fail "http"
		sleep 0.1
	done
	"$directory/http-load" --port "$(sed -n 's/.*127.0.0.1://p' "$work/http")" --realtime --interactive 8 \
		--think 10 --reports $burners --seconds $(((ms + 999) / 1000)) >"$work/requests" || fail "http-load"
	kill -INT "$server"
	wait "$server" || fail "http"
	server=
	sed -n "s/^\([a-z]*\) /figure $round $regime \1 /p" "$work/requests"
}

part_server() {
	serve default --no-hints
	start_scheduler --no-hints
	serve off
	stop_scheduler
	start_scheduler
	serve hints
	stop_scheduler
}

[ "$(id -u)" = 0 ] || fail "a scheduler takes root"
[ -e /sys/kernel/sched_ext ] || fail "this kernel has no sched_ext"
rate=$("$directory/sched_load" calibrate --threads "$cpus") || fail "sched_load calibrate"
[ "$(cat /sys/kernel/sched_ext/state)" = disabled ] || fail "a sched_ext scheduler runs already"
# The pin's mode would stay from one scheduler to the next.
rm -f $pin
round=1
while [ "$round" -le "$rounds" ]; do
	echo "round $round of $rounds"
	for part; do
		"part_$part" || fail "part $part"
	done
	round=$((round + 1))
done
echo "done"
