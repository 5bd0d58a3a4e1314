// SPDX-License-Identifier: GPL-2.0
/*
 * The mirror with a cluster log. Marks are asked for and looked for when there is news, never
 * waited for: a worker that waited could keep a region from another node that waits for it, and
 * that node's worker a region from this one. A region that the cluster is to copy is closed here
 * first, drained, handed over, and taken up again when it is in sync.
 */
#include "mirror.h"

static void news(void *context)
{
	wake_worker(context);
}

void share_init(struct mirror_set *ms)
{
	cluster_log_set_client(ms->cluster, news, ms);
}

static bool wants_it(struct mirror_set *ms, u64 index)
{
	return cluster_log_unsynced(ms->cluster, index) || cluster_log_closing(ms->cluster, index);
}

/* A write wants into a region that is not in use. */
void share_ask(struct mirror_set *ms, struct region_entry *e)
{
	if (wants_it(ms, e->index)) {
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
		case CLUSTER_MARK_REFUSED:
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
			if (region_step(&e->r, REGION_COPY) && !e->r.pending) {
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
		if (WARN_ON_ONCE(!regions_step(ms, e, REGION_HAND_OVER)))
			continue;
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
	hand_over(ms);
	/* A suspend that gives writes back to the core cannot wait for the cluster. */
	take_back(ms, atomic_read(&ms->suspended) && dm_noflush_suspending(ms->ti));
	if (!ms->in_sync && ms->log->type->get_sync_count(ms->log) == ms->regions) {
		ms->in_sync = true;
		queue_work(ms->wq, &ms->event);
	}
}

/* Suspended, nothing is in flight. */
void share_end(struct mirror_set *ms)
{
	struct region_entry *e, *tmp;

	look_for_marks(ms);
	take_back(ms, true);
	list_for_each_entry_safe(e, tmp, &ms->marking, list) {
		list_del_init(&e->list);
		regions_step(ms, e, REGION_MARK_FAILED);
		regions_put(ms, e, false);
	}
}
