// SPDX-License-Identifier: GPL-2.0
/*
 * Bios and requests on their way down a path and back. An error that is the path's, and not the
 * disk's, fails the path, and the I/O goes down another. Where there is none it waits, fails, or
 * goes back to the core, which sends it to the next table.
 *
 * While a handler is at work I/O waits, unless the array says that the port takes it anyway: then
 * it goes early. Should the array have changed its mind meanwhile, the error tells nothing of the
 * path, and the I/O waits for the handler like any other.
 */
#include <linux/ktime.h>

#include "mpath.h"

static void begin(struct mpath_io *io, struct mpath_path *path, u32 bytes, u8 how, u64 now)
{
	io->path = path;
	io->bytes = bytes;
	io->how = how;
	io->began = now;
	select_began(path->group->selector, &path->select, bytes, now);
}

/* It is on no path any more. */
static __always_inline void leave(struct mpath_io *io, u64 now)
{
	struct mpath_path *path = io->path;
	struct group *group = path->group;

	select_ended(group->selector, &group->select, &path->select, io->bytes, io->began, now);
	io->path = NULL;
}

static __always_inline void end_on(struct mpath_io *io, struct mpath_path *path,
				   blk_status_t status)
{
	u64 now = io->began ? ktime_get_ns() : 0;

	stats_count(path, io->how & IO_WRITES, io->bytes, now - io->began, status);
	leave(io, now);
}

/* In an RCU section: the path may be taken out meanwhile. */
static void end(struct mpath_io *io, blk_status_t status)
{
	struct mpath_path *path = io->path;

	end_on(io, path, status);
	if (unlikely(READ_ONCE(path->state) == PATH_STUCK) && (!status || !blk_path_error(status)))
		path_try(path, PATH_LANDED);
}

/* May I/O go to the group that was chosen? If not, its handler is called. */
bool mpath_ready(struct mpath *m)
{
	if (likely(READ_ONCE(m->readiness) == READY))
		return true;
	if (READ_ONCE(m->readiness) == READY_WANTED)
		handler_init(m);
	return false;
}

/* Not with a shared array, where a switch is between nodes, nor where the handler is to wait. */
bool mpath_early(const struct mpath_path *path)
{
	const struct mpath *m = path->m;

	return READ_ONCE(m->readiness) == READYING && !m->log && !READ_ONCE(m->again_later) &&
	       alua_open(path);
}

/* May I/O go down it now? `how`: it does so early. */
static __always_inline bool may_go(struct mpath_path *path, u8 *how)
{
	if (likely(mpath_ready(path->m)))
		return true;
	*how |= IO_EARLY;
	return mpath_early(path);
}

/* ---- bios ---- */

static void remember(struct mpath_bio *mb, struct bio *bio)
{
	mb->iter = bio->bi_iter;
	mb->bdev = bio->bi_bdev;
	mb->opf = bio->bi_opf;
	mb->flags = bio->bi_flags;
}

/* As if it had never been sent; but whoever polls does not know when the worker sends it again. */
static void restore(struct mpath_bio *mb, struct bio *bio)
{
	WRITE_ONCE(bio->bi_cookie, BLK_QC_T_NONE); /* first: it is of the other device's queues */
	bio->bi_iter = mb->iter;
	bio->bi_bdev = mb->bdev;
	bio->bi_opf = mb->opf & ~REQ_POLLED;
	bio->bi_flags = mb->flags;
	atomic_set(&bio->__bi_remaining, 1); /* it came as a whole */
	bio->bi_status = BLK_STS_OK;
}

static struct mpath_bio *of(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct mpath_bio));
}

/* The lock is held. */
static void wait_locked(struct mpath *m, struct bio *bio)
{
	bio_list_add(&m->waiting, bio);
	m->waiting_bytes += of(bio)->iter.bi_size;
}

static void wait(struct mpath *m, struct bio *bio)
{
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	wait_locked(m, bio);
	spin_unlock_irqrestore(&m->lock, flags);
}

/* The lock is held. */
static bool has_room(struct mpath *m, struct bio *bio)
{
	u64 bytes = m->waiting_bytes + of(bio)->iter.bi_size;

	if (!m->waiting_limit_kib || bytes <= (u64)m->waiting_limit_kib << 10)
		return true;
	DMWARN_LIMIT("%s: no path, and %llu KiB wait already (queue_limit_kib %u): more fails",
		     map_name(m), m->waiting_bytes >> 10, m->waiting_limit_kib);
	return false;
}

static int send_nowhere(struct mpath *m, struct bio *bio, bool again)
{
	enum pathless pathless;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	pathless = mpath_pathless(m);
	if (pathless == PATHLESS_WAITS && !again && !has_room(m, bio))
		pathless = PATHLESS_FAILS;
	if (pathless == PATHLESS_WAITS)
		wait_locked(m, bio);
	spin_unlock_irqrestore(&m->lock, flags);
	switch (pathless) {
	case PATHLESS_WAITS:
		return DM_MAPIO_SUBMITTED;
	case PATHLESS_GOES_BACK:
		return DM_MAPIO_REQUEUE;
	default:
		return DM_MAPIO_KILL;
	}
}

static int send_down(struct mpath *m, struct mpath_path *path, struct bio *bio, struct mpath_io *io,
		     u64 now)
{
	u8 how = op_is_write(bio_op(bio)) ? IO_WRITES : 0;

	if (unlikely(!may_go(path, &how))) {
		wait(m, bio);
		/* It may have become ready before this one began to wait. */
		if (READ_ONCE(m->readiness) == READY)
			queue_work(mpath_wq, &m->resubmit);
		return DM_MAPIO_SUBMITTED;
	}
	begin(io, path, bio->bi_iter.bi_size, how, now);
	bio->bi_status = BLK_STS_OK;
	bio_set_dev(bio, path->dev->bdev);
	bio->bi_opf |= REQ_FAILFAST_TRANSPORT;
	return DM_MAPIO_REMAPPED;
}

/* DM_MAPIO_* for a bio that is as it came. `again`: it waited, and may go on to do so. */
static int send(struct mpath *m, struct bio *bio, struct mpath_io *io, bool again)
{
	struct mpath_path *path;
	u64 now;
	int r;

	rcu_read_lock();
	path = mpath_choose(m, bio->bi_iter.bi_size, &now);
	r = likely(path) ? send_down(m, path, bio, io, now) : send_nowhere(m, bio, again);
	rcu_read_unlock();
	return r;
}

int mpath_map_bio(struct dm_target *ti, struct bio *bio)
{
	struct mpath_bio *mb = of(bio);

	mb->io.path = NULL;
	remember(mb, bio);
	return send(ti->private, bio, &mb->io, false);
}

/* By the worker: everything that waits looks for a path again. */
void mpath_resubmit(struct work_struct *work)
{
	struct mpath *m = container_of(work, struct mpath, resubmit);
	struct bio_list waiting;
	struct blk_plug plug;
	struct mpath_bio *mb;
	struct bio *bio;

	spin_lock_irq(&m->lock);
	if (m->readiness == READY_WANTED)
		handler_init_locked(m);
	/* If not, whoever makes it ready asks again. */
	if (m->readiness != READY && !(m->current_group && group_early(m->current_group))) {
		spin_unlock_irq(&m->lock);
		return;
	}
	waiting = m->waiting;
	bio_list_init(&m->waiting);
	m->waiting_bytes = 0;
	if (m->readiness == READY) {
		bio_list_merge(&waiting, &m->spurned);
		bio_list_init(&m->spurned);
	}
	spin_unlock_irq(&m->lock);
	blk_start_plug(&plug);
	while ((bio = bio_list_pop(&waiting))) {
		mb = of(bio);
		restore(mb, bio);
		switch (send(m, bio, &mb->io, true)) {
		case DM_MAPIO_KILL:
			bio_io_error(bio);
			break;
		case DM_MAPIO_REQUEUE:
			bio->bi_status = BLK_STS_DM_REQUEUE;
			bio_endio(bio);
			break;
		case DM_MAPIO_REMAPPED:
			submit_bio_noacct(bio);
			break;
		}
	}
	blk_finish_plug(&plug);
}

enum outcome {
	DONE,	/* well, or with an error that is the disk's */
	FAILED, /* by the path, or without one: it goes down another */
	SPURNED /* it went early, and the port would not have it */
};

/* It has come back from its path, if it had one. */
static enum outcome came_back(struct mpath_io *io, blk_status_t status)
{
	struct mpath_path *path = io->path;
	enum outcome outcome = DONE;

	/* As nearly always. What is under way keeps the path: leave() counts it off last of all. */
	if (likely(path && !status && !path->m->path_timeout_ms)) {
		end_on(io, path, status);
		return DONE;
	}
	if (status && blk_path_error(status) && status != BLK_STS_DM_REQUEUE)
		outcome = path && io->how & IO_EARLY ? SPURNED : FAILED;
	rcu_read_lock();
	if (path)
		end(io, status);
	if (path && outcome == FAILED)
		path_fail(path, PATH_ERROR);
	if (path && status == COMPAT_CONFLICT && path_met_conflict(path))
		outcome = FAILED;
	rcu_read_unlock();
	return outcome;
}

/*
 * A device below that would have to wait, say a suspended one, refuses to read ahead. That tells
 * nothing of the path, and whoever needs what was to be read asks again. A stuck path is left to
 * came_back(): it was late, and may have been all that could end the path's state.
 */
static bool refused_to_read_ahead(struct mpath_io *io, struct bio *bio, blk_status_t status)
{
	bool refused;

	if (likely(status != BLK_STS_IOERR || !(bio->bi_opf & REQ_RAHEAD)))
		return false;
	rcu_read_lock();
	refused = io->path && path_usable(io->path);
	if (refused)
		leave(io, 0);
	rcu_read_unlock();
	return refused;
}

int mpath_end_bio(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct mpath_io *io = &of(bio)->io;
	struct mpath *m = ti->private;
	enum pathless pathless = PATHLESS_WAITS;
	enum outcome outcome;
	unsigned long flags;

	if (refused_to_read_ahead(io, bio, *error))
		return DM_ENDIO_DONE;
	outcome = came_back(io, *error);
	if (likely(outcome == DONE))
		return DM_ENDIO_DONE;
	spin_lock_irqsave(&m->lock, flags);
	if (outcome == FAILED && !atomic_read(&m->valid_paths))
		pathless = mpath_pathless(m);
	if (pathless != PATHLESS_WAITS) {
		spin_unlock_irqrestore(&m->lock, flags);
		if (pathless == PATHLESS_GOES_BACK)
			return DM_ENDIO_REQUEUE;
		*error = BLK_STS_IOERR;
		return DM_ENDIO_DONE;
	}
	if (outcome == FAILED)
		wait_locked(m, bio);
	else
		bio_list_add(&m->spurned, bio);
	spin_unlock_irqrestore(&m->lock, flags);
	queue_work(mpath_wq, &m->resubmit);
	return DM_ENDIO_INCOMPLETE;
}

/* ---- requests ---- */

static int request_down(struct mpath *m, struct request *rq, struct mpath_io *io,
			struct request **clone)
{
	u8 how = op_is_write(req_op(rq)) ? IO_WRITES : 0;
	u32 bytes = blk_rq_bytes(rq);
	u64 now;
	struct mpath_path *path = mpath_choose(m, bytes, &now);

	if (unlikely(!path))
		return mpath_pathless(m) == PATHLESS_FAILS ? DM_MAPIO_KILL : DM_MAPIO_DELAY_REQUEUE;
	if (unlikely(!may_go(path, &how)))
		return DM_MAPIO_DELAY_REQUEUE;
	*clone = blk_mq_alloc_request(path_queue(path), rq->cmd_flags | REQ_NOMERGE,
				      BLK_MQ_REQ_NOWAIT);
	if (IS_ERR(*clone)) {
		*clone = NULL;
		if (blk_queue_dying(path_queue(path))) {
			handler_give_up(path);
			return DM_MAPIO_DELAY_REQUEUE;
		}
		/* Not DELAY_REQUEUE: so blk-mq learns that the queue is busy, and merges. */
		return DM_MAPIO_REQUEUE;
	}
	(*clone)->bio = NULL;
	(*clone)->biotail = NULL;
	(*clone)->cmd_flags |= REQ_FAILFAST_TRANSPORT;
	begin(io, path, bytes, how, now);
	return DM_MAPIO_REMAPPED;
}

int mpath_map_request(struct dm_target *ti, struct request *rq, union map_info *context,
		      struct request **clone)
{
	int r;

	rcu_read_lock();
	r = request_down(ti->private, rq, context->ptr, clone);
	rcu_read_unlock();
	return r;
}

/* `context`: the core could not use the clone. */
void mpath_release_request(struct request *clone, union map_info *context)
{
	if (unlikely(context)) {
		struct mpath_io *io = context->ptr;

		rcu_read_lock();
		if (io && io->path)
			leave(io, 0);
		rcu_read_unlock();
	}
	blk_mq_free_request(clone);
}

int mpath_end_request(struct dm_target *ti, struct request *clone, blk_status_t error,
		      union map_info *context)
{
	struct mpath *m = ti->private;
	int r;

	switch (came_back(context->ptr, error)) {
	case DONE:
		return DM_ENDIO_DONE;
	case SPURNED:
		/* Later, or it would come and go until the handler has done its work. */
		return DM_ENDIO_DELAY_REQUEUE;
	case FAILED:
		break;
	}
	r = error == BLK_STS_RESOURCE ? DM_ENDIO_DELAY_REQUEUE : DM_ENDIO_REQUEUE;
	if (!atomic_read(&m->valid_paths) && mpath_pathless(m) == PATHLESS_FAILS)
		r = DM_ENDIO_DONE; /* with the error that it has */
	return r;
}

/* ---- both ---- */

void mpath_run_waiting(struct mpath *m)
{
	if (m->queue_mode == DM_TYPE_REQUEST_BASED)
		dm_mq_kick_requeue_list(dm_table_get_md(m->ti->table));
	else
		queue_work(mpath_wq, &m->resubmit);
}

/* What waits for a path may be to fail or to go back now. */
static void let_end(struct mpath *m)
{
	if (mpath_pathless(m) == PATHLESS_WAITS)
		return;
	dm_table_run_md_queue_async(m->ti->table);
	mpath_run_waiting(m);
}

void mpath_set_no_path(struct mpath *m, enum no_path policy)
{
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	WRITE_ONCE(m->no_path, policy);
	spin_unlock_irqrestore(&m->lock, flags);
	let_end(m);
}

/* What is wished outlives it, however it ends. */
void mpath_suspension(struct mpath *m, enum suspension suspension)
{
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	WRITE_ONCE(m->suspension, suspension);
	if (suspension == NOT_SUSPENDED)
		mpath_watch_no_path(m);
	spin_unlock_irqrestore(&m->lock, flags);
	if (suspension != NOT_SUSPENDED)
		let_end(m);
}
