/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints: every change of a region's state, of a leg's health, of what the nodes agreed. */
/* clang-format off */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dm_raid1_ext

#if !defined(DM_RAID1_EXT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DM_RAID1_EXT_TRACE_H

#include <linux/blkdev.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>

TRACE_EVENT(mirror_region,
	TP_PROTO(dev_t dev, u64 region, const char *from, const char *to, unsigned int pending),
	TP_ARGS(dev, region, from, to, pending),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, region)
		__array(char, from, 12)
		__array(char, to, 12)
		__field(unsigned int, pending)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->region = region;
		strscpy(__entry->from, from, sizeof(__entry->from));
		strscpy(__entry->to, to, sizeof(__entry->to));
		__entry->pending = pending;
	),
	TP_printk("%u:%u region %llu %s -> %s, %u writes in flight", MAJOR(__entry->dev),
		  MINOR(__entry->dev), __entry->region, __entry->from, __entry->to,
		  __entry->pending)
);

TRACE_EVENT(mirror_leg_failed,
	TP_PROTO(dev_t dev, unsigned int leg, char why),
	TP_ARGS(dev, leg, why),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(unsigned int, leg)
		__field(char, why)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->leg = leg;
		__entry->why = why;
	),
	TP_printk("%u:%u leg %u: %c", MAJOR(__entry->dev), MINOR(__entry->dev), __entry->leg,
		  __entry->why)
);

TRACE_EVENT(mirror_leg_paths,
	TP_PROTO(dev_t dev, unsigned int leg, unsigned int usable, unsigned int total),
	TP_ARGS(dev, leg, usable, total),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(unsigned int, leg)
		__field(unsigned int, usable)
		__field(unsigned int, total)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->leg = leg;
		__entry->usable = usable;
		__entry->total = total;
	),
	TP_printk("%u:%u leg %u: %u of %u paths", MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->leg, __entry->usable, __entry->total)
);

TRACE_EVENT(mirror_legs,
	TP_PROTO(dev_t dev, unsigned int epoch, unsigned int readable, unsigned int written,
		 unsigned int needed, unsigned int primary),
	TP_ARGS(dev, epoch, readable, written, needed, primary),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(unsigned int, epoch)
		__field(unsigned int, readable)
		__field(unsigned int, written)
		__field(unsigned int, needed)
		__field(unsigned int, primary)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->epoch = epoch;
		__entry->readable = readable;
		__entry->written = written;
		__entry->needed = needed;
		__entry->primary = primary;
	),
	TP_printk("%u:%u epoch %u: read %#x, written %#x, needed %#x, primary %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->epoch, __entry->readable,
		  __entry->written, __entry->needed, __entry->primary)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
