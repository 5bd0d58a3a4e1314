// SPDX-License-Identifier: GPL-2.0
/*
 * The regions in use, in a hash with one lock per bucket. A write to a warm region takes its
 * bucket's lock twice, for a few instructions, and nothing else. Entries are made and forgotten by
 * the worker alone, which is asserted, so a pointer it holds stays good; a bio holds one while it
 * is counted in `pending`.
 */
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "mirror.h"
#include "trace.h"

#define MAX_BUCKET_BITS 13

struct region_bucket *region_bucket(struct mirror_set *ms, u64 index)
{
	return &ms->buckets[hash_64(index, ms->bucket_bits)];
}

static struct region_entry *find(struct region_bucket *b, u64 index)
{
	struct region_entry *e;

	hlist_for_each_entry(e, &b->head, node)
		if (e->index == index)
			return e;
	return NULL;
}

int regions_init(struct mirror_set *ms)
{
	unsigned int i;

	ms->bucket_bits =
		clamp_t(unsigned int, ilog2(max_t(u64, ms->regions, 2)), 1, MAX_BUCKET_BITS);
	ms->buckets = kvmalloc_array(1U << ms->bucket_bits, sizeof(*ms->buckets), GFP_KERNEL);
	if (!ms->buckets)
		return -ENOMEM;
	for (i = 0; i < 1U << ms->bucket_bits; i++) {
		spin_lock_init(&ms->buckets[i].lock);
		INIT_HLIST_HEAD(&ms->buckets[i].head);
	}
	return mempool_init_kmalloc_pool(&ms->entry_pool, MIRROR_POOL, sizeof(struct region_entry));
}

/* The mirror is suspended: nothing is in flight. */
void regions_exit(struct mirror_set *ms)
{
	struct region_entry *e;
	struct hlist_node *tmp;
	unsigned int i;

	for (i = 0; ms->buckets && i < 1U << ms->bucket_bits; i++)
		hlist_for_each_entry_safe(e, tmp, &ms->buckets[i].head, node)
			mempool_free(e, &ms->entry_pool);
	mempool_exit(&ms->entry_pool);
	kvfree(ms->buckets);
}

enum region_way regions_enter(struct mirror_set *ms, u64 index, struct region_entry **entry)
{
	struct region_bucket *b = region_bucket(ms, index);
	enum region_way way = REGION_ASK;
	struct region_entry *e;
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	e = find(b, index);
	if (e) {
		way = region_enter(&e->r);
		if (way == REGION_EVERY_LEG || way == REGION_PRIMARY) {
			e->used = jiffies;
			*entry = e;
		}
	}
	spin_unlock_irqrestore(&b->lock, flags);
	return way;
}

void regions_leave(struct mirror_set *ms, struct region_entry *e)
{
	struct region_bucket *b = region_bucket(ms, e->index);
	bool drained, idle;
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	drained = region_leave(&e->r);
	idle = !ms->sticky && !e->r.pending &&
	       (e->r.state == REGION_WARM || e->r.state == REGION_UNSYNCED);
	if (drained || idle) {
		spin_lock(&ms->lock);
		if (list_empty(&e->list)) {
			list_add_tail(&e->list, drained ? &ms->drained : &ms->idle);
			wake_worker(ms);
		}
		spin_unlock(&ms->lock);
	}
	spin_unlock_irqrestore(&b->lock, flags);
}

bool regions_writing(struct mirror_set *ms, u64 index)
{
	struct region_bucket *b = region_bucket(ms, index);
	struct region_entry *e;
	bool writing;

	spin_lock_irq(&b->lock);
	e = find(b, index);
	writing = e && e->r.pending;
	spin_unlock_irq(&b->lock);
	return writing;
}

struct region_entry *regions_get(struct mirror_set *ms, u64 index)
{
	struct region_bucket *b = region_bucket(ms, index);
	struct region_entry *e;

	assert_worker(ms);
	spin_lock_irq(&b->lock);
	e = find(b, index);
	spin_unlock_irq(&b->lock);
	if (e)
		return e;
	/*
	 * Only this worker gives entries back, so it must not wait in the pool: writes end, and
	 * their regions can be swept.
	 */
	while (!(e = mempool_alloc(&ms->entry_pool, GFP_NOWAIT | __GFP_NOWARN))) {
		regions_sweep(ms, 0, true);
		ms->log->type->flush(ms->log);
		schedule_timeout_uninterruptible(1);
	}
	memset(e, 0, sizeof(*e));
	e->index = index;
	e->ms = ms;
	e->used = jiffies;
	bio_list_init(&e->waiting);
	INIT_LIST_HEAD(&e->list);
	spin_lock_irq(&b->lock);
	hlist_add_head(&e->node, &b->head);
	spin_unlock_irq(&b->lock);
	atomic_inc(&ms->entries);
	return e;
}

bool regions_step_locked(struct mirror_set *ms, struct region_entry *e, enum region_event event)
{
	unsigned int from = e->r.state;

	if (!region_step(&e->r, event))
		return false;
	if (from != e->r.state)
		trace_mirror_region(dev_of(ms), e->index, region_state_name(from),
				    region_state_name(e->r.state), e->r.pending);
	return true;
}

bool regions_step(struct mirror_set *ms, struct region_entry *e, enum region_event event)
{
	struct region_bucket *b = region_bucket(ms, e->index);
	bool ok;

	spin_lock_irq(&b->lock);
	ok = regions_step_locked(ms, e, event);
	spin_unlock_irq(&b->lock);
	return ok;
}

/* The step, and the writes that waited for it. */
struct bio_list regions_step_all(struct mirror_set *ms, struct region_entry *e,
				 enum region_event event)
{
	struct region_bucket *b = region_bucket(ms, e->index);
	struct bio_list ready;

	spin_lock_irq(&b->lock);
	regions_step_locked(ms, e, event);
	ready = e->waiting;
	bio_list_init(&e->waiting);
	spin_unlock_irq(&b->lock);
	return ready;
}

void regions_release(struct mirror_set *ms, struct region_entry *e)
{
	struct region_bucket *b = region_bucket(ms, e->index);

	spin_lock_irq(&b->lock);
	spin_lock(&ms->lock);
	bio_list_merge(&ms->cold, &e->waiting);
	spin_unlock(&ms->lock);
	bio_list_init(&e->waiting);
	spin_unlock_irq(&b->lock);
	wake_worker(ms);
}

/* `clear`: its mark, if it has one, ends with it. */
bool regions_put(struct mirror_set *ms, struct region_entry *e, bool clear)
{
	struct region_bucket *b = region_bucket(ms, e->index);
	bool marked, gone = false;

	assert_worker(ms);
	spin_lock_irq(&b->lock);
	/* In a cluster a region that lost its sync is still held until it is cleared. */
	marked = e->r.state == REGION_WARM || (ms->cluster && e->r.state == REGION_UNSYNCED);
	if (!e->r.pending && bio_list_empty(&e->waiting) &&
	    (e->r.state == REGION_CLEAN || (clear && regions_step_locked(ms, e, REGION_UNMARK)))) {
		spin_lock(&ms->lock);
		list_del_init(&e->list);
		spin_unlock(&ms->lock);
		hlist_del(&e->node);
		gone = true;
	}
	spin_unlock_irq(&b->lock);
	if (!gone)
		return false;
	if (marked) {
		/*
		 * Before this the legs' caches are flushed if the log wants that
		 * (mirror_flush_legs); it does so when it is flushed.
		 */
		ms->log->type->clear_region(ms->log, e->index);
		atomic64_inc(&ms->clears);
	}
	mempool_free(e, &ms->entry_pool);
	atomic_dec(&ms->entries);
	return true;
}

static bool idle_for(struct region_entry *e, unsigned long idle)
{
	return time_after(jiffies, READ_ONCE(e->used) + idle);
}

/* A bucket's lock is taken where the state matters: only the worker changes the chains. */
bool regions_idle(struct mirror_set *ms, unsigned long idle)
{
	struct region_entry *e;
	unsigned int i;

	assert_worker(ms);
	for (i = 0; atomic_read(&ms->entries) && i < 1U << ms->bucket_bits; i++)
		hlist_for_each_entry(e, &ms->buckets[i].head, node)
			if (!READ_ONCE(e->r.pending) && idle_for(e, idle))
				return true;
	return false;
}

/*
 * Ends the marks of regions that were not written for `idle` jiffies, or of all in which nothing is
 * in flight.
 */
void regions_sweep(struct mirror_set *ms, unsigned long idle, bool everything)
{
	struct hlist_node *tmp;
	struct region_entry *e;
	unsigned int i;

	assert_worker(ms);
	for (i = 0; i < 1U << ms->bucket_bits; i++)
		hlist_for_each_entry_safe(e, tmp, &ms->buckets[i].head, node)
			if (everything || idle_for(e, idle))
				regions_put(ms, e, true);
}

void regions_report(struct mirror_set *ms, char *result, unsigned int maxlen)
{
	struct region_entry *e;
	unsigned int i, sz = 0;

	DMEMIT("%s", "");
	for (i = 0; i < 1U << ms->bucket_bits; i++) {
		spin_lock_irq(&ms->buckets[i].lock);
		hlist_for_each_entry(e, &ms->buckets[i].head, node)
			DMEMIT("%s%llu:%s:%u", sz ? " " : "", e->index,
			       region_state_name(e->r.state), e->r.pending);
		spin_unlock_irq(&ms->buckets[i].lock);
	}
}
