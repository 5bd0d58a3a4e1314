// SPDX-License-Identifier: GPL-2.0
/*
 * Back to a group of higher priority that has a path again: at once, after a while, or only when it
 * is said. A group that fails again soon after waits twice as long the next time, so that a path
 * that comes and goes does not drag all I/O along.
 */
#include "mpath.h"

#define FLAP_MS 60000
#define MOST_MS 64000

/* Has it a path that bears its full share, other than this one? The lock is held. */
static bool has_active(struct group *group, struct mpath_path *but)
{
	struct mpath_path *path;

	list_for_each_entry(path, &group->all, list)
		if (path != but && path->state == PATH_ACTIVE)
			return true;
	return false;
}

/* The group that is to be used now. The lock is held. */
static struct group *best(struct mpath *m)
{
	struct group *group, *best = NULL;

	list_for_each_entry(group, &m->groups, list)
		if (!group->bypassed && has_active(group, NULL) &&
		    (!best || group->prio > best->prio))
			best = group;
	return best;
}

static u32 wait_for(struct mpath *m)
{
	u32 base = m->failback == FAILBACK_DELAYED ? m->failback_ms : 0;

	return max(base, m->hold_down_ms);
}

/* Priorities have changed, or paths. The lock is held. */
void failback_changed(struct mpath *m)
{
	if (m->failback != FAILBACK_MANUAL && m->current_group &&
	    (m->log || best(m) != m->current_group))
		mod_delayed_work(mpath_wq, &m->fail_back, msecs_to_jiffies(wait_for(m)));
}

/* This path bears its full share again. The lock is held. */
void failback_consider(struct mpath_path *path)
{
	if (path->m->failback != FAILBACK_FOLLOWOVER || !has_active(path->group, path))
		failback_changed(path->m);
}

/* The current group has lost its last path. The lock is held. */
void failback_lost(struct mpath *m)
{
	if (!m->failed_back_at)
		return;
	if (time_before(jiffies, m->failed_back_at + msecs_to_jiffies(FLAP_MS)))
		m->hold_down_ms = clamp_t(u32, 2 * m->hold_down_ms, 1000, MOST_MS);
	else
		m->hold_down_ms = 0;
	m->failed_back_at = 0;
}

void failback_now(struct work_struct *work)
{
	struct mpath *m = container_of(to_delayed_work(work), struct mpath, fail_back);
	struct group *group;

	spin_lock_irq(&m->lock);
	group = best(m);
	if (m->log) {
		if (group && m->current_group)
			cluster_ask(m, group);
	} else if (group && m->current_group && group != m->current_group) {
		DMINFO("%s: back to group %u, priority %d", map_name(m), group->number,
		       group->prio);
		WRITE_ONCE(m->next_group, group);
		m->failed_back_at = jiffies;
		queue_work(mpath_wq, &m->event);
	}
	spin_unlock_irq(&m->lock);
}
