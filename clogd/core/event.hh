// SPDX-License-Identifier: GPL-2.0-or-later
// What the core is told (events) and what it asks for (output). All of it is plain data; clogd/io and tests/sim both speak it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "clogd/core/leg_disk.hh"
#include "clogd/core/range_set.hh"
#include "proto/ulog.hh"
#include "proto/wire.hh"

namespace clogd {

using proto::Bytes;
using TimeMs = uint64_t;  // of a clock that never goes back; its zero is arbitrary

namespace ev {
struct Call {  // the kernel asks
    proto::ulog::Call call;
};
struct Deliver {  // one message of the ordered group, own ones too
    NodeId sender = 0;
    Bytes frame;
};
struct Process {
    NodeId node = 0;
    uint32_t pid = 0;
    bool operator==(const Process&) const = default;
};
struct Membership {  // CPG configuration change
    std::vector<Process> members;
    std::vector<NodeId> left;
};
struct Ring {  // totem configuration change: the machines that are up
    uint64_t seq = 0;
    NodeId rep = 0;
    std::vector<NodeId> nodes;
};
struct Quorum {
    uint64_t ring_seq = 0;
    NodeId ring_rep = 0;
    bool quorate = false;
    bool halves = false;  // half of the votes are enough: those who are out of sight may have quorum, too
};
struct Nodelist {  // every node that Corosync is configured with
    std::vector<NodeId> nodes;
};
struct Disconnected {};  // Corosync is gone; Membership and Ring follow when it is back
struct FoundLive {       // at start: the kernel already runs a mirror with this log
    std::string uuid;
    std::string ctr;         // as the kernel would send it with CTR
    proto::AgreedLegs legs;  // as the kernel knows them
};
struct ScanDone {};  // every FoundLive was told; before it the node says nothing to the others
struct DiskOpened {
    std::string uuid;
    uint64_t bytes = 0;  // 0: failed
    std::string device;  // "major:minor"
    std::string error;
};
struct DiskDone {
    std::string uuid;
    uint64_t op = 0;
    bool ok = false;
    Bytes data;  // of a read
    std::string error;
};
struct LegsFlushed {
    std::string uuid;
    bool ok = false;
};
struct Legs {  // what the mirror above the log looks like here
    std::string uuid;
    uint32_t count = 0;  // 0: no mirror found
    bool handle_errors = false;
    std::string error;
};
struct LegDisks {  // the answer to LookAtLegs; both empty if it cannot be told
    std::string uuid;
    std::vector<LegDisk> was, is;  // when the log was last in use here, in this boot; by the table that is live
    bool handle_errors = false;    // its kernel keeps what it cannot mark, and gives it back
};
struct Copied {
    std::string uuid;
    std::vector<Range> done;
    std::vector<Range> failed;
    std::string error;
    int failed_leg = -1;
};
struct CopyIdle {  // after CopyCancel: no copy is in flight any more
    std::string uuid;
};
struct Drained {  // a suspend and resume of the mirror, asked for by Drain, has ended
    std::string uuid;
    bool ok = false;
    std::string error;
};
struct Regions {  // by the channel (proto/channel.h)
    enum What { mark, clear, want, lost, held, held_end };
    uint64_t luid = 0;
    std::string uuid;
    What what{};
    std::vector<Range> ranges;
};
struct KernelLegs {  // by the channel: what the kernel or its administrator says of the legs (bits), or which epoch it follows
    enum What { failed, forced, restore, follows, paused };
    uint64_t luid = 0;
    std::string uuid;
    What what{};
    uint16_t legs = 0;
    uint32_t epoch = 0;  // of follows; of paused: the serial, and `legs` is 1 if something was seen
};
struct Repair {  // by the channel: the region is in sync, and cannot be read from these legs (bits), though from another
    std::string uuid;
    Region region = 0;
    uint16_t bad = 0;
};
struct Probed {
    std::string uuid;
    uint8_t leg = 0;
    bool ok = false;
};
struct Rate {  // the administrator bounds copying, by all nodes together; 0: as fast as it goes
    std::string uuid;
    uint64_t kib_per_s = 0;
};
struct Foreground {  // does somebody use this node's mirror?
    std::string uuid;
    bool on = false;
};
struct Groups {  // by the channel: of a log of groups
    std::string uuid;
    proto::wire::GroupVoice voice;
};
struct Switched {  // by the channel: what was granted in this turn has ended
    std::string uuid;
    uint32_t turn = 0;
    uint8_t how = 0;  // CLOG_SWITCH_ of proto/channel.h
};
struct Tick {};
struct FencedNode {
    NodeId node = 0;
};
}  // namespace ev

using Event = std::variant<ev::Call, ev::Deliver, ev::Membership, ev::Ring, ev::Quorum, ev::Disconnected, ev::FoundLive, ev::ScanDone, ev::DiskOpened, ev::DiskDone,
                           ev::LegsFlushed, ev::Legs, ev::Copied, ev::CopyIdle, ev::Drained, ev::Tick, ev::FencedNode, ev::Regions, ev::KernelLegs, ev::Probed, ev::Rate,
                           ev::Foreground, ev::Groups, ev::Switched, ev::Repair, ev::Nodelist, ev::LegDisks>;

namespace out {
struct Send {
    Bytes frame;
};
struct Answer {
    proto::ulog::Reply reply;
};
struct OpenDisk {
    std::string uuid;
    std::string device;  // path or major:minor
};
struct Close {  // the log device and the legs
    std::string uuid;
};
struct DiskRead {
    std::string uuid;
    uint64_t op = 0;
    uint64_t offset = 0;
    uint32_t length = 0;
};
struct DiskWrite {  // done only when it is durable and reads back as written
    std::string uuid;
    uint64_t op = 0;
    uint64_t offset = 0;
    Bytes data;
};
struct FlushLegs {  // make what the legs acknowledged durable
    std::string uuid;
    uint16_t legs = 0;  // bits; those that the mirror does not have are ignored
};
struct Probe {  // read a little of the leg
    std::string uuid;
    uint8_t leg = 0;
};
struct LookAtLegs {  // which disks are the legs?
    std::string uuid;
};
struct KeepLegs {  // those that were looked at last are in use from now on
    std::string uuid;
};
struct FindLegs {
    std::string uuid;
};
struct Copy {  // read these regions from one leg and write them to others, durably
    std::string uuid;
    uint32_t region_sectors = 0;
    uint64_t sectors = 0;
    std::vector<Range> ranges;
    uint8_t from = 0;
    uint16_t to = 0;         // bits; those that the mirror does not have are ignored
    std::vector<Range> any;  // regions of these in which each of them has all that was acknowledged: what `from` cannot read is read there, and rewritten
};
struct CopyUntil {  // from this moment of the core's clock on no piece of a copy is begun to be written, whatever becomes of this daemon
    std::string uuid;
    TimeMs until = 0;
};
struct CopyRate {  // what this node may copy from now on; 0: as fast as it goes
    std::string uuid;
    uint64_t bytes_per_s = 0;
    uint32_t one_in = 1;  // of its time, so that whoever uses a mirror comes first; 1: all of it
};
struct CopyFirst {
    std::string uuid;
    Region region = 0;
};
struct CopyCancel {
    std::string uuid;
};
struct Drain {  // suspend and resume the mirror: afterwards the kernel has no write in flight and no clean or dirty region in its hash
    std::string uuid;
    bool reload = false;  // put a copy of the table in its place: nothing of the hash is left
};
struct Suspend {  // the node may not write (no quorum)
    std::string uuid;
    bool for_good = false;  // its table is refused: until another one takes its place, whoever is clogd then
};
struct Resume {
    std::string uuid;
};
enum class Level : uint8_t { debug, info, notice, warning, error };
struct Scan {  // look for a running mirror with this log; FoundLive if there is one
    std::string uuid;
};
struct Tell {  // a frame of the channel to the kernel's log
    uint32_t log = 0;
    uint16_t type = 0;  // clog_frame_type
    std::vector<Range> ranges;
    uint32_t value = 0, serial = 0;
};
struct Rejoin {};  // leave the group and join it again; Disconnected comes first
struct Note {
    Level level{};
    std::string uuid;
    std::string text;
};
}  // namespace out

using Output =
    std::variant<out::Send, out::Answer, out::OpenDisk, out::Close, out::DiskRead, out::DiskWrite, out::FlushLegs, out::FindLegs, out::LookAtLegs, out::KeepLegs, out::Copy,
                 out::CopyFirst, out::CopyCancel, out::Drain, out::Suspend, out::Resume, out::Scan, out::Rejoin, out::Tell, out::Probe, out::CopyRate, out::CopyUntil, out::Note>;

// Bugs that the simulator plants to show that it finds them. Always none outside tests/sim.
enum class Planted : uint8_t {
    none,
    drop_dead_marks,         // a lost node's marks are thrown away
    lease_outlives_holder,   // a lost node's lease stays, its regions count as copied
    partial_transfer,        // a joiner takes the state without the leases and unsynced regions of the last chunk
    mark_before_durable,     // FLUSH is answered while the page is still being written
    ignore_quorum,           // a node without quorum goes on
    unmark_while_writing,    // an idle sweep drops marks that the kernel still uses
    in_sync_while_copying,   // IN_SYNC is answered 1 for a region that is being copied
    skip_busy_report,        // a node does not tell that its kernel still writes
    no_grace,                // a lost node's regions are handed out while it may still write
    forget_torn_on_restart,  // after a total crash only raw regions are read from the log disk
    early_full_count,        // the kernel is told that all is in sync before the log is in use
    forget_held,             // a restarted daemon does not hear which regions the kernel has in use
    long_lease,              // the write lease outlives the time that a lost node is given to stop
    mark_unsynced,           // a mark is given for a region that is to be copied
    unconfirmed_leg,         // a write that a leg missed ends before every node has left that leg
    forget_missed,           // a leg that returns is taken to be in sync
    primary_goes_unsynced,   // the primary is given up while regions are not in sync
    unmark_while_away,       // marks end while a leg is away, and what it missed is forgotten
    legs_not_on_disk,        // after a crash of everybody all legs are taken to be in use
    grant_twice,             // two nodes may switch an array at once
    switch_at_wish,          // an array is switched because one node wants it
    seen_primary_goes,       // the primary is given up though somebody has read what only it has
    copy_without_lease,      // whoever copies goes on when its lease has run out, or it is told to stop
    failed_before_heard,     // a write that a leg missed fails before every kernel knows that its region is not in sync
    halves_by_time,          // both halves of a cluster take the other for stopped after a while
    count_
};

struct Config {
    NodeId self = 0;
    uint64_t incarnation = 0;         // differs between runs of the daemon
    uint64_t boot = 0;                // differs between boots of the machine
    TimeMs idle_unmark_ms = 10000;    // a region unwritten for so long loses its mark, within an eighth more
    uint32_t mark_cap = 2048;         // sticky marks; beyond it the longest idle go first
    TimeMs dead_wait_ms = 1000;       // between losing sight of a node and copying what it had marked (fencing ends it early)
    uint32_t lease_bytes = 32 << 20;  // at most; down to an eighth towards the end
    TimeMs resume_hold_ms = 5000;     // a RESUME is answered by then, in use or not
    bool alone_core = false;          // a `core` log may mark without a second member
    bool leg_failure_any = false;     // a leg that fails for one node is given up by all
    Planted planted = Planted::none;
};

}  // namespace clogd
