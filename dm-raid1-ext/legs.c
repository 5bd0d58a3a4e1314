// SPDX-License-Identifier: GPL-2.0
/* Health of the legs; the primary, from which alone a region that is not in sync is read. */
#include "mirror.h"

/*
 * May be called from any context. Only the first error of a kind raises an event. The primary moves
 * only when every region is in sync (or the administrator keeps the log, and with it the knowledge
 * of what is not): a region that is not in sync has its data on the old primary alone, so there an
 * error is returned rather than something older.
 */
void leg_fail(struct leg *leg, enum leg_error why)
{
	struct mirror_set *ms = leg->ms;
	unsigned int i;

	ms->leg_failed = true;
	atomic_inc(&leg->errors);
	if (test_and_set_bit(why, &leg->error_types) || !ms->handle_errors)
		return;
	if (leg == primary_leg(ms)) {
		if (ms->cluster || (!ms->in_sync && !ms->keep_log)) {
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

void legs_reset(struct mirror_set *ms)
{
	unsigned int i;

	ms->leg_failed = false;
	for (i = 0; i < ms->nr_legs; i++) {
		atomic_set(&ms->legs[i].errors, 0);
		ms->legs[i].error_types = 0;
	}
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
	unsigned int i;

	if (leg_alive(leg))
		return 'A';
	for (i = 0; i < ARRAY_SIZE(letters); i++)
		if (test_bit(letters[i].error, &leg->error_types))
			return letters[i].letter;
	return 'U';
}
