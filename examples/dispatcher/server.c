// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * server.c - a server in which one thread accepts and others work.
 *
 * The accept thread reads a request from a new connection, says in the TLD of an idle
 * worker what that will work on, and only then wakes the worker. A worker that tagged
 * itself would have been scheduled already, by a scheduler that knew nothing of the
 * request. The workers know nothing of TLDs: the accept thread writes through
 * references, which tld_ref_thread() gave it.
 *
 * The clients are threads of the program as well. Whatever fails once all runs ends
 * the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <tld.h>

#include "dispatcher.h"

#define CLIENTS_PER_WORKER	2
#define THINK_MAX_NS		4000000
#define COMPLAINTS_MAX		3

#ifndef PIDFD_THREAD
#define PIDFD_THREAD	O_EXCL	/* Linux 6.9 */
#endif

TLD_DEFINE_KEY(tag_key, DISPATCHER_TLD_NAME, sizeof(uint64_t));

struct request {
	int fd;			/* where the answer goes; -1: no request, the worker ends */
	uint32_t kind;
	uint64_t id;
	uint64_t wakes;		/* the worker's, after it was tagged */
};

struct worker {
	pthread_t thread;
	pid_t tid;
	int err;			/* why it could not start */
	struct tld_thread_ref *ref;
	uint64_t *tag;			/* the worker's TLD, for the accept thread to write */
	struct dispatcher_note *note;	/* what BPF saw of it */
	_Atomic(uint32_t) full;		/* a futex: 0 while the worker is idle */
	struct request request;		/* the worker's while full, else the accept thread's */
	struct server_figures figures[DISPATCHER_KINDS];
};

/* One server in a process. */
static struct server_options options;
static struct worker workers[DISPATCHER_WORKERS_MAX];
static pthread_t clients[CLIENTS_PER_WORKER * DISPATCHER_WORKERS_MAX], accepter;
static struct sockaddr_un address;
static socklen_t address_len;
static int listen_fd, task_map_fd;
static sem_t ready, idle;		/* workers that have started; that are idle */
static atomic_bool stop;

static void die(const char *what)
{
	complain("%s: %s.", what, strerror(errno));
	_exit(EXIT_FAILURE);
}

static void nap(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* --- The accept thread --- */

static void store_tag(const struct worker *w, const struct request *r)
{
	__atomic_store_n(w->tag, DISPATCHER_TAG(r->id, r->kind), __ATOMIC_RELAXED);
}

/*
 * Give an idle worker something to do. The tag comes before the mailbox is full: from
 * then on the worker may run, be it that it is woken, or that it looks just now.
 *
 * wakes is read after the tag was stored; BPF raises wakes before it reads the tag. So if
 * the worker finds that wakes has moved since, BPF must have read the new tag, also
 * where something else ended the sleep (SIGSTOP, a debugger): no false alarms.
 */
static void hand_over(struct worker *w, const struct request *r)
{
	if (r->fd >= 0 && !options.tag_late)
		store_tag(w, r);
	atomic_thread_fence(memory_order_seq_cst);
	w->request = *r;
	w->request.wakes = __atomic_load_n(&w->note->wakes, __ATOMIC_RELAXED);
	atomic_store_explicit(&w->full, 1, memory_order_release);
	syscall(SYS_futex, &w->full, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);

	/* A millisecond: even a processor that was asleep runs the worker by then. */
	if (r->fd >= 0 && options.tag_late) {
		nap(1000000);
		store_tag(w, r);
	}
}

/* The worker that has most probably been idle for longest. */
static struct worker *idle_worker(void)
{
	static unsigned int turn;
	struct worker *w;

	while (sem_wait(&idle))
		;
	do
		w = &workers[turn++ % options.workers];
	while (atomic_load_explicit(&w->full, memory_order_acquire));
	return w;
}

static void *accept_main(void *unused)
{
	struct request request = { 0 };

	(void)unused;
	while ((request.fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (recv(request.fd, &request.kind, sizeof(request.kind), 0) !=
		    sizeof(request.kind))
			die("cannot read a request");
		request.kind %= DISPATCHER_KINDS;
		request.id++;
		hand_over(idle_worker(), &request);
	}
	/* Once stopped, the socket has given all connections first. */
	if (!atomic_load(&stop))
		die("cannot accept a connection");
	return NULL;
}

/* --- A worker --- */

/* What the worker does first with a request: was its tag seen before it ran? */
static void check(struct worker *w)
{
	static atomic_uint complaints;
	const struct request *r = &w->request;
	struct server_figures *figures = &w->figures[r->kind];
	uint64_t seen = __atomic_load_n(&w->note->tag, __ATOMIC_RELAXED);

	figures->requests++;
	if (__atomic_load_n(&w->note->wakes, __ATOMIC_RELAXED) == r->wakes)
		return; /* it had not fallen asleep yet */
	figures->asleep++;
	figures->wait_ns += __atomic_load_n(&w->note->wait_ns, __ATOMIC_RELAXED);
	if (seen == DISPATCHER_TAG(r->id, r->kind))
		figures->seen++;
	else if (atomic_fetch_add(&complaints, 1) < COMPLAINTS_MAX)
		complain("worker %d woke up for request %llu, but BPF saw a tag that said %llu.",
			 (int)(w - workers), (unsigned long long)r->id,
			 (unsigned long long)seen >> 8);
}

static uint64_t work(const struct request *r)
{
	static const unsigned int rounds[DISPATCHER_KINDS] = {
		[DISPATCHER_LOOKUP] = 10000,
		[DISPATCHER_SEARCH] = 50000,
		[DISPATCHER_REPORT] = 250000,
	};
	uint64_t answer = r->id;
	unsigned int i;

	for (i = 0; i < rounds[r->kind]; i++)
		answer = (answer ^ i) * 0x100000001B3ull;
	return answer;
}

/* Let BPF watch this thread. Not found by its TLD: that is what is to be shown. */
static int join_task_map(const struct worker *w)
{
	struct dispatcher_task task = { .worker = (uint32_t)(w - workers) };
	int fd = (int)syscall(SYS_pidfd_open, w->tid, PIDFD_THREAD), err;

	if (fd < 0)
		return -errno;
	err = bpf_map_update_elem(task_map_fd, &fd, &task, BPF_ANY) ? -errno : 0;
	close(fd);
	return err;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t answer;

	w->tid = (pid_t)syscall(SYS_gettid);
	w->err = join_task_map(w);
	sem_post(&ready);
	for (;;) {
		while (!atomic_load_explicit(&w->full, memory_order_acquire))
			syscall(SYS_futex, &w->full, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		if (w->request.fd < 0)
			return NULL;
		check(w);
		answer = work(&w->request);
		if (send(w->request.fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			die("cannot answer");
		close(w->request.fd);
		atomic_store_explicit(&w->full, 0, memory_order_release);
		sem_post(&idle);
	}
}

/* --- A client --- */

/* Return: false if the server takes no more. */
static bool ask(uint32_t kind)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	uint64_t answer;

	if (fd < 0)
		die("cannot make a socket");
	if (connect(fd, (struct sockaddr *)&address, address_len)) {
		if (!atomic_load(&stop))
			die("cannot connect");
		close(fd);
		return false;
	}
	if (send(fd, &kind, sizeof(kind), MSG_NOSIGNAL) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) != sizeof(answer))
		die("a client got no answer");
	close(fd);
	return true;
}

/* Of 10 requests, 6 are look-ups, 3 searches and 1 a report. */
static void *client_main(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, dice;

	do {
		nap(rand_r(&seed) % THINK_MAX_NS);
		dice = (unsigned int)rand_r(&seed) % 10;
	} while (!atomic_load(&stop) && ask(dice < 6 ? DISPATCHER_LOOKUP :
					    dice < 9 ? DISPATCHER_SEARCH : DISPATCHER_REPORT));
	return NULL;
}

/* --- All of them --- */

/* Bound to no name of ours, a Unix socket gets one that is free and leaves no file. */
static int start_listening(void)
{
	listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	address.sun_family = AF_UNIX;
	address_len = sizeof(address);
	if (listen_fd < 0 ||
	    bind(listen_fd, (struct sockaddr *)&address, sizeof(address.sun_family)) ||
	    getsockname(listen_fd, (struct sockaddr *)&address, &address_len) ||
	    listen(listen_fd, CLIENTS_PER_WORKER * DISPATCHER_WORKERS_MAX))
		return -errno;
	return 0;
}

static int start_worker(struct worker *w)
{
	int err = pthread_create(&w->thread, NULL, worker_main, w);

	if (err)
		return -err;
	while (sem_wait(&ready))
		;
	if (w->err)
		return w->err;
	w->ref = tld_ref_thread(w->tid);
	if (!w->ref)
		return -errno;
	w->tag = tld_ref_get(w->ref, tag_key);
	return w->tag ? 0 : -errno;
}

int server_start(const struct server_options *wanted, int map_fd, struct dispatcher_note *notes)
{
	unsigned int i;
	int err;

	options = *wanted;
	task_map_fd = map_fd;
	sem_init(&ready, 0, 0);
	sem_init(&idle, 0, options.workers);
	err = start_listening();
	for (i = 0; i < options.workers && !err; i++) {
		workers[i].note = &notes[i];
		err = start_worker(&workers[i]);
	}
	if (!err)
		err = -pthread_create(&accepter, NULL, accept_main, NULL);
	for (i = 0; i < CLIENTS_PER_WORKER * options.workers && !err; i++)
		err = -pthread_create(&clients[i], NULL, client_main, (void *)(uintptr_t)(i + 1));
	return err;
}

void server_stop(struct server_figures figures[DISPATCHER_KINDS])
{
	const struct request end = { .fd = -1 };
	unsigned int i, kind;

	atomic_store(&stop, true);
	shutdown(listen_fd, SHUT_RDWR);
	pthread_join(accepter, NULL);
	for (i = 0; i < CLIENTS_PER_WORKER * options.workers; i++)
		pthread_join(clients[i], NULL);
	close(listen_fd);
	for (i = 0; i < options.workers; i++)
		hand_over(idle_worker(), &end);
	for (i = 0; i < options.workers; i++) {
		pthread_join(workers[i].thread, NULL);
		tld_unref_thread(workers[i].ref);
		for (kind = 0; kind < DISPATCHER_KINDS; kind++)
			server_figures_add(&figures[kind], &workers[i].figures[kind]);
	}
}
