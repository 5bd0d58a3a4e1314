// SPDX-License-Identifier: GPL-2.0
/*
 * What each path has carried: I/O and bytes each way, errors by class and, while somebody wants it
 * (`stats on`), how long it took, in powers of two of a microsecond.
 */
#include <linux/log2.h>

#include "mpath.h"

static const char *const class_names[STATS_ERRORS] = { "timeout", "transport", "io", "disk" };

/* The last one is the disk's and not the path's. */
static enum stats_error class_of(blk_status_t status)
{
	if (!blk_path_error(status))
		return STATS_DISK;
	switch (status) {
	case BLK_STS_TIMEOUT:
		return STATS_TIMEOUT;
	case BLK_STS_TRANSPORT:
	case BLK_STS_OFFLINE:
		return STATS_TRANSPORT;
	default:
		return STATS_IO;
	}
}

static u32 bucket_of(u64 ns)
{
	u64 us = div_u64(ns, 1000) >> STATS_FIRST_LOG2;

	return us ? min_t(u32, ilog2(us) + 1, STATS_BUCKETS - 1) : 0;
}

void stats_error(struct mpath_path *path, blk_status_t status)
{
	this_cpu_inc(path->stats->errors[class_of(status)]);
}

void stats_took(struct mpath_path *path, bool writes, u64 ns)
{
	this_cpu_inc(path->stats->took[writes][bucket_of(ns)]);
}

static void sum(struct mpath_path *path, struct path_stats *all)
{
	u64 *to = (u64 *)all, *from;
	unsigned int cpu, i;

	memset(all, 0, sizeof(*all));
	for_each_possible_cpu(cpu) {
		from = (u64 *)per_cpu_ptr(path->stats, cpu);
		for (i = 0; i < sizeof(*all) / sizeof(u64); i++)
			to[i] += READ_ONCE(from[i]);
	}
}

static unsigned int numbers(const u64 *values, const char *first, const char *between, char *result,
			    unsigned int sz, unsigned int maxlen)
{
	unsigned int i;

	for (i = 0; i < STATS_BUCKETS; i++)
		DMEMIT("%s%llu", i ? between : first, values[i]);
	return sz;
}

static unsigned int one(struct mpath_path *path, bool timed, char *result, unsigned int sz,
			unsigned int maxlen)
{
	struct path_stats all;
	unsigned int i;

	sum(path, &all);
	DMEMIT("%s reads %llu %llu writes %llu %llu errors", path->dev->name, all.count[0],
	       all.bytes[0], all.count[1], all.bytes[1]);
	for (i = 0; i < STATS_ERRORS; i++)
		DMEMIT(" %s %llu", class_names[i], all.errors[i]);
	if (timed) {
		DMEMIT(" read-us");
		sz = numbers(all.took[0], " ", " ", result, sz, maxlen);
		DMEMIT(" write-us");
		sz = numbers(all.took[1], " ", " ", result, sz, maxlen);
	}
	return sz;
}

unsigned int mpath_stats(struct mpath *m, char *result, unsigned int maxlen)
{
	struct mpath_path *path;
	const char *line = "";
	struct group *group;
	unsigned int sz = 0;

	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list) {
			DMEMIT("%s", line);
			line = "\n";
			sz = one(path, m->timed, result, sz, maxlen);
		}
	return sz;
}

/* `,"stats":{...}` for one path. */
unsigned int stats_json(struct mpath_path *path, char *result, unsigned int sz, unsigned int maxlen)
{
	static const char *const ways[] = { "read", "write" };
	struct path_stats all;
	unsigned int i;

	sum(path, &all);
	DMEMIT(",\"stats\":{");
	for (i = 0; i < 2; i++) {
		DMEMIT("\"%s\":{\"count\":%llu,\"bytes\":%llu", ways[i], all.count[i],
		       all.bytes[i]);
		if (path->m->timed) {
			DMEMIT(",\"took_below_us\":%u,\"took\":", 1 << STATS_FIRST_LOG2);
			sz = numbers(all.took[i], "[", ",", result, sz, maxlen);
			DMEMIT("]");
		}
		DMEMIT("},");
	}
	DMEMIT("\"errors\":{");
	for (i = 0; i < STATS_ERRORS; i++)
		DMEMIT("%s\"%s\":%llu", i ? "," : "", class_names[i], all.errors[i]);
	DMEMIT("}}");
	return sz;
}
