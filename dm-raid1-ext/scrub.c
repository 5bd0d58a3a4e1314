// SPDX-License-Identifier: GPL-2.0
/*
 * Scrubbing: every region that is in sync is read from all legs in use and compared, while the
 * mirror is written. Nothing is locked for it. Legs count as different where they are so, each with
 * the same content, in several looks that lie apart, with no write of this node under way: a write,
 * also another node's, would have changed one of them meanwhile or made them equal.
 *
 * To repair, a region loses its sync and is copied like any other that did: from the primary, with
 * no write under way on any node. So a wrong verdict costs a copy, and nothing else. What a leg
 * cannot read is rewritten there (repair.c).
 */
#include <linux/delay.h>
#include <linux/jhash.h>
#include <linux/slab.h>

#include "mirror.h"

#define CHUNK_SECTORS 128
#define LOOKS 3
#define LOOK_MS 300
#define TRIES 20 /* looks at a chunk that is being written, before it is passed over */
#define WAY_MS 5 /* foreground first */

enum verdict { SAME, DIFFERENT, WRITTEN, NOT_IN_SYNC, UNREADABLE, HALTED };

static const char *const state_names[] = { [SCRUB_IDLE] = "idle",
					   [SCRUB_RUNNING] = "running",
					   [SCRUB_STOPPED] = "stopped",
					   [SCRUB_DONE] = "done" };

static bool halted(struct mirror_set *ms)
{
	return !in_use(ms) || READ_ONCE(ms->scrub.state) != SCRUB_RUNNING;
}

static unsigned long legs_in_use(struct mirror_set *ms)
{
	u64 word = legs_word(ms);
	unsigned long legs = word_readable(word) & word_written(word);
	unsigned int i;

	for (i = 0; i < ms->nr_legs; i++)
		if (!leg_alive(&ms->legs[i]))
			legs &= ~BIT(i);
	return legs;
}

static bool comparable(struct mirror_set *ms, u64 index, unsigned long legs)
{
	return hweight_long(legs) > 1 && legs_in_use(ms) == legs &&
	       ms->log->type->in_sync(ms->log, index, 1) == 1;
}

static void read_done(struct bio *bio)
{
	complete(bio->bi_private);
}

/* Reads the chunk from each of these legs. Bits of those that could not be read. */
static unsigned long read_legs(struct mirror_set *ms, sector_t offset, unsigned int bytes,
			       unsigned long legs)
{
	struct bio *bios[MIRROR_MAX_LEGS];
	unsigned long failed = 0;
	struct completion done;
	unsigned int i;

	init_completion(&done);
	for_each_set_bit(i, &legs, ms->nr_legs) {
		void *room = ms->scrub.rooms[i];

		bios[i] = bio_alloc(ms->legs[i].dev->bdev, 1, REQ_OP_READ, GFP_NOIO);
		bios[i]->bi_iter.bi_sector = ms->legs[i].start + offset;
		bios[i]->bi_private = &done;
		bios[i]->bi_end_io = read_done;
		__bio_add_page(bios[i], virt_to_page(room), bytes, offset_in_page(room));
		submit_bio(bios[i]);
	}
	for_each_set_bit(i, &legs, ms->nr_legs)
		wait_for_completion_io(&done);
	for_each_set_bit(i, &legs, ms->nr_legs) {
		if (bios[i]->bi_status)
			failed |= BIT(i);
		bio_put(bios[i]);
	}
	return failed;
}

/* A pause that ends early when the scrub is to end. */
static void pause_for(struct mirror_set *ms, unsigned int ms_left)
{
	while (ms_left && !halted(ms)) {
		unsigned int slice = min(ms_left, 50U);

		msleep(slice);
		ms_left -= slice;
	}
}

static enum verdict look(struct mirror_set *ms, u64 index, sector_t offset, unsigned int bytes,
			 unsigned long legs, u32 *sums)
{
	unsigned int i, first = __ffs(legs);
	enum verdict verdict = SAME;

	if (!comparable(ms, index, legs))
		return NOT_IN_SYNC;
	if (regions_writing(ms, index))
		return WRITTEN;
	ms->scrub.bad_legs = read_legs(ms, offset, bytes, legs);
	if (ms->scrub.bad_legs)
		return UNREADABLE;
	for_each_set_bit(i, &legs, ms->nr_legs) {
		if (memcmp(ms->scrub.rooms[first], ms->scrub.rooms[i], bytes))
			verdict = DIFFERENT;
		sums[i] = jhash(ms->scrub.rooms[i], bytes, 0);
	}
	if (verdict == SAME)
		return SAME;
	if (!comparable(ms, index, legs))
		return NOT_IN_SYNC;
	return regions_writing(ms, index) ? WRITTEN : DIFFERENT;
}

static enum verdict compare(struct mirror_set *ms, u64 index, sector_t offset, unsigned int bytes)
{
	u32 sums[MIRROR_MAX_LEGS] = {}, before[MIRROR_MAX_LEGS] = {};
	unsigned long legs = ms->scrub.legs = legs_in_use(ms);
	unsigned int tries, agreed = 0;
	enum verdict verdict = SAME;

	for (tries = 0; tries < TRIES; tries++) {
		if (halted(ms))
			return HALTED;
		verdict = look(ms, index, offset, bytes, legs, sums);
		if (verdict != DIFFERENT && verdict != WRITTEN)
			return verdict;
		if (verdict == WRITTEN || memcmp(sums, before, sizeof(sums)))
			agreed = 0;
		if (verdict == DIFFERENT && ++agreed == LOOKS)
			return DIFFERENT;
		memcpy(before, sums, sizeof(sums));
		pause_for(ms, LOOK_MS);
	}
	return WRITTEN;
}

/* The mirror's own reads and writes go first, and the rate that bounds copying bounds this, too. */
static void give_way(struct mirror_set *ms, unsigned int bytes)
{
	u64 rate = READ_ONCE(ms->rate_kib), writes = atomic64_read(&ms->warm_writes);
	bool busy = writes != ms->scrub.writes_seen;
	unsigned int i;

	ms->scrub.writes_seen = writes;
	for (i = 0; i < ms->nr_legs; i++)
		busy = busy || atomic_read(&ms->legs[i].reads);
	if (rate)
		pause_for(ms, div64_u64((u64)bytes * 1000 / 1024 + rate - 1, rate));
	else if (busy)
		pause_for(ms, WAY_MS);
	cond_resched();
}

/* For a log that no other node shares. */
static void lose_region(struct mirror_set *ms)
{
	struct scrub *s = &ms->scrub;
	struct region_entry *e;

	/* Writes to it go to the primary alone from now on: after a crash the log must know. */
	ms->log->type->mark_region(ms->log, s->next);
	if (ms->log->type->flush(ms->log))
		ms->log_failed = true;
	if (ms->log_failed)
		return;
	s->repaired++;
	e = regions_get(ms, s->next);
	lose_sync(ms, e, LEGS_ARE_WELL);
	regions_put(ms, e, true);
	wake_worker(ms);
}

static void repair(struct mirror_set *ms, u64 index)
{
	if (ms->cluster) {
		ms->scrub.repaired++;
		cluster_log_lose(ms->cluster, index);
	} else {
		by_worker(ms, lose_region);
	}
}

static void note(struct mirror_set *ms, u64 index, enum verdict verdict, sector_t sector)
{
	struct scrub *s = &ms->scrub;

	switch (verdict) {
	case SAME:
		s->compared++;
		return;
	case WRITTEN:
		s->busy++;
		return;
	case NOT_IN_SYNC:
		s->not_in_sync++;
		return;
	case UNREADABLE:
		s->unreadable++;
		DMERR_LIMIT("%s: scrub: region %llu cannot be read at sector %llu from legs %#lx",
			    dm_table_device_name(ms->ti->table), index, (u64)sector, s->bad_legs);
		if (s->repair && s->bad_legs != s->legs &&
		    repair_ask(ms, index, __ffs(s->legs & ~s->bad_legs), s->bad_legs))
			s->repaired++;
		return;
	case DIFFERENT:
		s->compared++;
		if (s->differ < SCRUB_LISTED)
			s->found[s->differ] = index;
		s->differ++;
		DMERR_LIMIT("%s: scrub: the legs differ in region %llu, first at sector %llu",
			    dm_table_device_name(ms->ti->table), index, (u64)sector);
		if (s->repair)
			repair(ms, index);
		return;
	case HALTED:
		return;
	}
}

/* False: halted, and the region is to be looked at again. */
static bool scrub_region(struct mirror_set *ms, u64 index)
{
	sector_t offset = (sector_t)index << ms->region_shift;
	sector_t end = min_t(sector_t, offset + ms->region_sectors, ms->ti->len);
	enum verdict verdict = SAME;

	while (verdict == SAME && offset < end) {
		unsigned int bytes = min_t(sector_t, CHUNK_SECTORS, end - offset) << SECTOR_SHIFT;

		verdict = compare(ms, index, offset, bytes);
		if (verdict == HALTED)
			return false;
		give_way(ms, bytes);
		if (verdict == SAME)
			offset += CHUNK_SECTORS;
	}
	note(ms, index, verdict, offset);
	return true;
}

static void free_rooms(struct mirror_set *ms)
{
	unsigned int i;

	for (i = 0; i < ms->nr_legs; i++) {
		kfree(ms->scrub.rooms[i]);
		ms->scrub.rooms[i] = NULL;
	}
}

static bool get_rooms(struct mirror_set *ms)
{
	unsigned int i;

	for (i = 0; i < ms->nr_legs; i++) {
		ms->scrub.rooms[i] = kmalloc(CHUNK_SECTORS << SECTOR_SHIFT, GFP_KERNEL);
		if (!ms->scrub.rooms[i]) {
			free_rooms(ms);
			return false;
		}
	}
	return true;
}

static void scrub_work(struct work_struct *work)
{
	struct mirror_set *ms = container_of(work, struct mirror_set, scrub.work);
	struct scrub *s = &ms->scrub;

	if (!get_rooms(ms)) {
		DMERR("%s: scrub: no memory, stopped", dm_table_device_name(ms->ti->table));
		s->state = SCRUB_STOPPED;
		return;
	}
	while (!halted(ms) && s->next < ms->regions)
		if (scrub_region(ms, s->next))
			s->next++;
	free_rooms(ms);
	if (s->next < ms->regions)
		return; /* suspended: resume goes on from here; or stopped */
	s->state = SCRUB_DONE;
	DMINFO("%s: scrub: %llu regions compared, the legs differ in %llu, %llu were sent to repair; passed over: %llu being written, %llu not in sync, %llu unreadable",
	       dm_table_device_name(ms->ti->table), s->compared, s->differ, s->repaired, s->busy,
	       s->not_in_sync, s->unreadable);
	queue_work(ms->wq, &ms->event);
}

void scrub_init(struct mirror_set *ms)
{
	mutex_init(&ms->scrub.lock);
	INIT_WORK(&ms->scrub.work, scrub_work);
}

int scrub_start(struct mirror_set *ms, bool with_repair)
{
	struct scrub *s = &ms->scrub;

	if (with_repair && !ms->sticky) {
		DMERR("%s: scrub: other nodes share this log by netlink, and it has no way to ask for a repair: use the log `cluster`",
		      dm_table_device_name(ms->ti->table));
		return -EOPNOTSUPP;
	}
	mutex_lock(&s->lock);
	WRITE_ONCE(s->state, SCRUB_STOPPED);
	cancel_work_sync(&s->work);
	s->repair = with_repair;
	s->next = 0;
	s->compared = 0;
	s->differ = 0;
	s->repaired = 0;
	s->busy = 0;
	s->not_in_sync = 0;
	s->unreadable = 0;
	WRITE_ONCE(s->state, SCRUB_RUNNING);
	queue_work(system_unbound_wq, &s->work);
	mutex_unlock(&s->lock);
	return 0;
}

void scrub_stop(struct mirror_set *ms)
{
	struct scrub *s = &ms->scrub;

	mutex_lock(&s->lock);
	if (s->state == SCRUB_RUNNING)
		WRITE_ONCE(s->state, SCRUB_STOPPED);
	cancel_work_sync(&s->work);
	mutex_unlock(&s->lock);
}

/* Suspended: what it reads would be another table's. */
void scrub_pause(struct mirror_set *ms)
{
	cancel_work_sync(&ms->scrub.work);
}

void scrub_resume(struct mirror_set *ms)
{
	if (READ_ONCE(ms->scrub.state) == SCRUB_RUNNING)
		queue_work(system_unbound_wq, &ms->scrub.work);
}

unsigned int scrub_report(struct mirror_set *ms, char *result, unsigned int maxlen)
{
	struct scrub *s = &ms->scrub;
	unsigned int sz = 0;
	u64 i;

	DMEMIT("state %s repair %d next %llu regions %llu compared %llu differ %llu repaired %llu busy %llu not_in_sync %llu unreadable %llu at",
	       state_names[s->state], s->repair, s->next, ms->regions, s->compared, s->differ,
	       s->repaired, s->busy, s->not_in_sync, s->unreadable);
	for (i = 0; i < min_t(u64, s->differ, SCRUB_LISTED); i++)
		DMEMIT("%c%llu", i ? ',' : ' ', s->found[i]);
	if (!s->differ)
		DMEMIT(" -");
	else if (s->differ > SCRUB_LISTED)
		DMEMIT(",...");
	return sz;
}
