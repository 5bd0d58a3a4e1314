// SPDX-License-Identifier: GPL-2.0
/*
 * io-affinity: the path that is meant for the CPU at hand; if it takes nothing, the next one in
 * turn, which is counted as a miss.
 */
#include "select.h"

#define BITS (8 * sizeof(unsigned long))

static bool meant_for(const struct select_path *p, u32 cpu)
{
	return p->cpus && p->cpus[cpu / BITS] >> cpu % BITS & 1;
}

static struct select_path *choose(struct select_group *g, const struct select_paths *paths,
				  const struct select_io *io)
{
	struct select_path *other = NULL;
	u32 i;

	for (i = 0; i < paths->n; i++) {
		struct select_path *p = paths->path[(io->turn + i) % paths->n];

		if (!select_open(p, io))
			continue;
		if (meant_for(p, io->cpu))
			return p;
		if (!other)
			other = p;
	}
	if (other)
		atomic_inc(&g->misses);
	return other;
}

/* The mask itself is read by the map's owner, who knows how many CPUs there are. */
static const char *path_args(struct select_path *p, u32 argc, char **argv)
{
	(void)p;
	(void)argv;
	return argc == 1 ? NULL : "io-affinity ps: invalid number of arguments";
}

static int table(const struct select_path *p, char *to, u32 room)
{
	return scnprintf(to, room, "%s ", p->cpus_text);
}

static int info(const struct select_group *g, const struct select_path *p, char *to, u32 room)
{
	(void)p;
	return scnprintf(to, room, "%d ", atomic_read(&g->misses));
}

const struct selector select_io_affinity = {
	.name = "io-affinity",
	.table_args = 1,
	.info_args = 1,
	.path_args = path_args,
	.counts = true,
	.choose = choose,
	.path_table = table,
	.path_info = info,
};
