// SPDX-License-Identifier: GPL-2.0
/* Self-tests of dm-log-cluster: the picture of the regions, and the groups of an array's paths. */
#include <linux/device-mapper.h>
#include <linux/slab.h>

#include "grouping.h"
#include "picture.h"
#include "selftest.h"

#define DM_MSG_PREFIX "log-cluster"

#define REGIONS (2 * PICTURE_CHUNK + 5)
#define STEPS 20000

static unsigned int failures;

#define CHECK(what) (failures += WARN_ON(!(what)))

/* The same numbers each time. */
static u32 some(u32 *seed, u32 below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (u64)*seed * below >> 32;
}

/* Everything that waits is told, in ranges that make sense; then nothing waits. */
static void all_is_told(struct picture *p, struct clog_range *ranges)
{
	u32 n, more, i, frames = 0;
	u16 type = 0;

	do {
		n = picture_tell(p, &type, &more, ranges);
		CHECK(n <= PICTURE_CHUNK / 2 && (type || !n));
		for (i = 0; i < n; i++) {
			CHECK(ranges[i].count && ranges[i].start < p->regions);
			CHECK(ranges[i].count <= p->regions - ranges[i].start);
			CHECK(!i || ranges[i].start > ranges[i - 1].start + ranges[i - 1].count);
		}
	} while (type && ++frames < 100);
	CHECK(!type);
}

static void picture_holds(struct picture *p, struct clog_range *ranges)
{
	static const u16 types[] = { CLOG_SYNCED, CLOG_UNSYNCED, CLOG_CLOSE, CLOG_MARKED,
				     CLOG_TOLD };
	u32 seed = 1, i, r, unsynced = 0, waiting = 0, lost = 0;

	picture_reset(p);
	for (i = 0; i < STEPS; i++) {
		r = some(&seed, REGIONS);
		switch (some(&seed, 10)) {
		case 0:
			picture_mark(p, r);
			break;
		case 1:
			picture_clear(p, r);
			break;
		case 2:
			picture_want(p, r);
			break;
		case 3:
			picture_lose(p, r);
			break;
		case 4:
			if (some(&seed, 50))
				break;
			picture_tell_again(p, 0, p->regions);
			picture_tell_held(p);
			all_is_told(p, ranges);
			break;
		default:
			picture_take(p, types[some(&seed, ARRAY_SIZE(types))], r);
		}
	}
	all_is_told(p, ranges);
	for (r = 0; r < REGIONS; r++) {
		unsynced += !!(p->flags[r] & R_UNSYNCED);
		waiting += !!(p->flags[r] & (R_MARK | R_ASKED));
		lost += !!(p->flags[r] & R_LOST);
		CHECK(!(p->flags[r] & (R_MARK | R_CLEAR)));
	}
	CHECK(p->unsynced == unsynced && p->marks_waiting == waiting && p->lost_waiting == lost);
}

static void picture(void)
{
	struct picture p = { .regions = REGIONS };
	struct clog_range *ranges = kcalloc(PICTURE_CHUNK / 2, sizeof(*ranges), GFP_KERNEL);

	p.flags = kzalloc(REGIONS, GFP_KERNEL);
	p.pending = kcalloc((picture_chunks(REGIONS) + 31) / 32, sizeof(*p.pending), GFP_KERNEL);
	if (ranges && p.flags && p.pending)
		picture_holds(&p, ranges);
	else
		CHECK(!"no memory");
	kfree(p.pending);
	kfree(p.flags);
	kfree(ranges);
}

static u32 group_word(u32 in_use, u32 granted, u16 heard)
{
	return in_use | granted << CLOG_GROUP_GRANTED_SHIFT | (u32)heard << CLOG_GROUP_HEARD_SHIFT;
}

/* The array is switched by whom it was granted to, once. */
static void groups(void)
{
	struct grouping g = { 0 };
	bool tell;

	grouping_reset(&g, 7);
	CHECK(grouping_reach(&g, 1, true) && !grouping_reach(&g, 1, true));
	CHECK(grouping_ask(&g, 1, &tell) == GROUPING_WAIT && tell);
	CHECK(!grouping_take(&g, group_word(CLOG_GROUPS_MAX, CLOG_GROUP_NONE, g.said), 1));
	CHECK(grouping_take(&g, group_word(0, CLOG_GROUP_NONE, g.said), 1));
	CHECK(grouping_ask(&g, 1, &tell) == GROUPING_GUEST && !tell);
	CHECK(grouping_take(&g, group_word(0, 1, g.said), 2));
	CHECK(grouping_ask(&g, 1, &tell) == GROUPING_MAY && grouping_granted(&g, 1));
	CHECK(grouping_end(&g, 1, CLOG_SWITCH_DONE) && !grouping_granted(&g, 1));
	CHECK(!grouping_end(&g, 1, CLOG_SWITCH_DONE));
	CHECK(grouping_take(&g, group_word(1, CLOG_GROUP_NONE, g.said), 3));
	CHECK(grouping_ask(&g, 1, &tell) == GROUPING_MAY && !grouping_granted(&g, 1));
}

int cluster_log_selftest(void)
{
	picture();
	groups();
	if (failures)
		return -EINVAL;
	DMINFO("self-tests passed");
	return 0;
}
