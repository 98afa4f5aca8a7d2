#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The dispatcher example: an accept thread tags the worker that it is going to wake, and
# BPF sees the tag before the worker runs. Its check is seen to fail as well.

. "$(dirname "$0")/../../../tests-c/support/run/script.sh"
own_directory
example=$BUILD/examples/dispatcher

run()
{
	"$example" "$@" >"$tmp/table" 2>"$tmp/errors" </dev/null
	status=$?
}

show()
{
	sed 's/^/# /' "$tmp/table" "$tmp/errors"
}

# A row's requests that were handed to sleeping workers, and those seen in time.
row()
{
	awk -v row="$1" '$1 == row { print $4, $5 }' "$tmp/table"
}

all_seen()
{
	row "$1" | awk '$1 > 0 && $1 == $2 { found = 1 } END { exit !found }'
}

run --seconds 2
[ $status != 77 ] || skip_all "kernel: $(cat "$tmp/errors")"
is "BPF sees each tag before its worker runs the first instruction of the request" "$status" 0
show
for kind in lookup search report total; do
	ok "workers slept before requests of row $kind, and each of these tags was seen in time" all_seen $kind
done
is "and there is nothing to complain of" "$(cat "$tmp/errors")" ""
for workers in 1 64; do
	run --seconds 1 --workers $workers
	is "so it is with $workers workers" "$status" 0
	ok "of which sleeping ones got requests ($workers)" all_seen total
done

run --seconds 1 --tag-late
is "a worker that is tagged after it was woken makes the exit status 1" "$status" 1
show
ok "BPF saw fewer tags than workers woke up" sh -c \
	'set -- $1; [ $# = 2 ] && [ "$1" -gt 0 ] && [ "$2" -lt "$1" ]' sh "$(row total)"
ok "the table says that it is a fault" grep -q FAULT "$tmp/table"
ok "a worker says which tag was seen for which request" \
	grep -Eq 'worker [0-9]+ woke up for request [1-9][0-9]*, .* said [0-9]+\.$' "$tmp/errors"

# Threads have gone to sleep this often since the example started.
sleeps()
{
	cat /proc/"$pid"/task/*/status 2>/dev/null |
		awk '$1 == "voluntary_ctxt_switches:" { n += $2 } END { print n + 0 }'
}

busy()
{
	tries=0
	while [ "$(sleeps)" -lt 500 ]; do
		tries=$((tries + 1))
		[ $tries -lt 1000 ] && kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.01
	done
}

start()
{
	"$example" "$@" >"$tmp/table" 2>"$tmp/errors" </dev/null &
	pid=$!
	trap 'kill -9 $pid 2>/dev/null; rm -rf "$tmp"' EXIT
	ok "the example gets to work in the background" busy
}

# A signal, and the exit status that it leads to; 137 if it leads to none within 10 s.
end()
{
	kill "$1" $pid
	tries=0
	while kill -0 $pid 2>/dev/null; do # the shell has reaped it when that fails
		tries=$((tries + 1))
		[ $tries -lt 1000 ] || kill -9 $pid
		sleep 0.01
	done
	wait $pid
	status=$?
	trap 'rm -rf "$tmp"' EXIT
}

start --seconds 600
end -INT
is "Ctrl-C ends it, with the exit status of what was seen so far" "$status" 0
ok "and with the table" all_seen total

# Workers that sleep are woken by this, too, and with the tag of their last request.
start --seconds 600
for _ in $(seq 200); do
	kill -STOP $pid
	kill -CONT $pid
	sleep 0.005
done
end -TERM
is "being stopped and continued 200 times raises no false alarm" "$status" 0

if [ "$(id -u)" = 0 ]; then
	# Copied to where that user may read it, with the library.
	chmod 755 "$tmp"
	cp "$example" "$BUILD/libtld.so.1" "$tmp"
	LD_LIBRARY_PATH=$tmp setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$tmp/dispatcher" --seconds 1 >"$tmp/table" 2>"$tmp/errors" </dev/null
	is "without privileges the exit status is 77" "$?" 77
	is "and one sentence says what is missing" "$(cat "$tmp/table" "$tmp/errors" | wc -l)" 1
	ok "and what to do" grep -q 'sudo\|root' "$tmp/errors"
else
	skip "without privileges the exit status is 77" "runs as root only, to have a user without"
fi
for nonsense in "--seconds 0" "--workers 65" "--workers two" "--nonsense" "nonsense"; do
	run $nonsense
	is "$nonsense is refused" "$status" 2
done
ok "--help shows the options" sh -c '"$1" --help | grep -q -- --tag-late' sh "$example"
finish
