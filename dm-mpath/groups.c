// SPDX-License-Identifier: GPL-2.0
/*
 * Which group, and which of its paths. A group is left when none of its paths takes I/O, or when it
 * is told to be. Groups that are bypassed come last.
 */
#include <linux/ktime.h>

#include "mpath.h"

/* Inline, as every I/O comes here. */
static __always_inline struct mpath_path *choose_in(struct group *group, u32 bytes, u64 *now)
{
	bool timed =
		group->selector->timed || group->m->path_timeout_ms || READ_ONCE(group->m->timed);
	struct select_io io = { .bytes = bytes, .cpu = raw_smp_processor_id() };
	struct select_path *p;

	*now = io.now = timed ? ktime_get_ns() : 0;
	p = select_choose(group->selector, &group->select, rcu_dereference(group->paths), &io);
	return p ? container_of(p, struct mpath_path, select) : NULL;
}

/* Has it a path that takes I/O? The lock is held. */
bool group_usable(struct group *group)
{
	struct mpath_path *path;

	list_for_each_entry(path, &group->all, list)
		if (path_usable(path))
			return true;
	return false;
}

/* Its handler is at work: is there a path that I/O may go down all the same? */
bool group_early(struct group *group)
{
	struct mpath_path *path;
	bool early = false;

	rcu_read_lock();
	list_for_each_entry_rcu(path, &group->all, list)
		early = early || (READ_ONCE(path->select.usable) && mpath_early(path));
	rcu_read_unlock();
	return early;
}

void group_enter(struct mpath *m, struct group *group)
{
	WRITE_ONCE(m->current_group, group);
	WRITE_ONCE(m->readiness, m->handler || m->log ? READY_WANTED : READY);
	m->init_count = 0;
}

/* The one of the highest priority, of several the first. The lock is held. */
static struct group *first_usable(struct mpath *m, bool bypassed)
{
	struct group *group, *first = NULL;

	list_for_each_entry(group, &m->groups, list)
		if (group->bypassed == bypassed && group_usable(group) &&
		    (!first || group->prio > first->prio))
			first = group;
	return first;
}

/* Without the current group: the first that has a path. The lock is held. */
static struct mpath_path *look_around(struct mpath *m, u32 bytes, u64 *now)
{
	struct group *group = m->next_group;
	struct mpath_path *path;
	int bypassed;

	WRITE_ONCE(m->next_group, NULL);
	path = group ? choose_in(group, bytes, now) : NULL;
	if (!path) {
		group = m->current_group;
		path = group ? choose_in(group, bytes, now) : NULL;
	}
	for (bypassed = 0; !path && bypassed <= 1; bypassed++) {
		group = cluster_group(m) ?: first_usable(m, bypassed);
		path = group ? choose_in(group, bytes, now) : NULL;
		/* Do not hammer controllers that had nothing ready a moment ago. */
		if (path && bypassed)
			m->again_later = true;
	}
	if (path && path->group != m->current_group)
		group_enter(m, path->group);
	else if (!path)
		WRITE_ONCE(m->current_group, NULL);
	return path;
}

static noinline struct mpath_path *choose_anew(struct mpath *m, u32 bytes, u64 *now)
{
	struct mpath_path *path = NULL;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (atomic_read(&m->valid_paths)) {
		path = look_around(m, bytes, now);
	} else {
		WRITE_ONCE(m->current_group, NULL);
		if (m->readiness == READY_WANTED) /* there is nothing to make ready */
			WRITE_ONCE(m->readiness, READY);
	}
	spin_unlock_irqrestore(&m->lock, flags);
	return path;
}

/*
 * The path for so many bytes, or NULL. The hardware of its group may not be ready yet
 * (m->readiness). The caller is in an RCU section, until the path has its I/O.
 */
struct mpath_path *mpath_choose(struct mpath *m, u32 bytes, u64 *now)
{
	struct group *group = READ_ONCE(m->current_group);
	struct mpath_path *path;

	if (likely(group && !READ_ONCE(m->next_group))) {
		path = choose_in(group, bytes, now);
		if (likely(path))
			return path;
	}
	return choose_anew(m, bytes, now);
}

void group_bypass(struct group *group, bool bypass)
{
	struct mpath *m = group->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	group->bypassed = bypass;
	cluster_reach(group);
	WRITE_ONCE(m->current_group, NULL);
	spin_unlock_irqrestore(&m->lock, flags);
	queue_work(mpath_wq, &m->event);
}

/* At the next I/O; no group is bypassed any more. */
void group_switch(struct mpath *m, struct group *group)
{
	struct group *other;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	list_for_each_entry(other, &m->groups, list) {
		other->bypassed = false;
		cluster_reach(other);
	}
	if (m->log) { /* a wish: when all nodes have it, one of them switches the array */
		cluster_ask(m, group);
	} else {
		WRITE_ONCE(m->current_group, NULL);
		WRITE_ONCE(m->next_group, group);
	}
	spin_unlock_irqrestore(&m->lock, flags);
	queue_work(mpath_wq, &m->event);
}

struct group *group_numbered(struct mpath *m, u32 number)
{
	struct group *group;

	list_for_each_entry(group, &m->groups, list)
		if (group->number == number)
			return group;
	return NULL;
}

struct mpath_path *path_numbered(struct mpath *m, dev_t number)
{
	struct mpath_path *path;
	struct group *group;

	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			if (path->dev->bdev->bd_dev == number)
				return path;
	return NULL;
}

/* Is every path that takes I/O busy? In an RCU section. */
static bool group_busy(struct group *group)
{
	struct mpath_path *path;
	bool any = false;

	list_for_each_entry_rcu(path, &group->all, list) {
		if (!READ_ONCE(path->select.usable))
			continue;
		if (!blk_lld_busy(path_queue(path)))
			return false;
		any = true;
	}
	return any;
}

/* Request-based: would a request have to wait? One path that is not busy is enough. */
bool mpath_busy(struct mpath *m)
{
	struct group *group;
	bool busy = false;

	rcu_read_lock();
	group = READ_ONCE(m->next_group) ?: READ_ONCE(m->current_group);
	/* Without one, blk-mq is told by the mapping to come again later. */
	if (READ_ONCE(m->initialising) && !(group && group_early(group)))
		busy = true;
	else if (group && atomic_read(&m->valid_paths))
		busy = group_busy(group);
	rcu_read_unlock();
	return busy;
}
