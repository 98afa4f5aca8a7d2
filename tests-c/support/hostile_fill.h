/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * hostile_fill.h - metadata pages as a hostile process might write them: nearly
 * right, and wrong where it hurts. And the walk through such a page as
 * docs/reference/wire.md has it, to know what a reader of it should find.
 */
#ifndef TESTS_C_HOSTILE_FILL_H
#define TESTS_C_HOSTILE_FILL_H

#include <stddef.h>
#include <sys/auxv.h>
#include "fuzz.h"

/* The smallest page there is; what lies behind it on larger ones stays as it is. */
#define FILL_PAGE 4096u
#define FILL_ENTRIES (FILL_PAGE / 64 - 1)
#define FILL_NAME 62u
#define FILL_MAGIC 0x31444c54u	/* "TLD1" */

/* The TLDs that somebody looks for. */
struct fill_names {
	const char *const *name;
	const uint32_t *size;
	uint32_t count;
};

/*
 * What the page is about: each is one way to lead a reader out of a page, and
 * SANE, so that something is found.
 */
enum fill_kind { FILL_SANE, FILL_EDGE, FILL_WRAP, FILL_NAMES, FILL_NOISE, FILL_KINDS };

static inline void fill_store(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_RELAXED);
}

static inline uint16_t fill_u16(const uint8_t *at)
{
	return at[0] | at[1] << 8;
}

static inline uint8_t *fill_entry(uint8_t *meta, uint32_t i)
{
	return meta + 4 + 64 * i;
}

static inline uint32_t fill_rounded(uint32_t size)
{
	return (size + 7) / 8 * 8;
}

/* --- One field ------------------------------------------------------------------------------- */

static inline uint16_t fill_size(struct fuzz *fuzz)
{
	static const uint16_t edges[] = {
		0, 1, 7, 8, 9, 2048, 4080, 4087, 4088, 4089, 4095, 4096, 4097, 8184,
		32752, 32759, 32760, 32761, 32767, 32768, 65520, 65528, 65529, 65535,
	};

	switch (fuzz_below(fuzz, 4)) {
	case 0:
		return fuzz_pick(fuzz, edges);
	case 1:
		return fuzz_next(fuzz);
	default:
		return 1 + fuzz_below(fuzz, 100);
	}
}

static inline uint16_t fill_cnt(struct fuzz *fuzz)
{
	static const uint16_t edges[] = {
		0, 1, 2, 62, 63, 64, 65, 127, 128, 255, 256, 257, 32767, 32768, 65534, 65535,
	};

	switch (fuzz_below(fuzz, 3)) {
	case 0:
		return fuzz_pick(fuzz, edges);
	case 1:
		return fuzz_next(fuzz);
	default:
		return fuzz_below(fuzz, 20);
	}
}

/* Of the data in their page, where the map's value says it. */
static inline uint16_t fill_start(struct fuzz *fuzz)
{
	static const uint16_t edges[] = {
		0, 1, 7, 8, 9, 2048, 4087, 4088, 4089, 4095, 4096, 32759, 32760, 32767, 32768,
		65527, 65528, 65535,
	};

	switch (fuzz_below(fuzz, 6)) {
	case 0:
		return fuzz_pick(fuzz, edges);
	case 1:
		return fuzz_next(fuzz);
	case 2:
		return 8;
	default:
		return 8 * (1 + fuzz_below(fuzz, 32));
	}
}

/* A name that is looked for, or nearly one: too long, cut, without its NUL. */
static inline void fill_name(struct fuzz *fuzz, uint8_t *entry, const struct fill_names *names)
{
	const char *name = names->name[fuzz_below(fuzz, names->count)];
	size_t length = strlen(name);
	char field[FILL_NAME] = { 0 };

	switch (fuzz_below(fuzz, 8)) {
	case 0: /* no NUL anywhere */
		memset(field, 'x', sizeof(field));
		memcpy(field, name, length);
		break;
	case 1: /* what is behind the NUL does not count */
		fuzz_bytes(fuzz, field, sizeof(field));
		memcpy(field, name, length + 1);
		break;
	case 2:
		memcpy(field, name, fuzz_below(fuzz, length));
		break;
	case 3:
		fuzz_bytes(fuzz, field, sizeof(field));
		break;
	default:
		memcpy(field, name, length);
	}
	memcpy(entry, field, sizeof(field));
}

static inline void fill_named(uint8_t *meta, uint32_t i, const char *name, uint32_t size)
{
	uint8_t *entry = fill_entry(meta, i);

	memset(entry, 0, FILL_NAME);
	memcpy(entry, name, strlen(name));
	fill_store(entry + FILL_NAME, size);
}

static inline void fill_stamp(struct fuzz *fuzz, uint8_t *meta)
{
	uint64_t stamp = getauxval(AT_RANDOM);
	uint32_t magic = FILL_MAGIC;

	if (!fuzz_one_in(fuzz, 4))
		return;
	if (fuzz_one_in(fuzz, 4))
		stamp = fuzz_one_in(fuzz, 2) ? stamp + 1 : fuzz_next(fuzz);
	memcpy(meta + FILL_PAGE - 60, &magic, sizeof(magic));
	memcpy(meta + FILL_PAGE - 52, &stamp, sizeof(stamp));
}

/* Change one thing, whatever the page says otherwise. */
__attribute__((unused))
static void fill_poke(struct fuzz *fuzz, uint8_t *meta, const struct fill_names *names)
{
	uint32_t entries = fuzz_one_in(fuzz, 4) ? FILL_ENTRIES : 8;
	uint8_t *entry = fill_entry(meta, fuzz_below(fuzz, entries));

	switch (fuzz_below(fuzz, 6)) {
	case 0:
	case 1:
		fill_store(meta, fill_cnt(fuzz));
		break;
	case 2:
		fill_store(meta + 2, fill_size(fuzz));
		break;
	case 3:
		fill_name(fuzz, entry, names);
		break;
	default:
		fill_store(entry + FILL_NAME, fill_size(fuzz));
	}
}

/* --- A page ---------------------------------------------------------------------------------- */

static inline void fill_some_name(struct fuzz *fuzz, uint8_t *meta, uint32_t i,
				  const struct fill_names *names)
{
	uint32_t which = fuzz_below(fuzz, names->count);

	fill_named(meta, i, names->name[which], names->size[which] + 8 * fuzz_below(fuzz, 3));
}

/* Small TLDs, of which some are looked for. */
static inline uint32_t fill_sane(struct fuzz *fuzz, uint8_t *meta, const struct fill_names *names)
{
	uint32_t count = 1 + fuzz_below(fuzz, 12);

	for (uint32_t i = 0; i < count; i++) {
		if (fuzz_one_in(fuzz, 2))
			fill_some_name(fuzz, meta, i, names);
		else
			fill_named(meta, i, "another", 1 + fuzz_below(fuzz, 64));
	}
	return count;
}

/* Entries that nobody looks for, up to an offset. */
static inline uint32_t fill_up_to(uint8_t *meta, uint32_t i, uint32_t offset)
{
	for (; offset && i < FILL_ENTRIES - 2; i++) {
		uint32_t size = offset > 65528 ? 65528 : offset;

		fill_named(meta, i, "another", size);
		offset -= size;
	}
	return i;
}

/* One that is looked for, and ends with the page, or a few bytes before or behind. */
static inline uint32_t fill_edge(struct fuzz *fuzz, uint8_t *meta, const struct fill_names *names,
				 uint32_t start)
{
	uint32_t which = fuzz_below(fuzz, names->count), size = names->size[which], i;
	int before = (int)FILL_PAGE - (int)size - (int)start;

	before += 8 * ((int)fuzz_below(fuzz, 5) - 2);
	i = fill_up_to(meta, 0, before > 0 ? fill_rounded(before) : 0);
	fill_named(meta, i, names->name[which], size);
	return i + 1;
}

/* One whose offset, or that and the start, is small again in 15, 16 or more bits. */
static inline uint32_t fill_wrap(struct fuzz *fuzz, uint8_t *meta, const struct fill_names *names,
				 uint32_t start)
{
	static const uint32_t turns[] = { 4096, 32768, 65536, 131072, 1u << 20, 3u << 20 };
	uint32_t offset = fuzz_pick(fuzz, turns) + 8 * fuzz_below(fuzz, 512);
	uint32_t i;

	if (fuzz_one_in(fuzz, 2) && offset > start)
		offset -= start;
	i = fill_up_to(meta, 0, fill_rounded(offset));
	fill_some_name(fuzz, meta, i, names);
	return i + 1;
}

/* All places taken, by TLDs of which all may lie in a page, or most of them not. */
static inline uint32_t fill_many_names(struct fuzz *fuzz, uint8_t *meta,
				       const struct fill_names *names)
{
	uint32_t largest = 8u << fuzz_below(fuzz, 5);
	uint32_t unready = fuzz_one_in(fuzz, 2) ? 50 : UINT32_MAX;

	for (uint32_t i = 0; i < FILL_ENTRIES; i++) {
		uint8_t *entry = fill_entry(meta, i);

		fill_name(fuzz, entry, names);
		fill_store(entry + FILL_NAME,
			   fuzz_one_in(fuzz, unready) ? 0 : 1 + fuzz_below(fuzz, largest));
	}
	return fuzz_one_in(fuzz, 4) ? fill_cnt(fuzz) : FILL_ENTRIES;
}

/*
 * Overwrite all of @meta. @start: where in their page the data start, as the map's
 * value says, for pages that are wrong together with it only.
 */
__attribute__((unused))
static enum fill_kind fill_page(struct fuzz *fuzz, uint8_t *meta, const struct fill_names *names,
				uint32_t start)
{
	enum fill_kind kind = fuzz_below(fuzz, FILL_KINDS);
	uint32_t count = fuzz_below(fuzz, 4);

	/* Behind what counts there may be anything. */
	if (fuzz_one_in(fuzz, 2) || kind == FILL_NOISE)
		fuzz_bytes(fuzz, meta, FILL_PAGE);
	else
		memset(meta, fuzz_one_in(fuzz, 4) ? 0xff : 0, FILL_PAGE);
	memset(meta + FILL_PAGE - 60, 0, 60);
	if (kind == FILL_SANE)
		count = fill_sane(fuzz, meta, names);
	else if (kind == FILL_EDGE)
		count = fill_edge(fuzz, meta, names, start);
	else if (kind == FILL_WRAP)
		count = fill_wrap(fuzz, meta, names, start);
	else if (kind == FILL_NAMES)
		count = fill_many_names(fuzz, meta, names);
	else
		count = fill_cnt(fuzz);
	fill_store(meta, count);
	fill_store(meta + 2, fill_size(fuzz));
	fill_stamp(fuzz, meta);
	if (fuzz_one_in(fuzz, 3))
		for (uint32_t i = fuzz_below(fuzz, 4); i--; )
			fill_poke(fuzz, meta, names);
	return kind;
}

/* --- What a reader should make of it --------------------------------------------------------- */

struct fill_tld {
	bool found;
	uint32_t index;
	uint32_t off;		/* the sum of the sizes before it: any number */
	uint32_t size;
};

/* Entry @wanted, or the first of the name @name, of the @entries that a page has. */
static inline struct fill_tld fill_walk(const uint8_t *meta, uint32_t entries, const char *name,
					uint32_t wanted)
{
	struct fill_tld tld = { 0 };
	const uint8_t *entry;

	for (tld.index = 0; tld.index < fill_u16(meta) && tld.index < entries; tld.index++) {
		entry = meta + 4 + 64 * tld.index;
		tld.size = fill_u16(entry + FILL_NAME);
		if (!tld.size)
			break;
		tld.found = name ? !strncmp((const char *)entry, name, FILL_NAME) :
				   tld.index == wanted;
		if (tld.found)
			break;
		tld.off += fill_rounded(tld.size);
	}
	return tld;
}

/*
 * Whether the page is stamped, and then by another image than this. A stamp of zero
 * says nothing.
 */
__attribute__((unused))
static bool fill_is_stale(const uint8_t *meta)
{
	uint32_t magic;
	uint64_t stamp;

	memcpy(&magic, meta + FILL_PAGE - 60, sizeof(magic));
	memcpy(&stamp, meta + FILL_PAGE - 52, sizeof(stamp));
	return magic == FILL_MAGIC && stamp && stamp != getauxval(AT_RANDOM);
}

#endif
