// SPDX-License-Identifier: GPL-2.0-or-later
// A kernel with dm-log-cluster: what it is told, and when (proto/channel.h).
#include <gtest/gtest.h>

#include "proto/channel.h"
#include "tests/unit/core/group.hh"

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
        EXPECT_EQ(t.serial, 5000u);
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
            EXPECT_LT(t.serial, 1000u);
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

TEST(Channel, ARegionThatIsBeingCopiedIsMarkedWhenThatHasEnded) {
    Solo s;
    s.hold_copies = true;
    const Log& log = s.live_by_channel("131072 clustered-disk /dev/log 1024");
    s.heard(CLOG_SYNCED);
    s.tell(ev::Regions::mark, {{0, 1}});
    EXPECT_TRUE(s.heard(CLOG_MARKED).empty());  // it is being copied
    EXPECT_FALSE(log.marks().marked(0));
    s.release_copies();
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({0}).ranges());
}

TEST(Channel, ARegionThatNobodyCopiesIsWrittenBeforeItIsCopiedAndClosedLast) {
    Solo s;
    s.legs_ok = false;  // nobody can copy
    const Log& log = s.live_by_channel("131072 clustered-disk /dev/log 1024");
    s.tell(ev::Regions::mark, {{100, 1}});
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({100}).ranges());
    EXPECT_TRUE(log.state().members.at(1).busy.contains(100));  // I2
    EXPECT_TRUE(s.heard(CLOG_CLOSE).empty());
    s.legs_ok = true;
    s.pass(20000);
    EXPECT_EQ(log.state().unsynced_count(), 1u);  // all but this one
    EXPECT_EQ(s.heard(CLOG_CLOSE).ranges(), regions({100}).ranges());
    s.tell(ev::Regions::clear, {{100, 1}});
    s.pass(2000);
    EXPECT_EQ(log.state().unsynced_count(), 0u);
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

// Where a kernel still reads any leg, what the write has left on one could be seen, and then not any more.
TEST(Channel, AWriteThatALegMissedEndsWhenEveryKernelKnows) {
    Group g(2);
    g.by_channel = true;
    for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk /dev/log 1024 nosync");
    g.pass(1000);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    ASSERT_EQ(g.log(2).phase(), Phase::active);
    const auto was_told = [&](NodeId n, uint16_t type) {
        return std::any_of(g.node(n).told.begin(), g.node(n).told.end(), [&](const out::Tell& t) { return t.type == type && RangeSet(t.ranges).contains(7); });
    };
    for (NodeId n : {1u, 2u}) g.node(n).told.clear();
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::mark, {{7, 1}}});
    g.held = {2};
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::lost, {{7, 1}}});
    g.pass(200);
    EXPECT_TRUE(was_told(2, CLOG_UNSYNCED));
    EXPECT_FALSE(was_told(1, CLOG_TOLD));  // node 2 has not said so yet
    g.held.clear();
    g.run();
    EXPECT_TRUE(was_told(1, CLOG_TOLD));
}

// What is recorded already is not asked for once more: the answer to that would never come, and a later write there would wait for it.
TEST(Channel, AWriteThatALegMissedWhereAnotherDidIsToldAtOnce) {
    Solo s;
    s.live_by_channel();
    s.tell(ev::Regions::mark, {{7, 1}});
    s.tell(ev::Regions::lost, {{7, 1}});
    s.pass(100);
    EXPECT_EQ(s.heard(CLOG_TOLD).ranges(), regions({7}).ranges());
    s.told.clear();
    const uint64_t sends = s.sends;
    s.tell(ev::Regions::lost, {{7, 1}});
    EXPECT_EQ(s.heard(CLOG_TOLD).ranges(), regions({7}).ranges());
    EXPECT_EQ(s.sends, sends);
}

TEST(Channel, ARestartedDaemonHearsWhatIsInUse) {
    Solo first;
    first.live_by_channel();
    first.tell(ev::Regions::mark, {{3, 1}, {8, 1}});
    Config c = Solo::defaults();
    Solo s(first.disk.size(), c);
    s.disk = first.disk;
    s.step(ev::FoundLive{"LVM-x", "131072 clustered-disk /dev/log 1024 nosync", {}});
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
    s.step(ev::Quorum{1, 1, true});
    s.pass(2000);
    EXPECT_EQ(last_state(s), CLOG_STATE_ACTIVE);
    EXPECT_EQ(s.heard(CLOG_MARKED).ranges(), regions({1}).ranges());
}
