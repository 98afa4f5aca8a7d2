// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * pins.c - tld_pin.h: a privileged loader pins a map in BPF file systems in which strangers make
 * directories, links and pins. Nothing of theirs is taken, and nothing of others is changed
 * through what they made.
 */
#include "follow.h"
#include "tld_pin.h"

#define STRANGER 12345
#define HINTERS 54321
#define DIRECTORY BPFFS "/sched"
#define MAP DIRECTORY "/tld_data_map"
#define SHADOW PLACE "/shadow"	/* a file of root's that a stranger wants */

static struct tld_pin place;

/* Everybody may make names there, as in a BPF file system that the kernel mounts by default. */
static void begin(void)
{
	int fd;

	make_place();
	must(chmod(BPFFS, 01777));
	fd = open(SHADOW, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	must(fd < 0 || fchmod(fd, 0600));
	close(fd);
}

static void strangers(const char *path)
{
	must(lchown(path, STRANGER, STRANGER));
}

static void make_directory(const char *path, mode_t mode)
{
	must(mkdir(path, 0755) || chmod(path, mode));
}

static void is_like(const char *path, mode_t mode, uid_t uid, gid_t gid, const char *what)
{
	struct stat st;

	if (lstat(path, &st))
		tap_bail("%s is there", path);
	ok((st.st_mode & 07777) == mode && st.st_uid == uid && st.st_gid == gid, "%s (mode %04o, %u:%u)", what,
	   st.st_mode & 07777, st.st_uid, st.st_gid);
}

/* A file of root's, whatever a stranger made. */
static void shadow_is_as_it_was(void)
{
	is_like(SHADOW, 0600, 0, 0, "the file of root's is as it was");
}

/* All that a loader does, up to the first failure. */
static int pin_at(const char *path)
{
	int map = data_map(V2_SIZE), err = tld_pin_open(&place, path, TLD_PIN_MAKE);

	if (!err)
		err = tld_pin_put(&place, map, HINTERS, 0660);
	close(map);
	return err;
}

static void refused(const char *path, int want, const char *words)
{
	int before = open_descriptors(), err = pin_at(path);

	is(err, -want, "%s: refused", words);
	ok(strstr(tld_pin_error(&place, err), words), "and it says so (%s)", tld_pin_error(&place, err));
	tld_pin_close(&place);
	is(open_descriptors(), before, "with no descriptor left open");
}

/* --- What a loader gets ------------------------------------------------------------------ */

static void pinned_and_given(void)
{
	struct stat st;
	int fd;

	begin();
	umask(0077);
	is(pin_at(MAP), 0, "a map is pinned in a directory that was not there");
	is_like(DIRECTORY, 0755, 0, 0, "which is root's, and all may search, whatever the umask");
	is_like(MAP, 0660, 0, HINTERS, "the pin has the mode and group that were asked for");
	fd = tld_pin_get(&place);
	ok(fd >= 0 && map_id(fd), "what is pinned can be opened");
	is(fcntl(fd, F_GETFD), FD_CLOEXEC, "close-on-exec");
	is(fcntl(place.dir, F_GETFD), FD_CLOEXEC, "as the directory is");
	is(tld_pin_put(&place, fd, HINTERS, 0660), -EEXIST, "what is there is not replaced");
	is(tld_pin_give(&place, (gid_t)-1, 0), 0, "nothing asked for");
	is_like(MAP, 0660, 0, HINTERS, "nothing changed");
	is(tld_pin_give(&place, (gid_t)-1, 0600), 0, "only a mode");
	is_like(MAP, 0600, 0, HINTERS, "changes the mode");
	is(tld_pin_give(&place, 0, 0), 0, "only a group");
	is_like(MAP, 0600, 0, 0, "changes the group");
	tld_pin_close(&place);
	tld_pin_close(&place);
	is(tld_pin_open(&place, MAP, TLD_PIN_MAKE), 0, "a directory of root's that is there is taken");
	is(tld_pin_remove_dir(&place), -ENOTEMPTY, "it is not removed while there is something in it");
	is(tld_pin_remove(&place), 0, "a pin is removed");
	is(tld_pin_remove(&place), -ENOENT, "once");
	is(tld_pin_get(&place), -ENOENT, "then there is nothing to open");
	is(tld_pin_give(&place, HINTERS, 0660), -ENOENT, "nor to give away");
	is(tld_pin_remove_dir(&place), 0, "the directory is removed");
	is(stat(DIRECTORY, &st), -1, "and is gone");
	close(fd);
}

static void as_it_is(void)
{
	begin();
	make_directory(DIRECTORY, 0700);
	is(pin_at(MAP), 0, "a directory that only root may search is taken");
	is_like(DIRECTORY, 0700, 0, 0, "and left as it is");
	tld_pin_close(&place);
	is(tld_pin_open(&place, BPFFS "/none/map", 0), -ENOENT, "without TLD_PIN_MAKE no directory is made");
	is(tld_pin_open(&place, BPFFS "/none/map", TLD_PIN_ANY), -ENOENT, "for looking neither");
	is(access(BPFFS "/none", F_OK), -1, "there is none");
	is(tld_pin_open(&place, BPFFS "/none/none/map", TLD_PIN_MAKE), -ENOENT, "nor is more than one");
}

/* --- What strangers made ------------------------------------------------------------------- */

static void strange_directory(void)
{
	begin();
	make_directory(DIRECTORY, 0755);
	strangers(DIRECTORY);
	refused(MAP, EPERM, "the directory belongs to another user");
	is_like(DIRECTORY, 0755, STRANGER, STRANGER, "it is as it was");
	is(access(MAP, F_OK), -1, "and empty");
	refused(DIRECTORY "/more/tld_data_map", EPERM, "a directory above it belongs to another user");
	is(access(DIRECTORY "/more", F_OK), -1, "nothing is made in it");
}

static void writable_directory(void)
{
	begin();
	make_directory(DIRECTORY, 0777);
	refused(MAP, EPERM, "others may write the directory");
	must(chmod(DIRECTORY, 0775));
	refused(MAP, EPERM, "others may write the directory");
	must(chmod(DIRECTORY, 01777));
	refused(MAP, EPERM, "others may write the directory");
	is_like(DIRECTORY, 01777, 0, 0, "it is as it was");
	refused(BPFFS "/map", EPERM, "others may write the directory");
	must(chmod(DIRECTORY, 0755) || chmod(BPFFS, 0777));
	refused(MAP, EPERM, "others may rename what is in a directory above it");
	refused(BPFFS "/new/map", EPERM, "others may rename what is in a directory above it");
	is(access(BPFFS "/new", F_OK), -1, "nothing is made in it");
}

static void linked_directory(void)
{
	int err;

	begin();
	make_directory(BPFFS "/theirs", 0755);
	must(symlink(BPFFS "/theirs", DIRECTORY));
	refused(MAP, ELOOP, "a part of the path is a symbolic link");
	refused(DIRECTORY "/more/map", ELOOP, "a part of the path is a symbolic link");
	strangers(DIRECTORY);
	err = pin_at(MAP);
	ok(err == -ELOOP || err == -EACCES, "a stranger's is refused, here or by fs.protected_symlinks (%d)", err);
	tld_pin_close(&place);
	must(unlink(DIRECTORY) || symlink(PLACE, DIRECTORY));
	refused(MAP, ELOOP, "a part of the path is a symbolic link");
	is_like(BPFFS "/theirs", 0755, 0, 0, "what the link led to is as it was");
	is(access(BPFFS "/theirs/tld_data_map", F_OK), -1, "and empty");
	shadow_is_as_it_was();
}

/* The pin of a map became a link to a file of root's, when its directory was a stranger's. */
static void linked_pin(void)
{
	begin();
	make_directory(DIRECTORY, 0755);
	must(symlink(SHADOW, MAP));
	refused(MAP, EEXIST, "File exists");
	is(tld_pin_open(&place, MAP, 0), 0, "the directory is good");
	is(tld_pin_get(&place), -ELOOP, "a link is not opened");
	is(tld_pin_give(&place, HINTERS, 0660), -ELOOP, "nor given away");
	ok(strstr(tld_pin_error(&place, -ELOOP), "symbolic link"), "and it says so");
	shadow_is_as_it_was();
	is(tld_pin_remove(&place), 0, "it can be removed");
	shadow_is_as_it_was();
	must(mkdir(MAP, 0755));
	is(tld_pin_get(&place), -EISDIR, "nor is a directory opened");
	is(tld_pin_give(&place, HINTERS, 0777), -EISDIR, "or given away");
	is_like(MAP, 0755, 0, 0, "it is as it was");
	tld_pin_close(&place);
}

static void strange_pin(void)
{
	begin();
	is(pin_at(MAP), 0, "a map is pinned");
	strangers(MAP);
	is(tld_pin_get(&place), -EPERM, "the pin of another user is not opened");
	ok(strstr(tld_pin_error(&place, -EPERM), "the pin belongs to another user"), "and it says so");
	is(tld_pin_give(&place, HINTERS, 0666), -EPERM, "nor given away");
	is_like(MAP, 0660, STRANGER, STRANGER, "it is as it was");
	must(lchown(MAP, 0, 0) || chmod(MAP, 0662));
	is(tld_pin_get(&place), -EPERM, "one that everybody may write is not opened");
	ok(strstr(tld_pin_error(&place, -EPERM), "everybody may write the pin"), "and it says so");
	tld_pin_close(&place);
	is(tld_pin_open(&place, MAP, TLD_PIN_ANY), 0, "to look, and to remove,");
	ok(tld_pin_get(&place) >= 0, "anybody's pin will do");
	strangers(DIRECTORY);
	is(tld_pin_open(&place, MAP, TLD_PIN_ANY), 0, "and anybody's directory");
	is(tld_pin_remove(&place), 0, "so that it can be removed");
}

/*
 * Strangers may change what is at the path after the directory was judged, if those above let them.
 * All goes on in the directory that was judged.
 */
static void moved_directory(void)
{
	int map = data_map(V2_SIZE), before;

	begin();
	is(tld_pin_open(&place, MAP, TLD_PIN_MAKE), 0, "a directory is made");
	must(rename(DIRECTORY, BPFFS "/moved") || mkdir(DIRECTORY, 0755) || symlink(SHADOW, MAP));
	before = open_descriptors();
	is(tld_pin_put(&place, map, HINTERS, 0660), 0, "another is at its path by then; a map is pinned");
	is_like(BPFFS "/moved/tld_data_map", 0660, 0, HINTERS, "in the one that was judged");
	is(tld_pin_give(&place, 0, 0640), 0, "and given away");
	is_like(BPFFS "/moved/tld_data_map", 0640, 0, 0, "there");
	must(unlink(MAP) || bpf_obj_pin(data_map(V2_SIZE), MAP));
	is(map_id(tld_pin_get(&place)), map_id(map), "and opened");
	is(open_descriptors(), before + 2, "with no descriptor left open but this one, and the other map's");
	is(tld_pin_remove(&place), 0, "and removed");
	ok(access(BPFFS "/moved/tld_data_map", F_OK) && !access(MAP, F_OK), "there, and not at the path");
	must(unlink(MAP));
	is(tld_pin_remove_dir(&place), -ENOENT, "the other directory is not removed for it");
	is(access(DIRECTORY, F_OK), 0, "it is still there");
	shadow_is_as_it_was();
}

/* A pin becomes a link, or a stranger's, after its directory was judged: a loader put it there. */
static void changed_pin(void)
{
	int map = data_map(V2_SIZE);

	begin();
	is(pin_at(MAP), 0, "a map is pinned");
	must(rename(MAP, DIRECTORY "/other") || symlink("other", MAP));
	is(tld_pin_give(&place, 0, 0666), -ELOOP, "a link to a pin is no pin");
	ok(!strcmp(tld_pin_error(&place, -ELOOP), "the pin is a symbolic link"), "which is said");
	is(tld_pin_get(&place), -ELOOP, "nor opened");
	is(tld_pin_put(&place, map, 0, 0666), -EEXIST, "nor replaced");
	is_like(DIRECTORY "/other", 0660, 0, HINTERS, "what it leads to is as it was");
	tld_pin_close(&place);
}

/* What another loader made at the same moment is judged like all else. */
static void deep_directories(void)
{
	begin();
	must(mkdir(BPFFS "/a", 0755) || mkdir(BPFFS "/a/b", 0755) || mkdir(BPFFS "/a/b/c", 0755));
	is(pin_at(BPFFS "/a/b/c/map"), 0, "a directory deep down is taken");
	tld_pin_close(&place);
	must(chmod(BPFFS "/a", 0777));
	refused(BPFFS "/a/b/c/other", EPERM, "others may rename what is in a directory above it");
	must(chmod(BPFFS "/a", 01777));
	is(pin_at(BPFFS "/a/b/c/other"), 0, "unless the one that others may write is sticky");
	tld_pin_close(&place);
	must(chmod(BPFFS "/a", 0755) || chown(BPFFS "/a", STRANGER, STRANGER));
	refused(BPFFS "/a/b/c/third", EPERM, "a directory above it belongs to another user");
	is(tld_pin_open(&place, PLACE "/map", TLD_PIN_ANY), -EPERM, "no directory of another file system");
	is(tld_pin_open(&place, MAP, TLD_PIN_ANY | TLD_PIN_MAKE), -EINVAL, "to look, none is made");
}

/* Where group and mode cannot be set, no pin is left for the next start to trip over. */
static void cannot_be_given(void)
{
	int map = data_map(V2_SIZE), before;

	begin();
	must(seteuid(STRANGER));
	is(tld_pin_open(&place, MAP, TLD_PIN_MAKE), 0, "another user has a directory");
	before = open_descriptors();
	is(tld_pin_put(&place, map, HINTERS, 0660), -EPERM, "that is not in the group cannot pin for it");
	is(access(MAP, F_OK), -1, "and leaves no pin");
	is(open_descriptors(), before, "and no descriptor");
	is(tld_pin_put(&place, map, (gid_t)-1, 0600), 0, "so that it can pin for itself");
	must(seteuid(0));
}

/* A loader that is not root has what it made itself, and root's. */
static void own_directory(void)
{
	begin();
	must(seteuid(STRANGER));
	is(tld_pin_open(&place, MAP, TLD_PIN_MAKE), 0, "another user has a directory of its own");
	is_like(DIRECTORY, 0755, STRANGER, 0, "which it owns");
	tld_pin_close(&place);
	is(tld_pin_open(&place, BPFFS "/more/map", TLD_PIN_ANY), -ENOENT, "there is no other");
	is(tld_pin_open(&place, MAP, 0), 0, "it is there again");
	must(seteuid(0));
	is(tld_pin_put(&place, data_map(V2_SIZE), (gid_t)-1, 0), 0, "a map is pinned");
	is_like(MAP, 0600, 0, 0, "for its owner alone where nothing else is asked for");
	must(lchown(MAP, STRANGER, 0) || chmod(MAP, 0640) || seteuid(STRANGER));
	is(tld_pin_give(&place, HINTERS, 0660), -EPERM, "its owner cannot give it to a group of others");
	is_like(MAP, 0640, STRANGER, 0, "it is as it was");
	must(seteuid(0));
	refused(MAP, EPERM, "the directory belongs to another user");
}

/* --- Paths ------------------------------------------------------------------------------------- */

static void odd_paths(void)
{
	static char long_path[PATH_MAX + 1];

	begin();
	memset(long_path, 'x', PATH_MAX);
	long_path[0] = '/';
	refused(NULL, EINVAL, "does not begin with /");
	refused("", EINVAL, "does not begin with /");
	refused("relative/map", EINVAL, "does not begin with /");
	refused(BPFFS "/sched/", EINVAL, "is empty or has a dot");
	refused(BPFFS "/sched/a.b", EINVAL, "is empty or has a dot");
	refused(BPFFS "/sched/..", EINVAL, "is empty or has a dot");
	refused(long_path, ENAMETOOLONG, "File name too long");
	refused(PLACE "/map", EPERM, "not in a BPF file system");
	refused(PLACE "/new/map", EPERM, "not in a BPF file system");
	is(access(PLACE "/new", F_OK), -1, "nothing is made there");
	refused(BPFFS "/a.b/map", EINVAL, "the name of a directory has a dot");
	refused("/map", EPERM, "not in a BPF file system");
	refused(SHADOW "/map", ENOTDIR, "Not a directory");
	is(pin_at("/" BPFFS "//sched///tld_data_map"), 0, "more than one slash is one");
	is_like(MAP, 0660, 0, HINTERS, "which leads to the pin");
	tld_pin_close(&place);
	is(tld_pin_open(&place, MAP, 0), 0, "the directory is good");
	is(tld_pin_put(&place, -1, HINTERS, 0660), -EINVAL, "what is no descriptor is not pinned");
	tld_pin_close(&place);
}

int main(void)
{
	need_place();
	in_child(pinned_and_given);
	in_child(as_it_is);
	in_child(strange_directory);
	in_child(writable_directory);
	in_child(linked_directory);
	in_child(linked_pin);
	in_child(strange_pin);
	in_child(moved_directory);
	in_child(changed_pin);
	in_child(deep_directories);
	in_child(cannot_be_given);
	in_child(own_directory);
	in_child(odd_paths);
	return tap_done();
}
