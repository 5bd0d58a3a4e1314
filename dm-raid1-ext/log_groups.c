// SPDX-License-Identifier: GPL-2.0
/*
 * Dirty-log type `cluster-groups`: which group of an array's paths the nodes use, as clogd and the
 * other nodes see it. Its regions are groups, by number from 0:
 *
 *   mark_region, clear_region   a path of the group can be used here, or none can
 *   is_remote_recovering        0: this node may switch the array to the group now, or the array
 *                               uses it; 1: it may not, or that is not decided yet
 *   is_clean                    1: nothing is undecided
 *   in_sync                     1: the nodes use the group
 *   get_resync_work             1: this node is to switch the array to that group
 *   set_region_sync             it has, or could not
 *
 * None of them sleeps. The target's flush callback is called when any answer may have changed.
 */
#include <linux/jiffies.h>
#include <linux/module.h>

#include "cluster_log.h"

#define ALONE_AFTER_MS 5000 /* without a daemon; a restart takes less */

static void news(void *context)
{
	struct cluster_log *l = context;

	l->dm->flush_callback_fn(l->ti);
}

static int groups_ctr(struct dm_dirty_log *dm, struct dm_target *ti, unsigned int argc, char **argv)
{
	struct cluster_log *l;

	if (argc != 1) {
		ti->error = "cluster log: expected the uuid of the array";
		return -EINVAL;
	}
	l = cluster_log_make(dm, ti, argv[0]);
	if (IS_ERR(l))
		return PTR_ERR(l);
	l->grouped = true;
	l->picture.regions = CLOG_GROUPS_MAX;
	l->news = news;
	l->context = l;
	l->left_at = jiffies;
	grouping_reset(&l->grouping, jiffies);
	return cluster_log_open(l);
}

static int groups_postsuspend(struct dm_dirty_log *dm)
{
	struct cluster_log *l = dm->context;
	int r = cluster_log_suspend(dm);

	spin_lock_irq(&l->lock);
	grouping_reset(&l->grouping, jiffies);
	spin_unlock_irq(&l->lock);
	return r;
}

static uint32_t groups_get_region_size(struct dm_dirty_log *dm)
{
	return 1;
}

static void set_reach(struct dm_dirty_log *dm, region_t group, bool on)
{
	struct cluster_log *l = dm->context;
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	if (grouping_reach(&l->grouping, group, on))
		channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
}

static void groups_mark_region(struct dm_dirty_log *dm, region_t group)
{
	set_reach(dm, group, true);
}

static void groups_clear_region(struct dm_dirty_log *dm, region_t group)
{
	set_reach(dm, group, false);
}

/*
 * Without a daemon for so long that it will not be back at once, and without a path to the group in
 * use: this node helps itself rather than stand still. Without quorum it does not: others go on.
 */
static bool alone(const struct cluster_log *l)
{
	const struct grouping *g = &l->grouping;

	return !channel_is_open() &&
	       time_after(jiffies, l->left_at + msecs_to_jiffies(ALONE_AFTER_MS)) &&
	       (g->in_use == CLOG_GROUP_NONE || !(g->reach & 1u << g->in_use));
}

static int groups_is_remote_recovering(struct dm_dirty_log *dm, region_t group)
{
	struct cluster_log *l = dm->context;
	enum grouping_answer answer;
	unsigned long flags;
	bool tell;

	spin_lock_irqsave(&l->lock, flags);
	answer = grouping_ask(&l->grouping, group, &tell);
	if (tell)
		channel_poke(l);
	if (!cluster_log_may_write(l))
		answer = alone(l) ? GROUPING_MAY : GROUPING_WAIT;
	spin_unlock_irqrestore(&l->lock, flags);
	return answer != GROUPING_MAY;
}

static int groups_is_clean(struct dm_dirty_log *dm, region_t group)
{
	struct cluster_log *l = dm->context;
	unsigned long flags;
	bool decided;

	spin_lock_irqsave(&l->lock, flags);
	decided = cluster_log_may_write(l) && grouping_decided(&l->grouping);
	spin_unlock_irqrestore(&l->lock, flags);
	return decided;
}

static int groups_in_sync(struct dm_dirty_log *dm, region_t group, int can_block)
{
	struct cluster_log *l = dm->context;
	unsigned long flags;
	bool in_use;

	spin_lock_irqsave(&l->lock, flags);
	in_use = cluster_log_may_write(l) && grouping_uses(&l->grouping, group);
	spin_unlock_irqrestore(&l->lock, flags);
	return in_use;
}

static int groups_get_resync_work(struct dm_dirty_log *dm, region_t *group)
{
	struct cluster_log *l = dm->context;
	unsigned long flags;
	bool granted;

	spin_lock_irqsave(&l->lock, flags);
	*group = l->grouping.granted;
	granted = cluster_log_may_write(l) && *group != CLOG_GROUP_NONE &&
		  grouping_granted(&l->grouping, *group);
	spin_unlock_irqrestore(&l->lock, flags);
	return granted;
}

static void groups_set_region_sync(struct dm_dirty_log *dm, region_t group, int in_sync)
{
	struct cluster_log *l = dm->context;
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	if (in_sync == CLOG_SWITCH_BEGINS)
		grouping_begin(&l->grouping, group);
	else if (grouping_end(&l->grouping, group, in_sync ? CLOG_SWITCH_DONE : CLOG_SWITCH_FAILED))
		channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
}

static int groups_flush(struct dm_dirty_log *dm)
{
	return 0;
}

static region_t groups_get_sync_count(struct dm_dirty_log *dm)
{
	return CLOG_GROUPS_MAX;
}

static int groups_status(struct dm_dirty_log *dm, status_type_t type, char *result,
			 unsigned int maxlen)
{
	struct cluster_log *l = dm->context;
	unsigned int sz = 0;

	DMEMIT("cluster-groups 1 %s ", l->uuid);
	return sz;
}

static struct dm_dirty_log_type groups_type = {
	.name = "cluster-groups",
	.module = THIS_MODULE,
	.ctr = groups_ctr,
	.dtr = cluster_log_close,
	.postsuspend = groups_postsuspend,
	.resume = cluster_log_resume,
	.get_region_size = groups_get_region_size,
	.is_clean = groups_is_clean,
	.in_sync = groups_in_sync,
	.flush = groups_flush,
	.mark_region = groups_mark_region,
	.clear_region = groups_clear_region,
	.get_resync_work = groups_get_resync_work,
	.set_region_sync = groups_set_region_sync,
	.get_sync_count = groups_get_sync_count,
	.status = groups_status,
	.is_remote_recovering = groups_is_remote_recovering,
};

int log_groups_init(void)
{
	return dm_dirty_log_type_register(&groups_type);
}

void log_groups_exit(void)
{
	dm_dirty_log_type_unregister(&groups_type);
}
