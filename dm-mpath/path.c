// SPDX-License-Identifier: GPL-2.0
#include "path.h"

#define SAME PATH_STATES

static const u8 next[PATH_STATES][PATH_EVENTS] = {
	[PATH_ACTIVE] = { PATH_FAILED, PATH_FAILED, PATH_STUCK, SAME, SAME, SAME, SAME, SAME, SAME,
			  PATH_DRAINING, SAME, SAME },
	[PATH_FAILED] = { SAME, SAME, SAME, SAME, PATH_ACTIVE, PATH_PROBING, SAME, SAME, SAME,
			  PATH_DRAINING, SAME, SAME },
	[PATH_PROBING] = { SAME, PATH_FAILED, SAME, SAME, PATH_ACTIVE, SAME, PATH_RAMPING,
			   PATH_FAILED, SAME, PATH_DRAINING, SAME, SAME },
	[PATH_STUCK] = { PATH_FAILED, PATH_FAILED, SAME, PATH_RAMPING, PATH_ACTIVE, SAME, SAME,
			 SAME, SAME, PATH_DRAINING, SAME, SAME },
	[PATH_DRAINING] = { SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME,
			    PATH_RAMPING, PATH_RAMPING },
	[PATH_RAMPING] = { PATH_FAILED, PATH_FAILED, PATH_STUCK, SAME, PATH_ACTIVE, SAME, SAME,
			   SAME, PATH_ACTIVE, PATH_DRAINING, SAME, SAME },
};

bool path_step(u8 *state, enum path_event event)
{
	u8 to = next[*state][event];

	if (to == SAME)
		return false;
	*state = to;
	return true;
}

bool path_takes_io(enum path_state state)
{
	return state == PATH_ACTIVE || state == PATH_RAMPING;
}

char path_letter(enum path_state state)
{
	return path_takes_io(state) ? 'A' : 'F';
}

const char *path_state_name(enum path_state state)
{
	static const char *const names[PATH_STATES] = { "active", "failed",   "probing",
							"stuck",  "draining", "ramping" };

	return state < PATH_STATES ? names[state] : "?";
}
