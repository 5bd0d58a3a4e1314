// SPDX-License-Identifier: GPL-2.0
/* Health of the legs; the primary, from which alone a region that is not in sync is read. */
#include "mirror.h"
#include "trace.h"

/*
 * To be called whenever something has changed that it looks at: the last call sees every change.
 * The legs start with LEG_BURDEN.
 */
static void weigh(struct leg *leg)
{
	struct mirror_set *ms = leg->ms;
	unsigned long flags;
	s64 burden;

	spin_lock_irqsave(&ms->burdens, flags);
	burden = READ_ONCE(leg->by_paths);
	if (!leg_alive(leg))
		burden = LEG_FAILED;
	else if (leg == READ_ONCE(ms->preferred) && burden != LEG_CUT_OFF)
		burden = LEG_PREFERRED;
	WRITE_ONCE(leg->burden, burden);
	spin_unlock_irqrestore(&ms->burdens, flags);
}

/*
 * May be called from any context. Only the first error of a kind raises an event. The primary moves
 * only when every region is in sync (or the administrator keeps the log, and with it the knowledge
 * of what is not): a region that is not in sync has its data on the old primary alone, so there an
 * error is returned rather than something older.
 *
 * With a cluster log the nodes agree about the legs; what is kept here is only what this node has
 * seen, so that it reads elsewhere.
 */
void leg_fail(struct leg *leg, enum leg_error why)
{
	struct mirror_set *ms = leg->ms;
	unsigned int i;

	ms->leg_failed = true;
	if (atomic_inc_return(&leg->errors) == 1)
		weigh(leg);
	if (test_and_set_bit(why, &leg->error_types))
		return;
	trace_mirror_leg_failed(dev_of(ms), leg - ms->legs, leg_letter(leg));
	if (!ms->handle_errors)
		return;
	if (!ms->cluster && leg == primary_leg(ms)) {
		if (!ms->in_sync && !ms->keep_log) {
			DMERR("%s: the primary leg failed while regions are not in sync: they cannot be read until it is back",
			      leg->dev->name);
		} else {
			for (i = 0; i < ms->nr_legs; i++)
				if (leg_alive(&ms->legs[i]))
					break;
			if (i < ms->nr_legs)
				WRITE_ONCE(ms->primary, i);
			else
				DMWARN("every leg has failed");
		}
	}
	queue_work(ms->wq, &ms->event);
}

/*
 * These legs (bits) count as well again. `leg_failed` is of use without a cluster log only, and
 * then all of them do.
 */
void legs_reset(struct mirror_set *ms, unsigned long legs)
{
	unsigned int i;

	ms->leg_failed = false;
	for_each_set_bit(i, &legs, ms->nr_legs) {
		atomic_set(&ms->legs[i].errors, 0);
		ms->legs[i].error_types = 0;
		weigh(&ms->legs[i]);
	}
}

void leg_paths(struct leg *leg, unsigned int usable, unsigned int total)
{
	unsigned int by_paths = LEG_BURDEN;

	if (total)
		by_paths = usable ? min(LEG_BURDEN * total / usable, LEG_BURDEN_MAX * LEG_BURDEN)
				  : LEG_CUT_OFF;
	if (leg->by_paths == by_paths)
		return;
	leg->by_paths = by_paths;
	weigh(leg);
	trace_mirror_leg_paths(dev_of(leg->ms), leg - leg->ms->legs, usable, total);
}

void legs_prefer(struct mirror_set *ms, struct leg *leg)
{
	unsigned int i;

	WRITE_ONCE(ms->preferred, leg);
	for (i = 0; i < ms->nr_legs; i++)
		weigh(&ms->legs[i]);
}

bool legs_healthy(struct mirror_set *ms)
{
	unsigned int i;

	for (i = 0; i < ms->nr_legs; i++)
		if (!leg_alive(&ms->legs[i]))
			return false;
	return true;
}

char leg_letter(struct leg *leg)
{
	static const struct {
		enum leg_error error;
		char letter;
	} letters[] = { { LEG_FLUSH_ERROR, 'F' },
			{ LEG_WRITE_ERROR, 'D' },
			{ LEG_SYNC_ERROR, 'S' },
			{ LEG_READ_ERROR, 'R' } };
	u64 word = legs_word(leg->ms);
	bool away = word_told(word) && !(word_written(word) & BIT(leg - leg->ms->legs));
	unsigned int i;

	if (away)
		return 'D'; /* on every node alike, whatever this one has seen of it */
	if (leg_alive(leg))
		return 'A';
	for (i = 0; i < ARRAY_SIZE(letters); i++)
		if (test_bit(letters[i].error, &leg->error_types))
			return letters[i].letter;
	return 'U';
}
