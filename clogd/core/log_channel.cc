// SPDX-License-Identifier: GPL-2.0-or-later
// A kernel that uses dm-log-cluster (proto/channel.h): it is told what it may do, and asks only for what it has not been told.
//
// I1  A mark is told as durable under the same condition as for the userspace log (mark_durable()).
// I2  A region that the kernel holds marked is `in use` here until the kernel says CLEAR; when it loses its sync it is reported as
//     busy, and the kernel is asked to close it. What is not held is marked while it is unsynced only once it is busy: may_pass().
// I4  The kernel writes only while its lease runs. It is renewed while this log is active, and is shorter than the time for which
//     the others wait before they hand out what a lost node had marked.
#include <algorithm>
#include <bit>
#include <utility>

#include "clogd/core/log.hh"
#include "proto/channel.h"

namespace clogd {

namespace wire = proto::wire;

namespace {
constexpr TimeMs kSoloLeaseMs = 5000;
}

TimeMs Log::write_lease_ms() const {
    TimeMs wait = host_.shortest_wait();
    if (host_.config().planted == Planted::long_lease) wait *= 20;
    return wait ? std::max<TimeMs>(1, wait * 3 / 4) : kSoloLeaseMs;
}

void Log::channel_opened(bool on) {
    channel_ = {};
    channel_.on = on;
    told_group_.reset();
}

void Log::regions(const ev::Regions& e) {
    if (!channel_.on || phase_ == Phase::detached) return;
    RangeSet set = RangeSet(e.ranges).within({0, params_.regions()});
    switch (e.what) {
        case ev::Regions::mark:
            counters_.marks += set.count();
            channel_.asked.add(set);
            break;
        case ev::Regions::clear: {
            channel_.asked.remove(set);
            channel_.committed.remove(set);
            channel_.held.remove(set);
            for (const Range& r : set.ranges())
                for (uint32_t i = 0; i < r.count; ++i) {
                    ++counters_.clears;
                    marks_.idle(r.start + i, host_.now());
                }
            uncertain_.remove(set);
            pass_.remove(set);
            RangeSet drop = my_busy_.intersect(set);
            drop.remove(tainted_);
            if (phase_ == Phase::active) set_busy({}, drop);
            else my_busy_.remove(drop);
            break;
        }
        case ev::Regions::want: channel_.wants.add(set); break;
        case ev::Regions::lost: channel_.lost.add(set); break;
        case ev::Regions::held: channel_.held.add(set); break;
        case ev::Regions::held_end: channel_.held_complete = true; break;
    }
}

// I4: whoever is in sight has no other half that would renew it.
bool Log::lease_over(const MemberState& m) const {
    const bool lost = m.status == Member::lost || m.status == Member::lost_unread;
    return lost ? host_.has_stopped(leg_epoch_at_) : host_.now() >= leg_epoch_at_ + host_.longest_wait();
}

// Where a kernel may still read any leg: what a write that fails has left on one could be seen there, and then not any more.
RangeSet Log::unheard() const {
    if (host_.config().planted == Planted::failed_before_heard) return {};
    for (const auto& [node, m] : state_.members)
        if (m.status != Member::active && !lease_over(m)) return RangeSet(std::vector<Range>{{0, params_.regions()}});
    return state_.unheard();
}

// A leg missed a write: recorded in the state and in this node's slot, and heard by every kernel, before this one may let the write end.
void Log::record_lost() {
    const bool passing = my_leg_count_ > 0;  // its mirror lets go of the region; else a leg is lost until the table is replaced
    RangeSet fresh = channel_.lost;
    fresh.remove(tainted_);
    fresh.remove(channel_.lost_told);
    // Where one leg alone is alive nothing can differ: that the others missed it is all there is to record.
    RangeSet recorded = channel_.lost.intersect(std::popcount(state_.legs.alive()) == 1 ? state_.raw_on_disk() : state_.raw);
    if (!recorded.empty()) recorded.remove(unheard());
    if (!recorded.empty() && (!slot_ || slot_->clean())) {
        channel_.lost.remove(recorded);
        channel_.lost_told.remove(recorded);
        tell(CLOG_TOLD, recorded);
        fresh.remove(recorded);
    }
    if (fresh.empty()) return;
    if (passing) {
        channel_.lost_told.add(fresh);
        host_.send(uuid_, wire::LegFailed{fresh.ranges(wire::kRangesPerMessage), 1});
        return;
    }
    trouble_ = "a write failed on a leg of this mirror; repair it: lvconvert --repair, or load a table without the failed leg";
    note(out::Level::error, trouble_);
    trouble_sticky_ = true;
    tainted_.add(fresh);
    host_.send(uuid_, wire::LegFailed{fresh.ranges(wire::kRangesPerMessage), 0});
}

void Log::tell(uint16_t type, const RangeSet& set) {
    std::vector<Range> list = set.ranges();
    for (size_t at = 0; at < list.size(); at += CLOG_RANGES_MAX) {
        auto from = list.begin() + static_cast<ptrdiff_t>(at);
        auto to = list.begin() + static_cast<ptrdiff_t>(std::min<size_t>(list.size(), at + CLOG_RANGES_MAX));
        host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), type, {from, to}, 0, 0});
    }
}

// What the predecessor of this daemon had marked and the kernel no longer uses is no longer in use.
void Log::take_held() {
    if (!channel_.held_complete) return;
    channel_.held_complete = false;
    RangeSet held = std::exchange(channel_.held, {});
    if (host_.config().planted == Planted::forget_held) held.clear();
    RangeSet drop = my_busy_;
    drop.remove(tainted_);
    drop.remove(held);
    for (Region r : marks_.in_use())
        if (!held.contains(r)) marks_.idle(r, host_.now());
    for (const Range& r : held.ranges())
        for (uint32_t i = 0; i < r.count; ++i) {
            marks_.use(r.start + i);
            if (params_.has_disk && slot_ && !slot_->durable(r.start + i)) slot_->add_mark(r.start + i);
            if (!params_.has_disk && !core_held_.contains(r.start + i)) core_pending_.add(Range{r.start + i, 1});
        }
    uncertain_.clear();
    // Its idle marks are not known one by one: while a leg is away it may have missed any of them.
    if (everything_marked_ && state_.legs.degraded()) send_missed(RangeSet(std::vector<Range>{{0, params_.regions()}}));
    else end_everything_marked();
    set_busy({}, drop);
}

// A region that is not in sync may be written, on every leg and marked, while nobody copies it: it is made busy first, in the order of the
// group, so that no lease is granted there before the kernel has let go of it (I2).
bool Log::may_pass(Region r) {
    if (marks_.used(r) || host_.config().planted == Planted::mark_unsynced) return true;
    if (!state_.unsynced(r) && !state_.leased(r)) return true;
    if (pass_.contains(r) && my_busy_.contains(r)) return true;
    if (state_.unseen_grants()) return false;
    const RangeSet one(std::vector<Range>{{r, 1}});
    if (busy_asked_.contains(r)) return false;
    if (my_busy_.contains(r)) set_busy({}, one);  // somebody was quicker
    else if (state_.leased(r)) wanted(r);
    else set_busy(one, {});
    return false;
}

void Log::answer_channel_marks() {
    for (const Range& range : std::exchange(channel_.asked, {}).ranges())
        for (Region r = range.start; r < range.end(); ++r) {
            if (!may_pass(r)) {
                channel_.asked.add(Range{r, 1});
                continue;
            }
            if (mark_durable(r)) ++counters_.warm_marks;
            else if (params_.has_disk) {
                if (slot_) slot_->add_mark(r);
            } else {
                core_drop_.remove(r);
                core_pending_.add(r);
            }
            marks_.use(r);
            channel_.committed.add(Range{r, 1});
        }
    RangeSet done;
    for (const Range& range : channel_.committed.ranges())
        for (Region r = range.start; r < range.end(); ++r)
            if (mark_durable(r) || host_.config().planted == Planted::mark_before_durable) done.add(Range{r, 1});
    channel_.committed.remove(done);
    tell(CLOG_MARKED, done);
}

// Regions that are written before they are copied are closed last, when there is nothing else to copy.
bool Log::only_passed_are_left() const {
    for (const auto& [node, m] : state_.members)
        if (!m.lease.empty()) return false;
    return state_.grantable(RangeSet(std::vector<Range>{{0, params_.regions()}})).empty();
}

// What has lost its sync since the kernel was told last.
void Log::tell_unsynced() {
    if (!channel_.on || !live_luid_) return;
    RangeSet fresh = state_.torn;
    fresh.add(state_.raw);
    fresh.remove(channel_.told_unsynced);
    tell(CLOG_UNSYNCED, fresh);
    channel_.told_unsynced.add(fresh);
}

// While active: what changed since the kernel was told last, and the answers to what it asked.
void Log::serve_channel() {
    if (!channel_.on || !live_luid_) return;
    take_held();
    // I3: what lost its sync is told before a leg that lacks it may be read, and what is in sync because a leg is gone after that.
    RangeSet gone;
    if (!channel_.told_all || channel_.told_applied != state_.applied) {
        channel_.told_applied = state_.applied;
        tell_unsynced();
        gone = channel_.told_unsynced;
        if (!channel_.told_all) gone.add(Range{0, params_.regions()});
        channel_.told_all = true;
        gone.remove(state_.torn);
        gone.remove(state_.raw);
        channel_.told_unsynced.remove(gone);
        channel_.wants.remove(gone);
    }
    tell_legs();
    tell(CLOG_SYNCED, gone);
    RangeSet close = my_busy_.intersect(channel_.told_unsynced);
    close.remove(tainted_);
    close.remove(busy_asked_);  // not marked yet
    if (!pass_.empty() && !only_passed_are_left()) close.remove(pass_);
    channel_.told_close = channel_.told_close.intersect(close);
    RangeSet fresh = close;
    fresh.remove(channel_.told_close);
    tell(CLOG_CLOSE, fresh);
    channel_.told_close = std::move(close);
    for (const Range& r : channel_.wants.ranges())
        for (uint32_t i = 0; i < r.count; ++i)
            if (state_.unsynced(r.start + i)) wanted(r.start + i);
    answer_channel_marks();
    record_lost();
}

// What the kernel may do at all. Renewing it is the write lease: only in a ring that is known to have quorum.
void Log::tell_state() {
    if (!channel_.on || !live_luid_ || phase_ == Phase::detached) return;
    const TimeMs now = host_.now();
    const bool renews = phase_ == Phase::active && host_.quorate();
    const TimeMs until = renews ? now + write_lease_ms() : channel_.lease_until;
    uint32_t state = phase_ == Phase::active && now < until ? CLOG_STATE_ACTIVE : 0;
    if (!host_.settled()) state |= CLOG_STATE_PRIMARY_ONLY;
    if (log_failed_) state |= CLOG_STATE_LOG_FAILED;
    for (const auto& [node, m] : state_.members)
        if (m.status == Member::lost_unread || m.status == Member::absent_unread) state |= CLOG_STATE_PRIMARY_ONLY;
    if (state == channel_.told_state && !(renews && now >= channel_.renew_at)) return;
    channel_.told_state = state;
    channel_.renew_at = now + write_lease_ms() / 4;
    channel_.lease_until = until;
    host_.emit(out::Tell{static_cast<uint32_t>(live_luid_), CLOG_STATE, {}, state, static_cast<uint32_t>(until - std::min(now, until))});
}

}  // namespace clogd
