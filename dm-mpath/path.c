// SPDX-License-Identifier: GPL-2.0
#include "path.h"

#define TO(state) ((state) + 1)
#define NOWHERE 0

static const u8 next[PATH_STATES][PATH_EVENTS] = {
	[PATH_ACTIVE] = {
		[PATH_ERROR] = TO(PATH_FAILED),
		[PATH_FAIL] = TO(PATH_FAILED),
		[PATH_LATE] = TO(PATH_STUCK),
		[PATH_CONFLICT] = TO(PATH_UNREGISTERED),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
	[PATH_FAILED] = {
		[PATH_REINSTATE] = TO(PATH_ACTIVE),
		[PATH_PROBE] = TO(PATH_PROBING),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
	[PATH_PROBING] = {
		[PATH_FAIL] = TO(PATH_FAILED),
		[PATH_REINSTATE] = TO(PATH_ACTIVE),
		[PATH_PROBE_OK] = TO(PATH_RAMPING),
		[PATH_PROBE_BAD] = TO(PATH_FAILED),
		[PATH_OTHER_DISK] = TO(PATH_FOREIGN),
		[PATH_CONFLICT] = TO(PATH_UNREGISTERED),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
	[PATH_STUCK] = {
		[PATH_ERROR] = TO(PATH_FAILED),
		[PATH_FAIL] = TO(PATH_FAILED),
		[PATH_LANDED] = TO(PATH_PROBING),
		[PATH_REINSTATE] = TO(PATH_ACTIVE),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
	[PATH_DRAINING] = {
		[PATH_UNDRAIN] = TO(PATH_PROBING),
		[PATH_ADDED] = TO(PATH_PROBING),
	},
	[PATH_RAMPING] = {
		[PATH_ERROR] = TO(PATH_FAILED),
		[PATH_FAIL] = TO(PATH_FAILED),
		[PATH_LATE] = TO(PATH_STUCK),
		[PATH_REINSTATE] = TO(PATH_ACTIVE),
		[PATH_CONFLICT] = TO(PATH_UNREGISTERED),
		[PATH_RAMPED] = TO(PATH_ACTIVE),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
	[PATH_FOREIGN] = {
		[PATH_REINSTATE] = TO(PATH_ACTIVE),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
	[PATH_UNREGISTERED] = {
		[PATH_FAIL] = TO(PATH_FAILED),
		[PATH_REINSTATE] = TO(PATH_ACTIVE),
		[PATH_PROBE] = TO(PATH_PROBING),
		[PATH_DRAIN] = TO(PATH_DRAINING),
	},
};

bool path_step(u8 *state, enum path_event event)
{
	u8 to = next[*state][event];

	if (to == NOWHERE)
		return false;
	*state = to - 1;
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
	static const char *const names[PATH_STATES] = {
		[PATH_ACTIVE] = "active",     [PATH_FAILED] = "failed",
		[PATH_PROBING] = "probing",   [PATH_STUCK] = "stuck",
		[PATH_DRAINING] = "draining", [PATH_RAMPING] = "ramping",
		[PATH_FOREIGN] = "foreign",   [PATH_UNREGISTERED] = "unregistered",
	};

	return state < PATH_STATES ? names[state] : "?";
}

void path_count_other(struct path_others *others, enum path_state state)
{
	others->usable += path_takes_io(state);
	others->unknown += state == PATH_FAILED || state == PATH_PROBING || state == PATH_STUCK;
}

/*
 * A path in service was registered, if any was: when no other takes I/O, the node was excluded. One
 * that returns may have missed the registration, and waits for those that may have it.
 */
enum conflict path_conflict(bool in_service, const struct path_others *others)
{
	if (others->usable || (!in_service && others->unknown))
		return CONFLICT_OF_PATH;
	return CONFLICT_OF_NODE;
}
