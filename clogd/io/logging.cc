// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/logging.hh"

#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <qb/qblog.h>

namespace clogd::io {

namespace {
constexpr size_t kRecorderBytes = 1 << 20;

// systemd says which file its journal reads from this process.
bool stderr_is_journal() {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat s {};
    return stream && ::fstat(STDERR_FILENO, &s) == 0 && fmt::format("{}:{}", s.st_dev, s.st_ino) == stream;
}
// The journal has its own time and takes the priority from the line.
void write_to_journal(int32_t, qb_log_callsite* from, timespec*, const char* text) { fmt::print(stderr, "<{}>{}\n", from->priority, text); }
}  // namespace

void open_log(bool foreground, bool verbose) {
    qb_log_init("clogd", LOG_DAEMON, LOG_INFO);
    qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, foreground ? QB_FALSE : QB_TRUE);
    qb_log_filter_ctl(QB_LOG_STDERR, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", verbose ? LOG_DEBUG : LOG_INFO);
    qb_log_format_set(QB_LOG_STDERR, "%t clogd %p: %b");
    const bool journal = foreground && stderr_is_journal();
    qb_log_ctl(QB_LOG_STDERR, QB_LOG_CONF_ENABLED, foreground && !journal ? QB_TRUE : QB_FALSE);
    if (const int32_t target = journal ? qb_log_custom_open(write_to_journal, nullptr, nullptr, nullptr) : -1; target >= 0) {
        qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", verbose ? LOG_DEBUG : LOG_INFO);
        qb_log_ctl(target, QB_LOG_CONF_ENABLED, QB_TRUE);
    }
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
