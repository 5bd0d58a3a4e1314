// SPDX-License-Identifier: GPL-2.0
/* dm-mpath: the target `multipath`, as device-mapper calls it. */
#include <linux/module.h>

#include "mpath.h"
#include "selftest.h"

struct workqueue_struct *mpath_wq, *mpath_handler_wq, *mpath_probe_wq;
struct page *mpath_probe_page;

unsigned long mpath_no_path_timeout_s;
module_param_named(queue_if_no_path_timeout_secs, mpath_no_path_timeout_s, ulong, 0644);
MODULE_PARM_DESC(queue_if_no_path_timeout_secs,
		 "give up what waits for a path after so many seconds; 0: never");

static char *target_name = "multipath";
module_param(target_name, charp, 0444);
MODULE_PARM_DESC(target_name, "another name lets it be loaded beside the kernel's own");

static int mpath_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct mpath *m = mpath_create(ti, argc, argv);

	if (IS_ERR(m))
		return PTR_ERR(m);
	ti->private = m;
	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->per_io_data_size = m->queue_mode == DM_TYPE_BIO_BASED ? sizeof(struct mpath_bio)
								  : sizeof(struct mpath_io);
	dm_table_set_type(ti->table, m->queue_mode);
	return 0;
}

/* Nothing that this map has begun is under way afterwards. */
static void settle(struct mpath *m)
{
	handler_stop(m);
	del_timer_sync(&m->no_path_timer); /* a handler may have failed the last path */
	flush_work(&m->resubmit);
	flush_work(&m->event);
}

static void mpath_dtr(struct dm_target *ti)
{
	struct mpath *m = ti->private;

	probes_end(m);
	settle(m);
	mpath_destroy(m);
}

static void mpath_presuspend(struct dm_target *ti)
{
	/* What waits must end, unless the core takes it back. */
	mpath_suspension(ti->private,
			 dm_noflush_suspending(ti) ? SUSPENSION_GIVES_BACK : SUSPENSION_ENDS_IO);
}

/* Interrupted: the map goes on as it was. */
static void mpath_presuspend_undo(struct dm_target *ti)
{
	mpath_suspension(ti->private, NOT_SUSPENDED);
}

static void mpath_postsuspend(struct dm_target *ti)
{
	struct mpath *m = ti->private;

	mutex_lock(&m->mutex);
	cluster_suspend(m);
	probes_stop(m);
	settle(m);
	mutex_unlock(&m->mutex);
}

static void mpath_resume(struct dm_target *ti)
{
	struct mpath *m = ti->private;

	mpath_suspension(m, NOT_SUSPENDED);
	cluster_resume(m);
	probes_go_on(m);
}

/* The device on which an ioctl goes; it stays there after that (members.c, keep_device()). */
static struct block_device *choose_device(struct mpath *m)
{
	struct block_device *bdev;
	struct mpath_path *path;
	u64 now;

	rcu_read_lock();
	path = mpath_choose(m, 0, &now);
	bdev = path ? path->dev->bdev : NULL;
	rcu_read_unlock();
	return bdev;
}

static int mpath_prepare_ioctl(struct dm_target *ti, struct block_device **bdev)
{
	struct mpath *m = ti->private;
	struct block_device *device = choose_device(m);

	if (!device && mpath_pathless(m) == PATHLESS_FAILS)
		return -EIO;
	if (!mpath_ready(m) || !device) { /* the core asks again */
		dm_table_run_md_queue_async(ti->table);
		mpath_run_waiting(m);
		return -ENOTCONN;
	}
	*bdev = device;
	/* Only to a device of the map's own size without further ado. */
	return ti->len != bdev_nr_sectors(device);
}

static int mpath_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct mpath *m = ti->private;
	struct group *group;
	struct mpath_path *path;
	int r = 0;

	down_read(&m->members);
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			if (!r)
				r = fn(ti, path->dev, ti->begin, ti->len, data);
	up_read(&m->members);
	return r;
}

static int mpath_target_busy(struct dm_target *ti)
{
	return mpath_busy(ti->private);
}

static struct target_type mpath_target = {
	.name = "multipath",
	.version = { 1, 15, 0 },
	.features = DM_TARGET_SINGLETON | DM_TARGET_IMMUTABLE | DM_TARGET_PASSES_INTEGRITY,
	.module = THIS_MODULE,
	.ctr = mpath_ctr,
	.dtr = mpath_dtr,
	.map = mpath_map_bio,
	.end_io = mpath_end_bio,
	.clone_and_map_rq = mpath_map_request,
	.release_clone_rq = mpath_release_request,
	.rq_end_io = mpath_end_request,
	.presuspend = mpath_presuspend,
	.presuspend_undo = mpath_presuspend_undo,
	.postsuspend = mpath_postsuspend,
	.resume = mpath_resume,
	.status = mpath_status,
	.message = mpath_message,
	.prepare_ioctl = mpath_prepare_ioctl,
	.iterate_devices = mpath_iterate_devices,
	.busy = mpath_target_busy,
};

static int __init mpath_init(void)
{
	int r = mpath_selftest();

	if (r)
		return r;
	r = -ENOMEM;
	mpath_target.name = target_name;
	mpath_wq = alloc_workqueue("dm_mpath", WQ_MEM_RECLAIM, 0);
	/* One at a time: an array may be asked by several maps, and should not be hammered. */
	mpath_handler_wq = alloc_ordered_workqueue("dm_mpath_handler", WQ_MEM_RECLAIM);
	mpath_probe_wq = alloc_workqueue("dm_mpath_probe", WQ_MEM_RECLAIM, 0);
	mpath_probe_page = alloc_page(GFP_KERNEL);
	if (mpath_wq && mpath_handler_wq && mpath_probe_wq && mpath_probe_page)
		r = dm_register_target(&mpath_target);
	if (!r)
		return 0;
	if (mpath_probe_page)
		__free_page(mpath_probe_page);
	if (mpath_probe_wq)
		destroy_workqueue(mpath_probe_wq);
	if (mpath_handler_wq)
		destroy_workqueue(mpath_handler_wq);
	if (mpath_wq)
		destroy_workqueue(mpath_wq);
	return r;
}

static void __exit mpath_exit(void)
{
	dm_unregister_target(&mpath_target);
	__free_page(mpath_probe_page);
	destroy_workqueue(mpath_probe_wq);
	destroy_workqueue(mpath_handler_wq);
	destroy_workqueue(mpath_wq);
}

module_init(mpath_init);
module_exit(mpath_exit);

MODULE_DESCRIPTION("device-mapper multipath target that needs no daemon to be safe");
MODULE_LICENSE("GPL");
