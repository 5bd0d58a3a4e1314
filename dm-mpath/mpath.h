/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The multipath target, as its own files see it.
 *
 *   target.c    the target: what device-mapper calls
 *   table.c     the line of the table
 *   status.c    what the target says of itself
 *   message.c   what it is told
 *   io.c        bios and requests on their way down and back
 *   groups.c    which group and which of its paths
 *   paths.c     paths fail and return
 *   handler.c   SCSI hardware handlers
 *   alua.c      what a SCSI array says of its ports
 *   members.c   paths and groups come and go
 *   identity.c  what may be a path of a map, and whether it still leads to the same disk
 *   scsi.c      what a SCSI disk says of itself when it is asked anew
 *   probe.c     failed paths are tried, and return little by little
 *   deadline.c  a path on which nothing comes back is left
 *   failback.c  back to a group of higher priority
 *   cluster.c   an array that several nodes share
 *   explain.c   why things are as they are
 *   stats.c     what each path has carried
 *   select*.c   which path of a group (pure)
 *   path.c      what one path may do next (pure)
 *   disk_id.c   which disk it is (pure)
 *
 * Locks: `lock` is held for every change of a path's state, of the current group and of what waits.
 * The choice of a path takes none while the current group has a path and its hardware is ready.
 * `mutex` serialises messages with suspend and resume. The lists of groups and of their paths
 * change under the mutex, `members` and the lock together, so each of the three is enough to read
 * them. Who goes down a path without any of them does so under RCU.
 */
#ifndef DM_MPATH_H
#define DM_MPATH_H

#include <linux/atomic.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat/compat.h"
#include "disk_id.h"
#include "path.h"
#include "select.h"
#include "../proto/channel.h"

#define DM_MSG_PREFIX "mpath"

#define INIT_DELAY_DEFAULT_MS 2000
#define NO_TIMEOUT U32_MAX
#define PROBE_MS 1000
#define INIT_DELAY_UNSET U32_MAX /* then 2 s, and the status does not name it */

struct group;
struct mpath;

/*
 * What led where, and when; of the last few. Tries that fail one after the other share one, so that
 * they do not push out what failed the path.
 */
struct path_change {
	u8 state, cause;  /* enum path_state; enum path_event that led there */
	u16 tries;	  /* that failed in a row; U16_MAX: so many or more */
	unsigned long at; /* jiffies */
};
#define PATH_CHANGES 8

enum stats_error { STATS_TIMEOUT, STATS_TRANSPORT, STATS_IO, STATS_DISK, STATS_ERRORS };
#define STATS_BUCKETS 20
/* The first bucket is below 8 us, each other twice as wide as the one before. */
#define STATS_FIRST_LOG2 3

/* Of one CPU; u64 alone. [0] reads, [1] writes. */
struct path_stats {
	u64 count[2], bytes[2];
	u64 errors[STATS_ERRORS];
	u64 took[2][STATS_BUCKETS];
};

struct mpath_path {
	struct mpath *m;
	struct group *group;
	struct dm_dev *dev;
	u8 state;	     /* enum path_state; `m->lock` */
	unsigned long since; /* it takes I/O, or none; jiffies; 0: since the map was made */
	u32 failures;
	struct path_change changes[PATH_CHANGES]; /* a ring; `nr_changes` is the next one's place */
	u32 nr_changes;
	u32 activating;	 /* calls of its handler that are, or are to be, under way; `m->lock` */
	bool trying;	 /* a probe is under way; `m->lock` */
	bool conflicted; /* I/O met a reservation conflict since it was last let in; `m->lock` */
	u64 generation;	 /* so often had registrations changed when a try asked last; probe.c */
	struct disk_id disk;  /* that it led to when it became a path, or when somebody said so */
	struct disk_id found; /* FOREIGN: that it leads to now */
	struct path_stats __percpu *stats;
	struct list_head used; /* of all paths of all maps */
	struct select_path select;
	struct delayed_work activate;
	struct delayed_work probe, ramp;
	struct work_struct probed;
	blk_status_t probe_status;
	u32 probe_delay_ms;    /* of the last try; 0: none since it was well */
	struct list_head list; /* of the group, as the table has it */
};

struct group {
	struct mpath *m;
	u32 number; /* from 1 */
	u32 shared; /* from 0, and the same for as long as it lives */
	bool bypassed;
	int prio; /* higher comes first */
	const struct selector *selector;
	struct select_group select;
	struct select_paths __rcu *paths; /* to choose from */
	struct list_head all;
	struct list_head list; /* of the map */
};

/* What to do with I/O for which there is no path. */
enum no_path { NO_PATH_FAILS, NO_PATH_QUEUES };

/* From the moment when a suspend begins to the resume, or until it is given up. */
enum suspension {
	NOT_SUSPENDED,
	SUSPENSION_GIVES_BACK, /* the core takes I/O back, which waits there */
	SUSPENSION_ENDS_IO,    /* all I/O must end, also what waits for a path */
};

/* When to go back to a group of higher priority. */
enum failback {
	FAILBACK_MANUAL,
	FAILBACK_IMMEDIATE,
	FAILBACK_FOLLOWOVER, /* when it had no path at all before */
	FAILBACK_DELAYED,
};

/* Is the hardware of the current group ready for I/O? */
enum readiness {
	READY,
	READY_WANTED, /* its handler is to be called; I/O waits */
	READYING,     /* it was called */
};

struct mpath {
	struct dm_target *ti;
	enum dm_queue_mode queue_mode;
	struct list_head groups;
	u32 nr_groups;

	spinlock_t lock;
	struct group *current_group;
	struct group *next_group; /* asked for by a message; at the next I/O */
	atomic_t valid_paths;
	enum no_path no_path; /* what is wished; mpath_pathless() says what holds now */
	enum suspension suspension;
	struct timer_list no_path_timer;
	u32 no_path_timeout_ms;	 /* NO_TIMEOUT: as the module's parameter says */
	struct bio_list waiting; /* bios without a path */
	struct bio_list
		spurned; /* those that went early and came back: until no handler is at work */
	u64 waiting_bytes;
	u32 waiting_limit_kib; /* 0: none */
	struct work_struct resubmit;

	/* the hardware handler */
	char *handler;
	char *handler_params;
	bool retain_attached;
	enum readiness readiness;
	bool again_later; /* the next call of the handler waits a while */
	bool no_new_init; /* suspended */
	u32 init_retries, init_delay_ms, init_count;
	u32 initialising; /* paths */
	u32 probe_ms;	  /* between a failure and the first try; 0: multipathd decides */
	u32 probes;	  /* under way */
	bool quiet;	  /* no new ones */
	wait_queue_head_t initialised; /* or a probe has ended */

	u32 path_timeout_ms; /* 0: none */
	struct delayed_work deadline;

	enum failback failback;
	bool failback_said; /* by the table */
	u32 failback_ms, hold_down_ms;
	unsigned long failed_back_at; /* jiffies; 0: not since the last loss */
	struct delayed_work fail_back;
	bool alua; /* it gives the groups their priorities */
	struct delayed_work alua_work;

	char *cluster; /* the array's uuid; NULL: it is not shared */
	struct dm_dirty_log *log;
	bool guest; /* the cluster uses another group */
	bool apart; /* suspended: what the cluster does is of no interest */
	struct delayed_work cluster_work;

	bool complete; /* its table has been read; the handler stays what it is */
	bool force;    /* identity.c does not object */
	bool timed;    /* stats want to know how long I/O takes */
	struct rw_semaphore members;
	struct list_head gone; /* devices that were paths; members.c */

	unsigned long made; /* jiffies */
	struct work_struct event;
	struct mutex mutex;
};

#define IO_WRITES BIT(0)
#define IO_EARLY BIT(1) /* the handler was still at work */

/* Travels with each bio or request. */
struct mpath_io {
	struct mpath_path *path;
	u32 bytes;
	u8 how; /* IO_* */
	u64 began;
};

/* Behind it, with a bio: what it was before it went to a path. */
struct mpath_bio {
	struct mpath_io io;
	struct bvec_iter iter;
	struct block_device *bdev;
	blk_opf_t opf;
	unsigned short flags;
};

/* Probes may sleep for long: what others wait for is not behind them. */
extern struct workqueue_struct *mpath_wq, *mpath_handler_wq, *mpath_probe_wq;
extern unsigned long mpath_no_path_timeout_s;
extern struct page *mpath_probe_page; /* what probes read goes there, and nobody looks at it */

static inline bool path_usable(const struct mpath_path *path)
{
	return path_takes_io(path->state);
}

static inline struct request_queue *path_queue(const struct mpath_path *path)
{
	return bdev_get_queue(path->dev->bdev);
}

static inline const char *map_name(const struct mpath *m)
{
	return dm_table_device_name(m->ti->table);
}

/* What becomes of I/O for which there is no path now. */
enum pathless { PATHLESS_FAILS, PATHLESS_WAITS, PATHLESS_GOES_BACK };

/*
 * Asked once for each: when a suspend is interrupted the core takes nothing back any more, maps
 * what it had put off, and tells the target a moment later. In between the map is in use.
 */
static inline enum pathless mpath_pathless(const struct mpath *m)
{
	enum suspension suspension = READ_ONCE(m->suspension);
	bool waits = READ_ONCE(m->no_path) == NO_PATH_QUEUES && suspension != SUSPENSION_ENDS_IO;

	if ((!waits || suspension != NOT_SUSPENDED) && dm_noflush_suspending(m->ti))
		return PATHLESS_GOES_BACK;
	return waits ? PATHLESS_WAITS : PATHLESS_FAILS;
}

/* table.c */
/* A feature that is a number; the status names it unless it is what it is without being said. */
struct number_feature {
	const char *name;
	size_t offset; /* in struct mpath, of a u32 */
	u32 unsaid;
	struct dm_arg limits;
};
#define KERNEL_NUMBERS 2 /* the first ones, which the kernel's own target knows */
#define NUMBERS 6
extern const struct number_feature mpath_numbers[NUMBERS];
u32 *number_of(struct mpath *m, const struct number_feature *feature);
struct mpath *mpath_create(struct dm_target *ti, unsigned int argc, char **argv);
void mpath_destroy(struct mpath *m);
/* The words of one path: its device and the arguments of the selector. */
int table_read_path(struct mpath_path *path, struct dm_arg_set *as);

/* status.c */
void mpath_status(struct dm_target *ti, status_type_t type, unsigned int status_flags, char *result,
		  unsigned int maxlen);

/* message.c */
int mpath_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		  unsigned int maxlen);

/* io.c */
int mpath_map_bio(struct dm_target *ti, struct bio *bio);
int mpath_end_bio(struct dm_target *ti, struct bio *bio, blk_status_t *error);
int mpath_map_request(struct dm_target *ti, struct request *rq, union map_info *context,
		      struct request **clone);
bool mpath_ready(struct mpath *m);
/* If not: may it go down this path all the same? */
bool mpath_early(const struct mpath_path *path);
void mpath_release_request(struct request *clone, union map_info *context);
int mpath_end_request(struct dm_target *ti, struct request *clone, blk_status_t error,
		      union map_info *context);
/* Looks again at everything that waits for a path. */
void mpath_run_waiting(struct mpath *m);
void mpath_resubmit(struct work_struct *work);
void mpath_set_no_path(struct mpath *m, enum no_path policy);
void mpath_suspension(struct mpath *m, enum suspension suspension);

/* groups.c */
/* `now`: when that was, in ns; 0 where nobody wants to know. */
struct mpath_path *mpath_choose(struct mpath *m, u32 bytes, u64 *now);
bool group_usable(struct group *group);
bool group_early(struct group *group);
void group_bypass(struct group *group, bool bypass);
/* Its hardware is made ready before the next I/O; the lock is held. */
void group_enter(struct mpath *m, struct group *group);
void group_switch(struct mpath *m, struct group *group);
struct group *group_numbered(struct mpath *m, u32 number);
struct mpath_path *path_numbered(struct mpath *m, dev_t number); /* the first on that device */
bool mpath_busy(struct mpath *m);

/* paths.c */
/* The newest change is 1; NULL: so many are not known. */
const struct path_change *path_change_ago(const struct mpath_path *path, u32 n);
/* Somebody said so, and nothing has happened since: it does not return by itself. */
bool path_told_to_fail(const struct mpath_path *path);
void path_fail(struct mpath_path *path, enum path_event why);
void path_reinstate(struct mpath_path *path);
/* It takes I/O again: somebody says so, or a try went well. */
void path_return(struct mpath_path *path, enum path_event why);
/* It may work again: it is tried at once, and returns if that goes well. */
void path_try(struct mpath_path *path, enum path_event why);
/*
 * I/O met a reservation conflict. True: the path is out of use, or was, and the I/O goes down
 * another.
 */
bool path_met_conflict(struct mpath_path *path);
/* A try did, and the path stays out of use. False: no other path helps, so it is to return. */
bool path_stays_unregistered(struct mpath_path *path);
void path_drain(struct mpath_path *path);
void path_undrain(struct mpath_path *path);
/* The lock is held. True: the state has changed. */
bool path_change(struct mpath_path *path, enum path_event event);
void mpath_watch_no_path(struct mpath *m);
void mpath_no_path_timed_out(struct timer_list *timer);

/* members.c */
struct group *group_make(struct mpath *m);
int group_room(struct group *group, u32 paths);
void group_free(struct group *group);
struct mpath_path *path_make(struct group *group);
void path_free(struct mpath_path *path);
void path_link(struct mpath_path *path);
int members_add(struct mpath *m, unsigned int argc, char **argv);
int members_remove(struct mpath *m, const char *device);
void members_forget(struct mpath *m);

/* identity.c */
char *identity_refused(struct mpath_path *path);
void identity_release(struct mpath_path *path);
const char *identity_unfit(const struct mpath_path *path);
/* Notes where it leads, by what the kernel remembers of the disk. */
void identity_note(struct mpath_path *path);
/* Does it still lead there? The disk is asked. May sleep. */
enum disk_verdict identity_ask(const struct mpath_path *path, struct disk_id *now);

/* handler.c */
int handler_attach(struct mpath_path *path, char **error);
void handler_init(struct mpath *m);
bool handler_init_locked(struct mpath *m);
void handler_call(struct mpath_path *path, unsigned long delay); /* in jiffies */
void handler_activate(struct work_struct *work);
void handler_give_up(struct mpath_path *path);
void handler_stop(struct mpath *m);

/* scsi.c */
struct scsi_device;
struct scsi_device *scsi_of(const struct mpath_path *path); /* NULL: it is none */
void scsi_remembered_name(struct scsi_device *sdev, struct disk_id *id);
/* False: no answer. */
bool scsi_ask_id(struct scsi_device *sdev, struct disk_id *id);
bool scsi_ask_registrations(struct scsi_device *sdev, u32 *generation, bool *reserved);

/* alua.c */
void alua_look(struct work_struct *work);
void alua_watch(struct mpath *m);
bool alua_passive(const struct mpath_path *path);
bool alua_open(const struct mpath_path *path);
blk_status_t alua_try(const struct mpath_path *path);

/* probe.c */
#define GENERATION_UNKNOWN U64_MAX
#define TRY_PATIENCE (5 * HZ) /* of a message that wants to know how a try ends */
void probe_later(struct mpath_path *path);
void probe_begin(struct work_struct *work);
void probe_end(struct work_struct *work);
void probe_await(struct mpath_path *path);
void ramp_begin(struct mpath_path *path);
void ramp_on(struct work_struct *work);
void probes_stop(struct mpath *m);
void probes_go_on(struct mpath *m);
void probes_end(struct mpath *m);

/* deadline.c */
void deadline_look(struct work_struct *work);
void deadline_watch(struct mpath *m);

/* failback.c */
void failback_consider(struct mpath_path *path);
void failback_changed(struct mpath *m); /* the priorities */
void failback_lost(struct mpath *m);
void failback_now(struct work_struct *work);

/* cluster.c */
int cluster_open(struct mpath *m);
void cluster_close(struct mpath *m);
void cluster_resume(struct mpath *m);
void cluster_suspend(struct mpath *m);
void cluster_reach(struct group *group);
struct group *cluster_group(struct mpath *m);
bool cluster_may_enter(struct mpath *m);
void cluster_begins(struct mpath *m);
void cluster_failed(struct mpath *m, struct group *group);
void cluster_entered(struct mpath *m);
void cluster_ask(struct mpath *m, struct group *group);
void cluster_look(struct work_struct *work);

/* stats.c */
void stats_error(struct mpath_path *path, blk_status_t status);
void stats_took(struct mpath_path *path, bool writes, u64 ns);

/* `took` in ns; 0: it was not measured. */
static __always_inline void stats_count(struct mpath_path *path, bool writes, u32 bytes, u64 took,
					blk_status_t status)
{
	this_cpu_inc(path->stats->count[writes]);
	this_cpu_add(path->stats->bytes[writes], bytes);
	if (unlikely(status))
		stats_error(path, status);
	if (unlikely(took && READ_ONCE(path->m->timed)))
		stats_took(path, writes, took);
}

unsigned int mpath_stats(struct mpath *m, char *result, unsigned int maxlen);
unsigned int stats_json(struct mpath_path *path, char *result, unsigned int sz,
			unsigned int maxlen);

/* explain.c */
unsigned int mpath_explain(struct mpath *m, char *result, unsigned int maxlen);
unsigned int mpath_json(struct mpath *m, char *result, unsigned int maxlen);

#endif
