// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * record.bpf.c - which value of a TLD had the processors, and for how long.
 *
 * One event for each stretch of a thread on a processor, complete in itself, so that an event
 * that is lost makes no other one wrong. The value is read when the thread is switched in, when
 * it is switched out, and by a timer in between (reading.bpf.h).
 */
#include "reading.bpf.h"

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
const volatile __u32 wanted_tgid = 0;
const volatile __u64 wake_at = 1 << 20; /* bytes in the ring of which user space is told */

/* The PID namespace of the recorder. */
static struct tldctl_namespace own;
bool recording;

/* --- What is ours --------------------------------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

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
	struct ctldctl_reading before;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct processor);
} processors SEC(".maps");

static __always_inline struct processor *this_processor(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&processors, &zero);
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
				__u64 ran, const struct ctldctl_reading *after)
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
	struct ctldctl_reading after;
	struct known *known;
	__u64 all;

	if (!here || !task)
		return 0;
	if (!task->pid)
		return 0;
	read_tld(&after, task);
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
		read_tld(&here->before, next);
	else
		here->before.size = 0;
	return 0;
}

static __always_inline int woken(struct task_struct *task)
{
	struct processor *here;
	struct known *known;

	if (!recording || !publishes(task))
		return 0;
	known = known_keep(task);
	if (known) {
		if (!known->woken)
			known->woken = bpf_ktime_get_ns();
		return 0;
	}
	here = this_processor();
	if (here && is_wanted(tldctl_tid(task->group_leader, &own)))
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
		read_tld(&here->before, task);
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
