// SPDX-License-Identifier: GPL-2.0-or-later
// Words that every part shares: regions, nodes, and the limits that bound each table and message (invariant I6).
#pragma once

#include <cstdint>

namespace proto {

using NodeId = uint32_t;  // Corosync node id, never 0
using Region = uint32_t;  // index of a region; dm-log keeps region numbers below UINT_MAX

// Regions [start, start + count); count is at least 1 and start + count never wraps.
struct Range {
    Region start = 0;
    uint32_t count = 0;
    bool operator==(const Range&) const = default;
    uint64_t end() const { return uint64_t{start} + count; }
    template <class A>
    void fields(A& a) {
        a(start);
        a(count);
        if constexpr (A::reading)
            if (count == 0 || end() > UINT32_MAX) a.fail();
    }
};

// Which legs of a mirror are in use, as its nodes agreed last. A leg is a number from 0, in the order of the table.
struct AgreedLegs {
    uint32_t epoch = 0;
    uint8_t count = 0;  // 0: not known
    uint8_t primary = 0;
    uint16_t away = 0;  // bits: these have missed writes
    bool operator==(const AgreedLegs&) const = default;
    template <class A>
    void fields(A& a) {
        a(epoch), a(count), a(primary), a(away);
    }
};

inline constexpr uint32_t kSectorBytes = 512;
inline constexpr uint32_t kMaxNodes = 64;               // members of one log; also slots on a log disk
inline constexpr uint32_t kMaxLegs = 9;                 // legs of one mirror, as dm-kcopyd allows
inline constexpr uint32_t kMaxLogs = 1024;              // logs of one daemon
inline constexpr uint32_t kMaxUuid = 128;               // DM_UUID_LEN - 1
inline constexpr uint32_t kMaxMessageBytes = 64 << 10;  // one cluster message, header included
inline constexpr uint32_t kMaxUnsyncedRanges = 65536;   // beyond it neighbours are joined: more is copied, nothing is lost
inline constexpr uint32_t kMaxHeldRequests = 256;       // kernel requests of one log that wait for an answer
inline constexpr uint32_t kMaxRepairs = 64;             // regions of one log that its kernel asks to have rewritten; beyond it they are not heard
inline constexpr uint32_t kMaxJoinBacklog = 20000;      // messages a joiner keeps while its state arrives; beyond it asks anew

}  // namespace proto
