// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * atomic.c - the operations of Atomic.swift, and what they order, for DRD: whoever releases
 * through a variable comes before whoever acquires through it afterwards. The accesses to the
 * variable itself are atomic, whatever they order, and of no interest.
 *
 * With DRD_BLIND=8 in the environment, variables of 8 bytes, the locks', order nothing; with
 * DRD_BLIND=2 it is those of the metadata page. Then DRD has to report the plain accesses
 * that depend on them, and so shows that it looks at those.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <valgrind/drd.h>

static bool is_blind_for(size_t size)
{
	static size_t blind = -1;

	if (blind == (size_t)-1)
		blind = getenv("DRD_BLIND") ? atoi(getenv("DRD_BLIND")) : 0;
	return size == blind;
}

static void begin(const void *variable, size_t size, bool releases)
{
	if (releases && !is_blind_for(size))
		ANNOTATE_HAPPENS_BEFORE(variable);
	ANNOTATE_IGNORE_READS_AND_WRITES_BEGIN();
}

static void end(const void *variable, size_t size, bool acquires)
{
	ANNOTATE_IGNORE_READS_AND_WRITES_END();
	if (acquires && !is_blind_for(size))
		ANNOTATE_HAPPENS_AFTER(variable);
}

#define FOR_SIZE(size, operation)			\
	switch (size) {					\
	case 1: operation(uint8_t); break;		\
	case 2: operation(uint16_t); break;		\
	case 4: operation(uint32_t); break;		\
	case 8: operation(uint64_t); break;		\
	default: abort();				\
	}

void drd_load(const void *variable, void *result, size_t size, bool acquires)
{
#define LOAD(type) __atomic_load((type *)variable, (type *)result, __ATOMIC_ACQUIRE)
	begin(variable, size, false);
	FOR_SIZE(size, LOAD)
	end(variable, size, acquires);
}

void drd_exchange(void *variable, const void *desired, void *original, size_t size, bool acquires,
		  bool releases)
{
#define EXCHANGE(type)									\
	__atomic_exchange((type *)variable, (type *)desired, (type *)original, __ATOMIC_ACQ_REL)
	begin(variable, size, releases);
	FOR_SIZE(size, EXCHANGE)
	end(variable, size, acquires);
}

/* What was there instead comes back in expected. */
bool drd_compare_exchange(void *variable, void *expected, const void *desired, size_t size,
			  bool acquires, bool releases)
{
	bool exchanged = false;

#define COMPARE_EXCHANGE(type)								\
	exchanged = __atomic_compare_exchange((type *)variable, (type *)expected, (type *)desired,	\
					      false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
	begin(variable, size, releases);
	FOR_SIZE(size, COMPARE_EXCHANGE)
	end(variable, size, acquires);
	return exchanged;
}
