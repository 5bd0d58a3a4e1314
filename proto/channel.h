/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the kernel's dirty log `cluster` (dm-raid1-ext/log_cluster.c) and clogd: frames on the character device /dev/clogd, read and
 * written whole, several at once. Both ends run on one machine, so numbers are in its byte order.
 *
 * A frame is the header and `count` items: bytes of text (CREATE), or ranges of regions. Frames of one log keep their order in each
 * direction. What the kernel asks is kept by it until it is answered: after the device was opened it tells everything again, so that a
 * daemon that was restarted misses nothing, and nothing is lost with a daemon.
 *
 * Kernel to daemon: CREATE, RESUME, SUSPEND and DESTROY are answered by ANSWER with their serial. MARK is answered by MARKED for
 * each region, WANT by SYNCED when the region is copied, LOST by TOLD, REPAIR by TAKEN. CLEAR is not answered.
 * Daemon to kernel: SYNCED and UNSYNCED keep the kernel's picture of what may be read from any leg and marked; CLOSE asks for writes in
 * these regions to end, for they are to be copied; the kernel answers CLEAR when they have. STATE with `active` is the write lease: when it
 * runs out, nothing more is written until it is renewed (invariant I4).
 * PAUSE is for while the cluster decides about the primary, of which a node that was lost may have left content that no other leg has: what
 * nobody has seen of it may go.
 * LEGS says which legs are in use: the kernel answers FOLLOWS once whatever it starts keeps to it. What was written without a leg that an
 * earlier epoch had may end only under an epoch that is confirmed (invariant I3).
 * A log of groups (dm-mpath) has no regions: GROUPS says which groups of paths this node reaches and which it wants the array to use, GROUP
 * which the cluster uses, and whether this node may now switch the array; SWITCHED ends that.
 */
#ifndef PROTO_CHANNEL_H
#define PROTO_CHANNEL_H

#ifdef __KERNEL__
#include <linux/types.h>
typedef __u8 clog_u8;
typedef __u16 clog_u16;
typedef __u32 clog_u32;
#else
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
typedef uint8_t clog_u8;
typedef uint16_t clog_u16;
typedef uint32_t clog_u32;
#endif

#define CLOG_CHANNEL_DEVICE "clogd" /* under /dev */
#define CLOG_CHANNEL_VERSION 3
#define CLOG_FRAME_MAX 16384 /* bytes of one frame; a read must offer at least as much */
#define CLOG_RANGES_MAX 2000 /* ranges of one frame */
#define CLOG_LEASE_MAX_MS 60000

enum clog_frame_type {
	/* kernel to daemon */
	CLOG_HELLO = 1, /* first frame after open: `value` is the version, `serial` the number of logs that follow */
	CLOG_CREATE = 2, /* text: "<uuid>\0<ctr string>\0"; in use already: value CLOG_CREATE_ bits, serial the epoch of its legs */
	CLOG_DESTROY = 3,
	CLOG_RESUME = 4, /* value: its legs; 0: it does not follow LEGS */
	CLOG_SUSPEND = 5,
	CLOG_MARK = 6,
	CLOG_CLEAR = 7,
	CLOG_WANT = 8,
	CLOG_LOST = 9,
	CLOG_HELD = 10, /* after open: in all other regions no write is in flight, whatever was marked; value 1: more of these follow */
	CLOG_LEGS_FAILED = 11, /* value: bits of legs that a write failed on; said again until they are away or tried again */
	CLOG_LEGS_FORCED = 12, /* value: bits of legs that the administrator gives up */
	CLOG_LEGS_RESTORE = 13, /* value: bits of legs that the administrator says are well */
	CLOG_FOLLOWS = 14,	/* serial: the epoch of LEGS */
	CLOG_RATE = 15,		/* value: KiB/s that all nodes together may copy; 0: as fast as it goes */
	CLOG_GROUPS = 16, /* value: bits of the groups of which a path can be used here; serial: CLOG_GROUPS_ fields */
	CLOG_SWITCHED = 17, /* serial: the turn of GROUP; value: CLOG_SWITCH_, how it has ended */
	CLOG_REPAIR = 18, /* serial: a region in sync; value: bits of legs that it cannot be read from, though from another */
	CLOG_PAUSED = 19, /* serial: that of PAUSE; value: 1 if such a read was answered since everything was in sync, else 0 */
	/* daemon to kernel */
	CLOG_ANSWER = 32, /* value: 0 or a positive errno */
	CLOG_STATE = 33, /* value: CLOG_STATE_ bits; serial: lease in ms */
	CLOG_SYNCED = 34,
	CLOG_UNSYNCED = 35,
	CLOG_CLOSE = 36,
	CLOG_MARKED = 37,
	CLOG_TOLD = 39,
	CLOG_LEGS = 40,	 /* value: CLOG_LEGS_ bits; serial: epoch */
	CLOG_RETRY = 41, /* value: bits of legs on which what failed may be tried again */
	CLOG_GROUP = 42, /* value: CLOG_GROUP_ fields; serial: the turn, one more with each grant */
	CLOG_TAKEN = 43, /* serial: a region: it is copied from a leg that can be read, or that is of no use any more */
	CLOG_PAUSE = 44, /* serial not 0: from now on no read of what is not in sync is answered; 0: they go on */
};

#define CLOG_STATE_ACTIVE 1u	   /* writes are allowed for the lease */
#define CLOG_STATE_PRIMARY_ONLY 2u /* a node is lost and what it had marked is not known yet: read the primary alone */
#define CLOG_STATE_LOG_FAILED 4u

/* Of CREATE: bit 0 in use, 8-11 how many legs follow LEGS, 12-20 those that have missed writes, 21-24 the primary */
#define CLOG_CREATE_IN_USE 1u
#define CLOG_CREATE_LEGS_SHIFT 8
#define CLOG_CREATE_AWAY_SHIFT 12
#define CLOG_CREATE_PRIMARY_SHIFT 21

#define CLOG_LEGS_MAX 9
#define CLOG_LEGS_MASK ((1u << CLOG_LEGS_MAX) - 1)
#define CLOG_LEGS_WRITTEN_SHIFT 9 /* bits 0-8: legs that may be read; 9-17: that are written; 18-21: the primary's number */
#define CLOG_LEGS_PRIMARY_SHIFT 18
#define CLOG_LEGS_PRIMARY_MASK 15u
#define CLOG_LEGS_CONFIRMED (1u << 31) /* no node reads a leg that is not written any more */

/* Groups are numbers from 0 to CLOG_GROUPS_MAX - 1, the same on every node; CLOG_GROUP_NONE is none of them. */
#define CLOG_GROUPS_MAX 32
#define CLOG_GROUP_NONE 63u
#define CLOG_SWITCH_FAILED 0u
#define CLOG_SWITCH_DONE 1u
#define CLOG_SWITCH_DECLINED 2u /* the node no longer wants it */
#define CLOG_SWITCH_BEGINS 3 /* between dm-mpath and its log alone: set_region_sync() says so first */
#define CLOG_GROUPS_SAID_SHIFT 16 /* bits 0-5: the group that is wanted; 16-31: counts what was said */
#define CLOG_GROUP_GRANTED_SHIFT 6 /* bits 0-5: the group in use; 6-11: the one to which this node may switch */
#define CLOG_GROUP_BUSY (1u << 12) /* a node is switching */
#define CLOG_GROUP_HEARD_SHIFT 16 /* bits 16-31: the last GROUPS of this node that counts in this */

struct clog_frame {
	clog_u32 bytes; /* header and items, a multiple of 4 */
	clog_u16 type;	/* enum clog_frame_type */
	clog_u16 count; /* items: ranges, or bytes of text (padded to 4) */
	clog_u32 log;	/* the kernel's number for the log */
	clog_u32 serial;
	clog_u32 value;
};

struct clog_range {
	clog_u32 start;
	clog_u32 count; /* at least 1 */
};

#ifndef __KERNEL__
static_assert(sizeof(struct clog_frame) == 20 && sizeof(struct clog_range) == 8, "the channel's layout is fixed");
#endif

#endif
