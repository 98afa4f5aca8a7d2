// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hostile.c - tld_get_data() with descriptors that are no data map, maps that look
 * like one, and keys that are none: the right errno, nothing left open, nothing
 * left in a map. Each case runs in a child, in which no data map is known yet.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "maps.h"
#include "page.h"

#define ERRNO_MARK 12345
#define REPEATED 100

static int map_fd;

/* Fail REPEATED times in the same way; nothing may pile up. */
static void refused(int fd, tld_key_t key, int want, const char *what)
{
	int descriptors = open_descriptors(), wrong = 0, err;
	long mapped = 0;
	void *data;

	for (int i = 0; i < REPEATED; i++) {
		errno = 0;
		data = tld_get_data(fd, key);
		err = errno;
		if (data || err != want) {
			if (!wrong++)
				diag("  %s gives %p, errno %d (%s)", what, data, err, strerror(err));
		}
		if (i == 0)
			mapped = status_kib("VmSize:");
	}
	is(wrong, 0, "%s: NULL with %s, as often as one tries", what, strerror(want));
	is(open_descriptors(), descriptors, "%s: no descriptor stays open", what);
	/* A sanitizer maps memory of its own now and then. */
	if (!UNDER_SANITIZER)
		is(status_kib("VmSize:"), mapped, "%s: nothing stays mapped", what);
}

/* After a refusal the thread must work with a data map as if nothing had been. */
static void works(tld_key_t key)
{
	unsigned char *data = tld_get_data(map_fd, key);

	ok(data && !*data, "the thread then works with a data map");
	ok(published(map_fd), "and is published there");
}

static tld_key_t some_key(void)
{
	tld_key_t key = tld_create_key("some", 8);

	if (tld_key_is_err(key))
		tap_bail("a key can be created");
	return key;
}

static void closed_descriptors(void)
{
	tld_key_t key = some_key();
	int fd = 900; /* a number that the library's own descriptors will not get */

	if (dup2(map_fd, fd) != fd)
		tap_bail("descriptor %d can be made", fd);
	close(fd);
	refused(fd, key, EBADF, "a closed descriptor");
	refused(-1, key, EBADF, "descriptor -1");
	refused(INT_MIN, key, EBADF, "descriptor INT_MIN");
	refused(INT_MAX, key, EBADF, "descriptor INT_MAX");
	works(key);
	refused(fd, key, EBADF, "a closed descriptor in a thread that has data");
	refused(INT_MIN, key, EBADF, "descriptor INT_MIN in a thread that has data");
	refused(-1, key, EBADF, "descriptor -1 in a thread that has data");
	tld_free();
	refused(INT_MIN, key, EBADF, "descriptor INT_MIN after tld_free()");
	refused(-1, key, EBADF, "descriptor -1 after tld_free()");
}

/* State of a thread without data is zero, and 0 is a descriptor. */
static void descriptor_zero(void)
{
	tld_key_t key = some_key();

	close(0);
	refused(0, key, EBADF, "descriptor 0, closed");
	if (open("/dev/null", O_RDONLY) != 0)
		tap_bail("descriptor 0 can be opened");
	refused(0, key, EINVAL, "descriptor 0, /dev/null");
	if (dup2(map_fd, 0))
		tap_bail("descriptor 0 can be a map");
	ok(tld_get_data(0, key) != NULL, "descriptor 0 may be a data map");
	ok(published(map_fd), "which is then served");
}

static void refused_file(int fd, const char *what)
{
	if (fd < 0)
		tap_bail("%s can be opened", what);
	refused(fd, tld_find_key("some"), EINVAL, what);
	close(fd);
}

static void other_files(void)
{
	tld_key_t key = some_key();
	int ends[2];

	refused_file(open("/proc/self/exe", O_RDONLY), "a regular file");
	refused_file(open("/", O_RDONLY | O_DIRECTORY), "a directory");
	refused_file(socket(AF_UNIX, SOCK_STREAM, 0), "a socket");
	refused_file(epoll_create1(0), "an epoll instance");
	refused_file(eventfd(0, 0), "an eventfd");
	refused_file(thread_pidfd(gettid()), "a pidfd");
	ends[0] = open("/proc/self/exe", O_PATH);
	refused(ends[0], key, EBADF, "an O_PATH descriptor, which is good for nothing");
	close(ends[0]);
	if (pipe(ends))
		tap_bail("pipe works");
	close(ends[1]);
	refused_file(ends[0], "a pipe");
	works(key);
}

static void other_bpf_objects(void)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct btf *btf = btf__new_empty();
	tld_key_t key = some_key();

	btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	if (btf__load_into_kernel(btf))
		tap_bail("BTF can be loaded");
	refused_file(bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", insns, 2, NULL), "a BPF program");
	refused(btf__fd(btf), key, EINVAL, "a BTF object");
	btf__free(btf);
	works(key);
}

static void refused_map(int fd, const char *what)
{
	char value[256];

	if (fd < 0) {
		errno = -fd;
		tap_bail("%s can be made", what);
	}
	refused(fd, tld_find_key("some"), EINVAL, what);
	if (strstr(what, "task storage"))
		is(element_read(fd, gettid(), value), -ENOENT, "%s: no element is left", what);
	close(fd);
}

static void refused_shape(enum bpf_map_type type, __u32 value_size, int uptrs, const char *what)
{
	struct map_shape shape = { type, value_size, uptrs };

	refused_map(map_create(&shape), what);
}

static void other_maps(void)
{
	tld_key_t key = some_key();

	refused_map(map_create_plain(BPF_MAP_TYPE_HASH, V2_SIZE), "a hash map");
	refused_map(map_create_plain(BPF_MAP_TYPE_HASH, V1_SIZE), "a hash map of 16-byte values");
	refused_map(map_create_plain(BPF_MAP_TYPE_ARRAY, V2_SIZE), "an array map");
	refused_shape(BPF_MAP_TYPE_SK_STORAGE, V2_SIZE, 0, "a socket storage map");
	refused_shape(BPF_MAP_TYPE_INODE_STORAGE, V2_SIZE, 0, "an inode storage map");
	works(key);
}

static void other_shapes(void)
{
	tld_key_t key = some_key();

	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 8, 0, "a task storage map of 8-byte values");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 8, 1, "a task storage map with a single UPTR");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 20, 2, "a task storage map with UPTRs and 20-byte values");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 16, 0, "a task storage map of 16-byte values without UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 24, 0, "a task storage map of 24-byte values without UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 64, 0, "a task storage map of 64-byte values without UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 24, 1, "a task storage map whose second member is no UPTR");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 16, 1, "a task storage map of 16 bytes with a single UPTR");
	works(key);
}

/* The element that this thread has in someone's map stays as it is. */
static void keeps_element(__u32 size, int fill, __u32 zeros, const char *what)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, size, 0 };
	unsigned char before[256] = { 0 }, after[256] = { 0 };
	int fd = map_create(&shape);

	memset(before, fill, size);
	memset(before, 0, zeros);
	if (fd < 0 || element_write(fd, gettid(), before))
		tap_bail("a map without UPTRs can be made and written");
	refused(fd, tld_find_key("some"), EINVAL, what);
	is(element_read(fd, gettid(), after), 0, "%s: it is still there", what);
	ok(!memcmp(before, after, size), "%s: and as it was", what);
	close(fd);
}

static void existing_elements(void)
{
	tld_key_t key = some_key();

	keeps_element(16, 0xaa, 0, "an element of another 16-byte map without UPTRs");
	keeps_element(24, 0xaa, 0, "an element of another 24-byte map without UPTRs");
	keeps_element(64, 0xaa, 0, "an element of another 64-byte map without UPTRs");
	keeps_element(24, 0xaa, 16, "an element whose first 16 bytes are zero");
	keeps_element(64, 0xaa, 24, "an element whose first 24 bytes are zero");
	keeps_element(16, 0, 0, "an element of 16 zeros");
	keeps_element(24, 0, 0, "an element of 24 zeros");
	keeps_element(24, 0xaa, 8, "an element whose first 8 bytes are zero");
	works(key);
}

/* One page as both UPTRs: of this process, but not from libtld. */
static void foreign_registration(void)
{
	char *pages = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t value[3] = { (uintptr_t)pages, (uintptr_t)pages + getpagesize(), 8 };
	uint64_t seen[3] = { 0 };
	tld_key_t key = some_key();

	if (pages == MAP_FAILED || element_write(map_fd, gettid(), value))
		tap_bail("this thread can be published by hand");
	ok(tld_get_data(map_fd, key) != NULL, "a thread that is in the data map already, left over from an exec, is served");
	is(element_read(map_fd, gettid(), seen), 0, "and is still in the map");
	ok((uint16_t)seen[2] > 0, "with a start above 0");
}

static int reopened(int fd, __u32 flags)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = flags);
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		tap_bail("a map's id can be had");
	fd = bpf_map_get_fd_by_id_opts(info.id, &opts);
	if (fd < 0)
		tap_bail("a map can be opened by id with flags %#x", flags);
	return fd;
}

static void half_open_maps(void)
{
	int read_only = reopened(map_fd, BPF_F_RDONLY), write_only = reopened(map_fd, BPF_F_WRONLY);
	tld_key_t key = some_key();

	refused(read_only, key, EPERM, "a data map that may not be written");
	ok(!published(map_fd), "does not publish the thread");
	/* Publishing takes no look-up: a descriptor good for writing only will do. */
	ok(tld_get_data(write_only, key) != NULL, "a data map that may not be read is served");
	ok(published(map_fd), "and the thread is published");
	works(key);
}

/* A key is an offset: whatever does not come from the table is refused ... */
static void forged_keys_first(void)
{
	static const int16_t forged[] = { -1, 1, 4, 7, 8, 16, 56, 64, 4080, 4088, 4096, 32760, 32767, -32768 };
	tld_key_t key = some_key();
	char what[64];

	for (unsigned int i = 0; i < sizeof(forged) / sizeof(*forged); i++) {
		snprintf(what, sizeof(what), "forged key %d in a thread without data", forged[i]);
		refused(map_fd, (tld_key_t){ forged[i] }, EINVAL, what);
	}
	ok(!published(map_fd), "a forged key does not publish the thread");
	works(key);
}

/* ... but in a thread that has data only the end is checked, for speed. */
static void forged_keys_later(void)
{
	tld_key_t key = some_key();
	unsigned int outside = 0, wrong_errno = 0;
	char *base = tld_get_data(map_fd, key);

	for (int off = INT16_MIN; off <= INT16_MAX; off++) {
		char *data = (errno = 0, tld_get_data(map_fd, (tld_key_t){ off }));

		outside += data && (data < base || data >= base + 8);
		wrong_errno += !data && errno != EINVAL;
	}
	ok(base != NULL, "a thread has data");
	is(outside, 0, "of all 65536 keys none leads outside of the one TLD that exists");
	is(wrong_errno, 0, "what is refused is EINVAL");
	refused(map_fd, (tld_key_t){ 8 }, EINVAL, "the offset behind the last TLD");
	refused(map_fd, (tld_key_t){ 32767 }, EINVAL, "key 32767 in a thread that has data");
	refused(map_fd, (tld_key_t){ -32768 }, EINVAL, "key -32768 in a thread that has data");
	refused(map_fd, (tld_key_t){ -1 }, EINVAL, "key -1 in a thread that has data");
}

/* With several TLDs, offsets between them are no keys either. */
static void forged_between(void)
{
	tld_key_t first = some_key(), second = tld_create_key("second", 24);
	tld_key_t third = tld_create_key("third", 8);

	refused(map_fd, (tld_key_t){ 16 }, EINVAL, "an offset inside a TLD, in a thread without data");
	refused(map_fd, (tld_key_t){ 24 }, EINVAL, "another one");
	ok(tld_get_data(map_fd, second) != NULL, "the TLD itself is none");
	ok(tld_get_data(map_fd, third) != NULL, "nor is the last");
	ok(tld_get_data(map_fd, first) != NULL, "nor the first");
}

static void no_key_yet(void)
{
	refused(map_fd, (tld_key_t){ 0 }, EINVAL, "key 0 before any key exists");
	refused(map_fd, (tld_key_t){ 8 }, EINVAL, "key 8 before any key exists");
	refused(map_fd, (tld_key_t){ -ENOENT }, EINVAL, "the key of a failed search");
	ok(!published(map_fd), "no thread is published before there is a key");
	works(some_key());
}

/* Entries taken back by the page's owner are no keys any more. */
static void key_after_reset(void)
{
	tld_key_t key = some_key();

	page_reset(0, 64);
	refused(map_fd, key, EINVAL, "a key whose entry was reset, in a thread without data");
	works(some_key());
}

static void errno_on_success(__u32 value_size)
{
	int fd = data_map(value_size);
	tld_key_t key = some_key(), second = tld_create_key("second", 8);
	bool same = true;

	errno = ERRNO_MARK;
	same &= tld_get_data(fd, key) && errno == ERRNO_MARK;
	ok(same, "the call that publishes a thread in a map of %u-byte values leaves errno alone", value_size);
	same &= tld_get_data(fd, key) && errno == ERRNO_MARK;
	same &= tld_get_data(fd, second) && errno == ERRNO_MARK;
	same &= tld_get_data(map_fd, key) && errno == ERRNO_MARK;
	tld_free();
	same &= errno == ERRNO_MARK;
	same &= tld_get_data(fd, key) && errno == ERRNO_MARK;
	ok(same, "so do later calls, another map, tld_free() and the call after it");
	close(fd);
}

static void errno_unchanged(void)
{
	errno_on_success(V1_SIZE);
}

static void errno_unchanged_v2(void)
{
	errno_on_success(V2_SIZE);
}

static void errno_unchanged_native(void)
{
	errno_on_success(NATIVE_SIZE);
}

/* What the library keeps open is one descriptor a map, not inherited by exec. */
static void descriptors_kept(void)
{
	tld_key_t key = some_key();
	int before = open_descriptors(), inherited = 0;
	bool was_open[1024];

	for (int fd = 0; fd < 1024; fd++)
		was_open[fd] = fcntl(fd, F_GETFD) >= 0;
	works(key);
	ok(open_descriptors() <= before + 1, "serving a map keeps at most one descriptor open");
	for (int fd = 0; fd < 1024; fd++)
		inherited += !was_open[fd] && fcntl(fd, F_GETFD) == 0;
	is(inherited, 0, "which an exec closes");
	for (int i = 0; i < REPEATED; i++)
		tld_get_data(dup(map_fd), key);
	ok(open_descriptors() <= before + 1 + REPEATED, "other descriptors of the same map cost none");
	tld_free();
	for (int i = 0; i < REPEATED; i++) {
		tld_get_data(map_fd, key);
		tld_free();
	}
	ok(open_descriptors() <= before + 1 + REPEATED, "nor do tld_free() and use in turn");
}

static void many_maps(void)
{
	static const __u32 sizes[] = { V1_SIZE, V2_SIZE, NATIVE_SIZE };
	int before, maps[30], published_in = 0, same = 0;
	tld_key_t key = some_key();
	void *data;

	for (int i = 0; i < 30; i++)
		maps[i] = data_map(sizes[i % 3]);
	before = open_descriptors();
	data = tld_get_data(maps[0], key);
	for (int i = 0; i < 30; i++) {
		same += data && tld_get_data(maps[i], key) == data;
		published_in += published(maps[i]);
	}
	is(same, 30, "a thread that passes thirty maps, of all formats, has one address in all");
	is(published_in, 30, "and is published in each as it passes it");
	ok(open_descriptors() <= before + 8, "at most eight descriptors are kept for them");
	for (int i = 0; i < 30; i++)
		close(maps[i]);
	works(key);
}

int main(void)
{
	map_fd = data_map(V2_SIZE);
	in_child(closed_descriptors);
	in_child(descriptor_zero);
	in_child(other_files);
	in_child(other_bpf_objects);
	in_child(other_maps);
	in_child(other_shapes);
	in_child(existing_elements);
	in_child(foreign_registration);
	in_child(half_open_maps);
	in_child(forged_keys_first);
	in_child(forged_keys_later);
	in_child(forged_between);
	in_child(no_key_yet);
	in_child(key_after_reset);
	in_child(errno_unchanged);
	in_child(errno_unchanged_v2);
	in_child(errno_unchanged_native);
	in_child(descriptors_kept);
	in_child(many_maps);
	close(map_fd);
	return tap_done();
}
