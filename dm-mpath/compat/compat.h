/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between kernels, told apart by what their headers offer. */
#ifndef DM_MPATH_COMPAT_H
#define DM_MPATH_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/rcupdate.h>

/*
 * Exported by dm-mod for its targets, but declared in headers that are not installed
 * (drivers/md/dm-uevent.h, dm-rq.h).
 */
enum dm_uevent_type { DM_UEVENT_PATH_FAILED, DM_UEVENT_PATH_REINSTATED };
void dm_path_uevent(enum dm_uevent_type event_type, struct dm_target *ti, const char *path,
		    unsigned int nr_valid_paths);
void dm_mq_kick_requeue_list(struct mapped_device *md);

/* The number of a device that is named by path or major:minor; an error if there is none. */
#ifdef BLK_FEAT_STABLE_WRITES /* since 6.11; dm_devt_from_path() since 6.9 */
static inline int compat_device_number(const char *name, dev_t *number)
{
	return dm_devt_from_path(name, number);
}
#else
static inline int compat_device_number(const char *name, dev_t *number)
{
	*number = dm_get_dev_t(name);
	return *number ? 0 : -ENODEV;
}
#endif

/* A reservation of somebody else's: the status of that name, and its old name. */
#ifdef BLK_STS_RESV_CONFLICT /* since 6.5 */
#define COMPAT_CONFLICT BLK_STS_RESV_CONFLICT
#else
#define COMPAT_CONFLICT BLK_STS_NEXUS
#endif

#ifndef kvfree_rcu_mightsleep /* since 6.4, and in stable kernels before it */
#define kvfree_rcu_mightsleep(object) kvfree_rcu(object)
#endif

#endif
