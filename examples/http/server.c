// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * server.c - a small HTTP server: one thread accepts, reads and dispatches, others work.
 *
 * A connection is the dispatcher's, but for the time between dispatch() and finish(), in which
 * a worker computes and answers. epoll reports it once only (EPOLLONESHOT), so that the
 * dispatcher does not see it meanwhile. What both use is guarded by one lock, which nobody
 * holds for longer than some stores and one system call.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <tld.h>
#include "../scx_hint/sched_hint.h"
#include "options.h"
#include "request.h"

#define CONNECTIONS_MAX 512	/* beyond, they wait in the kernel */
#define EVENTS_MAX	64

/* What a thread does. The last two are what takes a worker. */
enum activity { DISPATCHING, IDLE, LOOKUP, REPORT, ACTIVITIES };

struct connection {
	int fd;				/* -1: not in use */
	bool working;			/* a worker's; under the lock */
	bool draining;			/* answered for the last time */
	enum activity wanted;
	struct request request;
	time_t deadline;		/* for a whole request, or for the client to hang up */
	struct connection *next;	/* in the queue */
	size_t used;
	char bytes[REQUEST_BYTES_MAX];
};

struct thread {
	pthread_t id;
	_Atomic(enum activity) activity; /* its own to write, or while it is idle, the dispatcher's */
	uint64_t *hint;			/* likewise, its TLD */
	struct connection *connection;	/* what a worker is to serve; NULL: end */
	sem_t wake;
	struct thread *next;		/* in the list of idle ones */
};

static struct options options;
static int listen_fd, signal_fd, epoll_fd;
static struct connection connections[CONNECTIONS_MAX];
static struct thread *workers, dispatcher;
static time_t now;			/* the dispatcher's */
TLD_DEFINE_KEY(hint_key, SCHED_HINT_NAME, sizeof(uint64_t));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool stop;
static struct thread *idle;		/* the last one first: its caches are warm */
static struct connection *queue, **queue_end = &queue;

static void die(const char *what)
{
	fprintf(stderr, "http: cannot %s: %s.\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/*
 * What a thread does from now on. A worker that sleeps is told before it is woken, by the
 * dispatcher, which has read the request. A worker that noted by itself what it has been given
 * would do so too late for whoever decides when it runs.
 */
static void set_activity(struct thread *thread, enum activity activity)
{
	thread->activity = activity;
	if (thread->hint)
		__atomic_store_n(thread->hint, sched_hint(activity == REPORT ?
			SCHED_HINT_BACKGROUND : SCHED_HINT_INTERACTIVE, 0, 0), __ATOMIC_RELAXED);
}

/* Each thread's first call. */
static void begin(struct thread *self, const char *name, enum activity activity)
{
	pthread_setname_np(pthread_self(), name);
	self->hint = tld_get(hint_key);
	set_activity(self, activity);
}

/* --- Between the dispatcher and the workers --- */

static void assign(struct thread *worker, struct connection *c)
{
	worker->connection = c;
	if (c)
		set_activity(worker, c->wanted);
}

static void dispatch(struct connection *c)
{
	struct thread *worker;

	pthread_mutex_lock(&lock);
	c->working = true;
	worker = idle;
	if (worker) {
		idle = worker->next;
		assign(worker, c);
	} else {
		c->next = NULL;
		*queue_end = c;
		queue_end = &c->next;
	}
	pthread_mutex_unlock(&lock);
	if (worker)
		sem_post(&worker->wake);
}

/* A worker's next connection: queued, or whatever the dispatcher assigns. NULL: the end. */
static struct connection *next_connection(struct thread *self)
{
	bool wait = false;

	pthread_mutex_lock(&lock);
	if (stop) {
		assign(self, NULL);
	} else if (queue) {
		self->connection = queue;
		queue = queue->next;
		if (!queue)
			queue_end = &queue;
	} else {
		self->next = idle;
		idle = self;
		wait = true;
	}
	pthread_mutex_unlock(&lock);
	while (wait && sem_wait(&self->wake))
		;
	if (self->connection)
		set_activity(self, self->connection->wanted);
	return self->connection;
}

/*
 * Wait for the next request. What was sent ahead is in our buffer and not in the kernel's: a
 * socket that can be written to, which it always can, brings the dispatcher back to it.
 */
static void rearm(struct connection *c)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLONESHOT | (c->used && !c->draining ? EPOLLOUT : 0),
		.data.ptr = c,
	};

	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

/* --- A worker --- */

static uint64_t compute(uint64_t rounds)
{
	uint64_t n = rounds, i;

	for (i = 0; i < rounds; i++)
		n = (n ^ i) * 0x100000001B3ull;
	return n;
}

/*
 * Answer, and say goodbye if it was the last time: only once the client has hung up, too, or
 * the deadline has passed, the socket is closed. Closed before all was read, it would make
 * the kernel reset the connection, and the client lose the answer.
 */
static void answer(struct connection *c, int status, const char *text)
{
	if (!request_answer(c->fd, status, c->request.keep_alive, text))
		shutdown(c->fd, SHUT_RDWR);
	else if (!c->request.keep_alive)
		shutdown(c->fd, SHUT_WR);
}

static void finish(struct connection *c)
{
	pthread_mutex_lock(&lock);
	c->working = false;
	c->deadline = seconds() + options.timeout_s;
	rearm(c);
	pthread_mutex_unlock(&lock);
}

static void *work(void *arg)
{
	struct thread *self = arg;
	struct connection *c;
	char text[32];

	begin(self, "http-worker", IDLE);
	while ((c = next_connection(self))) {
		snprintf(text, sizeof(text), "%016llx", (unsigned long long)
			 compute((uint64_t)options.rounds * (c->wanted == REPORT ? 100 : 1)));
		/* Before any lock: others wait for whoever holds one. */
		set_activity(self, IDLE);
		answer(c, 200, text);
		finish(c);
	}
	return NULL;
}

/* --- The dispatcher --- */

/* While there is no room, or no descriptor, connections wait in the kernel. */
static void listen_for(uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = &listen_fd };

	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, listen_fd, &event);
}

static void hang_up(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
	listen_for(EPOLLIN);
}

static void accept_one(void)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };
	struct connection *c = connections;
	int fd;

	while (c < connections + CONNECTIONS_MAX && c->fd >= 0)
		c++;
	if (c == connections + CONNECTIONS_MAX) {
		listen_for(0);
		return;
	}
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* A client that has gone meanwhile is no reason to stop. */
		if (errno != ECONNABORTED && errno != EAGAIN)
			listen_for(0);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	c->fd = fd;
	c->used = 0;
	c->draining = false;
	c->deadline = now + options.timeout_s;
	event.data.ptr = c;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
		hang_up(c);
}

static bool path_is(const struct request *request, const char *path)
{
	return request->path_len == strlen(path) && !memcmp(request->path, path, strlen(path));
}

static void say_help(struct connection *c)
{
	unsigned int doing[ACTIVITIES] = { 0 }, queued = 0, i;
	const struct connection *other;
	char text[128];

	pthread_mutex_lock(&lock);
	for (i = 0; i < options.threads; i++)
		doing[workers[i].activity]++;
	for (other = queue; other; other = other->next)
		queued++;
	pthread_mutex_unlock(&lock);
	snprintf(text, sizeof(text),
		 "GET /lookup or /report. Threads: %u idle, %u lookup, %u report. Queued: %u.",
		 doing[IDLE], doing[LOOKUP], doing[REPORT], queued);
	answer(c, 200, text);
}

/* Serve the request that c->request holds: what takes no time at once. */
static void serve(struct connection *c)
{
	const struct request *request = &c->request;

	c->draining = !request->keep_alive;
	if (request->status == 200 && (path_is(request, "/lookup") || path_is(request, "/report"))) {
		c->wanted = path_is(request, "/lookup") ? LOOKUP : REPORT;
		return;
	}
	if (request->status == 200 && path_is(request, "/"))
		say_help(c);
	else
		answer(c, request->status == 200 ? 404 : request->status, NULL);
	c->wanted = IDLE;
}

/* Return: false once there is nothing more to come. */
static bool receive(struct connection *c)
{
	ssize_t n;

	if (c->draining)
		c->used = 0;
	n = recv(c->fd, c->bytes + c->used, sizeof(c->bytes) - c->used, 0);
	if (n > 0)
		c->used += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Something has come from a client: at most one request of it is served each time. */
static void attend(struct connection *c)
{
	size_t len = c->draining ? 0 : request_parse(&c->request, c->bytes, c->used);

	if (!len) {
		if (!receive(c)) {
			hang_up(c);
			return;
		}
		len = c->draining ? 0 : request_parse(&c->request, c->bytes, c->used);
	}
	if (!len) {
		rearm(c);
		return;
	}
	serve(c);
	c->used -= len;
	memmove(c->bytes, c->bytes + len, c->used);
	if (c->wanted == IDLE)
		finish(c);
	else
		dispatch(c);
}

/* Once a second: a client that sends a request byte by byte gets no more time than others. */
static void expire(struct connection *c)
{
	bool late;

	pthread_mutex_lock(&lock);
	late = c->fd >= 0 && !c->working && c->deadline <= now;
	pthread_mutex_unlock(&lock);
	if (!late)
		return;
	if (!c->draining && c->used) {
		c->draining = true;
		c->request.keep_alive = false;
		answer(c, 408, NULL);
		finish(c);
	} else {
		hang_up(c);
	}
}

/* Return: false once a signal says that this is the end. */
static bool attend_all(void)
{
	struct epoll_event events[EVENTS_MAX];
	int i, n = epoll_wait(epoll_fd, events, EVENTS_MAX, 1000);

	now = seconds();
	/* Workers rearm under the lock: so what they wrote before can be seen from here on. */
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&lock);
	for (i = 0; i < n; i++) {
		if (events[i].data.ptr == &signal_fd)
			return false;
		if (events[i].data.ptr == &listen_fd)
			accept_one();
		else
			attend(events[i].data.ptr);
	}
	return true;
}

static void run(void)
{
	struct connection *c;
	time_t looked = 0;

	while (attend_all()) {
		if (looked == now)
			continue;
		looked = now;
		for (c = connections; c < connections + CONNECTIONS_MAX; c++)
			expire(c);
		listen_for(EPOLLIN); /* perhaps there are descriptors again */
	}
}

/* --- All of it --- */

static void start_listening(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(options.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) ||
	    getsockname(listen_fd, (struct sockaddr *)&address, &len) ||
	    listen(listen_fd, CONNECTIONS_MAX))
		die("listen");
	printf("http: listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
	fflush(stdout);
}

static void watch(int fd, int *which)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = which };

	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
		die("wait for events");
}

static void start(void)
{
	sigset_t ends;
	unsigned int i;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* in the threads to come as well */
	for (i = 0; i < CONNECTIONS_MAX; i++)
		connections[i].fd = -1;
	tld_follow(options.pin);
	begin(&dispatcher, "http", DISPATCHING);
	workers = calloc(options.threads, sizeof(*workers));
	for (i = 0; workers && i < options.threads; i++) {
		sem_init(&workers[i].wake, 0, 0);
		errno = pthread_create(&workers[i].id, NULL, work, &workers[i]);
		if (errno)
			die("start a thread");
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	signal_fd = signalfd(-1, &ends, SFD_CLOEXEC);
	watch(signal_fd, &signal_fd);
	start_listening();
	watch(listen_fd, &listen_fd);
}

/* Requests that are worked on are answered; what waits in the queue is not. */
static void end(void)
{
	struct thread *worker;
	unsigned int i;

	pthread_mutex_lock(&lock);
	stop = true;
	for (worker = idle; worker; worker = worker->next) {
		assign(worker, NULL);
		sem_post(&worker->wake);
	}
	pthread_mutex_unlock(&lock);
	for (i = 0; i < options.threads; i++) {
		pthread_join(workers[i].id, NULL);
		sem_destroy(&workers[i].wake);
	}
	free(workers);
	for (i = 0; i < CONNECTIONS_MAX; i++)
		if (connections[i].fd >= 0)
			close(connections[i].fd);
	close(listen_fd);
	close(signal_fd);
	close(epoll_fd);
}

int main(int argc, char **argv)
{
	options = options_parse(argc, argv);
	start();
	run();
	end();
	return EXIT_SUCCESS;
}
