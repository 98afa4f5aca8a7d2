// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * bpf_header.bpf.c - the drop-in header in each kind of program, in three shapes:
 * plain, in a loop, in a static subprogram. bpf_header.sh compiles it many ways.
 */
#include "bpf_kernel.h"
#include "bpf_header.h"

struct tld_keys {
	tld_key_t first;
	tld_key_t quad;
};

struct header_shared shared;

static inline __attribute__((always_inline)) void note(struct header_result *result, int err,
						       unsigned long long *first,
						       struct header_quad *quad)
{
	result->err = err;
	if (err || !first || !quad) {
		result->failures++;
		return;
	}
	result->first = *first;
	result->quad = *quad;
	result->turns++;
}

static inline __attribute__((always_inline)) void look(struct task_struct *task,
						       struct header_result *result)
{
	struct tld_object object;
	unsigned long long *first = 0;
	struct header_quad *quad = 0;
	int err = tld_object_init(task, &object);

	if (!err) {
		first = tld_get_data(&object, first, "first", sizeof(*first));
		quad = tld_get_data(&object, quad, "quad", sizeof(*quad));
	}
	note(result, err, first, quad);
}

static inline __attribute__((always_inline)) void look_plain(struct task_struct *task,
							     struct header_result *result)
{
	look(task, result);
	result->runs++;
}

/* The object is made in the loop; and a second loop looks up in one object. */
static inline __attribute__((always_inline)) void look_loop(struct task_struct *task,
							    struct header_result *result)
{
	struct tld_object object;
	int i;

	bpf_for(i, 0, HEADER_TURNS)
		look(task, result);
	if (!tld_object_init(task, &object))
		bpf_for(i, 0, HEADER_TURNS)
			note(result, 0,
			     tld_get_data(&object, first, "first", sizeof(unsigned long long)),
			     tld_get_data(&object, quad, "quad", sizeof(struct header_quad)));
	result->runs++;
}

static __attribute__((noinline)) int subprogram(struct task_struct *task,
						struct header_result *result)
{
	look(task, result);
	return 0;
}

static inline __attribute__((always_inline)) void look_subprogram(struct task_struct *task,
								  struct header_result *result)
{
	subprogram(task, result);
	result->runs++;
}

/* The thread that runs this is the one to look at: no thread ids, no namespaces. */
SEC("syscall")
int choose_me(void *ctx)
{
	shared.task = (unsigned long long)bpf_get_current_task_btf();
	return 0;
}

#define CURRENT bpf_get_current_task_btf()

/* Program NAME_SHAPE for each shape, in section PROGRAM, about the task TASK. */
#define PROGRAM(section, name, shape, place, SHAPE, context, task_of)		\
SEC(section)									\
int name##_##shape(context *ctx)						\
{										\
	struct task_struct *task = task_of;					\
										\
	if (task && (unsigned long long)task == shared.task)			\
		look_##shape(task, &shared.result[place][SHAPE]);		\
	return 0;								\
}

#define PROGRAMS(section, name, place, context, task_of)			\
	PROGRAM(section, name, plain, place, SHAPE_PLAIN, context, task_of)	\
	PROGRAM(section, name, loop, place, SHAPE_LOOP, context, task_of)	\
	PROGRAM(section, name, subprogram, place, SHAPE_SUBPROGRAM, context, task_of)

PROGRAMS("syscall", syscall, PLACE_SYSCALL, void, CURRENT)
PROGRAMS("tracepoint/sched/sched_switch", tracepoint, PLACE_TRACEPOINT, void, CURRENT)
PROGRAMS("raw_tp/sched_switch", raw_tp, PLACE_RAW_TP, void, CURRENT)
PROGRAMS("perf_event", perf_event, PLACE_PERF_EVENT, void, CURRENT)
/* bool preempt, struct task_struct *prev, ... */
PROGRAMS("tp_btf/sched_switch", tp_btf, PLACE_TP_BTF, unsigned long long,
	 (struct task_struct *)ctx[1])
PROGRAMS("iter/task", iter, PLACE_ITER, struct bpf_iter__task___test, ctx->task)

/* That it loads; what it does is exec_watch's subject. */
TLD_WATCH_EXEC();

char _license[] SEC("license") = "Dual BSD/GPL";
