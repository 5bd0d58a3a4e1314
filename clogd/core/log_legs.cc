// SPDX-License-Identifier: GPL-2.0-or-later
// Which legs are in use: one truth for all nodes (I3), where every kernel can be told (dm-raid1-ext over dm-log-cluster).
//
//             a member cannot use it; the others are asked (LegSuspect, LegVote), the majority decides
//     alive ────────────────────────────────────────────────────────────────────────────────────────► away
//       ▲                                                                                              │ LegReturn
//       └──── every member's kernel writes it again; what it missed is not in sync ──── joining ◄──────┘
//
// Each change raises the epoch. Members say when their kernels follow it (LegAck). A write that a leg missed is held by its kernel
// until the leg is away, every member follows, and this node's slot names the epoch: then nobody reads the leg any more, also
// after a crash of everybody, and the write may end.
//
// What a leg that is away misses is what is written meanwhile: `missed` and the members' marks, which therefore do not end
// before they stand there (Missed). A leg that joins is written first; once all kernels do so, that becomes `raw` and is copied
// like anything else. With one leg alive there is nothing to copy, and every region counts as in sync.
//
// The primary goes only while no other leg lacks what was acknowledged: else its content is all there is of some regions, and writes wait for
// it. Where a node was lost while it wrote, the rest may be on the primary alone; that goes with it, if every member vouches that nobody has seen
// it: its kernel then answers no read of what is not in sync until it is decided (Pause).
#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "clogd/core/log.hh"
#include "proto/channel.h"

namespace clogd {

namespace wire = proto::wire;
using out::Level;

namespace {
constexpr TimeMs kProbeMs = 2000;   // a leg that answers no read for so long counts as failed
constexpr TimeMs kRepeatMs = 2000;  // a question that was decided otherwise is asked again
constexpr TimeMs kReturnMs = 500;   // likewise for the return of a leg
}  // namespace

// Every member's kernel can be told, and they have the same number of legs.
bool Log::legs_agreed() const {
    if (state_.legs.count < 2) return false;
    for (const auto& [node, m] : state_.members)
        if (m.legs != state_.legs.count) return false;
    return true;
}

uint16_t Log::legs_to_flush() const { return state_.legs.count ? state_.legs.written() : UINT16_MAX; }

proto::AgreedLegs Log::agreed_legs() const {
    const LegState& l = state_.legs;
    return has_state_ ? proto::AgreedLegs{l.epoch, l.count, l.primary, static_cast<uint16_t>(l.away | l.joining)} : kernel_legs_;
}

// ---- decided by all alike -----------------------------------------------------------------------------------------------------

bool Log::leg_can_go(uint8_t leg, bool unseen) const {
    const LegState& l = state_.legs;
    if (!legs_agreed() || !(l.written() & leg_bit(leg))) return false;
    if (l.joining & leg_bit(leg)) return true;
    if (!(l.alive() & ~leg_bit(leg))) return false;  // the last one
    if (leg != l.primary) return true;
    return primary_can_go(unseen);
}

// A member is about to go that may have seen what the primary has alone.
void Log::witness_goes() {
    if (state_.primary_has_alone() && host_.version() >= wire::kUnseenSince) state_.legs.seen_by_gone = 1;
}

// Every other leg has all that was acknowledged, also after a crash of everybody, and all that was seen. Unseen: every active member says so.
bool Log::primary_can_go(bool unseen) const {
    if (!params_.has_disk) return false;  // nobody would know which leg has what was acknowledged
    if (host_.config().planted == Planted::primary_goes_unsynced) return true;
    for (const auto& [node, m] : state_.members)
        if (!m.lease.empty()) return false;
    if (!state_.raw.empty()) return false;
    if (!state_.primary_has_alone()) return true;
    if ((!unseen || state_.legs.seen_by_gone) && host_.config().planted != Planted::seen_primary_goes) return false;
    return std::all_of(state_.members.begin(), state_.members.end(), [](const auto& m) {  // the others' kernels may show it to somebody
        return m.second.status == Member::active || m.second.status == Member::lost || m.second.status == Member::lost_unread;
    });
}

void Log::raise_leg_epoch() {
    LegState& l = state_.legs;
    ++l.epoch;
    l.waiting.clear();
    for (const auto& [node, m] : state_.members) l.waiting.insert(node);
    leg_epoch_at_ = host_.now();
    sweep_.clear();  // I1: what the legs were flushed for may by now be missed by one
    membership_changed();
}

void Log::leg_away(uint8_t leg) {
    LegState& l = state_.legs;
    l.away |= leg_bit(leg);
    l.joining &= static_cast<uint16_t>(~leg_bit(leg));
    l.suspects.erase(leg);
    l.unseen.clear();
    if (l.primary == leg) l.primary = static_cast<uint8_t>(std::countr_zero(l.alive()));
    state_.missed.add(state_.raw);
    state_.missed.add(state_.torn);
    for (auto& [node, m] : state_.members) m.trouble = m.failures = 0;
    raise_leg_epoch();
    my_legs_.well(leg_bit(leg));
    my_legs_.forced &= static_cast<uint16_t>(~leg_bit(leg));
    trouble_until_ = 0;
    if (phase_ != Phase::active) return;
    trouble_ = fmt::format("leg {} is away for all nodes: repair the mirror (lvconvert --repair), or, when the leg is well again: dmsetup message <mirror> 0 restore", leg);
    note(Level::error, fmt::format("leg {} has failed: no node uses it from now on, the primary is leg {} (epoch {})", leg, l.primary, l.epoch));
}

// Every kernel writes them again: what they missed is copied like anything else that is not in sync.
void Log::legs_joined() {
    LegState& l = state_.legs;
    l.joining = 0;
    raise_leg_epoch();
    l.waiting.clear();  // nobody has to read a leg that may be read
    RangeSet set = state_.missed;
    if (!l.away) state_.missed.clear();
    if (host_.config().planted == Planted::forget_missed) set.clear();
    if (phase_ == Phase::active) {
        if (!l.away) trouble_.clear();
        note(Level::notice, fmt::format("every leg that was to return is back; {} region(s) that it missed are copied", set.count()));
    }
    if (!set.empty()) unsync(set, true);
}

// Every active member has voted, or one is enough.
void Log::decide_suspects() {
    LegState& l = state_.legs;
    const std::set<NodeId> voters = state_.with(Member::active);
    for (auto it = l.suspects.begin(); it != l.suspects.end();) {
        const auto& [leg, s] = *it;
        size_t said = 0, failed = 0, unseen = 0;
        for (NodeId node : voters) {
            if (auto vote = s.votes.find(node); vote != s.votes.end()) ++said, failed += vote->second;
            unseen += l.unseen.count(node);
        }
        const bool one_is_enough = s.any && failed && !(leg == l.primary && state_.primary_has_alone());
        if (voters.empty() || (said < voters.size() && !one_is_enough)) {
            ++it;
            continue;
        }
        const bool gone = (s.any ? failed > 0 : failed * 2 > voters.size()) && leg_can_go(leg, unseen == voters.size());
        if (gone) {
            leg_away(leg);
            it = l.suspects.begin();
            continue;
        }
        if (s.reporter == host_.config().self) leg_stays(leg, failed, voters.size());
        if (leg == l.primary) l.unseen.clear();
        it = l.suspects.erase(it);
    }
}

void Log::advance_joining() {
    LegState& l = state_.legs;
    if (!l.joining) return;
    bool lost = false, copying = false;
    for (NodeId node : l.waiting) {
        auto m = state_.members.find(node);
        lost = lost || (m != state_.members.end() && m->second.status != Member::active && m->second.status != Member::joining);
    }
    for (const auto& [node, m] : state_.members) copying = copying || !m.lease.empty();
    if (lost) {  // what it wrote without these legs is not known
        l.away |= l.joining;
        l.joining = 0;
        raise_leg_epoch();
    } else if (l.waiting.empty() && !copying) {
        legs_joined();
    }
}

// With one leg alive nothing can differ: what is not in sync is only missed by the others.
void Log::sync_alone() {
    if (std::popcount(state_.legs.alive()) != 1) return;
    RangeSet alone = state_.raw;
    alone.add(state_.torn);
    for (const auto& [node, m] : state_.members) alone.remove(m.lease);
    if (alone.empty()) return;
    state_.missed.add(alone);
    state_.synced(alone);
    sync_unsynced_ = true;
}

// After everything that is delivered. Looks at nothing that one node alone can see.
void Log::advance_legs() {
    if (!state_.primary_has_alone()) state_.legs.seen_by_gone = 0;
    if (state_.legs.count == 0) return;
    decide_suspects();
    advance_joining();
    sync_alone();
}

void Log::apply_legs(NodeId sender, MemberState& from, const wire::LegSuspect& s) {
    LegState& l = state_.legs;
    if (from.status != Member::active || s.leg >= l.count || !(l.written() & leg_bit(s.leg))) return;
    const NodeId me = host_.config().self;
    if (s.forced && leg_can_go(s.leg)) {
        leg_away(s.leg);
        return;
    }
    if (s.forced) {
        if (sender == me) leg_stays(s.leg, 0, 0);
        return;
    }
    auto [at, fresh] = l.suspects.try_emplace(s.leg);
    if (!fresh) return;
    at->second = {state_.applied, sender, s.any, {}};
    if (s.leg == l.primary) l.unseen.clear();
}

void Log::apply_legs(NodeId sender, MemberState& from, const wire::LegVote& v) {
    auto s = state_.legs.suspects.find(v.leg);
    if (from.status != Member::active || s == state_.legs.suspects.end() || s->second.round != v.round) return;
    s->second.votes[sender] = v.failed;
    if (v.unseen && v.leg == state_.legs.primary && host_.version() >= wire::kUnseenSince) state_.legs.unseen.insert(sender);
}

void Log::apply_legs(NodeId sender, MemberState& from, const wire::LegAck& a) {
    LegState& l = state_.legs;
    if (a.legs) {
        if (sender == a.node && a.legs <= proto::kMaxLegs) from.legs = a.legs;
        if (l.count == 0) l.count = from.legs;
        return;
    }
    if (a.epoch != l.epoch || !l.waiting.erase(a.node)) return;
    if (l.joining) state_.missed.add(RangeSet(a.missed).within({0, params_.regions()}));
}

void Log::apply_legs(NodeId sender, const wire::LegReturn& r) {
    LegState& l = state_.legs;
    const uint16_t back = r.legs & l.away;
    bool all_here = true;
    for (const auto& [node, m] : state_.members) all_here = all_here && m.status == Member::active;
    if (!back || !legs_agreed() || !all_here || l.joining || !l.waiting.empty()) return;  // whoever asked, asks again
    l.away &= static_cast<uint16_t>(~back);
    l.joining |= back;
    raise_leg_epoch();
    if (phase_ == Phase::active) note(Level::notice, fmt::format("node {} says that leg(s) {:#x} are well again: they are written from now on (epoch {})", sender, back, l.epoch));
}

void Log::apply_legs(NodeId sender, const wire::Missed& m) {
    if (state_.legs.degraded()) {
        state_.missed.add(RangeSet(m.regions).within({0, params_.regions()}));
        state_.add_raw({});  // keeps the bounds
        tell_slot();
    }
    if (sender != host_.config().self) return;
    if (missed_under_way_) --missed_under_way_;
    if (phase_ == Phase::detaching) {
        if (!missed_asked_ || missed_under_way_) return;  // an earlier one says nothing of the marks that are left
        missed_asked_ = false;
        drop_all_marks();
    } else {
        given_.add(m.regions);
    }
}

// ---- this node ------------------------------------------------------------------------------------------------------------------

RangeSet Log::all_marks() const {
    RangeSet out;
    for (Region r : marks_.all()) out.add(r);
    if (everything_marked_) out.add(Range{0, params_.regions()});
    return out;
}

void Log::send_missed(RangeSet regions) {
    regions.coarsen(wire::kRangesPerMessage);
    ++missed_under_way_;
    host_.send(uuid_, wire::Missed{regions.ranges()});
}

void Log::drop_all_marks() {
    for (Region r : marks_.all()) {
        if (slot_) slot_->drop_mark(r);
        marks_.drop(r);
    }
}

// Marks that stand in `missed` by now, also on disk, may end.
void Log::end_given_marks() {
    if (given_.empty() || (slot_ && !slot_->clean())) return;
    if (everything_marked_ && given_.count() >= params_.regions()) end_everything_marked();
    for (const Range& range : std::exchange(given_, {}).ranges())
        for (Region r = range.start; r < range.end(); ++r)
            if (marks_.marked(r) && !marks_.used(r)) end_mark(r);
}

// The members do not give up a leg that this node cannot use.
void Log::leg_stays(uint8_t leg, size_t failed, size_t voters) {
    if (phase_ != Phase::active) return;
    my_legs_.alone |= leg_bit(leg);
    my_legs_.retry_at = host_.now() + kRepeatMs;
    my_legs_.ask_at[leg] = host_.now() + kRepeatMs;
    const LegState& l = state_.legs;
    std::string why = !legs_agreed()                                ? "not every node's kernel can be told (dm-raid1-ext over dm-log-cluster, the same number of legs)"
                      : !(l.alive() & ~leg_bit(leg))                ? "it is the last one"
                      : leg == l.primary && !params_.has_disk       ? "it is the primary, and the log is in memory: after a crash nobody would know that it is behind"
                      : leg == l.primary && state_.unsynced_count() ? fmt::format("it is the primary, and {} region(s) are not in sync", state_.unsynced_count())
                      : voters == 0                                 ? "it cannot go now"
                                                                    : fmt::format("only {} of {} nodes cannot use it", failed, voters);
    std::string text = fmt::format("leg {} fails here, but stays in use: {}; writes that it missed wait until it is well again or the table is replaced", leg, why);
    if (trouble_ != text) note(Level::error, text);
    trouble_ = text;
}

void Log::probed(const ev::Probed& e) {
    if (phase_ != Phase::active) return;
    if (my_legs_.probes.erase(e.leg)) my_legs_.verdicts[e.leg] = e.ok ? 0 : 1;
    if (e.ok && my_legs_.alone & leg_bit(e.leg)) {  // the writes that it missed are tried again; if they fail, we hear of it
        my_legs_.well(leg_bit(e.leg));
        if (channel_.on) host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), CLOG_RETRY, {}, leg_bit(e.leg), 0});
    }
}

void Log::kernel_legs(const ev::KernelLegs& e) {
    if (phase_ == Phase::detached) return;
    switch (e.what) {
        case ev::KernelLegs::failed:
            my_legs_.failed |= e.legs;
            my_legs_.alone &= static_cast<uint16_t>(~e.legs);
            break;
        case ev::KernelLegs::forced: my_legs_.forced |= e.legs; break;
        case ev::KernelLegs::restore:
            my_legs_.back |= e.legs;
            my_legs_.well(e.legs);
            break;
        case ev::KernelLegs::follows: channel_.follows = e.epoch; break;
        case ev::KernelLegs::paused:
            if (channel_.told_pause == e.epoch) channel_.saw = e.legs != 0;
            break;
    }
}

void Log::tell_legs() {
    const LegState& l = state_.legs;
    if (l.count == 0) return;
    if ((!slot_ || slot_->clean()) && l.waiting.empty()) my_legs_.confirmed = l.epoch;
    const bool confirmed = my_legs_.confirmed == l.epoch || host_.config().planted == Planted::unconfirmed_leg;
    const uint32_t value = l.alive() | static_cast<uint32_t>(l.written()) << CLOG_LEGS_WRITTEN_SHIFT | static_cast<uint32_t>(l.primary) << CLOG_LEGS_PRIMARY_SHIFT |
                           (confirmed ? CLOG_LEGS_CONFIRMED : 0);
    if (channel_.told_legs == std::pair(value, l.epoch)) return;
    channel_.told_legs = {value, l.epoch};
    host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), CLOG_LEGS, {}, value, l.epoch});
}

bool Log::pause_due() const { return state_.legs.suspects.contains(state_.legs.primary) && state_.primary_has_alone(); }

// About the primary only when the kernel has said what was seen.
void Log::vote() {
    const LegState& l = state_.legs;
    const bool pause = pause_due();
    if (channel_.on && (!channel_.told_pause || pause != (*channel_.told_pause != 0))) {
        channel_.told_pause = pause ? ++pauses_ : 0;
        channel_.saw.reset();
        host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), CLOG_PAUSE, {}, 0, *channel_.told_pause});
    }
    for (auto v = my_legs_.verdicts.begin(); v != my_legs_.verdicts.end();) {
        const auto [leg, failed] = *v;
        const bool asks = channel_.on && pause && leg == l.primary;
        if (asks && !channel_.saw) {
            ++v;
            continue;
        }
        if (auto s = l.suspects.find(leg); s != l.suspects.end()) host_.send(uuid_, wire::LegVote{leg, s->second.round, failed, asks && !*channel_.saw});
        v = my_legs_.verdicts.erase(v);
    }
}

// While active: what this node has to say to the others.
void Log::serve_legs() {
    LegState& l = state_.legs;
    const NodeId me = host_.config().self;
    const TimeMs now = host_.now();
    const bool on_disk = !slot_ || slot_->clean();
    my_legs_.failed &= l.written();
    my_legs_.back &= l.away | l.joining;
    if (l.waiting.contains(me) && channel_.follows == l.epoch && on_disk && my_legs_.acked != l.epoch) {
        my_legs_.acked = l.epoch;
        RangeSet marks;
        if (l.joining) {
            marks = all_marks();
            marks.add(uncertain_);
        }
        marks.coarsen(wire::kRangesPerMessage);
        host_.send(uuid_, wire::LegAck{me, l.epoch, 0, marks.ranges()});
    }
    if (my_leg_count_ && self() && self()->legs != my_leg_count_ && now >= my_legs_.count_at) {  // after a restart the kernel says it later
        my_legs_.count_at = now + kRepeatMs;
        host_.send(uuid_, wire::LegAck{me, 0, my_leg_count_, {}});
    }
    // A member that nobody can ask has stopped when its write lease has run out.
    if (!l.joining && state_.coordinator() == me && now >= my_legs_.speak_at)
        for (NodeId node : l.waiting)
            if (auto m = state_.members.find(node); m != state_.members.end() && m->second.status != Member::active && lease_over(m->second)) {
                my_legs_.speak_at = now + kReturnMs;
                host_.send(uuid_, wire::LegAck{node, l.epoch, 0, {}});
            }
    for (uint8_t leg = 0; leg < l.count; ++leg) {
        if (my_legs_.forced & leg_bit(leg)) {
            my_legs_.forced &= static_cast<uint16_t>(~leg_bit(leg));
            if (l.written() & leg_bit(leg)) host_.send(uuid_, wire::LegSuspect{leg, 0, 1});
        }
        if (my_legs_.failed & leg_bit(leg) && !l.suspects.contains(leg) && now >= my_legs_.ask_at[leg]) {
            my_legs_.ask_at[leg] = now + kRepeatMs;
            if (!(my_legs_.alone & leg_bit(leg))) note(Level::warning, fmt::format("leg {} fails here; the other nodes are asked", leg));
            host_.send(uuid_, wire::LegSuspect{leg, static_cast<uint8_t>(host_.config().leg_failure_any), 0});
        }
    }
    for (const auto& [leg, s] : l.suspects) {  // also one that was asked about before this node came
        if (auto said = my_legs_.answering.find(leg); said != my_legs_.answering.end() && said->second == s.round) continue;
        my_legs_.answering[leg] = s.round;
        my_legs_.verdicts.erase(leg);
        my_legs_.probes.erase(leg);
        if (my_legs_.failed & leg_bit(leg)) {
            my_legs_.verdicts[leg] = 1;
        } else {
            my_legs_.probes[leg] = now;
            host_.emit(out::Probe{uuid_, leg});
        }
    }
    for (auto p = my_legs_.probes.begin(); p != my_legs_.probes.end();) {
        if (now < p->second + kProbeMs) {
            ++p;
            continue;
        }
        my_legs_.verdicts[p->first] = 1;
        p = my_legs_.probes.erase(p);
    }
    vote();
    if (my_legs_.alone && now >= my_legs_.retry_at) {
        my_legs_.retry_at = now + kRepeatMs;
        for (uint8_t leg = 0; leg < l.count; ++leg)
            if (my_legs_.alone & leg_bit(leg)) host_.emit(out::Probe{uuid_, leg});
    }
    if (my_legs_.back & l.away && !l.joining && now >= my_legs_.return_at) {
        my_legs_.return_at = now + kReturnMs;
        host_.send(uuid_, wire::LegReturn{my_legs_.back});
    }
    end_given_marks();
    serve_repairs();
}

// ---- formation --------------------------------------------------------------------------------------------------------------------

// What the slots say about legs, for the state that is formed from them. An error text if this node's kernel cannot go by it.
std::string Log::form_legs(LogState& s, const proto::AgreedLegs& found) {
    const uint8_t mine = my_leg_count_ ? my_leg_count_ : kept_ ? found.count : uint8_t{0};
    s.legs = {};
    s.legs.count = mine;
    s.legs.epoch = found.epoch + 1;
    s.legs.seen_by_gone = s.primary_has_alone() && host_.version() >= wire::kUnseenSince;
    s.missed.clear();
    const bool as_before = mine == found.count && found.count >= 2 && found.primary < found.count;
    if (const uint8_t source = as_before ? found.primary : uint8_t{0}; replaced_.contains(source))
        return fmt::format("leg {} of the table is another disk than before, and would be copied over the others: put the disk that was there in its place", source);
    if (found.count < 2 || found.count > proto::kMaxLegs || found.primary >= found.count) return {};
    const bool matters = found.away || s.unsynced_count();  // else every leg is as good as the others
    if (mine == 0 && found.primary != 0 && matters)
        return fmt::format(
            "leg 0 of this mirror has missed writes, and this kernel cannot be told: use dm-raid1-ext with a `cluster` log, or load a table whose first leg is leg {}",
            found.primary);
    if (mine != found.count) {
        if (matters && (found.away || found.primary))
            note(Level::warning,
                 fmt::format("the table has {} leg(s), the log knew {}: all are taken to be in use, and what some missed is copied from the first", mine, found.count));
        return {};
    }
    s.legs.primary = found.primary;
    s.legs.away = found.away & s.legs.all();
    if (!s.legs.alive() || !(s.legs.alive() & leg_bit(s.legs.primary))) {  // no state that was ever written
        s.legs.away = 0;
        s.legs.primary = 0;
        return {};
    }
    if (!s.legs.away) return {};
    s.missed = s.raw;
    s.missed.add(s.torn);
    for (const auto& [node, m] : s.members) s.legs.waiting.insert(node);
    note(Level::warning, fmt::format("leg(s) {:#x} are away since the log was last in use", s.legs.away));
    return {};
}

}  // namespace clogd
