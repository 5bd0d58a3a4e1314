// SPDX-License-Identifier: GPL-2.0-or-later
// A kernel with dm-log-cluster: what it is told, and when (proto/channel.h).
#include <gtest/gtest.h>

#include "proto/channel.h"
#include "tests/unit/core/solo.hh"

using namespace test;

namespace {
RangeSet regions(std::initializer_list<Region> list) {
    RangeSet out;
    for (Region r : list) out.add(r);
    return out;
}
uint32_t last_state(const Solo& s) {
    uint32_t value = 0;
    for (const auto& t : s.told)
        if (t.type == CLOG_STATE) value = t.value;
    return value;
}
}  // namespace

TEST(Channel, AKernelIsToldWhatIsInSyncAndThatItMayWrite) {
    Solo s;
    s.live_by_channel();
    EXPECT_EQ(s.heard(CLOG_SYNCED).count(), 128u);
    EXPECT_EQ(last_state(s), CLOG_STATE_ACTIVE);
    s.told.clear();
    s.pass(20000);  // the lease is renewed long before it ends
    size_t renewals = 0;
    for (const auto& t : s.told) {
        if (t.type != CLOG_STATE) continue;
        ++renewals;
        EXPECT_EQ(t.lease_ms, 5000u);
    }
    EXPECT_GE(renewals, 12u);
}

TEST(Channel, TheLeaseEndsBeforeOthersStopWaiting) {
    Config c = Solo::defaults();
    c.dead_wait_ms = 1000;
    Solo s(1 << 20, c);
    s.pass(1500);
    s.live_by_channel();
    s.pass(1500);
    ASSERT_FALSE(s.told.empty());
    for (const auto& t : s.told)
        if (t.type == CLOG_STATE) {
            EXPECT_LT(t.lease_ms, 1000u);
        }
}

TEST(Channel, AMarkIsToldWhenItIsDurable) {
    Solo s;
    s.live_by_channel();
    s.hold_writes = true;
    s.tell(ev::Regions::mark, {{5, 2}, {9, 1}});
    EXPECT_TRUE(s.heard(CLOG_MARKED).empty());  // I1
    s.release_writes();
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({5, 6, 9}).ranges());
    uint64_t writes = s.disk_writes;
    s.tell(ev::Regions::clear, {{5, 1}});
    s.tell(ev::Regions::mark, {{5, 1}});  // still warm here
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({5}).ranges());
    EXPECT_EQ(s.disk_writes, writes);
}

TEST(Channel, ARegionThatIsToBeCopiedIsRefusedAndToldWhenItIsCopied) {
    Solo s;
    s.hold_copies = true;
    const Log& log = s.live_by_channel("131072 clustered-disk /dev/log 1024");
    s.heard(CLOG_SYNCED);
    s.tell(ev::Regions::mark, {{100, 1}});
    EXPECT_EQ(s.heard(CLOG_REFUSED).ranges(), regions({100}).ranges());
    EXPECT_FALSE(log.marks().marked(100));
    s.tell(ev::Regions::want, {{100, 1}});
    s.release_copies();
    EXPECT_EQ(s.heard(CLOG_SYNCED).count(), 128u);
    s.tell(ev::Regions::mark, {{100, 1}});
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({100}).ranges());
}

TEST(Channel, AWriteThatALegMissedIsRecordedBeforeItIsTold) {
    Solo s;
    const Log& log = s.live_by_channel();
    s.tell(ev::Regions::mark, {{7, 1}});
    s.hold_writes = true;
    s.tell(ev::Regions::lost, {{7, 1}});
    EXPECT_TRUE(s.heard(CLOG_TOLD).empty());
    for (int i = 0; i < 5; ++i) s.release_writes();
    EXPECT_EQ(s.heard(CLOG_TOLD).ranges(), regions({7}).ranges());
    EXPECT_TRUE(log.state().raw.contains(7));
    EXPECT_EQ(s.heard(CLOG_UNSYNCED).ranges(), regions({7}).ranges());
}

TEST(Channel, ARestartedDaemonHearsWhatIsInUse) {
    Solo first;
    first.live_by_channel();
    first.tell(ev::Regions::mark, {{3, 1}, {8, 1}});
    Config c = Solo::defaults();
    Solo s(first.disk.size(), c);
    s.disk = first.disk;
    s.step(ev::FoundLive{"LVM-x", "131072 clustered-disk /dev/log 1024 nosync"});
    s.by_channel(Request::ctr, Solo::text("131072 clustered-disk /dev/log 1024 nosync"));
    s.by_channel(Request::resume);
    s.tell(ev::Regions::held, {{8, 1}});
    s.tell(ev::Regions::held_end, {});
    s.pass(500);
    const Log& log = *s.cluster.logs().at("LVM-x");
    ASSERT_EQ(log.phase(), Phase::active);
    EXPECT_TRUE(log.marks().used(8));
    EXPECT_FALSE(log.marks().used(3));
    EXPECT_EQ(last_state(s), CLOG_STATE_ACTIVE);
    EXPECT_EQ(log.state().unsynced_count(), 0u);
}

TEST(Channel, WithoutQuorumTheLeaseEnds) {
    Solo s;
    s.live_by_channel();
    s.step(ev::Quorum{1, 1, false});
    EXPECT_EQ(last_state(s) & CLOG_STATE_ACTIVE, 0u);
    s.tell(ev::Regions::mark, {{1, 1}});
    EXPECT_TRUE(s.heard(CLOG_MARKED).empty());
    EXPECT_TRUE(s.heard(CLOG_REFUSED).empty());
    s.step(ev::Quorum{1, 1, true});
    s.pass(2000);
    EXPECT_EQ(last_state(s), CLOG_STATE_ACTIVE);
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({1}).ranges());
}
