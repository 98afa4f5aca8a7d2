// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * record.bpf.c - which value of a TLD had the processors, and for how long.
 *
 * One event for each stretch of a thread on a processor, complete in itself, so that an event
 * that is lost makes no other one wrong. The value is read when the thread is switched in, when
 * it is switched out, and by a timer in between. The name is known at run time only, sizes
 * differ between programs, and maps have any format: so the pages are read by helpers here,
 * within the same bounds as tld.bpf.h keeps.
 */
#include "task.bpf.h"
#include "ctldctl_recorder.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

typedef _Bool bool;

struct sched_entity {
	__u64 sum_exec_runtime;
	__u64 prev_sum_exec_runtime;
} __attribute__((preserve_access_index));

struct task_struct___record {
	struct sched_entity se;
} __attribute__((preserve_access_index));

/* Set before loading. */
const char wanted_name[CTLDCTL_ENTRY] SEC(".rodata.name") = "";
const volatile __u32 wanted_tgid = 0;
const volatile __u32 map_count = 1;
const volatile __u32 map_value_bytes[CTLDCTL_RECORDED_MAPS] = { 24 };
const volatile __u64 wake_at = 1 << 20; /* bytes in the ring of which user space is told */

/* The PID namespace of the recorder. */
static struct tldctl_namespace own;
bool recording;

/* --- The data maps: the first is tldctl_data_map ------------------------------- */

#define MAP(n)							\
	struct {						\
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);	\
		__uint(map_flags, BPF_F_NO_PREALLOC);		\
		__type(key, int);				\
		__type(value, struct tldctl_value);		\
	} tldctl_map_##n SEC(".maps")

MAP(1);
MAP(2);
MAP(3);
MAP(4);
MAP(5);
MAP(6);
MAP(7);

/* --- What is ours --------------------------------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* What is known of a task that publishes. */
struct known {
	__u64 woken;		/* when; 0: it ran since */
	__u64 charged;		/* of its sum_exec_runtime; 0: it is new here */
	__u64 meta;		/* the page that the rest was found in */
	__u32 exec_id;		/* the image that it was found for */
	__u32 is_stale;
	__u32 searched;		/* entries that are not the TLD */
	__u32 size;		/* of the TLD; 0: not found */
	__u64 off;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct known);
} known_tasks SEC(".maps");

/*
 * The stretch that a processor is in. All that write it have interrupts off. What was lost comes
 * first, for user space, which reads nothing else.
 */
struct processor {
	struct ctldctl_lost lost;
	__u64 task;		/* its address: only compared */
	__u64 begin;
	__u64 exec_at;		/* its sum_exec_runtime when it was switched in */
	__u64 wakeup;
	struct ctldctl_sight before;
	struct known spare;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct processor);
} processors SEC(".maps");

/* --- Where the TLD is ------------------------------------------------------------ */

struct walk {
	__u64 meta, cnt, first, off;
	__u32 searched, size;
};

/* bpf_loop()'s callback: 1 ends the walk. */
static long walk_entry(__u64 i, struct walk *walk)
{
	struct tld_metadata entry = { 0 };

	if (i >= walk->cnt || i >= page_bytes / CTLDCTL_ENTRY - 1)
		return 1;
	if (tldctl_read(&entry, sizeof(entry), walk->meta + 4 + i * CTLDCTL_ENTRY))
		return 1;
	if (!entry.size)
		return 1; /* being written */
	if (i >= walk->first && !bpf_strncmp(entry.name, TLD_NAME_LEN, wanted_name)) {
		walk->size = entry.size;
		return 1;
	}
	walk->searched = i + 1;
	walk->off += TLD_ROUND_UP((__u64)entry.size, 8);
	return 0;
}

static __noinline int search(struct known *known)
{
	struct walk walk = { 0 };
	__u16 cnt = 0;

	if (!known || !known->meta || tldctl_read(&cnt, sizeof(cnt), known->meta))
		return 0;
	if (cnt <= known->searched)
		return 0;
	walk.meta = known->meta;
	walk.cnt = cnt;
	walk.first = known->searched;
	bpf_loop(page_bytes / CTLDCTL_ENTRY, walk_entry, &walk, 0);
	known->searched = walk.searched;
	known->size = walk.size;
	known->off = walk.off;
	return 0;
}

/* Whose page it is: a task's element outlives execve(). 0: it is not known yet. */
static __always_inline int settle(struct task_struct *task, struct known *known, __u64 meta)
{
	__u32 exec_id = ((struct task_struct___tld *)task)->self_exec_id;
	int is_same = known->meta == meta;
	__u64 stamp;
	int verdict;

	if (is_same && known->exec_id == exec_id)
		return 1;
	stamp = tldctl_stamp(meta);
	verdict = __tld_judge_image(task, stamp);
	if (verdict == __TLD_UNKNOWN)
		return 0;
	/* An unstamped page that another image had: nothing but that says whose it is. */
	known->is_stale = verdict == __TLD_STALE || (is_same && !stamp);
	known->meta = meta;
	known->exec_id = exec_id;
	known->searched = known->size = 0;
	known->off = 0;
	return 1;
}

static __always_inline struct processor *this_processor(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&processors, &zero);
}

/* NULL where the kernel has no memory at hand: it gets more when interrupts are on again. */
static __always_inline struct known *known_keep(struct task_struct *task)
{
	return bpf_task_storage_get(&known_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Then nothing is kept, and all is found out anew. */
static __always_inline struct known *known_get(struct task_struct *task)
{
	struct known *known = known_keep(task);
	struct processor *here;

	if (known)
		return known;
	here = this_processor();
	if (!here)
		return 0;
	__builtin_memset(&here->spare, 0, sizeof(here->spare));
	return &here->spare;
}

/* An element as plain numbers; of a v1 map's the first two. */
struct element {
	__u64 data, meta;
	__u16 start, room;
	__u32 room_magic;
	__u64 image;
};

/* The first data byte in the page; 0 if that cannot be. And the bytes from there. */
static __always_inline __u64 first_byte(const struct element *element, __u32 bytes, __u64 *room)
{
	__u64 start = element->start;

	*room = page_bytes;
	if (bytes >= 24) {
		if (element->room_magic == TLD_ROOM_MAGIC)
			*room = element->room;
	} else {
		start = 0;
		tldctl_read(&start, sizeof(start), element->data);
	}
	return start < TLD_ABSENT ? start : 0;
}

/* Read the TLD through one map's element. Return whether it is there. */
static __noinline int read_through(struct ctldctl_sight *sight, struct task_struct *task,
				   const struct element *element, __u32 value_bytes)
{
	struct known *known;
	__u64 start, room;
	__u32 bytes;

	if (!sight || !task || !element || !element->data || !element->meta)
		return 0;
	/* A native map's own program may know what its page does not tell. */
	if (value_bytes >= 32 && element->image == TLD_IMAGE_STALE)
		return 0;
	known = known_get(task);
	if (!known || !settle(task, known, element->meta) || known->is_stale)
		return 0;
	if (!known->size)
		search(known);
	if (!known->size)
		return 0;
	start = first_byte(element, value_bytes, &room);
	if (!start || known->off + known->size > room || start + known->off + known->size > page_bytes)
		return 0;
	bytes = known->size;
	if (bytes > CTLDCTL_RECORDED_VALUE)
		bytes = CTLDCTL_RECORDED_VALUE;
	if (tldctl_read(sight->bytes, bytes, element->data + start + known->off))
		return 0;
	sight->size = known->size;
	return 1;
}

struct look {
	struct task_struct *task;
	struct ctldctl_sight *sight;
};

#define SIZE(n) (map_value_bytes[n] >= 32 ? 32 : map_value_bytes[n] >= 24 ? 24 : 16)

/*
 * A helper copies the element, so that all maps look alike to the verifier from there on, and
 * it need not follow each in its own way.
 */
#define COPY(n, storage)								\
	case n:										\
		value = n < map_count ? bpf_task_storage_get(&storage, look->task, 0, 0) : 0; \
		if (!value || bpf_probe_read_kernel(&element, SIZE(n), value)) \
			return 0;							\
		value_bytes = map_value_bytes[n];					\
		break

/* bpf_loop()'s callback: 1 ends it. */
static long look_into(__u64 i, struct look *look)
{
	struct element element = { 0 };
	__u32 value_bytes = 0;
	void *value;

	switch (i) {
	COPY(0, tldctl_data_map);
	COPY(1, tldctl_map_1);
	COPY(2, tldctl_map_2);
	COPY(3, tldctl_map_3);
	COPY(4, tldctl_map_4);
	COPY(5, tldctl_map_5);
	COPY(6, tldctl_map_6);
	COPY(7, tldctl_map_7);
	default:
		return 1;
	}
	if (!read_through(look->sight, look->task, &element, value_bytes))
		return 0;
	look->sight->map = i;
	return 1;
}

/* The first map in which the task has the TLD. */
static __always_inline void look(struct ctldctl_sight *sight, struct task_struct *task)
{
	struct look look = { .task = task, .sight = sight };

	__builtin_memset(sight, 0, sizeof(*sight));
	bpf_loop(map_count, look_into, &look, 0);
}

#define HAS(n, storage)								\
	if (n < map_count && bpf_task_storage_get(&storage, task, 0, 0))	\
		return 1

static __always_inline int publishes(struct task_struct *task)
{
	HAS(0, tldctl_data_map);
	HAS(1, tldctl_map_1);
	HAS(2, tldctl_map_2);
	HAS(3, tldctl_map_3);
	HAS(4, tldctl_map_4);
	HAS(5, tldctl_map_5);
	HAS(6, tldctl_map_6);
	HAS(7, tldctl_map_7);
	return 0;
}

/* --- Stretches ---------------------------------------------------------------------- */

static __always_inline __u64 exec_time(struct task_struct *task)
{
	return ((struct task_struct___record *)task)->se.sum_exec_runtime;
}

static __always_inline void describe(struct ctldctl_stretch *stretch, struct task_struct *task)
{
	stretch->start_boottime = task->start_boottime;
	bpf_probe_read_kernel(stretch->comm, sizeof(stretch->comm), task->comm);
	bpf_probe_read_kernel(stretch->leader_comm, sizeof(stretch->leader_comm), task->group_leader->comm);
}

/*
 * What the task ran since it was charged last. The scheduler's clock leaves out what a
 * hypervisor stole, and may be a tick old here: what it lacks, the next stretch gets.
 */
static __always_inline __u64 uncharged(struct processor *here, struct known *known, __u64 ran)
{
	__u64 before = known && known->charged ? known->charged : here->exec_at;

	return ran > before ? ran - before : 0;
}

static __always_inline bool is_wanted(__u32 tgid)
{
	return !wanted_tgid || tgid == wanted_tgid;
}

static __always_inline int emit(struct processor *here, struct task_struct *task, __u64 now, bool is_sample,
				__u64 ran, const struct ctldctl_sight *after)
{
	__u32 tid = tldctl_tid(task, &own), tgid = tldctl_tid(task->group_leader, &own);
	struct ctldctl_stretch *stretch;
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (!tid || !is_wanted(tgid))
		return 1;
	stretch = bpf_ringbuf_reserve(&events, sizeof(*stretch), 0);
	if (!stretch) {
		if (is_sample)
			return 0;
		here->lost.stretches++;
		here->lost.ran += ran;
		return 0;
	}
	stretch->begin = here->begin;
	stretch->end = now;
	stretch->ran = ran;
	stretch->wakeup = here->wakeup;
	stretch->tid = tid;
	stretch->tgid = tgid;
	stretch->cpu = bpf_get_smp_processor_id();
	stretch->is_sample = is_sample;
	stretch->before = here->before;
	stretch->after = *after;
	describe(stretch, task);
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_at)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(stretch, flags);
	return 1;
}

static __always_inline void begin(struct processor *here, struct task_struct *task, __u64 now, __u64 wakeup)
{
	here->task = (__u64)task;
	here->begin = now;
	here->exec_at = exec_time(task);
	here->wakeup = wakeup;
}

static __noinline int end(struct processor *here, struct task_struct *task, __u64 now, bool is_sample)
{
	struct ctldctl_sight after;
	struct known *known;
	__u64 all;

	if (!here || !task)
		return 0;
	if (!task->pid)
		return 0;
	look(&after, task);
	known = bpf_task_storage_get(&known_tasks, task, 0, 0);
	all = exec_time(task);
	if (here->before.size || after.size) {
		int is_kept = emit(here, task, now, is_sample, uncharged(here, known, all), &after);

		if (is_sample && !is_kept)
			return 0; /* the stretch just goes on */
		if (is_sample) {
			here->begin = now;
			here->wakeup = CTLDCTL_NO_WAKEUP;
			here->before = after;
			here->exec_at = all;
		}
	}
	if (known)
		known->charged = all;
	return 0;
}

/* How long it waited since it was woken; once. */
static __always_inline __u64 waited(struct task_struct *task, __u64 now)
{
	struct known *known = bpf_task_storage_get(&known_tasks, task, 0, 0);
	__u64 woken = known ? known->woken : 0;

	if (!woken)
		return CTLDCTL_NO_WAKEUP;
	known->woken = 0;
	return now > woken ? now - woken : 0;
}

/*
 * A thread that came unseen: kernels were found that do not tell of each switch. The scheduler
 * knows what the thread has run since, of most; it cannot be more than what was not charged yet,
 * nor than the time since the thread before came. What that one ran, its next stretch gets.
 */
static __noinline int begin_unseen(struct processor *here, struct task_struct *task, __u64 now)
{
	struct known *known;
	__u64 all, ran, since;

	if (!here || !task)
		return 0;
	known = bpf_task_storage_get(&known_tasks, task, 0, 0);
	since = ((struct task_struct___record *)task)->se.prev_sum_exec_runtime;
	if (known && known->charged > since)
		since = known->charged;
	all = exec_time(task);
	ran = all > since ? all - since : 0;
	if (ran > now - here->begin)
		ran = now - here->begin;
	now -= ran;
	begin(here, task, now, waited(task, now));
	here->exec_at = all - ran;
	here->before.size = 0;
	return 0;
}

/* Nothing is known of what a processor did before the recording began. */
static __always_inline void end_switched(struct processor *here, struct task_struct *task, __u64 now)
{
	if (!here->task)
		return;
	if (here->task != (__u64)task && task->pid)
		begin_unseen(here, task, now);
	end(here, task, now, 0);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct processor *here = this_processor();
	__u64 now = bpf_ktime_get_ns();

	if (!here || !recording)
		return 0;
	end_switched(here, prev, now);
	/* Woken while it still ran: it did not wait. */
	waited(prev, now);
	begin(here, next, now, next->pid ? waited(next, now) : CTLDCTL_NO_WAKEUP);
	if (next->pid)
		look(&here->before, next);
	else
		here->before.size = 0;
	return 0;
}

static __always_inline int woken(struct task_struct *task)
{
	struct processor *here = this_processor();
	struct known *known;

	if (!recording || !publishes(task))
		return 0;
	known = known_keep(task);
	if (known && !known->woken)
		known->woken = bpf_ktime_get_ns();
	else if (!known && here && is_wanted(tldctl_tid(task->group_leader, &own)))
		here->lost.wakeups++;
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(on_wakeup, struct task_struct *task)
{
	return woken(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(on_wakeup_new, struct task_struct *task)
{
	return woken(task);
}

/* The thread that this processor is at: a stretch of it ends, and the next one begins. */
static __always_inline int cut(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct processor *here = this_processor();
	__u64 now = bpf_ktime_get_ns();

	if (!here || !recording)
		return 0;
	if (!here->task) { /* this is where the recording begins */
		begin(here, task, now, CTLDCTL_NO_WAKEUP);
		look(&here->before, task);
		return 0;
	}
	if (here->task != (__u64)task)
		begin_unseen(here, task, now);
	return end(here, task, now, 1);
}

SEC("perf_event")
int on_sample(void *ctx)
{
	return cut();
}

/* Run by the recorder on each processor, when it begins and when it ends. */
SEC("raw_tp")
int on_request(void *ctx)
{
	return cut();
}

/* Run by the recorder in its own time. */
SEC("raw_tp")
int begin_recording(void *ctx)
{
	own = tldctl_own_namespace();
	recording = 1;
	return 0;
}
