// SPDX-License-Identifier: GPL-2.0
/*
 * The target: table line, status, messages, suspend and resume, and the worker. Table, status and
 * events are those of the kernel's own `mirror` target (1.14), so that LVM, dmeventd and pvmove
 * need not know which one they have.
 *
 *   mirror <log> <#log args> <log args> <#legs> {<device> <start>}
 *          [<#features> handle_errors [keep_log]]
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "mirror.h"
#include "selftest.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static char *target_name = "mirror";
module_param(target_name, charp, 0444);
MODULE_PARM_DESC(target_name,
		 "name of the target; another one lets it be loaded beside the kernel's own");

unsigned int mirror_idle_ms = 10000;
module_param_named(idle_ms, mirror_idle_ms, uint, 0644);
MODULE_PARM_DESC(idle_ms, "a region's mark ends when it was not written for so long (ms)");

unsigned int mirror_max_warm = 16384;
module_param_named(max_warm, mirror_max_warm, uint, 0644);
MODULE_PARM_DESC(max_warm,
		 "marked regions of one mirror beyond which idle ones lose their mark at once");

unsigned int mirror_parallel_copies = 8;
module_param_named(parallel_copies, mirror_parallel_copies, uint, 0644);
MODULE_PARM_DESC(parallel_copies, "regions of one mirror that are copied at once");

DECLARE_DM_KCOPYD_THROTTLE_WITH_MODULE_PARM(
	raid1_resync_throttle, "A percentage of time allocated for raid resynchronization");

/* ---- the worker ---- */

/*
 * The worker is woken under the lock: once that is let go the bio may have ended, and the mirror
 * may be gone. So it is wherever something is left for the worker.
 */
void queue_for_worker(struct mirror_set *ms, struct bio_list *list, struct bio *bio)
{
	unsigned long flags;

	spin_lock_irqsave(&ms->lock, flags);
	if (bio_list_empty(list))
		wake_worker(ms);
	bio_list_add(list, bio);
	spin_unlock_irqrestore(&ms->lock, flags);
}

/* Until the table is replaced, or `restore` lets the write be tried again. */
void hold_bio(struct mirror_set *ms, struct bio *bio)
{
	struct mirror_io *io = io_of(bio);
	enum suspend_way way;

	if (io->region) {
		regions_leave(ms, io->region);
		io->region = NULL;
	}
	spin_lock_irq(&ms->lock);
	way = suspend_way(ms);
	if (way == SUSPEND_NONE)
		bio_list_add(&ms->holds, bio);
	spin_unlock_irq(&ms->lock);
	if (way == SUSPEND_NONE)
		return;
	bio->bi_status = way == SUSPEND_GIVES_BACK ? BLK_STS_DM_REQUEUE : BLK_STS_IOERR;
	bio_endio(bio);
}

/*
 * Ends marks. What the legs acknowledged must be durable before: a mark that is gone says that the
 * legs are equal after any crash.
 */
static void end_marks(struct mirror_set *ms, unsigned long idle, bool everything)
{
	assert_worker(ms);
	if (!atomic_read(&ms->entries))
		return;
	if (!ms->cluster && mirror_flush_legs(ms->ti)) { /* clogd flushes them itself */
		unsync_warm(ms, LEG_HAS_FAILED);
		return;
	}
	ms->flushed = true; /* the log would have the legs flushed once more */
	regions_sweep(ms, idle, everything);
	if (ms->log->type->flush(ms->log))
		ms->log_failed = true;
	ms->flushed = false;
}

static void sweep(struct work_struct *work)
{
	struct mirror_set *ms = container_of(to_delayed_work(work), struct mirror_set, sweep);
	unsigned long idle = msecs_to_jiffies(READ_ONCE(mirror_idle_ms));

	worker_begins(ms);
	if (regions_idle(ms, idle))
		end_marks(ms, idle, false);
	worker_ends(ms);
	if (in_use(ms))
		queue_delayed_work(ms->wq, &ms->sweep, max(idle / 2, 1UL));
}

/* A log that other nodes look at is told at once when a region is idle. */
static void clear_idle(struct mirror_set *ms)
{
	struct region_entry *e, *tmp;
	bool cleared = false;
	LIST_HEAD(idle);

	spin_lock_irq(&ms->lock);
	list_splice_init(&ms->idle, &idle);
	spin_unlock_irq(&ms->lock);
	list_for_each_entry_safe(e, tmp, &idle, list) {
		spin_lock_irq(&ms->lock);
		list_del_init(&e->list);
		spin_unlock_irq(&ms->lock);
		cleared |= regions_put(ms, e, true);
	}
	if (cleared && ms->log->type->flush(ms->log))
		ms->log_failed = true;
}

static void mirror_work(struct work_struct *work)
{
	struct mirror_set *ms = container_of(work, struct mirror_set, work);
	struct bio_list cold, reads, failures;

	worker_begins(ms);
	spin_lock_irq(&ms->lock);
	cold = ms->cold;
	reads = ms->reads;
	failures = ms->failures;
	bio_list_init(&ms->cold);
	bio_list_init(&ms->reads);
	bio_list_init(&ms->failures);
	spin_unlock_irq(&ms->lock);

	mirror_failures(ms, &failures);
	clear_idle(ms);
	repairs_work(ms);
	if (ms->cluster)
		share_work(ms);
	else
		copies_work(ms);
	mirror_queued_reads(ms, &reads);
	mirror_cold_writes(ms, &cold);
	if (ms->sticky && atomic_read(&ms->entries) > READ_ONCE(mirror_max_warm))
		end_marks(ms, HZ / 10, false);
	worker_ends(ms);
}

struct job {
	struct work_struct work;
	struct mirror_set *ms;
	void (*what)(struct mirror_set *ms);
};

static void run_job(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	worker_begins(job->ms);
	job->what(job->ms);
	worker_ends(job->ms);
}

void by_worker(struct mirror_set *ms, void (*what)(struct mirror_set *ms))
{
	struct job job = { .ms = ms, .what = what };

	INIT_WORK_ONSTACK(&job.work, run_job);
	queue_work(ms->wq, &job.work);
	flush_work(&job.work);
	destroy_work_on_stack(&job.work);
}

static void again(struct work_struct *work)
{
	wake_worker(container_of(to_delayed_work(work), struct mirror_set, again));
}

static void raise_event(struct work_struct *work)
{
	dm_table_event(container_of(work, struct mirror_set, event)->ti->table);
}

/* ---- table ---- */

static void free_mirror(struct mirror_set *ms)
{
	unsigned int i;

	if (ms->cluster)
		cluster_log_set_client(ms->cluster, 0, NULL, NULL);
	if (ms->kcopyd) /* before the worker, which a copy wakes when it ends */
		dm_kcopyd_client_destroy(ms->kcopyd);
	if (ms->wq) {
		scrub_stop(ms);
		cancel_delayed_work_sync(&ms->again);
		cancel_delayed_work_sync(&ms->sweep);
		cancel_delayed_work_sync(&ms->copy_later);
		destroy_workqueue(ms->wq);
	}
	for (i = 0; i < ms->nr_legs; i++)
		if (ms->legs[i].dev)
			dm_put_device(ms->ti, ms->legs[i].dev);
	regions_exit(ms);
	bioset_exit(&ms->clones);
	vfree(ms->missed);
	kfree(ms->flush_bios);
	if (ms->log)
		dm_dirty_log_destroy(ms->log);
	kfree(ms);
}

static int parse_number(const char *text, unsigned int *value)
{
	char dummy;

	return sscanf(text, "%u%c", value, &dummy) == 1 ? 0 : -EINVAL;
}

static struct dm_dirty_log *create_log(struct dm_target *ti, unsigned int argc, char **argv,
				       unsigned int *used)
{
	const char *before = ti->error;
	struct dm_dirty_log *log = NULL;
	unsigned int count;

	if (argc < 2) {
		ti->error = "Insufficient mirror log arguments";
		return NULL;
	}
	if (parse_number(argv[1], &count)) {
		ti->error = "Invalid mirror log argument count";
		return NULL;
	}
	if (count > argc - 2) {
		ti->error = "Insufficient mirror log arguments";
		return NULL;
	}
	/* By the channel where clogd listens there, else by netlink. */
	if (!strcmp(argv[0], "userspace"))
		log = cluster_log_by_userspace_line(ti, mirror_flush_legs, count, argv + 2);
	if (!log && ti->error == before)
		log = dm_dirty_log_create(argv[0], ti, mirror_flush_legs, count, argv + 2);
	if (!log && ti->error == before) /* else the log has said more */
		ti->error = "Error creating mirror dirty log";
	*used = 2 + count;
	return log;
}

static int parse_leg(struct mirror_set *ms, struct leg *leg, char **argv)
{
	unsigned long long start;
	char dummy;
	int r;

	if (sscanf(argv[1], "%llu%c", &start, &dummy) != 1 || start != (sector_t)start) {
		ms->ti->error = "Invalid offset";
		return -EINVAL;
	}
	r = dm_get_device(ms->ti, argv[0], dm_table_get_mode(ms->ti->table), &leg->dev);
	if (r) {
		ms->ti->error = "Device lookup failure";
		leg->dev = NULL;
		return r;
	}
	leg->ms = ms;
	leg->start = start;
	leg->burden = leg->by_paths = LEG_BURDEN;
	return 0;
}

/* Two legs on the same sectors would be one copy that calls itself two. */
static bool legs_overlap(struct mirror_set *ms)
{
	unsigned int i, j;

	for (i = 0; i < ms->nr_legs; i++)
		for (j = 0; j < i; j++)
			if (ms->legs[i].dev->bdev == ms->legs[j].dev->bdev &&
			    ms->legs[i].start < ms->legs[j].start + ms->ti->len &&
			    ms->legs[j].start < ms->legs[i].start + ms->ti->len)
				return true;
	return false;
}

static int parse_features(struct mirror_set *ms, unsigned int argc, char **argv)
{
	struct dm_target *ti = ms->ti;
	unsigned int count, i;

	if (!argc)
		return 0;
	if (parse_number(argv[0], &count)) {
		ti->error = "Invalid number of features";
		return -EINVAL;
	}
	if (count > argc - 1) {
		ti->error = "Not enough arguments to support feature count";
		return -EINVAL;
	}
	for (i = 1; i <= count; i++) {
		if (!strcmp(argv[i], "handle_errors")) {
			ms->handle_errors = true;
		} else if (!strcmp(argv[i], "keep_log")) {
			ms->keep_log = true;
		} else {
			ti->error = "Unrecognised feature requested";
			return -EINVAL;
		}
	}
	if (ms->keep_log && !ms->handle_errors) {
		ti->error = "keep_log feature requires the handle_errors feature";
		return -EINVAL;
	}
	if (count < argc - 1) {
		ti->error = "Too many mirror arguments";
		return -EINVAL;
	}
	return 0;
}

static int init_mirror(struct mirror_set *ms)
{
	struct dm_target *ti = ms->ti;
	u64 regions;
	int r;

	spin_lock_init(&ms->lock);
	spin_lock_init(&ms->burdens);
	mutex_init(&ms->flush_lock);
	bio_list_init(&ms->cold);
	bio_list_init(&ms->reads);
	bio_list_init(&ms->failures);
	bio_list_init(&ms->holds);
	bio_list_init(&ms->undecided);
	INIT_LIST_HEAD(&ms->idle);
	INIT_LIST_HEAD(&ms->drained);
	INIT_LIST_HEAD(&ms->copied);
	INIT_LIST_HEAD(&ms->marking);
	INIT_LIST_HEAD(&ms->away);
	INIT_WORK(&ms->work, mirror_work);
	INIT_WORK(&ms->event, raise_event);
	INIT_DELAYED_WORK(&ms->again, again);
	INIT_DELAYED_WORK(&ms->sweep, sweep);
	INIT_DELAYED_WORK(&ms->copy_later, copy_later);
	init_waitqueue_head(&ms->copies_ended);
	ms->copies_told = ms->looked = ms->pause_ends = jiffies;
	scrub_init(ms);
	ms->use = MIRROR_SUSPENDED;

	ms->region_sectors = ms->log->type->get_region_size(ms->log);
	if (!is_power_of_2(ms->region_sectors) || ms->region_sectors < 2 ||
	    ms->region_sectors > ti->len) {
		ti->error =
			"The log's region size is not a power of two between 2 and the mirror's length";
		return -EINVAL;
	}
	ms->region_shift = __ffs(ms->region_sectors);
	regions = dm_sector_div_up(ti->len, ms->region_sectors);
	if (regions > UINT_MAX) {
		ti->error = "Too many regions: use a larger region size";
		return -EINVAL;
	}
	ms->regions = regions;
	ms->cluster = cluster_log_of(ms->log);
	if (ms->cluster)
		agreement_reset(&ms->agreed, ms->nr_legs);
	else
		agreement_alone(&ms->agreed, ms->nr_legs);
	atomic64_set(&ms->own_legs, agreement_word(&ms->agreed));
	ms->legs_word = ms->cluster ? &ms->cluster->legs_word : &ms->own_legs;
	ms->sticky = ms->cluster || !ms->log->type->is_remote_recovering;

	ti->error = "Cannot allocate mirror context";
	r = regions_init(ms);
	if (r)
		return r;
	r = bioset_init(&ms->clones, MIRROR_POOL, offsetof(struct leg_bio, bio), 0);
	if (r)
		return r;
	ms->missed = vzalloc(BITS_TO_LONGS(ms->regions) * sizeof(long));
	ms->flush_bios = kcalloc(ms->nr_legs, sizeof(struct bio), GFP_KERNEL);
	ms->wq = alloc_ordered_workqueue("kmirrord-ext", WQ_MEM_RECLAIM);
	if (!ms->missed || !ms->flush_bios || !ms->wq)
		return -ENOMEM;
	ms->kcopyd = dm_kcopyd_client_create(&dm_kcopyd_throttle);
	if (IS_ERR(ms->kcopyd)) {
		r = PTR_ERR(ms->kcopyd);
		ms->kcopyd = NULL;
		return r;
	}
	ti->error = NULL;
	return 0;
}

static int mirror_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	unsigned int used, legs, i;
	struct dm_dirty_log *log;
	struct mirror_set *ms;
	int r = -EINVAL;

	log = create_log(ti, argc, argv, &used);
	if (!log)
		return -EINVAL;
	argv += used;
	argc -= used;
	if (!argc || parse_number(argv[0], &legs) || legs < 2 || legs > MIRROR_MAX_LEGS) {
		ti->error = "Invalid number of mirrors";
		goto no_mirror;
	}
	argv++;
	argc--;
	if (argc < legs * 2) {
		ti->error = "Too few mirror arguments";
		goto no_mirror;
	}
	ms = kzalloc(struct_size(ms, legs, legs), GFP_KERNEL);
	if (!ms) {
		ti->error = "Cannot allocate mirror context";
		r = -ENOMEM;
		goto no_mirror;
	}
	ms->ti = ti;
	ms->log = log;
	ms->nr_legs = legs;
	ti->private = ms;
	r = init_mirror(ms);
	for (i = 0; !r && i < legs; i++)
		r = parse_leg(ms, &ms->legs[i], argv + 2 * i);
	if (!r && legs_overlap(ms)) {
		ti->error = "Two legs are on the same sectors of one device";
		r = -EINVAL;
	}
	if (!r)
		r = parse_features(ms, argc - 2 * legs, argv + 2 * legs);
	if (!r)
		r = dm_set_target_max_io_len(ti, ms->region_sectors);
	if (r) {
		free_mirror(ms);
		return r;
	}
	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->per_io_data_size = sizeof(struct mirror_io);
	compat_stable_writes(ti);
	if (ms->cluster)
		share_init(ms);
	return 0;

no_mirror:
	dm_dirty_log_destroy(log);
	return r;
}

static void mirror_dtr(struct dm_target *ti)
{
	free_mirror(ti->private);
}

/* ---- input and output ---- */

/* One test of both: op_is_write() looks at the lowest bit, too. */
static bool writes(const struct bio *bio)
{
	return bio->bi_opf & ((__force blk_opf_t)1 | REQ_PREFLUSH);
}

static int mirror_map(struct dm_target *ti, struct bio *bio)
{
	struct mirror_set *ms = ti->private;

	return writes(bio) ? mirror_map_write(ms, bio) : mirror_map_read(ms, bio);
}

static int mirror_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct mirror_set *ms = ti->private;
	struct mirror_io *io;

	if (writes(bio))
		return DM_ENDIO_DONE;
	io = io_of(bio);
	if (!io->leg) /* it never went to one */
		return DM_ENDIO_DONE;
	atomic_dec(&io->leg->reads);
	return likely(!*error && !io->failed) ? DM_ENDIO_DONE : mirror_end_read(ms, bio, error);
}

static int mirror_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct mirror_set *ms = ti->private;
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < ms->nr_legs; i++)
		r = fn(ti, ms->legs[i].dev, ms->legs[i].start, ti->len, data);
	return r;
}

static void mirror_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	compat_stable_limits(limits);
}

/* ---- suspend ---- */

static void go_on(struct mirror_set *ms)
{
	WRITE_ONCE(ms->use, MIRROR_IN_USE);
	if (ms->sticky)
		queue_delayed_work(ms->wq, &ms->sweep,
				   max(msecs_to_jiffies(READ_ONCE(mirror_idle_ms)) / 2, 1UL));
	scrub_resume(ms);
	wake_worker(ms);
}

static void mirror_presuspend(struct dm_target *ti)
{
	struct mirror_set *ms = ti->private;
	struct bio_list holds;
	struct bio *bio;

	spin_lock_irq(&ms->lock);
	WRITE_ONCE(ms->use, dm_noflush_suspending(ti) ? MIRROR_GIVES_BACK : MIRROR_DRAINS);
	holds = ms->holds;
	bio_list_init(&ms->holds);
	spin_unlock_irq(&ms->lock);
	while ((bio = bio_list_pop(&holds)))
		hold_bio(ms, bio);
	wake_worker(ms);
	scrub_pause(ms);
	flush_workqueue(ms->wq); /* a worker that had not seen it yet may have taken up copies */
	wait_event(ms->copies_ended, !atomic_read(&ms->copies));
	if (ms->log->type->presuspend && ms->log->type->presuspend(ms->log))
		DMWARN("the log's presuspend failed");
	flush_workqueue(ms->wq);
}

/* Whoever wanted to suspend did not want to wait for what is in flight. */
static void mirror_presuspend_undo(struct dm_target *ti)
{
	go_on(ti->private);
}

/* Nothing is in flight, so nothing waits, and every mark can end. */
static void end_use(struct mirror_set *ms)
{
	WARN_ON_ONCE(!bio_list_empty(&ms->cold) || !bio_list_empty(&ms->reads) ||
		     !bio_list_empty(&ms->failures) || !bio_list_empty(&ms->holds) ||
		     !bio_list_empty(&ms->undecided) || atomic_read(&ms->copies));
	if (ms->cluster)
		share_end(ms);
	end_marks(ms, 0, true);
	WARN_ON_ONCE(ms->cluster && atomic_read(&ms->entries));
}

/* The worker may be woken also afterwards, by messages and by clogd; it finds nothing to do. */
static void mirror_postsuspend(struct dm_target *ti)
{
	struct mirror_set *ms = ti->private;

	WRITE_ONCE(ms->use, MIRROR_SUSPENDED);
	cancel_delayed_work_sync(&ms->sweep);
	cancel_delayed_work_sync(&ms->copy_later);
	cancel_delayed_work_sync(&ms->again);
	by_worker(ms, end_use);
	if (ms->log->type->postsuspend && ms->log->type->postsuspend(ms->log))
		DMWARN("the log's postsuspend failed");
}

static void mirror_resume(struct dm_target *ti)
{
	struct mirror_set *ms = ti->private;

	if (ms->log->type->resume && ms->log->type->resume(ms->log))
		DMWARN("the log's resume failed");
	ms->resumed_at = jiffies;
	go_on(ms);
}

/* ---- status and messages ---- */

static void mirror_status(struct dm_target *ti, status_type_t type, unsigned int status_flags,
			  char *result, unsigned int maxlen)
{
	struct mirror_set *ms = ti->private;
	struct dm_dirty_log *log = ms->log;
	unsigned int i, sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		DMEMIT("%u ", ms->nr_legs);
		for (i = 0; i < ms->nr_legs; i++)
			DMEMIT("%s ", ms->legs[i].dev->name);
		DMEMIT("%llu/%llu 1 ", (unsigned long long)log->type->get_sync_count(log),
		       (unsigned long long)ms->regions);
		for (i = 0; i < ms->nr_legs; i++)
			DMEMIT("%c", leg_letter(&ms->legs[i]));
		DMEMIT(" ");
		sz += log->type->status(log, type, result + sz, maxlen - sz);
		break;
	case STATUSTYPE_TABLE:
		sz = log->type->status(log, type, result, maxlen);
		DMEMIT("%u", ms->nr_legs);
		for (i = 0; i < ms->nr_legs; i++)
			DMEMIT(" %s %llu", ms->legs[i].dev->name,
			       (unsigned long long)ms->legs[i].start);
		if (ms->handle_errors)
			DMEMIT(" %u handle_errors%s", 1 + ms->keep_log,
			       ms->keep_log ? " keep_log" : "");
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",nr_mirrors=%u", ms->nr_legs);
		for (i = 0; i < ms->nr_legs; i++)
			DMEMIT(",mirror_device_%u=%s,mirror_device_%u_status=%c", i,
			       ms->legs[i].dev->name, i, leg_letter(&ms->legs[i]));
		DMEMIT(",handle_errors=%c,keep_log=%c,log_type_status=",
		       ms->handle_errors ? 'y' : 'n', ms->keep_log ? 'y' : 'n');
		sz += log->type->status(log, type, result + sz, maxlen - sz);
		DMEMIT(";");
		break;
	}
}

/* A leg by its place in the table, from 0, or by its major:minor. */
static struct leg *find_leg(struct mirror_set *ms, const char *name)
{
	unsigned int i, number;

	for (i = 0; i < ms->nr_legs; i++)
		if (!strcmp(ms->legs[i].dev->name, name))
			return &ms->legs[i];
	return !parse_number(name, &number) && number < ms->nr_legs ? &ms->legs[number] : NULL;
}

/*
 * Every leg is taken for healthy again: what they missed is copied, and writes that were held are
 * tried once more.
 */
static void restore_legs(struct mirror_set *ms)
{
	struct bio_list holds;
	struct bio *bio;

	ms->in_sync = false; /* first: from now on the primary stays where it is */
	smp_wmb();
	legs_reset(ms, ~0UL);
	spin_lock_irq(&ms->lock);
	holds = ms->holds;
	bio_list_init(&ms->holds);
	spin_unlock_irq(&ms->lock);
	while ((bio = bio_list_pop(&holds))) {
		io_of(bio)->failed = 0;
		queue_for_worker(ms, &ms->cold, bio);
	}
	wake_worker(ms);
}

static int mirror_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			  unsigned int maxlen)
{
	struct mirror_set *ms = ti->private;
	unsigned int sz = 0, number, total;
	struct leg *leg;

	if (argc == 1 && !strcasecmp(argv[0], "stats")) {
		DMEMIT("warm_writes %lld cold_writes %lld marks %lld clears %lld regions_copied %lld regions_repaired %lld in_use %d missed %lld copying %d primary %u preferred %d rate_kib %llu legs_epoch %u",
		       atomic64_read(&ms->warm_writes), atomic64_read(&ms->cold_writes),
		       atomic64_read(&ms->marks), atomic64_read(&ms->clears),
		       atomic64_read(&ms->regions_copied), atomic64_read(&ms->regions_repaired),
		       atomic_read(&ms->entries), atomic64_read(&ms->missed_count),
		       atomic_read(&ms->copies), ms->primary,
		       ms->preferred ? (int)(ms->preferred - ms->legs) : -1,
		       (unsigned long long)ms->rate_kib, ms->agreed.epoch);
		return 1;
	}
	if (argc == 1 && !strcasecmp(argv[0], "regions")) {
		regions_report(ms, result, maxlen);
		return 1;
	}
	if (argc == 1 && !strcasecmp(argv[0], "restore")) {
		if (ms->cluster)
			cluster_log_legs_restore(ms->cluster, BIT(ms->nr_legs) - 1);
		else
			by_worker(ms, restore_legs);
		wake_worker(ms);
		return 0;
	}
	if (argc == 2 && !strcasecmp(argv[0], "scrub")) {
		if (!strcasecmp(argv[1], "report")) {
			scrub_report(ms, result, maxlen);
			return 1;
		}
		if (!strcasecmp(argv[1], "stop")) {
			scrub_stop(ms);
			return 0;
		}
		if (!strcasecmp(argv[1], "start") || !strcasecmp(argv[1], "repair"))
			return scrub_start(ms, !strcasecmp(argv[1], "repair"));
	} else if (argc == 2 && !strcasecmp(argv[0], "fail")) {
		leg = find_leg(ms, argv[1]);
		if (leg && ms->cluster) {
			cluster_log_legs_forced(ms->cluster, BIT(leg - ms->legs));
			return 0;
		}
		if (leg) {
			leg_fail(leg, LEG_WRITE_ERROR);
			return 0;
		}
	} else if (argc == 2 && !strcasecmp(argv[0], "prefer")) {
		leg = find_leg(ms, argv[1]);
		if (leg || !strcasecmp(argv[1], "none")) {
			legs_prefer(ms, leg);
			return 0;
		}
	} else if (argc == 4 && !strcasecmp(argv[0], "paths")) {
		leg = find_leg(ms, argv[1]);
		if (leg && !parse_number(argv[2], &number) && !parse_number(argv[3], &total) &&
		    number <= total && total <= MIRROR_MAX_PATHS) {
			leg_paths(leg, number, total);
			return 0;
		}
	} else if (argc == 2 && !strcasecmp(argv[0], "rate")) {
		if (!parse_number(argv[1], &number) && number <= 1 << 24) {
			WRITE_ONCE(ms->rate_kib, (u64)number * 1024);
			if (ms->cluster)
				cluster_log_rate(ms->cluster, min(number, UINT_MAX / 1024) * 1024);
			wake_worker(ms);
			return 0;
		}
	}
	DMERR("message '%s%s%s' is not known: fail <leg>, restore, prefer <leg>|none, rate <MiB/s, 0: no limit>, paths <leg> <usable> <in all, at most 65536>, scrub start|repair|stop|report, stats, regions; <leg> is its number from 0 or major:minor",
	      argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
	return -EINVAL;
}

static struct target_type mirror_target = {
	.version = { 1, 15, 0 },
	.module = THIS_MODULE,
	.ctr = mirror_ctr,
	.dtr = mirror_dtr,
	.map = mirror_map,
	.end_io = mirror_end_io,
	.presuspend = mirror_presuspend,
	.presuspend_undo = mirror_presuspend_undo,
	.postsuspend = mirror_postsuspend,
	.resume = mirror_resume,
	.status = mirror_status,
	.message = mirror_message,
	.iterate_devices = mirror_iterate_devices,
	.io_hints = mirror_io_hints,
};

static int __init mirror_init(void)
{
	int r = mirror_selftest();

	if (r)
		return r;
	mirror_target.name = target_name;
	r = dm_register_target(&mirror_target);
	if (r == -EEXIST || r == -EBUSY)
		DMERR("a target '%s' is there already: unload it (modprobe -r dm-mirror), or load this one with target_name=",
		      target_name);
	return r;
}

static void __exit mirror_exit(void)
{
	dm_unregister_target(&mirror_target);
}

module_init(mirror_init);
module_exit(mirror_exit);

MODULE_DESCRIPTION("device-mapper mirror target that writes warm regions without a worker");
MODULE_LICENSE("GPL");
