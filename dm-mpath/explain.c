// SPDX-License-Identifier: GPL-2.0
/* Why things are as they are, for people and as JSON. */
#include "mpath.h"

static const char *text_of(enum path_event event)
{
	static const char *const texts[PATH_EVENTS] = {
		[PATH_ERROR] = "an error of the path",
		[PATH_FAIL] = "somebody said that it has failed",
		[PATH_LATE] = "I/O is late",
		[PATH_LANDED] = "what was late has come back",
		[PATH_REINSTATE] = "somebody said that it works",
		[PATH_PROBE] = "a try is under way",
		[PATH_PROBE_OK] = "a try went well",
		[PATH_PROBE_BAD] = "a try failed",
		[PATH_OTHER_DISK] = "a try found another disk",
		[PATH_CONFLICT] = "a reservation conflict: its port is not registered",
		[PATH_RAMPED] = "it has borne its full share",
		[PATH_DRAIN] = "it is drained",
		[PATH_UNDRAIN] = "it is drained no more",
		[PATH_ADDED] = "it was added",
	};

	return texts[event];
}

static const char *cause_text(const struct mpath_path *path)
{
	const struct path_change *newest = path_change_ago(path, 1);

	return newest ? text_of(newest->cause) : "as the table has it";
}

static unsigned int name_of(const struct disk_id *id, char *result, unsigned int sz,
			    unsigned int maxlen)
{
	DMEMIT("%s %*phN, %llu sectors", disk_name_kind(id), min_t(int, id->length, 32), id->name,
	       id->sectors);
	return sz;
}

static unsigned int other_disk(const struct mpath_path *path, char *result, unsigned int sz,
			       unsigned int maxlen)
{
	if (path->state != PATH_FOREIGN)
		return sz;
	DMEMIT("\n    leads to another disk (");
	sz = name_of(&path->found, result, sz, maxlen);
	DMEMIT("), led to (");
	sz = name_of(&path->disk, result, sz, maxlen);
	DMEMIT("); reinstate_path takes it all the same");
	return sz;
}

static unsigned int history(struct mpath_path *path, char *result, unsigned int sz,
			    unsigned int maxlen)
{
	const struct path_change *c;
	u32 i;

	for (i = 1; (c = path_change_ago(path, i)); i++) {
		DMEMIT("\n    %u ms ago %s: %s", jiffies_to_msecs(jiffies - c->at),
		       path_state_name(c->state), text_of(c->cause));
		if (c->tries)
			DMEMIT(", %u failed in a row", c->tries);
	}
	return sz;
}

static unsigned int history_json(struct mpath_path *path, char *result, unsigned int sz,
				 unsigned int maxlen)
{
	const struct path_change *c;
	u32 i;

	DMEMIT(",\"changes\":[");
	for (i = 1; (c = path_change_ago(path, i)); i++)
		DMEMIT("%s{\"ms_ago\":%u,\"state\":\"%s\",\"cause\":\"%s\",\"failed_tries\":%u}",
		       i > 1 ? "," : "", jiffies_to_msecs(jiffies - c->at),
		       path_state_name(c->state), text_of(c->cause), c->tries);
	DMEMIT("]");
	return sz;
}

/* Seconds since the state changed last; since the map was made, if it never did. */
static unsigned int seconds_in_state(struct mpath_path *path)
{
	return jiffies_to_msecs(jiffies - (path->since ?: path->m->made)) / 1000;
}

static const char *group_reason(struct mpath *m, struct group *group)
{
	if (group == m->current_group && m->guest)
		return "in use here alone: the other nodes use another group";
	if (group == m->current_group)
		return m->readiness == READY ? "in use"
					     : "in use, its hardware is being made ready";
	if (group == m->next_group)
		return "asked for, at the next I/O";
	if (!group_usable(group))
		return "no path that takes I/O";
	return group->bypassed ? "bypassed: only if no other has a path"
			       : "waits: another is in use or comes first";
}

static const char *map_reason(struct mpath *m)
{
	if (atomic_read(&m->valid_paths))
		return m->current_group ? "I/O flows" : "the next I/O chooses a group";
	return mpath_pathless(m) == PATHLESS_FAILS ? "no path: I/O fails" : "no path: I/O waits";
}

unsigned int mpath_explain(struct mpath *m, char *result, unsigned int maxlen)
{
	struct mpath_path *path;
	struct group *group;
	unsigned int sz = 0;

	DMEMIT("%s; %d of its paths take I/O", map_reason(m), atomic_read(&m->valid_paths));
	list_for_each_entry(group, &m->groups, list) {
		DMEMIT("\ngroup %u (%s, priority %d): %s", group->number, group->selector->name,
		       group->prio, group_reason(m, group));
		list_for_each_entry(path, &group->all, list) {
			DMEMIT("\n  %s %s for %u s: %s; %u failure(s), %d in flight, gets %u %%",
			       path->dev->name, path_state_name(path->state),
			       seconds_in_state(path), cause_text(path), path->failures,
			       atomic_read(&path->select.in_flight),
			       path_usable(path) ? path->select.share : 0);
			sz = other_disk(path, result, sz, maxlen);
			sz = history(path, result, sz, maxlen);
		}
	}
	return sz;
}

unsigned int mpath_json(struct mpath *m, char *result, unsigned int maxlen)
{
	const char *comma = "", *inner;
	struct mpath_path *path;
	struct group *group;
	unsigned int sz = 0;

	DMEMIT("{\"state\":\"%s\",\"valid_paths\":%d,\"waiting_kib\":%llu,\"groups\":[",
	       map_reason(m), atomic_read(&m->valid_paths), m->waiting_bytes >> 10);
	list_for_each_entry(group, &m->groups, list) {
		DMEMIT("%s{\"group\":%u,\"selector\":\"%s\",\"priority\":%d,\"bypassed\":%s,\"current\":%s,\"reason\":\"%s\",\"paths\":[",
		       comma, group->number, group->selector->name, group->prio,
		       group->bypassed ? "true" : "false",
		       group == m->current_group ? "true" : "false", group_reason(m, group));
		comma = ",";
		inner = "";
		list_for_each_entry(path, &group->all, list) {
			DMEMIT("%s{\"device\":\"%s\",\"state\":\"%s\",\"seconds\":%u,\"cause\":\"%s\",\"failures\":%u,\"in_flight\":%d,\"share_percent\":%u",
			       inner, path->dev->name, path_state_name(path->state),
			       seconds_in_state(path), cause_text(path), path->failures,
			       atomic_read(&path->select.in_flight),
			       path_usable(path) ? path->select.share : 0);
			sz = history_json(path, result, sz, maxlen);
			sz = stats_json(path, result, sz, maxlen);
			DMEMIT("}");
			inner = ",";
		}
		DMEMIT("]}");
	}
	DMEMIT("]}");
	return sz;
}
