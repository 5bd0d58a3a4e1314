/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one path of a map may do next: states, events and one table. No locks or kernel calls. The
 * caller serialises all events of one path.
 *
 *              ERROR, FAIL            PROBE             PROBE_OK
 *     ACTIVE ─────────────► FAILED ─────────► PROBING ───────────► RAMPING ── RAMPED ─► ACTIVE
 *       │  ▲                  ▲ ▲──── PROBE_BAD ──┘ │ │ ▲              │
 *       │  └── REINSTATE, from everywhere but DRAINING│ │ └─ PROBE ─┐  └─► FAILED, STUCK,
 *       │                     │                     │ └─ CONFLICT ─► UNREGISTERED
 *       │                     │                     └─ OTHER_DISK ─► FOREIGN
 *       └─ LATE ─► STUCK ─────┘ ERROR, FAIL
 *                    └─ LANDED (what was late) ─► PROBING
 *
 *     DRAIN leads from everywhere to DRAINING, which sticks until UNDRAIN; that leads to PROBING.
 *     So does ADDED, for a path that was not there before.
 *
 * Only ACTIVE and RAMPING take new I/O, and but for somebody's word (REINSTATE) nothing leads there
 * except a try that went well. What the kernel's own target calls A and F is path_letter().
 */
#ifndef DM_MPATH_PATH_H
#define DM_MPATH_PATH_H

#include "pure.h"

#ifdef __cplusplus
extern "C" {
#endif

enum path_state {
	PATH_ACTIVE,
	PATH_FAILED,   /* an error, or somebody said so */
	PATH_PROBING,  /* being tried, or about to be */
	PATH_STUCK,    /* something is late, and has not come back */
	PATH_DRAINING, /* the administrator wants it out of use */
	PATH_RAMPING,  /* works again, as far as one knows: gets a little more from time to time */
	PATH_FOREIGN,  /* it leads to another disk; until somebody says otherwise */
	PATH_UNREGISTERED, /* a reservation excludes it, and not the other paths */
	PATH_STATES
};

enum path_event {
	PATH_ERROR,	/* I/O ended with an error that is the path's */
	PATH_FAIL,	/* somebody says that it has failed */
	PATH_LATE,	/* I/O is older than the path's deadline */
	PATH_LANDED,	/* it has come back after all, without an error */
	PATH_REINSTATE, /* somebody says that it works */
	PATH_PROBE,	/* it is tried */
	PATH_PROBE_OK,
	PATH_PROBE_BAD,
	PATH_OTHER_DISK, /* a try has found it to lead elsewhere */
	PATH_CONFLICT,	 /* with a reservation that other paths do not conflict with */
	PATH_RAMPED,	 /* it has borne its full share for long enough */
	PATH_DRAIN,
	PATH_UNDRAIN,
	PATH_ADDED, /* to a map in use; before, it was like one that is drained */
	PATH_EVENTS
};

/* True: the state has changed. An event that has no meaning in a state changes nothing. */
bool path_step(u8 *state, enum path_event event);

bool path_takes_io(enum path_state state);
char path_letter(enum path_state state);
const char *path_state_name(enum path_state state);

/*
 * A reservation conflict: does this path lack a registration that others have, or was the whole
 * node excluded? Then the conflict is the answer, at once.
 */
enum conflict { CONFLICT_OF_PATH, CONFLICT_OF_NODE };

/* Of all other paths of the map. */
struct path_others {
	u32 usable;  /* take I/O */
	u32 unknown; /* failed, stuck, being tried: they may well be registered */
};

void path_count_other(struct path_others *others, enum path_state state);

/* `in_service`: I/O of a path in use met the conflict; if not, a try of one that was out of use. */
enum conflict path_conflict(bool in_service, const struct path_others *others);

#ifdef __cplusplus
}
#endif
#endif
