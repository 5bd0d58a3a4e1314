// SPDX-License-Identifier: GPL-2.0-or-later
// The daemon's JSON, for people: tables, a progress bar, a picture of the regions. Pure text in and out.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace clogctl {

enum Exit : int {
    kFine = 0,      // every log is in sync and in use
    kSyncing = 1,   // regions are being copied, or nodes are joining
    kTrouble = 2,   // mirrors or the cluster not to be seen, no quorum, a failed log disk, a leg that cannot be copied
    kNoDaemon = 3,  // it is not there, or hangs
    kUsage = 64,
};

std::string bytes(double value);        // "1.5 GiB"
std::string duration(int64_t seconds);  // "2 min 5 s"
std::string table(const nlohmann::json& status);
// Why the daemon cannot see its mirrors, or the cluster; empty if it can.
std::string blind(const nlohmann::json& status);
Exit verdict(const nlohmann::json& status);
std::string progress(const nlohmann::json& log, unsigned width);
// One character for a run of regions; the worst state in it wins.
std::string picture(const nlohmann::json& map, unsigned width, unsigned rows);

}  // namespace clogctl
