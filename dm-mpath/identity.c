// SPDX-License-Identifier: GPL-2.0
/*
 * Does a device lead where the map's other paths lead? It has their size and their name of itself
 * (SCSI VPD page 0x83, NVMe NGUID or EUI-64), and no other map uses it. The feature `force` takes
 * it all the same.
 *
 * Where it leads is noted then, and before it returns after a failure a SCSI disk is asked anew,
 * for what the kernel remembers is of the disk that was there. Others are compared by what the
 * kernel says of them (NVMe asks itself when a controller is back).
 */
#include "mpath.h"

/* Every path of every map. */
static LIST_HEAD(in_use);
static DEFINE_MUTEX(in_use_lock);

/* A table that is loaded and not yet in use is of the same map. */
static bool of_another_map(const struct mpath_path *path, const struct mpath_path *other)
{
	return other->dev->bdev->bd_dev == path->dev->bdev->bd_dev &&
	       dm_table_get_md(other->m->ti->table) != dm_table_get_md(path->m->ti->table);
}

/* False: another map has it. */
static bool take(struct mpath_path *path)
{
	struct mpath_path *other;
	bool taken = false;

	mutex_lock(&in_use_lock);
	if (!path->m->force)
		list_for_each_entry(other, &in_use, used)
			taken |= of_another_map(path, other);
	if (!taken)
		list_add(&path->used, &in_use);
	mutex_unlock(&in_use_lock);
	return !taken;
}

void identity_release(struct mpath_path *path)
{
	mutex_lock(&in_use_lock);
	list_del_init(&path->used);
	mutex_unlock(&in_use_lock);
}

/* Bytes of it; 0: none of that kind. */
static int name_of(const struct mpath_path *path, enum blk_unique_id kind, u8 *id)
{
	struct gendisk *disk = path->dev->bdev->bd_disk;
	int n;

	if (!disk->fops->get_unique_id || bdev_is_partition(path->dev->bdev))
		return 0;
	n = disk->fops->get_unique_id(disk, id, kind);
	return n > 0 && n <= 16 ? n : 0;
}

/* By the first kind of name that the one has. */
static bool same_name(const struct mpath_path *one, const struct mpath_path *other)
{
	static const enum blk_unique_id kinds[] = { BLK_UID_NAA, BLK_UID_EUI64, BLK_UID_T10 };
	u8 a[16], b[16];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		int n = name_of(one, kinds[i], a);

		if (n)
			return name_of(other, kinds[i], b) == n && !memcmp(a, b, n);
	}
	return true; /* it tells none */
}

/* ---- on return ---- */

static void remembered(const struct mpath_path *path, struct disk_id *id)
{
	static const struct {
		enum blk_unique_id kind;
		enum disk_name name;
	} kinds[] = { { BLK_UID_NAA, DISK_NAA },
		      { BLK_UID_EUI64, DISK_EUI64 },
		      { BLK_UID_T10, DISK_T10 } };
	struct scsi_device *sdev = scsi_of(path);
	u32 i;

	id->sectors = get_capacity(path->dev->bdev->bd_disk);
	if (sdev) {
		scsi_remembered_name(sdev, id);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(kinds) && !id->length; i++) {
		id->length = name_of(path, kinds[i].kind, id->name);
		id->kind = id->length ? kinds[i].name : DISK_NAMELESS;
	}
}

void identity_note(struct mpath_path *path)
{
	remembered(path, &path->disk);
}

enum disk_verdict identity_ask(const struct mpath_path *path, struct disk_id *now)
{
	struct scsi_device *sdev = scsi_of(path);

	if (!sdev)
		remembered(path, now);
	else if (!scsi_ask_id(sdev, now))
		return DISK_UNKNOWN;
	return disk_compare(&path->disk, now);
}

/* ---- when it becomes a path ---- */

static struct mpath_path *some_path(struct mpath *m, const struct mpath_path *but)
{
	struct mpath_path *path;
	struct group *group;

	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			if (path != but && path->dev)
				return path;
	return NULL;
}

/* NULL, or why this device is not to be a path of this map. */
char *identity_refused(struct mpath_path *path)
{
	struct mpath_path *other = some_path(path->m, path);

	if (other && !path->m->force) {
		if (bdev_nr_sectors(other->dev->bdev) != bdev_nr_sectors(path->dev->bdev))
			return "a path has another size than the first path (feature 'force' takes it)";
		if (!same_name(other, path))
			return "a path says that it is another disk than the first path (feature 'force' takes it)";
	}
	return take(path) ? NULL
			  : "a path is used by another multipath map (feature 'force' takes it)";
}

/* Requests are sent as they are, bios are split where they are too large. */
static bool takes_requests(const struct request_queue *map, const struct request_queue *q)
{
	return queue_max_hw_sectors(q) >= queue_max_sectors(map) &&
	       queue_max_segments(q) >= queue_max_segments(map) &&
	       queue_max_segment_size(q) >= queue_max_segment_size(map) &&
	       queue_virt_boundary(q) == queue_virt_boundary(map);
}

/*
 * What a map promises was agreed with the paths of its table: a path that comes later must keep it.
 * NULL, or what it does not.
 */
const char *identity_unfit(const struct mpath_path *path)
{
	struct mpath *m = path->m;
	struct block_device *map_bdev = dm_disk(dm_table_get_md(m->ti->table))->part0;
	struct block_device *bdev = path->dev->bdev;
	struct request_queue *map = bdev_get_queue(map_bdev), *q = bdev_get_queue(bdev);

	if (bdev_nr_sectors(bdev) < m->ti->len)
		return "the device is smaller than the map";
	if (queue_logical_block_size(q) > queue_logical_block_size(map))
		return "the device has larger blocks than the map";
	if (m->queue_mode == DM_TYPE_REQUEST_BASED && !queue_is_mq(q))
		return "a request-based map wants a device with requests";
	if (m->queue_mode == DM_TYPE_REQUEST_BASED && !takes_requests(map, q))
		return "the device takes less in one request than the map: load a new table";
	if (bdev_write_cache(bdev) && !bdev_write_cache(map_bdev))
		return "the device has a cache that must be flushed, and the map does not know: load a new table";
	if (!bdev_max_discard_sectors(bdev) && bdev_max_discard_sectors(map_bdev))
		return "the device cannot discard as the map does: load a new table";
	return NULL;
}
