// SPDX-License-Identifier: GPL-2.0
/*
 * latency: the path on which this I/O should be back first, by what I/O of its size took there
 * lately. A path whose I/O is overdue counts as slow from that moment, not from when it comes back.
 * Now and then the next path in turn is taken instead: else one that was slow once would never be
 * heard of again.
 */
#include "select.h"

#define EXPLORE 64 /* one choice in so many */
#define WEIGHT 8   /* of what is known, against one new measure */

/* What an I/O of this class takes there, in us. */
static u64 expected(const struct select_path *p, enum select_class class, u64 now)
{
	u64 known = READ_ONCE(p->latency_us[class]), since, silent;

	if (!atomic_read(&p->in_flight))
		return known;
	since = READ_ONCE(p->busy_since);
	if (READ_ONCE(p->last_end) > since)
		since = READ_ONCE(p->last_end);
	silent = now > since ? div64_u64(now - since, 1000) : 0;
	return silent > known ? silent : known;
}

static struct select_path *choose(struct select_group *g, const struct select_paths *paths,
				  const struct select_io *io)
{
	const enum select_class class = select_class_of(io->bytes);
	const bool explore = io->turn % EXPLORE == 0;
	struct select_path *best = NULL;
	u64 least = 0;
	u32 i;

	(void)g;
	for (i = 0; i < paths->n; i++) {
		struct select_path *p =
			paths->path[(io->turn / (explore ? EXPLORE : 1) + i) % paths->n];
		u64 load;

		if (!select_open(p, io))
			continue;
		if (explore && !atomic_read(&p->in_flight))
			return p;
		load = expected(p, class, io->now) * ((u64)atomic_read(&p->in_flight) + 1);
		if (best && load >= least)
			continue;
		best = p;
		least = load;
	}
	return best;
}

static void ended(struct select_group *g, struct select_path *p, u32 bytes, u64 began, u64 now)
{
	u32 *known = &p->latency_us[select_class_of(bytes)];
	u64 took = now > began ? div64_u64(now - began, 1000) : 0;

	(void)g;
	took = took < 1 ? 1 : took > U32_MAX ? U32_MAX : took;
	WRITE_ONCE(*known,
		   *known ? (u32)(((u64)*known * (WEIGHT - 1) + took) / WEIGHT) : (u32)took);
}

static int info(const struct select_group *g, const struct select_path *p, char *to, u32 room)
{
	(void)g;
	return scnprintf(to, room, "%d %u %u %u ", atomic_read(&p->in_flight), p->latency_us[0],
			 p->latency_us[1], p->latency_us[2]);
}

static const char *path_args(struct select_path *p, u32 argc, char **argv)
{
	(void)p;
	return select_repeat_only(argc, argv, SELECT_COUNT("latency"), SELECT_REPEAT("latency"));
}

const struct selector select_latency = {
	.name = "latency",
	.table_args = 1,
	.info_args = 4,
	.timed = true,
	.path_args = path_args,
	.choose = choose,
	.ended = ended,
	.path_table = select_repeat_table,
	.path_info = info,
};
