// SPDX-License-Identifier: GPL-2.0-or-later
// Messages go to syslog, to stderr in the foreground, and all of them, debug too, to libqb's flight recorder.
#pragma once

#include <string>

#include "clogd/core/event.hh"

namespace clogd::io {

void open_log(bool foreground, bool verbose);
void close_log();
void log(out::Level level, const std::string& text);
// Writes the flight recorder; returns bytes or a negative errno.
ssize_t write_flight_recorder(const std::string& path);

}  // namespace clogd::io
