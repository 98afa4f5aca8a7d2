// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hostile_pages.c - BPF is safe from a process that writes anything into its own
 * pages. A fuzzer publishes pages by hand, a start of the data and a metadata page
 * that nobody sane would write, while BPF looks TLDs up there, reads and writes them.
 *
 * hostile_pages --soak SECONDS tries a million pages, or as many as it gets done.
 */
#include <math.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile_fill.h"
#include "hostile_pages.h"
#include "maps.h"
#include "often.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define PAGES OFTEN(20000u)
#define SOAK_PAGES 1000000u
#define SLICE OFTEN(4000u)	/* pages between two looks at the clock */
#define ARENA (2u << 20)	/* one huge page, so that neighbours are neighbours for BPF too */

/* A BPF header: what is loaded for it, and where it keeps what it found. */
struct format {
	const char *name, *file;
	const char *cache_map;	/* NULL: that is in the element, behind what is published */
};

static const struct format formats[] = {
	{ "drop-in header", "hostile_pages.bpf.o", "tld_key_map" },
	{ "native header", "hostile_pages.native.bpf.o", NULL },
};

#define NAME(place, key, name, size) name,
#define SIZE(place, key, name, size) size,
static const char *const look_name[] = { HOSTILE_LOOKS(NAME) };
static const uint32_t look_size[] = { HOSTILE_LOOKS(SIZE) };
static const struct fill_names names = { look_name, look_size, HOSTILE_COUNT };

static uint64_t seed;
static uint32_t pages_wanted = PAGES;
static double deadline = INFINITY;
static unsigned int soak_seconds;	/* for each format */

/* --- The pages ------------------------------------------------------------------------------- */

/* Places in the arena; all pages of it but data and meta are sentinels. */
enum { BEFORE_DATA = 100, DATA, OTHERS_DATA, BEFORE_META = 200, META, BEHIND_META,
       OTHERS_META = 300, ARENA_PAGES = ARENA / FILL_PAGE };
static const int watched[] = { BEFORE_DATA, OTHERS_DATA, BEFORE_META, BEHIND_META, OTHERS_META };

static uint8_t *arena, *pristine;
static uint64_t data_in_bpf, meta_in_bpf;

static uint8_t *page(int place)
{
	return arena + place * FILL_PAGE;
}

static bool unharmed(int place)
{
	return !memcmp(page(place), pristine + place * FILL_PAGE, FILL_PAGE);
}

/* How many of the pages that BPF has beside its own, and of the other task's, changed. */
static uint32_t harmed_neighbours(void)
{
	uint32_t harmed = 0;

	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		harmed += !unharmed(watched[i]);
	return harmed;
}

static uint32_t harmed_pages(void)
{
	uint32_t harmed = 0;

	for (int i = 0; i < ARENA_PAGES; i++)
		harmed += i != DATA && i != META && !unharmed(i);
	return harmed;
}

static void map_arena(void)
{
	struct fuzz fuzz = fuzz_sequence(seed, 0);
	uint8_t *memory = mmap(NULL, 2 * ARENA, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	pristine = malloc(ARENA);
	if (memory == MAP_FAILED || !pristine)
		tap_bail("memory for the pages");
	arena = memory + (-(uintptr_t)memory & (ARENA - 1));
	madvise(arena, ARENA, MADV_HUGEPAGE);
	fuzz_bytes(&fuzz, arena, ARENA);
	memset(page(OTHERS_META), 0, FILL_PAGE);
	fill_named(page(OTHERS_META), 0, "word", 8);
	fill_store(page(OTHERS_META), 1);
	memcpy(pristine, arena, ARENA);
}

/* --- What BPF is asked ----------------------------------------------------------------------- */

static const struct format *format;
static struct bpf_object *object;
static volatile struct hostile_cost *cost;
static int map_fd, cache_fd, prog_fd, self_pidfd;

static struct hostile_view look(bool write, uint8_t mark)
{
	struct hostile_view view = { .write = write, .mark = mark, .err = 1 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(prog_fd, &opts))
		tap_bail("the program runs");
	return view;
}

struct value {
	uint64_t data, meta;
	uint16_t start;
	uint8_t rest[1024];	/* as much of it as the map's value has */
};

/* In the rest: where the native header notes the places, a word each. */
#define AREA_PLACES (32 - 18)

/* What is behind the start: zeros, noise, or what BPF itself has left there. */
enum rest { REST_ZERO, REST_NOISE, REST_KEPT };

/*
 * Kept from other pages: marked as valid by BPF, who looked. And then as wrong as the
 * process likes.
 */
static void keep_rest(struct fuzz *fuzz, int pidfd, struct value *value)
{
	static const uint16_t edges[] = { 0, 1, 2, 4088, 4089, 4096, 4097, 32767, 32768, 65535 };
	struct value old;

	if (bpf_map_lookup_elem(map_fd, &pidfd, &old))
		return;
	memcpy(value->rest, old.rest, sizeof(value->rest));
	for (int i = fuzz_below(fuzz, 2 * HOSTILE_COUNT); i--; ) {
		uint8_t *place = value->rest + AREA_PLACES + 8 * fuzz_below(fuzz, HOSTILE_COUNT);
		uint16_t half = fuzz_one_in(fuzz, 4) ? fuzz_next(fuzz) : fuzz_pick(fuzz, edges);

		memcpy(place + 2 * fuzz_below(fuzz, 2), &half, sizeof(half));
	}
}

/* The kernel may be busy, because BPF looks and another thread publishes. */
static void publish(int pidfd, const void *data, const void *meta, uint16_t start,
		    enum rest rest, struct fuzz *fuzz)
{
	struct value value = { (uintptr_t)data, (uintptr_t)meta, start, { 0 } };
	int err;

	if (rest == REST_NOISE)
		fuzz_bytes(fuzz, value.rest, sizeof(value.rest));
	else if (rest == REST_KEPT)
		keep_rest(fuzz, pidfd, &value);
	do {
		err = bpf_map_update_elem(map_fd, &pidfd, &value, BPF_ANY) ? errno : 0;
	} while (err == EAGAIN || err == EBUSY || err == ETIMEDOUT || err == EDEADLK);
	if (err)
		tap_bail("the task's element can be written");
}

/* So that the next look is BPF's first one at this task. */
static void forget_cache(void)
{
	if (cache_fd >= 0)
		bpf_map_delete_elem(cache_fd, &self_pidfd);
}

/* Where BPF has one of our pages. */
static uint64_t address_in_bpf(int place)
{
	memset(page(META), 0, FILL_PAGE);
	publish(self_pidfd, page(place), page(META), 8, REST_ZERO, NULL);
	forget_cache();
	return look(false, 0).page;
}

/* --- One page, while nobody else writes ------------------------------------------------------ */

static struct {
	uint32_t pages, moving_pages;
	uint32_t found[HOSTILE_COUNT], absent[HOSTILE_COUNT], stale, null, one_page;
	uint32_t wrong, invented, missed, astray, misread, miswritten, harmed, meta_changed;
	uint32_t err_wrong, changed_under_bpf, moved_start, kept;
	uint64_t most_ns;
} seen;

struct attempt {
	uint32_t number;
	enum fill_kind kind;
	uint16_t start;
	const uint8_t *data, *meta;	/* what is published */
	uint8_t meta_before[FILL_PAGE], data_before[FILL_PAGE];
};

static struct attempt attempt;

/* Count a fault, and show the first of its kind. */
#define fault(counter, ...)								\
do {											\
	if (!seen.counter++) {								\
		diag("  " #counter ": page %u, kind %d, start %u", attempt.number,	\
		     attempt.kind, attempt.start);					\
		diag("    " __VA_ARGS__);						\
	}										\
} while (0)

static void fill_data(struct fuzz *fuzz)
{
	uint64_t start = fuzz_one_in(fuzz, 2) ? fill_start(fuzz) : fuzz_next(fuzz);

	fuzz_bytes(fuzz, page(DATA), fuzz_one_in(fuzz, 16) ? FILL_PAGE : 256);
	/* Where a reader of the first format finds the start. */
	memcpy(page(DATA), &start, sizeof(start));
}

/* What the element says: now and then only one page, or the same page twice. */
static void choose_pages(struct fuzz *fuzz)
{
	attempt.data = page(DATA);
	attempt.meta = page(META);
	if (fuzz_one_in(fuzz, 50))
		attempt.data = NULL;
	else if (fuzz_one_in(fuzz, 50))
		attempt.meta = NULL;
	else if (fuzz_one_in(fuzz, 50))
		attempt.data = page(META);
	seen.null += !attempt.data || !attempt.meta;
	seen.one_page += attempt.data == attempt.meta;
}

static void fill_and_publish(struct fuzz *fuzz, enum rest rest)
{
	attempt.start = fill_start(fuzz);
	attempt.kind = fill_page(fuzz, page(META), &names, attempt.start);
	fill_data(fuzz);
	choose_pages(fuzz);
	publish(self_pidfd, attempt.data, attempt.meta, attempt.start, rest, fuzz);
	memcpy(attempt.meta_before, page(META), FILL_PAGE);
	memcpy(attempt.data_before, page(DATA), FILL_PAGE);
}

static uint64_t own_page_in_bpf(void)
{
	return attempt.data == page(META) ? meta_in_bpf : data_in_bpf;
}

/* A pointer that BPF got leads to the task's own page, and so does its last byte. */
static bool within_own_page(const struct hostile_view *view, int which, uint64_t own)
{
	const struct hostile_look *got = &view->look[which];

	return got->at >= own && got->at - own <= FILL_PAGE - look_size[which];
}

static void check_bounds(const struct hostile_view *view)
{
	for (int i = 0; i < HOSTILE_COUNT; i++)
		if (view->look[i].found && !within_own_page(view, i, own_page_in_bpf()))
			fault(astray, "%s: at %llx, the page is at %llx", look_name[i],
			      view->look[i].at, (unsigned long long)own_page_in_bpf());
	if (seen.most_ns < view->ns)
		seen.most_ns = view->ns;
}

static bool oracle_errs(void)
{
	return !attempt.data || !attempt.meta || fill_is_stale(attempt.meta_before);
}

/* Where in its page a TLD is that BPF should find, or -1. The headers know that it is aligned. */
static int64_t oracle(int which)
{
	struct fill_tld tld = fill_walk(attempt.meta_before, FILL_ENTRIES, look_name[which], 0);
	uint64_t at = (uint64_t)attempt.start + tld.off;

	if (!tld.found || tld.size < look_size[which] || at + look_size[which] > FILL_PAGE)
		return -1;
	return at & ~7ULL;
}

static void check_found(int which, const struct hostile_look *got)
{
	int64_t want = oracle(which), at = got->found ? (int64_t)(got->at - data_in_bpf) : -1;

	seen.found[which] += got->found;
	seen.absent[which] += !got->found;
	if (want < 0 && got->found)
		fault(invented, "%s at %lld, where there is none", look_name[which], (long long)at);
	else if (want >= 0 && !got->found && attempt.start > 0)
		fault(missed, "%s should be at %lld", look_name[which], (long long)want);
	else if (got->found && at != want)
		fault(wrong, "%s at %lld, not %lld", look_name[which], (long long)at,
		      (long long)want);
	if (got->found && at == want &&
	    (got->first != attempt.data_before[at] ||
	     got->last != attempt.data_before[at + look_size[which] - 1]))
		fault(misread, "%s at %lld", look_name[which], (long long)at);
}

/* By the walk through what was there while nobody wrote. */
static void check_oracle(const struct hostile_view *view)
{
	if (!view->err != !oracle_errs())
		fault(err_wrong, "finding the data gives %d", view->err);
	seen.stale += attempt.data && attempt.meta && oracle_errs();
	for (int i = 0; i < HOSTILE_COUNT && !view->err; i++)
		check_found(i, &view->look[i]);
}

/* BPF wrote its mark at both ends of what it found, and nothing else anywhere. */
static void check_written(const struct hostile_view *view, uint8_t mark)
{
	static uint8_t want[FILL_PAGE];
	uint64_t at;

	memcpy(want, attempt.data_before, FILL_PAGE);
	for (int i = 0; i < HOSTILE_COUNT; i++) {
		at = view->look[i].at - data_in_bpf;
		if (view->look[i].found && at <= FILL_PAGE - look_size[i])
			want[at] = want[at + look_size[i] - 1] = mark;
	}
	if (memcmp(want, page(DATA), FILL_PAGE))
		fault(miswritten, "mark %u", mark);
	if (memcmp(attempt.meta_before, page(META), FILL_PAGE))
		fault(meta_changed, "mark %u", mark);
}

static void check_neighbours(void)
{
	uint32_t harmed = harmed_neighbours();

	if (harmed)
		fault(harmed, "%u pages that are not the task's data", harmed);
}

/* A look that reads, and one that writes; @first: nothing is cached from other pages. */
static void calm_page(struct fuzz *fuzz, bool first)
{
	struct hostile_view view;
	uint8_t mark = fuzz_next(fuzz);

	fill_and_publish(fuzz, first ? fuzz_below(fuzz, REST_KEPT) : REST_KEPT);
	if (first)
		forget_cache();
	view = look(false, mark);
	check_bounds(&view);
	seen.kept += !first && !view.err;
	/* Data that are the table change while they are written, and so do places. */
	if (first && attempt.data != attempt.meta)
		check_oracle(&view);
	view = look(true, mark);
	check_bounds(&view);
	if (attempt.data != attempt.meta)
		check_written(&view, mark);
	check_neighbours();
	seen.pages++;
}

/* --- One page, while another thread writes --------------------------------------------------- */

static volatile bool stop_writing;
static uint64_t pokes, all_pokes;
static struct fuzz calm_sequence, moving_sequence, writing_sequence;

/* Everything that the process may do to BPF that is looking: the page, the element. */
static void *keep_writing(void *sequence)
{
	struct fuzz *fuzz = sequence;

	while (!stop_writing) {
		fill_poke(fuzz, page(META), &names);
		if (__atomic_add_fetch(&pokes, 1, __ATOMIC_RELAXED) % 64)
			continue;
		fill_stamp(fuzz, page(META));
		publish(self_pidfd, page(DATA), page(META), fill_start(fuzz),
			fuzz_below(fuzz, REST_KEPT + 1), fuzz);
		__atomic_add_fetch(&seen.moved_start, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void moving_page(struct fuzz *fuzz)
{
	struct hostile_view view;

	attempt.data = page(DATA);
	attempt.meta = page(META);
	attempt.start = fill_start(fuzz);
	attempt.kind = fill_page(fuzz, page(META), &names, attempt.start);
	fill_data(fuzz);
	if (fuzz_one_in(fuzz, 2))
		forget_cache();
	for (int i = 0; i < 3; i++) {
		view = look(i == 1, fuzz_next(fuzz));
		check_bounds(&view);
		seen.changed_under_bpf += !view.err && view.cnt_before != view.cnt_after;
	}
	check_neighbours();
	seen.moving_pages++;
}

static void calm_pages(uint32_t count)
{
	while (count--) {
		attempt.number = seen.pages;
		calm_page(&calm_sequence, seen.pages % 3);
	}
}

static void moving_pages(uint32_t count)
{
	pthread_t writer;

	stop_writing = false;
	/* The element may still name the same page twice. */
	publish(self_pidfd, page(DATA), page(META), 8, REST_ZERO, NULL);
	pokes = 0;
	writer = start_thread(keep_writing, &writing_sequence);
	eventually(__atomic_load_n(&pokes, __ATOMIC_RELAXED) > 0);
	while (count--) {
		attempt.number = seen.moving_pages;
		moving_page(&moving_sequence);
	}
	stop_writing = true;
	end_thread(writer);
	all_pokes += pokes;
}

/* --- A header -------------------------------------------------------------------------------- */

static void judge_found(void)
{
	uint32_t seldom = UINT32_MAX;

	for (int i = 0; i < HOSTILE_COUNT; i++) {
		diag("\"%.8s\", %u bytes: found %u times, not %u times", look_name[i], look_size[i],
		     seen.found[i], seen.absent[i]);
		if (seldom > seen.found[i])
			seldom = seen.found[i];
		if (seldom > seen.absent[i])
			seldom = seen.absent[i];
	}
	ok(seldom > 0, "%s: each TLD is found in some pages, and not in others", format->name);
	ok(seen.stale && seen.null && seen.one_page,
	   "%s: some pages are another image's, some missing, some the same twice", format->name);
	ok(seen.kept > 0, "%s: some are read by what is cached from others", format->name);
}

static void judge_calm(void)
{
	is(seen.err_wrong, 0, "%s: pages are refused where one is missing or another image's",
	   format->name);
	is(seen.wrong + seen.invented, 0,
	   "%s: what BPF finds is where the table says, and lies in the page", format->name);
	is(seen.missed, 0, "%s: what the table has in the page, BPF finds", format->name);
	is(seen.misread, 0, "%s: what BPF reads is in the task's own page", format->name);
	is(seen.miswritten, 0, "%s: what BPF writes arrives there, and nothing else does",
	   format->name);
	is(seen.meta_changed, 0, "%s: BPF changes nothing in the metadata page", format->name);
}

static void judge_moving(void)
{
	/* On a busy machine the two seldom run at the same time. */
	eventually(seen.changed_under_bpf > 0 || (moving_pages(SLICE / 4), false));
	diag("%llu changes, %u of them of the start; %u looks saw cnt change",
	     (unsigned long long)all_pokes, seen.moved_start, seen.changed_under_bpf);
	ok(seen.changed_under_bpf > 0 && seen.moved_start > 0,
	   "%s: the table and the start change while BPF looks", format->name);
}

static void judge_all(uint32_t wanted)
{
	diag("%s: %u pages that stand still, %u that change; longest run %llu ns", format->name,
	     seen.pages, seen.moving_pages, (unsigned long long)seen.most_ns);
	ok(seen.pages + seen.moving_pages >= wanted || seconds_now() >= deadline,
	   "%s: BPF has looked into as many hostile pages as there is time for", format->name);
	is(seen.astray, 0, "%s: every pointer, with its size, stays in the task's own page",
	   format->name);
	is(seen.harmed, 0, "%s: no page beside it has changed at any time", format->name);
	is(harmed_pages(), 0, "%s: nor has any of %d pages around, one of them another task's",
	   format->name, ARENA_PAGES);
}

/* In rounds, not by the clock, which a busy machine holds up. */
static void judge_rounds(void)
{
	diag("%llu searches, %llu rounds, at most %llu in one, %llu names compared",
	     cost->searches, cost->rounds, cost->most_rounds, cost->compared);
	ok(cost->rounds > 0 && cost->compared > 0, "%s: the rounds of its loops are counted",
	   format->name);
	ok(cost->most_rounds <= FILL_ENTRIES,
	   "%s: no search takes more rounds than a page has entries", format->name);
	ok(cost->compared <= cost->rounds, "%s: a round compares one name at most", format->name);
}

/* Half of the pages are BPF's first look, a quarter comes over what it has cached. */
static void hostile_pages_of(uint32_t wanted)
{
	uint32_t moving = have_two_processors() ? SLICE / 4 : 0;

	calm_sequence = fuzz_sequence(seed, 1);
	moving_sequence = fuzz_sequence(seed, 2);
	writing_sequence = fuzz_sequence(seed, 3);
	do {
		calm_pages(SLICE - moving);
		if (moving)
			moving_pages(moving);
	} while (seen.pages + seen.moving_pages < wanted && seconds_now() < deadline);
	judge_found();
	judge_calm();
	if (moving)
		judge_moving();
	else
		tap_skip("BPF looks while another thread writes", "needs a second processor");
	judge_all(wanted);
	judge_rounds();
}

/* --- Another task ---------------------------------------------------------------------------- */

static pthread_barrier_t published_other, looked_at_other;
static pid_t other_tid;

static void *be_another_task(void *unused)
{
	int pidfd = thread_pidfd(gettid());

	(void)unused;
	other_tid = gettid();
	publish(pidfd, page(OTHERS_DATA), page(OTHERS_META), 8, REST_ZERO, NULL);
	close(pidfd);
	pthread_barrier_wait(&published_other);
	pthread_barrier_wait(&looked_at_other);
	return NULL;
}

static void judge_other_task(void)
{
	struct reader *reader = reader_open_map(READER_V2, map_fd);
	struct reader_view view;
	uint64_t want;

	memcpy(&want, pristine + OTHERS_DATA * FILL_PAGE + 8, sizeof(want));
	is(reader_look(reader, other_tid, &view), 0, "%s: the other task is still in the map",
	   format->name);
	ok(!memcmp(view.data, pristine + OTHERS_DATA * FILL_PAGE, FILL_PAGE) &&
	   reader_u64(reader, other_tid, "word") == want, "%s: BPF reads its page as it was",
	   format->name);
	reader_close(reader);
}

/* --- Setting up ------------------------------------------------------------------------------ */

/* Not reader_load(): that the verifier takes the programs is a point of its own. */
static bool load(void)
{
	int err;

	object = bpf_object__open_file(reader_beside(format->file), NULL);
	if (!object || libbpf_get_error(object))
		tap_bail("libbpf opens %s", format->file);
	err = bpf_object__load(object);
	if (!is(err, 0, "%s: the verifier takes programs that read and write 1 to 4,088 bytes",
		format->name))
		return false;
	map_fd = reader_object_map_fd(object, "tld_data_map");
	cache_fd = format->cache_map ? reader_object_map_fd(object, format->cache_map) : -1;
	prog_fd = reader_prog_fd(object, "hostile_look");
	cost = reader_memory(object, ".bss", sizeof(*cost));
	return true;
}

/*
 * An element elsewhere pins the pages, so that the kernel leaves them where they are
 * while the element in question changes.
 */
static void hold_pages(int holder_fd)
{
	uintptr_t value[3] = { (uintptr_t)page(DATA), (uintptr_t)page(META), 8 };

	if (element_write(holder_fd, gettid(), value))
		tap_bail("an element holds the pages");
	data_in_bpf = address_in_bpf(DATA);
	meta_in_bpf = address_in_bpf(META);
	if (!data_in_bpf || !meta_in_bpf)
		tap_bail("BPF says where it has the pages");
}

/* Else the pages that are watched would not be those that a wrong pointer leads to. */
static void judge_neighbourhood(void)
{
	bool adjacent = true;

	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		adjacent &= address_in_bpf(watched[i]) - data_in_bpf ==
			    (uint64_t)(watched[i] - DATA) * FILL_PAGE;
	if (!adjacent)
		tap_skip("the pages around the task's are its neighbours for BPF, too",
			 "no huge page is to be had");
	else
		ok(adjacent, "the pages around the task's are its neighbours for BPF, too");
}

static void hostile_format(void)
{
	pthread_t other;
	int holder_fd;

	alarm(CASE_SECONDS + 60 + soak_seconds);
	holder_fd = data_map(V2_SIZE);
	if (!load())
		return;
	self_pidfd = thread_pidfd(gettid());
	map_arena();
	hold_pages(holder_fd);
	judge_neighbourhood();
	pthread_barrier_init(&published_other, NULL, 2);
	pthread_barrier_init(&looked_at_other, NULL, 2);
	other = start_thread(be_another_task, NULL);
	pthread_barrier_wait(&published_other);
	hostile_pages_of(pages_wanted);
	judge_other_task();
	pthread_barrier_wait(&looked_at_other);
	end_thread(other);
	bpf_object__close(object);
	close(holder_fd);
}

/* --- The reader of the other tests ----------------------------------------------------------- */

/*
 * The raw readers interpret nothing but the start. That one reports it as it is, and
 * hands out the task's pages and no others, is what their tests stand on.
 */
static void raw_reader(enum reader_format raw)
{
	struct reader *reader = reader_open(raw);
	struct fuzz fuzz = fuzz_sequence(seed, 10 + raw);
	uint32_t wrong_start = 0, wrong_pages = 0, tried;
	struct reader_view view;
	uint64_t first;

	map_fd = reader_map_fd(reader);
	for (tried = 0; tried < OFTEN(1000u); tried++) {
		fill_and_publish(&fuzz, fuzz_below(&fuzz, REST_KEPT));
		reader_look(reader, 0, &view);
		memcpy(&first, attempt.data ? attempt.data : page(DATA), sizeof(first));
		if (attempt.data)
			wrong_start += view.start !=
				       (raw == READER_V1 ? (uint32_t)first : attempt.start);
		wrong_pages += view.has_data != !!attempt.data || view.has_meta != !!attempt.meta ||
			       (attempt.data && memcmp(view.data, attempt.data, FILL_PAGE)) ||
			       (attempt.meta && memcmp(view.meta, attempt.meta, FILL_PAGE));
	}
	is(wrong_start, 0, "raw reader, %s: the start is what %u hostile pages say",
	   reader_format_name(raw), tried);
	is(wrong_pages, 0, "raw reader, %s: it hands out the task's own pages, as they are",
	   reader_format_name(raw));
	reader_close(reader);
}

static void raw_readers(void)
{
	map_arena();
	self_pidfd = thread_pidfd(gettid());
	for (int raw = READER_V1; raw <= READER_NATIVE; raw++)
		raw_reader(raw);
}

int main(int argc, char **argv)
{
	reader_need_kernel();
	if (getpagesize() != (int)FILL_PAGE)
		tap_skip_all("the BPF objects show 4096 bytes of this machine's larger pages");
	seed = fuzz_seed();
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		format = &formats[i];
		if (argc == 3 && !strcmp(argv[1], "--soak")) {
			soak_seconds = atof(argv[2]) / (sizeof(formats) / sizeof(*formats));
			pages_wanted = SOAK_PAGES;
			deadline = seconds_now() + soak_seconds;
		}
		in_child_named(format->name, hostile_format);
	}
	in_child(raw_readers);
	return tap_done();
}
