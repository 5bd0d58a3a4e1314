/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the kernel's dirty log `cluster` (dm-raid1-ext/log_cluster.c) and clogd: frames on the character device /dev/clogd, read and
 * written whole, several at once. Both ends run on one machine, so numbers are in its byte order.
 *
 * A frame is the header and `count` items: bytes of text (CREATE), or ranges of regions. Frames of one log keep their order in each
 * direction. What the kernel asks is kept by it until it is answered: after the device was opened it tells everything again, so that a
 * daemon that was restarted misses nothing, and nothing is lost with a daemon.
 *
 * Kernel to daemon: CREATE, RESUME, SUSPEND and DESTROY are answered by ANSWER with their serial. MARK is answered by MARKED or REFUSED for
 * each region, WANT by SYNCED when the region is copied, LOST by TOLD. CLEAR is not answered.
 * Daemon to kernel: SYNCED and UNSYNCED keep the kernel's picture of what may be read from any leg and marked; CLOSE asks for writes in
 * these regions to end, for they are to be copied; the kernel answers CLEAR when they have. STATE with `active` is the write lease: when it
 * runs out, nothing more is written until it is renewed (invariant I4).
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
#include <stdint.h>
typedef uint8_t clog_u8;
typedef uint16_t clog_u16;
typedef uint32_t clog_u32;
#endif

#define CLOG_CHANNEL_DEVICE "clogd" /* under /dev */
#define CLOG_CHANNEL_VERSION 1
#define CLOG_FRAME_MAX 16384 /* bytes of one frame; a read must offer at least as much */
#define CLOG_RANGES_MAX 2000 /* ranges of one frame */
#define CLOG_LEASE_MAX_MS 60000

enum clog_frame_type {
	/* kernel to daemon */
	CLOG_HELLO = 1, /* first frame after open: `value` is the version, `serial` the number of logs that follow */
	CLOG_CREATE = 2, /* text: "<uuid>\0<ctr string>\0"; value 1: it is in use already */
	CLOG_DESTROY = 3,
	CLOG_RESUME = 4, /* value 1: the mirror copes with a refused mark, else marks are held until they can be had */
	CLOG_SUSPEND = 5,
	CLOG_MARK = 6,
	CLOG_CLEAR = 7,
	CLOG_WANT = 8,
	CLOG_LOST = 9,
	CLOG_HELD = 10, /* after open: in all other regions no write is in flight, whatever was marked; value 1: more of these follow */
	/* daemon to kernel */
	CLOG_ANSWER = 32, /* value: 0 or a positive errno */
	CLOG_STATE = 33, /* value: CLOG_STATE_ bits; serial: lease in ms */
	CLOG_SYNCED = 34,
	CLOG_UNSYNCED = 35,
	CLOG_CLOSE = 36,
	CLOG_MARKED = 37,
	CLOG_REFUSED = 38,
	CLOG_TOLD = 39,
};

#define CLOG_STATE_ACTIVE 1u	   /* writes are allowed for the lease */
#define CLOG_STATE_PRIMARY_ONLY 2u /* a node is lost and what it had marked is not known yet: read the primary alone */
#define CLOG_STATE_LOG_FAILED 4u

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
