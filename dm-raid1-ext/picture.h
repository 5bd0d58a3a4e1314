/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What this node may do with a shared mirror, region by region, and what the daemon is yet to be
 * told: one byte per region. No locks or kernel calls, so that the module and the simulator compile
 * the same file. The caller serialises all calls for one picture.
 *
 * Whatever is to be told waits as a bit of its region: it takes no memory, many go into one frame,
 * and telling twice does no harm. What has to be answered stays until it is, so that the next
 * daemon hears it, too.
 */
#ifndef DM_RAID1_EXT_PICTURE_H
#define DM_RAID1_EXT_PICTURE_H

#include "../proto/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define R_UNSYNCED 0x01 /* the legs may differ: no write before it is copied */
#define R_MARKED 0x02	/* durable in this node's slot, and in use */
#define R_MARK 0x04	/* to be asked for */
#define R_ASKED 0x08	/* asked for */
#define R_CLOSE 0x10	/* the cluster wants to copy it: writes shall end */
#define R_CLEAR 0x20	/* to be told: no write is in flight */
#define R_WANT 0x40	/* to be told: a write waits for its copy */
#define R_LOST 0x80	/* to be told: a leg missed a write */

#define PICTURE_CHUNK \
	1024 /* regions that share a bit of `pending`; their ranges fit into a frame */

struct picture {
	clog_u32 regions;
	unsigned char *flags;
	clog_u32 *pending; /* bits: chunks with something to tell */
	clog_u32 unsynced;
	clog_u32 marks_waiting; /* R_MARK or R_ASKED */
	clog_u32 lost_waiting;
	bool closing;	    /* a region may have R_CLOSE since this was last looked at */
	clog_u32 order;	    /* what the first pending chunk tells next */
	clog_u32 held_next; /* chunk to go on from in telling a new daemon what is in use */
};

static inline clog_u32 picture_chunks(clog_u32 regions)
{
	return (regions + PICTURE_CHUNK - 1) / PICTURE_CHUNK;
}

/* Nothing is known, nothing asked: every region counts as not in sync. */
void picture_reset(struct picture *p);

/* The mirror's side. True: there is something new to tell. */
bool picture_mark(struct picture *p, clog_u32 region);
bool picture_clear(struct picture *p, clog_u32 region);
bool picture_want(struct picture *p, clog_u32 region);
bool picture_lose(struct picture *p, clog_u32 region);

/*
 * The daemon's: SYNCED, UNSYNCED, CLOSE, MARKED or TOLD for one region. True: there is
 * something new to tell.
 */
bool picture_take(struct picture *p, unsigned int type, clog_u32 region);

/*
 * The next thing to tell: its type, HELD's `more`, and up to PICTURE_CHUNK / 2 ranges. Type 0:
 * nothing.
 */
clog_u32 picture_tell(struct picture *p, clog_u16 *type, clog_u32 *more, struct clog_range *ranges);

/* The next daemon is to be told what these regions have to tell, */
void picture_tell_again(struct picture *p, clog_u32 start, clog_u32 count);
/* and before it which regions are in use. */
void picture_tell_held(struct picture *p);

#ifdef __cplusplus
}
#endif
#endif
