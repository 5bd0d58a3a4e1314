// SPDX-License-Identifier: GPL-2.0-or-later
// Regions in sync that some legs cannot be read in, though another can (a bad sector): they lose their sync, and are copied from a leg
// that can be read. So they are rewritten where they could not be.
//
// What is not in sync is read from the primary alone. So if the primary is one of those legs, another one becomes it first, and the region
// loses its sync only when every kernel follows that. One message asks for either (Repair); what it does is decided where it is ordered,
// for two nodes may want the primary to go two ways, and a region must never be copied from a leg that cannot be read there.
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "clogd/core/log.hh"
#include "proto/channel.h"

namespace clogd {

namespace wire = proto::wire;

namespace {
constexpr TimeMs kAskAgainMs = 2000;  // what could not be done when it was asked for is asked for again
}  // namespace

// The leg that becomes the primary in the place of one of these, if that may be now. Every member must be there to follow.
std::optional<uint8_t> Log::primary_instead_of(uint16_t bad) const {
    const LegState& l = state_.legs;
    uint16_t good = static_cast<uint16_t>(l.alive() & ~bad);
    for (const auto& [leg, suspect] : l.suspects) good &= static_cast<uint16_t>(~leg_bit(leg));
    if (!good || !legs_agreed() || l.joining || !l.waiting.empty() || !primary_can_go()) return std::nullopt;
    for (const auto& [node, m] : state_.members)
        if (m.status != Member::active) return std::nullopt;
    return static_cast<uint8_t>(std::countr_zero(good));
}

void Log::apply_repair(const MemberState& from, const wire::Repair& r) {
    LegState& l = state_.legs;
    if (from.status != Member::active || !l.waiting.empty()) return;
    if (!(r.bad & leg_bit(l.primary))) {
        const RangeSet regions = RangeSet(r.regions).within({0, params_.regions()});
        if (!regions.empty()) unsync(regions, true);
    } else if (auto leg = primary_instead_of(r.bad)) {
        const uint8_t before = std::exchange(l.primary, *leg);
        l.unseen.clear();
        raise_leg_epoch();
        if (phase_ == Phase::active) note(out::Level::notice, fmt::format("leg {} cannot be read everywhere: the primary is leg {} (epoch {})", before, l.primary, l.epoch));
    }
}

void Log::repair(const ev::Repair& e) {
    if (!channel_.on || phase_ == Phase::detached || e.region >= params_.regions()) return;
    if (channel_.repairs.size() < proto::kMaxRepairs || channel_.repairs.contains(e.region)) channel_.repairs[e.region].bad |= e.bad;
}

// While active: what the kernel has asked for.
void Log::serve_repairs() {
    const LegState& l = state_.legs;
    std::map<uint16_t, RangeSet> wishes;
    for (auto it = channel_.repairs.begin(); it != channel_.repairs.end();) {
        auto& [region, repair] = *it;
        const bool of_primary = repair.bad & leg_bit(l.primary);
        const bool primary_stays = !params_.has_disk || !legs_agreed();  // whatever becomes of the regions
        const bool hopeless = !(l.alive() & repair.bad) || !(l.alive() & ~repair.bad) || (of_primary && primary_stays);
        if (hopeless || state_.unsynced(region)) {
            host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), CLOG_TAKEN, {}, 0, region});
            it = channel_.repairs.erase(it);
            continue;
        }
        const bool asked = repair.epoch == l.epoch && host_.now() < repair.asked_at + kAskAgainMs;
        if (!asked && l.waiting.empty() && (!of_primary || primary_instead_of(repair.bad)) && host_.version() >= wire::kRepairSince) {
            repair.epoch = l.epoch;
            repair.asked_at = host_.now();
            wishes[repair.bad].add(region);
        }
        ++it;
    }
    for (const auto& [bad, regions] : wishes) host_.send(uuid_, wire::Repair{regions.ranges(), bad});
}

}  // namespace clogd
