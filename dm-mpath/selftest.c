// SPDX-License-Identifier: GPL-2.0
/* Self-tests of a debug build: the states of a path, and what the selectors choose. */
#include "mpath.h"
#include "selftest.h"

#define PATHS 3
#define CHOICES 2000

static unsigned int failures;

#define CHECK(what) (failures += WARN_ON(!(what)))

/*
 * Nothing but the administrator ends draining, and what has failed takes I/O only after a probe or
 * a word.
 */
static void path_events(void)
{
	unsigned int from, event;

	for (from = 0; from < PATH_STATES; from++) {
		for (event = 0; event < PATH_EVENTS; event++) {
			u8 state = from;
			bool changed = path_step(&state, event);

			CHECK(state < PATH_STATES && changed == (state != from));
			CHECK(from != PATH_DRAINING || !changed || event == PATH_UNDRAIN ||
			      event == PATH_ADDED);
			CHECK(path_takes_io(from) || !path_takes_io(state) ||
			      event == PATH_REINSTATE || event == PATH_PROBE_OK);
			CHECK(from != PATH_FOREIGN || !changed || event == PATH_REINSTATE ||
			      event == PATH_DRAIN);
			CHECK(event != PATH_ERROR || !path_takes_io(state));
		}
	}
}

/* A path that is not usable is never chosen, and one is if any is usable. */
static void choices_of(const struct selector *s, struct select_paths *paths)
{
	struct select_group g = { .base_weight = 1 };
	unsigned int usable, i, n;

	for (usable = 0; usable < 1U << PATHS; usable++) {
		unsigned int chosen[PATHS] = { 0 };

		for (i = 0; i < PATHS; i++) {
			memset(paths->path[i], 0, sizeof(*paths->path[i]));
			paths->path[i]->usable = usable >> i & 1;
			paths->path[i]->share = i ? 100 : 1; /* the first is ramped up */
			paths->path[i]->throughput = 1;
		}
		for (n = 1; n <= CHOICES; n++) {
			struct select_io io = { .bytes = 4096, .now = n * 1000ULL };
			struct select_path *p = select_choose(s, &g, paths, &io);

			CHECK(!p == !usable);
			for (i = 0; p && i < PATHS; i++)
				chosen[i] += p == paths->path[i];
			if (!p)
				continue;
			CHECK(p->usable);
			select_began(s, p, io.bytes, io.now);
			select_ended(s, &g, p, io.bytes, io.now, io.now + 500);
		}
		for (i = 0; i < PATHS; i++) {
			CHECK(!atomic_read(&paths->path[i]->in_flight));
			CHECK(!atomic64_read(&paths->path[i]->bytes));
		}
		/* One percent of its turns, unless nobody else is there. */
		if (usable & 1)
			CHECK(usable == 1 ? chosen[0] == CHOICES : chosen[0] <= CHOICES / 50);
	}
}

static void selectors(void)
{
	static const char *const names[] = { "round-robin",  "queue-length",
					     "service-time", "historical-service-time",
					     "io-affinity",  "latency" };
	struct select_paths *paths = kzalloc(struct_size(paths, path, PATHS), GFP_KERNEL);
	struct select_path *path = kcalloc(PATHS, sizeof(*path), GFP_KERNEL);
	unsigned int i;

	CHECK(!selector_find("fastest"));
	for (i = 0; paths && path && i < PATHS; i++) {
		paths->path[i] = &path[i];
		paths->n++;
	}
	CHECK(paths && path);
	for (i = 0; paths && path && i < ARRAY_SIZE(names); i++) {
		const struct selector *s = selector_find(names[i]);

		CHECK(s);
		if (s)
			choices_of(s, paths);
	}
	kfree(path);
	kfree(paths);
}

static void numbers(void)
{
	u32 value = 7;

	CHECK(select_number("4294967295", U32_MAX, &value) && value == U32_MAX);
	CHECK(!select_number("4294967296", U32_MAX, &value) && value == U32_MAX);
	CHECK(!select_number("", 9, &value) && !select_number("-1", 9, &value));
	CHECK(!select_number("10", 9, &value) && !select_number("9 ", 9, &value));
	CHECK(select_class_of(8192) == SELECT_SMALL && select_class_of(8193) == SELECT_MEDIUM);
	CHECK(select_class_of(65536) == SELECT_MEDIUM && select_class_of(65537) == SELECT_LARGE);
}

int mpath_selftest(void)
{
	path_events();
	selectors();
	numbers();
	if (failures)
		return -EINVAL;
	DMINFO("self-tests passed");
	return 0;
}
