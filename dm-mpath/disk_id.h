/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which disk a device leads to, as the disk itself says: a name that no other has, and its size.
 * No locks or kernel calls.
 */
#ifndef DM_MPATH_DISK_ID_H
#define DM_MPATH_DISK_ID_H

#include "pure.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DISK_NAME_BYTES 252 /* the longest that a designator of SCSI can be */

/* The best first; the numbers of SCSI (SPC, designation descriptor) are in disk_id.c. */
enum disk_name {
	DISK_NAMELESS,
	DISK_NAA,
	DISK_EUI64,
	DISK_UUID,
	DISK_SCSI_NAME,
	DISK_T10,
	DISK_MD5,
	DISK_VENDOR,
	DISK_NAMES
};

struct disk_id {
	u64 sectors; /* of 512 bytes; 0: it does not say now (a port on standby) */
	u8 kind;     /* enum disk_name */
	u8 length;
	u8 name[DISK_NAME_BYTES];
};

/* The best name of the disk in a VPD page 0x83 of so many bytes; if it has none, nameless. */
void disk_name_of_page(struct disk_id *id, const u8 *page, u32 bytes);

enum disk_verdict { DISK_SAME, DISK_OTHER, DISK_UNKNOWN };

/*
 * Is it still the disk that it was? A named one may have grown, and if it tells no name for now (a
 * controller that starts) nothing is known of it. One that had no name is told by its size alone.
 */
enum disk_verdict disk_compare(const struct disk_id *was, const struct disk_id *now);

const char *disk_name_kind(const struct disk_id *id);

#ifdef __cplusplus
}
#endif
#endif
