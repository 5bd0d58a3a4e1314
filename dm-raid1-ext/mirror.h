/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The mirror target, as its own files see it.
 *
 *   mirror.c   the target: table, status, messages, suspend, the worker
 *   write.c    writes and flushes: warm regions in the submitter's context, the rest by the worker
 *   read.c     reads, balanced over the legs that may serve them
 *   copy.c     regions that are not in sync, several at once
 *   share.c    what other nodes have to say, with a cluster log
 *   scrub.c    regions in sync, compared while the mirror is in use
 *   repair.c   what one leg cannot read is rewritten there
 *   regions.c  the regions in use, in a hash with one lock per bucket
 *   region.c   what one region may do next (pure)
 *   legs.c     health of the legs, the primary
 *   agreement.h  which legs the nodes have agreed to use (pure)
 *   outcome.h  what becomes of a write whose legs have answered (pure)
 *
 * Contexts: map() and the completion of a bio touch only a region's bucket and atomic counters.
 * Everything that asks the log runs on one ordered workqueue per mirror, so marks and clears reach
 * the log in the order in which they were decided.
 */
#ifndef DM_RAID1_EXT_MIRROR_H
#define DM_RAID1_EXT_MIRROR_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/dm-dirty-log.h>
#include <linux/dm-kcopyd.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "cluster_log.h"
#include "compat/compat.h"
#include "outcome.h"
#include "region.h"

#define DM_MSG_PREFIX "raid1-ext"

#define MIRROR_MAX_LEGS (DM_KCOPYD_MAX_REGIONS + 1)
#define MIRROR_MAX_PATHS 65536
#define MIRROR_POOL 64 /* regions and clones that are there when memory is not */

/* What each read on a leg weighs; the most of them on the heaviest still fit in 64 bits. */
#define LEG_PREFERRED (-(1LL << 20)) /* less than a leg weighs that has no read */
#define LEG_BURDEN 16		     /* all its paths are there; with fewer so many times more: */
#define LEG_BURDEN_MAX 64U
#define LEG_CUT_OFF (1LL << 30) /* no path is left: more than any number of reads elsewhere */
#define LEG_FAILED (1LL << 46)	/* likewise; yet what is in sync is good there, too */

/* Why a leg is not healthy; the status letter of the worst one is shown. */
enum leg_error {
	LEG_WRITE_ERROR, /* D */
	LEG_FLUSH_ERROR, /* F */
	LEG_SYNC_ERROR,	 /* S */
	LEG_READ_ERROR,	 /* R */
};

struct leg {
	struct mirror_set *ms;
	struct dm_dev *dev;
	sector_t start; /* on the device */
	unsigned long error_types;
	unsigned long refuses; /* bits: operations that it has refused, as enum req_op */
	atomic_t errors;       /* 0: healthy */
	atomic_t reads;	       /* in flight */
	sector_t next;	       /* where the last read ended: a sequential run stays on its leg */
	s64 burden;	       /* what a read more weighs there */
	unsigned int by_paths; /* the same, if only its paths are looked at */
	atomic_t read_errors;  /* that were borne (repair.c), */
	unsigned long errors_since; /* jiffies */
	unsigned long lacked; /* jiffies, 0: never; as the only leg for a read, by the cluster */
} ____cacheline_aligned_in_smp;

/* A region that is in use: marked, written, waited for or copied. */
struct region_entry {
	struct hlist_node node;
	struct region r;
	u64 index;
	unsigned long used; /* jiffies of the last write */
	bool copied_ok;
	bool repair; /* copied though it is in sync */
	u8 copy_from;
	unsigned long copy_to; /* bits of legs */
	sector_t copied;       /* or being copied */
	bool gently;	       /* copied in small pieces, with a pause afterwards */
	ktime_t copy_began;
	struct bio_list waiting; /* writes, until the state changes */
	struct list_head list;	 /* of the worker: marking, idle or drained */
	struct mirror_set *ms;
};

struct region_bucket {
	spinlock_t lock;
	struct hlist_head head;
};

#define MIRROR_REPAIRS 8

/* A region that some legs could not read, and one that could. */
struct repair {
	u64 index;
	unsigned int good;
	unsigned long bad; /* bits */
};

/* Said by presuspend or its undoing, postsuspend and resume alone. */
enum mirror_use {
	MIRROR_SUSPENDED, /* nothing is in flight */
	MIRROR_IN_USE,
	MIRROR_DRAINS,	   /* being suspended: nothing is held or copied, what was begun ends */
	MIRROR_GIVES_BACK, /* likewise, but what cannot end now goes back to the core */
};

enum scrub_state { SCRUB_IDLE, SCRUB_RUNNING, SCRUB_STOPPED, SCRUB_DONE };

#define SCRUB_LISTED 32

struct scrub {
	struct work_struct work;
	struct mutex lock; /* of messages */
	enum scrub_state state;
	bool repair;
	u64 next; /* region */
	/* regions: */
	u64 compared, differ, repaired, busy, not_in_sync, unreadable, found[SCRUB_LISTED];
	u64 writes_seen;
	unsigned long legs, bad_legs; /* of the last look */
	void *rooms[MIRROR_MAX_LEGS];
};

struct mirror_set {
	struct dm_target *ti;
	struct dm_dirty_log *log;
	struct cluster_log *cluster; /* the same, if other nodes share it; else NULL */
	bool handle_errors, keep_log;
	bool sticky; /* marks stay while a region is warm: no other node decides about it */

	u32 region_sectors;
	unsigned int region_shift;
	u64 regions;

	struct region_bucket *buckets;
	unsigned int bucket_bits;
	atomic_t entries;
	mempool_t entry_pool;
	struct bio_set clones;

	spinlock_t lock; /* the lists below */
	struct bio_list cold, reads, failures, holds;
	struct list_head idle;		/* regions of a log that is not sticky, to be cleared */
	struct list_head drained;	/* CLOSING, nothing in flight: the copy may start */
	struct list_head copied;	/* with their results */
	struct list_head marking, away; /* of the worker alone, with a cluster log */
	struct bio_list undecided;	/* likewise: they wait for the nodes, or for the lease */
	struct agreement agreed; /* likewise, as last looked at; alone, every leg is in use */
	atomic64_t *legs_word;	 /* what is agreed now: of the log, or our own */
	atomic64_t own_legs;
	unsigned long resumed_at;

	struct workqueue_struct *wq; /* ordered: whatever runs on it is the worker */
	struct task_struct *worker;  /* who runs on it now */
	struct work_struct work;
	struct delayed_work again; /* another node copies: ask again later */
	struct delayed_work sweep; /* marks of idle regions end */
	struct work_struct event;

	bool in_sync; /* every region is, on every healthy leg */
	bool leg_failed, log_failed;
	enum mirror_use use;
	unsigned int primary;  /* index of the leg that regions not in sync are read from */
	struct leg *preferred; /* for reads; NULL: none */
	spinlock_t burdens;

	struct dm_kcopyd_client *kcopyd;
	atomic_t copies; /* under way */
	unsigned int copy_from;
	unsigned long copies_told; /* jiffies: when the log was flushed for them */
	wait_queue_head_t copies_ended;
	unsigned long *missed; /* regions that lost their sync here, until every leg is healthy */
	atomic64_t missed_count;
	u64 missed_next;
	u64 rate_kib; /* of copying, per second; 0: as fast as it goes */
	u64 rate_spent;
	unsigned long rate_since;
	struct delayed_work copy_later;
	bool used;		    /* by somebody, so copying gives way */
	unsigned int looks;	    /* in a row that say otherwise */
	unsigned long looked, uses; /* jiffies; what had been read and written then */
	unsigned long pause_ends;   /* jiffies */

	struct repair repairs[MIRROR_REPAIRS]; /* wait for the worker */
	unsigned int nr_repairs;

	struct scrub scrub;

	struct mutex flush_lock;
	bool flushed; /* the legs were, a moment ago */
	struct bio *flush_bios;

	atomic64_t warm_writes, cold_writes, marks, clears, regions_copied, regions_repaired;

	unsigned int nr_legs;
	struct leg legs[];
};

/* Travels with each bio (dm_per_bio_data). */
struct mirror_io {
	struct region_entry *region; /* the write is counted there */
	struct leg *leg;	     /* of a read; NULL: it is not at one */
	struct bvec_iter iter;	     /* of a read, to try it again: before it went to a leg */
	unsigned short flags;
	atomic_t left;
	unsigned long failed, sent; /* bits of legs; of a read READ_ALONE, too */
	unsigned long refused;	    /* of `failed` */
	u64 word;		    /* legs_word when it was sent; of a read with READ_ALONE, too */
	u32 lapse;		    /* of the write lease, when that was looked at */
	blk_status_t status;
};

struct leg_bio {
	struct mirror_io *io;
	struct leg *leg;
	struct bio bio; /* last */
};

static inline struct mirror_io *io_of(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct mirror_io));
}

static inline struct bio *bio_of(struct mirror_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(struct mirror_io));
}

static inline dev_t dev_of(struct mirror_set *ms)
{
	return disk_devt(dm_disk(dm_table_get_md(ms->ti->table)));
}

static inline u64 region_of(struct mirror_set *ms, struct bio *bio)
{
	return dm_target_offset(ms->ti, bio->bi_iter.bi_sector) >> ms->region_shift;
}

static inline sector_t leg_sector(struct mirror_set *ms, struct leg *leg, sector_t sector)
{
	return leg->start + dm_target_offset(ms->ti, sector);
}

/* Is it well, as far as this node can see? */
static inline bool leg_alive(struct leg *leg)
{
	return !atomic_read(&leg->errors);
}

static inline u64 legs_word(struct mirror_set *ms)
{
	return atomic64_read(ms->legs_word);
}

static inline struct leg *primary_leg(struct mirror_set *ms)
{
	return &ms->legs[READ_ONCE(ms->primary)];
}

static inline struct write_sent sent_of(const struct mirror_io *io)
{
	return (struct write_sent){ .word = io->word,
				    .lapse = io->lapse,
				    .sent = io->sent,
				    .failed = io->failed,
				    .refused = io->refused };
}

/*
 * What a leg hears of a request: what is to be done, how urgent it is, and what must be durable.
 * All else is between the mirror and whoever sent it, who may poll for the end of what he sent, or
 * a mark of another driver's, which would be taken for one's own.
 */
#define LEG_HEARS                                                                           \
	(REQ_OP_MASK | REQ_SYNC | REQ_META | REQ_PRIO | REQ_IDLE | REQ_FUA | REQ_PREFLUSH | \
	 REQ_RAHEAD | REQ_BACKGROUND | REQ_NOUNMAP)
#define OF_THE_BIO (REQ_ALLOC_CACHE | REQ_INTEGRITY) /* where it and what it carries came from */

static inline void keep_what_leg_hears(struct bio *bio)
{
	bio->bi_opf &= LEG_HEARS | OF_THE_BIO;
}

/* Operations that a device need not have. */
static inline bool is_optional(enum req_op op)
{
	return op == REQ_OP_DISCARD || op == REQ_OP_SECURE_ERASE || op == REQ_OP_WRITE_ZEROES;
}

/*
 * The error says something of the operation, and nothing of the leg. A SCSI disk that does not know
 * a command calls that a TARGET error, and so it does other things.
 */
static inline bool is_refusal(enum req_op op, blk_status_t error)
{
	return error == BLK_STS_NOTSUPP || error == BLK_STS_INVAL ||
	       (error == BLK_STS_TARGET && is_optional(op));
}

static inline bool in_use(struct mirror_set *ms)
{
	return READ_ONCE(ms->use) == MIRROR_IN_USE;
}

/*
 * What is to become of what cannot end now? The core, which sends what it is given back to the next
 * table, takes nothing more when a suspend is interrupted, and tells the target a moment later: in
 * between the mirror is in use.
 */
static inline enum suspend_way suspend_way(struct mirror_set *ms)
{
	switch (READ_ONCE(ms->use)) {
	case MIRROR_IN_USE:
		return SUSPEND_NONE;
	case MIRROR_GIVES_BACK:
		return dm_noflush_suspending(ms->ti) ? SUSPEND_GIVES_BACK : SUSPEND_NONE;
	default:
		return SUSPEND_DRAINS;
	}
}

static inline bool gives_back(struct mirror_set *ms)
{
	return suspend_way(ms) == SUSPEND_GIVES_BACK;
}

static inline void wake_worker(struct mirror_set *ms)
{
	queue_work(ms->wq, &ms->work);
}

static inline void worker_begins(struct mirror_set *ms)
{
	WARN_ON_ONCE(READ_ONCE(ms->worker));
	WRITE_ONCE(ms->worker, current);
}

static inline void worker_ends(struct mirror_set *ms)
{
	WRITE_ONCE(ms->worker, NULL);
}

/* Regions in use, the lists that they are on and the log are the worker's. */
static inline void assert_worker(struct mirror_set *ms)
{
	WARN_ON_ONCE(READ_ONCE(ms->worker) != current);
}

/* mirror.c */
void queue_for_worker(struct mirror_set *ms, struct bio_list *list, struct bio *bio);
void hold_bio(struct mirror_set *ms, struct bio *bio);
/* In its turn; waits for the end. Not from the worker itself. */
void by_worker(struct mirror_set *ms, void (*what)(struct mirror_set *ms));
extern unsigned int mirror_idle_ms, mirror_max_warm, mirror_parallel_copies;

/* regions.c */
int regions_init(struct mirror_set *ms);
void regions_exit(struct mirror_set *ms);
/* The fast path: a region that is not in use answers REGION_ASK. */
enum region_way regions_enter(struct mirror_set *ms, u64 index, struct region_entry **entry);
void regions_leave(struct mirror_set *ms, struct region_entry *entry);
/* Never fails: it waits for memory. */
struct region_entry *regions_get(struct mirror_set *ms, u64 index);
bool regions_step(struct mirror_set *ms, struct region_entry *entry, enum region_event event);
/* The same; its bucket's lock is held. */
bool regions_step_locked(struct mirror_set *ms, struct region_entry *entry,
			 enum region_event event);
struct bio_list regions_step_all(struct mirror_set *ms, struct region_entry *e,
				 enum region_event event);
/* Lets writes in that were waiting for the region: they start over. */
void regions_release(struct mirror_set *ms, struct region_entry *entry);
/* Forgets the entry if nothing is in flight and nothing waits. True: it is gone. */
bool regions_put(struct mirror_set *ms, struct region_entry *entry, bool clear);
/* Is there a region without a write in flight that was not written for so long? */
bool regions_idle(struct mirror_set *ms, unsigned long idle);
void regions_sweep(struct mirror_set *ms, unsigned long idle, bool everything);
/* Is a write in flight there? Any process context. */
bool regions_writing(struct mirror_set *ms, u64 index);
struct region_bucket *region_bucket(struct mirror_set *ms, u64 index);
/* Every region in use: <region>:<state>:<writes in flight>. */
void regions_report(struct mirror_set *ms, char *result, unsigned int maxlen);

/* write.c */
int mirror_map_write(struct mirror_set *ms, struct bio *bio);
void mirror_cold_writes(struct mirror_set *ms, struct bio_list *writes);
void send_marked(struct mirror_set *ms, struct region_entry *e, struct bio_list *ready);
void mirror_failures(struct mirror_set *ms, struct bio_list *failures);
void end_write(struct mirror_set *ms, struct bio *bio, blk_status_t status);
enum sync_loss { LEG_HAS_FAILED, LEGS_ARE_WELL };
void lose_sync(struct mirror_set *ms, struct region_entry *e, enum sync_loss why);
void abandon_write(struct mirror_set *ms, struct bio *bio, blk_status_t status);
void unsync_warm(struct mirror_set *ms, enum sync_loss why);
int mirror_flush_legs(struct dm_target *ti);

/* read.c */
int mirror_map_read(struct mirror_set *ms, struct bio *bio);
/* With an error, now or before. */
int mirror_end_read(struct mirror_set *ms, struct bio *bio, blk_status_t *error);
void mirror_queued_reads(struct mirror_set *ms, struct bio_list *reads);

/* share.c */
void share_init(struct mirror_set *ms);
void share_work(struct mirror_set *ms);
void share_ask(struct mirror_set *ms, struct region_entry *e);
void share_end(struct mirror_set *ms);
void share_failure(struct mirror_set *ms, struct bio *bio);
bool share_may_begin(struct mirror_set *ms);
bool share_may_send(struct mirror_set *ms, struct mirror_io *io);
bool share_holds_lease(struct mirror_set *ms, u32 *lapses);

/* copy.c */
void copies_work(struct mirror_set *ms);
void copy_missed(struct mirror_set *ms, u64 index);
void copy_to_repair(struct mirror_set *ms, struct repair *repair);
void copy_later(struct work_struct *work);

/* repair.c */
bool repair_bears(struct leg *leg);
bool repair_ask(struct mirror_set *ms, u64 index, unsigned int good, unsigned long bad);
void repairs_work(struct mirror_set *ms);

/* scrub.c */
void scrub_init(struct mirror_set *ms);
int scrub_start(struct mirror_set *ms, bool with_repair);
void scrub_stop(struct mirror_set *ms);
void scrub_pause(struct mirror_set *ms);
void scrub_resume(struct mirror_set *ms);
unsigned int scrub_report(struct mirror_set *ms, char *result, unsigned int maxlen);

/* legs.c */
void leg_fail(struct leg *leg, enum leg_error why);
void legs_reset(struct mirror_set *ms, unsigned long legs);
/* Somebody says how many of the paths to it are left; of 0: it has none to lose. */
void leg_paths(struct leg *leg, unsigned int usable, unsigned int total);
/* Reads go there while it is well; NULL: to all of them. */
void legs_prefer(struct mirror_set *ms, struct leg *leg);
bool legs_healthy(struct mirror_set *ms);
char leg_letter(struct leg *leg);

#endif
