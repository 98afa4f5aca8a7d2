// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * fork_publishes.c - fault 5 of docs/reference/wire.md: a forked child knows that BPF does not
 * see it yet, publishes itself at its next call, and shares nothing with its parent.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "reader.h"
#include "tap.h"
#include "tld.h"

static struct reader *reader;
static tld_key_t key;

static uint64_t *get(void)
{
	uint64_t *data = tld_get_data(reader_map_fd(reader), key);

	if (!data)
		tap_bail("a thread gets its TLD");
	return data;
}

/* The child's points are its own; the parent goes on counting behind them. */
static void child_side(uint64_t *parents)
{
	ok(!reader_sees(reader, 0), "BPF does not see a child that has not called");
	is(*parents, 7, "its parent's value is in its memory");
	ok(get() == parents, "it finds its TLD where its parent had it");
	is(reader_u64(reader, 0, "value"), 7, "its first call publishes it, with that value");
	*parents = 8;
	is(reader_u64(reader, 0, "value"), 8, "BPF sees what it writes");
}

static void fork_and_look(void)
{
	uint64_t *data = get();
	int status = -1;
	pid_t child;

	*data = 7;
	fflush(stdout);
	child = fork();
	if (!child) {
		tap_failures = 0;
		child_side(data);
		fflush(stdout);
		_exit(tap_failures != 0);
	}
	waitpid(child, &status, 0);
	tap_points += 5;
	is(status, 0, "a forked child is read rightly");
	is(*data, 7, "its writes are not its parent's");
	is(reader_u64(reader, 0, "value"), 7, "and BPF still sees its parent's");
}

int main(void)
{
	reader = reader_open(READER_V2);
	key = tld_create_key("value", sizeof(uint64_t));
	fork_and_look();
	reader_close(reader);
	return tap_done();
}
