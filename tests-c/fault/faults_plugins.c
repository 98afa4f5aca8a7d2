// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * faults_plugins.c - faults 10 and 19 of docs/reference/wire.md: TLDs of libraries that are loaded
 * late, and libraries that call their variable the same. This program calls its
 * own variable like the plugins do theirs.
 */
#include <dlfcn.h>
#include <libgen.h>
#include <pthread.h>
#include "maps.h"
#include "page.h"

#define LATE_SIZE 2000

TLD_DEFINE_KEY(shared_variable_name, "program", 8);

static int map_fd, other_fd;

struct plugin {
	void *handle;
	tld_key_t (*own_key)(void);
	void *(*get_data)(int map_fd);
};

/* Where the plugins are: beside this program, in plugins/. */
static const char *plugin_path(const char *name)
{
	static char self[PATH_MAX], path[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		tap_bail("/proc/self/exe can be read");
	self[n] = 0;
	snprintf(path, sizeof(path), "%s/plugins/%s.so", dirname(self), name);
	return path;
}

static struct plugin load(const char *name, int flags)
{
	struct plugin plugin = { .handle = dlopen(plugin_path(name), RTLD_NOW | flags) };

	if (!plugin.handle)
		tap_bail("plugin %s can be loaded: %s", name, dlerror());
	plugin.own_key = (tld_key_t (*)(void))dlsym(plugin.handle, "plugin_own_key");
	plugin.get_data = (void *(*)(int))dlsym(plugin.handle, "plugin_get_data");
	if (!plugin.own_key || !plugin.get_data)
		tap_bail("plugin %s has its functions", name);
	return plugin;
}

/* Fault 19. RTLD_GLOBAL is what let one library's variable take another's place. */
static void same_variable_name(int flags, const char *how)
{
	struct plugin alpha = load("alpha", flags), beta = load("beta", flags);

	is(shared_variable_name.off, 0, "%s: the program's variable holds the program's key", how);
	is(alpha.own_key().off, tld_find_key("alpha").off, "%s: the first library's holds the first's", how);
	is(beta.own_key().off, tld_find_key("beta").off, "%s: the second's holds the second's", how);
	is(alpha.own_key().off, 8, "%s: the first has a key of its own", how);
	is(beta.own_key().off, 16, "%s: and so has the second", how);
	is(tld_find_key("program").off, 0, "%s: the program's TLD is found too", how);
	ok(!dlsym(RTLD_DEFAULT, "shared_variable_name") &&
	   !dlsym(alpha.handle, "shared_variable_name"), "%s: the variable is visible to none but its owner", how);
}

static void loaded_globally(void)
{
	same_variable_name(RTLD_GLOBAL, "loaded globally");
}

static void loaded_locally(void)
{
	same_variable_name(RTLD_LOCAL, "loaded locally");
}

static void shared_by_libraries(void)
{
	struct plugin alpha = load("alpha", RTLD_GLOBAL), again = load("alpha_again", RTLD_GLOBAL);
	struct plugin larger;
	uint64_t *one, *other;

	is(again.own_key().off, alpha.own_key().off, "two libraries that define the same TLD share its key");
	is(page_cnt(), 2, "it is counted once");
	one = alpha.get_data(map_fd);
	other = again.get_data(map_fd);
	ok(one && one == other, "and share the thread's data");
	larger = load("alpha_larger", RTLD_GLOBAL);
	is(larger.own_key().off, -EEXIST, "a third that defines it with another size is told -EEXIST");
	errno = 0;
	ok(!larger.get_data(map_fd) && errno == EINVAL, "and gets no data");
	is(page_size_field(), 64 + 8 + 8, "nothing was added for it");
}

static void loaded_anew(void)
{
	struct plugin plugin = load("beta", RTLD_LOCAL);
	int16_t off = plugin.own_key().off;
	unsigned int wrong = 0;

	dlclose(plugin.handle);
	for (int i = 0; i < 100; i++) {
		plugin = load("beta", RTLD_LOCAL);
		wrong += plugin.own_key().off != off;
		dlclose(plugin.handle);
	}
	is(off, 8, "a plugin's TLD is defined when it is loaded");
	is(wrong, 0, "and found again whenever it is loaded anew");
	is(page_cnt(), 2, "it is counted once");
}

/* What is at the end of a thread's block belongs to others. */
static bool inside_block(const char *data, size_t size)
{
	uintptr_t page = ~(uintptr_t)getpagesize() + 1;

	return data >= tld_self.base && data + size <= tld_self.base + tld_self.limit &&
	       ((uintptr_t)data & page) == (((uintptr_t)data + size - 1) & page);
}

/* Fault 10: threads that have their memory when the library comes. */
#define EXISTING 6
static pthread_barrier_t plugin_loads, plugin_loaded, all_written;
static struct plugin late;
static unsigned int neither, outside, overwritten, addresses;

static void write_late(struct plugin *plugin)
{
	char *data = (errno = 0, plugin->get_data(map_fd));

	if (!data && errno != E2BIG)
		__atomic_add_fetch(&neither, 1, __ATOMIC_RELAXED);
	if (data) {
		__atomic_add_fetch(&addresses, 1, __ATOMIC_RELAXED);
		if (inside_block(data, LATE_SIZE))
			memset(data, 0xee, LATE_SIZE);
		else
			__atomic_add_fetch(&outside, 1, __ATOMIC_RELAXED);
	}
}

static void *existing_thread(void *arg)
{
	uint64_t *mine = tld_get_data(map_fd, shared_variable_name);

	if (mine)
		*mine = (uintptr_t)arg;
	pthread_barrier_wait(&plugin_loads);
	pthread_barrier_wait(&plugin_loaded);
	write_late(&late);
	pthread_barrier_wait(&all_written);
	if (!mine || *mine != (uintptr_t)arg || tld_get_data(map_fd, shared_variable_name) != mine)
		__atomic_add_fetch(&overwritten, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *new_thread(void *unused)
{
	unsigned char *data = late.get_data(map_fd);

	(void)unused;
	if (!data)
		neither++;
	else if (!inside_block((char *)data, LATE_SIZE) || data[0] || memcmp(data, data + 1, LATE_SIZE - 1))
		outside++;
	return NULL;
}

static void late_library(void)
{
	pthread_t threads[EXISTING], one_more;

	pthread_barrier_init(&plugin_loads, NULL, EXISTING + 1);
	pthread_barrier_init(&plugin_loaded, NULL, EXISTING + 1);
	pthread_barrier_init(&all_written, NULL, EXISTING);
	for (intptr_t i = 0; i < EXISTING; i++)
		if (pthread_create(&threads[i], NULL, existing_thread, (void *)(i + 1)))
			tap_bail("a thread can be started");
	pthread_barrier_wait(&plugin_loads);
	late = load("late", RTLD_GLOBAL);
	pthread_barrier_wait(&plugin_loaded);
	for (int i = 0; i < EXISTING; i++)
		pthread_join(threads[i], NULL);
	diag("%u of %d threads had room for %d bytes more", addresses, EXISTING, LATE_SIZE);
	is(late.own_key().off, 8, "a library loaded late has a key");
	is(neither, 0, "threads that have their memory get its data or E2BIG");
	is(outside, 0, "those that get data get it inside of their memory");
	is(overwritten, 0, "no thread's other data is written over");
	if (pthread_create(&one_more, NULL, new_thread, NULL))
		tap_bail("a thread can be started");
	pthread_join(one_more, NULL);
	is(neither + outside, 0, "a thread that starts later has room for it, zeroed");
}

static void still_too_small(struct plugin *plugin, const char *when)
{
	void *data = (errno = 0, plugin->get_data(map_fd));

	ok(!data && errno == E2BIG, "what does not fit is E2BIG %s", when);
}

/* With threads packed several to a page there cannot be room. */
static void *too_small(void *unused)
{
	void *before = tld_get_data(map_fd, shared_variable_name);
	struct plugin plugin = load("late", RTLD_GLOBAL);
	void *data;

	(void)unused;
	errno = 0;
	data = plugin.get_data(map_fd);
	ok(before != NULL, "a thread has data");
	ok(!data && errno == E2BIG, "a TLD larger than the thread's memory gives E2BIG");
	still_too_small(&plugin, "as often as one tries");
	ok(tld_get_data(map_fd, shared_variable_name) == before, "what fits is not affected");
	ok(tld_get_data(other_fd, shared_variable_name) == before, "nor in another map");
	still_too_small(&plugin, "then");
	tld_free();
	still_too_small(&plugin, "after tld_free()");
	ok(tld_get_data(map_fd, shared_variable_name) == before, "what fits can be used again");
	still_too_small(&plugin, "after that");
	return NULL;
}

static void late_library_packed(void)
{
	pthread_t thread;

	/* A thread that makes a map of the second format known comes first. */
	if (!tld_get_data(map_fd, shared_variable_name))
		tap_bail("the first thread has data");
	if (pthread_create(&thread, NULL, too_small, NULL))
		tap_bail("a thread can be started");
	pthread_join(thread, NULL);
}

/* A library that is loaded and closed while threads with data end later. */
static void *ends_after_close(void *unused)
{
	struct plugin plugin = load("alpha", RTLD_LOCAL);

	if (!plugin.get_data(map_fd))
		neither++;
	dlclose(plugin.handle);
	return unused;
}

static void closed_before_threads_end(void)
{
	pthread_t thread;

	for (int i = 0; i < 50; i++) {
		if (pthread_create(&thread, NULL, ends_after_close, NULL))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
	}
	is(neither, 0, "threads may end after the library that gave them data was closed");
}

int main(void)
{
	map_fd = data_map(V2_SIZE);
	other_fd = data_map(NATIVE_SIZE);
	in_child(loaded_globally);
	in_child(loaded_locally);
	in_child(shared_by_libraries);
	in_child(loaded_anew);
	in_child(late_library);
	in_child(late_library_packed);
	in_child(closed_before_threads_end);
	close(map_fd);
	close(other_fd);
	return tap_done();
}
