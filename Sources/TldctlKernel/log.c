// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * log.c - what this was built as, and what libbpf says.
 */
#define _GNU_SOURCE
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctldctl.h"

const char *ctldctl_version(void)
{
	return TLDCTL_VERSION;
}

const char *ctldctl_libbpf_version(void)
{
	return libbpf_version_string();
}

/* The end is what matters: a verifier's log has its verdict there. */
static char words[1 << 14];
static size_t words_length;

static int keep_words(enum libbpf_print_level level, const char *format, va_list args)
{
	size_t capacity = sizeof(words) - 1, take, keep;
	char *text = NULL;
	int length = level == LIBBPF_DEBUG ? 0 : vasprintf(&text, format, args);

	if (length <= 0)
		return 0;
	take = (size_t)length < capacity ? (size_t)length : capacity;
	keep = words_length + take > capacity ? capacity - take : words_length;
	memmove(words, words + words_length - keep, keep);
	memcpy(words + keep, text + length - take, take);
	words_length = keep + take;
	words[words_length] = '\0';
	free(text);
	return length;
}

const char *ctldctl_log(void)
{
	return words;
}

void ctldctl_log_clear(void)
{
	words_length = 0;
	words[0] = '\0';
}

/* libbpf's own way is stderr, which is ours to keep clean. */
__attribute__((constructor)) static void take_words(void)
{
	libbpf_set_print(keep_words);
}
