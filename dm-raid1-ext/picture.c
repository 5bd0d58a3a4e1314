// SPDX-License-Identifier: GPL-2.0
#include "picture.h"

static bool tell(struct picture *p, clog_u32 region, unsigned char what)
{
	clog_u32 chunk = region / PICTURE_CHUNK;

	p->flags[region] |= what;
	p->order = 0;
	p->pending[chunk / 32] |= 1u << chunk % 32;
	return true;
}

static bool chunk_pending(const struct picture *p, clog_u32 chunk)
{
	return p->pending[chunk / 32] & 1u << chunk % 32;
}

void picture_reset(struct picture *p)
{
	clog_u32 i, words = (picture_chunks(p->regions) + 31) / 32;

	for (i = 0; i < p->regions; i++)
		p->flags[i] = R_UNSYNCED;
	for (i = 0; i < words; i++)
		p->pending[i] = 0;
	p->unsynced = p->regions;
	p->marks_waiting = 0;
	p->lost_waiting = 0;
	p->closing = false;
	p->order = 0;
	p->held_next = picture_chunks(p->regions) + 1;
}

bool picture_mark(struct picture *p, clog_u32 region)
{
	if (p->flags[region] & (R_MARKED | R_MARK | R_ASKED))
		return false;
	p->marks_waiting++;
	return tell(p, region, R_MARK);
}

bool picture_clear(struct picture *p, clog_u32 region)
{
	if (!(p->flags[region] & (R_MARKED | R_CLOSE)))
		return false;
	p->flags[region] &= ~(R_MARKED | R_CLOSE);
	return tell(p, region, R_CLEAR);
}

bool picture_want(struct picture *p, clog_u32 region)
{
	return p->flags[region] & R_UNSYNCED ? tell(p, region, R_WANT) : false;
}

bool picture_lose(struct picture *p, clog_u32 region)
{
	if (!(p->flags[region] & R_LOST))
		p->lost_waiting++;
	return tell(p, region, R_LOST);
}

static bool take_synced(struct picture *p, clog_u32 region)
{
	if (p->flags[region] & R_UNSYNCED) {
		p->flags[region] &= ~(R_UNSYNCED | R_WANT);
		p->unsynced--;
	}
	return false;
}

static bool take_unsynced(struct picture *p, clog_u32 region)
{
	if (!(p->flags[region] & R_UNSYNCED)) {
		p->flags[region] |= R_UNSYNCED;
		p->unsynced++;
	}
	return false;
}

static bool take_close(struct picture *p, clog_u32 region)
{
	if (!(p->flags[region] & (R_MARKED | R_MARK | R_ASKED)))
		return tell(p, region, R_CLEAR); /* nothing is in flight */
	p->flags[region] |= R_CLOSE;
	p->closing = true;
	return false;
}

static bool take_marked(struct picture *p, clog_u32 region)
{
	unsigned char *f = &p->flags[region];

	if (*f & R_ASKED) {
		*f ^= R_ASKED | R_MARKED;
		p->marks_waiting--;
		if (*f & R_CLOSE)
			p->closing = true;
		return false;
	}
	return *f & R_MARKED ? false : tell(p, region, R_CLEAR); /* nobody waits for it any more */
}

static bool take_told(struct picture *p, clog_u32 region)
{
	if (p->flags[region] & R_LOST) {
		p->flags[region] &= ~R_LOST;
		p->lost_waiting--;
	}
	return false;
}

bool picture_take(struct picture *p, unsigned int type, clog_u32 region)
{
	switch (type) {
	case CLOG_SYNCED:
		return take_synced(p, region);
	case CLOG_UNSYNCED:
		return take_unsynced(p, region);
	case CLOG_CLOSE:
		return take_close(p, region);
	case CLOG_MARKED:
		return take_marked(p, region);
	case CLOG_TOLD:
		return take_told(p, region);
	}
	return false;
}

/* The ranges of a chunk in which a bit of `what` is set; there `drop` goes and `add` comes. */
static clog_u32 collect(struct picture *p, clog_u32 chunk, unsigned char what, unsigned char drop,
			unsigned char add, struct clog_range *ranges)
{
	clog_u32 r = chunk * PICTURE_CHUNK, n = 0;
	clog_u32 end = p->regions - r < PICTURE_CHUNK ? p->regions : r + PICTURE_CHUNK;

	for (; r < end; r++) {
		if (!(p->flags[r] & what))
			continue;
		p->flags[r] = (p->flags[r] & ~drop) | add;
		if (n && ranges[n - 1].start + ranges[n - 1].count == r) {
			ranges[n - 1].count++;
		} else {
			ranges[n].start = r;
			ranges[n].count = 1;
			n++;
		}
	}
	return n;
}

clog_u32 picture_tell(struct picture *p, clog_u16 *type, clog_u32 *more, struct clog_range *ranges)
{
	/* A region that was cleared may be marked again before the daemon has heard of either. */
	static const struct {
		clog_u16 type;
		unsigned char what, drop, add;
	} order[] = {
		{ CLOG_LOST, R_LOST, 0, 0 },
		{ CLOG_CLEAR, R_CLEAR, R_CLEAR, 0 },
		{ CLOG_MARK, R_MARK, R_MARK, R_ASKED },
		{ CLOG_WANT, R_WANT, 0, 0 },
		{ 0 },
	};
	clog_u32 chunks = picture_chunks(p->regions), chunk, n, i;

	*more = 0;
	while (p->held_next < chunks) {
		n = collect(p, p->held_next++, R_MARKED, 0, 0, ranges);
		if (n) {
			*type = CLOG_HELD;
			*more = 1;
			return n;
		}
	}
	if (p->held_next == chunks) {
		p->held_next++;
		*type = CLOG_HELD;
		return 0;
	}
	for (chunk = 0; chunk < chunks; chunk++) {
		if (!p->pending[chunk / 32]) {
			chunk |= 31;
			continue;
		}
		if (!chunk_pending(p, chunk))
			continue;
		while (order[p->order].type) {
			i = p->order++;
			n = collect(p, chunk, order[i].what, order[i].drop, order[i].add, ranges);
			if (n) {
				*type = order[i].type;
				return n;
			}
		}
		p->order = 0;
		p->pending[chunk / 32] &= ~(1u << chunk % 32);
	}
	*type = 0;
	return 0;
}

void picture_tell_again(struct picture *p, clog_u32 start, clog_u32 count)
{
	clog_u32 r;

	for (r = start; r < start + count; r++) {
		if (p->flags[r] & R_ASKED)
			p->flags[r] ^= R_ASKED | R_MARK;
		if (p->flags[r] & (R_MARK | R_CLEAR | R_WANT | R_LOST))
			tell(p, r, 0);
	}
}

void picture_tell_held(struct picture *p)
{
	p->held_next = 0;
}
