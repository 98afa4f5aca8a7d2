#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# model.sh - the models of Tests/model, verified exhaustively by spin: the registry and BPF
# (publish.pml), the creation of keys (keys.pml), the lock (lock.pml). Then each step that a
# model names as a MUTANT_ is broken, and the model has to go red, by the assertion that is
# there for it. docs/maintaining/testing.md says what that proves.
. "$(dirname "$0")/../support/run/script.sh"
own_directory

models="publish keys lock"
command -v spin >/dev/null || skip_all "spin is not installed"

# model | at least so many states | scenario | sentence
verified="\
publish|100000|ids=2 attached=1 faults=2|threads come and go in each other's ids while withdrawing fails: BPF reads nobody else's bytes
publish|500000|threads=3 ids=2 calls=1 attached=1 faults=1|the same where one comes when a page is used up
publish|250000|threads=3 calls=1 attached=1 registers=1|the same where threads share pages
publish|150000|attaches=2 faults=1 strangers=1 calls=1|another thread attaches and detaches while threads begin, end, and leave their ids to strangers
publish|80000|attached=1 maps=2 v1=1 places=2 faults=2 attaches=2 calls=1|the same with a v1 map that comes late, and threads that could not be identified
publish|400000|attached=1 references=1 registers=1|a thread that uses TLDs refers to threads that do, do not yet, or no more
publish|350000|attached=1 references=1 strangers=1 calls=1 faults=1|references to ids that may be strangers' by now
publish|200000|calls=1 attaches=1 references=1|references while a map is attached or detached
publish|80000|maps=2 gets_data=1 v1=1 attaches=1 faults=1 calls=1|more maps than places, one of them v1: who gives way, who does not
publish|50000|maps=2 gets_data=1 places=2 attaches=1 calls=1|two maps at once
publish|15000|gets_data=1 unloads=1 faults=1|a map whose maker goes
publish|150000|ids=2 calls=1 returns=1 attached=1 faults=1|a thread that uses TLDs again after its end, though its element could not be removed
keys|40000|creators=3|threads create TLDs at once: no name and no byte twice, and no half-made entry is ever seen
keys|40000|creators=3 budget=1|the same with a budget that does not suffice
keys|20000|creators=2 foreign=1|the same while the kernel's user header is writing an entry
keys|1000|creators=2 cancels=1|a cancellation in the middle of creating leaves no lock held
keys|40000|creators=2 fork_kind=1|a child of fork() can create
keys|60000|creators=2 fork_kind=2|so can one that was forked without handlers
keys|400000|creators=3 fork_kind=3|and one that a signal handler forked in the middle of creating
lock|300000||one thread holds the lock, and nobody sleeps for a lock that is free"

# model | mutant | what the failed assertion is about | scenario | sentence
red="\
publish|WITHDRAWN_AFTER_REUSE|held_task\|base_page\[me\]|threads=3 calls=1 attached=1 registers=1|red if a block is withdrawn after its memory is given to others
publish|BLOCK_REUSED_ALONE|held_task\|base_page\[me\]|threads=3 calls=1 attached=1 registers=1|red if a block of a page that others use is given away, without a fresh page
publish|NO_DONTNEED|held_task\|base_page\[me\]|threads=3 ids=2 calls=1 attached=1 faults=1|red if a page is used again as it is
publish|OPENED_AGAIN|held_task\|base_page\[me\]|threads=3 calls=1 attached=1 registers=1|red if a page that still has unused blocks is used from its start again
publish|UNWITHDRAWN_REUSED|first_failure|attaches=2 faults=1 strangers=1 calls=1|red if a block whose withdrawal failed is forgotten
publish|REFERENCED_REUSED|held_task\|base_page\[me\]\|ref_page|attached=1 references=1 strangers=1 calls=1 faults=1|red if a reference does not keep the memory
publish|NO_LIFE_CHECK|held_task|attached=1 references=1 registers=1|red if a thread is taken for the one that had its id
publish|NO_PROCESS_CHECK|fd<=|attached=1 references=1 strangers=1 calls=1 faults=1|red if an id is not checked for being this process's
publish|ATTACHED_AFTERWARDS|isSharing|attaches=2 faults=1 strangers=1 calls=1|red if attaching misses a thread that registers meanwhile
publish|ATTACHED_GIVES_WAY|is_attached|maps=2 gets_data=1 v1=1 attaches=1 faults=1 calls=1|red if an attached map gives way
publish|V1_PACKED|held_task|maps=2 gets_data=1 v1=1 attaches=1 faults=1 calls=1|red if a packed block is published in a v1 map
publish|CALLER_SWEPT|base_page\[i\]|attached=1 references=1 registers=1|red if who refers to a thread is taken for a former one
publish|END_IS_A_FAILURE|first_failure|attaches=2 faults=1 strangers=1 calls=1|red if attaching fails for a thread that ends
publish|NEVER_WAITED|unclaimed|maps=2 gets_data=1 v1=1 attaches=1 faults=1 calls=1|red if records that wait for their thread are miscounted
publish|REPLACED_REMOVED|element_frame|ids=2 calls=1 returns=1 attached=1 faults=1|red if a replaced element is removed once more
publish|ANYBODY_IDENTIFIED|element_frame|attached=1 maps=2 v1=1 places=2 faults=2 attaches=2 calls=1|red if a thread is identified by others
keys|COUNT_BEFORE_ENTRY|begins==finishes|creators=2|red if an entry is counted before it is whole
keys|NO_LOCK|key\[|creators=2|red if creators do not exclude each other
keys|CANCELLED_AT_ONCE|lock==0\|invalid end state|creators=2 cancels=1|red if cancellation is not deferred
keys|NO_FORK_HANDLERS|invalid end state|creators=2 fork_kind=1|red if a fork takes no lock, and its child frees none
keys|CHILD_NOT_RESET|invalid end state|creators=2 fork_kind=3|red if a child waits for a lock whose holder it does not have
keys|SIZE_ZERO|foreign|creators=2|red if a TLD of size 0 is created
keys|ENTRY_BEING_WRITTEN|end_of_data|creators=2 foreign=1|red if an entry that is being written counts as one of size 0
lock|TAKEN_AS_UNCONTENDED|invalid end state||red if who slept takes the lock as one that nobody waits for
lock|NO_WAKE|invalid end state||red if nobody is woken
lock|WAIT_UNCOMPARED|invalid end state||red if a thread goes to sleep without a last look"

# The verifier of each model; half optimised, which in all takes the least time.
build()
{
	mkdir "$tmp/$1"
	cd "$tmp/$1" || exit 1
	spin -a "$SRC/Tests/model/$1.pml" && "$CC" -Og -w -DSAFETY -DMEMLIM=900 -o pan pan.c
}

mutants_of() { sed -n "s/^#define MUTANT_\([A-Z0-9_]*\)[[:space:]]*\([0-9]*\).*/\1 \2/p" "$SRC/Tests/model/$1.pml"; }
number_of() { mutants_of "$1" | sed -n "s/^$2 //p"; }

for model in $models; do
	(build "$model") >"$tmp/$model.log" 2>&1 &
done
wait
for model in $models; do
	[ -x "$tmp/$model/pan" ] || bail "$model.pml becomes a verifier: $(tail -n 5 "$tmp/$model.log")"
done

# Each run, in a directory of its own, as many at a time as there are processors.
jobs()
{
	number=0
	echo "$verified" | while IFS='|' read -r model least settings sentence; do
		number=$((number + 1))
		echo "$model green.$number $settings mutant=0"
	done
	number=0
	echo "$red" | while IFS='|' read -r model rest; do
		number=$((number + 1))
		mutant=$(echo "$rest" | cut -d'|' -f1)
		# An assertion's words may hold the separator, behind a backslash.
		settings=$(echo "$rest" | sed 's/\\|/ or /g' | cut -d'|' -f3)
		echo "$model red.$number $settings mutant=$(number_of "$model" "$mutant")"
	done
}
jobs | xargs -P "$(nproc)" -L 1 sh -c '
	model=$1 run=$2
	shift 2
	mkdir "$0/$run" && cd "$0/$run" && exec env "$@" "../$model/pan" -m100000 -w22 >"$0/$run.out" 2>&1' "$tmp"

states() { awk '/ states, stored/ { n = $1 } END { printf "%d", n }' "$1"; }
found() { grep -m 1 '^pan:1: ' "$1" | cut -c1-300; }

# All states were seen, not too few of them; the last assertions were reached (0), and BPF, a
# reader or a holder did what the others are about (1).
is_complete() # OUT LEAST
{
	grep -q ' errors: 0$' "$1" && ! grep -Eq 'Search not completed|max search depth|out of memory|aborting' "$1" &&
		[ "$(states "$1")" -ge "$2" ] && grep -q 'reached: 0' "$1" && grep -q 'reached: 1' "$1"
}

number=0 total=0
while IFS='|' read -r model least settings sentence; do
	number=$((number + 1)) out=$tmp/green.$number.out
	total=$((total + $(states "$out")))
	if is_complete "$out" "$least"; then
		pass "$sentence"
	else
		fail "$sentence" "$model.pml, $settings: $(found "$out")
$(states "$out") states of at least $least, to be repeated in Tests/model:
spin -a $model.pml && cc -DSAFETY -o pan pan.c && $settings ./pan -m100000; $settings ./pan -r $model.pml.trail
$(tail -n 3 "$out")"
	fi
done <<EOT
$verified
EOT
echo "# $total states in $number scenarios"

number=0
while IFS= read -r line; do
	number=$((number + 1)) out=$tmp/red.$number.out
	line=$(echo "$line" | sed 's/\\|/ or /g')
	model=${line%%|*} sentence=${line##*|}
	about=$(echo "$line" | cut -d'|' -f3 | sed 's/ or /\\|/g')
	if found "$out" | grep -q "$about"; then
		pass "$sentence"
	else
		fail "$sentence" "$line: $(found "$out")
$(tail -n 3 "$out")"
	fi
done <<EOT
$red
EOT

is "every mutant that the models have was tried" \
	"$(echo "$red" | cut -d'|' -f1,2 | sort)" \
	"$(for model in $models; do mutants_of "$model" | sed "s/ .*//; s/^/$model|/"; done | sort)"
finish
