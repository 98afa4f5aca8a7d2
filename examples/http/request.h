/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * request.h - HTTP/1.1 as far as this server speaks it: what a request says, and an answer.
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

/* What a request line and its header fields take at most; 431 or 414 beyond. */
#define REQUEST_BYTES_MAX 4096

struct request {
	int status;		/* 200 if it can be served, else the status to answer with */
	bool keep_alive;	/* never after an error: where the next request begins is unknown */
	const char *path;	/* within the bytes that were parsed, without the query */
	size_t path_len;
	int minor;		/* of the version, 1 for HTTP/1.1 */
	int hosts;		/* fields "Host" that there were */
};

/*
 * Parse the request at the start of @bytes, of which there are @len. Return: the bytes that
 * it takes; 0 while it is incomplete and may become right, and REQUEST_BYTES_MAX are not
 * reached.
 */
size_t request_parse(struct request *request, const char *bytes, size_t len);

/*
 * Send an answer. Never waits: an answer is a fraction of a socket's buffer, so that where
 * it has no room, the client asks without reading. Return: whether all of it was sent.
 */
bool request_answer(int fd, int status, bool keep_alive, const char *text);

#endif /* HTTP_REQUEST_H */
