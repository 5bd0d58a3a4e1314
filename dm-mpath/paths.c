// SPDX-License-Identifier: GPL-2.0
/* Paths fail and return; what user space hears of it; what happens when none is left. */
#include "mpath.h"

/* ---- none is left ---- */

static unsigned long no_path_timeout(struct mpath *m)
{
	return m->no_path_timeout_ms != NO_TIMEOUT ? msecs_to_jiffies(m->no_path_timeout_ms)
						   : READ_ONCE(mpath_no_path_timeout_s) * HZ;
}

/*
 * One that has lost its last path and queues gives up after a while, if the administrator wants
 * that. While it is suspended the time does not begin.
 */
void mpath_watch_no_path(struct mpath *m)
{
	unsigned long timeout = no_path_timeout(m);

	if (timeout && !atomic_read(&m->valid_paths) && m->suspension == NOT_SUSPENDED &&
	    m->no_path == NO_PATH_QUEUES)
		mod_timer(&m->no_path_timer, jiffies + timeout);
}

void mpath_no_path_timed_out(struct timer_list *timer)
{
	struct mpath *m = container_of(timer, struct mpath, no_path_timer);

	if (atomic_read(&m->valid_paths))
		return;
	DMWARN("%s: no path for %u ms: what waits fails", map_name(m),
	       jiffies_to_msecs(no_path_timeout(m)));
	mpath_set_no_path(m, NO_PATH_FAILS);
}

/* ---- one path ---- */

const struct path_change *path_change_ago(const struct mpath_path *path, u32 n)
{
	if (n > min_t(u32, path->nr_changes, PATH_CHANGES))
		return NULL;
	return &path->changes[(path->nr_changes - n) % PATH_CHANGES];
}

bool path_told_to_fail(const struct mpath_path *path)
{
	const struct path_change *newest = path_change_ago(path, 1);

	return newest && newest->cause == PATH_FAIL;
}

/* Or I/O met a conflict. */
static bool failed_try(enum path_event event)
{
	return event == PATH_PROBE_BAD || event == PATH_CONFLICT;
}

/* Why it is in the state that it has come to. The lock is held. */
static void note(struct mpath_path *path, enum path_event event)
{
	const struct path_change *newest = path_change_ago(path, 1);
	struct path_change change = { .state = path->state, .cause = event, .at = jiffies };

	/* One change tells of a row of tries: the one under way, or the last that failed. */
	if (newest && ((event == PATH_PROBE && failed_try(newest->cause)) ||
		       (failed_try(event) && newest->cause == PATH_PROBE))) {
		change.tries = newest->tries;
		path->nr_changes--;
	}
	if ((event == PATH_PROBE_BAD ||
	     (event == PATH_CONFLICT && newest && newest->cause == PATH_PROBE)) &&
	    change.tries < U16_MAX)
		change.tries++;
	path->changes[path->nr_changes++ % PATH_CHANGES] = change;
}

bool path_change(struct mpath_path *path, enum path_event event)
{
	struct mpath *m = path->m;
	bool was = path_usable(path);

	if (!path_step(&path->state, event))
		return false;
	note(path, event);
	if (was != path_usable(path) || event == PATH_DRAIN)
		path->since = jiffies;
	WRITE_ONCE(path->select.share, 100);
	WRITE_ONCE(path->select.usable, path_usable(path));
	if (was && !path_usable(path))
		atomic_dec(&m->valid_paths);
	else if (!was && path_usable(path))
		atomic_inc(&m->valid_paths);
	cluster_reach(path->group);
	if (path->state == PATH_RAMPING)
		ramp_begin(path);
	else if (path->state == PATH_ACTIVE)
		failback_consider(path);
	return true;
}

static void tell(struct mpath_path *path, enum dm_uevent_type event)
{
	struct mpath *m = path->m;

	dm_path_uevent(event, m->ti, path->dev->name, atomic_read(&m->valid_paths));
	queue_work(mpath_wq, &m->event);
}

/* It takes no I/O from now on. The lock is held. */
static void leave(struct mpath_path *path, enum path_event why)
{
	if (!path_usable(path) || !path_change(path, why))
		return; /* it is known */
	DMWARN("%s: path %s is %s", map_name(path->m), path->dev->name,
	       path_state_name(path->state));
	path->failures += why != PATH_DRAIN;
	tell(path, DM_UEVENT_PATH_FAILED);
	mpath_watch_no_path(path->m);
	probe_later(path);
	if (path->group == path->m->current_group && !group_usable(path->group))
		failback_lost(path->m);
}

void path_fail(struct mpath_path *path, enum path_event why)
{
	struct mpath *m = path->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	leave(path, why);
	if (why == PATH_ERROR && path->state == PATH_STUCK && path_change(path, why))
		probe_later(path);
	if (why == PATH_FAIL && !path_told_to_fail(path) && !path_usable(path) &&
	    path->state != PATH_DRAINING && path->state != PATH_FOREIGN) {
		path_step(&path->state, why);
		note(path, why); /* it does not return by itself */
	}
	spin_unlock_irqrestore(&m->lock, flags);
}

void path_return(struct mpath_path *path, enum path_event why)
{
	struct mpath *m = path->m;
	bool first = false, changed, foreign;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	foreign = path->state == PATH_FOREIGN;
	changed = !path_usable(path) && path_change(path, why);
	if (changed) {
		if (foreign) /* somebody says that the disk is the right one */
			path->disk = path->found;
		path->conflicted = false;
		DMWARN("%s: path %s is reinstated", map_name(m), path->dev->name);
		first = atomic_read(&m->valid_paths) == 1;
		if (!first && m->handler && m->current_group == path->group &&
		    (!m->log || cluster_group(m) == path->group))
			handler_call(path, 0);
		tell(path, DM_UEVENT_PATH_REINSTATED);
	}
	spin_unlock_irqrestore(&m->lock, flags);
	if (first)
		mpath_run_waiting(m);
	if (changed) /* also from an interrupt; the timer looks again anyway */
		del_timer(&m->no_path_timer);
}

void path_try(struct mpath_path *path, enum path_event why)
{
	struct mpath *m = path->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (path_change(path, why))
		probe_later(path);
	spin_unlock_irqrestore(&m->lock, flags);
}

/* ---- reservations ---- */

static enum conflict conflict_of(struct mpath_path *path, bool in_service)
{
	struct path_others others = {};
	struct mpath *m = path->m;
	struct mpath_path *other;
	struct group *group;

	lockdep_assert_held(&m->lock);
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(other, &group->all, list)
			if (other != path)
				path_count_other(&others, other->state);
	return path_conflict(in_service, &others);
}

bool path_met_conflict(struct mpath_path *path)
{
	struct mpath *m = path->m;
	unsigned long flags;
	bool out;

	spin_lock_irqsave(&m->lock, flags);
	out = conflict_of(path, true) == CONFLICT_OF_PATH;
	if (out && path_usable(path)) {
		path->conflicted = true;
		leave(path, PATH_CONFLICT);
	}
	spin_unlock_irqrestore(&m->lock, flags);
	return out;
}

bool path_stays_unregistered(struct mpath_path *path)
{
	struct mpath *m = path->m;
	bool stays;

	spin_lock_irq(&m->lock);
	stays = conflict_of(path, false) == CONFLICT_OF_PATH;
	/* Unless somebody has said meanwhile that it works. */
	if (stays && path->state == PATH_PROBING)
		path_change(path, PATH_CONFLICT);
	spin_unlock_irq(&m->lock);
	return stays;
}

/* ---- what somebody says ---- */

void path_reinstate(struct mpath_path *path)
{
	path_return(path, PATH_REINSTATE);
}

/* Sticks until it is undone. */
void path_drain(struct mpath_path *path)
{
	struct mpath *m = path->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (path_usable(path))
		leave(path, PATH_DRAIN);
	else
		path_change(path, PATH_DRAIN);
	spin_unlock_irqrestore(&m->lock, flags);
}

void path_undrain(struct mpath_path *path)
{
	path_try(path, PATH_UNDRAIN);
}
