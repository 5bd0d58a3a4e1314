// SPDX-License-Identifier: GPL-2.0
/*
 * Reads. A region that is in sync may be read from any leg: the preferred one, the one on which a
 * sequential run is, else the one with the fewest reads in flight. A leg that has lost paths gets
 * fewer, one to which no path is left none while there is another, and one that failed none while
 * there is any other; all that is in its burden (legs.c). A region that is not in sync is read from
 * the primary alone. A read that fails is tried on the other legs, and what the leg could not read
 * is rewritten there (repair.c).
 */
#include "mirror.h"

/* A sequential run leaves its leg when that has so many more reads in flight than another. */
#define RUN_SLACK (4 * LEG_BURDEN)
#define NEVER_USED_HZ (10 * HZ)
#define READ_ALONE BIT(31)   /* with a cluster log, of a region that was not in sync */
#define DECIDED_HZ (10 * HZ) /* until then a leg that fails for all is given up, if it can be, */
#define DECIDED_AGAIN_HZ (60 * HZ) /* and if it was not, this is not waited for again so soon */

/* One of these (bits); NULL: there is none. Inline, as every read comes here. */
static __always_inline struct leg *choose(struct mirror_set *ms, sector_t sector,
					  unsigned long legs)
{
	struct leg *leg, *best = NULL;
	s64 least = S64_MAX;

	for (leg = ms->legs; legs; leg++, legs >>= 1) {
		s64 load = ((u32)atomic_read(&leg->reads) + 1) * READ_ONCE(leg->burden);

		if (!(legs & 1))
			continue;
		if (READ_ONCE(leg->next) == sector)
			load -= RUN_SLACK;
		if (load < least) {
			best = leg;
			least = load;
		}
	}
	return best;
}

static __always_inline void aim(struct mirror_set *ms, struct mirror_io *io, struct bio *bio,
				struct leg *leg)
{
	io->leg = leg;
	io->iter = bio->bi_iter;
	io->flags = bio->bi_flags;
	atomic_inc(&leg->reads);
	WRITE_ONCE(leg->next, bio_end_sector(bio));
	bio->bi_iter.bi_sector = leg_sector(ms, leg, bio->bi_iter.bi_sector);
	bio_set_dev(bio, leg->dev->bdev);
}

/* The leg that a region has that is not in sync; NULL: it failed, or may not be read now. */
static struct leg *only_leg(struct mirror_set *ms, struct mirror_io *io, u64 word)
{
	struct leg *leg = primary_leg(ms);

	if (ms->cluster) {
		if (unlikely(cluster_log_paused(ms->cluster)))
			return NULL;
		leg = &ms->legs[word_primary(word)];
		io->failed |= READ_ALONE;
		io->word = word;
	}
	return leg_alive(leg) && !(io->failed & BIT(leg - ms->legs)) ? leg : NULL;
}

/*
 * A region that did not count as in sync has no leg. With a cluster log that may pass: the nodes
 * are deciding about the primary, or will at once; or nobody has said that the region is not in
 * sync: none counts as that while it is not known what a lost node was writing.
 */
static bool worth_waiting(struct mirror_set *ms, struct bio *bio)
{
	struct leg *leg;
	unsigned long at;

	if (!ms->cluster)
		return false;
	if (cluster_log_paused(ms->cluster) ||
	    !cluster_log_unsynced(ms->cluster, region_of(ms, bio)))
		return true;
	leg = &ms->legs[word_primary(legs_word(ms))];
	at = READ_ONCE(leg->lacked);
	if (!at || time_after(jiffies, at + DECIDED_AGAIN_HZ)) {
		at = jiffies | 1;
		WRITE_ONCE(leg->lacked, at);
	}
	return time_before(jiffies, at + DECIDED_HZ);
}

int mirror_map_read(struct mirror_set *ms, struct bio *bio)
{
	struct mirror_io *io = io_of(bio);
	u64 word = legs_word(ms);
	struct leg *leg;
	int in_sync;

	io->failed = 0;
	if (ms->cluster && unlikely(!share_may_begin(ms))) {
		if (bio->bi_opf & REQ_RAHEAD)
			return DM_MAPIO_KILL;
		queue_for_worker(ms, &ms->reads, bio);
		return DM_MAPIO_SUBMITTED;
	}
	in_sync = ms->log->type->in_sync(ms->log, region_of(ms, bio), 0);
	if (likely(in_sync > 0))
		leg = choose(ms, bio->bi_iter.bi_sector, word_readable(word));
	else if (in_sync == 0 || in_sync == -EWOULDBLOCK)
		leg = only_leg(ms, io, word); /* whatever the log would answer, that may serve it */
	else
		return DM_MAPIO_KILL;
	if (unlikely(!leg)) {
		bool wait = in_sync == -EWOULDBLOCK || (in_sync == 0 && worth_waiting(ms, bio));

		if (!wait || bio->bi_opf & REQ_RAHEAD)
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
	unsigned long legs = io->failed & ~READ_ALONE;

	if (!repair_ask(ms, index, io->leg - ms->legs, legs))
		do_not_read(ms, legs);
}

/*
 * What a region not in sync has on the primary: not while the nodes decide about that leg, nor when
 * they have decided, for it may be the only one that has this.
 */
static bool may_show(struct mirror_set *ms, struct mirror_io *io)
{
	return !(io->failed & READ_ALONE) ||
	       (cluster_log_show(ms->cluster) && legs_word(ms) == io->word);
}

int mirror_end_read(struct mirror_set *ms, struct bio *bio, blk_status_t *error)
{
	struct mirror_io *io = io_of(bio);
	struct leg *leg = io->leg;

	if (!*error && may_show(ms, io)) {
		if (io->failed & ~READ_ALONE)
			made_good(ms, io);
		return DM_ENDIO_DONE;
	}
	if (is_refusal(bio_op(bio), *error) || bio->bi_opf & REQ_RAHEAD) {
		*error = *error ?: BLK_STS_IOERR;
		return DM_ENDIO_DONE;
	}
	if (*error) {
		DMERR_LIMIT("%s: a read failed, trying another leg", leg->dev->name);
		io->failed |= BIT(leg - ms->legs);
		if (!repair_bears(leg))
			leg_fail(leg, LEG_READ_ERROR);
	}
	/* Also what a leg that splits bios has counted in it: it came as a whole, and ends once. */
	bio->bi_iter = io->iter;
	bio->bi_flags = io->flags;
	atomic_set(&bio->__bi_remaining, 1);
	bio->bi_status = BLK_STS_OK;
	queue_for_worker(ms, &ms->reads, bio);
	return DM_ENDIO_INCOMPLETE;
}

/* Looked at again later, unless a suspend gives it back to the core. */
static void put_off(struct mirror_set *ms, struct bio *bio)
{
	if (gives_back(ms)) {
		bio->bi_status = BLK_STS_DM_REQUEUE;
		bio_endio(bio);
		return;
	}
	spin_lock_irq(&ms->lock);
	bio_list_add(&ms->reads, bio);
	spin_unlock_irq(&ms->lock);
	queue_delayed_work(ms->wq, &ms->again, HZ / 5);
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
	if (!gives_back(ms) && !READ_ONCE(ms->cluster->was_active) &&
	    time_after(jiffies, ms->resumed_at + NEVER_USED_HZ))
		bio_io_error(bio);
	else
		put_off(ms, bio);
	return true;
}

void mirror_queued_reads(struct mirror_set *ms, struct bio_list *reads)
{
	struct bio *bio;

	while ((bio = bio_list_pop(reads))) {
		struct mirror_io *io = io_of(bio);
		u64 word = legs_word(ms);
		struct leg *leg;

		io->leg = NULL;
		io->failed &= ~READ_ALONE;
		if (wait_with_read(ms, bio))
			continue;
		if (ms->log->type->in_sync(ms->log, region_of(ms, bio), 1) == 1) {
			leg = choose(ms, bio->bi_iter.bi_sector, word_readable(word) & ~io->failed);
		} else {
			leg = only_leg(ms, io, word);
			if (!leg && worth_waiting(ms, bio)) {
				put_off(ms, bio);
				continue;
			}
		}
		if (!leg) {
			DMERR_LIMIT("sector %llu cannot be read: no leg has it",
				    (unsigned long long)bio->bi_iter.bi_sector);
			do_not_read(ms, io->failed);
			bio_io_error(bio);
			continue;
		}
		/* Not what the leg left in it that it was sent to before; nor is it polled for. */
		keep_what_leg_hears(bio);
		WRITE_ONCE(bio->bi_cookie, BLK_QC_T_NONE);
		aim(ms, io, bio, leg);
		submit_bio_noacct(bio);
	}
}
