// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror with a cluster log. Marks are asked for and looked for when there is news, never
 * waited for: a worker that waited could keep a region from another node that waits for it, and
 * that node's worker a region from this one. A region that the cluster is to copy is closed here
 * first, drained, handed over, and taken up again when it is in sync.
 *
 * A write that a leg missed is undecided until the nodes have given that leg up, or it may be tried
 * again (I3); one that has outlived the write lease (I4), until that is held again (outcome.h). It
 * keeps its region, and with it the mark, unless the cluster wants to copy that: then it starts
 * over afterwards.
 */
#include "mirror.h"
#include "trace.h"

static void news(void *context)
{
	wake_worker(context);
}

void share_init(struct mirror_set *ms)
{
	cluster_log_set_client(ms->cluster, ms->nr_legs, news, ms);
}

/* May anything be read or written at all (I4, I5)? */
bool share_may_begin(struct mirror_set *ms)
{
	return cluster_log_may_write(ms->cluster) && word_told(legs_word(ms));
}

/* The same for a write, which then is of this lease; a later one shows as such when it has ended.
 */
bool share_may_send(struct mirror_set *ms, struct mirror_io *io)
{
	io->lapse = cluster_log_lapses(ms->cluster);
	smp_rmb(); /* pairs with take_state() */
	return share_may_begin(ms);
}

/* Is the lease held, and which is it? */
bool share_holds_lease(struct mirror_set *ms, u32 *lapses)
{
	bool held = share_may_begin(ms);

	smp_rmb(); /* pairs with take_state() */
	*lapses = cluster_log_lapses(ms->cluster);
	return held;
}

/* ---- writes that did not end at once ---- */

static void start_over(struct mirror_set *ms, struct bio *bio)
{
	struct mirror_io *io = io_of(bio);

	if (io->region)
		regions_leave(ms, io->region);
	io->region = NULL;
	queue_for_worker(ms, &ms->cold, bio);
}

static enum write_outcome outcome(struct mirror_set *ms, struct bio *bio, u32 retry)
{
	struct mirror_io *io = io_of(bio);
	struct write_sent sent = sent_of(io);
	struct write_world now = { .cluster = true, .retry = retry };

	now.lease = share_holds_lease(ms, &now.lapses);
	now.closing = io->region && READ_ONCE(io->region->r.state) == REGION_CLOSING;
	now.suspend = suspend_way(ms);
	return outcome_of_write(&ms->agreed, &sent, &now);
}

/* True: the write has ended or started over. */
static bool decide(struct mirror_set *ms, struct bio *bio, u32 retry)
{
	struct write_sent sent = sent_of(io_of(bio));

	switch (outcome(ms, bio, retry)) {
	case WRITE_ENDS:
		end_write(ms, bio, BLK_STS_OK);
		return true;
	case WRITE_REFUSED:
		abandon_write(ms, bio, BLK_STS_NOTSUPP);
		return true;
	case WRITE_AGAIN:
		start_over(ms, bio);
		return true;
	case WRITE_GIVEN_BACK:
		abandon_write(ms, bio, BLK_STS_DM_REQUEUE);
		return true;
	case WRITE_LOST:
	case WRITE_FAILS:  /* without a cluster log only, */
	case WRITE_MISSED: /* likewise */
		abandon_write(ms, bio, BLK_STS_IOERR);
		return true;
	case WRITE_WAITS_FOR_NODES:
		cluster_log_legs_failed(ms->cluster, write_failed_legs(&ms->agreed, &sent));
		return false;
	case WRITE_WAITS_FOR_LEASE:
		break;
	}
	return false;
}

void share_failure(struct mirror_set *ms, struct bio *bio)
{
	if (!decide(ms, bio, 0))
		bio_list_add(&ms->undecided, bio);
}

static void look_for_legs(struct mirror_set *ms)
{
	struct bio_list undecided = ms->undecided;
	struct agreement now;
	struct bio *bio;
	u32 retry;

	if (cluster_log_legs(ms->cluster, &now)) {
		legs_reset(ms, now.written & ~ms->agreed.written);
		ms->agreed = now;
		WRITE_ONCE(ms->primary, now.primary);
		trace_mirror_legs(dev_of(ms), now.epoch, now.readable, now.written, now.needed,
				  now.primary);
		if (now.told) {
			cluster_log_follows(ms->cluster, now.epoch);
			queue_work(ms->wq, &ms->event);
		}
	}
	retry = cluster_log_legs_retry(ms->cluster);
	legs_reset(ms, retry);
	bio_list_init(&ms->undecided);
	while ((bio = bio_list_pop(&undecided)))
		if (!decide(ms, bio, retry))
			bio_list_add(&ms->undecided, bio);
}

/* ---- marks and copies ---- */

static bool wants_it(struct mirror_set *ms, u64 index)
{
	return cluster_log_unsynced(ms->cluster, index) || cluster_log_closing(ms->cluster, index);
}

/*
 * A write wants into a region that is not in use. Also one that is not in sync may be marked, while
 * nobody copies it.
 */
void share_ask(struct mirror_set *ms, struct region_entry *e)
{
	if (cluster_log_closing(ms->cluster, e->index)) {
		regions_step(ms, e, REGION_AWAIT);
		list_move_tail(&e->list, &ms->away);
		cluster_log_want(ms->cluster, e->index);
	} else {
		regions_step(ms, e, REGION_MARK);
		atomic64_inc(&ms->marks);
		list_move_tail(&e->list, &ms->marking);
		cluster_log_mark(ms->cluster, e->index);
	}
}

static void look_for_marks(struct mirror_set *ms)
{
	struct region_entry *e, *tmp;
	struct bio_list ready;

	list_for_each_entry_safe(e, tmp, &ms->marking, list) {
		switch (cluster_log_marked(ms->cluster, e->index)) {
		case CLUSTER_MARK_WAITS:
			break;
		case CLUSTER_MARKED:
			list_del_init(&e->list);
			ready = regions_step_all(ms, e, REGION_MARKED);
			send_marked(ms, e, &ready);
			break;
		case CLUSTER_MARK_NONE:
			list_del_init(&e->list);
			regions_step(ms, e, REGION_MARK_FAILED);
			regions_release(ms, e);
			regions_put(ms, e, false);
			break;
		}
	}
}

/* Regions that the cluster is to copy take no new writes. */
static void close_regions(struct mirror_set *ms)
{
	struct region_entry *e;
	unsigned int i;

	if (!cluster_log_news_of_closing(ms->cluster))
		return;
	for (i = 0; i < 1U << ms->bucket_bits; i++) {
		hlist_for_each_entry(e, &ms->buckets[i].head, node) {
			struct region_bucket *b = &ms->buckets[i];

			if (!cluster_log_closing(ms->cluster, e->index))
				continue;
			spin_lock_irq(&b->lock);
			if (regions_step_locked(ms, e, REGION_COPY) && !e->r.pending) {
				spin_lock(&ms->lock);
				list_move_tail(&e->list, &ms->drained);
				spin_unlock(&ms->lock);
			}
			spin_unlock_irq(&b->lock);
		}
	}
}

static void hand_over(struct mirror_set *ms)
{
	struct region_entry *e, *tmp;
	LIST_HEAD(drained);

	spin_lock_irq(&ms->lock);
	list_splice_init(&ms->drained, &drained);
	spin_unlock_irq(&ms->lock);
	list_for_each_entry_safe(e, tmp, &drained, list) {
		if (WARN_ON_ONCE(!regions_step(ms, e, REGION_HAND_OVER))) {
			list_del_init(&e->list);
			continue;
		}
		list_move_tail(&e->list, &ms->away);
		cluster_log_clear(ms->cluster, e->index);
		if (!bio_list_empty(&e->waiting))
			cluster_log_want(ms->cluster, e->index);
	}
}

static void take_back(struct mirror_set *ms, bool everything)
{
	struct region_entry *e, *tmp;

	list_for_each_entry_safe(e, tmp, &ms->away, list) {
		if (!everything && wants_it(ms, e->index))
			continue;
		list_del_init(&e->list);
		regions_step(ms, e, REGION_BACK);
		regions_release(ms, e);
		regions_put(ms, e, false);
	}
}

void share_work(struct mirror_set *ms)
{
	look_for_marks(ms);
	close_regions(ms);
	look_for_legs(ms);
	hand_over(ms);
	/* A suspend that gives writes back to the core cannot wait for the cluster. */
	take_back(ms, gives_back(ms));
	if (!ms->in_sync && ms->log->type->get_sync_count(ms->log) == ms->regions) {
		ms->in_sync = true;
		queue_work(ms->wq, &ms->event);
	}
}

/* Nothing is in flight. */
void share_end(struct mirror_set *ms)
{
	struct region_entry *e, *tmp;

	assert_worker(ms);
	look_for_marks(ms);
	hand_over(ms); /* what clogd wanted closed since the worker ran last */
	take_back(ms, true);
	list_for_each_entry_safe(e, tmp, &ms->marking, list) {
		list_del_init(&e->list);
		regions_step(ms, e, REGION_MARK_FAILED);
		regions_put(ms, e, false);
	}
}
