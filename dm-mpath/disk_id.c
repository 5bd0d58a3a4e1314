// SPDX-License-Identifier: GPL-2.0
#include "disk_id.h"

#define PAGE_HEADER 4
#define DESCRIPTOR_HEADER 4
#define OF_LUN 0 /* association: the logical unit, not the port or the target */

/* By the designator's type. Types that name ports or groups, or nothing, are nameless. */
static const u8 kinds[16] = {
	[0x0] = DISK_VENDOR, [0x1] = DISK_T10,	     [0x2] = DISK_EUI64, [0x3] = DISK_NAA,
	[0x7] = DISK_MD5,    [0x8] = DISK_SCSI_NAME, [0xa] = DISK_UUID,
};

static bool better(u8 kind, const u8 *d, const struct disk_id *than)
{
	if (kind == DISK_NAMELESS || !d[3] || d[3] > DISK_NAME_BYTES)
		return false;
	if (than->kind == DISK_NAMELESS || kind < than->kind)
		return true;
	return kind == than->kind && d[3] > than->length; /* of two, the longer one tells more */
}

void disk_name_of_page(struct disk_id *id, const u8 *page, u32 bytes)
{
	u32 at = PAGE_HEADER, end;

	id->kind = DISK_NAMELESS;
	id->length = 0;
	if (bytes < PAGE_HEADER || page[1] != 0x83)
		return;
	end = PAGE_HEADER + (page[2] << 8 | page[3]);
	if (end > bytes)
		end = bytes;
	while (at + DESCRIPTOR_HEADER <= end) {
		const u8 *d = page + at;
		u8 kind = kinds[d[1] & 0xf];

		if (at + DESCRIPTOR_HEADER + d[3] > end)
			return; /* cut off */
		if ((d[1] >> 4 & 3) == OF_LUN && better(kind, d, id)) {
			id->kind = kind;
			id->length = d[3];
			memcpy(id->name, d + DESCRIPTOR_HEADER, d[3]);
		}
		at += DESCRIPTOR_HEADER + d[3];
	}
}

enum disk_verdict disk_compare(const struct disk_id *was, const struct disk_id *now)
{
	if (was->kind == DISK_NAMELESS) {
		if (!now->sectors)
			return DISK_UNKNOWN;
		return now->sectors == was->sectors ? DISK_SAME : DISK_OTHER;
	}
	if (now->kind == DISK_NAMELESS)
		return DISK_UNKNOWN;
	if (now->kind != was->kind || now->length != was->length ||
	    memcmp(now->name, was->name, was->length))
		return DISK_OTHER;
	return now->sectors && now->sectors < was->sectors ? DISK_OTHER : DISK_SAME;
}

const char *disk_name_kind(const struct disk_id *id)
{
	static const char *const names[DISK_NAMES] = {
		[DISK_NAMELESS] = "no name", [DISK_NAA] = "naa",	[DISK_EUI64] = "eui",
		[DISK_UUID] = "uuid",	     [DISK_SCSI_NAME] = "name", [DISK_T10] = "t10",
		[DISK_MD5] = "md5",	     [DISK_VENDOR] = "vendor",
	};

	return id->kind < DISK_NAMES ? names[id->kind] : "?";
}
