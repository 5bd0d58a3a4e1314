// SPDX-License-Identifier: GPL-2.0
/*
 * Reads. A region that is in sync may be read from any leg: the preferred one, the one on which a
 * sequential run is, else the one with the fewest reads in flight. A leg that has lost paths gets
 * fewer, one to which no path is left none while there is another. A region that is not in sync is
 * read from the primary alone. A read that fails is tried on the other legs, and what the leg could
 * not read is rewritten there (repair.c).
 */
#include "mirror.h"

/* A sequential run leaves its leg when that has so many more reads in flight than another. */
#define RUN_SLACK 4
#define NEVER_USED_HZ (10 * HZ)

/* One of these (bits). Inline, as every read comes here. */
static __always_inline struct leg *choose(struct mirror_set *ms, sector_t sector,
					  unsigned long legs)
{
	struct leg *leg, *best = NULL, *run = NULL, *cut_off = NULL, *last = NULL;
	int preferred = READ_ONCE(ms->preferred), best_load = INT_MAX, run_load = INT_MAX;

	if (preferred >= 0 && legs & BIT(preferred)) {
		leg = &ms->legs[preferred];
		if (leg_alive(leg) && READ_ONCE(leg->burden))
			return leg;
	}
	for (leg = ms->legs; legs; leg++, legs >>= 1) {
		int burden = READ_ONCE(leg->burden), load;

		if (!(legs & 1))
			continue;
		if (unlikely(!leg_alive(leg))) {
			last = last ?: leg; /* what is in sync is good there, too */
			continue;
		}
		if (unlikely(!burden)) {
			cut_off = cut_off ?: leg;
			continue;
		}
		load = (atomic_read(&leg->reads) + 1) * burden;
		if (READ_ONCE(leg->next) == sector && load < run_load) {
			run = leg;
			run_load = load;
		}
		if (load < best_load) {
			best = leg;
			best_load = load;
		}
	}
	if (run && run_load <= best_load + RUN_SLACK * (int)LEG_BURDEN)
		return run;
	return best ?: cut_off ?: last;
}

static void aim(struct mirror_set *ms, struct mirror_io *io, struct bio *bio, struct leg *leg)
{
	io->leg = leg - ms->legs;
	io->iter = bio->bi_iter;
	io->flags = bio->bi_flags;
	io->remaining = atomic_read(&bio->__bi_remaining);
	atomic_inc(&leg->reads);
	WRITE_ONCE(leg->next, bio_end_sector(bio));
	bio_set_dev(bio, leg->dev->bdev);
	bio->bi_iter.bi_sector = leg_sector(ms, leg, bio->bi_iter.bi_sector);
}

/* The leg that a read of the region may have; NULL: none. */
static __always_inline struct leg *leg_for(struct mirror_set *ms, const struct mirror_io *io,
					   const struct bio *bio, u64 word, bool in_sync)
{
	struct leg *leg;

	if (likely(in_sync))
		return choose(ms, bio->bi_iter.bi_sector, word_readable(word) & ~io->failed);
	leg = ms->cluster ? &ms->legs[word_primary(word)] : primary_leg(ms);
	return leg_alive(leg) && !(io->failed & BIT(leg - ms->legs)) ? leg : NULL;
}

int mirror_map_read(struct mirror_set *ms, struct bio *bio)
{
	struct mirror_io *io = io_of(bio);
	u64 word = legs_word(ms);
	struct leg *leg;
	int in_sync;

	io->failed = 0;
	io->region = NULL;
	if (ms->cluster && unlikely(!share_may_begin(ms))) {
		if (bio->bi_opf & REQ_RAHEAD)
			return DM_MAPIO_KILL;
		queue_for_worker(ms, &ms->reads, bio);
		return DM_MAPIO_SUBMITTED;
	}
	in_sync = ms->log->type->in_sync(ms->log, region_of(ms, bio), 0);
	if (in_sync < 0 && in_sync != -EWOULDBLOCK)
		return DM_MAPIO_KILL;
	/* Whatever the log would answer, the primary may serve it. */
	leg = leg_for(ms, io, bio, word, in_sync > 0);
	if (unlikely(!leg)) {
		if (in_sync != -EWOULDBLOCK || bio->bi_opf & REQ_RAHEAD)
			return DM_MAPIO_KILL;
		queue_for_worker(ms, &ms->reads, bio);
		return DM_MAPIO_SUBMITTED;
	}
	aim(ms, io, bio, leg);
	return DM_MAPIO_REMAPPED;
}

static void do_not_read(struct mirror_set *ms, unsigned long legs)
{
	unsigned int i;

	for_each_set_bit(i, &legs, ms->nr_legs)
		leg_fail(&ms->legs[i], LEG_READ_ERROR);
}

/* A read that failed elsewhere has ended well. */
static void made_good(struct mirror_set *ms, struct mirror_io *io)
{
	u64 index = dm_target_offset(ms->ti, io->iter.bi_sector) >> ms->region_shift;

	if (!repair_ask(ms, index, io->leg, io->failed))
		do_not_read(ms, io->failed);
}

int mirror_end_read(struct mirror_set *ms, struct bio *bio, blk_status_t *error)
{
	struct mirror_io *io = io_of(bio);
	struct leg *leg = &ms->legs[io->leg];

	if (!*error) {
		made_good(ms, io);
		return DM_ENDIO_DONE;
	}
	if (*error == BLK_STS_NOTSUPP || bio->bi_opf & REQ_RAHEAD)
		return DM_ENDIO_DONE;
	DMERR_LIMIT("%s: a read failed, trying another leg", leg->dev->name);
	io->failed |= BIT(io->leg);
	if (!repair_bears(leg))
		leg_fail(leg, LEG_READ_ERROR);
	/* Also what a leg that splits bios has counted in it: it is to end once. */
	bio->bi_iter = io->iter;
	bio->bi_flags = io->flags;
	atomic_set(&bio->__bi_remaining, io->remaining);
	bio->bi_status = BLK_STS_OK;
	queue_for_worker(ms, &ms->reads, bio);
	return DM_ENDIO_INCOMPLETE;
}

/*
 * With a cluster log nothing is read before the nodes have said which legs are good, nor without
 * the lease: meanwhile others may have given up a leg. A mirror that never came into use fails its
 * reads after a while, so that whoever looks at new devices does not hang on it.
 */
static bool wait_with_read(struct mirror_set *ms, struct bio *bio)
{
	if (!ms->cluster || share_may_begin(ms))
		return false;
	if (atomic_read(&ms->suspended) && dm_noflush_suspending(ms->ti)) {
		bio->bi_status = BLK_STS_DM_REQUEUE;
		bio_endio(bio);
	} else if (!READ_ONCE(ms->cluster->was_active) &&
		   time_after(jiffies, ms->resumed_at + NEVER_USED_HZ)) {
		bio_io_error(bio);
	} else {
		spin_lock_irq(&ms->lock);
		bio_list_add(&ms->reads, bio);
		spin_unlock_irq(&ms->lock);
		queue_delayed_work(ms->wq, &ms->again, HZ / 5);
	}
	return true;
}

void mirror_queued_reads(struct mirror_set *ms, struct bio_list *reads)
{
	struct bio *bio;

	while ((bio = bio_list_pop(reads))) {
		struct mirror_io *io = io_of(bio);
		u64 word = legs_word(ms);
		struct leg *leg;

		io->leg = MIRROR_MAX_LEGS;
		if (wait_with_read(ms, bio))
			continue;
		leg = leg_for(ms, io, bio, word,
			      ms->log->type->in_sync(ms->log, region_of(ms, bio), 1) == 1);

		if (!leg) {
			DMERR_LIMIT("sector %llu cannot be read: no leg has it",
				    (unsigned long long)bio->bi_iter.bi_sector);
			do_not_read(ms, io->failed);
			bio_io_error(bio);
			continue;
		}
		aim(ms, io, bio, leg);
		submit_bio_noacct(bio);
	}
}
