#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# costs.sh - instructions of what is done for each hint, against the numbers below: those
# that a call executes in user space (callgrind), and those that a program has that looks
# one TLD up in BPF, in front of the subprograms that only a first look calls. A number
# that grew fails; whoever has reason to let it grow changes it here, and says why.
. "$(dirname "$0")/../support/run/script.sh"
own_directory
PATH=$PATH:/usr/sbin

within() # SENTENCE COUNTED COMMITTED
{
	if [ "$2" -gt 0 ] && [ "$2" -le "$3" ]; then
		pass "$1: $2 instructions, $(($2 - $3)) from the $3 that are allowed"
	else
		fail "$1: at most $3 instructions" "counted: $2, $(($2 - $3)) more"
	fi
}

# --- User space ---------------------------------------------------------------------------
ok "the fast paths compile" "$CC" -std=c11 -D_GNU_SOURCE -O2 -g "-I$SRC/include" "$SRC/tests-c/bpf/costs/user.c" \
	-o "$tmp/user" "-L$BUILD" "-Wl,-rpath,$BUILD,-z,now" -ltld

# Of 1,000 calls.
executed()
{
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "--toggle-collect=$1" "$tmp/user" 2>&1 |
		sed -n 's/.*Collected : \([0-9]*\)000$/\1/p'
}
if command -v valgrind >/dev/null; then
	while read -r function committed sentence; do
		within "$sentence" "$(executed "$function")" "$committed"
	done <<-EOT
		inline_get 6 tld_get()
		inline_get_data 9 tld_get_data()
		exported_get 15 tld_get() as a function of the library
		exported_get_data 25 tld_get_data() as a function of the library
	EOT
else
	skip "what the fast paths execute" "valgrind is not installed"
fi

# --- BPF ----------------------------------------------------------------------------------
load() # HEADER
{
	"$CLANG" -target bpf -g -O2 -mcpu=v3 "-I/usr/include/$(uname -m)-linux-gnu" "-I$SRC/bpf" \
		-c "$SRC/tests-c/bpf/costs/$1.bpf.c" -o "$tmp/$1.bpf.o" &&
		bpftool prog loadall "$tmp/$1.bpf.o" "$pins/$1"
}

# Without the program's subprograms, which come behind it.
translated() # HEADER PROGRAM
{
	bpftool prog dump xlated pinned "$pins/$1/$2" | awk '/^int / && n++ { exit } / *[0-9]+: \(/' | wc -l
}
if ! may_pin; then
	skip "what a look-up in BPF has" "kernel: needs root and a bpffs"
	finish
fi
own_pins costs
for header in native dropin; do
	ok "a look-up loads, $header" load $header
done
within "a bare look-up in task storage" "$(translated native bare)" 13
within "tld.bpf.h" "$(translated native look_up)" 56
within "task_local_data.bpf.h" "$(translated dropin look_up)" 75
finish
