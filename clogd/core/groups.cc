// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/core/groups.hh"

#include <algorithm>

namespace clogd {

namespace {

size_t reached_by(const std::map<NodeId, Voice>& voices, uint8_t group) {
    return static_cast<size_t>(std::count_if(voices.begin(), voices.end(), [&](const auto& v) { return v.second.reaches(group); }));
}

bool wanted_by_all(const std::map<NodeId, Voice>& voices, uint8_t group) {
    return std::all_of(voices.begin(), voices.end(), [&](const auto& v) {
        const Voice& voice = v.second;
        return voice.said.reach == 0 || (voice.said.wants == group && voice.reaches(group));
    });
}

}  // namespace

std::optional<Grant> choose_switch(const std::map<NodeId, Voice>& voices, const std::set<NodeId>& able, uint8_t in_use) {
    const size_t served = reached_by(voices, in_use);
    std::optional<Grant> best;
    size_t best_served = 0;
    for (const auto& [node, voice] : voices) {
        const uint8_t group = voice.said.wants;
        if (!able.contains(node) || group == in_use || !voice.reaches(group)) continue;
        const size_t would_serve = reached_by(voices, group);
        if (would_serve <= served && !wanted_by_all(voices, group)) continue;
        if (best && (would_serve < best_served || (would_serve == best_served && group >= best->group))) continue;
        best = Grant{node, group};
        best_served = would_serve;
    }
    return best;
}

}  // namespace clogd
