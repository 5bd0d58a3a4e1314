/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one path of a map may do next: states, events and one table. No locks or kernel calls. The
 * caller serialises all events of one path.
 *
 *              ERROR, FAIL            PROBE             PROBE_OK
 *     ACTIVE ─────────────► FAILED ─────────► PROBING ───────────► RAMPING ── RAMPED ─► ACTIVE
 *       │  ▲                  ▲ ▲──── PROBE_BAD ──┘                  ▲  │
 *       │  └── REINSTATE, from everywhere but DRAINING               │  │
 *       └─ LATE ─► STUCK ─────┘ ERROR, FAIL                          │  │
 *                    └────────────────── LANDED (what was late) ─────┘  └─► FAILED, STUCK
 *
 *     DRAIN leads from everywhere to DRAINING, which sticks until UNDRAIN; that leads to RAMPING.
 *     So does ADDED, for a path that was not there before.
 *
 * Only ACTIVE and RAMPING take new I/O. What the kernel's own target calls A and F is
 * path_letter().
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
	PATH_PROBING,  /* failed, and being tried */
	PATH_STUCK,    /* something is late, and has not come back */
	PATH_DRAINING, /* the administrator wants it out of use */
	PATH_RAMPING,  /* works again, as far as one knows: gets a little more from time to time */
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
	PATH_RAMPED, /* it has borne its full share for long enough */
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

#ifdef __cplusplus
}
#endif
#endif
