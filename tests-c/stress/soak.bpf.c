// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* soak.bpf.c - reads threads that come and go, by either header, and judges. */
#include "bpf_kernel.h"
#include "soak.h"

/* Complete, else libbpf does not find the functions below to be the kernel's. */
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

TLD_KEYS(head, tail, tag, prof);

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct soak_who);
} soak_who SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SOAK_SLOTS);
	__type(key, unsigned int);
	__type(value, struct soak_slot);
} soak_slots SEC(".maps");

struct soak_shared shared;

struct words {
	unsigned long long word[SOAK_AT_END];
};

/* What was so before the words were read, and what they turned out to be. */
struct look {
	unsigned int number, stored, zeros, newest;
	int is_own;		/* the slot is the thread's still */
	unsigned int zero, earlier, wrong;	/* how many words */
};

#define now(field) (*(volatile typeof(field) *)&(field))

static inline __attribute__((always_inline)) void note_wrong(struct look *look, int place,
							     unsigned long long word)
{
	look->wrong++;
	shared.wrong_word = word;
	shared.wrong_number = look->number;
	shared.wrong_place = place;
}

/* A word that only its thread stores. */
static inline __attribute__((always_inline)) void judge_word(struct look *look, int place,
							     unsigned long long word)
{
	unsigned long long seq = word & SOAK_SEQ_MASK;

	if (!word)
		look->zero++;
	else if ((word & ~SOAK_SEQ_MASK) != SOAK_OWNER(place, (unsigned long long)look->number))
		note_wrong(look, place, word);
	else if (look->is_own && seq > look->newest)
		note_wrong(look, place, word);
	else if (look->is_own && seq < look->stored)
		look->earlier++;
}

/* A word that another thread, or a signal handler, may have stored for it. */
static inline __attribute__((always_inline)) void judge_gift(struct look *look, int place,
							     unsigned long long word)
{
	if (word && (word & ~SOAK_SEQ_MASK) != SOAK_OWNER(place, (unsigned long long)look->number))
		note_wrong(look, place, word);
}

static inline __attribute__((always_inline)) int verdict(struct look *look, struct soak_slot *slot)
{
	if (look->wrong)
		return SOAK_IS_WRONG;
	if (look->zero) {
		/* Stored, and not cleared since: then zeros are somebody else's. */
		if (look->is_own && look->zeros == now(slot->zeros) && !(look->zeros & 1)) {
			note_wrong(look, SOAK_WORDS, 0);
			return SOAK_IS_WRONG;
		}
		return SOAK_IS_ZERO;
	}
	return look->earlier ? SOAK_IS_EARLIER : SOAK_IS_LAST;
}

static inline __attribute__((always_inline)) int read_words(struct task_struct *task,
							    struct words *head, struct words *tail,
							    unsigned long long *tag,
							    unsigned long long *prof)
{
	struct tld_object object;
	unsigned long long *word;
	struct words *words;

	if (tld_object_init(task, &object))
		return SOAK_IS_ABSENT;
	words = tld_get_data(&object, head, "head", sizeof(*words));
	if (!words)
		return SOAK_IS_ABSENT;
	*head = *(volatile struct words *)words;
	words = tld_get_data(&object, tail, "tail", sizeof(*words));
	if (!words)
		return SOAK_IS_ABSENT;
	*tail = *(volatile struct words *)words;
	word = tld_get_data(&object, tag, "tag", sizeof(*word));
	if (!word)
		return SOAK_IS_ABSENT;
	*tag = now(*word);
	word = tld_get_data(&object, prof, "prof", sizeof(*word));
	if (!word)
		return SOAK_IS_ABSENT;
	*prof = now(*word);
	return SOAK_IS_LAST;
}

static __attribute__((noinline)) int look_at(struct task_struct *task, struct soak_who *who)
{
	unsigned long long tag = 0, prof = 0;
	struct words head = { 0 }, tail = { 0 };
	struct look look = { 0 };
	struct soak_slot *slot;
	unsigned int index;

	if (!who)
		return SOAK_IS_ABSENT;
	index = who->slot;
	slot = bpf_map_lookup_elem(&soak_slots, &index);
	if (!slot)
		return SOAK_IS_ABSENT;
	look.number = who->number;
	look.stored = now(slot->stored);
	look.zeros = now(slot->zeros);
	look.is_own = now(slot->number) == look.number;
	/* An exchange orders what is before it and what is behind. */
	if (__sync_fetch_and_add(&slot->looks, 1) == (unsigned long long)-1)
		return SOAK_IS_ABSENT;
	if (read_words(task, &head, &tail, &tag, &prof) == SOAK_IS_ABSENT)
		return SOAK_IS_ABSENT;
	if (__sync_fetch_and_add(&slot->looks, 1) == (unsigned long long)-1)
		return SOAK_IS_ABSENT;
	look.newest = now(slot->newest);
	look.is_own = look.is_own && now(slot->number) == look.number;
	for (int i = 0; i < SOAK_AT_END; i++) {
		judge_word(&look, SOAK_HEAD + i, head.word[i]);
		judge_word(&look, SOAK_TAIL + i, tail.word[i]);
	}
	judge_gift(&look, SOAK_TAG, tag);
	judge_gift(&look, SOAK_PROF, prof);
	return verdict(&look, slot);
}

static __attribute__((noinline)) int count_look(struct task_struct *task, enum soak_place place)
{
	struct soak_counts *counts;
	struct soak_who *who = bpf_task_storage_get(&soak_who, task, 0, 0);
	unsigned int at = place;

	if (!who || at >= SOAK_PLACES)
		return 0;
	counts = &shared.counts[at];
	switch (look_at(task, who)) {
	case SOAK_IS_LAST:
		__sync_fetch_and_add(&counts->last, 1);
		break;
	case SOAK_IS_EARLIER:
		__sync_fetch_and_add(&counts->earlier, 1);
		break;
	case SOAK_IS_ZERO:
		__sync_fetch_and_add(&counts->zero, 1);
		break;
	case SOAK_IS_ABSENT:
		__sync_fetch_and_add(&counts->absent, 1);
		break;
	default:
		__sync_fetch_and_add(&counts->wrong, 1);
	}
	return 0;
}

/* bool preempt, struct task_struct *prev, struct task_struct *next, ... */
SEC("tp_btf/sched_switch")
int on_switch(unsigned long long *ctx)
{
	count_look((struct task_struct *)ctx[1], SOAK_PREV);
	return count_look((struct task_struct *)ctx[2], SOAK_NEXT);
}

SEC("iter/task")
int on_list(struct bpf_iter__task___test *ctx)
{
	struct task_struct *task = ctx->task;

	return task ? count_look(task, SOAK_LIST) : 0;
}

/* A thread says who it is, once its slot says so. */
SEC("syscall")
int soak_register(struct soak_self *self)
{
	struct soak_who *who = bpf_task_storage_get(&soak_who, bpf_get_current_task_btf(), 0,
						    BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!who)
		return 1;
	who->number = self->who.number;
	who->slot = self->who.slot;
	self->own_tid = bpf_get_current_task_btf()->pid;
	return 0;
}

/* At the caller, or at another that leaves its words alone: nothing changes meanwhile. */
SEC("syscall")
int soak_look(struct soak_self *self)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!self->tid) {
		self->verdict = look_at(task, bpf_task_storage_get(&soak_who, task, 0, 0));
		return 0;
	}
	task = bpf_task_from_pid(self->tid);
	if (!task)
		return 1;
	self->verdict = look_at(task, bpf_task_storage_get(&soak_who, task, 0, 0));
	bpf_task_release(task);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
