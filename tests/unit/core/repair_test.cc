// SPDX-License-Identifier: GPL-2.0-or-later
// What one leg cannot read is copied from one that can (clogd/core/log_repair.cc).
#include <gtest/gtest.h>

#include "tests/unit/core/group.hh"

using namespace test;

namespace {
constexpr const char* kDisk = "131072 clustered-disk /dev/log 1024 nosync";

struct Repair : Group {
    explicit Repair(const char* ctr = kDisk, NodeId nodes_count = 3, std::set<NodeId> older_nodes = {}) : Group(nodes_count, {}, std::move(older_nodes)) {
        for (NodeId n = 1; n <= nodes_count; ++n) {
            create(n, ctr, 2);
            pass(500);
        }
    }
    void ask_repair(NodeId n, Region region, uint8_t bad_leg) { step(n, ev::Repair{"LVM-x", region, static_cast<uint16_t>(1u << bad_leg)}); }
    const LogState& state(NodeId n = 1) { return log(n).state(); }
    bool taken(NodeId n, Region region) {
        return std::any_of(node(n).told.begin(), node(n).told.end(), [&](const out::Tell& t) { return t.type == CLOG_TAKEN && t.serial == region; });
    }
    // The legs that the region was copied from.
    std::vector<uint8_t> sources(Region region) {
        std::vector<uint8_t> out;
        for (const auto& [n, m] : nodes)
            for (const out::Copy& c : m->copies)
                if (RangeSet(c.ranges).contains(region)) out.push_back(c.from);
        return out;
    }
};
using Sources = std::vector<uint8_t>;
}  // namespace

TEST(Repair, ARegionIsCopiedFromThePrimary) {
    Repair g;
    g.ask_repair(2, 5, 1);
    g.pass(500);
    EXPECT_EQ(g.sources(5), Sources{0});
    EXPECT_TRUE(g.taken(2, 5));
    EXPECT_EQ(g.state().legs.primary, 0);
    EXPECT_EQ(g.state().unsynced_count(), 0u);
}

TEST(Repair, ThePrimaryMovesWhereItCannotBeRead) {
    Repair g;
    const uint32_t epoch = g.state().legs.epoch;
    g.ask_repair(2, 5, 0);
    g.pass(500);
    for (NodeId n = 1; n <= 3; ++n) EXPECT_EQ(g.state(n).legs.primary, 1);
    EXPECT_EQ(g.state().legs.epoch, epoch + 1);
    EXPECT_EQ(g.state().legs.away, 0);
    EXPECT_EQ(g.sources(5), Sources{1});
    EXPECT_TRUE(g.taken(2, 5));
    EXPECT_TRUE(g.node(1).noted("leg 0 cannot be read everywhere: the primary is leg 1"));
}

TEST(Repair, NothingLosesItsSyncBeforeEveryKernelFollows) {
    Repair g;
    g.deaf = {3};
    g.ask_repair(1, 5, 0);
    g.pass(5000);
    EXPECT_EQ(g.state().legs.primary, 1);
    EXPECT_FALSE(g.taken(1, 5));
    EXPECT_EQ(g.sources(5), Sources{});
    g.step(3, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::follows, 0, g.state(3).legs.epoch});
    g.pass(500);
    EXPECT_EQ(g.sources(5), Sources{1});
}

// Whatever the order in which their messages come, no region is copied from the leg that cannot be read there.
TEST(Repair, TwoNodesWantThePrimaryToGoTwoWays) {
    for (int first = 0; first < 8; ++first) {
        Repair g;
        g.held = {1, 2};
        g.ask_repair(1, 5, 0);
        g.ask_repair(2, 9, 1);
        for (int i = 0; i < 6; ++i) {  // who is heard in this step
            g.held = (first >> i % 3 & 1) ? std::set<NodeId>{2} : std::set<NodeId>{1};
            g.pass(50);
        }
        g.held.clear();
        g.pass(10000);
        const Sources of_5 = g.sources(5), of_9 = g.sources(9);
        EXPECT_EQ(of_5, Sources{1}) << first;
        EXPECT_EQ(of_9, Sources{0}) << first;
        EXPECT_TRUE(g.taken(1, 5) && g.taken(2, 9));
    }
}

TEST(Repair, ThePrimaryStaysWhileItHasTheOnlyCopy) {
    Repair g;
    g.copies_last = true;
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::lost, {{7, 1}}});
    g.pass(300);
    ASSERT_EQ(g.state().unsynced_count(), 1u);
    g.ask_repair(2, 5, 0);
    g.pass(5000);
    EXPECT_EQ(g.state().legs.primary, 0);
    EXPECT_FALSE(g.taken(2, 5));
    g.copies_last = false;
    for (auto& [n, m] : g.nodes)
        for (const out::Copy& c : m->copies) g.todo.emplace_back(n, ev::Copied{c.uuid, c.ranges, {}, {}});
    g.run();
    g.pass(5000);
    EXPECT_EQ(g.state().legs.primary, 1);
    EXPECT_EQ(g.sources(5), Sources{1});
}

TEST(Repair, ThePrimaryOfALogInMemoryStays) {
    Repair g("131072 clustered-core 1024 nosync");
    g.ask_repair(1, 5, 0);
    g.pass(500);
    EXPECT_TRUE(g.taken(1, 5));
    EXPECT_EQ(g.state().legs.primary, 0);
    EXPECT_EQ(g.sources(5), Sources{});
}

TEST(Repair, WaitsForAnOlderDaemonToGo) {
    Repair g(kDisk, 3, {3});
    g.ask_repair(1, 5, 1);
    g.pass(5000);
    EXPECT_FALSE(g.taken(1, 5));
    EXPECT_EQ(g.sources(5), Sources{});
}

TEST(Repair, TheDaemonHearsAsManyAsItHasRoomFor) {
    Repair g(kDisk, 1);
    g.copies_last = true;
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::lost, {{0, 1}}});  // so that none is seen to
    g.pass(300);
    for (Region r = 1; r <= 2 * proto::kMaxRepairs && r < 128; ++r) g.ask_repair(1, r, 0);
    g.ask_repair(1, 4000, 0);  // there is no such region
    g.copies_last = false;
    for (const out::Copy& c : std::vector(g.node(1).copies)) g.step(1, ev::Copied{c.uuid, c.ranges, {}, {}});
    g.pass(10000);
    EXPECT_TRUE(g.taken(1, 1));
    EXPECT_TRUE(g.taken(1, proto::kMaxRepairs));
    EXPECT_FALSE(g.taken(1, proto::kMaxRepairs + 1));
}

// Where a node died every leg has what was acknowledged; where a leg missed a write, or after the last one is gone, only the primary has.
TEST(Repair, ACopyMayReadAnyLegOnlyWhereEachHasWhatWasAcknowledged) {
    Solo before;
    before.by_channel(Request::ctr, Solo::text(kDisk));
    before.by_channel(Request::resume, {}, 2);
    before.pass(200);
    before.tell(ev::Regions::mark, {{3, 1}, {40, 2}});
    before.hold_copies = true;
    before.tell(ev::Regions::lost, {{90, 1}});
    before.pass(200);
    ASSERT_FALSE(before.copies.empty());
    EXPECT_TRUE(before.copies.back().any.empty());
    Config other_boot = Solo::defaults();
    other_boot.boot = 2;
    Solo after(1 << 20, other_boot);
    after.disk = before.disk;
    after.by_channel(Request::ctr, Solo::text(kDisk));
    after.by_channel(Request::resume, {}, 2);
    after.pass(2000);
    RangeSet all, any;
    for (const out::Copy& c : after.copies) all.add(c.ranges), any.add(c.any);
    EXPECT_EQ(all.ranges(), (std::vector<Range>{{3, 1}, {40, 2}, {90, 1}}));
    EXPECT_EQ(any.ranges(), (std::vector<Range>{{3, 1}, {40, 2}}));
}
