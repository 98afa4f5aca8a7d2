/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * server.h - the server whose time is to be divided among kinds of requests.
 */
#ifndef ONCPU_SERVER_H
#define ONCPU_SERVER_H

#include <stdint.h>

#include "oncpu.h"

struct server;

/* What the server counted and measured itself, all workers together. */
struct server_figures {
	uint64_t requests[ONCPU_KINDS];
	uint64_t ns[ONCPU_KINDS];	/* CLOCK_THREAD_CPUTIME_ID */
	uint64_t tag_changes;
	/* of the system calls that BPF counted in tag changes, those in each
	 * thread's first */
	uint64_t first_calls;
};

/*
 * Start @threads workers (1 to ONCPU_WORKERS_MAX) and a client for each. The
 * workers store their tags through @data_map_fd, put themselves into
 * @task_map_fd (map "oncpu_tasks") and raise their flags in @totals. Threads
 * inherit the caller's signal mask. Return: NULL with errno, which may be one
 * that tld_get_data() gave to a worker.
 */
struct server *server_start(unsigned int threads, int data_map_fd, int task_map_fd,
			    struct oncpu_totals *totals);

/* Read the figures. While the server runs they lag by the requests in work. */
void server_read(const struct server *server, struct server_figures *figures);

/*
 * Let the clients hear their last answers, then end all threads. Return: 0, or
 * the negative errno of a worker that could not go on.
 */
int server_stop(struct server *server);

/* After server_stop(). */
void server_free(struct server *server);

#endif /* ONCPU_SERVER_H */
