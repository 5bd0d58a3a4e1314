// SPDX-License-Identifier: GPL-2.0-or-later
// The replicated half of a log: what every active member holds alike, byte for byte.
//
// It changes only by messages and view changes, in the order in which the group delivers them, and never by anything that one
// node alone can see. That is what makes `encode()` equal on all members (I5) and a lease granted by one granted by all (I2).
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "clogd/core/groups.hh"
#include "clogd/core/range_set.hh"
#include "proto/logdisk.hh"
#include "proto/wire.hh"

namespace clogd {

using proto::Bytes;

enum class Member : uint8_t {
    joining,        // has attached, has not yet the state
    active,         // answers its kernel
    demoted,        // is up, lost its way (restart, divergence); its kernel may write; will attach again
    absent_unread,  // is up without its daemon; its slot is yet to be read
    absent,         // as above; its marks are known and busy
    lost_unread,    // out of sight; its slot is yet to be read
    lost,           // out of sight; first reading is in, it may still be writing
};

struct MemberState {
    Member status = Member::joining;
    uint16_t slot = 0;
    uint8_t no_grace = 0;  // a lost node that is known to be unable to write
    uint64_t join_epoch = 0;
    uint64_t boot = 0;  // of its machine; 0: not known
    RangeSet busy;      // its kernel may write here without asking
    RangeSet lease;     // it copies these
    RangeSet marks;     // that no log disk holds
    uint8_t legs = 0;   // of its table; 0: its kernel does not follow LegState
    uint64_t mark_seq = 0;
    uint8_t trouble = 0;   // it cannot copy for now
    uint8_t failures = 0;  // tries in a row that failed
    Voice voice;           // of a log of groups
};

constexpr uint16_t leg_bit(uint8_t leg) { return static_cast<uint16_t>(1u << leg); }

struct Suspect {  // a leg of which a member says that it cannot use it; the others are asked
    uint64_t round = 0;
    NodeId reporter = 0;
    uint8_t any = 0;
    std::map<NodeId, uint8_t> votes;  // 1: that member cannot use it either
};

// Which legs are in use (I3). Bits are legs, in the order of the table.
struct LegState {
    uint8_t count = 0;         // 0: not known; then all of them are in use and the first is the primary
    uint8_t primary = 0;       // regions that are not in sync are read from it alone
    uint16_t away = 0;         // neither read nor written
    uint16_t joining = 0;      // written, not yet read
    uint32_t epoch = 0;        // one more with each change
    std::set<NodeId> waiting;  // members whose kernels may not yet follow it
    std::map<uint8_t, Suspect> suspects;
    std::set<NodeId> unseen;   // members that have voted so about the primary
    uint8_t seen_by_gone = 0;  // who may have seen what the primary has alone cannot be asked any more

    uint16_t all() const { return static_cast<uint16_t>((1u << count) - 1); }
    uint16_t alive() const { return static_cast<uint16_t>(all() & ~(away | joining)); }
    uint16_t written() const { return static_cast<uint16_t>(all() & ~away); }
    bool degraded() const { return away || joining; }
};

// Two boots of a machine, as far as both are known (0: not known).
inline bool booted_between(uint64_t before, uint64_t now) { return before && now && before != now; }

struct Report {  // regions that became unsynced, and who has yet to say whether its kernel writes there
    RangeSet regions;
    std::set<NodeId> waiting;
};

struct LogState {
    proto::wire::Params params;
    uint64_t epoch = 0;
    uint64_t generation = 0;
    uint64_t applied = 0;
    uint64_t chain = 0;
    std::map<NodeId, MemberState> members;
    RangeSet raw;   // content on the first leg only: never copied yet, or a leg missed a write
    RangeSet torn;  // every leg has all that was acknowledged, but they may differ
    std::map<uint64_t, Report> reports;
    LegState legs;
    Groups groups;
    uint16_t slots = 0;                // on the log disk; 0: not known, a member is of an earlier version
    std::vector<uint64_t> leg_prints;  // of the disks that the state was formed with (leg_disk.hh), by place
    uint64_t rate_kib = 0;             // per second, of copying by all members together; 0: as fast as it goes
    RangeSet missed;                   // while a leg is away or joining: where it may be behind, as far as no member's marks say so

    bool unsynced(Region r) const { return torn.contains(r) || raw.contains(r); }
    uint64_t unsynced_count() const { return torn.count() + raw.count(); }

    // Regions must stand in one of the two sets only; raw wins.
    // True: the sets were joined to stay within their limit, so more than `set` has become unsynced.
    bool add_raw(const RangeSet& set) {
        raw.add(set);
        torn.remove(set);
        return bound();
    }
    bool add_torn(const RangeSet& set) {
        RangeSet fresh = set;
        fresh.remove(raw);
        torn.add(fresh);
        return bound();
    }
    // What a slot's raw page has to say: after a crash nobody knows the two apart.
    RangeSet raw_on_disk() const {
        RangeSet out = raw;
        out.add(missed);
        return out;
    }
    void synced(const RangeSet& set) {
        raw.remove(set);
        torn.remove(set);
    }

    std::set<NodeId> with(Member status) const {
        std::set<NodeId> out;
        for (const auto& [node, m] : members)
            if (m.status == status) out.insert(node);
        return out;
    }
    // The active member that acts for all (0: none): serves joiners, reads lost nodes' slots.
    NodeId coordinator() const {
        for (const auto& [node, m] : members)
            if (m.status == Member::active) return node;
        return 0;
    }
    // They lost their sync, and a member's kernel may not have heard of it: it may still read any leg there.
    RangeSet unheard() const {
        RangeSet out;
        for (const auto& [gen, report] : reports) out.add(report.regions);
        return out;
    }
    void wait_for_no_report_of(NodeId node) {
        for (auto& [gen, report] : reports) report.waiting.erase(node);
        std::erase_if(reports, [](const auto& r) { return r.second.waiting.empty(); });
    }
    // Somebody was lost, and what it was writing may be on the primary alone.
    bool primary_has_alone() const {
        return !torn.empty() ||
               std::any_of(members.begin(), members.end(), [](const auto& m) { return m.second.status == Member::lost_unread || m.second.status == Member::absent_unread; });
    }
    // Nobody may be given a lease while some node's writes are unknown (I2, I4).
    bool leases_open() const {
        for (const auto& [node, m] : members)
            if (m.status != Member::active && m.status != Member::joining && m.status != Member::absent) return false;
        return true;
    }
    // A node that was lost may act on what nobody else has seen it given: a lease to copy, so that nobody begins to write what is not in sync
    // (I2), or the turn to switch an array.
    bool unseen_grants() const {
        return std::any_of(members.begin(), members.end(), [](const auto& m) { return m.second.status == Member::lost || m.second.status == Member::lost_unread; });
    }
    bool leased(Region r) const {
        for (const auto& [node, m] : members)
            if (m.lease.contains(r)) return true;
        return false;
    }
    static constexpr uint8_t kFailuresToHalt = 3;
    // Every active member failed to copy, again and again: requests are answered as the stock target expects them on a failed mirror.
    bool halted() const {
        bool any = false;
        for (const auto& [node, m] : members) {
            if (m.status != Member::active) continue;
            if (!m.trouble || m.failures < kFailuresToHalt) return false;
            any = true;
        }
        return any;
    }
    // The part of `wish` that may be copied now: unsynced, not leased, nobody writes there, everybody has said so.
    RangeSet grantable(const RangeSet& wish) const {
        RangeSet out = wish.intersect(torn);
        out.add(wish.intersect(raw));
        if (!leases_open() || legs.joining) return {};  // a copy must end on the legs on which it began
        for (const auto& [node, m] : members) {
            out.remove(m.lease);
            out.remove(m.busy);
        }
        out.remove(unheard());
        return out;
    }

    template <class A>
    static void set_fields(A& a, RangeSet& set) {
        std::vector<Range> v;
        if constexpr (!A::reading) v = set.ranges();
        a(v);
        if constexpr (A::reading) set = RangeSet(v);
    }
    template <class A>
    void fields(A& a) {
        a(params), a(epoch), a(generation), a(applied), a(chain);
        set_fields(a, raw), set_fields(a, torn), set_fields(a, missed);
        leg_fields(a);
        a(rate_kib);
        a(groups.in_use), a(groups.target), a(groups.holder), a(groups.turn);
        uint32_t n = static_cast<uint32_t>(members.size());
        a(n);
        if constexpr (A::reading) {
            for (uint32_t i = 0; i < n && i < proto::kMaxNodes; ++i) {
                NodeId node = 0;
                a(node);
                member_fields(a, members[node]);
            }
        } else {
            for (auto& [node, m] : members) {
                NodeId id = node;
                a(id);
                member_fields(a, m);
            }
        }
        n = static_cast<uint32_t>(reports.size());
        a(n);
        if constexpr (A::reading) {
            for (uint32_t i = 0; i < n && a.ok(); ++i) {
                uint64_t gen = 0;
                a(gen);
                std::vector<NodeId> waiting;
                Report& r = reports[gen];
                set_fields(a, r.regions);
                a(waiting);
                r.waiting.insert(waiting.begin(), waiting.end());
            }
        } else {
            for (auto& [gen, r] : reports) {
                uint64_t g = gen;
                a(g);
                std::vector<NodeId> waiting(r.waiting.begin(), r.waiting.end());
                set_fields(a, r.regions);
                a(waiting);
            }
        }
        late_fields(a);
    }

    Bytes encode() const {
        proto::Writer w;
        const_cast<LogState*>(this)->fields(w);
        return w.take();
    }
    static std::optional<LogState> decode(proto::ByteView bytes) {
        LogState s;
        proto::Reader r(bytes);
        s.fields(r);
        if (!r.done()) return std::nullopt;
        return s;
    }
    uint64_t digest() const { return proto::fnv1a(encode()); }

  private:
    // What earlier versions do not know: only if there is any, which there is not while a member is of such a version.
    template <class A>
    void late_fields(A& a) {
        std::vector<NodeId> unseen(legs.unseen.begin(), legs.unseen.end());
        if constexpr (A::reading) {
            if (a.left() == 0) return;
            a(unseen), a(legs.seen_by_gone);
            legs.unseen = {unseen.begin(), unseen.end()};
            if (a.left() == 0) return;
            a(slots), a(leg_prints);
            if (slots > proto::kMaxNodes || leg_prints.size() > proto::kMaxLegs) a.fail();
        } else if (!unseen.empty() || legs.seen_by_gone || slots || !leg_prints.empty()) {
            a(unseen), a(legs.seen_by_gone);
            if (slots || !leg_prints.empty()) a(slots), a(leg_prints);
        }
    }
    template <class A>
    static void member_fields(A& a, MemberState& m) {
        a(m.status), a(m.slot), a(m.no_grace), a(m.join_epoch);
        set_fields(a, m.busy), set_fields(a, m.lease), set_fields(a, m.marks);
        a(m.mark_seq), a(m.trouble), a(m.failures), a(m.boot), a(m.legs);
        a(m.voice.said), a(m.voice.spoke);
    }
    template <class A>
    void leg_fields(A& a) {
        a(legs.count), a(legs.primary), a(legs.away), a(legs.joining), a(legs.epoch);
        std::vector<NodeId> waiting(legs.waiting.begin(), legs.waiting.end());
        a(waiting);
        if constexpr (A::reading) legs.waiting = {waiting.begin(), waiting.end()};
        uint8_t n = static_cast<uint8_t>(legs.suspects.size());
        a(n);
        if constexpr (A::reading) {
            if (legs.count > proto::kMaxLegs || legs.away & legs.joining || (legs.count && (legs.primary >= legs.count || !(legs.alive() >> legs.primary & 1)))) a.fail();
            for (uint8_t i = 0; i < n && a.ok(); ++i) {
                uint8_t leg = 0;
                a(leg);
                suspect_fields(a, legs.suspects[leg]);
            }
        } else {
            for (auto& [leg, suspect] : legs.suspects) {
                uint8_t id = leg;
                a(id);
                suspect_fields(a, suspect);
            }
        }
    }
    template <class A>
    static void suspect_fields(A& a, Suspect& s) {
        a(s.round), a(s.reporter), a(s.any);
        std::vector<NodeId> well, failed;
        for (const auto& [node, vote] : s.votes) (vote ? failed : well).push_back(node);
        a(well), a(failed);
        if constexpr (A::reading) {
            for (NodeId node : well) s.votes[node] = 0;
            for (NodeId node : failed) s.votes[node] = 1;
        }
    }
    bool bound() {
        bool joined = false;
        for (RangeSet* set : {&raw, &torn})
            if (set->range_count() > proto::kMaxUnsyncedRanges) {
                set->coarsen(proto::kMaxUnsyncedRanges / 2);
                joined = true;
            }
        if (joined) torn.remove(raw);
        if (missed.range_count() > proto::kMaxUnsyncedRanges) missed.coarsen(proto::kMaxUnsyncedRanges / 2);
        return joined;
    }
};

}  // namespace clogd
