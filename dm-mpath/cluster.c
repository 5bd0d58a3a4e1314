// SPDX-License-Identifier: GPL-2.0
/*
 * An array that several nodes share, with the feature `cluster <uuid>`. Before its hardware is made
 * ready for a group the other nodes are asked, by the dirty log `cluster-groups`: one node at a
 * time may switch the array, and only if that is needed or all want it (clogd/core/groups.hh). The
 * others follow. A node that has no path to the group in use goes to another one as a guest: it
 * sends I/O there, and leaves the hardware as it is.
 *
 * Groups have the same numbers on every node: the table names them in the same order. The lock of
 * the map is held wherever nothing else is said; the log does not sleep.
 */
#include <linux/dm-dirty-log.h>

#include "mpath.h"

#define LOOK_MS 250 /* while something waits, in case that no news comes */

static int news(struct dm_target *ti)
{
	struct mpath *m = ti->private;

	if (!READ_ONCE(m->apart))
		mod_delayed_work(mpath_wq, &m->cluster_work, 0);
	return 0;
}

/* While the table is made. */
int cluster_open(struct mpath *m)
{
	struct group *group;

	list_for_each_entry(group, &m->groups, list)
		if (group->shared >= CLOG_GROUPS_MAX) {
			m->ti->error = "a cluster shares at most 32 priority groups";
			return -EINVAL;
		}
	m->apart = true; /* until it is resumed */
	m->ti->private = m;
	m->log = dm_dirty_log_create("cluster-groups", m->ti, news, 1, &m->cluster);
	if (m->log)
		return 0;
	if (!m->ti->error)
		m->ti->error =
			"cluster: the log could not be made; is dm-log-cluster installed, and the uuid at most 128 characters long?";
	return -EINVAL;
}

/* No lock is held; nobody calls the log any more. */
void cluster_close(struct mpath *m)
{
	if (m->log)
		dm_dirty_log_destroy(m->log);
	m->log = NULL;
	cancel_delayed_work_sync(&m->cluster_work);
	kfree(m->cluster);
}

static bool can_be_used(struct group *group)
{
	return !group->bypassed && group_usable(group);
}

/* A path of the group has come or gone, perhaps. */
void cluster_reach(struct group *group)
{
	struct dm_dirty_log *log = group->m->log;

	if (!log)
		return;
	if (can_be_used(group))
		log->type->mark_region(log, group->shared);
	else
		log->type->clear_region(log, group->shared);
}

/* No lock is held. */
void cluster_resume(struct mpath *m)
{
	struct group *group;

	if (!m->log)
		return;
	spin_lock_irq(&m->lock);
	m->apart = false;
	list_for_each_entry(group, &m->groups, list)
		cluster_reach(group);
	spin_unlock_irq(&m->lock);
	m->log->type->resume(m->log);
}

/*
 * Suspended; the lock is not held. With the log the node leaves, and another may switch the array:
 * so what it was switching has ended before.
 */
void cluster_suspend(struct mpath *m)
{
	if (!m->log)
		return;
	spin_lock_irq(&m->lock);
	m->apart = true;
	spin_unlock_irq(&m->lock);
	cancel_delayed_work_sync(&m->cluster_work);
	handler_stop(m);
	m->log->type->postsuspend(m->log);
}

static bool in_use(struct mpath *m, struct group *group)
{
	return m->log->type->in_sync(m->log, group->shared, 0);
}

static struct group *group_in_use(struct mpath *m)
{
	struct group *group;

	list_for_each_entry(group, &m->groups, list)
		if (in_use(m, group))
			return group;
	return NULL;
}

/* What the cluster uses, if this node can. */
struct group *cluster_group(struct mpath *m)
{
	struct group *group = m->log && !m->apart ? group_in_use(m) : NULL;

	return group && can_be_used(group) ? group : NULL;
}

static struct group *granted(struct mpath *m)
{
	struct group *group;
	region_t number;

	if (m->log->type->get_resync_work(m->log, &number))
		list_for_each_entry(group, &m->groups, list)
			if (group->shared == number)
				return group;
	return NULL;
}

static bool may(struct mpath *m, struct group *group)
{
	return !m->log->type->is_remote_recovering(m->log, group->shared);
}

/* Who returns by itself goes on to want what it wants; others are content with what there is. */
static bool follows(struct mpath *m, struct group *group)
{
	bool content = m->failback != FAILBACK_IMMEDIATE && m->failback != FAILBACK_DELAYED;

	return in_use(m, group) && (!content || may(m, group));
}

/* May the hardware of the current group be made ready? If not, it is used as it is, or I/O waits.
 */
bool cluster_may_enter(struct mpath *m)
{
	struct group *group = m->current_group;

	if (m->apart) { /* nothing is switched any more; I/O comes when it is resumed */
		WRITE_ONCE(m->readiness, READY_WANTED);
		return false;
	}
	if (follows(m, group) || may(m, group)) {
		m->guest = false;
		failback_changed(m);
		return true;
	}
	if (m->log->type->is_clean(m->log, group->shared)) {
		if (!m->guest)
			DMWARN("%s: uses group %u without switching the array: other nodes use another group",
			       map_name(m), group->number);
		m->guest = true;
		WRITE_ONCE(m->readiness, READY);
		mpath_run_waiting(m);
	} else {
		WRITE_ONCE(m->readiness, READY_WANTED);
		mod_delayed_work(mpath_wq, &m->cluster_work, msecs_to_jiffies(LOOK_MS));
	}
	return false;
}

/* The hardware of the current group is about to be made ready. */
void cluster_begins(struct mpath *m)
{
	if (m->log && !m->guest)
		m->log->type->set_region_sync(m->log, m->current_group->shared, CLOG_SWITCH_BEGINS);
}

/* It could not be, and nothing of that is under way any more. */
void cluster_failed(struct mpath *m, struct group *group)
{
	if (m->log)
		m->log->type->set_region_sync(m->log, group->shared, 0);
}

/* The hardware of the current group has been made ready. */
void cluster_entered(struct mpath *m)
{
	if (m->log && m->current_group && !m->guest)
		m->log->type->set_region_sync(m->log, m->current_group->shared, 1);
}

static void move(struct mpath *m, struct group *group)
{
	if (group != m->current_group)
		DMINFO("%s: goes to group %u with the other nodes", map_name(m), group->number);
	WRITE_ONCE(m->next_group, NULL);
	m->failed_back_at = jiffies;
	group_enter(m, group);
	handler_init_locked(m);
	queue_work(mpath_wq, &m->event);
}

/* It would rather use this group. */
void cluster_ask(struct mpath *m, struct group *group)
{
	if (!m->apart && may(m, group) && (group != m->current_group || m->guest))
		move(m, group);
}

/* There may be news. No lock is held. */
void cluster_look(struct work_struct *work)
{
	struct mpath *m = container_of(to_delayed_work(work), struct mpath, cluster_work);
	struct group *mine, *theirs;

	spin_lock_irq(&m->lock);
	if (m->apart) {
		spin_unlock_irq(&m->lock);
		return;
	}
	mine = granted(m);
	theirs = cluster_group(m);
	if (mine && (mine != m->current_group || m->readiness == READY))
		move(m, mine);
	else if (!mine && theirs && (theirs != m->current_group || m->guest))
		move(m, theirs);
	else if (m->readiness == READY_WANTED && m->current_group)
		handler_init_locked(m);
	spin_unlock_irq(&m->lock);
	mpath_run_waiting(m);
}
