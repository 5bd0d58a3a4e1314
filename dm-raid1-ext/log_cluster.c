// SPDX-License-Identifier: GPL-2.0
/*
 * Dirty-log type `cluster`: what this node may write, as clogd and the other nodes see it.
 *
 *   mirror cluster <#args> <uuid> disk <device> <region size> [sync|nosync] ...
 *   mirror cluster <#args> <uuid> core <region size> [sync|nosync] ...
 *
 * The daemon keeps a picture of the regions here up to date, so that reads, and writes to marked
 * regions, need no message. Whatever is to be told waits as a bit of its region: it takes no
 * memory, many tell in one frame, and a daemon that was restarted is told again.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "cluster_log.h"
#include "selftest.h"
#include "../proto/channel.h"

#define CREATE_TRACE_POINTS
#include "trace_log.h"

#define DM_MSG_PREFIX "log-cluster"
#define GROUPED_PATIENCE (2 * HZ) /* paths come and go also where the daemon hangs */
#define LOCK_BREATH 4096	  /* regions after which the lock is let go for a moment */

static struct dm_dirty_log_type cluster_type;

struct cluster_log *cluster_log_of(struct dm_dirty_log *dm)
{
	return dm->type == &cluster_type ? dm->context : NULL;
}
EXPORT_SYMBOL_GPL(cluster_log_of);

static void legs_reset(struct cluster_log *l, u32 legs)
{
	agreement_reset(&l->legs, legs);
	atomic64_set(&l->legs_word, agreement_word(&l->legs));
}

/* When this returns nobody is in the old client's news(), nor calls it any more. */
void cluster_log_set_client(struct cluster_log *l, unsigned int legs, void (*news)(void *context),
			    void *context)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	l->news = news;
	l->context = context;
	legs_reset(l, legs);
	spin_unlock_irqrestore(&l->lock, flags);
}
EXPORT_SYMBOL_GPL(cluster_log_set_client);

/* [integrated_flush] <uuid> clustered-disk <device> <region size> [sync|nosync] [block_on_error] */
struct dm_dirty_log *cluster_log_by_userspace_line(struct dm_target *ti,
						   int (*flush_callback)(struct dm_target *ti),
						   unsigned int argc, char **argv)
{
	bool integrated_flush = argc && !strcmp(argv[0], "integrated_flush");
	const char *before = ti->error, *rest = "";
	struct dm_dirty_log *log;
	struct cluster_log *l;
	unsigned int n = 3;
	char *args[5];

	argc -= integrated_flush;
	argv += integrated_flush;
	if (argc && !strcmp(argv[argc - 1], "block_on_error")) { /* this one always does */
		rest = " block_on_error";
		argc--;
	}
	if (argc < 3 || argc > ARRAY_SIZE(args) || !channel_is_open())
		return NULL;
	memcpy(args, argv, argc * sizeof(*argv));
	if (!strcmp(argv[1], "clustered-disk") || !strcmp(argv[1], "clustered_disk")) {
		args[1] = "disk";
		n = 4;
	} else if (!strcmp(argv[1], "clustered-core") || !strcmp(argv[1], "clustered_core")) {
		args[1] = "core";
	} else {
		return NULL;
	}
	if (argc < n)
		return NULL;
	log = dm_dirty_log_create("cluster", ti, flush_callback, argc, args);
	if (log) {
		l = log->context;
		l->userspace = rest;
		l->integrated_flush = integrated_flush;
	} else if (ti->error == before) {
		ti->error = "cluster log: it cannot be created";
	}
	return log;
}
EXPORT_SYMBOL_GPL(cluster_log_by_userspace_line);

static void announce(struct cluster_log *l)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags); /* so that the client is still there */
	if (l->news)
		l->news(l->context);
	spin_unlock_irqrestore(&l->lock, flags);
	wake_up_all(&l->waiters);
}

/* ---- the mirror's side ---- */

static void with_picture(struct cluster_log *l, u64 region,
			 bool (*what)(struct picture *p, clog_u32 region))
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	if (what(&l->picture, region))
		channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
}

void cluster_log_mark(struct cluster_log *l, u64 region)
{
	with_picture(l, region, picture_mark);
}
EXPORT_SYMBOL_GPL(cluster_log_mark);

void cluster_log_clear(struct cluster_log *l, u64 region)
{
	with_picture(l, region, picture_clear);
}
EXPORT_SYMBOL_GPL(cluster_log_clear);

void cluster_log_want(struct cluster_log *l, u64 region)
{
	with_picture(l, region, picture_want);
}
EXPORT_SYMBOL_GPL(cluster_log_want);

void cluster_log_lose(struct cluster_log *l, u64 region)
{
	with_picture(l, region, picture_lose);
}
EXPORT_SYMBOL_GPL(cluster_log_lose);

bool cluster_log_show(struct cluster_log *l)
{
	if (!READ_ONCE(l->seen))
		WRITE_ONCE(l->seen, true);
	smp_mb(); /* pairs with take_pause() */
	return !cluster_log_paused(l);
}
EXPORT_SYMBOL_GPL(cluster_log_show);

bool cluster_log_repair(struct cluster_log *l, u64 region, u32 bad)
{
	bool fresh = false;
	unsigned long flags;
	unsigned int i = 0;

	spin_lock_irqsave(&l->lock, flags);
	while (i < l->nr_repairs && l->repairs[i].region != region)
		i++;
	if (i == l->nr_repairs && i < CLUSTER_REPAIRS) {
		l->repairs[l->nr_repairs++] = (struct cluster_repair){ .region = region };
		fresh = true;
	}
	if (i < l->nr_repairs && bad & ~l->repairs[i].bad) {
		l->repairs[i].bad |= bad;
		l->repairs[i].told = false;
		channel_poke(l);
	}
	spin_unlock_irqrestore(&l->lock, flags);
	return fresh;
}
EXPORT_SYMBOL_GPL(cluster_log_repair);

enum cluster_mark cluster_log_marked(const struct cluster_log *l, u64 region)
{
	u8 f = READ_ONCE(l->picture.flags[region]);

	if (f & R_MARKED)
		return CLUSTER_MARKED;
	return f & (R_MARK | R_ASKED) ? CLUSTER_MARK_WAITS : CLUSTER_MARK_NONE;
}
EXPORT_SYMBOL_GPL(cluster_log_marked);

bool cluster_log_news_of_closing(struct cluster_log *l)
{
	unsigned long flags;
	bool news;

	spin_lock_irqsave(&l->lock, flags);
	news = l->picture.closing;
	l->picture.closing = false;
	spin_unlock_irqrestore(&l->lock, flags);
	return news;
}
EXPORT_SYMBOL_GPL(cluster_log_news_of_closing);

bool cluster_log_legs(struct cluster_log *l, struct agreement *legs)
{
	unsigned long flags;
	bool news;

	spin_lock_irqsave(&l->lock, flags);
	news = l->legs_news;
	l->legs_news = false;
	*legs = l->legs;
	spin_unlock_irqrestore(&l->lock, flags);
	return news;
}
EXPORT_SYMBOL_GPL(cluster_log_legs);

void cluster_log_follows(struct cluster_log *l, u32 epoch)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	l->follows = epoch;
	l->say_follows = true;
	channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
}
EXPORT_SYMBOL_GPL(cluster_log_follows);

static void say_of_legs(struct cluster_log *l, u32 *bits, u32 legs)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	if (legs & ~*bits) {
		*bits |= legs;
		channel_poke(l);
	}
	spin_unlock_irqrestore(&l->lock, flags);
}

void cluster_log_legs_failed(struct cluster_log *l, u32 legs)
{
	say_of_legs(l, &l->legs_failed, legs);
}
EXPORT_SYMBOL_GPL(cluster_log_legs_failed);

void cluster_log_legs_forced(struct cluster_log *l, u32 legs)
{
	say_of_legs(l, &l->legs_forced, legs);
}
EXPORT_SYMBOL_GPL(cluster_log_legs_forced);

void cluster_log_legs_restore(struct cluster_log *l, u32 legs)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	l->legs_retry |= legs;
	spin_unlock_irqrestore(&l->lock, flags);
	say_of_legs(l, &l->legs_restore, legs);
}
EXPORT_SYMBOL_GPL(cluster_log_legs_restore);

u32 cluster_log_legs_retry(struct cluster_log *l)
{
	unsigned long flags;
	u32 legs;

	spin_lock_irqsave(&l->lock, flags);
	legs = l->legs_retry;
	l->legs_retry = 0;
	spin_unlock_irqrestore(&l->lock, flags);
	return legs;
}
EXPORT_SYMBOL_GPL(cluster_log_legs_retry);

void cluster_log_rate(struct cluster_log *l, u32 kib_per_s)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	l->rate_kib = kib_per_s;
	l->say_rate = true;
	channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
}
EXPORT_SYMBOL_GPL(cluster_log_rate);

/* ---- what the daemon says ---- */

/*
 * Who sees the new lease sees that it is another one, if the last had run out: a machine that stood
 * still in here has a lease that has run out, too.
 */
static void take_state(struct cluster_log *l, const struct clog_frame *f)
{
	bool active = l->live && f->value & CLOG_STATE_ACTIVE;
	unsigned long now = jiffies;

	lockdep_assert_held(&l->lock);
	if (active && !(l->active && time_before(now, l->lease_until))) {
		WRITE_ONCE(l->lapses, l->lapses + 1);
		smp_wmb(); /* pairs with share_may_send(), share_holds_lease() */
	}
	l->primary_only = f->value & CLOG_STATE_PRIMARY_ONLY;
	l->log_failed = f->value & CLOG_STATE_LOG_FAILED;
	WRITE_ONCE(l->lease_until,
		   now + msecs_to_jiffies(min_t(u32, f->serial, CLOG_LEASE_MAX_MS)));
	WRITE_ONCE(l->active, active);
	if (active)
		l->was_active = true;
}

static bool take_legs(struct cluster_log *l, const struct clog_frame *f)
{
	unsigned long flags;
	bool ok;

	spin_lock_irqsave(&l->lock, flags);
	ok = !l->legs.legs || !l->live || agreement_take(&l->legs, f->value, f->serial);
	if (ok && l->legs.legs && l->live) {
		atomic64_set(&l->legs_word, agreement_word(&l->legs));
		l->legs_news = true;
		l->legs_failed &= l->legs.written;
		l->failed_told &= l->legs_failed;
	}
	spin_unlock_irqrestore(&l->lock, flags);
	return ok;
}

static void take_retry(struct cluster_log *l, u32 legs)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	l->legs_retry |= legs;
	l->legs_failed &= ~legs;
	l->failed_told &= ~legs;
	spin_unlock_irqrestore(&l->lock, flags);
}

/* What the kernel answers is composed after this: whoever sees `paused` unset is seen there. */
static void take_pause(struct cluster_log *l, u32 serial)
{
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	smp_store_release(&l->paused, serial); /* pairs with cluster_log_paused() */
	smp_mb();			       /* pairs with cluster_log_show() */
	l->say_paused = serial;
	if (serial)
		channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
}

/* The lock is held. What is in sync stands on every leg. */
static void forget_seen(struct cluster_log *l)
{
	if (l->active && !l->picture.unsynced && !l->primary_only)
		WRITE_ONCE(l->seen, false);
}

static void take_taken(struct cluster_log *l, u32 region)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&l->lock, flags);
	for (i = 0; i < l->nr_repairs; i++)
		if (l->repairs[i].region == region)
			l->repairs[i] = l->repairs[--l->nr_repairs];
	spin_unlock_irqrestore(&l->lock, flags);
}

static bool take_group(struct cluster_log *l, const struct clog_frame *f)
{
	unsigned long flags;
	bool ok;

	spin_lock_irqsave(&l->lock, flags);
	ok = l->grouped && (!l->live || grouping_take(&l->grouping, f->value, f->serial));
	if (ok && (l->grouping.say || l->grouping.say_switched))
		channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
	return ok;
}

/* Long ranges let the lock go now and then. */
static void take_range(struct cluster_log *l, unsigned int type, const struct clog_range *range)
{
	u32 r = range->start, end = r + range->count;
	unsigned long flags;
	bool tell = false;

	while (r < end) {
		u32 pause = min(end, round_down(r, LOCK_BREATH) + LOCK_BREATH);

		spin_lock_irqsave(&l->lock, flags);
		for (; r < pause; r++)
			tell |= picture_take(&l->picture, type, r);
		spin_unlock_irqrestore(&l->lock, flags);
		cond_resched();
	}
	if (tell)
		channel_poke(l);
}

/* By the frame's type, from CLOG_SYNCED on. */
static const char *const said_of_regions[] = {
	"synced", "unsynced", "close", "marked", NULL, "told"
};

static bool range_fits(const struct cluster_log *l, const struct clog_range *range)
{
	return range->count && range->start < l->picture.regions &&
	       range->count <= l->picture.regions - range->start;
}

int log_take(struct cluster_log *l, const struct clog_frame *f, const void *items)
{
	const struct clog_range *range = items;
	unsigned long flags;
	bool news = true;
	u32 i;

	switch (f->type) {
	case CLOG_ANSWER:
		spin_lock_irqsave(&l->lock, flags);
		if (l->control_state == CONTROL_ASKED && f->serial == l->control_serial) {
			l->control_error = -(int)min_t(u32, f->value, MAX_ERRNO);
			l->control_state = CONTROL_ANSWERED;
		}
		spin_unlock_irqrestore(&l->lock, flags);
		break;
	case CLOG_STATE:
		spin_lock_irqsave(&l->lock, flags);
		/* A renewal is no news. */
		news = !cluster_log_may_write(l) || !(f->value & CLOG_STATE_ACTIVE) ||
		       l->primary_only != !!(f->value & CLOG_STATE_PRIMARY_ONLY) ||
		       l->log_failed != !!(f->value & CLOG_STATE_LOG_FAILED);
		take_state(l, f);
		forget_seen(l);
		if (news)
			trace_cluster_log_state(l, f->serial);
		spin_unlock_irqrestore(&l->lock, flags);
		break;
	case CLOG_LEGS:
		if (!take_legs(l, f))
			return -EINVAL;
		break;
	case CLOG_RETRY:
		take_retry(l, f->value);
		break;
	case CLOG_GROUP:
		if (!take_group(l, f))
			return -EINVAL;
		break;
	case CLOG_PAUSE:
		take_pause(l, f->serial);
		break;
	case CLOG_TAKEN:
		if (f->serial >= l->picture.regions)
			return -EINVAL;
		take_taken(l, f->serial);
		news = false;
		break;
	case CLOG_SYNCED:
	case CLOG_UNSYNCED:
	case CLOG_CLOSE:
	case CLOG_MARKED:
	case CLOG_TOLD:
		for (i = 0; i < f->count; i++)
			if (!range_fits(l, &range[i]))
				return -EINVAL;
		for (i = 0; i < f->count; i++) {
			trace_cluster_log_regions(l, said_of_regions[f->type - CLOG_SYNCED],
						  range[i].start, range[i].count);
			take_range(l, f->type, &range[i]);
		}
		spin_lock_irqsave(&l->lock, flags);
		forget_seen(l);
		spin_unlock_irqrestore(&l->lock, flags);
		break;
	default:
		return -EINVAL;
	}
	if (news)
		announce(l);
	return 0;
}

/*
 * What the daemon was asked is asked again of the next one. The lease runs on: a daemon that is
 * restarted in time is not noticed.
 */
void log_daemon_left(struct cluster_log *l)
{
	u32 r, n, regions = l->picture.regions;
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	for (n = 0; n < l->nr_repairs; n++)
		l->repairs[n].told = false;
	l->known = false;
	l->say_create = true;
	l->say_resume = l->live;
	l->failed_told = 0;
	l->left_at = jiffies;
	grouping_say_again(&l->grouping);
	if (l->live)
		picture_tell_held(&l->picture);
	if (l->control_state == CONTROL_ASKED)
		l->control_state = CONTROL_QUEUED;
	spin_unlock_irqrestore(&l->lock, flags);
	for (r = 0; r < regions; r += n) {
		n = min_t(u32, LOCK_BREATH, regions - r);
		spin_lock_irqsave(&l->lock, flags);
		picture_tell_again(&l->picture, r, n);
		spin_unlock_irqrestore(&l->lock, flags);
		cond_resched();
	}
	announce(l);
}

/* ---- what the daemon is told ---- */

static size_t compose_create(struct cluster_log *l, struct clog_frame *f)
{
	char *text = (char *)(f + 1);
	int n = strscpy(text, l->uuid, DM_UUID_LEN) + 1;

	f->type = CLOG_CREATE;
	l->say_create = false;
	l->known = true;
	if (l->grouped)
		n += scnprintf(text + n, CLOG_FRAME_MAX - sizeof(*f) - n, "%llu groups",
			       (unsigned long long)l->ti->len);
	else
		n += scnprintf(text + n, CLOG_FRAME_MAX - sizeof(*f) - n,
			       "%llu clustered-%s%s %u%s", (unsigned long long)l->ti->len,
			       l->device ? "disk " : "core", l->device ? l->device->name : "",
			       l->region_sectors, l->extra);
	n++;
	f->count = n;
	while (n % 4)
		text[n++] = 0;
	return sizeof(*f) + n;
}

/* How many legs follow what is agreed. */
static u32 legs_of(const struct cluster_log *l)
{
	return l->news ? l->legs.legs : 0;
}

static void compose_in_use(const struct cluster_log *l, struct clog_frame *f)
{
	f->value = CLOG_CREATE_IN_USE | legs_of(l) << CLOG_CREATE_LEGS_SHIFT;
	if (!legs_of(l) || !l->legs.told)
		return;
	f->value |= (BIT(l->legs.legs) - 1 - l->legs.readable) << CLOG_CREATE_AWAY_SHIFT |
		    l->legs.primary << CLOG_CREATE_PRIMARY_SHIFT;
	f->serial = l->legs.epoch;
}

static bool compose_legs(struct cluster_log *l, struct clog_frame *f)
{
	if (l->say_follows) {
		l->say_follows = false;
		f->type = CLOG_FOLLOWS;
		f->serial = l->follows;
	} else if (l->say_paused) {
		l->say_paused = false;
		f->type = CLOG_PAUSED;
		f->serial = l->paused;
		f->value = READ_ONCE(l->seen);
	} else if (l->legs_failed & ~l->failed_told) {
		l->failed_told = l->legs_failed;
		f->type = CLOG_LEGS_FAILED;
		f->value = l->legs_failed;
	} else if (l->legs_forced) {
		f->type = CLOG_LEGS_FORCED;
		f->value = l->legs_forced;
		l->legs_forced = 0;
	} else if (l->legs_restore) {
		f->type = CLOG_LEGS_RESTORE;
		f->value = l->legs_restore;
		l->legs_restore = 0;
		l->legs_failed = 0;
		l->failed_told = 0;
	}
	return f->type;
}

static bool compose_repair(struct cluster_log *l, struct clog_frame *f)
{
	unsigned int i;

	for (i = 0; i < l->nr_repairs && l->repairs[i].told; i++)
		;
	if (i == l->nr_repairs)
		return false;
	l->repairs[i].told = true;
	f->type = CLOG_REPAIR;
	f->serial = l->repairs[i].region;
	f->value = l->repairs[i].bad;
	return true;
}

static bool compose_groups(struct cluster_log *l, struct clog_frame *f)
{
	struct grouping *g = &l->grouping;

	if (g->say) {
		g->say = false;
		f->type = CLOG_GROUPS;
		f->value = g->reach;
		f->serial = g->wants | (u32)g->said << CLOG_GROUPS_SAID_SHIFT;
	} else if (g->say_switched) {
		g->say_switched = false;
		f->type = CLOG_SWITCHED;
		f->value = g->how;
		f->serial = g->turn;
	}
	return f->type;
}

static size_t compose(struct cluster_log *l, struct clog_frame *f)
{
	u32 count;

	memset(f, 0, sizeof(*f));
	f->log = l->id;
	if (l->control_state == CONTROL_QUEUED && l->control == CLOG_CREATE) {
		l->control_state = CONTROL_ASKED;
		f->serial = l->control_serial;
		return compose_create(l, f);
	}
	if (l->say_create) {
		if (l->live)
			compose_in_use(l, f);
		return compose_create(l, f);
	}
	if (l->say_resume) {
		l->say_resume = false;
		f->type = CLOG_RESUME;
		f->value = legs_of(l);
		return sizeof(*f);
	}
	if (compose_legs(l, f) || compose_repair(l, f) ||
	    (l->grouped && l->live && compose_groups(l, f)))
		return sizeof(*f);
	if (l->say_rate) {
		l->say_rate = false;
		f->type = CLOG_RATE;
		f->value = l->rate_kib;
		return sizeof(*f);
	}
	count = picture_tell(&l->picture, &f->type, &f->value, (struct clog_range *)(f + 1));
	if (f->type) {
		f->count = count;
		return sizeof(*f) + count * sizeof(struct clog_range);
	}
	if (l->control_state == CONTROL_QUEUED) {
		l->control_state = CONTROL_ASKED;
		f->type = l->control;
		f->serial = l->control_serial;
		return sizeof(*f);
	}
	return 0;
}

size_t log_compose(struct cluster_log *l, void *room)
{
	struct clog_frame *f = room;
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	f->bytes = compose(l, f);
	spin_unlock_irqrestore(&l->lock, flags);
	return f->bytes;
}

static bool control_ended(const struct cluster_log *l)
{
	return READ_ONCE(l->control_state) == CONTROL_ANSWERED || !channel_is_open();
}

int log_control(struct cluster_log *l, unsigned int type)
{
	long patience = l->grouped ? GROUPED_PATIENCE : MAX_SCHEDULE_TIMEOUT;
	unsigned long flags;
	long left;
	int error;

	if (!channel_is_open())
		return -ENOTCONN;
	spin_lock_irqsave(&l->lock, flags);
	l->control = type;
	l->control_serial++;
	l->control_state = CONTROL_QUEUED;
	channel_poke(l);
	spin_unlock_irqrestore(&l->lock, flags);
	/* With CREATE nothing is in use yet: who waits for a hung daemon may be killed. */
	if (type == CLOG_CREATE)
		left = wait_event_killable_timeout(l->waiters, control_ended(l), patience);
	else
		left = wait_event_timeout(l->waiters, control_ended(l), patience);
	spin_lock_irqsave(&l->lock, flags);
	if (l->control_state == CONTROL_ANSWERED)
		error = l->control_error;
	else
		error = left < 0 ? -EINTR : -ENOTCONN;
	l->control_state = CONTROL_NONE;
	spin_unlock_irqrestore(&l->lock, flags);
	return error;
}

/* ---- the log type ---- */

static int parse(struct cluster_log *l, struct dm_target *ti, unsigned int argc, char **argv)
{
	unsigned int at = 2;
	char dummy;
	int r;

	if (argc < 3) {
		ti->error =
			"cluster log: expected <uuid> disk <device> <region size> or <uuid> core <region size>";
		return -EINVAL;
	}
	if (!strcmp(argv[1], "disk")) {
		r = dm_get_device(ti, argv[2], dm_table_get_mode(ti->table), &l->device);
		if (r) {
			ti->error = "cluster log: the log device cannot be opened";
			l->device = NULL;
			return r;
		}
		at = 3;
	} else if (strcmp(argv[1], "core")) {
		ti->error = "cluster log: neither disk nor core";
		return -EINVAL;
	}
	if (argc <= at || sscanf(argv[at], "%u%c", &l->region_sectors, &dummy) != 1 ||
	    !is_power_of_2(l->region_sectors) || l->region_sectors < 2 ||
	    l->region_sectors > ti->len) {
		ti->error =
			"cluster log: the region size is not a power of two between 2 and the mirror's length";
		return -EINVAL;
	}
	if (dm_sector_div_up(ti->len, l->region_sectors) >= UINT_MAX) {
		ti->error = "cluster log: too many regions, use a larger region size";
		return -EINVAL;
	}
	l->picture.regions = dm_sector_div_up(ti->len, l->region_sectors);
	l->extra = "";
	if (argc > at + 1) {
		if (argc > at + 2 ||
		    (strcmp(argv[at + 1], "sync") && strcmp(argv[at + 1], "nosync"))) {
			ti->error = "cluster log: only sync or nosync may follow the region size";
			return -EINVAL;
		}
		l->extra = *argv[at + 1] == 's' ? " sync" : " nosync";
	}
	return 0;
}

static void free_log(struct cluster_log *l)
{
	if (l->device)
		dm_put_device(l->ti, l->device);
	vfree(l->picture.flags);
	kvfree(l->picture.pending);
	kfree(l);
}

struct cluster_log *cluster_log_make(struct dm_dirty_log *dm, struct dm_target *ti,
				     const char *uuid)
{
	struct cluster_log *l = kzalloc(sizeof(*l), GFP_KERNEL);

	if (!l)
		return ERR_PTR(-ENOMEM);
	if (!*uuid || strscpy(l->uuid, uuid, sizeof(l->uuid)) < 0) {
		ti->error = "cluster log: the uuid is empty or longer than 128 characters";
		kfree(l);
		return ERR_PTR(-EINVAL);
	}
	l->dm = dm;
	l->ti = ti;
	l->extra = "";
	l->seen = true; /* by another table, perhaps */
	spin_lock_init(&l->lock);
	init_waitqueue_head(&l->waiters);
	INIT_LIST_HEAD(&l->dirty);
	return l;
}

int cluster_log_open(struct cluster_log *l)
{
	int r = -ENOMEM;

	l->picture.flags = vmalloc(l->picture.regions);
	l->picture.pending = kvcalloc(DIV_ROUND_UP(picture_chunks(l->picture.regions), 32),
				      sizeof(u32), GFP_KERNEL);
	if (!l->picture.flags || !l->picture.pending)
		goto bad;
	picture_reset(&l->picture); /* until the daemon says otherwise */
	r = channel_add(l);
	if (r)
		goto bad;
	l->dm->context = l;
	r = log_control(l, CLOG_CREATE);
	if (r == -ENOTCONN && l->grouped) { /* paths are needed before there is a cluster */
		l->say_create = true;
		r = 0;
	}
	if (!r)
		return 0;
	if (r == -ENOTCONN)
		l->ti->error = "cluster log: clogd is not running";
	else if (r == -EINTR)
		l->ti->error = "cluster log: clogd does not answer";
	else
		l->ti->error = "cluster log: clogd refuses this log; its own log says why";
	channel_remove(l);
bad:
	free_log(l);
	return r;
}

static int cluster_ctr(struct dm_dirty_log *dm, struct dm_target *ti, unsigned int argc,
		       char **argv)
{
	struct cluster_log *l = cluster_log_make(dm, ti, argc ? argv[0] : "");
	int r;

	if (IS_ERR(l))
		return PTR_ERR(l);
	r = parse(l, ti, argc, argv);
	if (!r)
		return cluster_log_open(l);
	free_log(l);
	return r;
}

void cluster_log_close(struct dm_dirty_log *dm)
{
	struct cluster_log *l = dm->context;

	channel_remove(l);
	free_log(l);
}

int cluster_log_suspend(struct dm_dirty_log *dm)
{
	struct cluster_log *l = dm->context;
	int r = 0;

	if (l->live)
		r = log_control(l, CLOG_SUSPEND);
	/* Nothing that was granted holds any longer. */
	spin_lock_irq(&l->lock);
	WRITE_ONCE(l->active, false);
	l->live = false;
	l->say_resume = false;
	picture_reset(&l->picture);
	legs_reset(l, l->legs.legs);
	l->legs_news = true;
	l->say_follows = false;
	l->legs_failed = 0;
	l->failed_told = 0;
	l->legs_retry = 0;
	l->paused = 0;
	l->say_paused = false;
	l->seen = true;
	l->nr_repairs = 0;
	spin_unlock_irq(&l->lock);
	if (r == -ENOTCONN && !l->grouped)
		DMWARN("%s: clogd is not running: what was marked is copied when the log is opened next",
		       l->uuid);
	return r;
}

/* Does not wait: until the daemon says that the log is active, writes do. */
int cluster_log_resume(struct dm_dirty_log *dm)
{
	struct cluster_log *l = dm->context;

	spin_lock_irq(&l->lock);
	l->live = true;
	l->was_active = false;
	l->say_resume = true;
	l->control = 0;
	channel_poke(l);
	spin_unlock_irq(&l->lock);
	return 0;
}

static uint32_t cluster_get_region_size(struct dm_dirty_log *dm)
{
	return ((struct cluster_log *)dm->context)->region_sectors;
}

static int cluster_is_clean(struct dm_dirty_log *dm, region_t region)
{
	return cluster_log_marked(dm->context, region) != CLUSTER_MARKED;
}

/*
 * The kernel's own target writes a region of which it hears 0 here to one leg, without a mark. So
 * what is_remote_recovering() has let in is in sync for the write that follows, whatever has come
 * up meanwhile: its mark waits for that. (Asked with can_block 0 it is about a read.)
 */
static int cluster_in_sync(struct dm_dirty_log *dm, region_t region, int can_block)
{
	struct cluster_log *l = dm->context;

	return (can_block && l->let_in && l->let_in_region == region) ||
	       cluster_log_in_sync(l, region);
}

static bool may_go_on(struct cluster_log *l)
{
	return !READ_ONCE(l->picture.marks_waiting) && (!l->let_in || cluster_log_may_write(l));
}

/* For a target that blocks: all marks that were asked for are there, and writes may follow (I4). */
static int cluster_flush(struct dm_dirty_log *dm)
{
	struct cluster_log *l = dm->context;

	if (!l->news)
		wait_event(l->waiters, may_go_on(l));
	l->let_in = false;
	return 0;
}

static void cluster_mark_region(struct dm_dirty_log *dm, region_t region)
{
	cluster_log_mark(dm->context, region);
}

static void cluster_clear_region(struct dm_dirty_log *dm, region_t region)
{
	cluster_log_clear(dm->context, region);
}

static int cluster_get_resync_work(struct dm_dirty_log *dm, region_t *region)
{
	return 0; /* the daemons copy */
}

static void cluster_set_region_sync(struct dm_dirty_log *dm, region_t region, int in_sync)
{
	struct cluster_log *l = dm->context;

	if (in_sync)
		return;
	cluster_log_lose(l, region);
	wait_event(l->waiters, !READ_ONCE(l->picture.lost_waiting));
}

static region_t cluster_get_sync_count(struct dm_dirty_log *dm)
{
	struct cluster_log *l = dm->context;

	return l->picture.regions - READ_ONCE(l->picture.unsynced);
}

static int cluster_status(struct dm_dirty_log *dm, status_type_t type, char *result,
			  unsigned int maxlen)
{
	struct cluster_log *l = dm->context;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		if (l->device)
			DMEMIT("3 %s %s %c", l->log_failed ? "disk" : "clustered-disk",
			       l->device->name, l->log_failed ? 'D' : 'A');
		else
			DMEMIT("1 clustered-core");
		break;
	case STATUSTYPE_TABLE:
		if (l->userspace) {
			DMEMIT("userspace %u %s%s clustered-%s%s %u%s%s ",
			       3 + !!l->device + !!*l->extra + !!*l->userspace +
				       l->integrated_flush,
			       l->integrated_flush ? "integrated_flush " : "", l->uuid,
			       l->device ? "disk " : "core", l->device ? l->device->name : "",
			       l->region_sectors, l->extra, l->userspace);
			break;
		}
		DMEMIT("cluster %u %s %s%s %u%s ", 3 + !!l->device + !!*l->extra, l->uuid,
		       l->device ? "disk " : "core", l->device ? l->device->name : "",
		       l->region_sectors, l->extra);
		break;
	case STATUSTYPE_IMA:
		DMEMIT("cluster uuid=%s,region_size=%u", l->uuid, l->region_sectors);
		break;
	}
	return sz;
}

/* For a target that knows no other way to wait: its worker asks before each write. */
static int cluster_is_remote_recovering(struct dm_dirty_log *dm, region_t region)
{
	struct cluster_log *l = dm->context;

	if (!cluster_log_may_write(l))
		return 1;
	if (!cluster_log_in_sync(l, region) || cluster_log_closing(l, region)) {
		cluster_log_want(l, region);
		return 1;
	}
	l->let_in = true;
	l->let_in_region = region;
	return 0;
}

static struct dm_dirty_log_type cluster_type = {
	.name = "cluster",
	.module = THIS_MODULE,
	.ctr = cluster_ctr,
	.dtr = cluster_log_close,
	.postsuspend = cluster_log_suspend,
	.resume = cluster_log_resume,
	.get_region_size = cluster_get_region_size,
	.is_clean = cluster_is_clean,
	.in_sync = cluster_in_sync,
	.flush = cluster_flush,
	.mark_region = cluster_mark_region,
	.clear_region = cluster_clear_region,
	.get_resync_work = cluster_get_resync_work,
	.set_region_sync = cluster_set_region_sync,
	.get_sync_count = cluster_get_sync_count,
	.status = cluster_status,
	.is_remote_recovering = cluster_is_remote_recovering,
};

static int __init cluster_init(void)
{
	int r = cluster_log_selftest();

	if (r)
		return r;
	r = channel_init();
	if (r)
		return r;
	r = dm_dirty_log_type_register(&cluster_type);
	if (r)
		goto no_type;
	r = log_groups_init();
	if (r)
		goto no_groups;
	return 0;
no_groups:
	dm_dirty_log_type_unregister(&cluster_type);
no_type:
	channel_exit();
	return r;
}

static void __exit cluster_exit(void)
{
	log_groups_exit();
	dm_dirty_log_type_unregister(&cluster_type);
	channel_exit();
}

module_init(cluster_init);
module_exit(cluster_exit);

MODULE_DESCRIPTION("device-mapper dirty log that several nodes share");
MODULE_LICENSE("GPL");
