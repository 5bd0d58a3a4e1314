// SPDX-License-Identifier: GPL-2.0
#include "region.h"

#define NONE REGION_STATES /* not possible */

/* Where an event leads; what has to hold besides is in region_step(). */
static const unsigned char next[REGION_STATES][REGION_EVENTS] = {
	[REGION_CLEAN] = { REGION_MARKING, NONE, NONE, REGION_UNSYNCED, REGION_CLOSING, NONE, NONE,
			   NONE, NONE, REGION_AWAY, NONE, NONE },
	[REGION_MARKING] = { NONE, REGION_WARM, REGION_CLEAN, NONE, NONE, NONE, NONE, NONE, NONE,
			     NONE, NONE, NONE },
	[REGION_WARM] = { NONE, NONE, NONE, REGION_UNSYNCED, REGION_CLOSING, NONE, NONE, NONE,
			  REGION_CLEAN, NONE, NONE, NONE },
	[REGION_UNSYNCED] = { NONE, NONE, NONE, REGION_UNSYNCED, REGION_CLOSING, NONE, NONE, NONE,
			      REGION_CLEAN, NONE, NONE, NONE },
	[REGION_CLOSING] = { NONE, NONE, NONE, REGION_CLOSING, NONE, REGION_COPYING, NONE, NONE,
			     NONE, NONE, REGION_AWAY, NONE },
	[REGION_COPYING] = { NONE, NONE, NONE, NONE, NONE, NONE, REGION_CLEAN, REGION_UNSYNCED,
			     NONE, NONE, NONE, NONE },
	[REGION_AWAY] = { NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
			  REGION_CLEAN },
};

enum region_way region_enter(struct region *r)
{
	switch (r->state) {
	case REGION_WARM:
		r->pending++;
		return REGION_EVERY_LEG;
	case REGION_UNSYNCED:
		r->pending++;
		return REGION_PRIMARY;
	case REGION_CLEAN:
		return REGION_ASK;
	default:
		return REGION_WAIT;
	}
}

bool region_leave(struct region *r)
{
	return --r->pending == 0 && r->state == REGION_CLOSING;
}

bool region_step(struct region *r, enum region_event event)
{
	unsigned char to = next[r->state][event];

	if (to == NONE)
		return false;
	if (r->pending &&
	    (event == REGION_DRAINED || event == REGION_UNMARK || event == REGION_HAND_OVER))
		return false;
	r->state = to;
	return true;
}

const char *region_state_name(enum region_state state)
{
	static const char *const names[REGION_STATES] = { "clean",   "marking", "warm", "unsynced",
							  "closing", "copying", "away" };

	return state < REGION_STATES ? names[state] : "?";
}
