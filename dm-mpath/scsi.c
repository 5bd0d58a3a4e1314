// SPDX-License-Identifier: GPL-2.0
/*
 * What a SCSI disk says of itself when it is asked anew, past everything that the kernel remembers:
 * which disk it is, how large, and whether anybody has changed its reservations. All may sleep, for
 * a few times ASK_TIMEOUT at most; a device that the kernel holds back is not asked.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <scsi/scsi_common.h>
#include <scsi/scsi_device.h>
#include <scsi/scsi_proto.h>

#include "mpath.h"
#include "compat/scsi.h"

#define ASK_TIMEOUT (5 * HZ)
#define ASK_TRIES 3 /* the first ones may hear of a unit attention instead */
#define PAGE_BYTES 1020
#define SHORT_PAGE_BYTES 252 /* what every device takes for a length */

#define NO_SUCH_UNIT 0x25 /* additional sense code */

enum answer {
	ANSWERED,
	REFUSED,       /* it does not know the question */
	NOT_READY_NOW, /* a port on standby, say: it is there, and does not tell */
	SILENT,
};

struct scsi_device *scsi_of(const struct mpath_path *path)
{
	struct device *parent = disk_to_dev(path->dev->bdev->bd_disk)->parent;

	return parent && scsi_is_sdev_device(parent) ? to_scsi_device(parent) : NULL;
}

static u64 big_endian(const u8 *from, u32 bytes)
{
	u64 value = 0;

	while (bytes--)
		value = value << 8 | *from++;
	return value;
}

static enum answer meaning(int result, const struct scsi_sense_hdr *sense)
{
	if (!result)
		return ANSWERED;
	if (result < 0 || !scsi_sense_valid(sense))
		return SILENT;
	if (sense->sense_key == ILLEGAL_REQUEST && sense->asc != NO_SUCH_UNIT)
		return REFUSED;
	return sense->sense_key == NOT_READY ? NOT_READY_NOW : SILENT;
}

static enum answer ask(struct scsi_device *sdev, const u8 *cdb, u8 *buffer, u32 bytes)
{
	struct scsi_sense_hdr sense = {};
	unsigned int noio;
	int i, result = -ENODEV;

	for (i = 0; i < ASK_TRIES; i++) {
		if (READ_ONCE(sdev->sdev_state) != SDEV_RUNNING)
			return SILENT;
		memset(buffer, 0, bytes);
		noio = memalloc_noio_save();
		result = compat_scsi_read(sdev, cdb, buffer, bytes, &sense, ASK_TIMEOUT);
		memalloc_noio_restore(noio);
		if (result <= 0 || !scsi_sense_valid(&sense) || sense.sense_key != UNIT_ATTENTION)
			break;
	}
	return meaning(result, &sense);
}

static enum answer ask_page(struct scsi_device *sdev, u8 *page, u32 bytes)
{
	const u8 cdb[16] = { INQUIRY, 1, 0x83, bytes >> 8, bytes & 0xff };
	enum answer answer = ask(sdev, cdb, page, bytes);

	if (answer != ANSWERED)
		return answer;
	if (page[0] >> 5) /* peripheral qualifier: there is nothing behind this LUN */
		return SILENT;
	return page[1] == 0x83 ? ANSWERED : REFUSED;
}

static enum answer ask_name(struct scsi_device *sdev, struct disk_id *id, u8 *page)
{
	u32 bytes = SHORT_PAGE_BYTES;
	enum answer answer = REFUSED;

	/* Some hang when they are asked for a page; the kernel knows them, and has not asked. */
	if (scsi_device_supports_vpd(sdev))
		answer = ask_page(sdev, page, bytes);
	if (answer == ANSWERED && big_endian(page + 2, 2) + 4 > SHORT_PAGE_BYTES) {
		bytes = PAGE_BYTES;
		answer = ask_page(sdev, page, bytes);
	}
	id->kind = DISK_NAMELESS;
	if (answer == ANSWERED)
		disk_name_of_page(id, page, bytes);
	return answer;
}

static enum answer ask_size(struct scsi_device *sdev, u64 *sectors, u8 *buffer)
{
	const u8 long_cdb[16] = { SERVICE_ACTION_IN_16, SAI_READ_CAPACITY_16, [13] = 32 };
	const u8 short_cdb[16] = { READ_CAPACITY };
	enum answer answer = ask(sdev, long_cdb, buffer, 32);
	u64 last = big_endian(buffer, 8);
	u32 block = big_endian(buffer + 8, 4);

	*sectors = 0;
	if (answer == REFUSED) {
		answer = ask(sdev, short_cdb, buffer, 8);
		last = big_endian(buffer, 4);
		block = big_endian(buffer + 4, 4);
	}
	if (answer == ANSWERED)
		*sectors = (last + 1) * (block >> SECTOR_SHIFT);
	return answer;
}

bool scsi_ask_id(struct scsi_device *sdev, struct disk_id *id)
{
	u8 *buffer = kmalloc(PAGE_BYTES, GFP_NOIO);
	enum answer name = SILENT, size = SILENT;

	if (buffer)
		name = ask_name(sdev, id, buffer);
	if (name == ANSWERED || name == REFUSED)
		size = ask_size(sdev, &id->sectors, buffer);
	kfree(buffer);
	return size != SILENT;
}

void scsi_remembered_name(struct scsi_device *sdev, struct disk_id *id)
{
	const struct scsi_vpd *page;

	rcu_read_lock();
	page = rcu_dereference(sdev->vpd_pg83);
	if (page)
		disk_name_of_page(id, page->data, min_t(u32, page->len, PAGE_BYTES));
	rcu_read_unlock();
}

#define READ_RESERVATION 0x01 /* service action */

bool scsi_ask_registrations(struct scsi_device *sdev, u32 *generation, bool *reserved)
{
	const u8 cdb[16] = { PERSISTENT_RESERVE_IN, READ_RESERVATION, [8] = SHORT_PAGE_BYTES };
	u8 *buffer = kmalloc(SHORT_PAGE_BYTES, GFP_NOIO);
	enum answer answer = buffer ? ask(sdev, cdb, buffer, SHORT_PAGE_BYTES) : SILENT;

	if (answer == ANSWERED) {
		*generation = big_endian(buffer, 4);
		*reserved = big_endian(buffer + 4, 4); /* so many bytes tell of it */
	}
	kfree(buffer);
	return answer == ANSWERED;
}
