/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Self-tests of a debug build (CLOGD_DEBUG=1), run when a module is loaded: what the pure files do
 * as this kernel's compiler and processor have made them. A module whose test fails is not loaded.
 */
#ifndef DM_RAID1_EXT_SELFTEST_H
#define DM_RAID1_EXT_SELFTEST_H

#ifdef CLOGD_SELFTEST
int mirror_selftest(void);
int cluster_log_selftest(void);
#else
static inline int mirror_selftest(void)
{
	return 0;
}

static inline int cluster_log_selftest(void)
{
	return 0;
}
#endif

#endif
