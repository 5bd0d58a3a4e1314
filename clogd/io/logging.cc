// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/logging.hh"

#include <syslog.h>

#include <qb/qblog.h>

namespace clogd::io {

namespace {
constexpr size_t kRecorderBytes = 1 << 20;
}

void open_log(bool foreground, bool verbose) {
    qb_log_init("clogd", LOG_DAEMON, LOG_INFO);
    qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, foreground ? QB_FALSE : QB_TRUE);
    qb_log_filter_ctl(QB_LOG_STDERR, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", verbose ? LOG_DEBUG : LOG_INFO);
    qb_log_format_set(QB_LOG_STDERR, "%t clogd %p: %b");
    qb_log_ctl(QB_LOG_STDERR, QB_LOG_CONF_ENABLED, foreground ? QB_TRUE : QB_FALSE);
    qb_log_filter_ctl(QB_LOG_BLACKBOX, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
    qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, kRecorderBytes);
    qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_THREADED, QB_FALSE);
    qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE);
}

void close_log() { qb_log_fini(); }

void log(out::Level level, const std::string& text) {
    static constexpr uint8_t priorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR};
    qb_log_from_external_source("clogd", "clogd", "%s", priorities[static_cast<size_t>(level)], 0, 0, text.c_str());
}

ssize_t write_flight_recorder(const std::string& path) { return qb_log_blackbox_write_to_file(path.c_str()); }

}  // namespace clogd::io
