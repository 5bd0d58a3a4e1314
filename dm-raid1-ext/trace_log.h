/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of the log `cluster`: what clogd says of the write lease and of regions. */
/* clang-format off */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dm_log_cluster

#if !defined(DM_LOG_CLUSTER_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DM_LOG_CLUSTER_TRACE_H

#include <linux/tracepoint.h>

#include "cluster_log.h"

TRACE_EVENT(cluster_log_state,
	TP_PROTO(const struct cluster_log *l, unsigned int lease_ms),
	TP_ARGS(l, lease_ms),
	TP_STRUCT__entry(
		__array(char, uuid, DM_UUID_LEN)
		__field(bool, active)
		__field(bool, primary_only)
		__field(bool, log_failed)
		__field(unsigned int, lapses)
		__field(unsigned int, lease_ms)
	),
	TP_fast_assign(
		strscpy(__entry->uuid, l->uuid, sizeof(__entry->uuid));
		__entry->active = l->active;
		__entry->primary_only = l->primary_only;
		__entry->log_failed = l->log_failed;
		__entry->lapses = l->lapses;
		__entry->lease_ms = lease_ms;
	),
	TP_printk("%s %s%s%s, lease %u ms, had anew %u times", __entry->uuid,
		  __entry->active ? "active" : "not active",
		  __entry->primary_only ? ", primary only" : "",
		  __entry->log_failed ? ", log failed" : "", __entry->lease_ms, __entry->lapses)
);

TRACE_EVENT(cluster_log_regions,
	TP_PROTO(const struct cluster_log *l, const char *what, u32 start, u32 count),
	TP_ARGS(l, what, start, count),
	TP_STRUCT__entry(
		__array(char, uuid, DM_UUID_LEN)
		__array(char, what, 12)
		__field(u32, start)
		__field(u32, count)
	),
	TP_fast_assign(
		strscpy(__entry->uuid, l->uuid, sizeof(__entry->uuid));
		strscpy(__entry->what, what, sizeof(__entry->what));
		__entry->start = start;
		__entry->count = count;
	),
	TP_printk("%s regions %u+%u %s", __entry->uuid, __entry->start, __entry->count,
		  __entry->what)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace_log
#include <trace/define_trace.h>
