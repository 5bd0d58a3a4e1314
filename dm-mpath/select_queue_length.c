// SPDX-License-Identifier: GPL-2.0
/* queue-length: the path with the fewest I/Os in flight; those that are equal, in turn. */
#include "select.h"

static struct select_path *choose(struct select_group *g, const struct select_paths *paths,
				  const struct select_io *io)
{
	struct select_path *best = NULL;
	int least = 0;
	u32 i;

	(void)g;
	for (i = 0; i < paths->n; i++) {
		struct select_path *p = paths->path[(io->turn + i) % paths->n];
		int load = atomic_read(&p->in_flight);

		if (!select_open(p, io) || (best && load >= least))
			continue;
		best = p;
		least = load;
		if (!load)
			break;
	}
	return best;
}

static int info(const struct select_group *g, const struct select_path *p, char *to, u32 room)
{
	(void)g;
	return scnprintf(to, room, "%d ", atomic_read(&p->in_flight));
}

static const char *path_args(struct select_path *p, u32 argc, char **argv)
{
	(void)p;
	return select_repeat_only(argc, argv, SELECT_COUNT("queue-length"),
				  SELECT_REPEAT("queue-length"));
}

const struct selector select_queue_length = {
	.name = "queue-length",
	.table_args = 1,
	.info_args = 1,
	.path_args = path_args,
	.choose = choose,
	.path_table = select_repeat_table,
	.path_info = info,
};
