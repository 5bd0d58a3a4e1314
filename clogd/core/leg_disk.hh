// SPDX-License-Identifier: GPL-2.0-or-later
// Which disk a leg is, as far as one machine can tell within one boot. A log counts its legs by their places; a table that puts another
// disk in a place would have its content taken for the one that was there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace clogd {

struct LegDisk {
    std::string number;              // "major:minor"
    uint64_t start = 0;              // sector of the device where the leg begins
    std::string dm_uuid;             // of a device-mapper device; may be empty
    std::vector<std::string> disks;  // WWIDs or serial numbers of the disks at the bottom; empty: they have none
    bool operator==(const LegDisk&) const = default;
};

enum class SameDisk : uint8_t { yes, no, unknown };
SameDisk same_disk(const LegDisk& was, const LegDisk& is);

// Nothing is new, and nothing has changed places: the table leaves out legs that were there.
bool only_left_out(const std::vector<LegDisk>& was, const std::vector<LegDisk>& is);

// The same on every node if the names are; 0: it has none.
uint64_t leg_print(const LegDisk& leg);

std::string describe(const LegDisk& leg);

}  // namespace clogd
