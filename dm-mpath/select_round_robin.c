// SPDX-License-Identifier: GPL-2.0
/* round-robin: the paths in turn. */
#include "select.h"

static struct select_path *choose(struct select_group *g, const struct select_paths *paths,
				  const struct select_io *io)
{
	u32 at = io->turn % paths->n, i;

	(void)g;
	for (i = 0; i < paths->n; i++) {
		if (select_open(paths->path[at], io))
			return paths->path[at];
		if (++at == paths->n)
			at = 0;
	}
	return NULL;
}

static const char *path_args(struct select_path *p, u32 argc, char **argv)
{
	(void)p;
	return select_repeat_only(argc, argv, SELECT_COUNT("round-robin"),
				  SELECT_REPEAT("round-robin"));
}

const struct selector select_round_robin = {
	.name = "round-robin",
	.table_args = 1,
	.path_args = path_args,
	.choose = choose,
	.path_table = select_repeat_table,
};
