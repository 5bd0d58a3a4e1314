// SPDX-License-Identifier: GPL-2.0
/*
 * Paths that failed by an error of their own are tried again from time to time, less and less
 * often, and return by themselves. What returns is given a little I/O first and twice as much every
 * moment, so that a path that is only half well does little harm. What somebody said has failed
 * returns when somebody says so.
 *
 * To try is to read the first block, and then to ask the disk which one it is: a path that leads to
 * another disk by now (its LUN was given to somebody else) stays out until somebody says that it is
 * right. A block that cannot be read is the disk's trouble and not the path's. Where an array says
 * that it takes no reads for now it is asked whether it is there.
 *
 * A read may go where a write may not, so a try cannot tell whether a reservation excludes the
 * path. One that met a conflict is let in when registrations have changed since a try asked last,
 * and I/O finds out. The first time nobody has asked before: so whoever registers it between the
 * conflict and the question is not missed.
 */
#include "mpath.h"

#define MOST_MS 30000
#define MOST_UNREGISTERED_MS 5000 /* somebody may register it, and nobody says so */
#define RAMP_MS 100
#define FIRST_SHARE 1

static bool wants_try(const struct mpath_path *path)
{
	if (path->state == PATH_PROBING)
		return true;
	return path->m->probe_ms && !path_told_to_fail(path) &&
	       (path->state == PATH_FAILED || path->state == PATH_UNREGISTERED);
}

/* The lock is held; the path has just failed, or a try of it, or it is to be tried. */
void probe_later(struct mpath_path *path)
{
	u32 most = path->state == PATH_UNREGISTERED ? MOST_UNREGISTERED_MS : MOST_MS;
	struct mpath *m = path->m;

	lockdep_assert_held(&m->lock);
	if (m->quiet || path->trying || !wants_try(path)) /* probe_end() looks again */
		return;
	if (path->state == PATH_PROBING) {
		mod_delayed_work(mpath_probe_wq, &path->probe, 0);
		return;
	}
	path->probe_delay_ms =
		path->probe_delay_ms ? min_t(u32, 2 * path->probe_delay_ms, most) : m->probe_ms;
	queue_delayed_work(mpath_probe_wq, &path->probe, msecs_to_jiffies(path->probe_delay_ms));
}

static void probe_ended(struct bio *bio)
{
	struct mpath_path *path = bio->bi_private;

	path->probe_status = bio->bi_status;
	bio_put(bio);
	queue_work(mpath_probe_wq, &path->probed);
}

void probe_begin(struct work_struct *work)
{
	struct mpath_path *path = container_of(to_delayed_work(work), struct mpath_path, probe);
	struct block_device *bdev = path->dev->bdev;
	struct bio *bio;
	bool begins;

	spin_lock_irq(&path->m->lock);
	begins = !path->m->quiet && !path->trying &&
		 (path->state == PATH_PROBING || path_change(path, PATH_PROBE));
	if (begins) {
		path->trying = true;
		path->m->probes++;
	}
	spin_unlock_irq(&path->m->lock);
	if (!begins)
		return;
	if (alua_passive(path)) {
		path->probe_status = alua_try(path);
		queue_work(mpath_probe_wq, &path->probed);
		return;
	}
	bio = bio_alloc(bdev, 1, REQ_OP_READ | REQ_FAILFAST_DEV | REQ_FAILFAST_TRANSPORT, GFP_NOIO);
	bio->bi_iter.bi_sector = 0;
	bio->bi_private = path;
	bio->bi_end_io = probe_ended;
	__bio_add_page(bio, mpath_probe_page, bdev_logical_block_size(bdev), 0);
	submit_bio(bio);
}

/* What the read tells of the path. */
static enum path_event read_tells(blk_status_t status)
{
	switch (status) {
	case BLK_STS_OK:
	case BLK_STS_MEDIUM: /* the disk was reached, and that block is bad */
	case BLK_STS_PROTECTION:
		return PATH_PROBE_OK;
	case COMPAT_CONFLICT:
		return PATH_CONFLICT;
	default: /* also what the disk says that it does not do: it would not do it for others */
		return PATH_PROBE_BAD;
	}
}

static enum path_event disk_tells(struct mpath_path *path)
{
	struct disk_id now = {};

	switch (identity_ask(path, &now)) {
	case DISK_SAME:
		return PATH_PROBE_OK;
	case DISK_OTHER:
		spin_lock_irq(&path->m->lock);
		path->found = now;
		spin_unlock_irq(&path->m->lock);
		return PATH_OTHER_DISK;
	case DISK_UNKNOWN:
		break;
	}
	return PATH_PROBE_BAD;
}

/* It met a conflict once. Has anybody registered since, or is nothing reserved any more? */
static enum path_event registrations_tell(struct mpath_path *path)
{
	struct scsi_device *sdev = scsi_of(path);
	bool reserved, changed;
	u32 generation;

	if (!sdev || !scsi_ask_registrations(sdev, &generation, &reserved))
		return PATH_CONFLICT;
	changed = path->generation != generation;
	path->generation = generation;
	return changed || !reserved ? PATH_PROBE_OK : PATH_CONFLICT;
}

static enum path_event outcome_of(struct mpath_path *path)
{
	enum path_event tells = read_tells(path->probe_status);

	if (tells != PATH_PROBE_BAD) {
		enum path_event of_disk = disk_tells(path);

		tells = of_disk == PATH_PROBE_OK ? tells : of_disk;
	}
	if (tells == PATH_PROBE_OK && READ_ONCE(path->conflicted))
		tells = registrations_tell(path);
	return tells;
}

static void say_foreign(struct mpath_path *path)
{
	DMERR("%s: path %s leads to another disk now (%s %*phN, %llu sectors; was %s %*phN, %llu): it stays out until reinstate_path says that it is right",
	      map_name(path->m), path->dev->name, disk_name_kind(&path->found),
	      min_t(int, path->found.length, 32), path->found.name, path->found.sectors,
	      disk_name_kind(&path->disk), min_t(int, path->disk.length, 32), path->disk.name,
	      path->disk.sectors);
}

void probe_end(struct work_struct *work)
{
	struct mpath_path *path = container_of(work, struct mpath_path, probed);
	enum path_event outcome = outcome_of(path);
	struct mpath *m = path->m;

	if (outcome == PATH_CONFLICT && !path_stays_unregistered(path))
		outcome = PATH_PROBE_OK; /* so that I/O hears of it */
	if (outcome == PATH_PROBE_OK)
		path_return(path, outcome);
	spin_lock_irq(&m->lock);
	if ((outcome == PATH_PROBE_BAD || outcome == PATH_OTHER_DISK) &&
	    path_change(path, outcome) && outcome == PATH_OTHER_DISK)
		say_foreign(path);
	path->trying = false;
	m->probes--;
	probe_later(path);
	spin_unlock_irq(&m->lock);
	wake_up(&m->initialised);
}

static bool is_tried(struct mpath_path *path)
{
	struct mpath *m = path->m;
	bool tried;

	spin_lock_irq(&m->lock);
	tried = !path->trying && path->state != PATH_PROBING;
	spin_unlock_irq(&m->lock);
	return tried;
}

/* Until it is known how a try ends; not longer than somebody's patience. */
void probe_await(struct mpath_path *path)
{
	wait_event_timeout(path->m->initialised, is_tried(path), TRY_PATIENCE);
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
