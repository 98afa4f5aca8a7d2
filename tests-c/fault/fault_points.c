// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * fault_points.c - each system call that libtld makes, failed once at each place of each
 * path through the API with each errno that the kernel documents for it: the result is
 * a documented one, nothing is lost or left, and afterwards all works. See inject.h for
 * how, fault_points.h for what is judged; fault_follow.c does the same for pins that are
 * followed, fault_repeats.c for faults that stay.
 */
#define TLD_DYN_DATA_SIZE 200
#include "fault_points.h"
#include "reader.h"
#include "worker.h"

#define WORKERS 3
#define MAPS_SERVED 8
#define ENOUGH_BROKEN 8

static struct reader *first, *second;
static int first_map, second_map, crowd[MAPS_SERVED];
static tld_key_t key;
static uint64_t *got, mark;

/* As the documentation of each function in tld.h has them. */
static const short create_errnos[] = {
	EINVAL, ENAMETOOLONG, EEXIST, E2BIG, ENOSPC, ENOMEM, EAGAIN, EBUSY, 0
};
static const short get_data_errnos[] = {
	EINVAL, EBADF, E2BIG, EOPNOTSUPP, EPERM, ENOSYS, EXDEV, EMFILE, ENFILE, ENOMEM, EAGAIN, 0
};
static const short get_errnos[] = { EINVAL, E2BIG, ENOMEM, EAGAIN, 0 };
static const short attach_errnos[] = {
	EXDEV, EAGAIN, ENOMEM, EMFILE, ENFILE, EBADF, EINVAL, EOPNOTSUPP, EPERM, ENOSYS, ENOSPC, 0
};
/* "another negative errno if some thread could not be withdrawn" */
static const short detach_errnos[] = {
	EBADF, EINVAL, EAGAIN, ENOMEM, EMFILE, ENFILE, EPERM, ENOSYS, EOPNOTSUPP, 0
};
static const short ref_errnos[] = {
	EINVAL, ESRCH, ENOMEM, EMFILE, ENFILE, EPERM, ENOSYS, EOPNOTSUPP, EAGAIN, 0
};
static const short no_errnos[] = { 0 };

/* --- What is seen ------------------------------------------------------------------ */

/* Store through a pointer; BPF reads that of the thread. */
static bool right_at(struct reader *reader, pid_t tid, uint64_t *data)
{
	if (!data)
		return false;
	*data = ++mark;
	return reader_u64(reader, tid, "value") == mark;
}

static bool right(struct reader *reader)
{
	return right_at(reader, 0, got);
}

static bool seen(struct reader *reader)
{
	return reader_sees(reader, 0);
}

/* Of a thread that may be there or not: if it is, then with its value. */
static bool right_if_seen(struct reader *reader, pid_t tid, uint64_t *data)
{
	return data && (!reader_sees(reader, tid) || right_at(reader, tid, data));
}

static bool nobody_is_seen(void)
{
	return reader_elements(first, NULL) == 0 && reader_elements(second, NULL) == 0;
}

static int error_of(const void *result)
{
	return result ? 0 : errno;
}

/* Setting up goes without faults, and has to work. */
static void take(int map)
{
	got = tld_get_data(map, key);
	if (!got)
		tap_bail("a thread gets its TLD");
}

static void attach_first(void)
{
	int err = tld_attach(first_map);

	judge(CHECK_AGAIN, !err, "%s: then tld_attach() %s", outcome->fault,
	      strerrorname_np(-err));
}

static void detach_first(void)
{
	tld_detach(first_map);
}

/* --- tld_create_key() -------------------------------------------------------------- */

static char new_name[16];

static void choose_name(void)
{
	static unsigned int names;

	snprintf(new_name, sizeof(new_name), "new%u", names++);
}

static int create(void)
{
	return -tld_key_err_or_zero(tld_create_key(new_name, sizeof(uint64_t)));
}

static bool created(int err)
{
	tld_key_t found = tld_find_key(new_name);

	return tld_key_err_or_zero(found) == (err ? -ENOENT : 0);
}

/* A key of its own as well as those that others made meanwhile. */
static bool can_be_read(void)
{
	tld_key_t made = tld_find_key(new_name);
	uint64_t *data = tld_get_data(first_map, made);

	if (!data)
		return false;
	*data = ++mark;
	return reader_u64(first, 0, new_name) == mark;
}

/* --- tld_get_data() ---------------------------------------------------------------- */

static int get_first(void)
{
	got = tld_get_data(first_map, key);
	return error_of(got);
}

static bool first_agrees(int err)
{
	return err ? !seen(first) : right(first);
}

static bool first_reads(void)
{
	return right(first);
}

static void take_first(void)
{
	take(first_map);
}

static int get_second(void)
{
	uint64_t *data = tld_get_data(second_map, key);

	return error_of(data);
}

static bool second_agrees(int err)
{
	return right(first) && (err ? !seen(second) : right(second));
}

static bool both_read(void)
{
	return right(first) && right(second);
}

static void take_crowd(void)
{
	for (int i = 0; i < MAPS_SERVED; i++)
		take(crowd[i]);
}

/* One of the eight may have given way, and is then served at the next call. */
static bool crowd_is_served(void)
{
	int served = 0;

	for (int i = 0; i < MAPS_SERVED; i++)
		served += tld_get_data(crowd[i], key) == got && published(crowd[i]);
	return served == MAPS_SERVED;
}

static bool ninth_agrees(int err)
{
	uint64_t *data = tld_get_data(crowd[MAPS_SERVED - 1], key);
	bool agrees = err ? !seen(first) : right(first);

	if (err)
		got = data;
	return agrees && crowd_is_served();
}

static int get_ninth_again(int err)
{
	(void)err;
	return get_first();
}

/* --- tld_publish(), tld_get() ------------------------------------------------------ */

static int publish(void)
{
	return -tld_publish();
}

static bool publish_agrees(int err)
{
	if (err)
		return !seen(first);
	if (!seen(first))
		return false;
	got = tld_get(key);
	return right(first);
}

static bool published_reads(void)
{
	got = tld_get(key);
	return right(first);
}

static int get(void)
{
	got = tld_get(key);
	return error_of(got);
}

static bool can_store(int err)
{
	if (err)
		return !seen(first);
	*got = ++mark;
	return *got == mark;
}

static void *attach_elsewhere(void *unused)
{
	attach_first();
	return unused;
}

/* A thread whose pidfd could not be opened may have to call tld_publish(): tld_attach(). */
static int get_and_publish(int err)
{
	(void)err;
	return get() ? errno : -tld_publish();
}

/* "what is stored becomes readable by BPF when a map is attached", by whatever thread. */
static bool reads_when_attached(void)
{
	*got = ++mark;
	in_thread(attach_elsewhere, NULL);
	return reader_u64(first, 0, "value") == mark;
}

static bool get_agrees(int err)
{
	return err ? !seen(first) : right_if_seen(first, 0, got);
}

/* "the following calls try again" */
static int get_again(int err)
{
	(void)err;
	return get();
}

/* --- tld_attach(), tld_detach() ---------------------------------------------------- */

static struct worker workers[WORKERS];
static uint64_t *worker_data[WORKERS];

static void *get_in_worker(void *slot)
{
	*(uint64_t **)slot = tld_get(key);
	return NULL;
}

static void start_workers(void)
{
	for (int i = 0; i < WORKERS; i++) {
		worker_start(&workers[i]);
		worker_do(&workers[i], get_in_worker, &worker_data[i]);
	}
	got = tld_get(key);
}

static void end_workers(void)
{
	for (int i = 0; i < WORKERS; i++)
		worker_end(&workers[i], WORKER_RETURNS);
}

static void end_workers_and_detach(void)
{
	detach_first();
	end_workers();
}

static int seen_workers(void)
{
	int count = seen(first);

	for (int i = 0; i < WORKERS; i++)
		count += reader_sees(first, workers[i].tid);
	return count;
}

static bool all_right(void)
{
	int count = right(first);

	for (int i = 0; i < WORKERS; i++)
		count += right_at(first, workers[i].tid, worker_data[i]);
	return count == WORKERS + 1;
}

static bool right_or_unseen(void)
{
	int count = right_if_seen(first, 0, got);

	for (int i = 0; i < WORKERS; i++)
		count += right_if_seen(first, workers[i].tid, worker_data[i]);
	return count == WORKERS + 1;
}

static int attach(void)
{
	return -tld_attach(first_map);
}

/* Every other point goes on with a map that may be attached, the others without. */
static bool detaches_first;

static bool attach_agrees(int err)
{
	if (!err)
		return all_right();
	if (!right_or_unseen())
		return false;
	detaches_first = !detaches_first;
	if (!detaches_first)
		return true;
	/* Not attached, or it can be detached: either way nobody is left there. */
	tld_detach(first_map);
	return seen_workers() == 0;
}

static void start_attached_workers(void)
{
	start_workers();
	attach_first();
}

static int detach(void)
{
	return -tld_detach(first_map);
}

static uint32_t id_of(int map)
{
	struct bpf_map_info info = { 0 };
	uint32_t length = sizeof(info);

	if (bpf_obj_get_info_by_fd(map, &info, &length))
		tap_bail("a map tells its id");
	return info.id;
}

static uint32_t first_id;

static int detach_id(void)
{
	return -tld_detach_id(first_id);
}

/* Data and pointers stay as they are, whatever the result. */
static bool values_stay(void)
{
	uint64_t before = mark;

	for (int i = 0; i < WORKERS; i++)
		*worker_data[i] = ++mark;
	for (int i = 0; i < WORKERS; i++)
		if (*worker_data[i] != ++before)
			return false;
	return true;
}

static bool detach_agrees(int err)
{
	return err ? right_or_unseen() : seen_workers() == 0 && values_stay();
}

static bool none_is_seen(void)
{
	return seen_workers() == 0 && values_stay();
}

/* --- tld_free(), the end of a thread ----------------------------------------------- */

static void take_in_two_maps(void)
{
	attach_first();
	take(second_map);
	if (!right(first) || !right(second))
		tap_bail("BPF reads a thread's value in two maps");
}

static int free_own(void)
{
	tld_free();
	return 0;
}

static bool unseen_or_zero(struct reader *reader)
{
	return !seen(reader) || reader_u64(reader, 0, "value") == 0;
}

static bool free_agrees(int err)
{
	(void)err;
	return unseen_or_zero(first) && unseen_or_zero(second);
}

static int free_again(int err)
{
	(void)err;
	return free_own();
}

static bool free_reads(void)
{
	if (seen(first) || seen(second))
		return false;
	take(second_map);
	return both_read() && *got == mark;
}

static pid_t ended;

/* The faults begin where the thread has nothing more to do. */
static void *use_and_end(void *armed)
{
	take(second_map);
	*got = ++mark;
	ended = gettid();
	inject_mine = armed != NULL;
	return NULL;
}

static int end_a_thread(void)
{
	in_thread(use_and_end, &ended);
	errno = ERRNO_MARK; /* the thread's own was its end's */
	return 0;
}

static bool is_gone(int err)
{
	(void)err;
	return eventually(!reader_sees(first, ended) && !reader_sees(second, ended));
}

static int end_another(int err)
{
	(void)err;
	in_thread(use_and_end, NULL);
	return 0;
}

static bool next_thread_reads(void)
{
	if (!is_gone(0))
		return false;
	take(second_map);
	return both_read();
}

/* --- tld_ref_thread() -------------------------------------------------------------- */

static struct tld_thread_ref *ref;

static void start_worker_without_data(void)
{
	attach_first();
	worker_start(&workers[0]);
}

static void start_worker_with_data(void)
{
	start_worker_without_data();
	worker_do(&workers[0], get_in_worker, &worker_data[0]);
}

static void end_worker_and_detach(void)
{
	tld_unref_thread(ref);
	ref = NULL;
	worker_end(&workers[0], WORKER_RETURNS);
	detach_first();
}

static int refer(void)
{
	ref = tld_ref_thread(workers[0].tid);
	return error_of(ref);
}

static bool ref_new_agrees(int err)
{
	if (err)
		return !reader_sees(first, workers[0].tid);
	return right_if_seen(first, workers[0].tid, tld_ref_get(ref, key));
}

static bool ref_known_agrees(int err)
{
	if (!right_at(first, workers[0].tid, worker_data[0]))
		return false;
	return err || tld_ref_get(ref, key) == worker_data[0];
}

static int refer_again(int err)
{
	if (!err)
		tld_unref_thread(ref);
	return refer();
}

/* The dispatcher's pointer is the worker's own, and what BPF reads. */
static bool ref_reads(void)
{
	uint64_t *data = tld_ref_get(ref, key);

	worker_do(&workers[0], get_in_worker, &worker_data[0]);
	return data && data == worker_data[0] && right_at(first, workers[0].tid, data);
}

static void start_referred_worker(void)
{
	start_worker_with_data();
	if (refer())
		tap_bail("a thread can be referred to");
}

static int unrefer(void)
{
	tld_unref_thread(ref);
	ref = NULL;
	return 0;
}

static bool unref_agrees(int err)
{
	return !err && right_at(first, workers[0].tid, worker_data[0]);
}

static bool unref_reads(void)
{
	return unref_agrees(0);
}

static void refer_to_ended_worker(void)
{
	start_referred_worker();
	worker_data[0] = tld_ref_get(ref, key);
	worker_end(&workers[0], WORKER_RETURNS);
}

/* The pointer stays readable memory that BPF no longer sees. */
static int unrefer_ended(void)
{
	*worker_data[0] = ++mark;
	return *worker_data[0] == mark ? unrefer() : EFAULT;
}

static bool ended_is_unseen(int err)
{
	return !err && eventually(!reader_sees(first, workers[0].tid));
}

static bool ended_stays_unseen(void)
{
	return ended_is_unseen(0);
}

/* --- A forked child's first call --------------------------------------------------- */

static void take_first_attached(void)
{
	attach_first();
	take(first_map);
	if (!right(first))
		tap_bail("BPF reads a thread's value");
}

/* The parent is undisturbed. */
static void parent_reads(void)
{
	judge(CHECK_READS, right(first), "%s: the parent", outcome->fault);
	detach_first();
}

static bool child_agrees(int err)
{
	return err ? !seen(first) : right(first);
}

static bool child_gets(int err)
{
	return err ? !seen(first) : right_if_seen(first, 0, got);
}

/* --- Another thread in the middle of a call ---------------------------------------- */

static pthread_t rival;
static bool rival_holds, rival_may_go;

static void hold_rival(const char *call)
{
	if (strcmp(call, "bpf(BPF_MAP_UPDATE_ELEM)") || rival_holds)
		return;
	__atomic_store_n(&rival_holds, true, __ATOMIC_RELEASE);
	if (!eventually(__atomic_load_n(&rival_may_go, __ATOMIC_ACQUIRE)))
		tap_bail("a thread waits for another one that is inside libtld");
}

static void *hold_inside(void *unused)
{
	inject_hook = hold_rival;
	if (!tld_get_data(second_map, key))
		tap_bail("a thread gets its TLD");
	inject_hook = NULL;
	return unused;
}

static void let_rival_go(const char *call)
{
	if (!strcmp(call, "futex(FUTEX_WAIT)"))
		__atomic_store_n(&rival_may_go, true, __ATOMIC_RELEASE);
}

static void start_rival(void)
{
	rival_holds = rival_may_go = false;
	rival = start_thread(hold_inside, NULL);
	if (!eventually(__atomic_load_n(&rival_holds, __ATOMIC_ACQUIRE)))
		tap_bail("another thread is inside libtld");
	inject_hook = let_rival_go;
}

static int get_beside_rival(void)
{
	int err = get_first();

	inject_hook = NULL;
	return err;
}

/* Whether it ended early or not. */
static void end_rival(void)
{
	rival_may_go = true;
	end_thread(rival);
}

/* The other way round: this thread is inside, and then has a waiter to wake. */
static bool rival_waits;

static void note_waiting(const char *call)
{
	if (!strcmp(call, "futex(FUTEX_WAIT)"))
		__atomic_store_n(&rival_waits, true, __ATOMIC_RELEASE);
}

static void *wait_outside(void *unused)
{
	inject_hook = note_waiting;
	if (!tld_get_data(second_map, key))
		tap_bail("a thread gets its TLD");
	return unused;
}

static void start_waiter(const char *call)
{
	if (strcmp(call, "bpf(BPF_MAP_UPDATE_ELEM)") || rival)
		return;
	rival = start_thread(wait_outside, NULL);
	if (!eventually(__atomic_load_n(&rival_waits, __ATOMIC_ACQUIRE)))
		tap_bail("another thread waits for this one");
}

static void prepare_waiter(void)
{
	rival = 0;
	rival_waits = false;
	inject_hook = start_waiter;
}

static void end_waiter(void)
{
	inject_hook = NULL;
	if (rival)
		end_thread(rival);
}

/* --- While the library is loaded --------------------------------------------------- */

/*
 * What such a process finds, of which its status tells: the first that is not so. It has a
 * map of its own, at which it looks from user space: a reader takes long to load.
 */
static const char *const loaded_sentences[] = {
	"all is well", "a key can be created", "a thread is published",
	"a forked child is published", "a child of _Fork() is published, or told to try again",
	"the parent still is published",
};

static int status_of(pid_t child)
{
	int status = -1;

	waitpid(child, &status, 0);
	return status;
}

/* Without memory that is wiped, such a child cannot be told from one of vfork(). */
static bool bare_child_agrees(int err)
{
	if (published(first_map))
		return !err;
	return err == -EAGAIN && inject_totals->load_failures;
}

static int find_fault_of_loading(void)
{
	pid_t child;

	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_is_err(key))
		return 1;
	if (get_first() || !published(first_map))
		return 2;
	child = fork();
	if (!child)
		_exit(!tld_publish() && published(first_map) ? 0 : 1);
	if (status_of(child))
		return 3;
	child = _Fork();
	if (!child)
		_exit(bare_child_agrees(tld_publish()) ? 0 : 1);
	if (status_of(child))
		return 4;
	return published(first_map) ? 0 : 5;
}

static int be_loaded(void)
{
	inject_loaded();
	first_map = data_map(V2_SIZE);
	return find_fault_of_loading();
}

static int load(struct inject_rule rule)
{
	static char *const arguments[] = { (char *)"fault_points", (char *)"--loaded", NULL };
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		alarm(POINT_SECONDS);
		inject_exec(rule, arguments);
		_exit(127);
	}
	return status_of(child);
}

static bool loads(struct inject_rule rule)
{
	int status = load(rule), found = WEXITSTATUS(status);

	if (!status)
		return true;
	diag("loading, %s %s%s: not so: %s (status %#x)",
	     inject_kinds[inject_totals->load_failed_kind].name,
	     strerrorname_np(inject_totals->load_failed_code),
	     rule.following ? ", last of several" : "",
	     WIFEXITED(status) && found < 6 ? loaded_sentences[found] : "it ends", status);
	return false;
}

static unsigned int load_faults, broken_loads;

/* False where no call was failed. */
static bool load_with(int call, int choice, int following)
{
	struct inject_rule rule = { .call = call, .choice = choice, .following = following };

	broken_loads += !loads(rule);
	load_faults += inject_totals->load_failures > 0;
	return inject_totals->load_failures > 0 && broken_loads < ENOUGH_BROKEN;
}

static void fail_while_loading(void)
{
	int calls, choice;

	ok(loads((struct inject_rule){ 0 }), "loading the library: all is well without a fault");
	calls = inject_totals->load_calls;
	for (int call = 1; call <= calls; call++) {
		load_with(call, call, -1);
		for (choice = 0; load_with(call, choice, 0); choice++)
			;
	}
	ok(load_faults > 0, "the library makes %d calls while it is loaded: %u faults", calls,
	   load_faults);
	is(broken_loads, 0, "after each of them all is as it should be");
	*points_failed += load_faults;
}

/* --- All of them ------------------------------------------------------------------- */

static const struct fault_path paths[] = {
	{ "tld_create_key()", create_errnos, PATH_ONCE,
	  choose_name, create, created, NULL, can_be_read, NULL },
	{ "tld_get_data() with the first map", get_data_errnos, PATH_SETS_ERRNO,
	  NULL, get_first, first_agrees, NULL, first_reads, NULL },
	{ "tld_get_data() with a second map", get_data_errnos, PATH_SETS_ERRNO,
	  take_first, get_second, second_agrees, NULL, both_read, NULL },
	{ "tld_get_data() with a ninth map", get_data_errnos, PATH_SETS_ERRNO,
	  take_crowd, get_first, ninth_agrees, get_ninth_again, first_reads, NULL },
	{ "tld_publish()", get_data_errnos, 0,
	  attach_first, publish, publish_agrees, NULL, published_reads, detach_first },
	{ "tld_get() without a map", get_errnos, PATH_SETS_ERRNO,
	  NULL, get, can_store, get_and_publish, reads_when_attached, detach_first },
	{ "tld_get() with an attached map", get_errnos, PATH_SETS_ERRNO | PATH_HIDES_MAPS,
	  attach_first, get, get_agrees, get_again, first_reads, detach_first },
	{ "tld_attach() with several threads", attach_errnos, PATH_CROWDED,
	  start_workers, attach, attach_agrees, NULL, all_right, end_workers_and_detach },
	{ "tld_detach()", detach_errnos, PATH_CROWDED,
	  start_attached_workers, detach, detach_agrees, NULL, none_is_seen,
	  end_workers_and_detach },
	{ "tld_detach_id()", detach_errnos, PATH_CROWDED,
	  start_attached_workers, detach_id, detach_agrees, NULL, none_is_seen,
	  end_workers_and_detach },
	{ "tld_free()", no_errnos, PATH_HIDES_ALL,
	  take_in_two_maps, free_own, free_agrees, free_again, free_reads, detach_first },
	{ "the end of a thread", no_errnos, PATH_HIDES_ALL,
	  attach_first, end_a_thread, is_gone, end_another, next_thread_reads, detach_first },
	{ "tld_ref_thread() of a thread without data", ref_errnos, PATH_SETS_ERRNO,
	  start_worker_without_data, refer, ref_new_agrees, refer_again, ref_reads,
	  end_worker_and_detach },
	{ "tld_ref_thread() of a thread with data", ref_errnos, PATH_SETS_ERRNO,
	  start_worker_with_data, refer, ref_known_agrees, refer_again, ref_reads,
	  end_worker_and_detach },
	{ "tld_unref_thread()", no_errnos, PATH_HIDES_ALL,
	  start_referred_worker, unrefer, unref_agrees, NULL, unref_reads, end_worker_and_detach },
	{ "tld_unref_thread() after the thread's end", no_errnos, PATH_HIDES_ALL,
	  refer_to_ended_worker, unrefer_ended, ended_is_unseen, NULL, ended_stays_unseen,
	  detach_first },
	{ "tld_get_data() in a forked child", get_data_errnos, PATH_SETS_ERRNO | PATH_FORK,
	  take_first_attached, get_first, child_agrees, NULL, first_reads, parent_reads },
	{ "tld_get() in a forked child", get_errnos, PATH_SETS_ERRNO | PATH_HIDES_MAPS | PATH_FORK,
	  take_first_attached, get, child_gets, get_again, first_reads, parent_reads },
	{ "tld_publish() in a forked child", get_data_errnos, PATH_FORK,
	  take_first_attached, publish, publish_agrees, NULL, published_reads, parent_reads },
	{ "tld_publish() in a child of _Fork()", get_data_errnos, PATH_BARE_FORK,
	  take_first_attached, publish, publish_agrees, NULL, published_reads, parent_reads },
	{ "tld_get_data() while another thread is inside", get_data_errnos, PATH_SETS_ERRNO,
	  start_rival, get_beside_rival, first_agrees, NULL, first_reads, end_rival },
	{ "tld_get_data() while another thread waits", get_data_errnos, PATH_SETS_ERRNO,
	  prepare_waiter, get_first, first_agrees, NULL, first_reads, end_waiter },
};

#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* Each process makes the first key itself, but where a path is about that. */
static void before_rounds(void)
{
	if (path->call != create)
		key = tld_create_key("value", sizeof(uint64_t));
}

static void open_maps(void)
{
	first = reader_open(READER_V2);
	second = reader_open(READER_V2);
	first_map = reader_map_fd(first);
	second_map = reader_map_fd(second);
	first_id = id_of(first_map);
	for (int i = 0; i < MAPS_SERVED; i++)
		crowd[i] = data_map(V2_SIZE);
	other_map = data_map(V2_SIZE);
}

/* A part of a path's name: these paths only, and which calls they make. */
int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--loaded"))
		return be_loaded();
	open_maps();
	share_outcome();
	all_gone = nobody_is_seen;
	shows_calls = argc > 1;
	at_start = before_rounds;
	for (size_t i = 0; i < PATHS; i++)
		if (argc < 2 || strstr(paths[i].name, argv[1]))
			run_path(&paths[i]);
	if (UNDER_SANITIZER)
		tap_skip("loading the library",
			 "a sanitizer's runtime starts before the environment is there");
	else if (argc < 2 || !strcmp(argv[1], "load"))
		fail_while_loading();
	if (argc < 2)
		judge_kinds(UNDER_SANITIZER ? inject_totals->met : inject_totals->seen);
	return tap_done();
}
