// SPDX-License-Identifier: GPL-2.0
/*
 * historical-service-time: the path on which the queue would be worked off first, by what each path
 * took for its I/O so far. The mean is exponential; what is long ago weighs less. A path that was
 * not used for long is tried again, so that it can show that it has become faster.
 */
#include "select.h"

#define ONE 1024 /* weights are fixed point */
#define WEIGHT_DEFAULT 972
#define WEIGHT_MOST (ONE - 1)
#define STEP_NS (16 * 1000 * 1000ull)
#define STEPS_MOST 32
#define STALE_NS (1000 * 1000 * 1000ull)

static u64 stale_after(const struct select_path *p)
{
	return READ_ONCE(p->last_end) + STALE_NS;
}

static struct select_path *choose(struct select_group *g, const struct select_paths *paths,
				  const struct select_io *io)
{
	struct select_path *best = NULL;
	u64 least = U64_MAX, fastest = U64_MAX;
	u32 i;

	for (i = 0; g->threshold && i < paths->n; i++)
		if (select_open(paths->path[i], io) &&
		    READ_ONCE(paths->path[i]->service_ns) < fastest)
			fastest = READ_ONCE(paths->path[i]->service_ns);
	for (i = 0; i < paths->n; i++) {
		struct select_path *p = paths->path[(io->turn + i) % paths->n];
		u64 service = READ_ONCE(p->service_ns), queue = (u64)atomic_read(&p->in_flight);
		u64 load;

		if (!select_open(p, io))
			continue;
		if (!queue && io->now > stale_after(p))
			service = 0;
		load = service * (queue + 1);
		/* So much slower that it is not worth its share. */
		if (g->threshold && service > fastest * g->threshold)
			load += U64_MAX / 2;
		if (best && load >= least)
			continue;
		best = p;
		least = load;
	}
	return best;
}

/* The older the last I/O, the less its history says. */
static u32 weight_after(const struct select_group *g, u64 passed)
{
	u64 steps = div64_u64(passed, STEP_NS), weight = g->base_weight;

	if (steps > STEPS_MOST)
		return 0;
	for (; steps; steps--)
		weight = weight * g->base_weight / ONE;
	return (u32)weight;
}

static void ended(struct select_group *g, struct select_path *p, u32 bytes, u64 began, u64 now)
{
	u64 last = READ_ONCE(p->last_end), from = began > last ? began : last;
	u64 took = now > from ? now - from : 0;
	u32 weight = weight_after(g, now > last ? now - last : 0);

	(void)bytes;
	WRITE_ONCE(p->service_ns,
		   (READ_ONCE(p->service_ns) * weight + took * (ONE - weight)) / ONE);
}

static const char *group_args(struct select_group *g, u32 argc, char **argv)
{
	g->base_weight = WEIGHT_DEFAULT;
	if (argc > 2)
		return SELECT_COUNT("historical-service-time");
	if (argc >= 1 && !select_number(argv[0], WEIGHT_MOST, &g->base_weight))
		return "historical-service-time ps: invalid base_weight";
	if (argc == 2 && !select_number(argv[1], U32_MAX, &g->threshold))
		return "historical-service-time ps: invalid threshold_multiplier";
	return NULL;
}

static int group_status(const struct select_group *g, char *to, u32 room)
{
	return scnprintf(to, room, "2 %u %u ", g->base_weight, g->threshold);
}

static int table(const struct select_path *p, char *to, u32 room)
{
	(void)p;
	return scnprintf(to, room, "0 ");
}

static int info(const struct select_group *g, const struct select_path *p, char *to, u32 room)
{
	(void)g;
	return scnprintf(to, room, "%llu %d %llu ", (unsigned long long)p->service_ns,
			 atomic_read(&p->in_flight), (unsigned long long)stale_after(p));
}

static const char *path_args(struct select_path *p, u32 argc, char **argv)
{
	(void)p;
	return select_repeat_only(argc, argv, SELECT_COUNT("historical-service-time"),
				  SELECT_REPEAT("historical-service-time"));
}

const struct selector select_historical = {
	.name = "historical-service-time",
	.table_args = 1,
	.info_args = 3,
	.timed = true,
	.group_args = group_args,
	.path_args = path_args,
	.choose = choose,
	.ended = ended,
	.group_status = group_status,
	.path_table = table,
	.path_info = info,
};
