// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * small_stacks.c - every call on the smallest stack that a thread can have, and in
 * handlers on a signal stack of about the least size. Below each stack is
 * memory that must not be touched: a call that needs more ends the case with SIGSEGV.
 */
#include <signal.h>
#include <unistd.h>

#include "maps.h"
#include "reader.h"
#include "threads.h"
#include "tld.h"

static struct reader *reader, *second;
static tld_key_t key;

/* --- Stacks with memory below that nobody may touch ------------------------------------- */

#define PAINT 0xa5
/* More than any frame that could step over it. */
#define GUARD_BYTES 65536

static char *stack_map(size_t bytes)
{
	char *guard = mmap(NULL, GUARD_BYTES + bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (guard == MAP_FAILED || mprotect(guard, GUARD_BYTES, PROT_NONE))
		tap_bail("memory for a stack");
	memset(guard + GUARD_BYTES, PAINT, bytes);
	return guard + GUARD_BYTES;
}

static void stack_unmap(char *stack, size_t bytes)
{
	munmap(stack - GUARD_BYTES, GUARD_BYTES + bytes);
}

/* How much of it was never written. */
static size_t stack_untouched(const char *stack, size_t bytes)
{
	size_t n = 0;

	while (n < bytes && (unsigned char)stack[n] == PAINT)
		n++;
	return n;
}

/* Run a function in a thread whose stack has PTHREAD_STACK_MIN bytes, to the thread's end. */
static void *in_small_thread(void *(*body)(void *), const char *name)
{
	size_t bytes = PTHREAD_STACK_MIN;
	char *stack = stack_map(bytes);
	pthread_attr_t attr;
	pthread_t thread;
	void *result;

	pthread_attr_init(&attr);
	if (pthread_attr_setstack(&attr, stack, bytes) ||
	    pthread_create(&thread, &attr, body, NULL))
		tap_bail("a thread with a small stack starts");
	pthread_attr_destroy(&attr);
	result = end_thread(thread);
	diag("%s: %zu of %zu bytes were never used", name, stack_untouched(stack, bytes), bytes);
	stack_unmap(stack, bytes);
	return result;
}

/* --- What runs on them ------------------------------------------------------------------- */

static uint64_t value_of(pid_t tid)
{
	return reader_u64(reader, tid, "value");
}

static bool store(uint64_t *data)
{
	if (data)
		*data = 5;
	return data;
}

/* Results are 1 or NULL: what prints needs more stack. BPF's view is asked for by another. */
static pid_t small_tid;
static pthread_barrier_t stored, seen;

static void be_seen(void)
{
	small_tid = gettid();
	pthread_barrier_wait(&stored);
	pthread_barrier_wait(&seen);
}

static void *good(bool is_good)
{
	return (void *)(uintptr_t)is_good;
}

static void *first_create_key(void *unused)
{
	(void)unused;
	key = tld_create_key("value", 8);
	return good(!tld_key_is_err(key));
}

static void *first_get_data(void *unused)
{
	bool is_good = store(tld_get_data(reader_map_fd(reader), key));

	(void)unused;
	be_seen();
	return good(is_good);
}

static void *first_get(void *unused)
{
	bool is_good = store(tld_get(key));

	(void)unused;
	be_seen();
	return good(is_good);
}

static void *first_publish(void *unused)
{
	bool is_good = !tld_publish() && store(tld_get(key));

	(void)unused;
	be_seen();
	return good(is_good);
}

static void *first_attach(void *unused)
{
	bool is_good = store(tld_get(key)) && !tld_attach(reader_map_fd(second));

	(void)unused;
	be_seen();
	return good(is_good);
}

static void *first_detach(void *unused)
{
	(void)unused;
	return good(!tld_detach(reader_map_fd(second)) && tld_detach_id(~0u) == -ENOENT);
}

static void *first_follow(void *unused)
{
	(void)unused;
	return good(!tld_follow("/nothing/here") && tld_follow_status("/nothing/here") == -ENOENT &&
		    !tld_unfollow("/nothing/here"));
}

static void *first_ref(void *unused)
{
	struct tld_thread_ref *ref = tld_ref_thread(gettid());
	bool is_good = ref && tld_ref_get(ref, key);

	(void)unused;
	tld_unref_thread(ref);
	small_tid = gettid();
	return good(is_good);
}

/* Who is referred to and asks for nothing itself is withdrawn by its end in the kernel, which
   comes after that of pthread_join(). */
static bool small_thread_is_gone(void)
{
	return tgkill(getpid(), small_tid, 0) && errno == ESRCH;
}

static void *first_free(void *unused)
{
	bool is_good = store(tld_get(key));

	(void)unused;
	tld_free();
	return good(is_good && tld_get(key));
}

static void *ask_for_view(void *value)
{
	pthread_barrier_wait(&stored);
	*(uint64_t *)value = value_of(small_tid);
	pthread_barrier_wait(&seen);
	return NULL;
}

/* A call whose thread BPF then looks at. */
static void is_seen(void *(*body)(void *), const char *name)
{
	uint64_t value = 0;
	pthread_t asker = start_thread(ask_for_view, &value);
	void *result = in_small_thread(body, name);

	end_thread(asker);
	ok(result, "%s works on a stack of PTHREAD_STACK_MIN", name);
	is(value, 5, "%s: BPF sees what such a thread stores", name);
}

static void works(void *(*body)(void *), const char *name)
{
	ok(in_small_thread(body, name), "%s works on a stack of PTHREAD_STACK_MIN", name);
}

static void small_threads(void)
{
	pthread_barrier_init(&stored, NULL, 2);
	pthread_barrier_init(&seen, NULL, 2);
	works(first_create_key, "tld_create_key, a process's first call,");
	is_seen(first_get_data, "tld_get_data");
	if (tld_attach(reader_map_fd(reader)))
		tap_bail("a map can be attached");
	is_seen(first_get, "tld_get");
	is_seen(first_publish, "tld_publish");
	is_seen(first_attach, "tld_attach");
	works(first_detach, "tld_detach");
	works(first_follow, "tld_follow, with tld_follow_status and tld_unfollow,");
	works(first_ref, "tld_ref_thread, with tld_ref_get and tld_unref_thread,");
	if (!eventually(small_thread_is_gone()))
		tap_bail("a thread that was joined ends");
	works(first_free, "tld_free");
	is(reader_elements(reader, NULL), 0, "when the threads have ended none is left in the map");
}

/* --- Signal stacks -------------------------------------------------------------------------- */

/*
 * Beside what the kernel's frame takes, little for the fast path, and for the other calls
 * what SIGSTKSZ, 8192, left when a frame fitted into MINSIGSTKSZ, 2048. Glibc's resolver of
 * functions that are called for the first time has its part in it.
 */
#define FAST_BYTES 512
#define SLOW_BYTES 6144
/* No smaller one is taken, however little the frame needs: MINSIGSTKSZ of the kernel's. */
#ifdef __aarch64__
#define LEAST_BYTES 5120
#else
#define LEAST_BYTES 2048
#endif
/* To find out how much the frame is. */
#define PLENTY 65536

static char *signal_stack;
static size_t signal_stack_bytes, frame_bytes;
static void (*in_handler)(void);
static bool was_on_it, worked;
static uint64_t *data;

static void run_in_handler(int signal)
{
	char here;
	int err = errno;

	(void)signal;
	was_on_it = &here >= signal_stack && &here < signal_stack + signal_stack_bytes;
	in_handler();
	errno = err;
}

static void signal_on_stack(void (*body)(void), size_t bytes)
{
	struct sigaction action = { .sa_handler = run_in_handler, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_size = (frame_bytes + bytes + 15) & ~15ul }, old;

	if (stack.ss_size < LEAST_BYTES)
		stack.ss_size = LEAST_BYTES;
	signal_stack_bytes = stack.ss_size;
	stack.ss_sp = signal_stack = stack_map(stack.ss_size);
	in_handler = body;
	was_on_it = worked = false;
	if (sigaltstack(&stack, &old) || sigaction(SIGUSR1, &action, NULL) || raise(SIGUSR1))
		tap_bail("a signal is handled on a stack of its own");
	sigaltstack(&old, NULL);
}

static void nothing(void)
{
}

static void measure_frame(void)
{
	signal_on_stack(nothing, PLENTY);
	frame_bytes = PLENTY - stack_untouched(signal_stack, PLENTY);
	stack_unmap(signal_stack, signal_stack_bytes);
	diag("the kernel's frame, and a handler's that does nothing: %zu bytes", frame_bytes);
}

static void judge_signal(void (*body)(void), size_t bytes, const char *name)
{
	size_t untouched;

	signal_on_stack(body, bytes);
	untouched = stack_untouched(signal_stack, signal_stack_bytes);
	ok(was_on_it && worked && signal_stack_bytes - untouched <= ((frame_bytes + bytes + 15) & ~15ul),
	   "%s works in a handler on a signal stack of %zu bytes beside the frame", name, bytes);
	diag("%zu of %zu were never used", untouched, signal_stack_bytes);
	stack_unmap(signal_stack, signal_stack_bytes);
}

static void fast_get(void)
{
	worked = tld_get(key) == data;
}

static void fast_get_data(void)
{
	worked = tld_get_data(reader_map_fd(reader), key) == data;
}

static void slow_get(void)
{
	worked = store(tld_get(key));
}

static void slow_get_data(void)
{
	worked = store(tld_get_data(reader_map_fd(second), key));
}

static void slow_attach(void)
{
	worked = store(tld_get(key)) && !tld_attach(reader_map_fd(second));
}

static void slow_publish(void)
{
	worked = !tld_publish();
}

static void slow_ref(void)
{
	worked = tld_ref_thread(getpid());
}

static void slow_free(void)
{
	tld_free();
	worked = true;
}

/* A thread's first call may be one in a handler, if that interrupted nothing of the library. */
static const struct first_call {
	const char *name;
	void (*call)(void);
	bool in_second;		/* the map in which BPF sees the thread then */
} first_calls[] = {
	{ "a thread's first call, tld_get,", slow_get, false },
	{ "a thread's first call, tld_get_data,", slow_get_data, true },
	{ "a thread's first calls, tld_get and tld_attach,", slow_attach, true },
};

static void *first_in_handler(void *arg)
{
	const struct first_call *first = arg;

	judge_signal(first->call, SLOW_BYTES, first->name);
	is(reader_u64(first->in_second ? second : reader, 0, "value"), 5,
	   "BPF sees the thread then");
	return NULL;
}

static void signal_stacks(void)
{
	key = tld_create_key("value", 8);
	if (tld_attach(reader_map_fd(reader)))
		tap_bail("a map can be attached");
	data = tld_get_data(reader_map_fd(reader), key);
	measure_frame();
	judge_signal(fast_get, FAST_BYTES, "tld_get's fast path");
	judge_signal(fast_get_data, FAST_BYTES, "tld_get_data's fast path");
	for (int i = 0; i < 3; i++)
		in_thread(first_in_handler, (void *)&first_calls[i]);
	judge_signal(slow_publish, SLOW_BYTES, "tld_publish");
	judge_signal(slow_ref, SLOW_BYTES, "tld_ref_thread");
	judge_signal(slow_free, SLOW_BYTES, "tld_free");
	ok(!reader_sees(reader, 0), "which has withdrawn the thread");
}

int main(void)
{
	if (UNDER_SANITIZER)
		tap_skip_all("a sanitizer needs larger stacks");
	reader_need_kernel();
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	in_child(small_threads);
	in_child(signal_stacks);
	reader_close(second);
	reader_close(reader);
	return tap_done();
}
