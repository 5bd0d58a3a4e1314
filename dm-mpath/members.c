// SPDX-License-Identifier: GPL-2.0
/*
 * Paths and groups come with the table, and come and go while the map is in use.
 *
 * What goes is drained first; when nothing that it began is under way any more it leaves the lists.
 * Whoever goes down a path, or comes back from it, does so under RCU, so after one more grace
 * period nobody knows it.
 *
 * An ioctl through the map is not seen to end. So the device's own structure is kept until the map
 * goes, closed, and once for each device.
 */
#include <linux/delay.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "mpath.h"

#define LOOK_MS 20

/* A device that was a path once. */
struct gone {
	struct device *device;
	struct list_head list;
};

/* ---- making ---- */

static struct select_paths *room_for(u32 paths)
{
	return kzalloc(struct_size((struct select_paths *)NULL, path, paths), GFP_KERNEL);
}

struct group *group_make(struct mpath *m)
{
	struct group *group = kzalloc(sizeof(*group), GFP_KERNEL);

	if (!group)
		return NULL;
	group->m = m;
	INIT_LIST_HEAD(&group->all);
	return group;
}

/* Nobody looks at it yet. */
int group_room(struct group *group, u32 paths)
{
	struct select_paths *room = room_for(paths);

	RCU_INIT_POINTER(group->paths, room);
	return room ? 0 : -ENOMEM;
}

void group_free(struct group *group)
{
	struct mpath_path *path, *tmp;

	list_for_each_entry_safe(path, tmp, &group->all, list)
		path_free(path);
	kfree(rcu_access_pointer(group->paths));
	kfree(group);
}

struct mpath_path *path_make(struct group *group)
{
	struct mpath_path *path = kzalloc(sizeof(*path), GFP_KERNEL);

	if (!path)
		return NULL;
	path->m = group->m;
	path->group = group;
	path->select.share = 100;
	path->generation = GENERATION_UNKNOWN;
	INIT_LIST_HEAD(&path->list);
	INIT_LIST_HEAD(&path->used);
	INIT_DELAYED_WORK(&path->activate, handler_activate);
	INIT_DELAYED_WORK(&path->probe, probe_begin);
	INIT_DELAYED_WORK(&path->ramp, ramp_on);
	INIT_WORK(&path->probed, probe_end);
	path->stats = alloc_percpu(struct path_stats);
	if (path->stats)
		return path;
	path_free(path);
	return NULL;
}

void path_free(struct mpath_path *path)
{
	identity_release(path);
	if (path->dev)
		dm_put_device(path->m->ti, path->dev);
	free_percpu(path->stats);
	kfree(path->select.cpus);
	kfree(path->select.cpus_text);
	kfree(path);
}

/* While the table is made: there is room, and nobody looks. */
void path_link(struct mpath_path *path)
{
	struct select_paths *paths = rcu_dereference_protected(path->group->paths, true);

	path->select.usable = true;
	list_add_tail(&path->list, &path->group->all);
	paths->path[paths->n++] = &path->select;
}

/* ---- the lists of a map in use ---- */

static void lists_lock(struct mpath *m) __acquires(&m->lock)
{
	down_write(&m->members);
	spin_lock_irq(&m->lock);
}

static void lists_unlock(struct mpath *m) __releases(&m->lock)
{
	spin_unlock_irq(&m->lock);
	up_write(&m->members);
}

/* The same with one path more, or less. */
static struct select_paths *copy_with(struct group *group, struct mpath_path *more)
{
	const struct select_paths *old = rcu_dereference_protected(group->paths, true);
	struct select_paths *paths = room_for(old->n + 1);

	if (!paths)
		return NULL;
	memcpy(paths->path, old->path, old->n * sizeof(old->path[0]));
	paths->n = old->n;
	paths->path[paths->n++] = &more->select;
	return paths;
}

static struct select_paths *copy_without(struct group *group, struct mpath_path *less)
{
	const struct select_paths *old = rcu_dereference_protected(group->paths, true);
	struct select_paths *paths = room_for(old->n);
	u32 i;

	if (!paths)
		return NULL;
	for (i = 0; i < old->n; i++)
		if (old->path[i] != &less->select)
			paths->path[paths->n++] = old->path[i];
	return paths;
}

/* The lists are locked. The old array is returned. */
static struct select_paths *replace(struct group *group, struct select_paths *paths)
{
	struct select_paths *old = rcu_dereference_protected(group->paths, true);

	rcu_assign_pointer(group->paths, paths);
	return old;
}

static void number_groups(struct mpath *m)
{
	struct group *group;

	m->nr_groups = 0;
	list_for_each_entry(group, &m->groups, list)
		group->number = ++m->nr_groups;
}

/* ---- one more ---- */

static int refuse(struct mpath *m, const char *what, const char *why)
{
	DMWARN("%s: %s: %s", map_name(m), what, why);
	return -EINVAL;
}

/* By which the other nodes know no group of the map. */
static u32 free_number(struct mpath *m)
{
	struct group *group;
	u32 number = 0;

	list_for_each_entry(group, &m->groups, list)
		number = max(number, group->shared + 1);
	return number;
}

/* A group after the last: chooses as the first does. */
static struct group *new_group(struct mpath *m)
{
	struct group *first = list_first_entry(&m->groups, struct group, list);
	struct group *group = group_make(m);

	if (!group)
		return NULL;
	if (group_room(group, 0)) {
		group_free(group);
		return NULL;
	}
	group->selector = first->selector;
	group->prio = first->prio;
	group->shared = free_number(m);
	if (group->selector->group_args)
		group->selector->group_args(&group->select, 0, NULL);
	return group;
}

static int fill(struct mpath_path *path, struct dm_arg_set *as)
{
	struct mpath *m = path->m;
	const char *why;
	int r;

	m->ti->error = NULL;
	r = table_read_path(path, as);
	if (r)
		return refuse(m, "add_path", m->ti->error ?: "no memory");
	why = identity_unfit(path);
	return why ? refuse(m, "add_path", why) : 0;
}

static int enter_lists(struct mpath_path *path, bool first_of_group)
{
	struct group *group = path->group;
	struct mpath *m = group->m;
	struct select_paths *paths = copy_with(group, path), *old;

	if (!paths)
		return -ENOMEM;
	path->state = PATH_DRAINING; /* until let_in() */
	lists_lock(m);
	list_add_tail_rcu(&path->list, &group->all);
	old = replace(group, paths);
	if (first_of_group) {
		list_add_tail_rcu(&group->list, &m->groups);
		number_groups(m);
	}
	lists_unlock(m);
	kvfree_rcu_mightsleep(old);
	return 0;
}

/* ---- one less ---- */

static bool is_last(struct mpath_path *path)
{
	return path->m->nr_groups == 1 && list_is_singular(&path->group->all);
}

/* Is anything under way that it began? */
static bool at_rest(struct mpath_path *path)
{
	struct mpath *m = path->m;
	bool rests;

	spin_lock_irq(&m->lock);
	rests = !atomic_read(&path->select.in_flight) && !path->activating && !path->trying;
	spin_unlock_irq(&m->lock);
	return rests;
}

/* Its structure outlives an ioctl that may be under way. */
static void keep_device(struct mpath *m, struct gone *gone, struct mpath_path *path)
{
	struct device *device = &path->dev->bdev->bd_device;
	struct gone *other;

	list_for_each_entry(other, &m->gone, list)
		if (other->device == device) {
			kfree(gone);
			return;
		}
	gone->device = get_device(device);
	list_add(&gone->list, &m->gone);
}

void members_forget(struct mpath *m)
{
	struct gone *gone, *tmp;

	list_for_each_entry_safe(gone, tmp, &m->gone, list) {
		put_device(gone->device);
		kfree(gone);
	}
}

static int leave_lists(struct mpath_path *path)
{
	struct group *group = path->group;
	struct mpath *m = group->m;
	struct gone *gone = kzalloc(sizeof(*gone), GFP_KERNEL);
	struct select_paths *paths = copy_without(group, path), *old;
	bool empties;

	if (!gone || !paths) {
		kfree(gone);
		kfree(paths);
		return -ENOMEM;
	}
	lists_lock(m);
	list_del_rcu(&path->list);
	old = replace(group, paths);
	empties = list_empty(&group->all);
	cluster_reach(group);
	if (empties) {
		list_del_rcu(&group->list);
		number_groups(m);
		if (m->current_group == group)
			WRITE_ONCE(m->current_group, NULL);
		if (m->next_group == group)
			WRITE_ONCE(m->next_group, NULL);
	}
	lists_unlock(m);
	synchronize_rcu();
	cancel_delayed_work_sync(&path->activate);
	cancel_delayed_work_sync(&path->probe);
	cancel_work_sync(&path->probed);
	cancel_delayed_work_sync(&path->ramp);
	keep_device(m, gone, path);
	DMINFO("%s: path %s is no longer one of the map's", map_name(m), path->dev->name);
	path_free(path);
	kfree(old);
	if (empties)
		group_free(group);
	queue_work(mpath_wq, &m->event);
	return 0;
}

/* The mutex is let go meanwhile, so the path is looked up anew each time. */
static int remove_when_at_rest(struct mpath *m, dev_t number)
{
	struct mpath_path *path;

	for (;;) {
		path = path_numbered(m, number);
		if (!path)
			return 0;
		if (path->state != PATH_DRAINING)
			return refuse(m, "remove_path",
				      "it was drained no more before all had come back");
		if (at_rest(path))
			return is_last(path) ? -EBUSY : leave_lists(path);
		if (READ_ONCE(m->suspension) != NOT_SUSPENDED)
			return -EBUSY; /* which waits for this message to end */
		mutex_unlock(&m->mutex);
		msleep_interruptible(LOOK_MS);
		mutex_lock(&m->mutex);
		if (signal_pending(current))
			return -EINTR;
	}
}

/* Of all paths that take I/O, are all on this device? */
static bool nothing_else_works(struct mpath *m, dev_t number)
{
	struct mpath_path *path;
	struct group *group;
	bool here = false;

	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list) {
			if (path_usable(path) && path->dev->bdev->bd_dev != number)
				return false;
			here |= path_usable(path);
		}
	return here;
}

/* remove_path <device>: waits for what is in flight on it. The mutex is held. */
int members_remove(struct mpath *m, const char *device)
{
	struct mpath_path *path;
	dev_t number;
	int r;

	path = compat_device_number(device, &number) ? NULL : path_numbered(m, number);
	if (!path)
		return refuse(m, "remove_path", "no path of the map is on that device");
	if (is_last(path))
		return refuse(m, "remove_path", "it is the only path: add another first");
	if (nothing_else_works(m, number))
		return refuse(m, "remove_path",
			      "no other path takes I/O: add one or reinstate one first");
	do {
		path_drain(path);
		synchronize_rcu(); /* whoever has chosen it has sent its I/O */
		r = remove_when_at_rest(m, number);
		path = path_numbered(m, number); /* a device may be there more than once */
	} while (!r && path && !is_last(path));
	return r;
}

/* ---- one more, let in ---- */

/* It is tried, and taken back if it leads to another disk. One that does not answer may yet. */
static int let_in(struct mpath_path *path)
{
	struct mpath *m = path->m;

	path_try(path, PATH_ADDED);
	probe_await(path);
	if (READ_ONCE(path->state) != PATH_FOREIGN)
		return 0;
	leave_lists(path);
	return refuse(
		m, "add_path",
		"the device leads to another disk than it did when the kernel found it: delete it and scan anew");
}

/* add_path <group> <device> <argument of the selector>* */
int members_add(struct mpath *m, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc - 2, .argv = argv + 2 };
	struct mpath_path *path;
	struct group *group;
	unsigned int number;
	bool another = false;
	int r;

	if (kstrtouint(argv[1], 10, &number) || !number || !m->nr_groups ||
	    number > m->nr_groups + 1)
		return refuse(m, "add_path",
			      "the group must be one of the map's, or the number after the last");
	another = number > m->nr_groups;
	if (another && m->log && free_number(m) >= CLOG_GROUPS_MAX)
		return refuse(m, "add_path", "a cluster shares at most 32 priority groups");
	group = another ? new_group(m) : group_numbered(m, number);
	path = group ? path_make(group) : NULL;
	r = path ? fill(path, &as) : -ENOMEM;
	if (!r)
		r = enter_lists(path, another);
	if (!r)
		return let_in(path);
	if (path)
		path_free(path);
	if (another && group)
		group_free(group);
	return r;
}
