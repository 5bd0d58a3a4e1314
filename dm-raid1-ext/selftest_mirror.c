// SPDX-License-Identifier: GPL-2.0
/* Self-tests of dm-raid1-ext: the states of a region, and what the nodes agree about legs. */
#include "mirror.h"
#include "selftest.h"

static unsigned int failures;

#define CHECK(what) (failures += WARN_ON(!(what)))

/* I1, I2: every event in every state, with and without a write in flight. */
static void region_events(void)
{
	unsigned int state, event, pending;

	for (state = 0; state < REGION_STATES; state++) {
		for (event = 0; event < REGION_EVENTS; event++) {
			for (pending = 0; pending < 3; pending++) {
				struct region r = { .state = state, .pending = pending };
				bool stepped = region_step(&r, event);

				CHECK(r.state < REGION_STATES && r.pending == pending);
				CHECK(stepped || r.state == state);
				CHECK(!stepped || r.state != REGION_COPYING || !pending);
				CHECK(!stepped || r.state != REGION_WARM ||
				      (state == REGION_MARKING && event == REGION_MARKED));
			}
		}
	}
}

static void region_ways(void)
{
	unsigned int state;

	for (state = 0; state < REGION_STATES; state++) {
		struct region r = { .state = state };
		enum region_way way = region_enter(&r);
		bool in = way == REGION_EVERY_LEG || way == REGION_PRIMARY;

		CHECK(in == (state == REGION_WARM || state == REGION_UNSYNCED));
		CHECK(r.pending == in);
		if (in) {
			CHECK(region_step(&r, REGION_COPY) && !region_step(&r, REGION_DRAINED));
			CHECK(region_enter(&r) == REGION_WAIT && r.pending == 1);
			CHECK(region_leave(&r) && region_step(&r, REGION_DRAINED));
		}
	}
}

/* I3: what is read at once from one word is what was agreed. */
static void legs_word_is_whole(void)
{
	unsigned int legs, written, primary;
	struct agreement a;
	u64 word, before;

	for (legs = 1; legs <= MIRROR_MAX_LEGS; legs++) {
		agreement_reset(&a, legs);
		CHECK(!word_told(agreement_word(&a)));
		for (written = 1; written < 1U << legs; written++) {
			primary = __ffs(written);
			before = agreement_word(&a);
			CHECK(agreement_take(&a,
					     written | written << CLOG_LEGS_WRITTEN_SHIFT |
						     primary << CLOG_LEGS_PRIMARY_SHIFT |
						     CLOG_LEGS_CONFIRMED,
					     written));
			word = agreement_word(&a);
			CHECK(word_told(word) && word_readable(word) == written);
			CHECK(word_written(word) == written && word_needed(word) == written);
			CHECK(word_primary(word) == primary && word >> 32 == a.left);
			/* A leg that was given up is not lacked, one that is needed is. */
			CHECK(!agreement_lacks(&a, before, written));
			CHECK(agreement_lacks(&a, word, 0) == written);
			CHECK(agreement_lacks(&a, before, 0) == (word_needed(before) & written));
		}
		CHECK(!agreement_take(&a, 0, 0));
		CHECK(agreement_word(&a) == word);
	}
}

int mirror_selftest(void)
{
	region_events();
	region_ways();
	legs_word_is_whole();
	if (failures)
		return -EINVAL;
	DMINFO("self-tests passed");
	return 0;
}
