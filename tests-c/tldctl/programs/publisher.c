// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * publisher.c - a process to look at: threads that publish through libtld, and do what they
 * are told by lines on standard input until that ends.
 *
 *	publisher [-t THREADS] [-s VALUE-SIZE]... [-p PIN] [-u]
 *
 * -s makes a data map with that value size, -p takes a pinned one; several may be given. -u
 * loads a BPF program, tldctl_user, that uses the map before. It
 * defines request (u32), deadline (u64), flag (u8), half (u16), balance (i32 by its
 * meaning), name (12 bytes), and prints "ready" and the maps' ids. Thread n stores request 100 + n, deadline
 * 1000000007 * n, flag n, half 1000 + n, balance -n, and the name "thread-n".
 *
 * Commands, each answered by "done":
 *	set NAME N	thread 0 stores N
 *	show NAME	answers what thread 0 has, before "done"
 *	exec		executes itself with -x, which publishes nothing and says "ready"
 *	fork		a child that publishes, and says "child PID"; ends with us
 *	end		one thread (the last) ends
 *	wake		all threads have a processor for a moment
 *	evil		names that no terminal likes
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <tld.h>

#include "maps.h"

TLD_DEFINE_KEY(request_key, "request", sizeof(uint32_t));
TLD_DEFINE_KEY(deadline_key, "deadline", sizeof(uint64_t));
TLD_DEFINE_KEY(flag_key, "flag", sizeof(uint8_t));
TLD_DEFINE_KEY(half_key, "half", sizeof(uint16_t));
TLD_DEFINE_KEY(balance_key, "balance", sizeof(int32_t));
TLD_DEFINE_KEY(name_key, "name", 12);

static int maps[8], map_count;
static pthread_barrier_t ready;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int threads = 1, ending = 1 << 30;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "publisher: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *at(tld_key_t key)
{
	void *data = tld_get(key);

	if (!data)
		die("tld_get");
	return data;
}

static void store(int n)
{
	*(uint32_t *)at(request_key) = 100 + n;
	*(uint64_t *)at(deadline_key) = UINT64_C(1000000007) * n;
	*(uint8_t *)at(flag_key) = n;
	*(uint16_t *)at(half_key) = 1000 + n;
	*(int32_t *)at(balance_key) = -n;
	snprintf(at(name_key), 12, "thread-%d", n);
}

static void *live(void *argument)
{
	int n = (intptr_t)argument;

	store(n);
	pthread_barrier_wait(&ready);
	pthread_mutex_lock(&lock);
	while (n < ending)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void start_threads(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 << 10);
	/* The kernel merges neighbouring stacks: of separate ones it allows 65,530. */
	pthread_attr_setguardsize(&attributes, 0);
	pthread_barrier_init(&ready, NULL, threads);
	for (intptr_t n = 1; n < threads; n++)
		if (pthread_create(&thread, &attributes, live, (void *)n))
			die("pthread_create");
	store(0);
	pthread_barrier_wait(&ready);
}

static void take_map(int fd)
{
	if (fd < 0 || map_count == 8) {
		errno = fd < 0 ? -fd : ENOSPC;
		die("map");
	}
	maps[map_count++] = fd;
	if (tld_attach(fd))
		die("tld_attach");
}

static void use_map(int fd)
{
	struct bpf_insn program[] = {
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = fd },
		{ 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	if (bpf_prog_load(BPF_PROG_TYPE_TRACEPOINT, "tldctl_user", "GPL", program,
			  sizeof(program) / sizeof(program[0]), NULL) < 0)
		die("bpf_prog_load");
}

static int run_child(void)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (tld_publish())
			die("tld_publish");
		*(uint32_t *)at(request_key) = 4711;
		printf("child %d\ndone\n", getpid());
		fflush(stdout);
		for (;;)
			pause();
	}
	return 0;
}

static void set_value(const char *name, long long value)
{
	tld_key_t key = tld_find_key(name);

	memcpy(at(key), &value, !strcmp(name, "deadline") ? 8 : !strcmp(name, "flag") ? 1 :
	       !strcmp(name, "half") ? 2 : 4);
}

static void show_value(const char *name)
{
	uint64_t value = 0;

	memcpy(&value, at(tld_find_key(name)), !strcmp(name, "deadline") ? 8 :
	       !strcmp(name, "flag") ? 1 : !strcmp(name, "half") ? 2 : 4);
	printf("%llu\n", (unsigned long long)value);
}

static void obey(char **argv, const char *line)
{
	char word[16] = "", name[64] = "";
	long long value = 0;

	sscanf(line, "%15s %63s %lld", word, name, &value);
	if (!strcmp(word, "set")) {
		set_value(name, value);
	} else if (!strcmp(word, "show")) {
		show_value(name);
	} else if (!strcmp(word, "exec")) {
		execl("/proc/self/exe", argv[0], "-x", NULL);
		die("execl");
	} else if (!strcmp(word, "fork")) {
		run_child();
		return; /* the child answers */
	} else if (!strcmp(word, "end")) {
		pthread_mutex_lock(&lock);
		ending = --threads;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	} else if (!strcmp(word, "wake")) {
		pthread_cond_broadcast(&changed);
	} else if (!strcmp(word, "evil")) {
		tld_create_key("\x1b[31mred\n\x9b\xff\\", 4);
		prctl(PR_SET_NAME, "\x1b]0;evil\a");
	}
	printf("done\n");
	fflush(stdout);
}

static void say_ready(void)
{
	struct bpf_map_info info;
	__u32 size;

	printf("ready");
	for (int i = 0; i < map_count; i++) {
		memset(&info, 0, sizeof(info));
		size = sizeof(info);
		if (bpf_obj_get_info_by_fd(maps[i], &info, &size))
			die("bpf_obj_get_info_by_fd");
		printf(" %u", info.id);
	}
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, 24, 2 };
	char line[128];
	int option, quiet = 0;

	libbpf_set_print(NULL);
	while ((option = getopt(argc, argv, "t:s:p:ux")) != -1) {
		if (option == 't') {
			threads = atoi(optarg);
		} else if (option == 's') {
			shape.value_size = atoi(optarg);
			take_map(map_create(&shape));
		} else if (option == 'p') {
			take_map(bpf_obj_get(optarg));
		} else if (option == 'u' && map_count) {
			use_map(maps[map_count - 1]);
		} else if (option == 'x') {
			quiet = 1;
		} else {
			return 64;
		}
	}
	if (!quiet)
		start_threads();
	say_ready();
	while (fgets(line, sizeof(line), stdin))
		obey(argv, line);
	return 0;
}
