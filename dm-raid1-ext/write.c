// SPDX-License-Identifier: GPL-2.0
/*
 * Writes. Into a warm region: one clone per leg, sent from the submitter's context. Into any other
 * the worker takes them: it asks the log, has the marks of all that wait made durable with one
 * flush, and then sends them.
 */
#include "mirror.h"

void end_write(struct mirror_set *ms, struct bio *bio, blk_status_t status)
{
	struct mirror_io *io = io_of(bio);

	if (io->region)
		regions_leave(ms, io->region);
	bio->bi_status = status;
	bio_endio(bio);
}

/* What needs more than this, the worker decides. */
static void write_done(struct mirror_set *ms, struct mirror_io *io)
{
	struct write_sent sent = sent_of(io);
	bool lease = true;
	u32 lapses = 0;

	if (ms->cluster)
		lease = share_holds_lease(ms, &lapses);
	if (likely(write_ends_at_once(&sent, ms->cluster, lease, lapses)))
		end_write(ms, bio_of(io), BLK_STS_OK);
	else
		queue_for_worker(ms, &ms->failures, bio_of(io));
}

/* Each time would cost a copy of the region, so that leg is not asked again by this table. */
static void note_refusal(struct leg *leg, enum req_op op)
{
	if (is_optional(op) && !test_and_set_bit((__force unsigned int)op, &leg->refuses))
		DMWARN("%s: it refuses to %s, which it is said to be able to: it is not asked again",
		       leg->dev->name, op == REQ_OP_WRITE_ZEROES ? "write zeroes" : "discard");
}

static void leg_write_done(struct bio *clone)
{
	struct leg_bio *lb = container_of(clone, struct leg_bio, bio);
	struct mirror_io *io = lb->io;
	struct leg *leg = lb->leg;
	struct mirror_set *ms = leg->ms;
	blk_status_t status = clone->bi_status;

	if (unlikely(status)) {
		if (is_refusal(bio_op(clone), status)) {
			note_refusal(leg, bio_op(clone));
			set_bit(leg - ms->legs, &io->refused);
			status = BLK_STS_NOTSUPP;
		} else {
			leg_fail(leg,
				 clone->bi_opf & REQ_PREFLUSH ? LEG_FLUSH_ERROR : LEG_WRITE_ERROR);
		}
		set_bit(leg - ms->legs, &io->failed);
		if (status != BLK_STS_NOTSUPP || !io->status)
			io->status = status;
	}
	bio_put(clone);
	if (atomic_dec_and_test(&io->left))
		write_done(ms, io);
}

static struct bio *clone_for(struct leg *leg, struct bio *bio, gfp_t gfp)
{
	struct mirror_set *ms = leg->ms;
	struct bio *clone = bio_alloc_clone(leg->dev->bdev, bio, gfp, &ms->clones);
	struct leg_bio *lb;

	if (!clone)
		return NULL;
	lb = container_of(clone, struct leg_bio, bio);
	lb->io = io_of(bio);
	lb->leg = leg;
	keep_what_leg_hears(clone);
	clone->bi_iter.bi_sector =
		bio_sectors(bio) ? leg_sector(ms, leg, bio->bi_iter.bi_sector) : 0;
	clone->bi_end_io = leg_write_done;
	return clone;
}

static bool may_send(struct mirror_set *ms, struct mirror_io *io)
{
	return !ms->cluster || share_may_send(ms, io);
}

static void begin(struct mirror_set *ms, struct mirror_io *io, u64 word, unsigned long legs)
{
	io->word = word;
	io->sent = legs;
	io->failed = 0;
	io->refused = 0;
	io->status = 0;
	atomic_set(&io->left, hweight_long(legs));
}

/*
 * From the submitter's context: every clone is there before the first is sent, and none is waited
 * for, because what this task sent before may still sit on its own bio list. False: no memory now,
 * nothing was sent.
 */
static bool try_send(struct mirror_set *ms, struct bio *bio, u64 word, unsigned long legs)
{
	struct bio *clones[MIRROR_MAX_LEGS];
	unsigned int i, n = 0;

	for_each_set_bit(i, &legs, ms->nr_legs) {
		clones[n] = clone_for(&ms->legs[i], bio, GFP_NOWAIT | __GFP_NOWARN);
		if (unlikely(!clones[n])) {
			while (n)
				bio_put(clones[--n]);
			return false;
		}
		n++;
	}
	begin(ms, io_of(bio), word, legs);
	for (i = 0; i < n; i++)
		submit_bio_noacct(clones[i]);
	return true;
}

/* From the worker: one clone after the other, so that the pool always moves on. */
static void send_waiting(struct mirror_set *ms, struct bio *bio, u64 word, unsigned long legs)
{
	unsigned int i;

	begin(ms, io_of(bio), word, legs);
	for_each_set_bit(i, &legs, ms->nr_legs)
		submit_bio_noacct(clone_for(&ms->legs[i], bio, GFP_NOIO));
}

static bool has(struct leg *leg, enum req_op op)
{
	if (test_bit((__force unsigned int)op, &leg->refuses))
		return false;
	switch (op) {
	case REQ_OP_DISCARD:
		return bdev_max_discard_sectors(leg->dev->bdev);
	case REQ_OP_SECURE_ERASE:
		return bdev_max_secure_erase_sectors(leg->dev->bdev);
	case REQ_OP_WRITE_ZEROES:
		return bdev_write_zeroes_sectors(leg->dev->bdev);
	default:
		return true;
	}
}

/*
 * A leg does not have the operation, and nobody knew when the table was made: a disk may find out
 * only when it is asked for the first time. Then no leg is asked, and they stay as equal as they
 * were.
 */
static bool refused_unasked(struct mirror_set *ms, struct bio *bio)
{
	unsigned long legs;
	unsigned int i;

	if (likely(!is_optional(bio_op(bio))))
		return false;
	legs = word_written(legs_word(ms));
	for_each_set_bit(i, &legs, ms->nr_legs)
		if (!has(&ms->legs[i], bio_op(bio)))
			return true;
	return false;
}

int mirror_map_write(struct mirror_set *ms, struct bio *bio)
{
	struct mirror_io *io = io_of(bio);
	sector_t left;
	u64 word;

	io->region = NULL;
	io->failed = 0; /* also of a write that is never sent */
	if (bio->bi_opf & REQ_PREFLUSH) {
		bool may_flush = may_send(ms, io);

		word = legs_word(ms);
		if (!may_flush || !try_send(ms, bio, word, word_written(word)))
			queue_for_worker(ms, &ms->cold, bio);
		return DM_MAPIO_SUBMITTED;
	}
	if (unlikely(refused_unasked(ms, bio))) {
		end_write(ms, bio, BLK_STS_NOTSUPP);
		return DM_MAPIO_SUBMITTED;
	}
	/* Only reads and writes are split at region boundaries by the core. */
	left = ms->region_sectors -
	       (dm_target_offset(ms->ti, bio->bi_iter.bi_sector) & (ms->region_sectors - 1));
	if (unlikely(bio_sectors(bio) > left))
		dm_accept_partial_bio(bio, left);

	if (ms->sticky) {
		enum region_way way = regions_enter(ms, region_of(ms, bio), &io->region);

		/*
		 * I4: asked after the write was counted: the region is not handed over under it.
		 * I3: likewise the legs, so that a leg that comes back while a write is under way
		 * without it is told that it missed the region.
		 */
		bool may_write = may_send(ms, io);

		word = legs_word(ms);

		if (way == REGION_EVERY_LEG && likely(may_write) &&
		    likely(try_send(ms, bio, word, word_written(word)))) {
			atomic64_inc(&ms->warm_writes);
			return DM_MAPIO_SUBMITTED;
		}
		if (way == REGION_PRIMARY && !ms->cluster && !ms->leg_failed &&
		    try_send(ms, bio, word, BIT(READ_ONCE(ms->primary))))
			return DM_MAPIO_SUBMITTED;
		if (io->region) {
			regions_leave(ms, io->region);
			io->region = NULL;
		}
	}
	queue_for_worker(ms, &ms->cold, bio);
	return DM_MAPIO_SUBMITTED;
}

/* A region that nobody uses: what does the log say? The write waits in it for what follows. */
static void ask_log(struct mirror_set *ms, struct region_entry *e, struct list_head *marking)
{
	if (ms->cluster) {
		share_ask(ms, e);
	} else if (ms->log->type->in_sync(ms->log, e->index, 1) == 1) {
		regions_step(ms, e, REGION_MARK);
		ms->log->type->mark_region(ms->log, e->index);
		atomic64_inc(&ms->marks);
		list_move_tail(&e->list, marking);
	} else {
		regions_step(ms, e, REGION_UNSYNC);
	}
}

/*
 * The legs differ in the region, so the log must say so (I1). Where all of them are well the
 * primary, from which it is copied, stays where it is until then; not where the log does not hear
 * of it: nothing would be copied, and a leg that has failed would soon count as well again.
 */
void lose_sync(struct mirror_set *ms, struct region_entry *e, enum sync_loss why)
{
	assert_worker(ms);
	if (!ms->log_failed) {
		if (why == LEGS_ARE_WELL && !ms->cluster)
			ms->in_sync = false; /* first */
		ms->log->type->set_region_sync(ms->log, e->index, 0);
	}
	regions_step(ms, e, REGION_UNSYNC);
	if (!ms->cluster)
		copy_missed(ms, e->index);
}

static void fail_later(struct mirror_set *ms, struct bio *bio)
{
	queue_for_worker(ms, &ms->failures, bio);
}

static void send_cold(struct mirror_set *ms, struct bio *bio, enum region_way way)
{
	u64 word = legs_word(ms);

	atomic64_inc(&ms->cold_writes);
	if (way == REGION_EVERY_LEG)
		send_waiting(ms, bio, word, word_written(word));
	else if (ms->leg_failed && ms->handle_errors && !ms->keep_log)
		fail_later(ms, bio); /* until the table has been repaired */
	else
		send_waiting(ms, bio, word, BIT(READ_ONCE(ms->primary)));
}

/* The region's mark is durable: what waited for it goes out. */
void send_marked(struct mirror_set *ms, struct region_entry *e, struct bio_list *ready)
{
	struct bio *bio;

	while ((bio = bio_list_pop(ready))) {
		struct mirror_io *io = io_of(bio);

		io->region = NULL;
		if (unlikely(!may_send(ms, io)))
			queue_for_worker(ms, &ms->cold, bio); /* the lease ran out meanwhile */
		else
			send_cold(ms, bio, regions_enter(ms, e->index, &io->region));
	}
}

/* I1: one flush makes the marks of all of them durable, before any of their writes is sent. */
static void flush_marks(struct mirror_set *ms, struct list_head *marking)
{
	struct region_entry *e, *tmp;
	struct bio_list ready;
	struct bio *bio;
	bool marked;

	if (list_empty(marking))
		return;
	if (ms->log->type->flush(ms->log))
		ms->log_failed = true;
	/* Only a new table makes a log whole again. */
	marked = !(ms->log_failed && ms->handle_errors);
	list_for_each_entry_safe(e, tmp, marking, list) {
		list_del_init(&e->list);
		ready = regions_step_all(ms, e, marked ? REGION_MARKED : REGION_MARK_FAILED);
		if (marked) {
			send_marked(ms, e, &ready);
			continue;
		}
		while ((bio = bio_list_pop(&ready)))
			fail_later(ms, bio);
		regions_put(ms, e, false);
	}
}

/* Writes that cannot go on now: another node copies the region, or this one may not write. */
static void try_again_later(struct mirror_set *ms, struct bio_list *later)
{
	struct bio *bio;

	if (bio_list_empty(later))
		return;
	if (gives_back(ms)) {
		while ((bio = bio_list_pop(later))) {
			bio->bi_status = BLK_STS_DM_REQUEUE;
			bio_endio(bio);
		}
		return;
	}
	spin_lock_irq(&ms->lock);
	bio_list_merge(&ms->cold, later);
	spin_unlock_irq(&ms->lock);
	queue_delayed_work(ms->wq, &ms->again, HZ / 5);
}

void mirror_cold_writes(struct mirror_set *ms, struct bio_list *writes)
{
	struct dm_dirty_log_type *log = ms->log->type;
	struct region_entry *e;
	struct bio_list later;
	LIST_HEAD(marking);
	struct bio *bio;

	bio_list_init(&later);
	while ((bio = bio_list_pop(writes))) {
		struct mirror_io *io = io_of(bio);
		enum region_way way;
		bool wait;
		u64 index;

		if (unlikely(refused_unasked(ms, bio))) {
			end_write(ms, bio, BLK_STS_NOTSUPP);
			continue;
		}
		wait = !may_send(ms, io) || (ms->cluster && gives_back(ms));
		if (!wait && bio->bi_opf & REQ_PREFLUSH) {
			u64 word = legs_word(ms);

			send_waiting(ms, bio, word, word_written(word));
			continue;
		}
		index = region_of(ms, bio);
		if (!ms->cluster && log->is_remote_recovering)
			wait = log->is_remote_recovering(ms->log, index);
		if (wait) {
			bio_list_add(&later, bio);
			continue;
		}
		e = regions_get(ms, index);
		way = regions_enter(ms, index, &io->region);
		if (way == REGION_ASK) {
			ask_log(ms, e, &marking);
			way = regions_enter(ms, index, &io->region);
		}
		if (ms->cluster && way == REGION_PRIMARY) { /* about to be closed and copied */
			regions_leave(ms, io->region);
			io->region = NULL;
			bio_list_add(&later, bio);
			continue;
		}
		if (way == REGION_WAIT) {
			struct region_bucket *b = region_bucket(ms, index);

			/* Only the worker ends a wait, so the state cannot have changed since. */
			spin_lock_irq(&b->lock);
			bio_list_add(&e->waiting, bio);
			spin_unlock_irq(&b->lock);
			if (e->r.state == REGION_AWAY)
				cluster_log_want(ms->cluster, index);
			continue;
		}
		send_cold(ms, bio, way);
	}
	try_again_later(ms, &later);
	flush_marks(ms, &marking);
}

/*
 * A leg may have lost what it had acknowledged: whatever was written since its cache was last known
 * to be flushed is unsure.
 */
void unsync_warm(struct mirror_set *ms, enum sync_loss why)
{
	struct region_entry *e;
	struct hlist_node *tmp;
	unsigned int i;

	assert_worker(ms);
	for (i = 0; i < 1U << ms->bucket_bits; i++)
		hlist_for_each_entry_safe(e, tmp, &ms->buckets[i].head, node)
			if (READ_ONCE(e->r.state) == REGION_WARM)
				lose_sync(ms, e, why);
}

/* I1: the legs differ where the write went. */
static void lose_sync_of(struct mirror_set *ms, struct mirror_io *io)
{
	enum sync_loss why = io->refused ? LEGS_ARE_WELL : LEG_HAS_FAILED;

	if (io->region)
		lose_sync(ms, io->region, why);
	else
		unsync_warm(ms, why);
}

void abandon_write(struct mirror_set *ms, struct bio *bio, blk_status_t status)
{
	lose_sync_of(ms, io_of(bio));
	end_write(ms, bio, status);
}

/*
 * A leg missed the write, or its mark could not be made. With handle_errors it is held until the
 * table is replaced or the legs are restored; nobody may count on it before: after a crash the leg
 * that missed it could be all that is left.
 */
static void missed(struct mirror_set *ms, struct bio *bio)
{
	struct mirror_io *io = io_of(bio);
	blk_status_t status = BLK_STS_OK;
	bool alive = false;
	unsigned int i;

	if (io->failed)
		lose_sync_of(ms, io);
	for (i = 0; i < ms->nr_legs; i++)
		alive = alive || leg_alive(&ms->legs[i]);
	if (!alive || (ms->keep_log && ms->log_failed)) {
		status = BLK_STS_IOERR;
	} else if (ms->handle_errors && !ms->keep_log) {
		hold_bio(ms, bio);
		return;
	} else if (test_bit(ms->primary, &io->failed)) {
		/* The region is read from the primary alone, and that does not have it. */
		status = BLK_STS_IOERR;
	}
	end_write(ms, bio, status);
}

/* Writes that did not end at once. */
void mirror_failures(struct mirror_set *ms, struct bio_list *failures)
{
	struct bio *bio;

	while ((bio = bio_list_pop(failures))) {
		struct write_sent sent = sent_of(io_of(bio));

		if (ms->cluster) {
			share_failure(ms, bio);
			continue;
		}
		switch (outcome_alone(&sent)) {
		case WRITE_REFUSED:
			abandon_write(ms, bio, BLK_STS_NOTSUPP);
			break;
		case WRITE_FAILS:
			end_write(ms, bio, io_of(bio)->status);
			break;
		default: /* also one that was not sent: no leg failed */
			missed(ms, bio);
		}
	}
}

static void flush_done(struct bio *bio)
{
	struct completion *done = bio->bi_private;

	complete(done);
}

/*
 * For logs that clear marks: what the legs acknowledged is durable when this returns 0. The log is
 * flushed by the worker alone.
 */
int mirror_flush_legs(struct dm_target *ti)
{
	struct mirror_set *ms = ti->private;
	struct completion done;
	unsigned int i;
	int r = 0;

	if (ms->flushed)
		return 0;
	mutex_lock(&ms->flush_lock);
	init_completion(&done);
	for (i = 0; i < ms->nr_legs; i++) {
		bio_init(&ms->flush_bios[i], ms->legs[i].dev->bdev, NULL, 0,
			 REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC);
		ms->flush_bios[i].bi_private = &done;
		ms->flush_bios[i].bi_end_io = flush_done;
		submit_bio(&ms->flush_bios[i]);
	}
	for (i = 0; i < ms->nr_legs; i++)
		wait_for_completion_io(&done);
	for (i = 0; i < ms->nr_legs; i++) {
		if (ms->flush_bios[i].bi_status) {
			leg_fail(&ms->legs[i], LEG_FLUSH_ERROR);
			r = -EIO;
		}
		bio_uninit(&ms->flush_bios[i]);
	}
	mutex_unlock(&ms->flush_lock);
	return r;
}
