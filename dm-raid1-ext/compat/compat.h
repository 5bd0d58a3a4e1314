/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between kernels, told apart by what their headers offer. */
#ifndef DM_RAID1_EXT_COMPAT_H
#define DM_RAID1_EXT_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>

/* A page that changes on its way would leave the legs different, and no write to blame for it. */
#ifdef BLK_FEAT_STABLE_WRITES /* a queue limit since 6.11 */
static inline void compat_stable_writes(struct dm_target *ti)
{
}

static inline void compat_stable_limits(struct queue_limits *limits)
{
	limits->features |= BLK_FEAT_STABLE_WRITES;
}
#else
static inline void compat_stable_writes(struct dm_target *ti)
{
	ti->needs_stable_writes = true;
}

static inline void compat_stable_limits(struct queue_limits *limits)
{
}
#endif

#ifndef BLK_STS_INVAL /* since 6.11: what was asked for fits no device of this kind */
#define BLK_STS_INVAL BLK_STS_NOTSUPP
#endif

#endif
