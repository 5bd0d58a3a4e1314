// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/clogd: one daemon at a time, root's alone. Frames are in proto/channel.h. A read takes what
 * the logs have to tell, in turn; a write brings what the daemon says. Whatever it says is checked;
 * nonsense closes nothing, is refused with EINVAL and told once.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "cluster_log.h"
#include "../proto/channel.h"

#define DM_MSG_PREFIX "log-cluster"
#define WRITE_MAX (64 << 10)

static struct {
	struct mutex lock; /* logs, open, gone; held while frames are made or taken */
	struct xarray logs;
	u32 next_id;
	bool open;
	bool hello; /* still to be said */
	bool complained;
	struct list_head gone; /* logs whose end is to be told */
	spinlock_t dirty_lock; /* inside a log's lock */
	struct list_head dirty;
	wait_queue_head_t readable;
	char *room; /* one frame */
} channel;

struct gone_log {
	struct list_head list;
	u32 id;
};

bool channel_is_open(void)
{
	return READ_ONCE(channel.open);
}

void channel_poke(struct cluster_log *l)
{
	unsigned long flags;

	spin_lock_irqsave(&channel.dirty_lock, flags);
	if (list_empty(&l->dirty))
		list_add_tail(&l->dirty, &channel.dirty);
	spin_unlock_irqrestore(&channel.dirty_lock, flags);
	wake_up_interruptible(&channel.readable);
}

int channel_add(struct cluster_log *l)
{
	u32 id;
	int r;

	mutex_lock(&channel.lock);
	r = xa_alloc_cyclic(&channel.logs, &id, l, xa_limit_32b, &channel.next_id, GFP_KERNEL);
	l->id = id;
	mutex_unlock(&channel.lock);
	return min(r, 0); /* 1: the numbers have wrapped */
}

void channel_remove(struct cluster_log *l)
{
	struct gone_log *gone = kmalloc(sizeof(*gone), GFP_KERNEL | __GFP_NOFAIL);

	mutex_lock(&channel.lock);
	xa_erase(&channel.logs, l->id);
	spin_lock_irq(&channel.dirty_lock);
	list_del_init(&l->dirty);
	spin_unlock_irq(&channel.dirty_lock);
	gone->id = l->id;
	if (channel.open && l->known) {
		list_add_tail(&gone->list, &channel.gone);
		gone = NULL;
	}
	mutex_unlock(&channel.lock);
	kfree(gone);
	wake_up_interruptible(&channel.readable);
}

static bool something_to_tell(void)
{
	return channel.hello || !list_empty(&channel.gone) || !list_empty(&channel.dirty);
}

/* One frame into channel.room; 0: nothing. */
static size_t next_frame(void)
{
	struct clog_frame *f = (struct clog_frame *)channel.room;
	struct cluster_log *l;
	struct gone_log *gone;
	unsigned long id;
	size_t bytes;

	memset(f, 0, sizeof(*f));
	if (channel.hello) {
		channel.hello = false;
		f->bytes = sizeof(*f);
		f->type = CLOG_HELLO;
		f->value = CLOG_CHANNEL_VERSION;
		xa_for_each(&channel.logs, id, l) f->serial++;
		return f->bytes;
	}
	gone = list_first_entry_or_null(&channel.gone, struct gone_log, list);
	if (gone) {
		list_del(&gone->list);
		f->bytes = sizeof(*f);
		f->type = CLOG_DESTROY;
		f->log = gone->id;
		kfree(gone);
		return f->bytes;
	}
	while (true) {
		spin_lock_irq(&channel.dirty_lock);
		l = list_first_entry_or_null(&channel.dirty, struct cluster_log, dirty);
		if (l)
			list_del_init(&l->dirty);
		spin_unlock_irq(&channel.dirty_lock);
		if (!l)
			return 0;
		bytes = log_compose(l, channel.room);
		if (bytes) {
			channel_poke(l); /* behind the others */
			return bytes;
		}
	}
}

static ssize_t channel_read(struct file *file, char __user *to, size_t room, loff_t *at)
{
	size_t done = 0, bytes;
	int r;

	if (room < CLOG_FRAME_MAX)
		return -EINVAL;
	while (!done) {
		if (!something_to_tell()) {
			if (file->f_flags & O_NONBLOCK)
				return -EAGAIN;
			r = wait_event_interruptible(channel.readable, something_to_tell());
			if (r)
				return r;
		}
		mutex_lock(&channel.lock);
		while (room - done >= CLOG_FRAME_MAX && (bytes = next_frame())) {
			if (copy_to_user(to + done, channel.room, bytes)) {
				mutex_unlock(&channel.lock);
				return -EFAULT; /* a broken daemon: the next one is told again */
			}
			done += bytes;
		}
		mutex_unlock(&channel.lock);
		if (!done && file->f_flags & O_NONBLOCK)
			return -EAGAIN;
	}
	return done;
}

static int take_frames(const char *from, size_t bytes)
{
	const struct clog_frame *f;
	struct cluster_log *l;
	size_t items;

	for (; bytes; from += f->bytes, bytes -= f->bytes) {
		f = (const struct clog_frame *)from;
		if (bytes < sizeof(*f) || f->bytes < sizeof(*f) || f->bytes > bytes ||
		    f->bytes > CLOG_FRAME_MAX || f->bytes % 4)
			return -EINVAL;
		items = f->bytes - sizeof(*f);
		if ((size_t)f->count * sizeof(struct clog_range) != items)
			return -EINVAL;
		l = xa_load(&channel.logs, f->log);
		if (l && log_take(l, f, f + 1)) /* a log that is gone: too late, no harm */
			return -EINVAL;
	}
	return 0;
}

static ssize_t channel_write(struct file *file, const char __user *from, size_t bytes, loff_t *at)
{
	char *frames;
	int r;

	if (!bytes || bytes > WRITE_MAX)
		return -EINVAL;
	frames = kvmalloc(bytes, GFP_KERNEL);
	if (!frames)
		return -ENOMEM;
	if (copy_from_user(frames, from, bytes)) {
		r = -EFAULT;
	} else {
		mutex_lock(&channel.lock);
		r = take_frames(frames, bytes);
		if (r && !channel.complained) {
			channel.complained = true;
			DMERR("the daemon wrote something that is no frame; it and what followed was ignored");
		}
		mutex_unlock(&channel.lock);
	}
	kvfree(frames);
	return r ?: bytes;
}

static __poll_t channel_poll(struct file *file, poll_table *wait)
{
	poll_wait(file, &channel.readable, wait);
	return EPOLLOUT | EPOLLWRNORM | (something_to_tell() ? EPOLLIN | EPOLLRDNORM : 0);
}

static int channel_open(struct inode *inode, struct file *file)
{
	struct cluster_log *l;
	unsigned long id;
	int r = 0;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	mutex_lock(&channel.lock);
	if (channel.open) {
		r = -EBUSY;
	} else {
		WRITE_ONCE(channel.open, true);
		channel.hello = true;
		channel.complained = false;
		xa_for_each(&channel.logs, id, l) channel_poke(l);
	}
	mutex_unlock(&channel.lock);
	return r ?: stream_open(inode, file);
}

static int channel_release(struct inode *inode, struct file *file)
{
	struct gone_log *gone, *tmp;
	struct cluster_log *l;
	unsigned long id;

	mutex_lock(&channel.lock);
	WRITE_ONCE(channel.open, false);
	channel.hello = false;
	list_for_each_entry_safe(gone, tmp, &channel.gone, list) {
		list_del(&gone->list);
		kfree(gone);
	}
	xa_for_each(&channel.logs, id, l) log_daemon_left(l);
	mutex_unlock(&channel.lock);
	return 0;
}

static const struct file_operations channel_operations = {
	.owner = THIS_MODULE,
	.open = channel_open,
	.release = channel_release,
	.read = channel_read,
	.write = channel_write,
	.poll = channel_poll,
};

static struct miscdevice channel_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = CLOG_CHANNEL_DEVICE,
	.fops = &channel_operations,
	.mode = 0600,
};

int channel_init(void)
{
	int r;

	mutex_init(&channel.lock);
	xa_init_flags(&channel.logs, XA_FLAGS_ALLOC1);
	INIT_LIST_HEAD(&channel.gone);
	INIT_LIST_HEAD(&channel.dirty);
	spin_lock_init(&channel.dirty_lock);
	init_waitqueue_head(&channel.readable);
	channel.room = kmalloc(CLOG_FRAME_MAX, GFP_KERNEL);
	if (!channel.room)
		return -ENOMEM;
	r = misc_register(&channel_device);
	if (r)
		kfree(channel.room);
	return r;
}

void channel_exit(void)
{
	misc_deregister(&channel_device);
	xa_destroy(&channel.logs);
	kfree(channel.room);
}
