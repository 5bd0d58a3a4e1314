/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What this node may do with the groups of an array's paths, as the nodes that share it have agreed
 * (clogd/core/groups.hh). No locks or kernel calls, so that the module, the unit tests and the
 * simulator compile the same file. The caller serialises all calls for one of these.
 */
#ifndef DM_RAID1_EXT_GROUPING_H
#define DM_RAID1_EXT_GROUPING_H

#include "../proto/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct grouping {
	clog_u32 reach;	 /* bits: a path of the group can be used here */
	clog_u32 wants;	 /* the group asked for; CLOG_GROUP_NONE: none */
	clog_u32 in_use; /* by the cluster, as far as is known */
	clog_u32 granted;
	clog_u32 turn;	   /* of what was told last */
	clog_u16 said;	   /* counts what the others were to be told */
	clog_u16 heard;	   /* the last of it that they have taken into account */
	bool busy;	   /* a node is switching the array */
	bool say;	   /* the others are to be told reach and wants, */
	bool say_switched; /* and how the switch has ended */
	bool under_way;	   /* the switch that was granted has begun, and its outcome is not known */
	bool ended;	   /* the grant of this turn is used up */
	clog_u32 how;	   /* CLOG_SWITCH_ */
};

enum grouping_answer {
	GROUPING_WAIT,	/* not decided yet */
	GROUPING_MAY,	/* the array may be switched to the group, or uses it already */
	GROUPING_GUEST, /* the group may be used, but the array must not be switched */
};

/* Nobody has decided anything yet. `said`: differs from what was said before, most likely. */
static inline void grouping_reset(struct grouping *g, clog_u16 said)
{
	g->wants = CLOG_GROUP_NONE;
	g->in_use = CLOG_GROUP_NONE;
	g->granted = CLOG_GROUP_NONE;
	g->turn = 0;
	g->said = said;
	g->heard = said - 1;
	g->busy = false;
	g->say = true;
	g->say_switched = false;
	g->under_way = false;
	g->ended = false;
}

/* A new daemon is to be told everything. */
static inline void grouping_say_again(struct grouping *g)
{
	g->say = true;
	g->say_switched = g->ended;
}

static inline void grouping_changed(struct grouping *g)
{
	g->said++;
	g->say = true;
}

/* The nodes use the group, and nobody is about to change that. */
static inline bool grouping_uses(const struct grouping *g, clog_u32 group)
{
	return g->in_use == group && !g->busy;
}

/* What this node said was heard, and whatever follows from it has been done. */
static inline bool grouping_decided(const struct grouping *g)
{
	return g->heard == g->said && !g->busy;
}

/* May this node switch the array to the group, now? */
static inline bool grouping_granted(const struct grouping *g, clog_u32 group)
{
	return g->granted == group && !g->ended;
}

/* What the others then think, too: a node that could not switch no longer wants to, until it asks.
 */
static inline void grouping_give_up(struct grouping *g, clog_u32 group)
{
	if (g->wants != group)
		return;
	g->wants = CLOG_GROUP_NONE;
	grouping_changed(g);
}

/* The switch that was granted begins: from now on only its end ends the grant. */
static inline void grouping_begin(struct grouping *g, clog_u32 group)
{
	g->under_way = group != CLOG_GROUP_NONE && grouping_granted(g, group);
}

/* The switch that was granted has ended. True: there is something to tell. */
static inline bool grouping_end(struct grouping *g, clog_u32 group, clog_u32 how)
{
	if (group == CLOG_GROUP_NONE || !grouping_granted(g, group))
		return false;
	g->under_way = false;
	g->ended = true;
	g->how = how;
	g->say_switched = true;
	if (how != CLOG_SWITCH_DONE)
		grouping_give_up(g, group);
	return true;
}

/*
 * The grant is of no use any more. While the switch is under way that is not for this node to say:
 * another would be let switch the array at the same time.
 */
static inline bool grouping_return(struct grouping *g, clog_u32 group, clog_u32 how)
{
	return !g->under_way && grouping_end(g, group, how);
}

/* Whether a path of the group can be used. True: there is something to tell. */
static inline bool grouping_reach(struct grouping *g, clog_u32 group, bool on)
{
	clog_u32 bit = 1u << group;

	if (!(g->reach & bit) == !on)
		return false;
	g->reach ^= bit;
	grouping_changed(g);
	if (!on) {
		grouping_return(g, group, CLOG_SWITCH_FAILED);
		grouping_give_up(g, group);
	}
	return true;
}

/* The node would use the group. *tell: there is something to tell. */
static inline enum grouping_answer grouping_ask(struct grouping *g, clog_u32 group, bool *tell)
{
	*tell = false;
	if (g->wants != group) {
		g->wants = group;
		grouping_changed(g);
		*tell = true;
	}
	if (g->granted != group && grouping_return(g, g->granted, CLOG_SWITCH_DECLINED))
		*tell = true; /* it has thought better of it */
	if (grouping_granted(g, group))
		return GROUPING_MAY;
	if (grouping_uses(g, group))
		return GROUPING_MAY;
	return grouping_decided(g) ? GROUPING_GUEST : GROUPING_WAIT;
}

/* GROUP. False: nonsense, nothing changed. There may be something to tell. */
static inline bool grouping_take(struct grouping *g, clog_u32 value, clog_u32 turn)
{
	clog_u32 in_use = value & CLOG_GROUP_NONE;
	clog_u32 granted = value >> CLOG_GROUP_GRANTED_SHIFT & CLOG_GROUP_NONE;

	if ((in_use >= CLOG_GROUPS_MAX && in_use != CLOG_GROUP_NONE) ||
	    (granted >= CLOG_GROUPS_MAX && granted != CLOG_GROUP_NONE))
		return false;
	if (g->granted != CLOG_GROUP_NONE && !g->ended && turn == g->turn &&
	    granted == CLOG_GROUP_NONE)
		grouping_give_up(g, g->granted); /* it took too long */
	if (turn != g->turn || granted == CLOG_GROUP_NONE) {
		g->under_way = false;
		g->ended = false;
		g->say_switched = false;
	}
	g->turn = turn;
	g->in_use = in_use;
	g->granted = granted;
	g->busy = value & CLOG_GROUP_BUSY;
	g->heard = (clog_u16)(value >> CLOG_GROUP_HEARD_SHIFT);
	/* It was granted when something else had already been said, which is yet to be heard. */
	if (granted != CLOG_GROUP_NONE && (g->wants != granted || !(g->reach & 1u << granted)))
		grouping_return(g, granted, CLOG_SWITCH_DECLINED);
	return true;
}

#ifdef __cplusplus
}
#endif
#endif
