// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/core/leg_disk.hh"

#include <algorithm>

#include <fmt/format.h>

#include "proto/bytes.hh"

namespace clogd {

// A device-mapper UUID names the content, whatever lies below; so it counts before the disks do. A path and a map over it have the same disks
// below them and but one UUID: nothing tells that they differ. Without any name the number tells, for it stays the same within a boot.
SameDisk same_disk(const LegDisk& was, const LegDisk& is) {
    const auto same_place = [&] { return was.start == is.start ? SameDisk::yes : SameDisk::no; };
    if (!was.dm_uuid.empty() && !is.dm_uuid.empty()) return was.dm_uuid == is.dm_uuid ? same_place() : SameDisk::no;
    if (!was.disks.empty() && !is.disks.empty()) {
        const bool shared = std::any_of(was.disks.begin(), was.disks.end(), [&](const std::string& d) { return std::find(is.disks.begin(), is.disks.end(), d) != is.disks.end(); });
        if (!shared) return SameDisk::no;
        return was.number == is.number ? same_place() : SameDisk::unknown;
    }
    const bool nameless = was.dm_uuid.empty() && is.dm_uuid.empty() && was.disks.empty() && is.disks.empty();
    if (was.number == is.number) return nameless ? same_place() : SameDisk::unknown;
    return nameless ? SameDisk::no : SameDisk::unknown;
}

bool only_left_out(const std::vector<LegDisk>& was, const std::vector<LegDisk>& is) {
    if (is.size() >= was.size()) return false;
    size_t at = 0;
    for (const LegDisk& leg : is) {
        while (at < was.size() && same_disk(was[at], leg) == SameDisk::no) ++at;
        if (at++ >= was.size()) return false;
    }
    return true;
}

uint64_t leg_print(const LegDisk& leg) {
    std::string text = leg.dm_uuid;
    if (text.empty())
        for (const std::string& disk : leg.disks) text += disk + '\n';
    if (text.empty()) return 0;
    text += fmt::format(" {}", leg.start);
    return std::max<uint64_t>(1, proto::fnv1a(std::string_view(text)));
}

std::string describe(const LegDisk& leg) {
    std::string out = leg.number;
    if (leg.start) out += fmt::format(" from sector {}", leg.start);
    const std::string& name = !leg.dm_uuid.empty() ? leg.dm_uuid : !leg.disks.empty() ? leg.disks.front() : std::string();
    return name.empty() ? out : fmt::format("{} ({})", out, name);
}

}  // namespace clogd
