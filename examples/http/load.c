// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load.c - requests for the server, and how long their answers took.
 *
 * Interactive connections ask for /lookup as users do, who do not wait for each other: each
 * has a timetable (an open loop), and a latency counts from the moment that the timetable
 * says, not from when the request could be sent. Counted from there, a server that stalls
 * for a second would have kept its clients from asking, and be charged with one slow request
 * instead of all those that were due in that second ("coordinated omission"). What
 * was due when the time was up is still asked.
 *
 * Report connections ask for /report back to back (a closed loop): a job that is in no
 * hurry sends the next request when it has the last answer, and its latency counts from there.
 *
 * Latencies include the generator's own waits for a processor. A client on another machine
 * would not have them: --realtime puts all its threads before the server and everything else.
 */
#include <argp.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S	1000000000ll
#define NS_PER_MS	1000000ll
#define ANSWER_MAX_S	10	/* an answer that takes longer is an error */

enum class { INTERACTIVE, REPORTS, CLASSES };

struct client {
	pthread_t id;
	enum class class;
	unsigned int seed;
	int fd;			/* -1: not connected */
	uint64_t errors;
	size_t count, room;
	uint32_t *latencies_us;
};

static struct {
	uint16_t port;
	unsigned int connections[CLASSES];
	unsigned int think_ms, seconds;
	bool realtime;
} options = { .connections = { 4, 2 }, .think_ms = 20, .seconds = 5 };

static const char *const names[CLASSES] = { "interactive", "report" };
static int64_t begin_ns, end_ns;

static void die(const char *what)
{
	fprintf(stderr, "http-load: cannot %s: %s.\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void sleep_until(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static bool connect_client(struct client *client)
{
	const struct timeval patience = { .tv_sec = ANSWER_MAX_S };
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(options.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		die("make a socket");
	setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	return !connect(client->fd, (struct sockaddr *)&address, sizeof(address));
}

/* Whether @answer is whole: its header's end, and after it as much as the header says. */
static bool is_whole(const char *answer, size_t len)
{
	const char *body = strstr(answer, "\r\n\r\n"), *field = strstr(answer, "Content-Length: ");

	return body && field && field < body &&
	       len >= (size_t)(body + 4 - answer) + strtoul(field + 16, NULL, 10);
}

/* Return: whether the answer was good. The server's answers to these requests are short. */
static bool ask(const struct client *client)
{
	const char *request = client->class == REPORTS ?
		"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n" :
		"GET /lookup HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char answer[1024] = "";
	size_t len = 0;
	ssize_t n;

	n = send(client->fd, request, strlen(request), MSG_NOSIGNAL);
	if (n != (ssize_t)strlen(request))
		return false;
	while (!is_whole(answer, len)) {
		n = recv(client->fd, answer + len, sizeof(answer) - 1 - len, 0);
		if (n <= 0)
			return false;
		len += (size_t)n;
		answer[len] = '\0';
	}
	return !strncmp(answer, "HTTP/1.1 200 ", 13);
}

static void note(struct client *client, int64_t latency_ns)
{
	if (client->count == client->room) {
		client->room = client->room ? 2 * client->room : 1024;
		client->latencies_us = realloc(client->latencies_us,
					       client->room * sizeof(*client->latencies_us));
		if (!client->latencies_us)
			die("note a latency");
	}
	client->latencies_us[client->count++] = (uint32_t)(latency_ns / 1000);
}

/* One request, which was due at @due_ns. After an error the connection is made anew. */
static void ask_and_note(struct client *client, int64_t due_ns)
{
	if ((client->fd >= 0 || connect_client(client)) && ask(client)) {
		note(client, now_ns() - due_ns);
		return;
	}
	client->errors++;
	close(client->fd);
	client->fd = -1;
	sleep_until(now_ns() + 10 * NS_PER_MS); /* a server that refuses is not hammered */
}

/* From half to one and a half times the think time, so that clients fall out of step. */
static int64_t think_ns(struct client *client)
{
	int64_t mean = options.think_ms * NS_PER_MS;

	return mean / 2 + (int64_t)((double)mean * rand_r(&client->seed) / RAND_MAX);
}

static void *run_client(void *arg)
{
	struct client *client = arg;
	int64_t due, last_ns = end_ns + ANSWER_MAX_S * NS_PER_S;

	sleep_until(begin_ns);
	if (client->class == REPORTS) {
		while ((due = now_ns()) < end_ns)
			ask_and_note(client, due);
	} else {
		for (due = begin_ns + think_ns(client); due < end_ns; due += think_ns(client)) {
			sleep_until(due);
			if (now_ns() < last_ns)
				ask_and_note(client, due);
			else
				client->errors++; /* it never had its turn */
		}
	}
	if (client->fd >= 0)
		close(client->fd);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The smallest of @count sorted latencies that @percent of them do not exceed. */
static uint32_t percentile(const uint32_t *sorted, size_t count, unsigned int percent)
{
	return count ? sorted[(count * percent + 99) / 100 - 1] : 0;
}

/* A class's line. Return: whether its requests were served, each. */
static bool report(enum class class, const struct client *clients, unsigned int count)
{
	struct client all = { .class = class };
	size_t n;

	for (; count--; clients++) {
		if (clients->class != class)
			continue;
		all.errors += clients->errors;
		for (n = 0; n < clients->count; n++)
			note(&all, clients->latencies_us[n] * 1000ll);
	}
	if (all.count)
		qsort(all.latencies_us, all.count, sizeof(*all.latencies_us), compare);
	printf("%s requests %zu p50_us %u p99_us %u max_us %u errors %llu\n", names[class], all.count,
	       percentile(all.latencies_us, all.count, 50), percentile(all.latencies_us, all.count, 99),
	       percentile(all.latencies_us, all.count, 100), (unsigned long long)all.errors);
	if (all.errors)
		fprintf(stderr, "http-load: %llu %s requests were not answered with 200.\n",
			(unsigned long long)all.errors, names[class]);
	free(all.latencies_us);
	return all.count && !all.errors;
}

static const struct argp_option known[] = {
	{ "port", 'p', "N", 0, "of the server on 127.0.0.1", 0 },
	{ "interactive", 'i', "N", 0, "connections that ask for look-ups (default 4)", 0 },
	{ "think", 'T', "MS", 0, "mean time between a connection's look-ups (default 20)", 0 },
	{ "reports", 'r', "N", 0, "connections that ask for reports, back to back (default 2)", 0 },
	{ "seconds", 's', "N", 0, "ask for so long (default 5)", 0 },
	{ "realtime", 'R', NULL, 0, "be scheduled before all else (SCHED_FIFO), as if elsewhere", 0 },
	{ 0 },
};

static unsigned int number(const char *arg, unsigned int min, unsigned int max,
			   const struct argp_state *state)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (end == arg || *end || n < (long)min || n > (long)max)
		argp_error(state, "'%s' is no number from %u to %u", arg, min, max);
	return (unsigned int)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'p':
		options.port = (uint16_t)number(arg, 1, UINT16_MAX, state);
		return 0;
	case 'i':
		options.connections[INTERACTIVE] = number(arg, 0, 256, state);
		return 0;
	case 'T':
		options.think_ms = number(arg, 1, 60000, state);
		return 0;
	case 'r':
		options.connections[REPORTS] = number(arg, 0, 256, state);
		return 0;
	case 's':
		options.seconds = number(arg, 1, 86400, state);
		return 0;
	case 'R':
		options.realtime = true;
		return 0;
	case ARGP_KEY_END:
		if (!options.port)
			argp_error(state, "which --port?");
		if (!options.connections[INTERACTIVE] && !options.connections[REPORTS])
			argp_error(state, "no connections: nothing to do");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static bool run(struct client *clients, unsigned int count)
{
	bool good = true;
	unsigned int i;

	begin_ns = now_ns() + 100 * NS_PER_MS; /* all threads are there by then */
	end_ns = begin_ns + options.seconds * NS_PER_S;
	for (i = 0; i < count; i++) {
		clients[i].class = i < options.connections[INTERACTIVE] ? INTERACTIVE : REPORTS;
		clients[i].fd = -1;
		clients[i].seed = i + 1;
		errno = pthread_create(&clients[i].id, NULL, run_client, &clients[i]);
		if (errno)
			die("start a thread");
	}
	for (i = 0; i < count; i++)
		pthread_join(clients[i].id, NULL);
	for (i = 0; i < CLASSES; i++)
		if (options.connections[i] && !report(i, clients, count))
			good = false;
	return good;
}

int main(int argc, char **argv)
{
	const struct sched_param first = { .sched_priority = 1 };
	const struct argp argp = {
		.options = known,
		.parser = parse,
		.doc = "Asks the example server for look-ups and reports, and prints for each how "
		       "many were answered, and latencies.\vExit status: 0 if each request was "
		       "answered with 200, 1 if not, 2 for options that make no sense.",
	};
	struct client *clients;
	unsigned int i, count;
	bool good;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (options.realtime && sched_setscheduler(0, SCHED_FIFO, &first))
		die("be scheduled before all else");
	count = options.connections[INTERACTIVE] + options.connections[REPORTS];
	clients = calloc(count, sizeof(*clients));
	if (!clients)
		die("start");
	good = run(clients, count);
	for (i = 0; i < count; i++)
		free(clients[i].latencies_us);
	free(clients);
	return fflush(stdout) || !good ? EXIT_FAILURE : EXIT_SUCCESS;
}
