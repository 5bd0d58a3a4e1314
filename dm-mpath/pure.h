/* SPDX-License-Identifier: GPL-2.0 */
/* What the files without kernel calls (path.c, select*.c) need of the kernel. */
#ifndef DM_MPATH_PURE_H
#define DM_MPATH_PURE_H

#ifdef __KERNEL__
#include <linux/atomic.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include "tests/unit/dm-mpath/kernel.h"
#endif

#endif
