// SPDX-License-Identifier: GPL-2.0
/* Paths fail and return; what user space hears of it; what happens when none is left. */
#include "mpath.h"

/*
 * One that has lost its last path and queues gives up after a while, if the administrator wants
 * that.
 */
void mpath_watch_no_path(struct mpath *m)
{
	unsigned long timeout = READ_ONCE(mpath_no_path_timeout_s) * HZ;

	if (timeout && !atomic_read(&m->valid_paths) && m->no_path == NO_PATH_QUEUES)
		mod_timer(&m->no_path_timer, jiffies + timeout);
}

void mpath_no_path_timed_out(struct timer_list *timer)
{
	struct mpath *m = container_of(timer, struct mpath, no_path_timer);

	DMWARN("%s: no path for %lu s: what waits fails", map_name(m),
	       READ_ONCE(mpath_no_path_timeout_s));
	mpath_set_no_path(m, NO_PATH_FAILS, false);
}

/* The lock is held. */
static bool step(struct mpath_path *path, enum path_event event)
{
	struct mpath *m = path->m;
	bool was = path_usable(path);

	if (!path_step(&path->state, event))
		return false;
	WRITE_ONCE(path->select.usable, path_usable(path));
	if (was && !path_usable(path))
		atomic_dec(&m->valid_paths);
	else if (!was && path_usable(path))
		atomic_inc(&m->valid_paths);
	return true;
}

static void tell(struct mpath_path *path, enum dm_uevent_type event)
{
	struct mpath *m = path->m;

	dm_path_uevent(event, m->ti, path->dev->name, atomic_read(&m->valid_paths));
	queue_work(mpath_wq, &m->event);
}

void path_fail(struct mpath_path *path, enum path_event why)
{
	struct mpath *m = path->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (path_usable(path) && step(path, why)) {
		DMWARN("%s: path %s fails", map_name(m), path->dev->name);
		path->failures++;
		tell(path, DM_UEVENT_PATH_FAILED);
		mpath_watch_no_path(m);
	}
	spin_unlock_irqrestore(&m->lock, flags);
}

void path_reinstate(struct mpath_path *path)
{
	struct mpath *m = path->m;
	bool first = false, changed;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	changed = !path_usable(path) && step(path, PATH_REINSTATE);
	if (changed) {
		DMWARN("%s: path %s is reinstated", map_name(m), path->dev->name);
		first = atomic_read(&m->valid_paths) == 1;
		if (!first && m->handler && m->current_group == path->group &&
		    queue_delayed_work(mpath_handler_wq, &path->activate, 0))
			m->initialising++;
		tell(path, DM_UEVENT_PATH_REINSTATED);
	}
	spin_unlock_irqrestore(&m->lock, flags);
	if (first)
		mpath_run_waiting(m);
	if (changed)
		del_timer_sync(&m->no_path_timer);
}
