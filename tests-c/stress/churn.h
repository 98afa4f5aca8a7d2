/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * churn.h - threads that come and go, and BPF that watches: what is common to the
 * test and its BPF objects. Each thread stores two words that nobody else stores,
 * made of the thread id that BPF knows it by.
 */
#ifndef TESTS_C_CHURN_H
#define TESTS_C_CHURN_H

#define CHURN_A 0xa5a5000000000000ULL
#define CHURN_B 0x5b5b000000000000ULL

struct churn_counts {
	unsigned long long looks;	/* at a thread of the process */
	unsigned long long absent;	/* it has no data */
	unsigned long long zero;	/* it has data, but has not stored both words */
	unsigned long long own;		/* both words are its own */
	unsigned long long wrong;	/* a word is another thread's, or nobody's */
};

/* One counter set for each kind of program, so that none can hide another's silence. */
enum churn_place { CHURN_SWITCH, CHURN_ITER, CHURN_PLACES };

struct churn_shared {
	unsigned long long leader;	/* of the process: its task, as a number */
	struct churn_counts counts[CHURN_PLACES];
	/* What was wrong last. */
	unsigned long long wrong_a, wrong_b, wrong_tid;
};

struct churn_self {
	int tid;			/* the calling thread's id in BPF's eyes */
};

#ifdef __bpf__
/* Kernel types under names that no header under test uses. */
struct task_struct___churn {
	int pid;
	struct task_struct *group_leader;
} __attribute__((preserve_access_index));

struct churn_iter__task {
	void *meta;
	struct task_struct *task;
};

struct churn_shared shared;

#define churn_add(counter) __sync_fetch_and_add(&(counter), 1)

/* What is the task's, or NULL: the format's or the header's way to find it. */
struct churn_words {
	unsigned long long *a, *b;
};

static int churn_find(struct task_struct *task, struct churn_words *words);

static inline __attribute__((always_inline)) void churn_judge(struct churn_counts *counts, int tid,
							      unsigned long long a,
							      unsigned long long b)
{
	if ((a && a != (CHURN_A | (unsigned int)tid)) || (b && b != (CHURN_B | (unsigned int)tid))) {
		churn_add(counts->wrong);
		shared.wrong_a = a;
		shared.wrong_b = b;
		shared.wrong_tid = tid;
	} else if (a && b) {
		churn_add(counts->own);
	} else {
		churn_add(counts->zero);
	}
}

static inline __attribute__((always_inline)) int churn_look(struct task_struct *task,
							    enum churn_place place)
{
	struct task_struct___churn *fields = (void *)task;
	struct churn_counts *counts = &shared.counts[place];
	struct churn_words words = { 0, 0 };

	if (!shared.leader || (unsigned long long)fields->group_leader != shared.leader)
		return 0;
	churn_add(counts->looks);
	if (churn_find(task, &words) || !words.a || !words.b)
		churn_add(counts->absent);
	else
		churn_judge(counts, fields->pid, *words.a, *words.b);
	return 0;
}

SEC("tp_btf/sched_switch")
int on_switch(unsigned long long *ctx)
{
	return churn_look((struct task_struct *)ctx[1], CHURN_SWITCH);
}

SEC("iter/task")
int on_list(struct churn_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	return task ? churn_look(task, CHURN_ITER) : 0;
}

/* A thread asks by what id BPF knows it: namespaces have their own. */
SEC("syscall")
int who_am_i(struct churn_self *self)
{
	struct task_struct___churn *fields = (void *)bpf_get_current_task_btf();

	self->tid = fields->pid;
	return 0;
}

SEC("syscall")
int watch_my_process(void *ctx)
{
	struct task_struct___churn *fields = (void *)bpf_get_current_task_btf();

	shared.leader = (unsigned long long)fields->group_leader;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
#endif

#endif
