#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The HTTP server: what it answers to good and bad requests, how it ends, its hints as BPF
# sees them, the load generator, and the difference that docs/guide/sched-server.md shows.

. "$(dirname "$0")/../../../tests-c/support/run/script.sh"
own_directory
server=$BUILD/examples/http
load=$BUILD/examples/http-load
tldctl=$BUILD/bin/tldctl
pin=/sys/fs/bpf/libtld-http-$$/tld_data_map
interactive=1153202979583557632 # version 1, class 1 and 2, as sched_hint.h has them
background=1153484454560268288
lookup='GET /lookup HTTP/1.1\r\nHost: a\r\n\r\n'
report='GET /report HTTP/1.1\r\nHost: a\r\n\r\n'

pid=
clean()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
	[ ! -e "$pin" ] || "$tldctl" map remove "$pin"
	rm -rf "$tmp"
}
trap clean EXIT

# A command, until it succeeds, for at most 20 s.
await()
{
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || return 1
		sleep 0.05
	done
}

# Start a server. Sets pid and port.
start()
{
	rm -f "$tmp/said" # of the one before, lest it be taken for this one's
	"$@" >"$tmp/said" 2>"$tmp/errors" </dev/null &
	pid=$!
	ok "the server starts" await grep -q 'listening on 127.0.0.1:[1-9]' "$tmp/said"
	port=$(sed -n 's/.*127.0.0.1://p' "$tmp/said")
}

# A signal to the server, and the exit status that it leads to; 137 if it leads to none in 20 s.
end()
{
	kill "$1" "$pid"
	ended || kill -9 "$pid"
	wait "$pid"
	status=$?
	pid=
}

ended()
{
	tries=0
	while kill -0 "$pid" 2>/dev/null; do # the shell has reaped it when that fails
		tries=$((tries + 1))
		[ $tries -lt 400 ] || return 1
		sleep 0.05
	done
}

ask()
{
	python3 "$SRC/examples/http/test/ask.py" "$@" 2>&1
}

# Sentence, the answers wanted, texts to send.
answers()
{
	sentence=$1 wanted=$2
	shift 2
	is "$sentence" "$(ask ask "$port" "$@")" "$wanted"
}

# LOW HIGH NUMBER
within()
{
	echo "$3, wanted: from $1 to $2"
	[ "$3" -ge "$1" ] && [ "$3" -le "$2" ]
}

descriptors()
{
	find "/proc/$pid/fd" -type l | wc -l
}

# The server's own words about its threads.
says()
{
	ask get "$port" / | grep -q "$1"
}

# --- Requests, good and bad --------------------------------------------------------

start "$server" --no-hints --rounds 1000 --threads 4
at_first=$(descriptors)
long=$(printf '%05000d' 0)
host='Host: a\r\n'
answers "/ is answered" "200 keep-alive" "GET / HTTP/1.1\r\n$host\r\n"
answers "/lookup is answered" "200 keep-alive" "$lookup"
answers "/report is answered" "200 keep-alive" "$report"
answers "a query does not matter" "200 keep-alive" "GET /lookup?report HTTP/1.1\r\n$host\r\n"
answers "another path is not found" "404 keep-alive" "GET /lookups HTTP/1.1\r\n$host\r\n"
answers "requests that are sent at once are answered in their order" \
	"200 keep-alive 404 keep-alive 200 keep-alive" "$lookup""GET /a HTTP/1.1\r\n$host\r\n$report"
# Without an end of input, which would bring the dispatcher back to the connection as well.
is "also while the connection stays open" "$(ask hold "$port" "$lookup$report""GET / HTTP/1.0\r\n\r\n")" \
	"200 keep-alive 200 keep-alive 200 close"
answers "a request may come in pieces" "200 keep-alive" "GET /loo" "kup HTTP/1.1\r" "\n$host\r" "\n"
answers "an empty line may come before it" "200 keep-alive" "\r\n$lookup"
answers "Connection: close is obeyed" "200 close" "GET / HTTP/1.1\r\n$host""Connection: close\r\n\r\n$lookup"
answers "among other words, whatever the case" "200 close" "GET / HTTP/1.1\r\nhost:a\r\nconnection:\tTE ,CLOSE \r\n\r\n"
answers "HTTP/1.0 needs no Host, and is closed" "200 close" "GET /lookup HTTP/1.0\r\n\r\n"
answers "a body of no bytes is none" "200 keep-alive" "GET / HTTP/1.1\r\n$host""Content-Length: 0\r\n\r\n"
answers "methods other than GET are refused" "405 close" "POST / HTTP/1.1\r\n$host""Content-Length: 3\r\n\r\nabc"
answers "HEAD too" "405 close" "HEAD / HTTP/1.1\r\n$host\r\n"
answers "a body is refused, and not taken for a request" "413 close" "GET / HTTP/1.1\r\n$host""Content-Length: 38\r\n\r\n$lookup"
answers "a chunked one too" "413 close" "GET / HTTP/1.1\r\n$host""Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
answers "other versions are refused" "505 close" "GET / HTTP/2.0\r\n$host\r\n"
answers "a field that is too long is refused" "431 close" "GET / HTTP/1.1\r\n$host""a: $long\r\n\r\n"
answers "a path that is too long is refused" "414 close" "GET /$long HTTP/1.1\r\n$host\r\n"
bad()
{
	answers "malformed: $1" "400 close" "$2$lookup"
}
bad "no Host" "GET / HTTP/1.1\r\n\r\n"
bad "two Hosts" "GET / HTTP/1.1\r\n$host$host\r\n"
bad "no version" "GET /\r\n$host\r\n"
bad "no path" "GET HTTP/1.1\r\n$host\r\n"
bad "a path that does not begin with a slash" "GET lookup HTTP/1.1\r\n$host\r\n"
bad "two spaces" "GET  / HTTP/1.1\r\n$host\r\n"
bad "a word too many" "GET / / HTTP/1.1\r\n$host\r\n"
bad "a space before the method" " GET / HTTP/1.1\r\n$host\r\n"
bad "a version that is none" "GET / HTPP/1.1\r\n$host\r\n"
bad "a field without a colon" "GET / HTTP/1.1\r\n$host""nonsense\r\n\r\n"
bad "a field without a name" "GET / HTTP/1.1\r\n$host: a\r\n\r\n"
bad "a space before the colon" "GET / HTTP/1.1\r\n$host""Content-Length : 38\r\n\r\n"
bad "a folded line" "GET / HTTP/1.1\r\n$host b\r\n\r\n"
bad "a bare line feed" "GET / HTTP/1.1\r\n$host""a: b\nc: d\r\n\r\n"
bad "a NUL in the method" "G\0T / HTTP/1.1\r\n$host\r\n"
bad "a NUL in a field" "GET / HTTP/1.1\r\n$host""a: b\0\r\n\r\n"
bad "a terminal's escape" "GET / HTTP/1.1\r\n$host""a: \x1b[2J\r\n\r\n"

is "who never reads is not served for ever" "$(ask deaf "$port")" "hung up"
is "more connections than there is room for are served in their turn" "$(ask crowd "$port" 700)" 700
is "clients that reset their connections do no harm" "$(ask reset "$port" 100)" ""
answers "it is still there after all that" "200 keep-alive 200 keep-alive" "$report$lookup"
ok "all its threads are idle" await says "4 idle, 0 lookup, 0 report"
back_to_first()
{
	[ "$(descriptors)" = "$at_first" ]
}
ok "no descriptor is left open" await back_to_first
end -TERM
is "SIGTERM ends it" "$status" 0
is "it never complained" "$(cat "$tmp/errors")" ""

# Where it is the deadline that is looked for, and where it must not be.
start "$server" --no-hints --rounds 1000 --timeout 1
is "half a request is given up" "$(ask hold "$port" "GET /lookup HT")" "408 close"
is "one that trickles too, though there is always something new" \
	"$(ask hold "$port" G E T " " / " " H T T P / 1 . 1)" "408 close"
is "who says nothing is left" "$(ask hold "$port" "")" ""
is "who has had an answer and says nothing more, too" "$(ask hold "$port" "$lookup")" "200 keep-alive"
end -HUP
is "SIGHUP ends it" "$status" 0

start sh -c 'ulimit -n 24; exec "$@"' sh "$server" --no-hints --rounds 1000 --timeout 60
is "without descriptors connections wait, and are served" "$(ask crowd "$port" 60)" 60
is "who asked to be closed sees the end long before the deadline" \
	"$(timeout 30 python3 "$SRC/examples/http/test/ask.py" hold "$port" "GET / HTTP/1.1\r\n$host""Connection: close\r\n\r\n")" "200 close"
end -INT
is "Ctrl-C ends it" "$status" 0

start "$server" --no-hints --rounds 20000000 --threads 2
ask ask "$port" "$report" >"$tmp/first" &
first=$!
ask ask "$port" "$report" >"$tmp/second" &
second=$!
ok "two requests are in work" await says "2 report"
ask ask "$port" "$lookup" >"$tmp/third" &
third=$!
ok "and one waits" await says "2 report. Queued: 1"
end -TERM
wait $first $second $third
is "ended with requests in work, its exit status is 0" "$status" 0
is "which are answered; one that waited is not" "$(cat "$tmp/first" "$tmp/second"; cat "$tmp/third")" "200 keep-alive
200 keep-alive"

for nonsense in "--port 65536" "--port -1" "--threads 0" "--rounds x" "--timeout 0" "--nonsense"; do
	"$server" $nonsense >/dev/null 2>&1 </dev/null
	is "$nonsense is refused" $? 2
done

# Debian 12's valgrind knows no pidfd_open(2), and says so: hence its exit status alone. And
# the thread that follows a pin runs until the very end, so its stack would count as lost.
start valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=all "$server" --no-hints --rounds 1000
answers "under valgrind requests are answered" "200 keep-alive 200 keep-alive 400 close" "$report$lookup""BAD\r\n\r\n"
is "a crowd as well" "$(ask crowd "$port" 600)" 600
ask reset "$port" 20
"$load" --port "$port" --seconds 1 >"$tmp/table"
is "and load" $? 0
end -TERM
is "and valgrind finds no error and no leak" "$status" 0
[ "$status" = 0 ] || sed 's/^/# /' "$tmp/errors"

# --- The load generator ------------------------------------------------------------

# A figure of a class: figure CLASS NAME
figure()
{
	awk -v class="$1" -v name="$2" '$1 == class { for (i = 2; i < NF; i += 2) if ($i == name) print $(i + 1) }' "$tmp/table"
}

start "$server" --no-hints --rounds 10000
"$load" --port "$port" --seconds 2 --interactive 2 --think 5 --reports 1 >"$tmp/table"
is "load is answered" $? 0
sed 's/^/# /' "$tmp/table"
ok "look-ups come by their timetable: 800 within a tenth" within 720 880 "$(figure interactive requests)"
ok "percentiles are in order, of both classes" awk '
	$4 == "p50_us" && $6 == "p99_us" && $8 == "max_us" && 0 < $5 && $5 <= $7 && $7 <= $9 { good++ }
	END { exit good != 2 }' "$tmp/table"
"$load" --port "$port" --seconds 2 --interactive 1 --think 5 --reports 0 >"$tmp/table" &
loader=$!
sleep 0.8
kill -STOP "$pid"
sleep 1
kill -CONT "$pid"
wait $loader
sed 's/^/# /' "$tmp/table"
ok "a server that stalls for a second is charged with all that was due meanwhile" \
	within 500000 2000000 "$(figure interactive p99_us)"
ok "none of which was left out: 400 within a tenth" within 360 440 "$(figure interactive requests)"
"$load" --port "$port" --seconds 2 >"$tmp/table" 2>"$tmp/errors" &
loader=$!
sleep 1
end -KILL 2>/dev/null
wait $loader
is "when the server dies the exit status is 1" $? 1
ok "errors are in the table" within 1 1000 "$(figure interactive errors)"
ok "of either class" within 1 1000 "$(figure report errors)"
ok "and said" grep -q 'interactive requests were not answered with 200' "$tmp/errors"
for nonsense in "" "--port 0" "--port 1 --interactive 0 --reports 0" "--port 1 --seconds 0"; do
	"$load" $nonsense >/dev/null 2>&1 </dev/null
	is "http-load $nonsense is refused" $? 2
done

# --- The difference that the documentation shows -----------------------------------

mkdir -p "$tmp/tree"
cp -r "$SRC/examples" "$tmp/tree"
block docs/guide/sched-server.md diff 1 >"$tmp/hints.diff"
ok "the documentation's difference adds under ten lines" within 1 9 \
	"$(sed '1,2d' "$tmp/hints.diff" | grep -c '^+')"
is "and changes none" "$(sed '1,2d' "$tmp/hints.diff" | grep -c '^-')" 0
ok "undone, it fits the server" patch -R -p1 --fuzz=0 -d "$tmp/tree" -i "$tmp/hints.diff"
ok "which then knows nothing of libtld" sh -c '! grep -in "tld\|hint" "$1"' sh "$tmp/tree/examples/http/server.c"
ok "and is built without it" "$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 \
	"$tmp/tree/examples/http/server.c" "$tmp/tree/examples/http/request.c" "$tmp/tree/examples/http/options.c" \
	-o "$tmp/pure" -pthread
start "$tmp/pure" --rounds 1000
answers "and serves" "200 keep-alive 200 keep-alive" "$lookup$report"
end -TERM
is "and ends" "$status" 0
is "the documentation shows what diff finds" "$(diff -p -U2 --label a/examples/http/server.c --label b/examples/http/server.c \
	"$tmp/tree/examples/http/server.c" "$SRC/examples/http/server.c")" "$(cat "$tmp/hints.diff")"

# --- Hints, as BPF sees them -------------------------------------------------------

if ! may_pin; then
	skip "hints are seen by BPF" "kernel: needs root and a bpffs"
	finish
fi
"$tldctl" doctor >"$tmp/doctor" 2>&1 || {
	skip "hints are seen by BPF" "kernel: $(head -n 1 "$tmp/doctor")"
	finish
}

# The server's threads by hint: "8 0 1": interactive, background, others.
hints()
{
	"$tldctl" list --pid "$pid" --map "$pin" 2>/dev/null | awk -v i=$interactive -v b=$background '
		$2 ~ /^http/ && NF == 3 { if ($3 == i) I++; else if ($3 == b) B++; else other++ }
		END { print I + 0, B + 0, other + 0 }'
}

hints_are()
{
	[ "$(hints)" = "$1" ]
}

start "$server" --pin "$pin" --rounds 400000000 --threads 3
answers "before there is a map all works" "200 keep-alive" "GET / HTTP/1.1\r\n$host\r\n"
ok "a map is pinned" "$tldctl" map create "$pin"
ok "then all threads can be read: the dispatcher, and workers that wait, as interactive" await hints_are "4 0 0"
python3 "$SRC/examples/http/test/ask.py" ask "$port" "$report$report" >/dev/null 2>&1 &
asked=$!
ok "a report is in work" await says "1 report"
is "its worker is background, no other" "$(hints)" "3 1 0"
python3 "$SRC/examples/http/test/ask.py" ask "$port" "$lookup" >/dev/null 2>&1 &
asked="$asked $!"
ok "a look-up is in work beside it" await says "1 lookup, 1 report"
is "its worker is interactive" "$(hints)" "3 1 0"
ok "when it is done" await says "2 idle, 0 lookup, 1 report"
is "its worker stays so" "$(hints)" "3 1 0"
kill -9 "$pid"
wait "$pid" 2>/dev/null
wait $asked

start "$server" --pin "$pin" --rounds 20000 --threads 1
ok "one worker serves" await hints_are "2 0 0"
"$tldctl" record sched.hint --pid "$pid" --output "$tmp/record.json" --duration 600 >"$tmp/recorder" 2>&1 &
recorder=$!
recording()
{
	"$tldctl" maps --map "$pin" | grep -q 'used by program'
}
ok "BPF notes each hint that gets a processor" await recording
sleep 0.5
for _ in 1 2 3 4 5 6 7 8 9 10; do
	ask ask "$port" "$lookup" >/dev/null
	ask ask "$port" "$report" >/dev/null
done
kill -INT $recorder
wait $recorder
wakeups()
{
	"$tldctl" report --json "$tmp/record.json" |
		jq "[.processes[].values[] | select(.value == \"$1\").wakeups] | add // 0"
}
echo "# wake-ups: $(wakeups $interactive) interactive, $(wakeups $background) background"
# A worker that waits for the server's lock wakes up once more.
ok "each of 10 reports woke its worker as background, though a look-up went before" \
	within 10 15 "$(wakeups $background)"
ok "and has it interactive again" await hints_are "2 0 0"
end -TERM
is "it ends with the map attached" "$status" 0

start "$server" --pin "$pin" --no-hints --rounds 1000
answers "without hints requests are served, too" "200 keep-alive" "$report"
sleep 1.5 # longer than it takes to follow a pin
is "and nothing is published" "$(hints)" "0 0 0"
end -TERM
is "it ends" "$status" 0
finish
