// SPDX-License-Identifier: GPL-2.0
/*
 * SCSI hardware handlers: attached to each path when the table is made, and called for every path
 * of a group before its first I/O. Meanwhile I/O waits, unless it may go early (io.c).
 */
#include <linux/slab.h>
#include <scsi/scsi_dh.h>

#include "mpath.h"

/* The handler that is attached already is the one that counts. */
static void adopt(struct mpath *m, char **attached)
{
	if (!*attached)
		return;
	if (m->handler && strcmp(*attached, m->handler)) { /* the parameters were for another one */
		kfree(m->handler_params);
		m->handler_params = NULL;
	}
	kfree(m->handler);
	m->handler = *attached;
	*attached = NULL;
}

static int attach(struct mpath_path *path, char **attached, char **error)
{
	struct mpath *m = path->m;
	struct request_queue *q = path_queue(path);
	int r;

	if (m->complete && *attached &&
	    (m->handler ? strcmp(*attached, m->handler) : m->retain_attached)) {
		*error = "another hardware handler is attached to it than to the map's paths";
		return -EBUSY;
	}
	if (m->retain_attached && !m->complete)
		adopt(m, attached);
	if (!m->handler)
		return 0;
	r = scsi_dh_attach(q, m->handler);
	if (r == -EBUSY) {
		DMINFO("%s: keeps its handler", path->dev->name);
		adopt(m, attached);
		r = scsi_dh_attach(q, m->handler);
	}
	if (r < 0) {
		*error = "error attaching hardware handler";
		return r;
	}
	if (!m->handler_params)
		return 0;
	r = scsi_dh_set_params(q, m->handler_params);
	if (r < 0)
		*error = "unable to set hardware handler parameters";
	return r < 0 ? r : 0;
}

int handler_attach(struct mpath_path *path, char **error)
{
	char *attached = (char *)scsi_dh_attached_handler_name(path_queue(path), GFP_KERNEL);
	int r = 0;

	if (attached || path->m->handler)
		r = attach(path, &attached, error);
	kfree(attached);
	return r;
}

/* activated() will be called for it. The lock is held. */
static void begun(struct mpath_path *path)
{
	path->activating++;
	path->m->initialising++;
}

/* The lock is held. */
void handler_call(struct mpath_path *path, unsigned long delay)
{
	if (queue_delayed_work(mpath_handler_wq, &path->activate, delay))
		begun(path);
}

/* The lock is held. True: the handler is at work for the current group. */
bool handler_init_locked(struct mpath *m)
{
	unsigned long delay = 0;
	struct mpath_path *path;

	if (m->initialising || m->no_new_init)
		return m->initialising;
	m->init_count++;
	if (m->readiness == READY_WANTED)
		WRITE_ONCE(m->readiness, READYING);
	if (!m->current_group) {
		WRITE_ONCE(m->readiness, READY);
		return false;
	}
	if (m->log && !cluster_may_enter(m))
		return false;
	if (!m->handler) {
		WRITE_ONCE(m->readiness, READY);
		cluster_entered(m);
		return false;
	}
	if (m->again_later)
		delay = msecs_to_jiffies(m->init_delay_ms == INIT_DELAY_UNSET
						 ? INIT_DELAY_DEFAULT_MS
						 : m->init_delay_ms);
	list_for_each_entry(path, &m->current_group->all, list)
		if (path_usable(path))
			handler_call(path, delay);
	if (m->initialising)
		cluster_begins(m);
	else /* there is nothing to make ready */
		WRITE_ONCE(m->readiness, READY);
	return m->initialising;
}

void handler_init(struct mpath *m)
{
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	handler_init_locked(m);
	spin_unlock_irqrestore(&m->lock, flags);
}

/* One more try? If not, the path has failed. */
static bool try_again(struct mpath *m)
{
	bool again = false;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (m->init_count <= m->init_retries && !m->no_new_init) {
		WRITE_ONCE(m->readiness, READY_WANTED);
		again = true;
	}
	spin_unlock_irqrestore(&m->lock, flags);
	return again;
}

static void done(struct mpath_path *path, bool failed, bool later)
{
	struct mpath *m = path->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (failed && m->current_group == path->group) {
		DMERR("%s: path %s could not be made ready", map_name(m), path->dev->name);
		WRITE_ONCE(m->current_group, NULL);
		if (m->log) /* also where no I/O comes: others may wait for the outcome */
			mod_delayed_work(mpath_wq, &m->cluster_work, 0);
	} else if (!failed && m->readiness != READY_WANTED) {
		path->group->bypassed = false;
		cluster_reach(path->group);
	}
	path->activating--;
	m->initialising--;
	if (!m->initialising && m->readiness == READY_WANTED) {
		m->again_later = later;
		handler_init_locked(m);
	}
	if (!m->initialising) {
		if (m->current_group != path->group)
			cluster_failed(m, path->group);
		if (!m->log || m->readiness != READY_WANTED) {
			WRITE_ONCE(m->readiness, READY);
			m->again_later = false; /* the next call is about something else */
			cluster_entered(m);
		}
		mpath_run_waiting(m);
		wake_up(&m->initialised);
	}
	spin_unlock_irqrestore(&m->lock, flags);
}

static void activated(void *data, int error)
{
	struct mpath_path *path = data;
	struct mpath *m = path->m;
	bool failed = false, later = false;

	switch (error) {
	case SCSI_DH_OK:
		break;
	case SCSI_DH_NOSYS:
		if (!m->handler)
			break;
		DMERR("%s: no failover: handler scsi_dh_%s, error %d", map_name(m), m->handler,
		      error);
		path_fail(path, PATH_ERROR);
		failed = true;
		break;
	case SCSI_DH_DEV_TEMP_BUSY: /* a controller that upgrades itself, say */
		group_bypass(path->group, true);
		failed = true;
		break;
	case SCSI_DH_RETRY:
		later = true;
		fallthrough;
	case SCSI_DH_IMM_RETRY:
	case SCSI_DH_RES_TEMP_UNAVAIL:
		if (!try_again(m))
			path_fail(path, PATH_ERROR);
		break;
	default:
		path_fail(path, PATH_ERROR);
		failed = true;
	}
	done(path, failed, later);
}

void handler_activate(struct work_struct *work)
{
	struct mpath_path *path = container_of(to_delayed_work(work), struct mpath_path, activate);

	if (READ_ONCE(path->select.usable) && !blk_queue_dying(path_queue(path)))
		scsi_dh_activate(path_queue(path), activated, path);
	else
		activated(path, SCSI_DH_DEV_OFFLINED);
}

/* Its device goes away while a request is being made for it. */
void handler_give_up(struct mpath_path *path)
{
	unsigned long flags;

	spin_lock_irqsave(&path->m->lock, flags);
	begun(path);
	spin_unlock_irqrestore(&path->m->lock, flags);
	activated(path, SCSI_DH_DEV_OFFLINED);
}

/*
 * Suspended: until no handler is at work, and none begins. The lock, at last: done() has let go of
 * m.
 */
void handler_stop(struct mpath *m)
{
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	m->no_new_init = true;
	spin_unlock_irqrestore(&m->lock, flags);
	flush_workqueue(mpath_handler_wq);
	wait_event(m->initialised, !READ_ONCE(m->initialising));
	spin_lock_irqsave(&m->lock, flags);
	m->no_new_init = false;
	spin_unlock_irqrestore(&m->lock, flags);
}
