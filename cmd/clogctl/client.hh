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

// Throws NotRunning if no daemon answers, Refused if it says no.
nlohmann::json ask(const std::string& service, nlohmann::json request);

}  // namespace clogctl
