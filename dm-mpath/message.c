// SPDX-License-Identifier: GPL-2.0
/* dmsetup message <map> 0 ... */
#include "mpath.h"

/* To each path with that device: it may be there more than once. */
static int to_path(struct mpath *m, const char *device, void (*what)(struct mpath_path *path))
{
	struct mpath_path *path;
	struct group *group;
	bool found = false;
	dev_t number;

	if (compat_device_number(device, &number))
		number = 0;
	list_for_each_entry(group, &m->groups, list)
		list_for_each_entry(path, &group->all, list)
			if (path->dev->bdev->bd_dev == number) {
				what(path);
				found = true;
			}
	if (found)
		return 0;
	DMWARN("%s: message: no path is called %s", map_name(m), device);
	return -EINVAL;
}

static void fail(struct mpath_path *path)
{
	path_fail(path, PATH_FAIL);
}

static struct group *group_called(struct mpath *m, const char *number)
{
	unsigned int n;

	return kstrtouint(number, 10, &n) ? NULL : group_numbered(m, n);
}

static int to_group(struct mpath *m, const char *number, const char *what)
{
	struct group *group = group_called(m, number);

	if (!group) {
		DMWARN("%s: message: %s: there is no priority group '%s', only 1 to %u",
		       map_name(m), what, number, m->nr_groups);
		return -EINVAL;
	}
	if (!strcasecmp(what, "switch_group"))
		group_switch(m, group);
	else
		group_bypass(group, !strcasecmp(what, "disable_group"));
	return 0;
}

static int set_priority(struct mpath *m, const char *number, const char *value)
{
	struct group *group = group_called(m, number);
	int prio;

	if (!group || kstrtoint(value, 10, &prio)) {
		DMWARN("%s: message: set_prio wants a group (1 to %u) and a whole number",
		       map_name(m), m->nr_groups);
		return -EINVAL;
	}
	if (m->alua) {
		DMWARN("%s: message: set_prio: the array gives the priorities (group_prio alua)",
		       map_name(m));
		return -EINVAL;
	}
	spin_lock_irq(&m->lock);
	group->prio = prio;
	failback_changed(m);
	spin_unlock_irq(&m->lock);
	queue_work(mpath_wq, &m->event);
	return 0;
}

static int time_io(struct mpath *m, const char *word)
{
	if (strcasecmp(word, "on") && strcasecmp(word, "off")) {
		DMWARN("%s: message: stats on, or stats off", map_name(m));
		return -EINVAL;
	}
	WRITE_ONCE(m->timed, !strcasecmp(word, "on"));
	return 0;
}

static int obey(struct mpath *m, unsigned int argc, char **argv)
{
	if (argc == 1 && !strcasecmp(argv[0], "queue_if_no_path")) {
		mpath_set_no_path(m, NO_PATH_QUEUES);
		mpath_watch_no_path(m);
		return 0;
	}
	if (argc == 1 && !strcasecmp(argv[0], "fail_if_no_path")) {
		mpath_set_no_path(m, NO_PATH_FAILS);
		del_timer_sync(&m->no_path_timer);
		return 0;
	}
	if (argc == 2 && !strcasecmp(argv[0], "fail_path"))
		return to_path(m, argv[1], fail);
	if (argc == 2 && !strcasecmp(argv[0], "reinstate_path"))
		return to_path(m, argv[1], path_reinstate);
	if (argc == 2 && !strcasecmp(argv[0], "drain_path"))
		return to_path(m, argv[1], path_drain);
	if (argc == 2 && !strcasecmp(argv[0], "undrain_path"))
		return to_path(m, argv[1], path_undrain);
	if (argc == 2 &&
	    (!strcasecmp(argv[0], "disable_group") || !strcasecmp(argv[0], "enable_group") ||
	     !strcasecmp(argv[0], "switch_group")))
		return to_group(m, argv[1], argv[0]);
	if (argc >= 3 && !strcasecmp(argv[0], "add_path"))
		return members_add(m, argc, argv);
	if (argc == 2 && !strcasecmp(argv[0], "remove_path"))
		return members_remove(m, argv[1]);
	if (argc == 3 && !strcasecmp(argv[0], "set_prio"))
		return set_priority(m, argv[1], argv[2]);
	if (argc == 2 && !strcasecmp(argv[0], "stats"))
		return time_io(m, argv[1]);
	DMWARN("%s: message '%s%s%s' is not known: queue_if_no_path, fail_if_no_path, fail_path <device>, reinstate_path <device>, drain_path <device>, undrain_path <device>, add_path <group> <device>, remove_path <device>, disable_group <n>, enable_group <n>, switch_group <n>, set_prio <group> <n>, explain, json, stats [on|off]",
	       map_name(m), argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
	return -EINVAL;
}

/* 1: there is an answer. */
static int answer(struct mpath *m,
		  unsigned int (*text)(struct mpath *m, char *result, unsigned int maxlen),
		  char *result, unsigned int maxlen)
{
	down_read(&m->members); /* a long answer is no reason to keep interrupts off */
	text(m, result, maxlen);
	up_read(&m->members);
	return 1;
}

int mpath_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		  unsigned int maxlen)
{
	struct mpath *m = ti->private;
	int r;

	if (argc == 1 && !strcasecmp(argv[0], "explain"))
		return answer(m, mpath_explain, result, maxlen);
	if (argc == 1 && !strcasecmp(argv[0], "json"))
		return answer(m, mpath_json, result, maxlen);
	if (argc == 1 && !strcasecmp(argv[0], "stats"))
		return answer(m, mpath_stats, result, maxlen);
	mutex_lock(&m->mutex);
	r = dm_suspended(ti) ? -EBUSY : obey(m, argc, argv);
	mutex_unlock(&m->mutex);
	return r;
}
