/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kernel.pml - the kernel's part of publish.pml, as docs/reference/wire.md has it: tasks and their
 * ids, page frames that outlive the page's address, elements of maps, and system calls at
 * which anything else may happen first. Also what BPF programs do.
 */

/* --- Tasks: threads by their lives, which are never used again (Kernel.swift: Life) ------ */

#define THREADS		3	/* of this process, at most ... */
#define IDS		2	/* ... which share so many ids with a stranger */
#define DISPATCHER	4	/* a thread with an id of its own */
#define STRANGER	5	/* another process's thread */
#define TASKS		5
#define OURS(task)	((task) <= DISPATCHER)

byte id_of[TASKS + 1];		/* 0: not begun, or gone */
byte task_with[IDS + 2];	/* 0: the id is free */

#define IS_ALIVE(task)	(id_of[task] != 0)

/* --- Memory ---------------------------------------------------------------------------- */

/* A page frame has two blocks, packed; of each: whose bytes are in it, 0: zeros. */
#define CELLS		2
#define CELL(frame, cell)	((frame) * CELLS + (cell))
#define PAGES		4
#define FRAMES		9
byte memory[(FRAMES + 1) * CELLS];
byte frame_of[PAGES + 1];	/* the process's page table; frame 0: none */

/* What BPF programs looked up, and use: no longer found, perhaps. */
byte held_frame, held_cell, held_task;

/* --- Maps -------------------------------------------------------------------------------- */

#define MAPS		2
#define ELEMENT(map, task)	((map) * (TASKS + 1) + (task))
#define ELEMENTS	((MAPS + 1) * (TASKS + 1))
byte element_frame[ELEMENTS];	/* pinned; 0: no element */
byte element_cell[ELEMENTS];	/* start */
#define STRANGERS_FRAME	255
bool loaded[MAPS + 1];		/* somebody else has a descriptor of the map */
byte duplicates[MAPS + 1];	/* how many the library has */

#define HAS_ELEMENT(map, task)	(element_frame[ELEMENT(map, task)] != 0)
#define HAS_START_FIELD(map)	((map) != 2 || !v1)

/* For loops that no system call interrupts. */
byte i, j, k;
short used;

/* In used: the frames that somebody can reach. */
inline find_used_frames()
{
	used = 1 << held_frame;
	for (j : 1 .. PAGES) {
		used = used | 1 << frame_of[j]
	}
	for (j : ELEMENT(1, 1) .. ELEMENTS - 1) {
		if
		:: element_frame[j] != STRANGERS_FRAME -> used = used | 1 << element_frame[j]
		:: else
		fi
	}
	j = 0
}

/* ctld_map(), and MADV_DONTNEED: zeros; whoever has the old frame keeps it. */
inline fresh_frame(p)
{
	d_step {
		frame_of[p] = 0;
		find_used_frames();
		i = 1;
		do
		:: used & 1 << i -> i++
		:: else -> break
		od;
		assert(i <= FRAMES);
		frame_of[p] = i;
		memory[CELL(i, 0)] = 0;
		memory[CELL(i, 1)] = 0;
		i = 0;
		used = 0
	}
}

/* What nobody can reach is all the same: fewer states. */
inline forget_frames()
{
	find_used_frames();
	for (i : 1 .. FRAMES) {
		if
		:: used & 1 << i
		:: else -> memory[CELL(i, 0)] = 0; memory[CELL(i, 1)] = 0
		fi
	}
	i = 0;
	used = 0
}

/* A task is freed, or a map. */
inline free_element(map, who)
{
	element_frame[ELEMENT(map, who)] = 0;
	element_cell[ELEMENT(map, who)] = 0
}

inline free_map_if_unused(map)
{
	if
	:: !loaded[map] && duplicates[map] == 0 ->
		for (k : 1 .. TASKS) {
			free_element(map, k)
		}
		k = 0
	:: else
	fi
}

/* --- System calls ------------------------------------------------------------------------ */

/* Errno. */
#define NONE	0
#define ESRCH	1
#define ENOENT	2
#define ENOSPC	3
#define EXDEV	4
#define EAGAIN	5
#define FAULT	6	/* EMFILE, ENFILE, ENOMEM, EAGAIN: may pass */

byte fd, error;
bool exists;
bool preempted;

/* Everything else may happen first. */
#define SYSTEM_CALL	preempted = true; !preempted

active proctype Preemption()
{
end:	do
	:: atomic { preempted -> preempted = false }
	od
}

/*
 * ThreadRegistry.openExisting, Linux.open: pidfd_open(2) of a thread, which is that thread's for
 * ever. What it says of one that has ended, openExisting turns into ESRCH.
 */
inline kernel_open(tid)
{
	SYSTEM_CALL;
	fd = 0;
	error = NONE;
	if
	:: faults > 0 -> faults--; error = FAULT
	:: task_with[tid] != 0 -> fd = task_with[tid]
	:: task_with[tid] == 0 -> error = ESRCH
	fi
}

/* Linux.exists: tgkill(2), in this process. */
inline kernel_exists(tid)
{
	SYSTEM_CALL;
	exists = (task_with[tid] != 0 && OURS(task_with[tid]))
}

/* DataMap.publish: bpf(BPF_MAP_UPDATE_ELEM). The kernel pins the frame that is there now. */
inline kernel_update(map, at_page, at_cell)
{
	SYSTEM_CALL;
	assert(duplicates[map] == 1);
	error = NONE;
	if
	:: faults > 0 -> faults--; error = FAULT
	:: !IS_ALIVE(fd) -> error = (BROKEN(MUTANT_END_IS_A_FAILURE) -> ENOENT : ESRCH)
	:: IS_ALIVE(fd) ->
		assert(OURS(fd));
		element_frame[ELEMENT(map, fd)] = frame_of[at_page];
		element_cell[ELEMENT(map, fd)] = at_cell
	fi
}

/* DataMap.withdraw: bpf(BPF_MAP_DELETE_ELEM); that there is none is as good. */
inline kernel_delete(map)
{
	SYSTEM_CALL;
	assert(duplicates[map] == 1);
	error = NONE;
	if
	:: faults > 0 -> faults--; error = FAULT
	:: !IS_ALIVE(fd)
	:: IS_ALIVE(fd) -> assert(OURS(fd)); free_element(map, fd)
	fi
}

/* --- Threads begin and end --------------------------------------------------------------- */

byte running, begun;

/*
 * With any id that is free. Threads are alike, and so are ids before the first is taken: in
 * which order they come is of no matter.
 */
inline begins(who)
{
	atomic {
		begun == who - 1 || who == STRANGER;
		if
		:: task_with[1] == 0 -> task_with[1] = who; id_of[who] = 1
		:: ids > 1 && task_with[2] == 0 && who != 1 -> task_with[2] = who; id_of[who] = 2
		fi;
		if
		:: who != STRANGER -> begun++
		:: else
		fi
	}
}

/* The id is free at once; BPF programs that know the task find its elements a little longer. */
inline ends(who)
{
	atomic {
		task_with[id_of[who]] = 0;
		id_of[who] = 0
	};
	d_step {
		for (k : 1 .. MAPS) {
			free_element(k, who)
		}
		k = 0;
		forget_frames();
		running--
	}
}

/* With hints of its own, in the same maps. */
proctype Stranger()
{
	begins(STRANGER);
	d_step {
		element_frame[ELEMENT(1, STRANGER)] = STRANGERS_FRAME;
		element_frame[ELEMENT(2, STRANGER)] = STRANGERS_FRAME
	};
	ends(STRANGER)
}

/* Whoever made a map goes. */
proctype Unload()
{
	d_step { loaded[1] = false; free_map_if_unused(1); forget_frames(); running-- }
}

/* --- BPF --------------------------------------------------------------------------------- */

/* v1 finds its start at the beginning of the page. */
inline look_up(map, who)
{
	HAS_ELEMENT(map, who);
	held_frame = element_frame[ELEMENT(map, who)];
	held_cell = (HAS_START_FIELD(map) -> element_cell[ELEMENT(map, who)] : 0);
	held_task = who
}

/* Looks some task up, and uses what it found at some later time, sleeping perhaps. */
active proctype Bpf()
{
end:	do
	:: atomic {
		if
		:: look_up(1, 1)
		:: look_up(1, 2)
		:: look_up(1, 3)
		:: look_up(1, DISPATCHER)
		:: look_up(2, 1)
		:: look_up(2, 2)
		fi
	   };
	   atomic {
		/* It reads no byte of a block that is another thread's. */
		assert(memory[CELL(held_frame, held_cell)] == 0 ||
		       memory[CELL(held_frame, held_cell)] == held_task);
		if
		:: memory[CELL(held_frame, held_cell)] == held_task -> c_code { say_once(1); }
		:: memory[CELL(held_frame, held_cell)] = held_task	/* it may write, too */
		:: memory[CELL(held_frame, held_cell)] == 0
		fi;
		d_step {
			held_frame = 0;
			held_cell = 0;
			held_task = 0;
			forget_frames()
		}
	   }
	od
}
