// SPDX-License-Identifier: GPL-2.0
/* What the target says of itself, word for word as the kernel's own. */
#include "mpath.h"

/* INFO and TABLE begin alike: how the map is, groups, the group that is next. */
static u32 group_to_show(struct mpath *m)
{
	struct group *group = m->next_group ?: m->current_group;

	return group ? group->number : !!m->nr_groups;
}

static char group_letter(struct mpath *m, struct group *group)
{
	return group->bypassed ? 'D' : group == m->current_group ? 'A' : 'E';
}

static unsigned int group_status(struct group *group, char *result, unsigned int sz,
				 unsigned int maxlen)
{
	if (group->selector->group_status)
		return sz + group->selector->group_status(&group->select, result + sz, maxlen - sz);
	DMEMIT("0 ");
	return sz;
}

static u32 group_size(const struct group *group)
{
	return rcu_dereference_protected(group->paths, lockdep_is_held(&group->m->lock))->n;
}

static unsigned int info(struct mpath *m, char *result, unsigned int maxlen)
{
	struct group *group;
	unsigned int sz = 0;
	struct mpath_path *path;

	DMEMIT("2 %u %u ", m->readiness != READY, m->init_count);
	DMEMIT("0 %u %u ", m->nr_groups, group_to_show(m));
	list_for_each_entry(group, &m->groups, list) {
		const struct selector *s = group->selector;

		DMEMIT("%c ", group_letter(m, group));
		sz = group_status(group, result, sz, maxlen);
		DMEMIT("%u %u ", group_size(group), s->info_args);
		list_for_each_entry(path, &group->all, list) {
			DMEMIT("%s %c %u ", path->dev->name, path_letter(path->state),
			       path->failures);
			if (s->path_info)
				sz += s->path_info(&group->select, &path->select, result + sz,
						   maxlen - sz);
		}
	}
	return sz;
}

static bool has_priorities(struct mpath *m)
{
	struct group *group;

	list_for_each_entry(group, &m->groups, list)
		if (group->prio)
			return true;
	return false;
}

static bool said(struct mpath *m, const struct number_feature *number)
{
	return *number_of(m, number) != number->unsaid;
}

static unsigned int numbers(struct mpath *m, unsigned int from, unsigned int to, char *result,
			    unsigned int sz, unsigned int maxlen)
{
	const struct number_feature *number;

	for (number = mpath_numbers + from; number < mpath_numbers + to; number++)
		if (said(m, number))
			DMEMIT("%s %u ", number->name, *number_of(m, number));
	return sz;
}

static unsigned int features(struct mpath *m, char *result, unsigned int sz, unsigned int maxlen)
{
	bool queues = m->no_path == NO_PATH_QUEUES, bio = m->queue_mode == DM_TYPE_BIO_BASED;
	bool failback = m->failback_said && (m->alua || m->failback != FAILBACK_MANUAL);
	bool prio = m->alua || has_priorities(m);
	unsigned int i, said_numbers = 0;
	struct group *group;

	for (i = 0; i < NUMBERS; i++)
		said_numbers += said(m, &mpath_numbers[i]);
	DMEMIT("%u ", queues + m->retain_attached + m->force +
			      2 * (said_numbers + bio + failback + prio + !!m->cluster));
	if (queues)
		DMEMIT("queue_if_no_path ");
	sz = numbers(m, 0, KERNEL_NUMBERS, result, sz, maxlen);
	if (m->retain_attached)
		DMEMIT("retain_attached_hw_handler ");
	if (bio)
		DMEMIT("queue_mode bio ");
	sz = numbers(m, KERNEL_NUMBERS, NUMBERS, result, sz, maxlen);
	if (m->cluster)
		DMEMIT("cluster %s ", m->cluster);
	if (m->force)
		DMEMIT("force ");
	if (failback && m->failback == FAILBACK_DELAYED)
		DMEMIT("failback %u ", m->failback_ms);
	else if (failback)
		DMEMIT("failback %s ", m->failback == FAILBACK_MANUAL	   ? "manual"
				       : m->failback == FAILBACK_IMMEDIATE ? "immediate"
									   : "followover");
	if (m->alua) {
		DMEMIT("group_prio alua ");
	} else if (prio) {
		DMEMIT("group_prio ");
		list_for_each_entry(group, &m->groups, list)
			DMEMIT("%d%c", group->prio,
			       list_is_last(&group->list, &m->groups) ? ' ' : ',');
	}
	return sz;
}

static unsigned int table(struct mpath *m, char *result, unsigned int maxlen)
{
	struct group *group;
	unsigned int sz = 0;
	struct mpath_path *path;

	sz = features(m, result, sz, maxlen);
	if (m->handler)
		DMEMIT("1 %s ", m->handler);
	else
		DMEMIT("0 ");
	DMEMIT("%u %u ", m->nr_groups, group_to_show(m));
	list_for_each_entry(group, &m->groups, list) {
		const struct selector *s = group->selector;

		DMEMIT("%s ", s->name);
		sz = group_status(group, result, sz, maxlen);
		DMEMIT("%u %u ", group_size(group), s->table_args);
		list_for_each_entry(path, &group->all, list) {
			DMEMIT("%s ", path->dev->name);
			if (s->path_table)
				sz += s->path_table(&path->select, result + sz, maxlen - sz);
		}
	}
	return sz;
}

static unsigned int ima(struct mpath *m, char *result, unsigned int maxlen)
{
	unsigned int sz = 0, i = 0, j;
	struct group *group;
	struct mpath_path *path;

	DMEMIT_TARGET_NAME_VERSION(m->ti->type);
	DMEMIT(",nr_priority_groups=%u", m->nr_groups);
	list_for_each_entry(group, &m->groups, list) {
		DMEMIT(",pg_state_%u=%c", i, group_letter(m, group));
		DMEMIT(",nr_pgpaths_%u=%u", i, group_size(group));
		DMEMIT(",path_selector_name_%u=%s", i, group->selector->name);
		j = 0;
		list_for_each_entry(path, &group->all, list) {
			DMEMIT(",path_name_%u_%u=%s,is_active_%u_%u=%c,fail_count_%u_%u=%u", i, j,
			       path->dev->name, i, j, path_letter(path->state), i, j,
			       path->failures);
			j++;
		}
		i++;
	}
	DMEMIT(";");
	return sz;
}

void mpath_status(struct dm_target *ti, status_type_t type, unsigned int status_flags, char *result,
		  unsigned int maxlen)
{
	struct mpath *m = ti->private;
	unsigned long flags;

	result[0] = 0;
	spin_lock_irqsave(&m->lock, flags);
	switch (type) {
	case STATUSTYPE_INFO:
		info(m, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		table(m, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		ima(m, result, maxlen);
		break;
	}
	spin_unlock_irqrestore(&m->lock, flags);
}
