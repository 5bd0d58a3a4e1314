// SPDX-License-Identifier: GPL-2.0-or-later
// Messages between clogd daemons, carried by one ordered CPG group for all logs.
//
// A frame is: magic, version of the writer, lowest version that may read it, type, view, uuid of the log (empty: the cluster's
// own), body, CRC-32C. A reader takes any frame whose `readable_by` is not above its own version and ignores bytes behind the
// fields that it knows, so a cluster of versions N and N+1 works: N+1 appends fields and keeps `readable_by` at N.
//
// Every message but Hello counts only if it is delivered in the settled view in which it was sent (clogd/core/cluster.hh).
#pragma once

#include <optional>
#include <variant>

#include "proto/bytes.hh"
#include "proto/region.hh"

namespace proto::wire {

inline constexpr uint32_t kMagic = 0x676f6c63;  // "clog"
inline constexpr uint16_t kVersion = 3;
inline constexpr uint16_t kRepairSince = 2;   // version that knows Repair,
inline constexpr uint16_t kUnseenSince = 2;   // and LegVote::unseen,
inline constexpr uint16_t kTurnsSince = 2;    // and lets nobody switch an array while a lost node may, nor forgets a newer wish with a turn
inline constexpr uint16_t kApartSince = 3;    // and DeadMarks::epoch and leg_epoch,
inline constexpr uint16_t kSlotsSince = 3;    // and that the number of slots is part of the state,
inline constexpr uint16_t kInvitedSince = 3;  // and takes no Ready of a state that nobody has any more,
inline constexpr uint16_t kRebootSince = 3;   // nor a node for the one that was there before its machine was booted, nor waits for that one's report
inline constexpr uint16_t kReadableBy = 1;
inline constexpr uint32_t kChunkBytes = 48 << 10;    // of a state transfer; leaves room for the frame below kMaxMessageBytes
inline constexpr uint32_t kRangesPerMessage = 2000;  // of each list: four lists of 8-byte ranges fit into a message

// Names one membership: the totem ring and the daemons in it.
struct ViewId {
    uint64_t ring_seq = 0;
    NodeId ring_rep = 0;
    uint64_t members_hash = 0;
    bool operator==(const ViewId&) const = default;
    template <class A>
    void fields(A& a) {
        a(ring_seq), a(ring_rep), a(members_hash);
    }
};

// What the nodes that share a mirror must agree on before they may share it.
struct Params {
    uint32_t region_sectors = 0;
    uint64_t sectors = 0;
    uint8_t has_disk = 0;   // clustered-disk or clustered-core
    uint8_t sync_mode = 0;  // SyncMode; kGroups: a log of groups of paths, which has no regions
    bool operator==(const Params&) const = default;
    bool groups() const;
    uint32_t regions() const { return region_sectors ? static_cast<uint32_t>((sectors + region_sectors - 1) / region_sectors) : 0; }
    template <class A>
    void fields(A& a) {
        a(region_sectors), a(sectors), a(has_disk), a(sync_mode);
    }
};
enum SyncMode : uint8_t { kSyncDefault = 0, kForceSync = 1, kNoSync = 2, kGroups = 3 };
inline bool Params::groups() const { return sync_mode == kGroups; }

// alone: forms the first state or writes the last one; nobody else may touch the log disk meanwhile.
enum class Standing : uint8_t { joining = 0, active = 1, frozen = 2, alone = 3 };

// One log, as its holder tells the others at the start of a view.
struct LogStanding {
    std::string uuid;
    Standing standing{};
    uint64_t epoch = 0;
    uint64_t applied = 0;  // messages applied so far
    uint64_t chain = 0;    // hash over them: equal chains mean equal states
    AgreedLegs legs;       // as its state, or else its kernel, knows them
    template <class A>
    void fields(A& a) {
        a(uuid), a(standing), a(epoch), a(applied), a(chain), a(legs);
    }
};

struct Hello {
    uint16_t version = kVersion;
    uint64_t incarnation = 0;
    uint8_t part = 0;  // a long list is sent in parts
    uint8_t parts = 1;
    std::vector<LogStanding> logs;
    uint64_t boot = 0;          // names the node's boot; 0: not known
    uint8_t losses = 1;         // memberships in which it has seen somebody go since its last settled view
    uint32_t dead_wait_ms = 0;  // how long it waits for a lost node to stop; 0: not known
    uint8_t halves = 0;         // its Corosync lets half of the votes have quorum
    template <class A>
    void fields(A& a) {
        a(version), a(incarnation), a(part), a(parts), a(logs);
        later_field(a, boot);
        later_field(a, losses);
        later_field(a, dead_wait_ms);
        later_field(a, halves);
    }
};

// A node wants to share the log. `kept`: its kernel has been writing under this log without a break (clogd was restarted, or
// the node was cut off); `busy` are the regions in which that kernel may still write.
struct Attach {
    uint64_t transfer = 0;  // names this attempt; the same again asks to go on from chunk `have`
    uint32_t have = 0;
    Params params;
    uint8_t kept = 0;
    uint64_t state_epoch = 0;  // core logs: the epoch of the state this node still has, 0: none
    std::vector<Range> busy;
    uint64_t boot = 0;  // names the node's boot: `kept` counts within one
    uint8_t legs = 0;   // of its table; 0: its kernel cannot be told which legs are in use
    template <class A>
    void fields(A& a) {
        a(transfer), a(have), a(params), a(kept), a(state_epoch), a(busy), a(boot), a(legs);
    }
};
struct Refuse {  // the answer to an Attach whose table differs
    NodeId node = 0;
    std::string reason;
    template <class A>
    void fields(A& a) {
        a(node), a(reason);
    }
};
// A piece of the state as it was when the Attach was delivered. node 0: the state of a log that nobody had active.
struct Chunk {
    NodeId node = 0;
    uint64_t transfer = 0;
    uint32_t index = 0;
    uint32_t count = 0;
    Bytes bytes;
    template <class A>
    void fields(A& a) {
        a(node), a(transfer), a(index), a(count), a(bytes);
    }
};
struct Ready {  // the joiner has the state and its slot is on disk
    template <class A>
    void fields(A&) {}
};
struct Detach {
    template <class A>
    void fields(A&) {}
};
struct Folded {  // the last node has written the MiRr form
    template <class A>
    void fields(A&) {}
};
// What a lost or absent node's slot (or, for a core log, the others' memory) says it had marked.
struct DeadMarks {
    NodeId node = 0;
    uint8_t final = 0;    // the node can no longer write: after this it is forgotten
    uint8_t absent = 0;   // the node is up without its daemon: its marks are busy, not unsynced
    uint8_t trusted = 1;  // 0: the slot could not be read; everything may differ
    std::vector<Range> marks;
    uint64_t epoch = 0;      // of its slot: it may have gone on out of sight, in a half of its own
    uint32_t leg_epoch = 0;  // if it says something else of the legs than the sender knows; 0: it does not
    template <class A>
    void fields(A& a) {
        a(node), a(final), a(absent), a(trusted), a(marks);
        later_field(a, epoch);
        later_field(a, leg_epoch);
    }
};
struct LegFailed {  // a write failed on a leg of the sender in these regions
    std::vector<Range> regions;
    uint8_t passing = 0;  // the sender's kernel lets go of them, and they may be copied
    template <class A>
    void fields(A& a) {
        a(regions), a(passing);
    }
};
struct BusyReport {  // the sender's kernel may still write here, of the regions that became unsynced in `generation`
    uint64_t generation = 0;
    std::vector<Range> busy;
    template <class A>
    void fields(A& a) {
        a(generation), a(busy);
    }
};
struct BusyChange {
    std::vector<Range> add;
    std::vector<Range> drop;
    template <class A>
    void fields(A& a) {
        a(add), a(drop);
    }
};
// Results of copying and the wish for more, in one message.
struct Lease {
    std::vector<Range> done;
    std::vector<Range> failed;
    std::vector<Range> given_up;
    std::vector<Range> want;
    template <class A>
    void fields(A& a) {
        a(done), a(failed), a(given_up), a(want);
    }
};
struct Want {  // somebody waits for these: copy them next
    std::vector<Range> regions;
    template <class A>
    void fields(A& a) {
        a(regions);
    }
};
struct Trouble {  // the sender cannot copy (a leg fails for it), or can again
    uint8_t on = 0;
    template <class A>
    void fields(A& a) {
        a(on);
    }
};
struct Mark {  // marks that no log disk holds
    uint64_t seq = 0;
    std::vector<Range> add;
    std::vector<Range> drop;
    template <class A>
    void fields(A& a) {
        a(seq), a(add), a(drop);
    }
};
struct MarkAck {
    NodeId node = 0;
    uint64_t seq = 0;
    template <class A>
    void fields(A& a) {
        a(node), a(seq);
    }
};
struct DigestPoint {
    template <class A>
    void fields(A&) {}
};
struct Digest {
    uint64_t point = 0;
    uint64_t hash = 0;
    template <class A>
    void fields(A& a) {
        a(point), a(hash);
    }
};
struct Diverged {
    template <class A>
    void fields(A&) {}
};
struct Fenced {  // an administrator or a fencing agent says that the node cannot write
    NodeId node = 0;
    template <class A>
    void fields(A& a) {
        a(node);
    }
};

// Which legs are in use (clogd/core/log_legs.cc). A leg is a number from 0, in the order of the table.
struct LegSuspect {  // the sender cannot use the leg
    uint8_t leg = 0;
    uint8_t any = 0;     // its word is enough: leg_failure=any
    uint8_t forced = 0;  // an administrator says so
    template <class A>
    void fields(A& a) {
        a(leg), a(any), a(forced);
    }
};
struct LegVote {
    uint8_t leg = 0;
    uint64_t round = 0;  // names the question
    uint8_t failed = 0;
    uint8_t unseen = 0;  // its kernel has not answered a read of what only this leg, the primary, may have, and does not until this is decided
    template <class A>
    void fields(A& a) {
        a(leg), a(round), a(failed);
        later_field(a, unseen);
    }
};
struct LegAck {  // the node's kernel reads and writes by this epoch, and its slot names it
    NodeId node = 0;
    uint32_t epoch = 0;
    uint8_t legs = 0;           // of the sender's table, if the others do not know yet (it follows no epoch then); else 0
    std::vector<Range> missed;  // where it may have written before without the legs that are joining
    template <class A>
    void fields(A& a) {
        a(node), a(epoch), a(legs), a(missed);
    }
};
struct LegReturn {  // these legs may be written again
    uint16_t legs = 0;
    template <class A>
    void fields(A& a) {
        a(legs);
    }
};
struct Missed {  // the sender is about to forget its marks here, which the legs that are away have missed
    std::vector<Range> regions;
    template <class A>
    void fields(A& a) {
        a(regions);
    }
};

// These legs (bits) cannot be read in these regions, though another can. If one of them is the primary, another leg becomes it, if that may
// be now; else the regions are to be copied.
struct Repair {
    std::vector<Range> regions;
    uint16_t bad = 0;
    template <class A>
    void fields(A& a) {
        a(regions), a(bad);
    }
};

struct Rate {                // the administrator bounds copying, by all nodes together
    uint64_t kib_per_s = 0;  // 0: as fast as it goes
    template <class A>
    void fields(A& a) {
        a(kib_per_s);
    }
};

struct Foreground {  // somebody uses the sender's mirror, or nobody any more: copying gives way
    uint8_t on = 0;
    template <class A>
    void fields(A& a) {
        a(on);
    }
};

// Of a log of groups (clogd/core/groups.hh).
struct GroupVoice {         // what the sender has to say
    uint32_t reach = 0;     // bits: groups of which it can use a path
    uint8_t wants = kNone;  // the group that the array should use
    uint16_t said = 0;      // counts, so that its kernel knows what was heard
    static constexpr uint8_t kNone = 63;
    bool operator==(const GroupVoice&) const = default;
    template <class A>
    void fields(A& a) {
        a(reach), a(wants), a(said);
    }
};
struct GroupSwitched {  // what was granted in this turn has ended
    uint32_t turn = 0;
    uint8_t how = 0;  // CLOG_SWITCH_ of proto/channel.h
    template <class A>
    void fields(A& a) {
        a(turn), a(how);
    }
};

// The order is the type number on the wire: append only.
using Body = std::variant<Hello, Attach, Refuse, Chunk, Ready, Detach, Folded, DeadMarks, LegFailed, BusyReport, BusyChange, Lease, Want, Trouble, Mark, MarkAck, DigestPoint,
                          Digest, Diverged, Fenced, LegSuspect, LegVote, LegAck, LegReturn, Missed, Rate, GroupVoice, GroupSwitched, Foreground, Repair>;

struct Message {
    ViewId view;
    std::string uuid;
    Body body;
};

inline Bytes encode(const Message& m) {
    Writer w;
    w(kMagic), w(kVersion), w(kReadableBy), w(static_cast<uint16_t>(m.body.index())), w(m.view), w(m.uuid);
    std::visit([&](const auto& body) { w(body); }, m.body);
    uint32_t crc = crc32c(w.bytes());
    w(crc);
    return w.take();
}

namespace detail {
template <size_t I = 0>
bool decode_body(size_t index, Reader& r, Body& body) {
    if constexpr (I < std::variant_size_v<Body>) {
        if (index != I) return decode_body<I + 1>(index, r, body);
        auto& item = body.emplace<I>();
        r(item);
        return r.ok();
    } else {
        return false;
    }
}
}  // namespace detail

inline std::optional<Message> decode(ByteView frame, std::string* why = nullptr) {
    auto refuse = [&](const char* text) -> std::optional<Message> {
        if (why) *why = text;
        return std::nullopt;
    };
    if (frame.size() > kMaxMessageBytes) return refuse("larger than a message may be");
    if (frame.size() < 16) return refuse("shorter than a frame");
    uint32_t crc = 0, magic = 0;
    uint16_t version = 0, readable_by = 0, type = 0;
    Reader tail(frame.last(4));
    tail(crc);
    Reader r(frame.first(frame.size() - 4));
    r(magic), r(version), r(readable_by), r(type);
    if (magic != kMagic) return refuse("not a clogd message");
    if (crc != crc32c(frame.first(frame.size() - 4))) return refuse("bad checksum");
    if (readable_by > kVersion) return refuse("written by a newer clogd that this one cannot follow: update it");
    Message m;
    r(m.view), r(m.uuid);
    if (m.uuid.size() > kMaxUuid) return refuse("uuid too long");
    if (!detail::decode_body(type, r, m.body)) return refuse("malformed body");
    return m;
}

}  // namespace proto::wire
