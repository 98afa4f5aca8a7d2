// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * server.c - a server with one thread for each connection.
 *
 * A worker waits for a request on its socket, stores the request's kind in its
 * TLD, does the work, answers, and waits again. At the other end a client sends
 * a request, waits for the answer, thinks for a while, and sends the next.
 *
 * Why BPF's figures can be right although BPF sees nothing of a tag change: it
 * charges what a thread ran since its last switch to the tag that it holds when
 * it leaves the processor. That is wrong for a stretch that spans two requests,
 * and there are none. When a worker has answered, the next request is at least
 * THINK_MIN_NS away, so the worker waits for it off the processor (or has been
 * preempted on the way to waiting: a switch as well). It comes back to take the
 * next request, and changes the tag within microseconds. The tag stays while it
 * waits, so that the last stretch of a request is charged to the request. A
 * server that takes a new request without ever waiting between two would have
 * to keep what it ran for each itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <tld.h>

#include "server.h"
#include "work.h"

#define THINK_MIN_NS	500000u
#define THINK_MAX_NS	2500000u

#ifndef PIDFD_THREAD
#define PIDFD_THREAD	O_EXCL	/* Linux 6.9 */
#endif

TLD_DEFINE_KEY(kind_key, ONCPU_TLD_NAME, sizeof(uint32_t));

struct request {
	uint32_t kind;
	uint64_t seed;
};

/* A connection: a worker at the one end, a client at the other. */
struct connection {
	struct server *server;
	unsigned int index;
	pthread_t worker, client;
	bool has_worker, has_client;
	int worker_fd, client_fd;
	struct work_scratch *scratch;
	int err;			/* why the worker ended early */

	/* Written by the worker alone, read by server_read(). */
	_Atomic(uint64_t) requests[ONCPU_KINDS];
	_Atomic(uint64_t) ns[ONCPU_KINDS];
	_Atomic(uint64_t) tag_changes, first_calls;
	uint32_t kind;			/* what the tag says */
	uint64_t since_ns;		/* thread's run time when it was set */
};

struct server {
	int data_map_fd, task_map_fd;
	struct oncpu_totals *totals;
	atomic_bool stop;
	sem_t ready;
	unsigned int count;
	struct connection connections[];
};

/* With one writer no locked instruction is needed. */
static void add(_Atomic(uint64_t) *sum, uint64_t n)
{
	atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static uint64_t get(const _Atomic(uint64_t) *sum)
{
	return atomic_load_explicit(sum, memory_order_relaxed);
}

static uint64_t run_time_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The program's own measurement, to compare BPF's with. */
static void measure(struct connection *c)
{
	uint64_t now_ns = run_time_ns();

	add(&c->ns[c->kind], now_ns - c->since_ns);
	c->since_ns = now_ns;
}

/*
 * Change the calling thread's tag: all that a program does to be seen by kind.
 * No system call but in a thread's first tld_get_data().
 */
static int store_tag(int data_map_fd, uint32_t kind)
{
	uint32_t *tag = tld_get_data(data_map_fd, kind_key);

	if (!tag)
		return -errno;
	__atomic_store_n(tag, kind, __ATOMIC_RELAXED);
	return 0;
}

/*
 * Change the tag under observation: BPF counts the system calls that the thread
 * makes while its tagging flag is up. BPF looks at it on this very thread, so
 * keeping the compiler from moving the stores is enough.
 */
static int tag(struct connection *c, uint32_t kind)
{
	struct oncpu_worker *seen = &c->server->totals->workers[c->index];
	int err;

	measure(c);
	__atomic_store_n(&seen->tagging, 1, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
	err = store_tag(c->server->data_map_fd, kind);
	atomic_signal_fence(memory_order_seq_cst);
	__atomic_store_n(&seen->tagging, 0, __ATOMIC_RELAXED);
	if (err)
		return err;
	c->kind = kind;
	if (!get(&c->tag_changes))
		add(&c->first_calls, __atomic_load_n(&seen->tagging_calls, __ATOMIC_RELAXED));
	add(&c->tag_changes, 1);
	return 0;
}

/* Let BPF count this thread. Its TLD cannot be seen yet, hence another map. */
static int join_task_map(const struct connection *c)
{
	struct oncpu_task task = { .charged_ns = c->since_ns, .worker = c->index };
	int fd, err;

	fd = (int)syscall(SYS_pidfd_open, (pid_t)syscall(SYS_gettid), PIDFD_THREAD);
	if (fd < 0)
		return -errno;
	err = bpf_map_update_elem(c->server->task_map_fd, &fd, &task, BPF_ANY) ? -errno : 0;
	close(fd);
	return err;
}

static void *worker_main(void *arg)
{
	struct connection *c = arg;
	struct request request;
	uint64_t answer;

	c->since_ns = run_time_ns();
	c->err = join_task_map(c);
	if (!c->err)
		c->err = tag(c, ONCPU_NONE);
	sem_post(&c->server->ready);

	while (!c->err && recv(c->worker_fd, &request, sizeof(request), 0) == sizeof(request)) {
		c->err = tag(c, request.kind);
		if (c->err)
			break;
		answer = work_do(request.kind, request.seed, c->scratch);
		add(&c->requests[request.kind], 1);
		send(c->worker_fd, &answer, sizeof(answer), MSG_NOSIGNAL);
	}
	measure(c);
	/* A client that still waits for an answer must not wait for ever. */
	shutdown(c->worker_fd, SHUT_RDWR);
	return NULL;
}

/* Of 100 requests, 60 are static, 27 search, 10 checkout and 3 report. */
static uint32_t random_kind(uint64_t *state)
{
	uint64_t n = work_random(state) % 100;

	return n < 60 ? ONCPU_STATIC : n < 87 ? ONCPU_SEARCH : n < 97 ? ONCPU_CHECKOUT :
								       ONCPU_REPORT;
}

static void think(uint64_t *state)
{
	uint64_t ns = THINK_MIN_NS + work_random(state) % (THINK_MAX_NS - THINK_MIN_NS);

	nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL);
}

static void *client_main(void *arg)
{
	const struct connection *c = arg;
	uint64_t state = c->index + 1, answer;
	struct request request = { 0 };

	do {
		think(&state);
		request.kind = random_kind(&state);
		request.seed = work_random(&state);
		if (send(c->client_fd, &request, sizeof(request), MSG_NOSIGNAL) < 0 ||
		    recv(c->client_fd, &answer, sizeof(answer), 0) != sizeof(answer))
			break;
	} while (!atomic_load(&c->server->stop));
	return NULL;
}

static int start_worker(struct connection *c)
{
	int fds[2], err;

	c->scratch = work_scratch_new();
	if (!c->scratch)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	c->worker_fd = fds[0];
	c->client_fd = fds[1];
	err = pthread_create(&c->worker, NULL, worker_main, c);
	if (err)
		return -err;
	c->has_worker = true;
	while (sem_wait(&c->server->ready))
		;
	return c->err;
}

static int start_client(struct connection *c)
{
	int err = pthread_create(&c->client, NULL, client_main, c);

	c->has_client = !err;
	return -err;
}

struct server *server_start(unsigned int threads, int data_map_fd, int task_map_fd,
			    struct oncpu_totals *totals)
{
	struct server *server;
	unsigned int i;
	int err = 0;

	server = calloc(1, sizeof(*server) + threads * sizeof(server->connections[0]));
	if (!server)
		return NULL;
	server->data_map_fd = data_map_fd;
	server->task_map_fd = task_map_fd;
	server->totals = totals;
	server->count = threads;
	sem_init(&server->ready, 0, 0);
	for (i = 0; i < threads; i++)
		server->connections[i] = (struct connection){
			.server = server, .index = i, .worker_fd = -1, .client_fd = -1,
		};
	for (i = 0; i < threads && !err; i++)
		err = start_worker(&server->connections[i]);
	for (i = 0; i < threads && !err; i++)
		err = start_client(&server->connections[i]);
	if (!err)
		return server;

	server_stop(server);
	server_free(server);
	errno = -err;
	return NULL;
}

void server_read(const struct server *server, struct server_figures *figures)
{
	const struct connection *c;
	unsigned int i, kind;

	*figures = (struct server_figures){ 0 };
	for (i = 0; i < server->count; i++) {
		c = &server->connections[i];
		for (kind = 0; kind < ONCPU_KINDS; kind++) {
			figures->requests[kind] += get(&c->requests[kind]);
			figures->ns[kind] += get(&c->ns[kind]);
		}
		figures->tag_changes += get(&c->tag_changes);
		figures->first_calls += get(&c->first_calls);
	}
}

int server_stop(struct server *server)
{
	struct connection *c;
	unsigned int i;
	int err = 0;

	atomic_store(&server->stop, true);
	for (i = 0; i < server->count; i++) {
		c = &server->connections[i];
		if (c->has_client)
			pthread_join(c->client, NULL);
		c->has_client = false;
		/* This is what a worker waits for when it has nothing to do. */
		if (c->client_fd >= 0)
			shutdown(c->client_fd, SHUT_RDWR);
		if (c->has_worker)
			pthread_join(c->worker, NULL);
		c->has_worker = false;
		if (c->err)
			err = c->err;
	}
	return err;
}

void server_free(struct server *server)
{
	unsigned int i;

	for (i = 0; i < server->count; i++) {
		if (server->connections[i].client_fd >= 0) {
			close(server->connections[i].client_fd);
			close(server->connections[i].worker_fd);
		}
		free(server->connections[i].scratch);
	}
	sem_destroy(&server->ready);
	free(server);
}
