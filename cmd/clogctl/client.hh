// SPDX-License-Identifier: GPL-2.0-or-later
// One question to the daemon, over the control API (proto/control.hh).
#pragma once

#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

namespace clogctl {

struct NotRunning : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Daemon {
    std::string service;
    unsigned timeout_s = 10;  // for one question, connecting included
    bool as_json = false;     // also what is said when the time is over
};

// Throws NotRunning if no daemon answers, Refused if it says no. A daemon that hangs ends this process with kNoDaemon when the time is over.
nlohmann::json ask(const Daemon& daemon, nlohmann::json request);

}  // namespace clogctl
