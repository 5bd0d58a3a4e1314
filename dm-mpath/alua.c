// SPDX-License-Identifier: GPL-2.0
/*
 * Arrays that say by which ports they are reached best (SCSI ALUA). The kernel's handler
 * scsi_dh_alua asks the array when it hears of a change, and notes each device's state; here it is
 * looked at. Groups get the priorities that multipath-tools gives them, if the table says
 * `group_prio alua`.
 *
 * All that knows of SCSI beside handler.c is here and in scsi.c.
 */
#include <scsi/scsi_common.h>
#include <scsi/scsi_device.h>
#include <scsi/scsi_proto.h>

#include "mpath.h"

#define LOOK_MS 200
#define TRY_TIMEOUT (5 * HZ)

/* NULL: it is no SCSI device, or has no handler that would know. */
static struct scsi_device *device_of(const struct mpath_path *path)
{
	struct scsi_device *sdev = scsi_of(path);

	return sdev && READ_ONCE(sdev->handler) ? sdev : NULL;
}

static int prio_of(const struct mpath_path *path)
{
	const struct scsi_device *sdev = device_of(path);
	u8 state;

	if (!sdev || !path_usable(path))
		return 0;
	state = READ_ONCE(sdev->access_state);
	switch (state & SCSI_ACCESS_STATE_MASK) {
	case SCSI_ACCESS_STATE_OPTIMAL:
		return state & SCSI_ACCESS_STATE_PREFERRED ? 130 : 50;
	case SCSI_ACCESS_STATE_ACTIVE:
		return 10;
	case SCSI_ACCESS_STATE_LBA:
		return 5;
	case SCSI_ACCESS_STATE_STANDBY:
		return 1;
	default:
		return 0;
	}
}

/* The best of its paths'. The lock is held. */
static int prio_of_group(struct group *group)
{
	struct mpath_path *path;
	int prio = 0;

	list_for_each_entry(path, &group->all, list)
		prio = max(prio, prio_of(path));
	return prio;
}

void alua_look(struct work_struct *work)
{
	struct mpath *m = container_of(to_delayed_work(work), struct mpath, alua_work);
	bool changed = false;
	struct group *group;

	spin_lock_irq(&m->lock);
	list_for_each_entry(group, &m->groups, list) {
		int prio = prio_of_group(group);

		if (prio == group->prio)
			continue;
		DMINFO("%s: group %u has priority %d, had %d", map_name(m), group->number, prio,
		       group->prio);
		group->prio = prio;
		changed = true;
	}
	if (changed) {
		failback_changed(m);
		queue_work(mpath_wq, &m->event);
	}
	spin_unlock_irq(&m->lock);
	alua_watch(m);
}

void alua_watch(struct mpath *m)
{
	if (m->alua && !READ_ONCE(m->quiet))
		queue_delayed_work(mpath_wq, &m->alua_work, msecs_to_jiffies(LOOK_MS));
}

/* Does the array say that it takes no reads there for now? Then a probe asks in another way. */
bool alua_passive(const struct mpath_path *path)
{
	const struct scsi_device *sdev = device_of(path);

	return sdev && (READ_ONCE(sdev->access_state) & SCSI_ACCESS_STATE_MASK) ==
			       SCSI_ACCESS_STATE_STANDBY;
}

/* Does the array say that it takes I/O there? Its handler only makes such a port a better one. */
bool alua_open(const struct mpath_path *path)
{
	const struct scsi_device *sdev = device_of(path);
	u8 state;

	if (!sdev || !path->m->handler || strcmp(path->m->handler, "alua"))
		return false;
	state = READ_ONCE(sdev->access_state) & SCSI_ACCESS_STATE_MASK;
	return state == SCSI_ACCESS_STATE_OPTIMAL || state == SCSI_ACCESS_STATE_ACTIVE;
}

/* Is it there? It says that it is ready, or that it is on standby (sense 2/04/0b). May sleep. */
blk_status_t alua_try(const struct mpath_path *path)
{
	struct scsi_device *sdev = device_of(path);
	struct scsi_sense_hdr sense = {};

	if (!sdev)
		return BLK_STS_IOERR;
	if (!scsi_test_unit_ready(sdev, TRY_TIMEOUT, 1, &sense))
		return BLK_STS_OK;
	return scsi_sense_valid(&sense) && sense.sense_key == NOT_READY && sense.asc == 0x04 &&
			       sense.ascq == 0x0b
		       ? BLK_STS_OK
		       : BLK_STS_IOERR;
}
