/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Self-tests of a debug build (CLOGD_DEBUG=1), run when the module is loaded; it is not if one
 * fails.
 */
#ifndef DM_MPATH_SELFTEST_H
#define DM_MPATH_SELFTEST_H

#ifdef CLOGD_SELFTEST
int mpath_selftest(void);
#else
static inline int mpath_selftest(void)
{
	return 0;
}
#endif

#endif
