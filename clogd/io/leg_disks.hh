// SPDX-License-Identifier: GPL-2.0-or-later
// Which disks the legs of a mirror are (clogd/core/leg_disk.hh), and which they were when its log was last in use, within this boot.
#pragma once

#include <string>
#include <vector>

#include "clogd/core/leg_disk.hh"
#include "clogd/io/mirror_device.hh"

namespace clogd::io {

// As sysfs tells. `root`: "/sys", or a tree that a test has made.
LegDisk leg_disk(const std::string& number, uint64_t start, const std::string& root = "/sys");

// In a file of the run directory, which does not outlive the boot. Empty if there is none, or it is damaged.
std::vector<LegDisk> remembered_legs(const std::string& directory, const std::string& log_uuid);
std::string remember_legs(const std::string& directory, const std::string& log_uuid, const std::vector<LegDisk>& legs);  // an error, or empty

}  // namespace clogd::io
