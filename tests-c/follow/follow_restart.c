// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow_restart.c - as an operator would: a program stores hints in several threads
 * and follows a pin, while the loader that pins the map is killed and started again,
 * 50 times. After each restart BPF reads every thread's newest value within a second
 * of the pin, and at the end nothing is left of any of them.
 *
 * The loader is this program, executed with other arguments: it has nothing of the
 * hinting process's but memory in which that says what it stored.
 *
 * follow_restart --soak SECONDS spreads the restarts over so long.
 */
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include "follow.h"
#include "reader.h"

#define RESTARTS SOME(50)
#define HINTERS 6
/* The bound. */
#define BOUND_SECONDS (1.0 * FEWER)
/* Where the loader finds what it inherits. */
#define SHARED_FD 60
#define REPORT_FD 61

/* --- What the two processes share ------------------------------------------------- */

/* One for each thread that hints: who it is, and what it has stored for certain. */
struct slot {
	pid_t tid;
	uint64_t stored;
};

struct shared {
	struct slot slots[HINTERS];
	/* Kept by the loader: readings since it said that all is well, and bad ones. */
	uint64_t readings, bad_readings;
};

static struct shared *shared;

/* Nobody else's values look like the slot's. */
#define SLOT_VALUE(slot) ((uint64_t)((slot) + 1) << 48)

enum way { UNLINK_AND_PIN, RENAME_OVER, PIN_STAYS, PIN_GONE, WAYS };

static const char *const way_words[WAYS] = {
	"unlinks the pin and pins anew",
	"renames a new pin over the old one",
	"finds the pin and uses its map",
	"pins where the pin was removed",
};

struct report {
	unsigned int map_id;
	double slowest;	/* of all threads: from the pin to the newest value, in seconds */
	bool all;	/* every thread's was read */
};

static void map_shared(int fd)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		tap_bail("memory can be shared");
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* --- The loader ------------------------------------------------------------------- */

static struct reader *load_and_pin(enum way way)
{
	struct reader *reader;
	int fd;

	if (way == PIN_STAYS) {
		fd = bpf_obj_get(PIN);
		if (fd < 0)
			tap_bail("the pin can be opened");
		return reader_open_map(READER_V2, fd);
	}
	reader = reader_open(READER_V2);
	if (way == RENAME_OVER) {
		pin_over(reader_map_fd(reader), PIN);
		return reader;
	}
	if (way == UNLINK_AND_PIN)
		must(unlink(PIN));
	pin(reader_map_fd(reader), PIN);
	return reader;
}

enum reading { NEWEST, OLD, ANOTHER };

/* The value that BPF reads lies between what was stored before and after the look. */
static enum reading read_slot(struct reader *reader, int i)
{
	struct slot *slot = &shared->slots[i];
	pid_t tid = __atomic_load_n(&slot->tid, __ATOMIC_ACQUIRE);
	uint64_t before = load(&slot->stored), value = reader_u64(reader, tid, "value");
	uint64_t after = load(&slot->stored);

	/* Its thread ended, or is another by now: nothing can be said. */
	if (!tid || tid != __atomic_load_n(&slot->tid, __ATOMIC_ACQUIRE))
		return ANOTHER;
	return value >= before && value <= after + 1 ? NEWEST : OLD;
}

static bool read_newest(struct reader *reader, int i)
{
	return read_slot(reader, i) == NEWEST;
}

static struct report await_all(struct reader *reader)
{
	double start = seconds_now();
	struct report report = { .map_id = map_id(reader_map_fd(reader)), .all = true };

	for (int i = 0; i < HINTERS; i++)
		report.all &= awaited(read_newest(reader, i));
	report.slowest = seconds_now() - start;
	return report;
}

/* Until it is killed. */
__attribute__((noreturn))
static void go_on_reading(struct reader *reader)
{
	for (;; rest()) {
		for (int i = 0; i < HINTERS; i++) {
			enum reading reading = read_slot(reader, i);

			shared->readings += reading == NEWEST;
			shared->bad_readings += reading == OLD;
		}
	}
}

static int be_loader(enum way way)
{
	struct reader *reader;
	struct report report;

	map_shared(SHARED_FD);
	reader = load_and_pin(way);
	report = await_all(reader);
	if (write(REPORT_FD, &report, sizeof(report)) != sizeof(report))
		return 2;
	go_on_reading(reader);
}

/* --- The program that hints ------------------------------------------------------- */

static volatile bool hints_end, replace_first;

/* Half of the threads ask each time, the others keep the pointer that they got. */
static void *hint(void *arg)
{
	int number = (intptr_t)arg;
	struct slot *slot = &shared->slots[number];
	struct timespec pause = { .tv_nsec = 200000 };
	uint64_t value = SLOT_VALUE(number), *data = tld_get(key);

	if (!data)
		tap_bail("a thread gets its TLD");
	*data = value;
	__atomic_store_n(&slot->stored, value, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->tid, gettid(), __ATOMIC_RELEASE);
	while (!hints_end && !(number == 0 && replace_first)) {
		if (number % 2)
			data = tld_get(key);
		__atomic_store_n(data, ++value, __ATOMIC_RELEASE);
		__atomic_store_n(&slot->stored, value, __ATOMIC_RELEASE);
		nanosleep(&pause, NULL);
	}
	__atomic_store_n(&slot->tid, 0, __ATOMIC_RELEASE);
	return NULL;
}

static pthread_t hinters[HINTERS];

/* The first thread lives from one restart to the next. */
static void replace_first_hinter(void)
{
	replace_first = true;
	end_thread(hinters[0]);
	replace_first = false;
	hinters[0] = start_thread(hint, (void *)0);
}

/* --- The operator ----------------------------------------------------------------- */

struct loader {
	pid_t pid;
	int report;
};

static int shared_fd;

__attribute__((noreturn))
static void execute_loader(enum way way, int report)
{
	char number[16];

	/* It ends with the thread that started it, however that ends. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(number, sizeof(number), "%d", way);
	if (dup2(shared_fd, SHARED_FD) < 0 || dup2(report, REPORT_FD) < 0)
		_exit(2);
	execl("/proc/self/exe", "follow_restart", "--loader", number, NULL);
	_exit(2);
}

static struct loader start_loader(enum way way)
{
	struct loader loader;
	int ends[2];

	must(pipe2(ends, O_CLOEXEC));
	loader.pid = fork();
	if (loader.pid < 0)
		tap_bail("fork works");
	if (!loader.pid)
		execute_loader(way, ends[1]);
	close(ends[1]);
	loader.report = ends[0];
	return loader;
}

static struct report loader_report(struct loader loader)
{
	struct report report;

	if (read(loader.report, &report, sizeof(report)) != sizeof(report))
		tap_bail("the loader reports");
	return report;
}

static void kill_loader(struct loader loader)
{
	int end;

	kill(loader.pid, SIGKILL);
	if (waitpid(loader.pid, &end, 0) != loader.pid || !WIFSIGNALED(end))
		tap_bail("the loader lives until it is killed");
	close(loader.report);
}

/* What is counted over all restarts. */
static struct tally {
	int all, in_time, uses[WAYS];
	double slowest;
	unsigned int ids[RESTARTS + 1];
	int maps;
} tally;

static void count_report(struct report report, enum way way)
{
	tally.uses[way]++;
	tally.all += report.all;
	tally.in_time += report.all && report.slowest <= BOUND_SECONDS;
	if (report.slowest > tally.slowest)
		tally.slowest = report.slowest;
	if (report.slowest > BOUND_SECONDS)
		diag("%.3f s where the loader %s", report.slowest, way_words[way]);
	if (way != PIN_STAYS)
		tally.ids[tally.maps++] = report.map_id;
}

static void sleep_until(double moment)
{
	while (seconds_now() < moment)
		rest();
}

/* The pin of one that was killed stays, as nobody removes it. */
static void restart(struct loader *loader, int number, double until)
{
	enum way way = number % WAYS;

	sleep_until(until);
	kill_loader(*loader);
	if (way == PIN_GONE)
		must(unlink(PIN));
	if (number % 2)
		replace_first_hinter();
	*loader = start_loader(way);
	if (number % 2 == 0)
		replace_first_hinter();
	count_report(loader_report(*loader), way);
}

struct footprint {
	int descriptors, mappings;
	long size;
};

static struct footprint footprint(void)
{
	return (struct footprint){ open_descriptors(), mappings(), status_kib("VmSize:") };
}

static void judge_footprint(struct footprint before, const char *since)
{
	struct footprint after = footprint();

	is(after.descriptors, before.descriptors,
	   "%s: as many descriptors are open as before", since);
	if (UNDER_SANITIZER) {
		tap_skip("as much is mapped as before", "a sanitizer maps memory of its own");
		return;
	}
	is(after.mappings, before.mappings, "%s: as many mappings as before", since);
	is(after.size, before.size, "%s: as much address space as before", since);
}

/* All but the last so many. */
static int maps_left(int living)
{
	int left = 0;

	for (int i = 0; i < tally.maps - living; i++)
		left += !map_is_gone(tally.ids[i]);
	return left;
}

static void judge_restarts(void)
{
	for (int way = 0; way < WAYS; way++)
		ok(tally.uses[way] >= RESTARTS / WAYS,
		   "%d times the new loader %s", tally.uses[way],
		   way_words[way]);
	diag("slowest: %.3f s; %llu later readings", tally.slowest,
	     (unsigned long long)shared->readings);
	is(tally.all, RESTARTS + 1,
	   "a start and %d restarts: each time BPF reads every thread's newest value",
	   RESTARTS);
	is(tally.in_time, RESTARTS + 1, "within %.0f s of the pin", BOUND_SECONDS);
	/* A loader may be killed before its first reading; the last one lives. */
	ok(awaited(__atomic_load_n(&shared->readings, __ATOMIC_RELAXED) >= 10 * HINTERS),
	   "BPF goes on reading until the loader is killed");
	is(shared->bad_readings, 0, "and never reads anything but the newest value");
	ok(awaited(!maps_left(1)), "of %d maps only the one that is pinned is left", tally.maps);
}

static void start_hinters(void)
{
	shared_fd = memfd_create("tld-test", MFD_CLOEXEC);
	must(ftruncate(shared_fd, sizeof(*shared)));
	map_shared(shared_fd);
	make_key();
	for (intptr_t i = 0; i < HINTERS; i++)
		hinters[i] = start_thread(hint, (void *)i);
	for (int i = 0; i < HINTERS; i++)
		if (!awaited(shared->slots[i].tid))
			tap_bail("every thread stores");
	/* What the first of them leaves mapped. */
	replace_first_hinter();
}

/* So that what the library and the C library keep for later is there. */
static void follow_once(void)
{
	int map = data_map(V2_SIZE);

	pin(map, PIN);
	must(tld_follow(PIN));
	must(tld_unfollow(PIN));
	must(unlink(PIN));
	close(map);
	if (!awaited(tasks() == 1 + HINTERS))
		tap_bail("the library's thread ends");
}

static void run_restarts(double seconds)
{
	struct footprint before_follow, before;
	struct loader loader;
	double start;

	make_place();
	start_hinters();
	follow_once();
	before_follow = footprint();
	is(tld_follow(PIN), 0, "a program with %d threads that hint follows a pin", HINTERS);
	loader = start_loader(PIN_GONE);
	count_report(loader_report(loader), PIN_GONE);
	before = footprint();
	start = seconds_now();
	for (int i = 0; i < RESTARTS; i++)
		restart(&loader, i, start + seconds * (i + 1) / RESTARTS);
	sleep_until(seconds_now() + seconds / RESTARTS);
	judge_restarts();
	is(tld_follow_status(PIN), 0, "the status is 0 at the end");
	judge_footprint(before, "since the first start");
	kill_loader(loader);
	must(unlink(PIN));
	ok(awaited(!maps_left(0)),
	   "the last map is gone when its loader is killed and its pin removed");
	must(tld_unfollow(PIN));
	ok(awaited(tasks() == 1 + HINTERS), "the library's thread has ended");
	judge_footprint(before_follow, "since before tld_follow()");
	hints_end = true;
	for (int i = 0; i < HINTERS; i++)
		end_thread(hinters[i]);
}

static double soak_seconds;

static void restarts(void)
{
	alarm(60 + (unsigned int)soak_seconds);
	run_restarts(soak_seconds);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--loader"))
		return be_loader(atoi(argv[2]));
	reader_need_kernel();
	need_place();
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		soak_seconds = atof(argv[2]);
	in_child(restarts);
	return tap_done();
}
