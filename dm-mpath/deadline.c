// SPDX-License-Identifier: GPL-2.0
/*
 * A path on which nothing has come back for too long while something is under way is stuck: new I/O
 * goes elsewhere. What is under way stays there, for it may still land, and nobody can tell a write
 * that will from one that will not: docs/mpath.md says more. When it has landed the path returns,
 * little by little.
 */
#include <linux/ktime.h>

#include "mpath.h"

static bool late(struct mpath_path *path, u64 now)
{
	struct select_path *p = &path->select;
	u64 since = READ_ONCE(p->busy_since);

	if (!atomic_read(&p->in_flight) || !path_usable(path))
		return false;
	if (READ_ONCE(p->last_end) > since)
		since = READ_ONCE(p->last_end);
	return now > since && div_u64(now - since, NSEC_PER_MSEC) > path->m->path_timeout_ms;
}

static void stick(struct mpath_path *path)
{
	DMWARN("%s: path %s: nothing has come back for %u ms", map_name(path->m), path->dev->name,
	       path->m->path_timeout_ms);
	path_fail(path, PATH_LATE);
	/*
	 * The last of what was under way may have come back just now, and found the path well.
	 * Pairs with end() in io.c, which counts it off and then looks at the state.
	 */
	smp_mb();
	if (!atomic_read(&path->select.in_flight))
		path_try(path, PATH_LANDED);
}

void deadline_look(struct work_struct *work)
{
	struct mpath *m = container_of(to_delayed_work(work), struct mpath, deadline);
	struct mpath_path *path;
	struct group *group;

	down_read(&m->members);
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			if (late(path, ktime_get_ns()))
				stick(path);
	up_read(&m->members);
	deadline_watch(m);
}

/* Four times within it. */
void deadline_watch(struct mpath *m)
{
	if (m->path_timeout_ms && !READ_ONCE(m->quiet))
		queue_delayed_work(mpath_wq, &m->deadline,
				   msecs_to_jiffies(m->path_timeout_ms) / 4 + 1);
}
