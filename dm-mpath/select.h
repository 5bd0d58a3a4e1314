/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Path selectors: which of a group's paths gets the next I/O. One file each, all on the interface
 * below; no locks or kernel calls. A choice is made by many CPUs at once: it reads counters that
 * change under it, and the worst that comes of it is a choice that was right a moment ago.
 */
#ifndef DM_MPATH_SELECT_H
#define DM_MPATH_SELECT_H

#include "pure.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Latency depends on the size more than on anything else. */
enum select_class {
	SELECT_SMALL,  /* up to 8 KiB */
	SELECT_MEDIUM, /* up to 64 KiB */
	SELECT_LARGE,
	SELECT_CLASSES
};

/* What is known of one path; zeroed at first. */
struct select_path {
	bool usable; /* takes new I/O */
	u8 share;    /* percent of its turns, while it is ramped up; 100 otherwise */
	atomic_t in_flight;
	atomic64_t bytes; /* in flight; service-time */
	u32 throughput;	  /* service-time: relative, 0..100 */
	u64 last_end;	  /* ns; latency, historical-service-time */
	u64 busy_since;	  /* ns; when something was first in flight since nothing was */
	u32 latency_us[SELECT_CLASSES];
	u64 service_ns;	     /* historical-service-time */
	unsigned long *cpus; /* io-affinity: one bit each, the kernel's cpumask_bits() */
	char *cpus_text;     /* as it was given */
};

struct select_group {
	atomic_t turn;
	atomic_t misses;	    /* io-affinity: no path for the CPU was usable */
	u32 base_weight, threshold; /* historical-service-time */
};

/* One I/O that looks for a path. */
struct select_io {
	u32 bytes;
	u32 cpu;
	u64 now; /* ns, monotonic; 0 where the selector does not want it */
	u32 turn;
	bool everybody; /* ramped or not: nobody else is left */
};

struct select_paths {
	u32 n;
	struct select_path *path[];
};

struct selector {
	const char *name;
	u32 table_args, info_args; /* per path, in the status */
	bool timed;		   /* wants to know when I/O begins and ends */
	bool weighs;		   /* wants to know how many bytes are in flight */
	bool counts;		   /* choose() sees every I/O, also where there is one path alone */
	/* Null: no arguments, or the error text. */
	const char *(*group_args)(struct select_group *g, u32 argc, char **argv);
	const char *(*path_args)(struct select_path *p, u32 argc, char **argv);
	struct select_path *(*choose)(struct select_group *g, const struct select_paths *paths,
				      const struct select_io *io);
	void (*ended)(struct select_group *g, struct select_path *p, u32 bytes, u64 began, u64 now);
	/* Status words of the group; empty: "0". Of a path: each with a space behind it. */
	int (*group_status)(const struct select_group *g, char *to, u32 room);
	int (*path_table)(const struct select_path *p, char *to, u32 room);
	int (*path_info)(const struct select_group *g, const struct select_path *p, char *to,
			 u32 room);
};

/* Null: there is none of this name. */
const struct selector *selector_find(const char *name);

/* For select_choose(): where there is a choice, or every I/O is counted. */
struct select_path *select_among(const struct selector *s, struct select_group *g,
				 const struct select_paths *paths, struct select_io *io);

/* The path for this I/O, or null if none takes any. `io->turn` and `everybody` are set here. */
static inline struct select_path *select_choose(const struct selector *s, struct select_group *g,
						const struct select_paths *paths,
						struct select_io *io)
{
	/* Turns are not taken where there is no choice: a counter that all CPUs share costs. */
	if (paths->n == 1 && !s->counts)
		return READ_ONCE(paths->path[0]->usable) ? paths->path[0] : NULL;
	return select_among(s, g, paths, io);
}

/* It goes out; it has come back, however. Times are 0 where they were not taken. */
static inline void select_began(const struct selector *s, struct select_path *p, u32 bytes, u64 now)
{
	if (atomic_inc_return(&p->in_flight) == 1)
		WRITE_ONCE(p->busy_since, now);
	if (s->weighs)
		atomic64_add(bytes, &p->bytes);
}

static inline void select_ended(const struct selector *s, struct select_group *g,
				struct select_path *p, u32 bytes, u64 began, u64 now)
{
	if (now) {
		if (s->ended && began)
			s->ended(g, p, bytes, began, now);
		WRITE_ONCE(p->last_end, now);
	}
	if (s->weighs)
		atomic64_sub(bytes, &p->bytes);
	atomic_dec_return(&p->in_flight);
}

/* ---- for selectors ---- */

bool select_its_turn(const struct select_path *p, const struct select_io *io);

/* May this path be chosen now? One that is ramped up lets most of its turns pass. */
static inline bool select_open(const struct select_path *p, const struct select_io *io)
{
	return READ_ONCE(p->usable) && (READ_ONCE(p->share) >= 100 || select_its_turn(p, io));
}

enum select_class select_class_of(u32 bytes);

/* A whole number in [0, most]; false: it is none. */
bool select_number(const char *text, u32 most, u32 *value);

/*
 * [repeat_count], which the kernel's own selectors take and have not heeded since Linux 4.8. Error
 * texts are the kernel's, too.
 */
#define SELECT_COUNT(ps) ps " ps: incorrect number of arguments"
#define SELECT_REPEAT(ps) ps " ps: invalid repeat count"
bool select_repeat(const char *text);
const char *select_repeat_only(u32 argc, char **argv, const char *count, const char *repeat);
int select_repeat_table(const struct select_path *p, char *to, u32 room);

extern const struct selector select_round_robin, select_queue_length, select_service_time,
	select_historical, select_io_affinity, select_latency;

#ifdef __cplusplus
}
#endif
#endif
