// SPDX-License-Identifier: GPL-2.0
/*
 * service-time: the path on which this I/O would be done first, if each moved bytes as fast as its
 * relative throughput says. A path with throughput 0 is used when no other is left.
 */
#include "select.h"

#define MOST 100

static struct select_path *choose(struct select_group *g, const struct select_paths *paths,
				  const struct select_io *io)
{
	struct select_path *best = NULL;
	u64 best_bytes = 0;
	u32 i;

	(void)g;
	for (i = 0; i < paths->n; i++) {
		struct select_path *p = paths->path[(io->turn + i) % paths->n];
		u64 bytes = (u64)atomic64_read(&p->bytes) + io->bytes;

		if (!select_open(p, io))
			continue;
		if (best &&
		    (best->throughput ? bytes * best->throughput >= best_bytes * p->throughput
				      : !p->throughput && bytes >= best_bytes))
			continue;
		best = p;
		best_bytes = bytes;
	}
	return best;
}

static const char *path_args(struct select_path *p, u32 argc, char **argv)
{
	if (argc > 2)
		return SELECT_COUNT("service-time");
	p->throughput = 1;
	if (argc >= 1 && !select_repeat(argv[0]))
		return SELECT_REPEAT("service-time");
	if (argc == 2 && !select_number(argv[1], MOST, &p->throughput))
		return "service-time ps: invalid relative_throughput value";
	return NULL;
}

static int table(const struct select_path *p, char *to, u32 room)
{
	return scnprintf(to, room, "1 %u ", p->throughput);
}

static int info(const struct select_group *g, const struct select_path *p, char *to, u32 room)
{
	(void)g;
	return scnprintf(to, room, "%lld %u ", (long long)atomic64_read(&p->bytes), p->throughput);
}

const struct selector select_service_time = {
	.name = "service-time",
	.table_args = 2,
	.info_args = 2,
	.path_args = path_args,
	.weighs = true,
	.choose = choose,
	.path_table = table,
	.path_info = info,
};
