// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * request.c - the parser and the answers. It keeps no state: a request is parsed from its
 * first byte again when more of it has come, which is no loss for 4 KiB.
 *
 * Strict where leniency is how two servers come to disagree about where a request ends (RFC
 * 9112, 11.2): no bare line feed, no space before a colon, no folded lines, no body.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "request.h"

struct line {
	const char *text;
	size_t len;
};

static bool line_is(struct line line, const char *text)
{
	return line.len == strlen(text) && !strncasecmp(line.text, text, line.len);
}

static bool is_token(const char *text, size_t len)
{
	static const char chars[] = "!#$%&'*+-.^_`|~0123456789"
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t i;

	for (i = 0; i < len; i++)
		if (!text[i] || !strchr(chars, text[i]))
			return false;
	return len > 0;
}

/* Visible characters, and spaces and tabs between them. Beyond ASCII: what one likes. */
static bool is_text(struct line line)
{
	size_t i;

	for (i = 0; i < line.len; i++)
		if (((unsigned char)line.text[i] < ' ' && line.text[i] != '\t') || line.text[i] == 0x7f)
			return false;
	return true;
}

/* "GET /lookup?key=1 HTTP/1.1". Return: the status that it leads to. */
static int parse_request_line(struct request *request, struct line line)
{
	const char *end = line.text + line.len;
	const char *path = memchr(line.text, ' ', line.len);
	const char *version = path ? memchr(path + 1, ' ', (size_t)(end - path - 1)) : NULL;
	const char *query;

	if (!version || !is_token(line.text, (size_t)(path - line.text)) || path[1] != '/')
		return 400;
	request->path = path + 1;
	query = memchr(request->path, '?', (size_t)(version - request->path));
	request->path_len = (size_t)((query ? query : version) - request->path);
	version++;
	if (end - version != 8 || memcmp(version, "HTTP/", 5) || version[6] != '.')
		return 400;
	if (version[5] != '1' || (version[7] != '0' && version[7] != '1'))
		return 505;
	request->minor = version[7] - '0';
	request->keep_alive = request->minor > 0;
	return path - line.text == 3 && !memcmp(line.text, "GET", 3) ? 200 : 405;
}

/* "Connection: close, other": whether one of the words of a value is @word. */
static bool has_word(struct line value, const char *word)
{
	size_t len;

	while (value.len) {
		len = strcspn(value.text, ", \t\r");
		if (len > value.len)
			len = value.len;
		if (line_is((struct line){ value.text, len }, word))
			return true;
		value.text += len < value.len ? len + 1 : len;
		value.len -= len < value.len ? len + 1 : len;
	}
	return false;
}

/* Return: the status that a field leads to, 200 if it does not matter. */
static int parse_field(struct request *request, struct line line)
{
	const char *colon = memchr(line.text, ':', line.len);
	struct line name = { line.text, colon ? (size_t)(colon - line.text) : 0 }, value;

	if (!colon || !is_token(name.text, name.len))
		return 400;
	value = (struct line){ colon + 1, line.len - name.len - 1 };
	for (; value.len && (*value.text == ' ' || *value.text == '\t'); value.len--)
		value.text++;
	while (value.len && (value.text[value.len - 1] == ' ' || value.text[value.len - 1] == '\t'))
		value.len--;
	if (line_is(name, "Host"))
		request->hosts++;
	if (line_is(name, "Transfer-Encoding") ||
	    (line_is(name, "Content-Length") && !line_is(value, "0")))
		return 413;
	if (line_is(name, "Connection") && has_word(value, "close"))
		request->keep_alive = false;
	return 200;
}

/* The lines of a complete request, one by one, the empty one at its end not included. */
static int parse_lines(struct request *request, const char *bytes, size_t len)
{
	const char *end = bytes + len, *next;
	bool first = true;
	struct line line;
	int status = 200, found;

	for (; bytes < end; bytes = next + 2, first = false) {
		next = memmem(bytes, (size_t)(end - bytes), "\r\n", 2);
		line = (struct line){ bytes, (size_t)(next - bytes) };
		if (!is_text(line))
			return 400;
		found = first ? parse_request_line(request, line) :
				parse_field(request, line);
		if (found == 400)
			return 400;
		if (status == 200)
			status = found;
	}
	/* HTTP/1.0 may do without. */
	return request->hosts > 1 || request->hosts < request->minor ? 400 : status;
}

size_t request_parse(struct request *request, const char *bytes, size_t len)
{
	size_t skipped = 0;
	const char *end;

	*request = (struct request){ .status = 400 };
	/* Some clients send an empty line after a request. */
	while (len - skipped >= 2 && !memcmp(bytes + skipped, "\r\n", 2))
		skipped += 2;
	end = memmem(bytes + skipped, len - skipped, "\r\n\r\n", 4);
	if (end)
		request->status = parse_lines(request, bytes + skipped,
					      (size_t)(end - bytes) - skipped + 2);
	else if (len < REQUEST_BYTES_MAX)
		return 0;
	else
		request->status = memmem(bytes + skipped, len - skipped, "\r\n", 2) ? 431 : 414;
	if (request->status != 200)
		request->keep_alive = false;
	return end ? (size_t)(end - bytes) + 4 : len;
}

static const char *reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 505:
		return "HTTP Version Not Supported";
	}
	return "Bad Request";
}

bool request_answer(int fd, int status, bool keep_alive, const char *text)
{
	char answer[512];
	int len;

	if (status != 200)
		text = reason(status);
	len = snprintf(answer, sizeof(answer),
		       "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain\r\nContent-Length: %zu\r\n"
		       "Connection: %s\r\n\r\n%s\n",
		       status, reason(status), status == 405 ? "Allow: GET\r\n" : "", strlen(text) + 1,
		       keep_alive ? "keep-alive" : "close", text);
	return send(fd, answer, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}
