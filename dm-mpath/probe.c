// SPDX-License-Identifier: GPL-2.0
/*
 * Paths that failed by an error of their own are tried again from time to time, less and less
 * often, and return by themselves. What returns is given a little I/O first and twice as much every
 * moment, so that a path that is only half well does little harm. What somebody said has failed
 * returns when somebody says so.
 *
 * To try is to read the first block. An error that is the disk's and not the path's counts as well.
 * Where an array says that it takes no reads for now it is asked whether it is there.
 */
#include "mpath.h"

#define MOST_MS 30000
#define RAMP_MS 100
#define FIRST_SHARE 1

/* The lock is held; the path has just failed, or a try of it. */
void probe_later(struct mpath_path *path)
{
	struct mpath *m = path->m;

	if (!m->probe_ms || m->quiet || path->state != PATH_FAILED || path_told_to_fail(path))
		return;
	path->probe_delay_ms =
		path->probe_delay_ms ? min(2 * path->probe_delay_ms, MOST_MS) : m->probe_ms;
	queue_delayed_work(mpath_wq, &path->probe, msecs_to_jiffies(path->probe_delay_ms));
}

static void probe_ended(struct bio *bio)
{
	struct mpath_path *path = bio->bi_private;

	path->probe_status = bio->bi_status;
	bio_put(bio);
	queue_work(mpath_wq, &path->probed);
}

void probe_begin(struct work_struct *work)
{
	struct mpath_path *path = container_of(to_delayed_work(work), struct mpath_path, probe);
	struct block_device *bdev = path->dev->bdev;
	struct bio *bio;
	bool begins;

	spin_lock_irq(&path->m->lock);
	begins = !path->m->quiet && path_change(path, PATH_PROBE);
	if (begins) {
		path->trying = true;
		path->m->probes++;
	}
	spin_unlock_irq(&path->m->lock);
	if (!begins)
		return;
	if (alua_passive(path)) {
		path->probe_status = alua_try(path);
		queue_work(mpath_wq, &path->probed);
		return;
	}
	bio = bio_alloc(bdev, 1, REQ_OP_READ | REQ_FAILFAST_DEV | REQ_FAILFAST_TRANSPORT, GFP_NOIO);
	bio->bi_iter.bi_sector = 0;
	bio->bi_private = path;
	bio->bi_end_io = probe_ended;
	__bio_add_page(bio, mpath_probe_page, bdev_logical_block_size(bdev), 0);
	submit_bio(bio);
}

void probe_end(struct work_struct *work)
{
	struct mpath_path *path = container_of(work, struct mpath_path, probed);
	struct mpath *m = path->m;

	if (path->probe_status && blk_path_error(path->probe_status)) {
		spin_lock_irq(&m->lock);
		if (path_change(path, PATH_PROBE_BAD))
			probe_later(path);
		spin_unlock_irq(&m->lock);
	} else {
		path_return(path, PATH_PROBE_OK);
	}
	spin_lock_irq(&m->lock);
	path->trying = false;
	m->probes--;
	spin_unlock_irq(&m->lock);
	wake_up(&m->initialised);
}

/* ---- ramping ---- */

/* The lock is held; the path has just come to RAMPING. */
void ramp_begin(struct mpath_path *path)
{
	WRITE_ONCE(path->select.share, FIRST_SHARE);
	queue_delayed_work(mpath_wq, &path->ramp, msecs_to_jiffies(RAMP_MS));
}

void ramp_on(struct work_struct *work)
{
	struct mpath_path *path = container_of(to_delayed_work(work), struct mpath_path, ramp);
	unsigned int share;

	spin_lock_irq(&path->m->lock);
	if (path->state == PATH_RAMPING) {
		share = min(2 * path->select.share, 100);
		WRITE_ONCE(path->select.share, share);
		if (share < 100) {
			queue_delayed_work(mpath_wq, &path->ramp, msecs_to_jiffies(RAMP_MS));
		} else {
			path_change(path, PATH_RAMPED);
			path->probe_delay_ms = 0;
		}
	}
	spin_unlock_irq(&path->m->lock);
}

/* ---- the whole map ---- */

/* Nothing is tried any more until probes_go_on(); what is under way may still be. */
void probes_stop(struct mpath *m)
{
	struct mpath_path *path;
	struct group *group;

	spin_lock_irq(&m->lock);
	m->quiet = true;
	spin_unlock_irq(&m->lock);
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			cancel_delayed_work_sync(&path->probe);
	cancel_delayed_work_sync(&m->deadline);
	cancel_delayed_work_sync(&m->alua_work);
}

void probes_go_on(struct mpath *m)
{
	struct mpath_path *path;
	struct group *group;

	spin_lock_irq(&m->lock);
	m->quiet = false;
	deadline_watch(m);
	alua_watch(m);
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			probe_later(path);
	spin_unlock_irq(&m->lock);
}

/* The map goes: also what is under way. */
void probes_end(struct mpath *m)
{
	struct mpath_path *path;
	struct group *group;

	probes_stop(m);
	wait_event(m->initialised, !READ_ONCE(m->probes));
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list) {
			flush_work(&path->probed);
			cancel_delayed_work_sync(&path->ramp);
		}
	/* A path that has just returned may have asked for one. */
	cancel_delayed_work_sync(&m->fail_back);
}
