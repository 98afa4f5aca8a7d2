/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * publish.pml - blocks, elements and threads: publish, withdraw, reuse, attach, detach,
 * references, against a kernel (kernel.pml) in which threads end without telling, ids are
 * used again, and BPF programs keep what they looked up for as long as they like.
 *
 * The registry's lock (lock.pml) lets one thread in at a time; who is in is played by the
 * process Library, which runs the functions of registry.pml. What it does between two
 * system calls is one step; at each system call anything else may happen first.
 *
 * What must hold is asserted where it can first be wrong: in Bpf and the system calls of
 * kernel.pml, in takeFreePage, allocate, publishCaller, attach, detach, withdrawAndClear of
 * registry.pml, in check_registry, store and, when all is over, init here. The verifier sees
 * to it that nobody waits for ever.
 *
 * One verifier serves all scenarios: what there is of each thing comes from its environment,
 * "threads=2 ids=1 ./pan". tests-c/package/model.sh has the scenarios. mutant=n breaks one step, and
 * an assertion fails.
 */
hidden byte threads;		/* of this process that begin and end, up to 3 */
hidden byte ids;		/* that they share: 1, 2 */
hidden byte calls;		/* of each thread, at most */
hidden byte returns;		/* how often a destructor uses TLDs after libtld's own */
hidden byte attached;		/* map 1 is attached from the beginning */
hidden byte attaches;		/* calls of tld_attach() and tld_detach() */
hidden byte places;		/* in the table of maps: 1, 2 */
hidden byte maps;		/* 1, 2 */
hidden byte gets_data;		/* threads call tld_get_data(), too */
hidden byte v1;			/* map 2 has the format of Linux 6.18 to 7.0 */
hidden byte unloads;		/* map 1 is unloaded */
hidden byte references;		/* calls of tld_ref_thread() */
hidden byte registers;		/* who makes these calls uses TLDs itself */
hidden byte strangers;		/* another process's thread may get an id */
hidden byte page_limit;		/* more pages would be a leak */
hidden byte mutant;
byte faults;			/* system calls that fail for want of something */

#define BROKEN(which)	(mutant == (which))
#define MUTANT_WITHDRAWN_AFTER_REUSE	1
#define MUTANT_BLOCK_REUSED_ALONE	2
#define MUTANT_NO_DONTNEED		3
#define MUTANT_UNWITHDRAWN_REUSED	4
#define MUTANT_REFERENCED_REUSED	5
#define MUTANT_NO_LIFE_CHECK		6
#define MUTANT_NO_PROCESS_CHECK		7
#define MUTANT_ATTACHED_AFTERWARDS	8
#define MUTANT_ATTACHED_GIVES_WAY	9
#define MUTANT_V1_PACKED		10
#define MUTANT_CALLER_SWEPT		11
#define MUTANT_END_IS_A_FAILURE		12
#define MUTANT_NEVER_WAITED		13
#define MUTANT_REPLACED_REMOVED		14
#define MUTANT_ANYBODY_IDENTIFIED	15
#define MUTANT_OPENED_AGAIN		16

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

#include "kernel.pml"
#include "registry.pml"

/* What must hold whenever the lock is free. */
inline check_registry()
{
	for (i : 1 .. RECORDS) {
		for (j : 0 .. PLACES - 1) {
			/* What the record says is so ... */
			assert(!(record[i].published & BIT(j)) || !IS_ALIVE(record[i].life) || record[i].hasEnded ||
			       (element_frame[ELEMENT(map_at[j], record[i].life)] == frame_of[record[i].page] &&
				element_cell[ELEMENT(map_at[j], record[i].life)] == record[i].cell));
			/* ... and whoever may go on without the library is where it should be. */
			assert(!record[i].isSharing || record[i].shared == 0 || !limit[record[i].shared] ||
			       !SHOULD_BE(i, j) || record[i].missed & BIT(j) ||
			       !IS_ALIVE(record[i].life) || record[i].published & BIT(j))
		}
		/* Nothing is kept for nobody. */
		assert(!record[i].hasEnded || record[i].published != 0 || record[i].references != 0)
	}
	/* A thread's pointers lead where BPF is told to look. */
	for (i : 1 .. DISPATCHER) {
		j = registered[i];
		assert(!IS_ALIVE(i) || j == 0 ||
		       (base_page[i] == record[j].page && base_cell[i] == record[j].cell && record[j].shared == i))
	}
	/* What was attached stays so. */
	assert(!is_attached[1] || map_at[0] == 1 && keepers[0] || map_at[1] == 1 && keepers[1]);
	assert(!is_attached[2] || map_at[0] == 2 && keepers[0] || map_at[1] == 2 && keepers[1]);
	i = 0;
	j = 0
}

inline release_lock()
{
	d_step {
		check_registry();
		error = NONE;
		failure = NONE;
		first_failure = NONE;
		exists = false;
		fd = 0;
		mine = 0;
		origin = KNOWN;
		made = 0;
		found = 0;
		slot = 0;
		forget_frames();
		request = 0;
		argument = 0;
		caller = 0
	}
}

/* Whoever holds the lock. */
active proctype Library()
{
end:	do
	:: atomic {
		request != 0;
		if
		:: request == ENTER -> publishCaller()
		:: request == FREE -> withdrawAndClear()
		:: request == LEAVE -> retireCaller()
		:: request == ATTACH -> attach()
		:: request == DETACH -> detach()
		:: request == REFERENCE -> reference()
		:: request == UNREFERENCE -> unreference()
		:: request == SWEEP -> sweep(0); dropIdleMaps()
		:: request == KEEP -> keepers[0] = (map_at[0] == argument); is_attached[argument] = keepers[0]
		:: request == WITHDRAW -> withdraw_late()
		fi;
		release_lock()
	   }
	od
}

inline call(what, about)
{
	atomic { caller == 0 -> caller = me; request = what; argument = about };
	caller != me
}

/* --- The program ------------------------------------------------------------------------- */

#define MAIN	(TASKS + 1)	/* threads that have no block and never end */
#define OTHER	(TASKS + 2)

/* What a thread finds in its memory it wrote itself, or BPF for it; or zeros. */
#define OWNS(page, cell, task)							\
	(memory[CELL(frame_of[page], cell)] == 0 || memory[CELL(frame_of[page], cell)] == (task))

inline store(at_page, at_cell, who)
{
	d_step {
		assert(OWNS(at_page, at_cell, who));
		memory[CELL(frame_of[at_page], at_cell)] = who
	}
}

proctype Thread(byte me)
{
	byte left = calls, map;

	begins(me);
	do
	:: left > 0 ->
		atomic {
			left--;
			if
			:: map = 0
			:: gets_data && loaded[1] -> map = 1
			:: gets_data && loaded[2] -> map = 2
			fi
		};
		if
		:: call(ENTER, map)
		:: map == 0 -> call(FREE, 0)
		fi;
		atomic {
			map = 0;
			if
			:: limit[me] -> store(base_page[me], base_cell[me], me)
			:: else
			fi
		}
	:: atomic { true -> left = 0; break }
	od;
	assert(registered[me] == 0 || OWNS(base_page[me], base_cell[me], me));
	if
	:: registered[me] != 0 ->
		left = returns;
again:		call(LEAVE, 0);
		if
		:: BROKEN(MUTANT_WITHDRAWN_AFTER_REUSE) -> call(WITHDRAW, 0)
		:: else
		fi;
		if
		:: left > 0 ->
			left--;
			call(ENTER, 0);
			if
			:: registered[me] != 0 -> goto again
			:: else -> left = 0
			fi
		:: left = 0
		fi
	:: true			/* exit(2) of the thread alone, without destructors */
	fi;
	atomic {
		limit[me] = false;
		registered[me] = 0;
		base_page[me] = 0;
		base_cell[me] = 0
	};
	ends(me)
}

/* Attaches and detaches, in any order. */
proctype Attacher()
{
	byte me = MAIN, left = attaches, map;

	do
	:: left > 0 ->
		atomic {
			left--;
			if
			:: map = 1
			:: maps > 1 -> map = 2
			fi
		};
		if
		:: loaded[map] ->
			call(ATTACH, map);
			if
			:: BROKEN(MUTANT_ATTACHED_AFTERWARDS) -> call(KEEP, map)
			:: else
			fi
		:: call(DETACH, map)
		fi
	:: else -> break
	od;
	atomic { map = 0; running-- }
}

/* Stores for the thread of some id, whatever that thread does. */
proctype Dispatcher()
{
	byte me = DISPATCHER, left = references, id;

	if
	:: registers -> call(ENTER, 0); store(base_page[me], base_cell[me], me)
	:: else
	fi;
	do
	:: left > 0 ->
		atomic {
			left--;
			if
			:: id = 1
			:: ids > 1 -> id = 2
			fi
		};
		call(REFERENCE, id);
		if
		:: ref != 0 ->
			store(ref_page, ref_cell, ref_life);
			store(ref_page, ref_cell, ref_life);
			call(UNREFERENCE, 0)
		:: else
		fi
	:: else -> break
	od;
	if
	:: registers -> store(base_page[me], base_cell[me], me); call(LEAVE, 0)
	:: else
	fi;
	atomic { id = 0; limit[me] = false; running-- }
}

/* --- A scenario -------------------------------------------------------------------------- */

inline choose_scenario()
{
	c_code {
		threads = number("threads", 2);
		ids = number("ids", 1);
		calls = number("calls", 2);
		returns = number("returns", 0);
		attached = number("attached", 0);
		attaches = number("attaches", 0);
		places = number("places", 1);
		maps = number("maps", 1);
		gets_data = number("gets_data", 0);
		v1 = number("v1", 0);
		unloads = number("unloads", 0);
		references = number("references", 0);
		registers = number("registers", 0);
		strangers = number("strangers", 0);
		page_limit = number("page_limit", 4);
		mutant = number("mutant", 0);
		now.faults = number("faults", 0);
	}
}

inline begin()
{
	id_of[DISPATCHER] = IDS + 1;
	task_with[IDS + 1] = DISPATCHER;
	loaded[1] = true;
	loaded[2] = maps > 1;
	if
	:: attached -> map_at[0] = 1; keepers[0] = true; duplicates[1] = 1; is_attached[1] = true
	:: else
	fi;
	for (k : 1 .. threads) {
		run Thread(k);
		running++
	}
	k = 0;
	if
	:: strangers -> run Stranger(); running++
	:: else
	fi;
	if
	:: attaches > 0 -> run Attacher(); running++
	:: else
	fi;
	if
	:: references > 0 || registers -> run Dispatcher(); running++
	:: else
	fi;
	if
	:: unloads -> run Unload(); running++
	:: else
	fi
}

/* Everything came back. */
inline check_end()
{
	for (k : 1 .. RECORDS) {
		assert(!record[k].used)
	}
	for (k : 1 .. pages) {
		assert((is_free[k] || open == k) && live[k] == 0)
	}
	assert(unclaimed == 0);
	assert(duplicates[1] == 0 && duplicates[2] == 0);
	for (k : 0 .. ELEMENTS - 1) {
		assert(element_frame[k] == 0)
	}
	k = 0
}

init {
	byte me = OTHER;

	atomic { choose_scenario(); begin() };
	running == 0;
	/* Everybody is gone; a detach, and the next allocation, find what is left. */
	faults = 0;
	call(DETACH, 1);
	call(DETACH, 2);
	call(SWEEP, 0);
	d_step { check_end(); c_code { say_once(0); } }
}
