// SPDX-License-Identifier: GPL-2.0
/*
 * What one leg could not read is rewritten there from a leg that could, so that the device can put
 * it elsewhere. The region is closed for that like any other that is copied, and stays in sync: its
 * content is the same on every leg that can be read, before and after.
 *
 * With a cluster log other nodes may write the region at any time. There the cluster is asked: it
 * makes a leg the primary that can be read, if need be, and then copies the region from that one.
 * With a log in memory the primary stays, and what it cannot read is not rewritten.
 *
 * A leg that is dead and not merely scarred shows by the number of its errors, or when it cannot be
 * written. It is not read any more.
 */
#include "mirror.h"

#define ERRORS_PER_HOUR 20 /* as many as Linux's md bears by default */

static bool can_repair(struct mirror_set *ms, unsigned long bad)
{
	return ms->sticky &&
	       !(ms->cluster && !ms->cluster->device && bad & BIT(READ_ONCE(ms->primary)));
}

/* A read failed on this leg. Any context. False: it is not to be read any more. */
bool repair_bears(struct leg *leg)
{
	if (!can_repair(leg->ms, BIT(leg - leg->ms->legs)))
		return false;
	if (time_after(jiffies, READ_ONCE(leg->errors_since) + 3600 * HZ)) {
		WRITE_ONCE(leg->errors_since, jiffies);
		atomic_set(&leg->read_errors, 0);
	}
	return atomic_inc_return(&leg->read_errors) <= ERRORS_PER_HOUR;
}

/*
 * These legs (bits) could not read something in the region that `good` could. Any context. False:
 * nothing will be done, because it cannot be here, or too much of it is waiting.
 */
bool repair_ask(struct mirror_set *ms, u64 index, unsigned int good, unsigned long bad)
{
	bool taken = false;
	unsigned long flags;

	if (!can_repair(ms, bad))
		return false;
	spin_lock_irqsave(&ms->lock, flags);
	if (ms->nr_repairs < MIRROR_REPAIRS) {
		ms->repairs[ms->nr_repairs++] = (struct repair){ index, good, bad };
		wake_worker(ms);
		taken = true;
	}
	spin_unlock_irqrestore(&ms->lock, flags);
	return taken;
}

/* By the worker. */
void repairs_work(struct mirror_set *ms)
{
	struct repair repairs[MIRROR_REPAIRS];
	unsigned int i, n;

	spin_lock_irq(&ms->lock);
	n = ms->nr_repairs;
	memcpy(repairs, ms->repairs, n * sizeof(*repairs));
	ms->nr_repairs = 0;
	spin_unlock_irq(&ms->lock);
	for (i = 0; i < n; i++) {
		struct repair *r = &repairs[i];

		if (!in_use(ms) || ms->log->type->in_sync(ms->log, r->index, 1) != 1)
			continue; /* it is copied anyway */
		if (!ms->cluster)
			copy_to_repair(ms, r);
		else if (cluster_log_repair(ms->cluster, r->index, r->bad))
			atomic64_inc(&ms->regions_repaired);
	}
}
