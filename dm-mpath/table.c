// SPDX-License-Identifier: GPL-2.0
/*
 * The line of the table:
 *
 *   <#features> <feature>* <#handler args> [<handler> <arg>*] <#groups> <first group>
 *     { <selector> <#selector args> <arg>* <#paths> <#args per path> { <device> <arg>* }+ }*
 *
 * Its grammar, limits and error texts are those of the kernel's own target.
 */
#include <linux/cpumask.h>
#include <linux/slab.h>

#include "mpath.h"

static int bad(char **error, char *text)
{
	*error = text;
	return -EINVAL;
}

/* ---- features and handler ---- */

static int parse_queue_mode(struct mpath *m, const char *mode)
{
	if (!strcasecmp(mode, "bio"))
		m->queue_mode = DM_TYPE_BIO_BASED;
	else if (!strcasecmp(mode, "rq") || !strcasecmp(mode, "mq"))
		m->queue_mode = DM_TYPE_REQUEST_BASED;
	else
		return bad(&m->ti->error, "Unknown 'queue_mode' requested");
	return 0;
}

static int parse_failback(struct mpath *m, const char *when)
{
	if (!strcasecmp(when, "manual"))
		m->failback = FAILBACK_MANUAL;
	else if (!strcasecmp(when, "immediate"))
		m->failback = FAILBACK_IMMEDIATE;
	else if (!strcasecmp(when, "followover"))
		m->failback = FAILBACK_FOLLOWOVER;
	else if (kstrtouint(when, 10, &m->failback_ms) || m->failback_ms > 3600000)
		return bad(&m->ti->error,
			   "failback must be immediate, manual, followover or at most 3600000 ms");
	else
		m->failback = FAILBACK_DELAYED;
	return 0;
}

/* One number for each group, with commas between; or `alua`. */
static int parse_priorities(struct mpath *m, char *text)
{
	char **error = &m->ti->error, *word;
	struct group *group;

	if (!text)
		return 0;
	m->alua = !strcasecmp(text, "alua");
	if (m->alua) { /* to follow it is what that is for */
		if (!m->failback_said)
			m->failback = FAILBACK_IMMEDIATE;
		return 0;
	}
	list_for_each_entry(group, &m->groups, list) {
		word = strsep(&text, ",");
		if (!word || kstrtoint(word, 10, &group->prio))
			return bad(error,
				   "group_prio must have one number for each group, or be alua");
	}
	return text ? bad(error, "group_prio must have one number for each group, or be alua") : 0;
}

#define NUMBER(field) .offset = offsetof(struct mpath, field)

const struct number_feature mpath_numbers[NUMBERS] = {
	{ "pg_init_retries",
	  NUMBER(init_retries),
	  0,
	  { 1, 50, "pg_init_retries must be between 1 and 50" } },
	{ "pg_init_delay_msecs",
	  NUMBER(init_delay_ms),
	  INIT_DELAY_UNSET,
	  { 0, 60000, "pg_init_delay_msecs must be between 0 and 60000" } },
	{ "probe_interval_ms",
	  NUMBER(probe_ms),
	  PROBE_MS,
	  { 0, 600000, "probe_interval_ms must be between 0 (never) and 600000" } },
	{ "no_path_timeout_ms",
	  NUMBER(no_path_timeout_ms),
	  NO_TIMEOUT,
	  { 0, 86400000, "no_path_timeout_ms must be between 0 (never) and 86400000" } },
	{ "path_timeout_ms",
	  NUMBER(path_timeout_ms),
	  0,
	  { 0, 600000, "path_timeout_ms must be between 0 (never) and 600000" } },
	{ "queue_limit_kib",
	  NUMBER(waiting_limit_kib),
	  0,
	  { 0, UINT_MAX, "queue_limit_kib must be a whole number, 0 for none" } },
};

u32 *number_of(struct mpath *m, const struct number_feature *feature)
{
	return (void *)m + feature->offset;
}

static const struct number_feature *number_named(const char *name)
{
	unsigned int i;

	for (i = 0; i < NUMBERS; i++)
		if (!strcasecmp(name, mpath_numbers[i].name))
			return &mpath_numbers[i];
	return NULL;
}

static int parse_features(struct mpath *m, struct dm_arg_set *as, char **priorities)
{
	static const struct dm_arg limits[] = {
		{ 0, 23, "invalid number of feature args" },
	};
	char **error = &m->ti->error;
	unsigned int argc;
	int r = dm_read_arg_group(limits, as, &argc, error);

	while (!r && argc) {
		const char *name = dm_shift_arg(as);
		const struct number_feature *number = number_named(name);

		argc--;
		if (!strcasecmp(name, "queue_if_no_path")) {
			m->no_path = NO_PATH_QUEUES;
		} else if (!strcasecmp(name, "retain_attached_hw_handler")) {
			m->retain_attached = true;
		} else if (number && argc) {
			r = dm_read_arg(&number->limits, as, number_of(m, number), error);
			argc--;
		} else if (!strcasecmp(name, "cluster") && argc && !m->cluster) {
			m->cluster = kstrdup(dm_shift_arg(as), GFP_KERNEL);
			r = m->cluster ? 0 : -ENOMEM;
			argc--;
		} else if (!strcasecmp(name, "force")) {
			m->force = true;
		} else if (!strcasecmp(name, "failback") && argc) {
			r = parse_failback(m, dm_shift_arg(as));
			m->failback_said = true;
			argc--;
		} else if (!strcasecmp(name, "group_prio") && argc) {
			*priorities = as->argv[0];
			dm_consume_args(as, 1);
			argc--;
		} else if (!strcasecmp(name, "queue_mode") && argc) {
			r = parse_queue_mode(m, dm_shift_arg(as));
			argc--;
		} else {
			r = bad(error, "Unrecognised multipath feature request");
		}
	}
	return r;
}

/* As scsi_dh_set_params() wants them: "<count>\0<arg>\0<arg>\0". */
static char *handler_params(unsigned int count, char **args)
{
	size_t length = 12;
	unsigned int i;
	char *out, *p;

	for (i = 0; i < count; i++)
		length += strlen(args[i]) + 1;
	out = kzalloc(length, GFP_KERNEL);
	if (!out)
		return NULL;
	p = out + sprintf(out, "%u", count) + 1;
	for (i = 0; i < count; i++)
		p += sprintf(p, "%s", args[i]) + 1;
	return out;
}

static int parse_handler(struct mpath *m, struct dm_arg_set *as)
{
	static const struct dm_arg limits[] = {
		{ 0, 1024, "invalid number of hardware handler args" },
	};
	unsigned int argc;
	int r = dm_read_arg_group(limits, as, &argc, &m->ti->error);

	if (r || !argc)
		return r;
	if (m->queue_mode == DM_TYPE_BIO_BASED) {
		dm_consume_args(as, argc);
		DMERR("%s: bio-based multipath doesn't allow hardware handler args", map_name(m));
		return 0;
	}
	m->handler = kstrdup(dm_shift_arg(as), GFP_KERNEL);
	if (!m->handler)
		return -ENOMEM;
	if (argc > 1) {
		m->handler_params = handler_params(argc - 1, as->argv);
		if (!m->handler_params)
			return -ENOMEM;
		dm_consume_args(as, argc - 1);
	}
	return 0;
}

/* ---- groups and paths ---- */

static int parse_cpus(struct mpath_path *path, const char *text, char **error)
{
	struct cpumask *cpus = kzalloc(cpumask_size(), GFP_KERNEL);

	path->select.cpus_text = kstrdup(text, GFP_KERNEL);
	path->select.cpus = cpus ? cpumask_bits(cpus) : NULL;
	if (!cpus || !path->select.cpus_text)
		return -ENOMEM;
	if (cpumask_parse(text, cpus))
		return bad(error, "io-affinity ps: invalid cpumask");
	return 0;
}

int table_read_path(struct mpath_path *path, struct dm_arg_set *as)
{
	const struct selector *selector = path->group->selector;
	struct dm_target *ti = path->m->ti;
	const char *wrong;
	int r;

	if (as->argc < 1)
		return bad(&ti->error, "no device given");
	r = dm_get_device(ti, dm_shift_arg(as), dm_table_get_mode(ti->table), &path->dev);
	if (r) {
		path->dev = NULL;
		ti->error = "error getting device";
		return r;
	}
	identity_note(path);
	wrong = identity_refused(path);
	if (wrong)
		return bad(&ti->error, (char *)wrong);
	r = handler_attach(path, &ti->error);
	if (r)
		return r;
	wrong = selector->path_args(&path->select, as->argc, as->argv);
	if (wrong)
		return bad(&ti->error, (char *)wrong);
	return selector == &select_io_affinity ? parse_cpus(path, as->argv[0], &ti->error) : 0;
}

static int add_path(struct group *group, struct dm_arg_set *as)
{
	struct mpath_path *path = path_make(group);

	if (!path)
		return -ENOMEM;
	path_link(path);
	return table_read_path(path, as);
}

static int parse_selector(struct group *group, struct dm_arg_set *as)
{
	static const struct dm_arg limits[] = {
		{ 0, 1024, "invalid number of path selector args" },
	};
	char **error = &group->m->ti->error;
	const char *wrong = NULL;
	unsigned int argc;
	int r;

	group->selector = selector_find(dm_shift_arg(as));
	if (!group->selector)
		return bad(error, "unknown path selector type");
	r = dm_read_arg_group(limits, as, &argc, error);
	if (r)
		return r;
	if (group->selector->group_args)
		wrong = group->selector->group_args(&group->select, argc, as->argv);
	else if (argc)
		wrong = "path selector constructor failed";
	if (wrong)
		return bad(error, (char *)wrong);
	dm_consume_args(as, argc);
	return 0;
}

static int parse_group(struct group *group, struct dm_arg_set *as)
{
	static const struct dm_arg limits[] = {
		{ 1, 1024, "invalid number of paths" },
		{ 0, 1024, "invalid number of selector args" },
	};
	char **error = &group->m->ti->error;
	unsigned int paths, args, i;
	int r;

	if (as->argc < 2)
		return bad(error, "not enough priority group arguments");
	r = parse_selector(group, as);
	if (!r)
		r = dm_read_arg(limits, as, &paths, error);
	if (!r)
		r = dm_read_arg(limits + 1, as, &args, error);
	if (!r)
		r = group_room(group, paths);
	if (r)
		return r;
	for (i = 0; !r && i < paths; i++) {
		struct dm_arg_set one = { .argc = args + 1, .argv = as->argv };

		if (as->argc < args + 1)
			return bad(error, "not enough path parameters");
		r = add_path(group, &one);
		dm_consume_args(as, args + 1);
	}
	return r;
}

static int add_group(struct mpath *m, struct dm_arg_set *as)
{
	struct group *group = group_make(m);
	int r;

	if (!group) {
		m->ti->error = "couldn't allocate priority group";
		return -ENOMEM;
	}
	list_add_tail(&group->list, &m->groups);
	r = parse_group(group, as);
	if (r)
		return r;
	atomic_add(rcu_dereference_protected(group->paths, true)->n, &m->valid_paths);
	return 0;
}

static int parse_groups(struct mpath *m, struct dm_arg_set *as)
{
	static const struct dm_arg limits[] = {
		{ 0, 1024, "invalid number of priority groups" },
		{ 0, 1024, "invalid initial priority group number" },
	};
	char **error = &m->ti->error;
	unsigned int first, count = 0;
	int r;

	r = dm_read_arg(limits, as, &m->nr_groups, error);
	if (!r)
		r = dm_read_arg(limits + 1, as, &first, error);
	if (r)
		return r;
	if (!m->nr_groups != !first)
		return bad(error, "invalid initial priority group");
	while (as->argc) {
		r = add_group(m, as);
		if (r)
			return r;
		list_last_entry(&m->groups, struct group, list)->shared = count;
		list_last_entry(&m->groups, struct group, list)->number = ++count;
	}
	if (count != m->nr_groups)
		return bad(error, "priority group count mismatch");
	m->next_group = group_numbered(m, first);
	return 0;
}

/* ---- the whole ---- */

void mpath_destroy(struct mpath *m)
{
	struct group *group, *tmp;

	cluster_close(m);
	/* The last handler may have asked for one when it ended. */
	cancel_delayed_work_sync(&m->fail_back);
	list_for_each_entry_safe(group, tmp, &m->groups, list)
		group_free(group);
	members_forget(m);
	kfree(m->handler);
	kfree(m->handler_params);
	mutex_destroy(&m->mutex);
	kfree(m);
}

static void raise_event(struct work_struct *work)
{
	dm_table_event(container_of(work, struct mpath, event)->ti->table);
}

static struct mpath *create(struct dm_target *ti)
{
	struct mpath *m = kzalloc(sizeof(*m), GFP_KERNEL);
	unsigned int i;

	if (!m) {
		ti->error = "can't allocate multipath";
		return NULL;
	}
	m->ti = ti;
	m->queue_mode = DM_TYPE_REQUEST_BASED;
	for (i = 0; i < NUMBERS; i++)
		*number_of(m, &mpath_numbers[i]) = mpath_numbers[i].unsaid;
	m->made = jiffies;
	INIT_LIST_HEAD(&m->groups);
	INIT_LIST_HEAD(&m->gone);
	init_rwsem(&m->members);
	spin_lock_init(&m->lock);
	mutex_init(&m->mutex);
	bio_list_init(&m->waiting);
	bio_list_init(&m->spurned);
	INIT_WORK(&m->resubmit, mpath_resubmit);
	INIT_WORK(&m->event, raise_event);
	INIT_DELAYED_WORK(&m->deadline, deadline_look);
	INIT_DELAYED_WORK(&m->fail_back, failback_now);
	INIT_DELAYED_WORK(&m->alua_work, alua_look);
	INIT_DELAYED_WORK(&m->cluster_work, cluster_look);
	timer_setup(&m->no_path_timer, mpath_no_path_timed_out, 0);
	init_waitqueue_head(&m->initialised);
	return m;
}

struct mpath *mpath_create(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	struct mpath *m = create(ti);
	char *priorities = NULL;
	int r;

	if (!m)
		return ERR_PTR(-EINVAL);
	r = parse_features(m, &as, &priorities);
	/* Bio-based, a handler is not managed; one that is attached anyway is heeded. */
	if (m->queue_mode == DM_TYPE_BIO_BASED)
		m->retain_attached = true;
	if (!r)
		r = parse_handler(m, &as);
	if (!r)
		r = parse_groups(m, &as);
	if (!r)
		r = parse_priorities(m, priorities);
	if (priorities || m->cluster) /* they say where to begin */
		m->next_group = NULL;
	if (!r && m->cluster)
		r = cluster_open(m);
	if (r) {
		mpath_destroy(m);
		return ERR_PTR(r);
	}
	m->complete = true;
	return m;
}
