// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load.c - the loading matrix: both BPF headers load and read rightly in each kind of
 * program that may look up task storage, plain, in loops, in subprograms and in callbacks,
 * whatever compiled them. The objects and the list of them are from load.sh, load_run.h
 * makes the programs run.
 *
 * The remarks that begin with a bar are a table of what was loaded and run: make
 * test-load prints them alone.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "tld.h"

#include "load.h"
#define CASE_SECONDS patience(60)
#include "process.h"
#include "reader.h"
#include "threads.h"
#include "load_run.h"

#define OBJECTS "load_variants/"
#define MAX_VARIANTS 1000
/* Much of the time passes waiting for the kernel's grace periods. */
#define WORKERS 6

/*
 * Instructions that the verifier looks at for one program, at most. The largest figure now
 * is 5,642, of a look in a walk over all tasks; comparing what a search found, before a
 * helper had copied it, made it more than a million: no two rounds were alike any more.
 */
#define VERIFIED_CEILING 8000

TLD_DEFINE_KEY(pad_key, "pad", 24);
TLD_DEFINE_KEY(first_key, "first", sizeof(unsigned long long));
TLD_DEFINE_KEY(quad_key, "quad", sizeof(struct load_quad));
TLD_DEFINE_KEY(request_key, "app.request", sizeof(unsigned long long));
TLD_DEFINE_KEY(key_0_key, "key_0", sizeof(unsigned long long));
TLD_DEFINE_KEY(key_62_key, "key_62", sizeof(unsigned long long));

static struct variant {
	char verdict[16], header[16], compiler[16], cpu[8], types[16], libbpf[16], text[128];
} variants[MAX_VARIANTS];

/* What a worker found; shared with the parent. */
static struct tally {
	unsigned int loaded;	/* programs */
	unsigned int run;	/* of them, and right */
	unsigned int verified;	/* instructions of the largest one */
} *tallies;
static unsigned int *next_variant;

static unsigned int variant_count;
static bool may_load[PLACES];	/* on this kernel */

/* The one at hand. */
static const struct variant *variant;
static struct bpf_object *object;
static volatile struct load_shared *shared;
static struct tally *tally;

/* libbpf finds a tracepoint's number in tracefs: mount it, for this process alone. */
static bool mount_tracefs(void)
{
	if (!access("/sys/kernel/tracing/events", R_OK) ||
	    !access("/sys/kernel/debug/tracing/events", R_OK))
		return true;
	return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

/* --- Loading -------------------------------------------------------------------- */

static const char *file_of(const struct variant *of)
{
	static char file[sizeof(OBJECTS) + sizeof(of->text) + sizeof(".bpf.o")];

	snprintf(file, sizeof(file), OBJECTS "%s.bpf.o", of->text);
	return file;
}

static struct bpf_object *open_object(const struct variant *of)
{
	struct bpf_object *opened = bpf_object__open_file(reader_beside(file_of(of)), NULL);

	if (!opened)
		tap_bail("libbpf opens the object");
	return opened;
}

static void leave_place_out(struct bpf_object *of, enum load_place place)
{
	for (int shape = 0; shape < SHAPES; shape++) {
		bpf_program__set_autoload(load_program(of, place, shape), false);
		if (place == PLACE_struct_ops)
			bpf_map__set_autocreate(load_ops_map(of, shape), false);
	}
}

/* The largest number of instructions that the verifier looked at. */
static void count_loaded(void)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object) {
		struct bpf_prog_info info = {};
		__u32 size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
			continue;
		tally->loaded++;
		if (info.verified_insns > tally->verified)
			tally->verified = info.verified_insns;
	}
}

static void load_object(void)
{
	int err;

	object = open_object(variant);
	if (!strcmp(variant->verdict, "load"))
		for (int place = 0; place < PLACES; place++)
			if (!may_load[place])
				leave_place_out(object, place);
	err = bpf_object__load(object);
	errno = -err;
	if (!ok(!err, "every program loads"))
		exit(1);
	count_loaded();
}

/* Whether the kernel loads bare look-ups in one kind of program. */
static bool probe_place(const struct variant *bare, enum load_place place)
{
	struct bpf_object *probe = open_object(bare);
	bool may;

	for (int other = 0; other < PLACES; other++)
		if (other != (int)place)
			leave_place_out(probe, other);
	may = !bpf_object__load(probe);
	bpf_object__close(probe);
	return may;
}

/* What the kernel does not let be loaded, whatever the header, is left out of all objects. */
static void probe_places(void)
{
	const struct variant *bare = variants;

	while (bare < variants + variant_count && strcmp(bare->verdict, "bare"))
		bare++;
	if (bare == variants + variant_count)
		tap_bail("there is an object with bare look-ups");
	for (int place = 0; place < PLACES; place++)
		may_load[place] = (place != PLACE_tracepoint || mount_tracefs()) && probe_place(bare, place);
}

/* --- What the programs read --------------------------------------------------------- */

static void run_syscall(const char *name)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_prog_test_run_opts(reader_prog_fd(object, name), &opts))
		tap_bail("the program %s runs", name);
}

static void store(void)
{
	int map_fd = reader_object_map_fd(object, "tld_data_map");
	unsigned long long *first = tld_get_data(map_fd, first_key);
	struct load_quad *quad = tld_get_data(map_fd, quad_key);
	unsigned long long *request = tld_get_data(map_fd, request_key);

	if (!first || !quad || !request)
		tap_bail("the library serves the object's map");
	*first = FIRST;
	*quad = (struct load_quad){ .a = FIRST + 1, .d = LAST };
	*request = REQUEST;
}

static const unsigned int turns_a_run[SHAPES] = { 1, LOAD_TURNS, 1, LOAD_TURNS };

static bool result_is_right(enum load_place place, enum load_shape shape)
{
	volatile struct load_result *result = &shared->result[place][shape];
	bool right = result->runs && result->turns == result->runs * turns_a_run[shape] &&
		     result->quad.a == FIRST + 1 && result->quad.d == LAST;

	if (!right)
		diag("  %s: runs %u, turns %u, quad %llx, %llx", load_program_name(place, shape),
		     result->runs, result->turns, result->quad.a, result->quad.d);
	return right;
}

static void check_place(enum load_place place)
{
	int right = 0;

	if (!may_load[place]) {
		tap_skip(load_place_words[place], "kernel: no task storage in such programs");
		return;
	}
	for (int shape = 0; shape < SHAPES; shape++)
		right += result_is_right(place, shape);
	tally->run += right;
	is(right, SHAPES, "%s programs, plain, in a loop, a subprogram and a callback, read the TLD",
	   load_place_words[place]);
}

/* --- The map has UPTRs ---------------------------------------------------------- */

/* Of any format. */
union value {
	struct {
		uint64_t data, meta, start;
	};
	char bytes[1024];
};

static int update_error(int map_fd, void *data)
{
	union value value = { { (uintptr_t)data, (uintptr_t)data, 8 } };
	int key = syscall(SYS_pidfd_open, gettid(), PIDFD_THREAD), err;

	err = bpf_map_update_elem(map_fd, &key, &value, 0) ? -errno : 0;
	close(key);
	return err;
}

/* Without UPTRs the kernel would show the addresses, and take any address. */
static void check_uptrs(int map_fd)
{
	int key = syscall(SYS_pidfd_open, gettid(), PIDFD_THREAD);
	union value value = { { 1, 1, 0 } };
	char *page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (key < 0 || bpf_map_lookup_elem(map_fd, &key, &value))
		tap_bail("the thread's element can be looked up");
	close(key);
	ok(!value.data && !value.meta && value.start,
	   "the map hides the addresses, so it has UPTRs");
	is(update_error(map_fd, page + 64), -EOPNOTSUPP, "each names a whole page");
	munmap(page, 2 * getpagesize());
	is(update_error(map_fd, page), -EFAULT, "the kernel pins what they name");
}

/* --- The kinds of objects ----------------------------------------------------------- */

static void check_load(void)
{
	volatile struct load_result *result;

	load_object();
	shared = reader_memory(object, ".bss", sizeof(*shared));
	result = &shared->result[PLACE_syscall][SHAPE_PLAIN];
	run_syscall("choose_me");
	run_syscall("syscall_plain");
	ok(result->runs == 1 && !result->turns, "a thread that shares nothing has no TLD");
	result->runs = 0;
	store();
	load_run_all(object, shared, variant->text, may_load);
	for (int place = 0; place < PLACES; place++)
		check_place(place);
	check_uptrs(reader_object_map_fd(object, "tld_data_map"));
}

static const struct {
	const char *program, *words;
	unsigned long long value;
} uses[USES] = {
#define USE_ROW(name, words, value) { "use_" #name, words, value },
	LOAD_USES(USE_ROW)
};

static void *run_use(void *use)
{
	run_syscall(uses[(uintptr_t)use].program);
	return NULL;
}

static void check_use(uintptr_t use)
{
	if (use >= USE_pid)
		in_thread(run_use, (void *)use);
	else
		run_use((void *)use);
	tally->run += is(shared->use[use], uses[use].value, "%s: the right value", uses[use].words);
}

static void check_uses(void)
{
	bool native = !strcmp(variant->header, "native");
	struct load_quad *quad;

	load_object();
	shared = reader_memory(object, ".bss", sizeof(*shared));
	shared->bytes = "b";
	run_syscall("choose_me");
	if (native) {
		run_syscall("use_present");
		is(shared->use[USE_present], 2, "a thread that shares nothing is not present");
	}
	store();
	for (int use = 0; use < (native ? USES : USE_named); use++)
		check_use(use);
	quad = tld_get_data(reader_object_map_fd(object, "tld_data_map"), quad_key);
	if (native)
		is(quad->b, WRITTEN, "the thread sees what BPF stored through the pointer");
}

static __u32 map_id(struct bpf_object *of, const char *name)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(reader_object_map_fd(of, name), &info, &size))
		tap_bail("the map %s has an id", name);
	return info.id;
}

/* TLD_PINNED, in a file system of this process alone. */
static void check_pin(void)
{
	struct bpf_object *second = open_object(variant);

	ok(!bpf_object__load(second), "the object loads a second time");
	is(map_id(second, "tld_data_map"), map_id(object, "tld_data_map"),
	   "both have the map that is pinned by its name");
	bpf_object__close(second);
}

static void check_keys(void)
{
	bool pinned = !strcmp(variant->verdict, "pinned");
	unsigned long long *first, *last, *sum;
	int map_fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		tap_bail("a bpffs can be mounted for this process alone");
	load_object();
	map_fd = reader_object_map_fd(object, pinned ? "tld_data_map" : "hints");
	sum = reader_memory(object, ".bss", sizeof(*sum));
	first = tld_get_data(map_fd, key_0_key);
	last = tld_get_data(map_fd, key_62_key);
	if (!first || !last)
		tap_bail("the library serves the object's map");
	*first = FIRST;
	*last = LAST;
	run_syscall("sum_keys");
	tally->run++;
	is(*sum, pinned ? FIRST + LAST : LAST, "%s: the TLDs are read",
	   pinned ? "63 names in TLD_KEYS()" : "one name, and TLD_MAP_NAME");
	if (pinned)
		check_pin();
}

/* --- The list -------------------------------------------------------------------------- */

static const struct {
	const char *verdict;
	void (*body)(void);
} checks[] = {
	{ "load", check_load }, { "uses", check_uses }, { "keys", check_keys },
	{ "pinned", check_keys }, { "built", load_object },
};

/* What a machine that is to test everything has to have. */
static void check_missing(void)
{
	const char *strict = getenv("STRICT");

	if (strict && !strcmp(strict, "1"))
		ok(false, "it is there to be tested with: %s", variant->text);
	else
		tap_skip("it is there to be tested with", variant->text);
}

static void check_without_object(void)
{
	if (!strcmp(variant->verdict, "missing"))
		check_missing();
	else if (!strcmp(variant->verdict, "cannot"))
		tap_skip("cannot exist", variant->text);
	else if (!strcmp(variant->verdict, "fail"))
		ok(false, "it compiles: %s", variant->text);
	else
		ok(!strcmp(variant->verdict, "refused"), "%s is refused when it is compiled, and why is said",
		   variant->text);
}

static void check_variant(unsigned int index)
{
	static char subject[sizeof(*variant)];

	variant = &variants[index];
	tally = &tallies[index];
	snprintf(subject, sizeof(subject), "%s %s %s %s %s: ", variant->header, variant->compiler,
		 variant->cpu, variant->types, variant->libbpf);
	tap_subject = subject;
	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
		if (!strcmp(variant->verdict, checks[i].verdict)) {
			in_child_named(variant->text, checks[i].body);
			return;
		}
	if (strcmp(variant->verdict, "bare"))
		check_without_object();
}

/* Take variants until none is left. */
static void work(void)
{
	unsigned int index;

	while ((index = __atomic_fetch_add(next_variant, 1, __ATOMIC_RELAXED)) < variant_count)
		check_variant(index);
}

static FILE *start_worker(pid_t *worker)
{
	FILE *output = tmpfile();

	if (!output)
		tap_bail("a temporary file");
	fflush(stdout);
	*worker = fork();
	if (*worker < 0)
		tap_bail("fork works");
	if (!*worker) {
		dup2(fileno(output), STDOUT_FILENO);
		work();
		fflush(stdout);
		_exit(0);
	}
	return output;
}

/* Points are printed when all workers are done: theirs are numbered here. */
static void work_in_parallel(void)
{
	FILE *outputs[WORKERS];
	pid_t workers[WORKERS];
	int status;

	for (int i = 0; i < WORKERS; i++)
		outputs[i] = start_worker(&workers[i]);
	for (int i = 0; i < WORKERS; i++) {
		waitpid(workers[i], &status, 0);
		lseek(fileno(outputs[i]), 0, SEEK_SET);
		relay_points(fileno(outputs[i]));
		ok(WIFEXITED(status) && !WEXITSTATUS(status), "worker %d ends by itself", i);
	}
}

static void read_list(void)
{
	FILE *list = fopen(reader_beside(OBJECTS "variants"), "r");
	struct variant *v = variants;

	if (!list)
		tap_bail("load.sh has left a list of objects");
	while (v < variants + MAX_VARIANTS &&
	       fscanf(list, "%15s %15s %15s %7s %15s %15s %127[^\n]", v->verdict, v->header,
		      v->compiler, v->cpu, v->types, v->libbpf, v->text) == 7) {
		fscanf(list, "%*[^\n]"); /* of a long reason */
		v++;
	}
	ok(feof(list), "the list of objects is read to its end");
	fclose(list);
	variant_count = v - variants;
}

/* --- The table ------------------------------------------------------------------------- */

static bool same_row(const struct variant *a, const struct variant *b)
{
	return !strcmp(a->header, b->header) && !strcmp(a->compiler, b->compiler) &&
	       !strcmp(a->cpu, b->cpu);
}

static bool is_first_of_row(unsigned int index)
{
	for (unsigned int before = 0; before < index; before++)
		if (same_row(&variants[before], &variants[index]))
			return false;
	return true;
}

static void print_row(unsigned int first)
{
	unsigned int objects = 0;
	struct tally sum = {};

	for (unsigned int i = first; i < variant_count; i++) {
		if (!same_row(&variants[i], &variants[first]) || !tallies[i].loaded)
			continue;
		objects++;
		sum.loaded += tallies[i].loaded;
		sum.run += tallies[i].run;
		if (tallies[i].verified > sum.verified)
			sum.verified = tallies[i].verified;
	}
	if (objects)
		diag("| %-8s %-10s %-4s %8u %8u %8u %10u", variants[first].header,
		     variants[first].compiler, variants[first].cpu, objects, sum.loaded, sum.run,
		     sum.verified);
}

static void print_table(void)
{
	unsigned int loaded = 0, run = 0, cannot = 0, objects = 0;

	diag("| header   compiler   cpu   objects   loaded      run   verified");
	for (unsigned int i = 0; i < variant_count; i++) {
		if (is_first_of_row(i))
			print_row(i);
		objects += tallies[i].loaded != 0;
		loaded += tallies[i].loaded;
		run += tallies[i].run;
		if (strcmp(variants[i].verdict, "cannot"))
			continue;
		diag("| %s %s cannot exist: %s", variants[i].compiler, variants[i].cpu, variants[i].text);
		cannot += atoi(variants[i].text);
	}
	diag("| total: %u programs of %u objects loaded, %u of them run and right; %d points failed; "
	     "%u objects cannot exist", loaded, objects, run, tap_failures, cannot);
}

static void check_verified(const char *header)
{
	unsigned int largest = 0;

	for (unsigned int i = 0; i < variant_count; i++)
		if (!strcmp(variants[i].header, header) && tallies[i].verified > largest)
			largest = tallies[i].verified;
	ok(largest && largest <= VERIFIED_CEILING,
	   "%s: the verifier looks at %u instructions of the largest program, at most %u are allowed",
	   header, largest, VERIFIED_CEILING);
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		tap_bail("memory that the workers share");
	return memory;
}

int main(void)
{
	reader_need_kernel();
	read_list();
	tallies = shared_memory(sizeof(*tallies) * variant_count);
	next_variant = shared_memory(sizeof(*next_variant));
	probe_places();
	work_in_parallel();
	tap_subject = "";
	check_verified("native");
	check_verified("drop-in");
	print_table();
	return tap_done();
}
