/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one region of a mirror may do next: states, events and one table. No locks, lists or kernel
 * calls, so that the module, the unit tests and the simulator compile the same file. The caller
 * serialises all calls for one region.
 *
 *              MARK            MARKED
 *     CLEAN ─────────► MARKING ──────► WARM ──┐ UNSYNC (a leg missed a write)
 *      ▲ ▲ └─ UNSYNC ─► UNSYNCED ◄────────────┘
 *      │ │                  │ COPY (also from CLEAN and WARM)
 *      │ │ COPIED           ▼        DRAINED
 *      │ └──── COPYING ◄─ CLOSING ◄───┘
 *      └ UNMARK: from WARM and UNSYNCED, when no write is in flight
 *
 *     CLEAN ─ AWAIT ─► AWAY ─ BACK ─► CLEAN, and CLOSING ─ HAND_OVER ─► AWAY where a cluster copies
 *
 * Invariants, checked by region_step():
 *  I1  a write goes to the legs only from WARM (its mark is durable) or UNSYNCED (the log knows
 * that the legs may differ); I2  a region is COPYING only while no write is in flight in it, and
 * none enters before the copy has ended.
 */
#ifndef DM_RAID1_EXT_REGION_H
#define DM_RAID1_EXT_REGION_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum region_state {
	REGION_CLEAN,	 /* nothing marked, nothing in flight */
	REGION_MARKING,	 /* the log was asked for a mark; writes wait */
	REGION_WARM,	 /* marked: writes go to every leg at once */
	REGION_UNSYNCED, /* the legs may differ: writes go to the primary alone, unmarked */
	REGION_CLOSING,	 /* a copy is due: new writes wait, those in flight end */
	REGION_COPYING,	 /* being copied: writes wait */
	REGION_AWAY,	 /* the cluster copies it: writes wait */
	REGION_STATES
};

enum region_event {
	REGION_MARK,	    /* a write wants in and the log says: in sync */
	REGION_MARKED,	    /* the mark is durable */
	REGION_MARK_FAILED, /* the log failed */
	REGION_UNSYNC,	    /* the log says: not in sync, or a leg missed a write */
	REGION_COPY,	    /* this node is to copy it */
	REGION_DRAINED,	    /* the last write in flight has ended */
	REGION_COPIED,
	REGION_COPY_FAILED,
	REGION_UNMARK,	  /* idle for long enough */
	REGION_AWAIT,	  /* the log says: the cluster is to copy it first */
	REGION_HAND_OVER, /* the last write in flight has ended, the cluster copies it */
	REGION_BACK,	  /* it has been copied */
	REGION_EVENTS
};

enum region_way {
	REGION_WAIT,	  /* until the state changes */
	REGION_ASK,	  /* the log has to be asked first */
	REGION_EVERY_LEG, /* and it is counted as in flight */
	REGION_PRIMARY,	  /* likewise */
};

struct region {
	unsigned char state;  /* enum region_state */
	unsigned int pending; /* writes in flight */
};

/*
 * Where a write to the region may go. EVERY_LEG and PRIMARY have counted it: region_leave() is due
 * when it has ended.
 */
enum region_way region_enter(struct region *r);

/* A write has ended. True: it was the last one and a copy waits for it (REGION_DRAINED is due). */
bool region_leave(struct region *r);

/* False: the event is not possible in this state; nothing changed. */
bool region_step(struct region *r, enum region_event event);

/* For messages and tests. */
const char *region_state_name(enum region_state state);

#ifdef __cplusplus
}
#endif
#endif
