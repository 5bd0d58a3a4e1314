// SPDX-License-Identifier: GPL-2.0-or-later
// Copying regions that are not in sync (I2): who may, what to take next, and where a kernel is still in the way.
//
// A region that is not in sync is refused to every kernel, so a kernel can be writing in it only if it was doing so when the
// region lost its sync. Each member reports those (`busy`) once per event, and takes them back as its kernel clears them. A
// lease is therefore granted at the point where it is ordered, without asking anybody.
#include <algorithm>

#include <fmt/format.h>

#include "clogd/core/log.hh"

namespace clogd {

namespace wire = proto::wire;
using out::Level;

namespace {
constexpr TimeMs kLeaseRetryMs = 50;
constexpr TimeMs kDrainAfterMs = 100;  // a busy region is left to the kernel's own clear for so long
constexpr TimeMs kTroubleMaxMs = 60000;
constexpr uint32_t kCopyOneIn = 4;  // of the time goes to copying, by all members together, while somebody uses the mirror
}  // namespace

uint32_t Log::lease_regions() const {
    uint64_t bytes = uint64_t{params_.region_sectors} * proto::kSectorBytes;
    // Small mirrors are cut finer, so that every node gets a share.
    uint64_t share = params_.sectors * proto::kSectorBytes / (4 * std::max<size_t>(1, state_.with(Member::active).size()));
    uint64_t want = std::min<uint64_t>(host_.config().lease_bytes, std::max<uint64_t>(share, 4 << 20));
    return static_cast<uint32_t>(std::max<uint64_t>(1, want / bytes));
}

RangeSet Log::my_kernel_regions() const {
    RangeSet out = tainted_;
    out.add(pass_);
    out.add(uncertain_);
    for (Region r : marks_.in_use()) out.add(r);
    return out;
}

void Log::unsync(const RangeSet& set, bool raw) {
    RangeSet regions = set;
    bool joined = raw ? state_.add_raw(set) : state_.add_torn(set);
    if (joined) {
        regions.add(state_.raw);
        regions.add(state_.torn);
    }
    ++state_.generation;
    Report report{regions, state_.with(Member::active)};
    if (!report.waiting.empty()) state_.reports[state_.generation] = std::move(report);
    if (state_.legs.degraded()) state_.missed.add(regions);
    tell_slot();
    if (phase_ == Phase::detaching) host_.send(uuid_, wire::BusyReport{state_.generation, {}});  // its kernel is drained
    if (phase_ != Phase::active) return;
    tell_unsynced();  // the report says so
    RangeSet mine = my_kernel_regions().intersect(regions);
    if (host_.config().planted == Planted::skip_busy_report) mine.clear();
    mine.coarsen(wire::kRangesPerMessage);
    my_busy_.add(mine);
    host_.send(uuid_, wire::BusyReport{state_.generation, mine.ranges()});
}

void Log::apply_lease(NodeId sender, const wire::Lease& l) {
    MemberState& m = state_.members[sender];
    for (const Range& r : l.done) {
        RangeSet held = m.lease.within(r);  // only what the sender truly holds
        state_.synced(held);
        m.lease.remove(held);
        m.failures = 0;
        if (phase_ == Phase::active) {
            wanted_.remove(r);
            asked_want_.remove(r);
        }
        if (held.empty()) continue;
        sync_unsynced_ = true;
    }
    for (const auto* list : {&l.failed, &l.given_up})
        for (const Range& r : *list) {
            m.lease.remove(r);
            asked_want_.remove(r);
        }
    if (!l.failed.empty()) {
        m.trouble = 1;
        if (m.failures < UINT8_MAX) ++m.failures;
    }
    RangeSet granted;
    if (!l.want.empty() && !m.trouble) granted = state_.grantable(RangeSet(l.want));
    m.lease.add(granted);
    if (sender != host_.config().self || phase_ != Phase::active) return;
    if (!l.want.empty()) lease_asked_ = false;
    // A cancel is under way, and with it this would be given up but copied. Or the message was so long under way that its lease has run out.
    if (!granted.empty() && (copy_busy_ || host_.now() >= lease_asked_at_ + write_lease_ms())) {
        RangeSet given(result_.given_up);
        given.add(granted);
        result_.given_up = given.ranges();
        lease_retry_ = host_.now() + kLeaseRetryMs;
    } else if (!granted.empty()) {
        ++counters_.leases;
        begin_copy(granted);
    } else if (!l.want.empty()) {
        lease_retry_ = host_.now() + kLeaseRetryMs;
    }
}

void Log::copy_until(TimeMs until) {
    if (host_.config().planted == Planted::copy_without_lease) until = UINT64_MAX;
    copy_until_ = until;
    host_.emit(out::CopyUntil{uuid_, until});
}

void Log::cancel_copies() {
    if (copying_.empty()) return;
    copy_busy_ = true;
    host_.emit(out::CopyCancel{uuid_});
}

// I4: a copy is written under the same lease as the kernel's writes. One that has run out is not renewed, for the others may have handed out
// what it was for: it is given back, and asked for again in the order of the group.
void Log::renew_copies() {
    if (copying_.empty() || copy_busy_) return;
    const TimeMs now = host_.now();
    if (now >= copy_until_) {
        cancel_copies();
    } else if (host_.quorate() && now >= copy_renew_at_) {
        copy_renew_at_ = now + write_lease_ms() / 4;
        copy_until(now + write_lease_ms());
    }
}

void Log::begin_copy(const RangeSet& granted) {
    // That the message came back shows that the group was whole when it was sent.
    copy_until(std::max(copying_.empty() ? TimeMs{0} : copy_until_, lease_asked_at_ + write_lease_ms()));
    copying_.add(granted);
    const LegState& l = state_.legs;
    const uint8_t from = l.count ? l.primary : uint8_t{0};
    const uint16_t to = static_cast<uint16_t>((l.count ? l.alive() : UINT16_MAX) & ~leg_bit(from));
    // A kernel that does not follow LegState may have written to the primary alone while nobody could copy.
    const RangeSet any = legs_agreed() ? granted.intersect(state_.torn) : RangeSet{};
    host_.emit(out::Copy{uuid_, params_.region_sectors, params_.sectors, granted.ranges(), from, to, any.ranges()});
    RangeSet first = granted.intersect(wanted_);
    for (const Range& r : first.ranges(16)) host_.emit(out::CopyFirst{uuid_, r.start});
}

// A request of our kernel's waits for r.
void Log::wanted(Region r) {
    if (asked_want_.contains(r) || phase_ != Phase::active) return;
    if (copying_.contains(r)) {
        host_.emit(out::CopyFirst{uuid_, r});
    } else if (state_.leased(r) || (self() && self()->trouble) || legs_ == 0) {
        host_.send(uuid_, wire::Want{{{r, 1}}});
    } else {
        wanted_.add(r);
        return;  // plan_copies() takes it
    }
    asked_want_.add(r);
}

namespace {
Region nth(const RangeSet& set, uint64_t n) {
    for (const Range& r : set.ranges()) {
        if (n < r.count) return r.start + static_cast<Region>(n);
        n -= r.count;
    }
    return 0;
}
}  // namespace

void Log::plan_copies() {
    if (phase_ != Phase::active || copy_busy_) return;
    MemberState* me = self();
    if (!me) return;
    if (state_.unsynced_count() == 0) {
        note_progress();
        return;
    }
    if (!legs_asked_) {
        legs_asked_ = true;
        host_.emit(out::FindLegs{uuid_});
    }
    wire::Lease l;
    const uint32_t chunk = lease_regions();
    const bool may_ask = legs_ > 0 && !me->trouble && !lease_asked_ && host_.now() >= lease_retry_ && copying_.count() <= lease_wish_ / 2;
    if (may_ask) {
        RangeSet wish = wanted_.empty() ? RangeSet{} : state_.grantable(wanted_);
        if (wish.empty()) {
            // Each node starts in its own part of what is left, so that they rarely ask for the same.
            RangeSet open = state_.grantable(RangeSet(std::vector<Range>{{0, params_.regions()}}));
            if (!open.empty()) {
                auto active = state_.with(Member::active);
                uint64_t rank = static_cast<uint64_t>(std::distance(active.begin(), active.find(host_.config().self)));
                RangeSet part;
                if (cursor_ < params_.regions() && !copying_.empty()) part = open.within({cursor_, params_.regions() - cursor_});
                if (part.empty()) {
                    cursor_ = nth(open, rank * open.count() / active.size());
                    part = open.within({cursor_, params_.regions() - cursor_});
                }
                // Smaller ones at the end, so that no node is left alone with the last of them.
                lease_wish_ = static_cast<uint32_t>(std::clamp<uint64_t>(open.count() / (active.size() + 1), std::max(1u, chunk / 8), chunk));
                uint32_t left = lease_wish_;
                for (const Range& r : part.ranges(64)) {
                    if (left == 0) break;
                    uint32_t take = std::min(left, r.count);
                    wish.add(Range{r.start, take});
                    left -= take;
                    cursor_ = r.start + take;
                }
            }
        }
        if (wish.range_count() > wire::kRangesPerMessage) wish = RangeSet(wish.ranges(wire::kRangesPerMessage));
        l.want = wish.ranges();
    }
    // Results travel with the next wish; alone only when somebody waits for them, or nothing was left to wish for.
    const bool waits = !held_.empty() || wanted_.count() > 0 || (copying_.empty() && !lease_asked_);
    const bool results = !result_.done.empty() || !result_.failed.empty() || !result_.given_up.empty();
    if (l.want.empty() && !(results && waits)) return;
    auto take = [](std::vector<Range>& list) {  // what does not fit travels with the next
        auto end = list.begin() + static_cast<ptrdiff_t>(std::min<size_t>(list.size(), wire::kRangesPerMessage));
        std::vector<Range> out(list.begin(), end);
        list.erase(list.begin(), end);
        return out;
    };
    l.done = take(result_.done);
    l.failed = take(result_.failed);
    l.given_up = take(result_.given_up);
    if (!l.want.empty()) lease_asked_ = true, lease_asked_at_ = host_.now();
    host_.send(uuid_, std::move(l));
}

// Every active member copies, so each has an equal share.
void Log::serve_rate() {
    if (rate_wish_) host_.send(uuid_, wire::Rate{*rate_wish_});
    rate_wish_.reset();
    std::erase_if(users_, [&](NodeId n) {
        auto m = state_.members.find(n);
        return m == state_.members.end() || m->second.status != Member::active;
    });
    const bool known = users_.contains(host_.config().self);
    if (used_ != known && used_told_ != used_ && state_.unsynced_count()) {
        used_told_ = used_;  // until it has come back to this node
        host_.send(uuid_, wire::Foreground{used_});
    }
    const uint64_t copiers = state_.rate_kib || !users_.empty() ? state_.with(Member::active).size() : 0;  // counted only where it matters: this runs after every event
    const uint64_t share = state_.rate_kib ? std::max<uint64_t>(1, state_.rate_kib * 1024 / copiers) : 0;
    const auto one_in = users_.empty() ? 1u : static_cast<uint32_t>(kCopyOneIn * copiers);
    if (copier_told_ == std::pair{share, one_in}) return;
    copier_told_ = {share, one_in};
    host_.emit(out::CopyRate{uuid_, share, one_in});
}

std::string Log::debug() const {
    return fmt::format(
        "legs {} copying {} copy_busy {} lease_asked {} wanted {} result {}/{}/{} my_busy {} pass {} tainted {} busy_asked {} draining {} suspended {} marks {} used {} core "
        "{}/{}/{} seq {}/{} repairs {}",
        legs_, copying_.count(), copy_busy_, lease_asked_, wanted_.count(), result_.done.size(), result_.failed.size(), result_.given_up.size(), my_busy_.count(), pass_.count(),
        tainted_.count(), busy_asked_.count(), draining_, suspended_, marks_.size(), marks_.used_count(), core_pending_.count(), core_sent_.count(), core_held_.count(), core_seq_,
        core_acked_, channel_.repairs.size());
}

void Log::note_progress() {
    wanted_.clear();
    asked_want_.clear();
}

void Log::copied(const ev::Copied& e) {
    RangeSet done(e.done), failed(e.failed);
    done = done.intersect(copying_);
    failed = failed.intersect(copying_);
    copying_.remove(done);
    copying_.remove(failed);
    if (phase_ != Phase::active) return;
    counters_.regions_copied += done.count();
    RangeSet all(result_.done);
    all.add(done);
    result_.done = all.ranges();
    if (!failed.empty()) {
        if (e.failed_leg >= 0 && legs_agreed() && e.failed_leg < state_.legs.count) my_legs_.failed |= static_cast<uint16_t>(1u << e.failed_leg);
        RangeSet bad(result_.failed);
        bad.add(failed);
        result_.failed = bad.ranges();
        trouble_ = fmt::format("copying failed: {}", e.error);
        note(Level::error, fmt::format("{}; other nodes may still be able to, this one tries again in {} s", trouble_, trouble_backoff_ / 1000));
        trouble_until_ = host_.now() + trouble_backoff_;
        trouble_backoff_ = std::min(trouble_backoff_ * 2, kTroubleMaxMs);
        cancel_copies();  // what has not been tried is free for others
    } else if (!done.empty() && trouble_until_ == 0) {
        trouble_backoff_ = 5000;
    }
}

void Log::copy_idle() {
    copy_busy_ = false;
    if (phase_ == Phase::active) {
        RangeSet rest = copying_;
        copying_.clear();
        RangeSet given(result_.given_up);
        given.add(rest);
        result_.given_up = given.ranges();
        return;
    }
    copying_.clear();
    if (phase_ == Phase::waiting && !log_failed_) send_attach();
}

void Log::legs(const ev::Legs& e) {
    legs_ = e.count;
    handle_errors_ = e.handle_errors;
    if (phase_ != Phase::active) return;
    if (e.count == 0) {
        if (state_.unsynced_count()) note(Level::warning, fmt::format("this node cannot copy regions: {}", e.error));
        trouble_ = e.error;
        trouble_until_ = host_.now() + trouble_backoff_;
        if (self() && !self()->trouble) host_.send(uuid_, wire::Trouble{1});
    }
}

// ---- busy regions ----------------------------------------------------------------------------------------------------------

void Log::set_busy(const RangeSet& add, const RangeSet& drop) {
    if (add.empty() && drop.empty()) return;
    my_busy_.remove(drop);
    my_busy_.add(add);
    busy_asked_.add(add);
    std::vector<Range> adds = add.ranges(), drops = drop.ranges();
    for (size_t at = 0; at < std::max(adds.size(), drops.size()); at += wire::kRangesPerMessage) {
        auto piece = [at](const std::vector<Range>& list) {
            size_t from = std::min(at, list.size()), to = std::min(at + wire::kRangesPerMessage, list.size());
            return std::vector<Range>(list.begin() + static_cast<ptrdiff_t>(from), list.begin() + static_cast<ptrdiff_t>(to));
        };
        host_.send(uuid_, wire::BusyChange{piece(adds), piece(drops)});
    }
}

// While our kernel is in the way of a copy, its worker must not be blocked: what it waits for may wait for it (two nodes, each
// blocked on a region in which the other one still writes). Torn regions may then be written before they are copied, on all legs
// and marked. Raw ones never are, and nobody is in the way of their copies.
bool Log::pass_mode() const {
    if (my_busy_.empty() || channel_.on) return false;  // a kernel that is told to close a region is never in the way for long
    RangeSet blocked = my_busy_.intersect(state_.torn);
    blocked.remove(tainted_);
    return !blocked.empty();
}

// A region that is written without pause is never cleared; only a suspend of the mirror makes the kernel let go of it.
void Log::drain_if_stuck() {
    if (phase_ != Phase::active || draining_ || channel_.on || (host_.halves() && state_.unseen_grants())) return;
    RangeSet stuck = my_busy_;
    const bool heal = !tainted_.empty() && !trouble_sticky_ && !state_.halted() && !(self() && self()->trouble);
    if (!heal) stuck.remove(tainted_);
    bool blocks = !stuck.intersect(state_.torn).empty() || !stuck.intersect(state_.raw).empty();
    bool tidy = !uncertain_.empty();
    if (!blocks && !tidy) {
        drain_after_ = 0;
        return;
    }
    if (drain_after_ == 0) drain_after_ = host_.now() + kDrainAfterMs;
    if (blocks) drain_after_ = std::min(drain_after_, host_.now() + kDrainAfterMs);
    if (host_.now() < drain_after_) return;
    draining_ = true;
    drain_started_ = host_.now();
    ++counters_.drains;
    host_.emit(out::Drain{uuid_, heal || inherited_});
}

void Log::drained(const ev::Drained& e) {
    draining_ = false;
    suspended_ = suspended_ && phase_ != Phase::active;
    drain_after_ = host_.now() + (e.ok ? kDrainAfterMs : 1000);
    if (!e.ok && phase_ == Phase::active) note(Level::warning, fmt::format("could not drain the mirror's writes: {}", e.error));
}

}  // namespace clogd
