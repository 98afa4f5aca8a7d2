/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * registry.pml - the library's part of publish.pml: one inline for each function that takes
 * part, named as in ThreadRegistry.swift, ThreadRegistry+Maps.swift and BlockArena.swift, with its
 * steps in the same order. What a function gives is in the register that its comment names.
 */

typedef ThreadRecord {
	bool used;
	byte task, life;	/* TaskID; Life, 0: unknown */
	byte page, cell;	/* Block */
	bool isUniversal;
	byte shared;		/* the thread whose state it is; 0: nil */
	bool hasEnded, isSharing;
	byte published, wanted;	/* MapSet */
	byte references;
	byte missed;		/* of the model: it could not be published there */
};
#define RECORDS	5
ThreadRecord record[RECORDS + 1];

#define PLACES	2		/* ThreadRegistry.mapLimit, at most */
byte map_at[PLACES];		/* DataMap.id; 0: not taken */
bool keepers[PLACES];
bool is_attached[MAPS + 1];	/* of the model: tld_attach() said so */
byte unclaimed, sweep_at;

/* BlockArena */
byte pages;			/* mapped so far */
bool is_free[PAGES + 1];
byte handed_out[PAGES + 1];	/* a bit for each cell */
byte live[PAGES + 1];
byte open;			/* the page from which packed blocks are handed out */

/* tld_self, and the word beside it that leads to the record. */
byte registered[TASKS + 1];
bool limit[TASKS + 1];
byte base_page[TASKS + 1], base_cell[TASKS + 1];

/* What the dispatcher has of tld_ref_thread(); 0: nothing. */
byte ref, ref_page, ref_cell, ref_life;

/* Who is in the library, for what. */
byte caller, request, argument;
#define ENTER		1
#define FREE		2
#define LEAVE		3
#define ATTACH		4
#define DETACH		5
#define REFERENCE	6
#define UNREFERENCE	7
#define SWEEP		8	/* the next allocation's */
#define KEEP		9	/* of mutants */
#define WITHDRAW	10

/* Registers: all zero while nobody is in. */
byte failure, first_failure, mine, origin, made, found, it, place, slot, set, had_faults;
bool isUniversal;

#define BIT(place)	(1 << (place))
#define ALL		(BIT(PLACES) - 1)
#define FITS(r, map)	(record[r].isUniversal || HAS_START_FIELD(map) || BROKEN(MUTANT_V1_PACKED))

/* ThreadRegistry.attached and maps(that:), and the maps that the thread asked for itself. */
#define SHOULD_BE(r, place)							\
	(map_at[place] != 0 && (keepers[place] || record[r].wanted & BIT(place)) &&	\
	 FITS(r, map_at[place]))

/* --- BlockArena.swift -------------------------------------------------------------------- */

/* BlockArena.hasRoom: found, a free page, or 0. */
inline find_free_page()
{
	d_step {
		found = 1;
		do
		:: found <= pages && !is_free[found] -> found++
		:: else -> break
		od;
		if
		:: found > pages -> found = 0
		:: else
		fi
	}
}

/* BlockArena.takeFreePage, mapChunk: found. A chunk has one page here. */
inline takeFreePage()
{
	find_free_page();
	if
	:: found == 0 ->
		pages++;
		assert(pages <= page_limit);	/* bounded by the threads there are */
		found = pages;
		fresh_frame(found)
	:: else
	fi;
	is_free[found] = false;
	handed_out[found] = 0;
	live[found] = 0
}

/* BlockArena.allocate, handOut: for record r. */
inline allocate(r)
{
	d_step {
		if
		:: isUniversal -> takeFreePage()
		:: !isUniversal && open != 0 -> found = open
		:: else -> takeFreePage(); open = found
		fi;
		record[r].page = found;
		record[r].isUniversal = isUniversal;
		record[r].cell = (handed_out[found] & 1 -> 1 : 0);
		handed_out[found] = handed_out[found] | BIT(record[r].cell);
		live[found]++;
		if
		:: !isUniversal && handed_out[found] == BIT(CELLS) - 1 -> open = 0
		:: else
		fi;
		found = 0;
		/* The first value is zero. (A mutant that does not replace the page clears it.) */
		if
		:: mutant -> memory[CELL(frame_of[record[r].page], record[r].cell)] = 0
		:: else -> assert(memory[CELL(frame_of[record[r].page], record[r].cell)] == 0)
		fi
	}
}

/*
 * BlockArena.release, isOpen, replaceIfUnused: no map may have the block any more. An open
 * page has a block that nobody had yet.
 */
inline release(r)
{
	d_step {
		found = record[r].page;
		live[found]--;
		if
		:: live[found] == 0 && open == found && BROKEN(MUTANT_OPENED_AGAIN) -> handed_out[found] = 0
		:: live[found] == 0 && open != found ->
			handed_out[found] = 0;
			is_free[found] = true;
			if
			:: BROKEN(MUTANT_NO_DONTNEED) || BROKEN(MUTANT_WITHDRAWN_AFTER_REUSE) && request == LEAVE
			:: else -> fresh_frame(found)
			fi
		:: live[found] != 0 && BROKEN(MUTANT_BLOCK_REUSED_ALONE) ->
			handed_out[found] = handed_out[found] & ~BIT(record[r].cell);
			open = found
		:: else
		fi;
		found = 0
	}
}

/* --- ThreadRegistry.swift: records ------------------------------------------------------- */

/* To ThreadRegistry.State.free. */
inline clear_record(r)
{
	d_step {
		record[r].used = false;
		record[r].task = 0;
		record[r].life = 0;
		record[r].page = 0;
		record[r].cell = 0;
		record[r].isUniversal = false;
		record[r].hasEnded = false;
		record[r].published = 0;
		record[r].wanted = 0;
		record[r].references = 0;
		record[r].missed = 0
	}
}

/* ThreadRegistry.retire */
inline retire(r)
{
	if
	:: record[r].shared == 0 && !record[r].hasEnded -> unclaimed--
	:: else
	fi;
	record[r].shared = 0;
	record[r].hasEnded = true;
	record[r].isSharing = false;
	if
	:: (record[r].published != 0 && !BROKEN(MUTANT_UNWITHDRAWN_REUSED)) ||
	   (record[r].references != 0 && !BROKEN(MUTANT_REFERENCED_REUSED))
	:: else -> release(r); clear_record(r)
	fi
}

/* ThreadRegistry.retireGone: the thread is gone, and with it its elements. */
inline retireGone(r)
{
	record[r].published = 0;
	record[r].wanted = 0;
	retire(r)
}

/* --- ThreadRegistry+Maps.swift: one thread's elements ------------------------------------ */

/*
 * ThreadRegistry.open: fd, the thread of record r, or error. Linux.life(of:), whose failure is one
 * of opening, tells the thread from one that has its id by now.
 */
inline open_thread(r)
{
	kernel_open(record[r].task);
	if
	:: error == NONE && record[r].life == 0 -> record[r].life = fd
	:: error == NONE && record[r].life != 0 && record[r].life != fd && !BROKEN(MUTANT_NO_LIFE_CHECK) ->
		error = ESRCH
	:: else
	fi
}

/* ThreadRegistry.publish: failure. */
inline publish(r, maps)
{
	failure = NONE;
	set = (maps) & ~record[r].published;
	if
	:: set != 0 ->
		open_thread(r);
		if
		:: error != NONE -> failure = error; record[r].missed = record[r].missed | set
		:: else ->
			for (place : 0 .. PLACES - 1) {
				if
				:: set & BIT(place) ->
					kernel_update(map_at[place], record[r].page, record[r].cell);
					if
					:: error != NONE ->
						failure = error;
						record[r].missed = record[r].missed | BIT(place)
					:: else ->
						record[r].published = record[r].published | BIT(place);
						record[r].missed = record[r].missed & ~BIT(place)
					fi
				:: else
				fi
			}
			place = 0
		fi;
		fd = 0;
		error = NONE;
		set = 0
	:: else
	fi
}

/*
 * ThreadRegistry.forgetReplaced: a thread that left elements behind, and came back, has replaced
 * them by those of its new record.
 */
inline forgetReplaced(r)
{
	d_step {
		for (k : 1 .. RECORDS) {
			if
			:: k != r && record[k].life == record[r].life && !BROKEN(MUTANT_REPLACED_REMOVED) ->
				record[r].published = record[r].published & ~record[k].published
			:: else
			fi
		}
		k = 0
	}
}

/* ThreadRegistry.withdraw: failure; what cannot be removed stays noted as published. */
inline withdraw(r, maps)
{
	failure = NONE;
	if
	:: record[r].hasEnded && record[r].published != 0 -> forgetReplaced(r)
	:: else
	fi;
	set = (maps) & record[r].published;
	if
	:: set != 0 ->
		open_thread(r);
		if
		:: error == ESRCH -> record[r].published = record[r].published & ~set
		:: error != NONE && error != ESRCH -> failure = error
		:: error == NONE ->
			for (place : 0 .. PLACES - 1) {
				if
				:: set & BIT(place) ->
					kernel_delete(map_at[place]);
					if
					:: error != NONE -> failure = error
					:: else -> record[r].published = record[r].published & ~BIT(place)
					fi
				:: else
				fi
			}
			place = 0
		fi;
		fd = 0;
		error = NONE;
		set = 0
	:: else
	fi
}

/* ThreadRegistry.publishEverywhere: failure. Where the record should be and can be. */
inline publishEverywhere(r)
{
	slot = 0;
	for (k : 0 .. PLACES - 1) {
		if
		:: SHOULD_BE(r, k) -> slot = slot | BIT(k)
		:: else
		fi
	}
	k = 0;
	publish(r, slot);
	slot = 0
}

/* --- ThreadRegistry+Maps.swift: the table ------------------------------------------------ */

/* ThreadRegistry.dropIdleMaps: DataMap.threads counts the records that have either bit. */
inline dropIdleMaps()
{
	d_step {
		for (j : 0 .. PLACES - 1) {
			exists = (map_at[j] == 0 || keepers[j]);
			for (k : 1 .. RECORDS) {
				exists = exists || (record[k].published | record[k].wanted) & BIT(j)
			}
			k = 0;
			if
			:: exists
			:: else ->
				i = map_at[j];
				map_at[j] = 0;
				duplicates[i]--;
				free_map_if_unused(i);
				i = 0
			fi;
			exists = false
		}
		j = 0
	}
}

/* ThreadRegistry.withdrawAll, withdrawRest: first_failure. */
inline withdrawAll(p)
{
	d_step {
		keepers[p] = false;
		first_failure = NONE;
		for (k : 1 .. RECORDS) {
			record[k].wanted = record[k].wanted & ~BIT(p)
		}
		k = 0
	};
	for (it : 1 .. RECORDS) {
		if
		:: record[it].used ->
			withdraw(it, BIT(p));
			if
			:: failure != NONE -> first_failure = failure; failure = NONE
			:: else
			fi;
			if
			:: record[it].hasEnded -> retire(it)
			:: else
			fi
		:: else
		fi
	}
	it = 0
}

/* ThreadRegistry.isGone: exists. Who was never identified, only the thread itself identifies. */
inline isGone(r)
{
	if
	:: record[r].life == 0 && !BROKEN(MUTANT_ANYBODY_IDENTIFIED) -> kernel_exists(record[r].task)
	:: else ->
		open_thread(r);
		exists = (error != ESRCH);
		error = NONE;
		fd = 0
	fi
}

/* ThreadRegistry.publishAll: first_failure. The caller is a thread that has no record. */
inline publishAll(p)
{
	first_failure = NONE;
	for (it : 1 .. RECORDS) {
		if
		:: record[it].isSharing ->
			if
			:: !FITS(it, map_at[p]) ->
				isGone(it);
				failure = (exists -> EXDEV : ESRCH);
				exists = false
			:: FITS(it, map_at[p]) && record[it].life == 0 ->
				kernel_exists(record[it].task);
				failure = (exists -> EAGAIN : ESRCH);
				exists = false;
				record[it].missed = record[it].missed | BIT(p)
			:: else -> publish(it, BIT(p))
			fi;
			if
			:: failure == ESRCH -> retireGone(it)
			:: failure != NONE && failure != ESRCH -> first_failure = failure
			:: else
			fi;
			failure = NONE
		:: else
		fi
	}
	it = 0
}

/* ThreadRegistry.place(of:): slot; as many as there are places: none. */
inline place_of(map)
{
	slot = 0;
	do
	:: slot < places && map_at[slot] != (map) -> slot++
	:: else -> break
	od
}

/* ThreadRegistry.vacantPlace: slot, or error. Any map that nobody attached is the oldest here. */
inline vacantPlace()
{
	place_of(0);
	if
	:: slot < places
	:: else ->
		slot = 0;
		do
		:: slot < places && keepers[slot] && !BROKEN(MUTANT_ATTACHED_GIVES_WAY) -> slot++
		:: else -> break
		od;
		if
		:: slot == places -> error = ENOSPC
		:: else ->
			withdrawAll(slot);
			error = first_failure;
			first_failure = NONE;
			if
			:: error == NONE -> dropIdleMaps()
			:: else
			fi
		fi
	fi
}

/* ThreadRegistry.admit: slot, or error. DataMap.confirm changes no element and is not modelled. */
inline admit(map)
{
	error = NONE;
	place_of(map);
	if
	:: slot < places
	:: else ->
		duplicates[map]++;
		vacantPlace();
		if
		:: error == NONE -> map_at[slot] = map
		:: else -> duplicates[map]--
		fi
	fi
}

/* --- ThreadRegistry.swift: making records ------------------------------------------------ */

/* ThreadRegistry.State.recordsInUse: found. */
inline count_records()
{
	d_step {
		found = 0;
		for (k : 1 .. RECORDS) {
			found = found + record[k].used
		}
		k = 0
	}
}

/* ThreadRegistry.sweep: a record with the id of the newcomer, who has none, is a former thread's. */
inline sweep(newcomer)
{
	for (it : 1 .. RECORDS) {
		if
		:: record[it].used && record[it].hasEnded ->
			withdraw(it, ALL);
			failure = NONE;
			retire(it)
		:: record[it].used && !record[it].hasEnded ->
			exists = false;
			if
			:: record[it].task != (newcomer) -> kernel_exists(record[it].task)
			:: else
			fi;
			if
			:: exists -> exists = false
			:: else -> retireGone(it)
			fi
		:: else
		fi
	}
	it = 0;
	count_records();
	sweep_at = 2 * found;
	found = 0
}

/* ThreadRegistry.needsUniversalBlock: isUniversal; for a map, or for none, 0. */
inline needsUniversalBlock(map)
{
	d_step {
		exists = false;		/* any is known */
		isUniversal = false;	/* a v1 map is known */
		for (k : 0 .. PLACES - 1) {
			exists = exists || map_at[k] != 0;
			isUniversal = isUniversal || (map_at[k] != 0 && !HAS_START_FIELD(map_at[k]))
		}
		k = 0;
		isUniversal = isUniversal || ((map) == 0 && !exists) || !HAS_START_FIELD(map);
		exists = false
	}
}

/* ThreadRegistry.makeRecord: made. */
inline makeRecord(id, its_life, map)
{
	needsUniversalBlock(map);
	find_free_page();
	if
	:: found == 0 && (isUniversal || open == 0) ->
		count_records();
		if
		:: found >= sweep_at ->
			found = 0;
			slot = (BROKEN(MUTANT_CALLER_SWEPT) -> id_of[caller] : id);
			sweep(slot);
			slot = 0
		:: else
		fi
	:: else
	fi;
	found = 0;
	made = 1;
	do
	:: made <= RECORDS && record[made].used -> made++
	:: else -> break
	od;
	assert(made <= RECORDS);
	allocate(made);
	isUniversal = false;
	record[made].used = true;
	record[made].task = id;
	record[made].life = its_life
}

/* ThreadRegistry.life(of:): fd, or error. */
inline life_of(id)
{
	kernel_open(id);
	if
	:: error == NONE && !BROKEN(MUTANT_NO_PROCESS_CHECK) ->
		/* Asked after the id was turned into a descriptor. */
		kernel_exists(id);
		if
		:: exists -> exists = false
		:: else -> error = ESRCH
		fi
	:: else
	fi
}

/*
 * ThreadRegistry.find: found, the record of thread fd, or error where one may be the
 * thread's but was never identified. (Later records come first there, and a former thread's
 * is an earlier one.)
 */
inline find(id)
{
	d_step {
		found = 0;
		for (k : 1 .. RECORDS) {
			if
			:: record[k].used && record[k].task == id && !record[k].hasEnded ->
				if
				:: record[k].life == fd -> found = k
				:: record[k].life == 0 -> error = EAGAIN
				:: else
				fi
			:: else
			fi
		}
		k = 0;
		if
		:: found != 0 -> error = NONE
		:: else
		fi
	}
}

/* ThreadRegistry.Origin, of the record in mine. */
#define KNOWN	0
#define CLAIMED	1
#define MADE	2

#define IS_UNCLAIMED(r)	(record[r].used && record[r].shared == 0 && !record[r].hasEnded)

/* ThreadRegistry.recordInWaiting: found, or error. */
inline recordInWaiting()
{
	d_step {
		for (k : 1 .. RECORDS) {
			exists = exists || (IS_UNCLAIMED(k) && record[k].task == id_of[caller])
		}
		k = 0
	};
	if
	:: unclaimed > 0 && exists ->
		exists = false;
		life_of(id_of[caller]);
		if
		:: error == NONE ->
			for (k : 1 .. RECORDS) {
				if
				:: IS_UNCLAIMED(k) && record[k].task == id_of[caller] && record[k].life == fd -> found = k
				:: else
				fi
			}
			k = 0
		:: else
		fi;
		fd = 0
	:: else -> exists = false
	fi
}

/* ThreadRegistry.ownRecord, findOrMakeRecord: mine, or error. */
inline ownRecord(map)
{
	mine = registered[caller];
	origin = KNOWN;
	if
	:: mine == 0 ->
		recordInWaiting();
		if
		:: found != 0 -> unclaimed--; mine = found; found = 0; origin = CLAIMED
		:: found == 0 && error == NONE ->
			makeRecord(id_of[caller], 0, map);
			mine = made;
			made = 0;
			origin = MADE
		:: else
		fi
	:: else
	fi;
	if
	:: error == NONE -> record[mine].shared = caller
	:: else
	fi
}

/* ThreadRegistry.stopSharing: failure. */
inline stopSharing(r)
{
	record[r].isSharing = false;
	record[r].wanted = 0;
	withdraw(r, ALL)
}

/* ThreadRegistry.giveBack */
inline giveBack()
{
	if
	:: origin == CLAIMED -> record[mine].shared = 0; unclaimed++
	:: origin == MADE ->
		if
		:: BROKEN(MUTANT_NEVER_WAITED) -> record[mine].shared = 0
		:: else
		fi;
		stopSharing(mine);
		retire(mine)
	:: else
	fi
}

/* ThreadRegistry.openFastPath, identify, closeFastPath: tld_self. */
inline openFastPath()
{
	if
	:: record[mine].life == 0 ->
		open_thread(mine);
		if
		:: error != NONE -> failure = error; error = NONE
		:: else
		fi;
		fd = 0
	:: else
	fi;
	record[mine].isSharing = true;
	registered[caller] = mine;
	base_page[caller] = record[mine].page;
	base_cell[caller] = record[mine].cell;
	limit[caller] = limit[caller] || failure == NONE
}

inline closeFastPath()
{
	limit[caller] = false
}

/* --- What is asked for ------------------------------------------------------------------- */

/* ThreadRegistry.publishCaller: tld_get(), or with a map tld_get_data(). */
inline publishCaller()
{
	had_faults = faults;
	ownRecord(argument);
	if
	:: error == NONE && argument != 0 ->
		if
		:: !FITS(mine, argument) -> error = EXDEV
		:: else -> admit(argument)
		fi;
		if
		:: error == NONE -> publish(mine, BIT(slot)); error = failure
		:: else
		fi;
		if
		:: error == NONE -> record[mine].wanted = record[mine].wanted | BIT(slot)
		:: else -> slot = error; giveBack(); error = slot
		fi
	:: else
	fi;
	if
	:: error == NONE ->
		publishEverywhere(mine);
		openFastPath();
		assert(limit[caller] || had_faults > faults)
	/* It fails for what failed just now, or for what its map cannot do. */
	:: else -> assert(had_faults > faults || argument != 0 && (error == EXDEV || error == ENOSPC))
	fi;
	dropIdleMaps();
	had_faults = 0
}

/* ThreadRegistry.withdrawAndClear: tld_free(). */
inline withdrawAndClear()
{
	mine = registered[caller];
	if
	:: mine == 0 -> recordInWaiting(); mine = found; found = 0
	:: else
	fi;
	if
	:: mine != 0 ->
		closeFastPath();
		stopSharing(mine);
		/* No later look-up finds the thread. */
		assert(failure != NONE || !HAS_ELEMENT(1, caller) && !HAS_ELEMENT(2, caller));
		memory[CELL(frame_of[record[mine].page], record[mine].cell)] = 0;
		dropIdleMaps()
	:: else
	fi
}

/* ThreadRegistry.retireCaller: the pthread key's destructor. */
inline retireCaller()
{
	closeFastPath();
	mine = registered[caller];
	registered[caller] = 0;
	base_page[caller] = 0;
	base_cell[caller] = 0;
	if
	:: BROKEN(MUTANT_WITHDRAWN_AFTER_REUSE) -> record[mine].isSharing = false; release(mine)
	:: else ->
		stopSharing(mine);
		retire(mine);
		dropIdleMaps()
	fi
}

/* What that mutant does later. */
inline withdraw_late()
{
	for (it : 1 .. RECORDS) {
		if
		:: record[it].shared == caller ->
			stopSharing(it);
			record[it].shared = 0;
			clear_record(it)
		:: else
		fi
	}
	it = 0;
	dropIdleMaps()
}

/* ThreadRegistry.attach: tld_attach(). */
inline attach()
{
	admit(argument);
	if
	:: error == NONE ->
		keepers[slot] = !BROKEN(MUTANT_ATTACHED_AFTERWARDS);
		is_attached[argument] = !BROKEN(MUTANT_ATTACHED_AFTERWARDS);
		publishAll(slot);
		/* That a thread has ended is no failure; and without one, whoever lives is there. */
		assert(first_failure != ESRCH && first_failure != ENOENT);
		for (k : 1 .. RECORDS) {
			assert(first_failure != NONE || !record[k].isSharing || !IS_ALIVE(record[k].life) ||
			       record[k].published & BIT(slot))
		}
		k = 0
	:: else
	fi;
	if
	:: BROKEN(MUTANT_ATTACHED_AFTERWARDS)
	:: else -> dropIdleMaps()
	fi
}

/* ThreadRegistry.detach: tld_detach(). */
inline detach()
{
	is_attached[argument] = false;
	place_of(argument);
	if
	:: slot < places ->
		withdrawAll(slot);
		/* No later look-up finds a thread. */
		for (k : 1 .. DISPATCHER) {
			assert(first_failure != NONE || !IS_ALIVE(k) || !HAS_ELEMENT(argument, k))
		}
		k = 0
	:: else
	fi;
	dropIdleMaps()
}

/* ThreadRegistry.reference: tld_ref_thread(). */
inline reference()
{
	life_of(argument);
	if
	:: error == NONE -> find(argument)
	:: else
	fi;
	if
	:: error == NONE && found == 0 ->
		mine = fd;
		fd = 0;
		makeRecord(argument, mine, 0);
		unclaimed++;
		record[made].isSharing = true;
		publishEverywhere(made);
		found = made
	:: else
	fi;
	if
	:: error == NONE ->
		record[found].references++;
		ref = found;
		ref_page = record[ref].page;
		ref_cell = record[ref].cell;
		ref_life = record[ref].life
	:: else
	fi;
	dropIdleMaps()
}

/* ThreadRegistry.unreference: tld_unref_thread(). */
inline unreference()
{
	record[ref].references--;
	if
	:: record[ref].hasEnded -> retire(ref)
	:: else
	fi;
	ref = 0;
	ref_page = 0;
	ref_cell = 0;
	ref_life = 0
}
