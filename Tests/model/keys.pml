/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * keys.pml - TLDs are created: KeyTable.swift and MetadataPage.fill(), while
 * BPF and tld_find_key() read the page, threads are cancelled and the process forks.
 *
 * Stores to the page become visible in any order, but for the one that raises cnt, which is
 * a release, and what the lock's release orders. (The lock itself: lock.pml.) Sizes are in
 * units of 8 bytes.
 *
 *   Reader	an entry that is counted is whole; cnt never falls
 *   Creator	who is told -EEXIST finds the TLD; a failure has its reason
 *   check_table()	no name twice, no byte twice, not more than the budget; and every key is
 *		the sum of the sizes before it
 * and, by the verifier, that nobody waits for ever, in the parent and in its child.
 *
 * A fork is followed on either side: into the parent, where nothing has changed, and into
 * the child, which has the same memory and of the threads only the one that forked.
 *
 * As with publish.pml a scenario comes from the environment: "fork_kind=1 ./pan".
 */
c_decl {
	static int number(const char *name, int otherwise)
	{
		const char *value = getenv(name);
		return value ? atoi(value) : otherwise;
	}

	/* For model.sh: an assertion is not idle. */
	static void say_once(int what)
	{
		static int said;
		if (!(said & 1 << what))
			printf("reached: %d\n", what);
		said |= 1 << what;
	}
};

hidden byte creators;		/* threads that create one TLD each: 2, 3 */
hidden byte fork_kind;		/* of what follows; 0: none */
hidden byte cancels;		/* thread 1 is cancelled asynchronously */
hidden byte foreign;		/* the kernel's user header, in a plugin, is writing an entry */
hidden byte budget;		/* what the dynamic TLDs ask for */
hidden byte mutant;

#define FORK		1	/* fork(2) by a thread that is not in the library */
#define BARE_FORK	2	/* _Fork(), clone(2): no handlers run */
#define HANDLER_FORK	3	/* fork(2) by a signal handler that interrupted thread 1 */

#define BROKEN(which)	(mutant == (which))
#define MUTANT_COUNT_BEFORE_ENTRY	1
#define MUTANT_NO_LOCK			2
#define MUTANT_CANCELLED_AT_ONCE	3
#define MUTANT_NO_FORK_HANDLERS		4
#define MUTANT_CHILD_NOT_RESET		5
#define MUTANT_SIZE_ZERO		6
#define MUTANT_ENTRY_BEING_WRITTEN	7

#define NONE	0
#define EEXIST	1
#define E2BIG	2
#define ENOSPC	3
#define EBUSY	4

/* The metadata page. */
#define CAPACITY	4
#define LIMIT		7	/* Wire.dataLimit */
byte cnt, size;
byte name_begins[CAPACITY], name_ends[CAPACITY], entry_size[CAPACITY];

/* KeyTable.State */
byte lock;			/* its holder */
byte largestAsk;

/* What the creators want, by who they are: two the same name. The child's is 4. */
#define CHILD		4
#define NAME(who)	((who) <= 2 -> 1 : (who))
#define SIZE(who)	((who) == 1 || (who) == CHILD -> 1 : 2)
#define ASK(who)	((who) == CHILD -> budget + 1 : budget)
#define IS_STATIC(who)	((who) == 3)
#define FOREIGN_NAME	7
#define WANTS(who, n, s)	(NAME(who) == (n) && SIZE(who) == (s))
#define IS_WHOLE(n, s)								\
	(WANTS(1, n, s) || WANTS(2, n, s) || WANTS(3, n, s) || WANTS(CHILD, n, s) ||	\
	 foreign && (n) == FOREIGN_NAME && (s) == 1)

#define NO_KEY	255
byte key[CHILD + 1];
byte running;
bool forked;
byte survivor;			/* the process of this model that the child has; 0: parent */
byte k, m, wanted, end_of_data;

/* --- Creating ---------------------------------------------------------------------------- */

/* The stores of a writer that are on their way. */
#define NAME_BEGINS	1
#define NAME_ENDS	2
#define ENTRY_SIZE	4
#define PAGE_SIZE	8
#define CNT		16

/* EntryWalk: where it ends, in index and offset; found: the entry of that name. */
inline walk(name)
{
	d_step {
		index = 0;
		offset = 0;
		found = NO_KEY;
		do
		:: index < cnt && (entry_size[index] != 0 || BROKEN(MUTANT_ENTRY_BEING_WRITTEN)) &&
		   offset + entry_size[index] <= LIMIT ->
			if
			:: found == NO_KEY && name_begins[index] == (name) && name_ends[index] == (name) ->
				found = offset
			:: else
			fi;
			offset = offset + entry_size[index];
			index++
		:: else -> break
		od
	}
}

/* KeyTable.create, append, up to the stores: pending, or error. */
inline decide()
{
	walk(NAME(who));
	if
	:: found != NO_KEY && IS_STATIC(who) -> key[who] = found
	:: found != NO_KEY && !IS_STATIC(who) -> error = EEXIST
	:: found == NO_KEY && index < cnt -> error = EBUSY
	:: found == NO_KEY && index == CAPACITY -> error = ENOSPC
	:: else ->
		allowed = size + (ASK(who) > largestAsk -> ASK(who) - largestAsk : 0);
		allowed = allowed + (IS_STATIC(who) -> SIZE(who) : 0);
		allowed = (allowed > LIMIT -> LIMIT : allowed);
		if
		:: offset + SIZE(who) > (IS_STATIC(who) -> LIMIT : allowed) -> error = E2BIG
		:: else -> pending = NAME_BEGINS | NAME_ENDS | ENTRY_SIZE | PAGE_SIZE | CNT
		fi
	fi
}

#define MAY_BE_INTERRUPTED							\
	(who == 1 && (fork_kind == HANDLER_FORK && !forked ||			\
		      cancels && BROKEN(MUTANT_CANCELLED_AT_ONCE)))

/* MetadataPage.fill, and append's other stores, become visible. */
inline store()
{
	do
	:: atomic { pending & NAME_BEGINS ->
		name_begins[index] = NAME(who);
		pending = pending & ~NAME_BEGINS }
	:: atomic { pending & NAME_ENDS ->
		name_ends[index] = NAME(who);
		pending = pending & ~NAME_ENDS }
	:: atomic { pending & ENTRY_SIZE ->
		entry_size[index] = (BROKEN(MUTANT_SIZE_ZERO) && who == 2 -> 0 : SIZE(who));
		pending = pending & ~ENTRY_SIZE }
	:: atomic { pending & PAGE_SIZE ->
		size = allowed;
		largestAsk = (ASK(who) > largestAsk -> ASK(who) : largestAsk);
		pending = pending & ~PAGE_SIZE }
	:: atomic { pending == CNT || pending & CNT && BROKEN(MUTANT_COUNT_BEFORE_ENTRY) ->
		cnt = index + 1;	/* releases the entry */
		key[who] = offset;
		pending = pending & ~CNT }
	:: atomic { MAY_BE_INTERRUPTED -> interrupt() }
	:: pending == 0 -> break
	od
}

/*
 * A signal handler forks here: no handler of Lifecycle takes a lock that the thread may hold
 * itself. The child goes on where the handler was called; resetInInterruptedChild: it needs
 * the lock if it holds it, and must not wait for others'. Or the thread is cancelled.
 */
inline interrupt()
{
	if
	:: cancels -> goto dead
	:: else -> forked = true
	fi;
	if
	:: true					/* in the parent */
	:: survivor = _pid;
		running = 1;
		if
		:: lock != who && !BROKEN(MUTANT_CHILD_NOT_RESET) -> lock = 0
		:: else
		fi
	fi
}

/* tld_create_key() */
proctype Creator(byte who) provided (survivor == 0 || survivor == _pid)
{
	byte index, offset, allowed, pending, error, found;

again:	do
	:: atomic { MAY_BE_INTERRUPTED -> interrupt() }
	:: atomic { lock == 0 || BROKEN(MUTANT_NO_LOCK) -> lock = who; break }
	od;
	atomic { decide(); found = 0 };
	store();
	do
	:: atomic { MAY_BE_INTERRUPTED -> interrupt() }
	:: atomic { lock = 0; index = 0; offset = 0; allowed = 0; break }
	od;
	if
	:: atomic { error == EEXIST -> walk(NAME(who)); assert(found != NO_KEY) }
	:: error == EBUSY -> assert(foreign)
	:: else -> assert(error == NONE || error == E2BIG)
	fi;
	atomic { index = 0; offset = 0; found = 0; error = 0 };
	if
	:: survivor != 0 && who != CHILD ->
		/* Call.end, in a copy: resetInUnpreparedChild. Then another TLD. */
		atomic { lock = 0; who = CHILD; goto again }
	:: else
	fi;
dead:	running--
}

/* --- Others ------------------------------------------------------------------------------ */

/* BPF, or tld_find_key(): looks at any entry that is counted, field by field, twice. */
proctype Reader()
{
	byte turns = 2, seen, index, begins, finishes, bytes;

	do
	:: turns > 0 ->
		turns--;
		atomic {
			assert(cnt >= seen);		/* it never falls */
			seen = cnt;
			if
			:: seen == 0 -> goto next
			:: seen > 0 -> index = 0
			:: seen > 1 -> index = 1
			:: seen > 2 -> index = 2
			fi
		};
		bytes = entry_size[index];
		begins = name_begins[index];
		finishes = name_ends[index];
		/* Size 0 is the foreigner's way of saying: not yet. */
		assert(bytes == 0 && foreign && index == 0 || begins == finishes && IS_WHOLE(begins, bytes));
		c_code { say_once(1); };
next:		atomic { index = 0; bytes = 0; begins = 0; finishes = 0 }
	:: turns == 0 -> break
	od
}

/* A thread that does something else forks, and creates a TLD in the child. */
proctype Forker() provided (survivor == 0)
{
	if
	:: fork_kind == BARE_FORK || BROKEN(MUTANT_NO_FORK_HANDLERS)
	/* Lifecycle: beforeFork. */
	:: fork_kind == FORK && !BROKEN(MUTANT_NO_FORK_HANDLERS) ->
		atomic { lock == 0 -> lock = CHILD }
	fi;
	atomic {
		if
		:: true ->
			/* afterForkInParent */
			lock = (lock == CHILD -> 0 : lock);
			running--
		:: true ->
			/* afterForkInChild; or, at the next call, resetInUnpreparedChild. */
			lock = (BROKEN(MUTANT_NO_FORK_HANDLERS) || BROKEN(MUTANT_CHILD_NOT_RESET) -> lock : 0);
			running = 1;
			survivor = run Creator(CHILD)
		fi
	}
}

/* Its entry was claimed long ago; the size comes last. */
proctype Foreigner() provided (survivor == 0)
{
	name_begins[0] = FOREIGN_NAME;
	name_ends[0] = FOREIGN_NAME;
	entry_size[0] = 1;
	running--
}

/* --- A scenario -------------------------------------------------------------------------- */

inline choose_scenario()
{
	c_code {
		creators = number("creators", 2);
		fork_kind = number("fork_kind", 0);
		cancels = number("cancels", 0);
		foreign = number("foreign", 0);
		budget = number("budget", 4);
		mutant = number("mutant", 0);
	}
}

inline begin()
{
	for (k : 0 .. CHILD) {
		key[k] = NO_KEY
	}
	if
	:: foreign -> cnt = 1; run Foreigner(); running++
	:: else
	fi;
	for (k : 1 .. creators) {
		run Creator(k);
		running++
	}
	k = 0;
	run Reader();
	if
	:: fork_kind == FORK || fork_kind == BARE_FORK -> run Forker(); running++
	:: else
	fi
}

inline check_table()
{
	for (k : 0 .. cnt - 1) {
		assert(name_begins[k] == name_ends[k] && IS_WHOLE(name_begins[k], entry_size[k]));
		for (m : 0 .. cnt - 1) {
			assert(m == k || name_begins[m] != name_begins[k])
		}
		/* A key leads to the entry of its name: the sum of the sizes before it. */
		for (m : 1 .. CHILD) {
			if
			:: key[m] != NO_KEY && NAME(m) == name_begins[k] ->
				assert(key[m] == end_of_data);
				wanted = wanted | 1 << m
			:: else
			fi
		}
		end_of_data = end_of_data + entry_size[k]
	}
	for (m : 1 .. CHILD) {
		assert(key[m] == NO_KEY || wanted & 1 << m)
	}
	/* Two wanted one name: one of them got it. */
	assert(key[1] == NO_KEY || key[2] == NO_KEY);
	assert(end_of_data <= LIMIT && (end_of_data <= size || foreign));
	assert(lock == 0)
}

init {
	atomic { choose_scenario(); begin() };
	running == 0;
	d_step {
		check_table();
		/* A larger ask adds the difference, once; a static TLD its own size. */
		assert(survivor != 0 || size == largestAsk + (key[3] != NO_KEY -> SIZE(3) : 0));
		c_code { say_once(0); }
	};
	/* Threads that a child does not have stand still in midway: no deadlock. */
	do
	:: k = 0
	od
}
