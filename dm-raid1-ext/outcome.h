/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What becomes of a write whose legs have answered (invariants I1, I3, I4). Decided here alone: the
 * module, the unit tests and the simulator compile this file. No locks or kernel calls.
 *
 * With a cluster log the first line that fits counts:
 *
 *   the write lease is not held                       WAITS_FOR_LEASE    GIVEN_BACK
 *   a leg refused it                                  REFUSED
 *   it was sent under an earlier lease                AGAIN              GIVEN_BACK
 *   it reached every leg that some node may read      ENDS
 *   the mirror is being suspended                     LOST               GIVEN_BACK
 *   it failed on a leg that may be tried again        AGAIN
 *   a leg that is written by now has not got it       AGAIN
 *   the cluster is to copy its region                 AGAIN
 *   it reached no leg: no leg is left to try          LOST
 *                      another one is                 AGAIN
 *   a leg that some node may read missed it           WAITS_FOR_NODES
 *
 * The second column is that of a suspend that gives writes back to the core. A write that has
 * outlived its lease does not end even where it reached every leg: others may have copied its
 * region meanwhile, from a leg that did not have it yet to one that had. What a leg refused it may
 * have done in part, and so may others: the legs may differ, even where all of them refused. The
 * nodes must hear of that before it ends, so it waits for the lease, too.
 *
 * Without a cluster log:
 *
 *   no leg failed                                     ENDS
 *   it was sent to the primary alone                  FAILS
 *   a leg refused it                                  REFUSED
 *   a leg missed it                                   MISSED
 */
#ifndef DM_RAID1_EXT_OUTCOME_H
#define DM_RAID1_EXT_OUTCOME_H

#include "agreement.h"

#ifdef __cplusplus
extern "C" {
#endif

enum write_outcome {
	WRITE_ENDS,	       /* well */
	WRITE_REFUSED,	       /* as not supported, after the region has lost its sync */
	WRITE_FAILS,	       /* with its error; the legs are as equal as they were */
	WRITE_MISSED,	       /* the region loses its sync, and handle_errors says what follows */
	WRITE_WAITS_FOR_LEASE, /* undecided */
	WRITE_WAITS_FOR_NODES, /* undecided; they hear which legs failed */
	WRITE_AGAIN,	       /* it starts over, as if it had come just now */
	WRITE_LOST,	       /* with an error, after the region has lost its sync */
	WRITE_GIVEN_BACK,      /* to the core, after the region has lost its sync */
};

enum suspend_way {
	SUSPEND_NONE,	   /* the mirror is in use */
	SUSPEND_DRAINS,	   /* what was begun is to end */
	SUSPEND_GIVES_BACK /* what cannot end now goes back to the core */
};

/* A write as it was sent, and what its legs said. Legs are bits. */
struct write_sent {
	unsigned long long word; /* agreement_word(), read after its region was entered */
	clog_u32 lapse;		 /* `lapses`, read before the lease was looked at */
	clog_u32 sent, failed;
	clog_u32 refused; /* of `failed`: by legs that do not have the operation, and are well */
};

/* What holds now. */
struct write_world {
	bool cluster;
	bool lease; /* is held, and the nodes have said which legs are good */
	clog_u32 lapses;
	clog_u32 retry; /* legs on which what failed may be tried again */
	bool closing;	/* its region is to be copied by the cluster */
	enum suspend_way suspend;
};

/*
 * Does it end well, whatever else there is to know? In any context. What lacked nothing when it was
 * sent lacks nothing later.
 */
static inline bool write_ends_at_once(const struct write_sent *w, bool cluster, bool lease,
				      clog_u32 lapses)
{
	if (w->failed)
		return false;
	return !cluster || (!(word_needed(w->word) & ~w->sent) && lease && w->lapse == lapses);
}

/* Bits of the legs on which it failed and which some node may read, or will. */
static inline clog_u32 write_failed_legs(const struct agreement *a, const struct write_sent *w)
{
	return agreement_lacks(a, w->word, w->sent & ~w->failed) & a->written & w->failed;
}

static inline enum write_outcome outcome_alone(const struct write_sent *w)
{
	if (write_ends_at_once(w, false, true, 0))
		return WRITE_ENDS;
	if (!(w->sent & (w->sent - 1)))
		return WRITE_FAILS;
	return w->refused ? WRITE_REFUSED : WRITE_MISSED;
}

/* `a`: what this node follows. */
static inline enum write_outcome outcome_of_write(const struct agreement *a,
						  const struct write_sent *w,
						  const struct write_world *now)
{
	clog_u32 reached = w->sent & ~w->failed, lacks = agreement_lacks(a, w->word, reached);
	bool gives_back = now->suspend == SUSPEND_GIVES_BACK;

	if (!now->cluster)
		return outcome_alone(w);
	if (!now->lease)
		return gives_back ? WRITE_GIVEN_BACK : WRITE_WAITS_FOR_LEASE;
	if (w->refused)
		return WRITE_REFUSED;
	if (w->lapse != now->lapses)
		return gives_back ? WRITE_GIVEN_BACK : WRITE_AGAIN;
	if (reached && !lacks)
		return WRITE_ENDS;
	if (now->suspend != SUSPEND_NONE)
		return gives_back ? WRITE_GIVEN_BACK : WRITE_LOST;
	if (w->failed & now->retry || lacks & a->written & ~w->sent || now->closing)
		return WRITE_AGAIN;
	if (!reached)
		return a->written & ~w->failed ? WRITE_AGAIN : WRITE_LOST;
	return WRITE_WAITS_FOR_NODES;
}

#ifdef __cplusplus
}
#endif
#endif
