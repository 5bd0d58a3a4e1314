/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The dirty log `cluster`, as its own files and the mirror target see it.
 *
 *   log_cluster.c  the log: one byte per region, what may be answered without asking, what waits to
 *                  be told
 *   log_groups.c   the log of an array's groups of paths
 *   channel.c      the device on which clogd is told and answers
 *
 * A mirror that registers itself as client never blocks on the log: it asks for marks and looks for
 * them when there is news.
 */
#ifndef DM_RAID1_EXT_CLUSTER_LOG_H
#define DM_RAID1_EXT_CLUSTER_LOG_H

#include <linux/device-mapper.h>
#include <linux/dm-dirty-log.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "agreement.h"
#include "grouping.h"
#include "picture.h"

#define CLUSTER_REPAIRS 8 /* that one log asks for at once */

/* A region that these legs (bits) cannot be read in. */
struct cluster_repair {
	u32 region, bad;
	bool told;
};

enum control_state { CONTROL_NONE, CONTROL_QUEUED, CONTROL_ASKED, CONTROL_ANSWERED };

struct cluster_log {
	struct dm_dirty_log *dm;
	struct dm_target *ti;
	struct dm_dev *device; /* log disk; NULL: the log is in memory */
	u32 id;
	char uuid[DM_UUID_LEN];
	const char *extra;     /* "", " sync" or " nosync" */
	const char *userspace; /* the table has such a line, which ends so; else NULL */
	bool integrated_flush; /* it said so */
	u32 region_sectors;

	spinlock_t lock; /* everything below */
	struct picture picture;
	bool live; /* between resume and postsuspend */
	bool active, primary_only, log_failed;
	unsigned long lease_until; /* jiffies */
	u32 lapses;		   /* cluster_log_lapses() */
	unsigned int control;	   /* enum clog_frame_type */
	enum control_state control_state;
	u32 control_serial;
	int control_error;
	bool known;	 /* the daemon has heard of this log */
	bool say_create; /* the daemon is new: it is to hear of this log */
	bool say_resume;

	struct agreement legs; /* legs.legs 0: the mirror does not follow it */
	atomic64_t legs_word;  /* agreement_word() of it */
	bool legs_news;
	bool say_follows;
	u32 follows; /* epoch */
	bool say_rate;
	u32 rate_kib;
	u32 legs_failed, legs_forced, legs_restore, legs_retry; /* bits */
	u32 failed_told;					/* of legs_failed */
	bool was_active;					/* since it was resumed */
	u32 paused; /* not 0: reads of what is not in sync wait; the serial of that */
	bool seen;  /* such a read was answered since everything was last in sync */
	bool say_paused;
	struct cluster_repair repairs[CLUSTER_REPAIRS];
	unsigned int nr_repairs;

	bool grouped; /* it is of an array's groups: */
	struct grouping grouping;
	unsigned long left_at; /* jiffies; the last daemon */

	wait_queue_head_t waiters;
	void (*news)(void *context); /* of a mirror that does not block; `lock` is held */
	void *context;

	/* Of the worker of a mirror that blocks: it was let into this region, and others before. */
	bool let_in;
	u64 let_in_region;

	struct list_head dirty; /* of the channel */
};

/* ---- for the mirror ---- */

/* NULL: the log is of another type. */
struct cluster_log *cluster_log_of(struct dm_dirty_log *dm);
/*
 * A log by the line of the type `userspace` that libdevmapper emits for clustered ones, and shown
 * as such. NULL: the line means something else, or clogd is not there.
 */
struct dm_dirty_log *cluster_log_by_userspace_line(struct dm_target *ti,
						   int (*flush_callback)(struct dm_target *ti),
						   unsigned int argc, char **argv);
void cluster_log_set_client(struct cluster_log *l, unsigned int legs, void (*news)(void *context),
			    void *context);

/* I4: the write lease. What was sent before it ran out ends in time for those who wait for that. */
static inline bool cluster_log_may_write(const struct cluster_log *l)
{
	return READ_ONCE(l->active) && time_before(jiffies, READ_ONCE(l->lease_until));
}

/* How often the lease was had anew after it had run out. */
static inline u32 cluster_log_lapses(const struct cluster_log *l)
{
	return READ_ONCE(l->lapses);
}

/* May the region be read from any leg, and marked? */
static inline bool cluster_log_in_sync(const struct cluster_log *l, u64 region)
{
	return READ_ONCE(l->active) && !READ_ONCE(l->primary_only) &&
	       !(READ_ONCE(l->picture.flags[region]) & R_UNSYNCED);
}

enum cluster_mark { CLUSTER_MARK_NONE, CLUSTER_MARK_WAITS, CLUSTER_MARKED };

void cluster_log_mark(struct cluster_log *l, u64 region);
enum cluster_mark cluster_log_marked(const struct cluster_log *l, u64 region);
void cluster_log_clear(struct cluster_log *l, u64 region);
void cluster_log_want(struct cluster_log *l, u64 region);
/* It loses its sync, for all nodes, as soon as the daemon has heard. */
void cluster_log_lose(struct cluster_log *l, u64 region);

/* No read of what is not in sync may be answered now: such a read waits for news. */
static inline bool cluster_log_paused(const struct cluster_log *l)
{
	return smp_load_acquire(&l->paused); /* what was told before it went is known, too */
}

/*
 * A read of what is not in sync has come back from the primary. Any context. False: it may not be
 * answered, for the nodes are deciding about that leg, and it may be the only one that has this.
 */
bool cluster_log_show(struct cluster_log *l);

/*
 * These legs (bits) cannot be read somewhere in the region, which is in sync; the cluster is to
 * rewrite it there from one that can. Asked until the daemon has seen to it. False: it is asked for
 * already, or too much of it.
 */
bool cluster_log_repair(struct cluster_log *l, u64 region, u32 bad);

/* Of copying, by all nodes together; 0: as fast as it goes. */
void cluster_log_rate(struct cluster_log *l, u32 kib_per_s);

/* True if there is news of the legs since the last call. */
bool cluster_log_legs(struct cluster_log *l, struct agreement *legs);
/* Whatever is begun from now on keeps to the epoch. */
void cluster_log_follows(struct cluster_log *l, u32 epoch);
/* Bits of legs: a write failed there; the administrator gives them up, or says that they are well.
 */
void cluster_log_legs_failed(struct cluster_log *l, u32 legs);
void cluster_log_legs_forced(struct cluster_log *l, u32 legs);
void cluster_log_legs_restore(struct cluster_log *l, u32 legs);
/* Bits of legs that may be tried again, once. */
u32 cluster_log_legs_retry(struct cluster_log *l);

/* True once after a region was asked to be closed. */
bool cluster_log_news_of_closing(struct cluster_log *l);

static inline bool cluster_log_unsynced(const struct cluster_log *l, u64 region)
{
	return READ_ONCE(l->picture.flags[region]) & R_UNSYNCED;
}

static inline bool cluster_log_closing(const struct cluster_log *l, u64 region)
{
	return READ_ONCE(l->picture.flags[region]) & R_CLOSE;
}

/* ---- for both types of log ---- */

struct cluster_log *cluster_log_make(struct dm_dirty_log *dm, struct dm_target *ti,
				     const char *uuid);
/* By its own parameters, `picture.regions` among them; it is freed if that fails. */
int cluster_log_open(struct cluster_log *l);
void cluster_log_close(struct dm_dirty_log *dm);
int cluster_log_suspend(struct dm_dirty_log *dm);
int cluster_log_resume(struct dm_dirty_log *dm);

int log_groups_init(void);
void log_groups_exit(void);

/* ---- between the log and the channel ---- */

int channel_init(void);
void channel_exit(void);
int channel_add(struct cluster_log *l);
void channel_remove(struct cluster_log *l);
bool channel_is_open(void);
void channel_poke(struct cluster_log *l); /* it has something to tell; lock held or not */

/* Asks and waits; -ENOTCONN: no daemon, or it went away meanwhile; -EINTR: killed (CREATE). */
int log_control(struct cluster_log *l, unsigned int type);
/* One frame into `room` (at least CLOG_FRAME_MAX); 0: nothing to tell. */
size_t log_compose(struct cluster_log *l, void *room);
/* A frame of the daemon's, its size already checked. -EINVAL: nonsense. */
struct clog_frame;
int log_take(struct cluster_log *l, const struct clog_frame *frame, const void *items);
void log_daemon_left(struct cluster_log *l);

#endif
