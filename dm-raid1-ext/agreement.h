/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which legs a mirror may use, as the nodes that share it have agreed (invariant I3). No locks or
 * kernel calls, so that the module, the unit tests and the simulator compile the same file.
 *
 * A leg that the nodes give up is at once neither read nor written here, but other nodes may still
 * read it: a write that it missed may end only once the epoch is confirmed. A leg that comes back
 * is written before it is read; what is written meanwhile needs it, what was under way does not.
 */
#ifndef DM_RAID1_EXT_AGREEMENT_H
#define DM_RAID1_EXT_AGREEMENT_H

#include "../proto/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct agreement {
	clog_u32 legs;		    /* of the table */
	bool told;		    /* else nothing may be read or written */
	clog_u32 readable, written; /* bits */
	clog_u32 needed; /* what some node may still read: a write must have reached these */
	clog_u32 primary;
	clog_u32 epoch;
	clog_u32 left; /* counts the legs that were given up for good */
	clog_u32 left_at[CLOG_LEGS_MAX];
};

static inline clog_u32 agreement_every(const struct agreement *a)
{
	return (1u << a->legs) - 1;
}

/* Nothing was told yet. */
static inline void agreement_reset(struct agreement *a, clog_u32 legs)
{
	clog_u32 i;

	a->legs = legs;
	a->told = false;
	a->readable = 0;
	a->written = 0;
	a->needed = agreement_every(a);
	a->primary = 0;
	a->epoch = 0;
	a->left = 0;
	for (i = 0; i < CLOG_LEGS_MAX; i++)
		a->left_at[i] = 0;
}

/* Nobody to agree with: every leg is in use. */
static inline void agreement_alone(struct agreement *a, clog_u32 legs)
{
	agreement_reset(a, legs);
	a->told = true;
	a->readable = agreement_every(a);
	a->written = agreement_every(a);
}

/* LEGS; false: nonsense, nothing changed. */
static inline bool agreement_take(struct agreement *a, clog_u32 value, clog_u32 epoch)
{
	clog_u32 readable = value & CLOG_LEGS_MASK;
	clog_u32 written = value >> CLOG_LEGS_WRITTEN_SHIFT & CLOG_LEGS_MASK;
	clog_u32 primary = value >> CLOG_LEGS_PRIMARY_SHIFT & CLOG_LEGS_PRIMARY_MASK;
	clog_u32 i;

	if (!readable || readable & ~written || written & ~agreement_every(a) ||
	    primary >= a->legs || !(readable & 1u << primary))
		return false;
	if (value & CLOG_LEGS_CONFIRMED) {
		for (i = 0; i < a->legs; i++)
			if (a->needed & ~written & 1u << i)
				a->left_at[i] = ++a->left;
		a->needed = written;
	} else {
		a->needed |= written;
	}
	a->readable = readable;
	a->written = written;
	a->primary = primary;
	a->epoch = epoch;
	a->told = true;
	return true;
}

/*
 * All of it in one word, which is read at once: bits 0-8 readable, 9-17 written, 18-26 needed,
 * 27-30 the primary, 31 whether anything was told, 32-63 `left`.
 */
static inline unsigned long long agreement_word(const struct agreement *a)
{
	return a->readable | a->written << 9 | a->needed << 18 | a->primary << 27 |
	       (clog_u32)a->told << 31 | (unsigned long long)a->left << 32;
}

static inline clog_u32 word_readable(unsigned long long word)
{
	return word & CLOG_LEGS_MASK;
}

static inline clog_u32 word_written(unsigned long long word)
{
	return word >> 9 & CLOG_LEGS_MASK;
}

static inline clog_u32 word_needed(unsigned long long word)
{
	return word >> 18 & CLOG_LEGS_MASK;
}

static inline clog_u32 word_primary(unsigned long long word)
{
	return word >> 27 & CLOG_LEGS_PRIMARY_MASK;
}

static inline bool word_told(unsigned long long word)
{
	return word >> 31 & 1;
}

/*
 * Bits of the legs that a write, sent under `word`, must still have reached before it may end. None
 * if it reached all that `word` needs.
 */
static inline clog_u32 agreement_lacks(const struct agreement *a, unsigned long long word,
				       clog_u32 reached)
{
	clog_u32 lacks = word_needed(word) & a->needed & ~reached, left = word >> 32, i;

	for (i = 0; lacks && i < a->legs; i++)
		if (lacks & 1u << i && a->left_at[i] > left)
			lacks &= ~(1u << i);
	return lacks;
}

#ifdef __cplusplus
}
#endif
#endif
