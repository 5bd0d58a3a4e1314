// SPDX-License-Identifier: GPL-2.0
/*
 * Regions that are not in sync are copied from the primary to every other leg, several at once.
 * Only a write to a region that is being copied waits. What to copy: first what the log hands out,
 * then what this node's legs missed, once all of them are healthy again. In between, regions in
 * sync of which some leg could not read everything (repair.c).
 *
 * Whoever uses the mirror comes first: while there is somebody, one region at a time is copied, in
 * small pieces, in a quarter of the time.
 */
#include <linux/ktime.h>
#include <linux/part_stat.h>

#include "mirror.h"

#define RATE_SLICE_MS 100

#define GENTLE_ONE_IN 4 /* of the time */
#define GENTLE_PIECE (SZ_64K >> SECTOR_SHIFT)
#define LONGEST_PAUSE_US USEC_PER_SEC

/* Who only looks what is on the mirror does not use it. */
#define LOOK_EVERY (HZ / 5)
#define LOOKS_USED 3
#define LOOKS_UNUSED 5

void copy_missed(struct mirror_set *ms, u64 index)
{
	if (!test_and_set_bit(index, ms->missed))
		atomic64_inc(&ms->missed_count);
}

static void no_longer_missed(struct mirror_set *ms, u64 index)
{
	if (test_and_clear_bit(index, ms->missed))
		atomic64_dec(&ms->missed_count);
}

static void copy_ended(int read_err, unsigned long write_err, void *context)
{
	struct region_entry *e = context;
	struct mirror_set *ms = e->ms;
	enum leg_error error = e->repair ? LEG_READ_ERROR : LEG_SYNC_ERROR;
	unsigned int i, bit = 0;
	unsigned long flags;

	if (read_err) {
		DMERR_LIMIT("%s: cannot be read, region %llu stays as it is",
			    ms->legs[e->copy_from].dev->name, e->index);
		leg_fail(&ms->legs[e->copy_from], error);
	}
	for_each_set_bit(i, &e->copy_to, ms->nr_legs) {
		if (test_bit(bit++, &write_err)) {
			DMERR_LIMIT("%s: region %llu cannot be written", ms->legs[i].dev->name,
				    e->index);
			leg_fail(&ms->legs[i], error);
		}
	}
	e->copied_ok = !read_err && !write_err;
	spin_lock_irqsave(&ms->lock, flags);
	list_add_tail(&e->list, &ms->copied);
	wake_worker(ms);
	spin_unlock_irqrestore(&ms->lock, flags);
}

static void pause_after(struct mirror_set *ms, struct region_entry *e)
{
	s64 took = ktime_us_delta(ktime_get(), e->copy_began);
	s64 pause = min_t(s64, took * (GENTLE_ONE_IN - 1), LONGEST_PAUSE_US);

	ms->pause_ends = jiffies + usecs_to_jiffies(pause);
}

static void end(struct mirror_set *ms, struct region_entry *e)
{
	bool ok = e->copied_ok;

	if (e->gently)
		pause_after(ms, e);
	if (e->repair) {
		/* Its content is what it was; only the mark that it may have had ends. */
		ms->log->type->clear_region(ms->log, e->index);
		if (ok)
			atomic64_inc(&ms->regions_repaired);
		ok = true;
	} else if (ok) {
		ms->log->type->set_region_sync(ms->log, e->index, 1);
		/* So that a log on disk has it after a crash, too, once it is flushed. */
		ms->log->type->clear_region(ms->log, e->index);
		no_longer_missed(ms, e->index);
		atomic64_inc(&ms->regions_copied);
	} else {
		ms->log->type->set_region_sync(ms->log, e->index, 0);
		copy_missed(ms, e->index);
	}
	regions_step(ms, e, ok ? REGION_COPIED : REGION_COPY_FAILED);
	regions_release(ms, e);
	regions_put(ms, e, !ok);
	if (atomic_dec_and_test(&ms->copies))
		wake_up(&ms->copies_ended);
}

static sector_t left_of(struct mirror_set *ms, struct region_entry *e)
{
	sector_t offset = (sector_t)e->index << ms->region_shift;

	return min_t(sector_t, ms->region_sectors, ms->ti->len - offset) - e->copied;
}

static void copy_piece(struct mirror_set *ms, struct region_entry *e)
{
	struct dm_io_region from, to[MIRROR_MAX_LEGS - 1];
	sector_t offset = ((sector_t)e->index << ms->region_shift) + e->copied;
	sector_t count = min_t(sector_t, left_of(ms, e), e->gently ? GENTLE_PIECE : UINT_MAX);
	unsigned int i, n = 0;

	e->copied += count;
	from.bdev = ms->legs[e->copy_from].dev->bdev;
	from.sector = ms->legs[e->copy_from].start + offset;
	from.count = count;
	for_each_set_bit(i, &e->copy_to, ms->nr_legs) {
		to[n].bdev = ms->legs[i].dev->bdev;
		to[n].sector = ms->legs[i].start + offset;
		to[n].count = count;
		n++;
	}
	dm_kcopyd_copy(ms->kcopyd, &from, n, to,
		       ms->handle_errors || e->repair ? 0 : BIT(DM_KCOPYD_IGNORE_ERROR), copy_ended,
		       e);
}

static void start(struct mirror_set *ms, struct region_entry *e)
{
	if (!regions_step(ms, e, REGION_DRAINED)) {
		WARN_ON_ONCE(1);
		return;
	}
	/* A write that was under way has failed since: copied when the legs are well again. */
	if (e->repair && ms->log->type->in_sync(ms->log, e->index, 1) != 1) {
		e->repair = false;
		e->copied_ok = false;
		end(ms, e);
		return;
	}
	e->copy_began = ktime_get();
	copy_piece(ms, e);
}

/* Does somebody use the mirror? What is copied is not among it: that goes to the legs. */
static void look_at_uses(struct mirror_set *ms)
{
	unsigned long uses;

	if (time_before(jiffies, ms->looked + LOOK_EVERY))
		return;
	ms->looked = jiffies;
	uses = part_stat_read_accum(dm_disk(dm_table_get_md(ms->ti->table))->part0, ios);
	if ((uses != ms->uses) == ms->used) {
		ms->looks = 0;
	} else if (++ms->looks >= (ms->used ? LOOKS_UNUSED : LOOKS_USED)) {
		ms->used = !ms->used;
		ms->looks = 0;
	}
	ms->uses = uses;
}

static bool gives_way(struct mirror_set *ms)
{
	look_at_uses(ms);
	if (!ms->used)
		return false;
	if (atomic_read(&ms->copies)) /* their end wakes the worker */
		return true;
	if (time_after_eq(jiffies, ms->pause_ends))
		return false;
	queue_delayed_work(ms->wq, &ms->copy_later, ms->pause_ends - jiffies);
	return true;
}

/* Is there anything left of this slice's share? */
static bool rate_allows(struct mirror_set *ms)
{
	u64 rate = READ_ONCE(ms->rate_kib);
	unsigned int passed;

	if (!rate)
		return true;
	passed = jiffies_to_msecs(jiffies - ms->rate_since);
	if (passed >= RATE_SLICE_MS) {
		ms->rate_since = jiffies;
		ms->rate_spent = 0;
	}
	if (ms->rate_spent * 1000 >= rate * RATE_SLICE_MS) {
		queue_delayed_work(ms->wq, &ms->copy_later,
				   msecs_to_jiffies(RATE_SLICE_MS - min_t(unsigned int, passed,
									  RATE_SLICE_MS - 1)));
		return false;
	}
	ms->rate_spent += ms->region_sectors / 2;
	return true;
}

static bool next_missed(struct mirror_set *ms, u64 *index)
{
	unsigned long at;

	if (!atomic64_read(&ms->missed_count) || !legs_healthy(ms))
		return false;
	at = find_next_bit(ms->missed, ms->regions, ms->missed_next);
	if (at >= ms->regions)
		at = find_next_bit(ms->missed, ms->regions, 0);
	if (at >= ms->regions)
		return false;
	no_longer_missed(ms, at); /* it is again if the copy fails */
	ms->missed_next = at + 1;
	*index = at;
	return true;
}

/* A flush costs the legs one, too, so many copies share it; the last one has it at once. */
static void tell_log(struct mirror_set *ms)
{
	if (atomic_read(&ms->copies) && time_before(jiffies, ms->copies_told + HZ / 4))
		return;
	ms->copies_told = jiffies;
	if (ms->log->type->flush(ms->log))
		ms->log_failed = true;
}

static bool next_region(struct mirror_set *ms, u64 *index)
{
	region_t region;

	if (ms->log->type->get_resync_work(ms->log, &region) > 0) {
		*index = region;
		return true;
	}
	return next_missed(ms, index);
}

static void take_up(struct mirror_set *ms, u64 index, unsigned int from, unsigned long to,
		    bool repair)
{
	struct region_entry *e = regions_get(ms, index);
	struct region_bucket *b = region_bucket(ms, index);
	bool now;

	WARN_ON_ONCE(READ_ONCE(ms->use) == MIRROR_SUSPENDED);
	spin_lock_irq(&b->lock);
	if (!regions_step_locked(ms, e, REGION_COPY)) { /* handed out twice */
		spin_unlock_irq(&b->lock);
		return;
	}
	now = !e->r.pending;
	e->copy_from = from;
	e->copy_to = to;
	e->repair = repair;
	e->copied = 0;
	e->gently = ms->used && !repair;
	spin_lock(&ms->lock);
	list_del_init(&e->list);
	if (now)
		list_add_tail(&e->list, &ms->drained);
	spin_unlock(&ms->lock);
	spin_unlock_irq(&b->lock);
	atomic_inc(&ms->copies);
}

void copy_to_repair(struct mirror_set *ms, struct repair *repair)
{
	take_up(ms, repair->index, repair->good, repair->bad, true);
}

void copy_later(struct work_struct *work)
{
	struct mirror_set *ms = container_of(to_delayed_work(work), struct mirror_set, copy_later);

	wake_worker(ms);
}

void copies_work(struct mirror_set *ms)
{
	struct region_entry *e, *tmp;
	LIST_HEAD(copied);
	LIST_HEAD(drained);
	bool ended = false;
	u64 index;

	spin_lock_irq(&ms->lock);
	list_splice_init(&ms->copied, &copied);
	spin_unlock_irq(&ms->lock);
	list_for_each_entry_safe(e, tmp, &copied, list) {
		list_del_init(&e->list);
		if (e->copied_ok && left_of(ms, e)) {
			copy_piece(ms, e);
		} else {
			end(ms, e);
			ended = true;
		}
	}
	if (ended)
		tell_log(ms);
	if (!atomic_read(&ms->copies))
		ms->copy_from =
			ms->primary; /* the source stays the same while copies are under way */
	while (in_use(ms) && atomic_read(&ms->copies) < READ_ONCE(mirror_parallel_copies) &&
	       ms->copy_from == ms->primary && leg_alive(primary_leg(ms)) && !gives_way(ms) &&
	       rate_allows(ms)) {
		if (!next_region(ms, &index)) {
			ms->rate_spent -= min_t(u64, ms->rate_spent, ms->region_sectors / 2);
			break;
		}
		take_up(ms, index, ms->copy_from, (BIT(ms->nr_legs) - 1) & ~BIT(ms->copy_from),
			false);
	}
	spin_lock_irq(&ms->lock);
	list_splice_init(&ms->drained, &drained);
	spin_unlock_irq(&ms->lock);
	list_for_each_entry_safe(e, tmp, &drained, list) {
		list_del_init(&e->list);
		start(ms, e);
	}
	if (!ms->in_sync && ms->log->type->get_sync_count(ms->log) == ms->regions &&
	    !atomic_read(&ms->copies)) {
		ms->in_sync = true;
		legs_reset(ms, ~0UL);
		queue_work(ms->wq, &ms->event);
	}
}
