// SPDX-License-Identifier: GPL-2.0-or-later
// The clock of the core's times and of everything that ends by a time: it goes on while the machine is suspended.
#pragma once

#include <time.h>

#include "clogd/core/event.hh"

namespace clogd::io {

inline TimeMs boot_clock_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<TimeMs>(now.tv_sec) * 1000 + static_cast<TimeMs>(now.tv_nsec) / 1'000'000;
}

}  // namespace clogd::io
