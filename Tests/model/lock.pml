/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * lock.pml - the mutex of Lock.swift at its single instructions, over futex(2): at most
 * one holder, and nobody sleeps for a lock that is free. The other models take that for
 * granted.
 *
 * THREADS threads take the lock ROUNDS times each; SPURIOUS sleeps end for no reason (a
 * signal). Between two accesses to the word anything else may happen.
 */
#define THREADS		3
#define ROUNDS		2
#define SPURIOUS	1

c_decl {
	/* For model.sh: an assertion is not idle. */
	static void say_once(int what)
	{
		static int said;
		if (!(said & 1 << what))
			printf("reached: %d\n", what);
		said |= 1 << what;
	}
};

hidden byte mutant;		/* from the environment, as in publish.pml */
#define BROKEN(which)	(mutant == (which))
#define MUTANT_TAKEN_AS_UNCONTENDED	1
#define MUTANT_NO_WAKE			2
#define MUTANT_WAIT_UNCOMPARED		3

/* Lock.word: 0 free, else the holder's address, and in bit 0 whether somebody may sleep. */
#define FREE		0
#define CONTENDED	1
#define NAME(thread)	((thread) * 2)

byte word = FREE;
bool asleep[THREADS + 1];
byte spurious = SPURIOUS;
byte holders;

/* CTLD: ctld_futex_wait(): the kernel compares and queues in one step. */
inline futex_wait(value)
{
	atomic {
		if
		:: word == (value) || BROKEN(MUTANT_WAIT_UNCOMPARED) -> asleep[me] = true
		:: else
		fi
	}
	do
	:: !asleep[me] -> break
	:: atomic { asleep[me] && spurious > 0 -> spurious--; asleep[me] = false; break }
	od
}

/* CTLD: ctld_futex_wake_one(): whichever sleeper the kernel likes. */
inline futex_wake_one()
{
	atomic {
		if
		:: asleep[1] -> asleep[1] = false
		:: asleep[2] -> asleep[2] = false
		:: asleep[3] -> asleep[3] = false
		:: else
		fi
	}
}

/* word.compareExchange(expected:desired:).exchanged */
inline compare_exchange(expected, desired)
{
	atomic { exchanged = (word == (expected)); if :: exchanged -> word = (desired) :: else fi }
}

inline acquire()
{
	compare_exchange(FREE, NAME(me));
	do
	:: exchanged -> break
	:: else ->
		seen = word;
		if
		:: seen == FREE ->
			/* Others may sleep still. */
			if
			:: BROKEN(MUTANT_TAKEN_AS_UNCONTENDED) -> compare_exchange(FREE, NAME(me))
			:: else -> compare_exchange(FREE, NAME(me) | CONTENDED)
			fi
		:: else ->
			exchanged = (seen & CONTENDED);
			if
			:: exchanged
			:: else -> compare_exchange(seen, seen | CONTENDED)
			fi;
			if
			:: exchanged -> futex_wait(seen | CONTENDED)
			:: else
			fi;
			exchanged = false
		fi
	od
}

inline release()
{
	atomic { seen = word; word = FREE };
	if
	:: seen & CONTENDED && !BROKEN(MUTANT_NO_WAKE) -> futex_wake_one()
	:: else
	fi
}

proctype Thread(byte me)
{
	byte seen, round;
	bool exchanged;

	do
	:: round < ROUNDS ->
		acquire();
		holders++;
		assert(holders == 1);		/* nobody else is inside */
		c_code { say_once(1); };
		assert((word & ~CONTENDED) == NAME(me));	/* Lock.isMine */
		holders--;
		release();
		round++
	:: else -> break
	od
}

init {
	byte i;

	atomic {
		c_code { if (getenv("mutant")) mutant = atoi(getenv("mutant")); };
		for (i : 1 .. THREADS) {
			run Thread(i)
		}
	};
	_nr_pr == 1;
	assert(word == FREE);
	c_code { say_once(0); }
}
