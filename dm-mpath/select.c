// SPDX-License-Identifier: GPL-2.0
/* What all selectors have in common. */
#include "select.h"

static const struct selector *const selectors[] = {
	&select_round_robin, &select_queue_length, &select_service_time,
	&select_historical,  &select_io_affinity,  &select_latency,
};

const struct selector *selector_find(const char *name)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(selectors); i++)
		if (!strcmp(selectors[i]->name, name))
			return selectors[i];
	return NULL;
}

struct select_path *select_among(const struct selector *s, struct select_group *g,
				 const struct select_paths *paths, struct select_io *io)
{
	struct select_path *p;

	if (!paths->n)
		return NULL;
	io->turn = (u32)atomic_inc_return(&g->turn);
	io->everybody = false;
	p = s->choose(g, paths, io);
	if (p)
		return p;
	io->everybody = true;
	return s->choose(g, paths, io);
}

bool select_its_turn(const struct select_path *p, const struct select_io *io)
{
	return io->everybody || READ_ONCE(p->share) > io->turn % 100;
}

enum select_class select_class_of(u32 bytes)
{
	return bytes <= 8192 ? SELECT_SMALL : bytes <= 65536 ? SELECT_MEDIUM : SELECT_LARGE;
}

bool select_number(const char *text, u32 most, u32 *value)
{
	u64 n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (u32)(*text - '0');
		if (n > most)
			return false;
	}
	*value = (u32)n;
	return true;
}

bool select_repeat(const char *text)
{
	u32 repeat;

	return select_number(text, U32_MAX, &repeat);
}

const char *select_repeat_only(u32 argc, char **argv, const char *count, const char *repeat)
{
	if (argc > 1)
		return count;
	return argc && !select_repeat(argv[0]) ? repeat : NULL;
}

int select_repeat_table(const struct select_path *p, char *to, u32 room)
{
	(void)p;
	return scnprintf(to, room, "1 ");
}
