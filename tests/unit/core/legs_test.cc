// SPDX-License-Identifier: GPL-2.0-or-later
// Which legs are in use: agreed by the nodes (clogd/core/log_legs.cc).
#include <gtest/gtest.h>

#include "tests/unit/core/group.hh"

using namespace test;

namespace {
constexpr const char* kCtr = "131072 clustered-core 1024 nosync";

struct Legs : Group {
    explicit Legs(NodeId nodes_count = 3, uint8_t legs = 2) : Group(nodes_count) {
        for (NodeId n = 1; n <= nodes_count; ++n) create(n, kCtr, legs);
        pass(500);
    }
    void say(NodeId n, ev::KernelLegs::What what, uint8_t leg) { step(n, ev::KernelLegs{1, "LVM-x", what, static_cast<uint16_t>(1u << leg), 0}); }
    void mark(NodeId n, std::vector<Range> ranges) { step(n, ev::Regions{1, "LVM-x", ev::Regions::mark, std::move(ranges)}); }
    const LegState& legs(NodeId n) { return log(n).state().legs; }
    uint32_t told(NodeId n) {
        uint32_t value = 0;
        for (const auto& t : node(n).told)
            if (t.type == CLOG_LEGS) value = t.value;
        return value;
    }
    bool retried(NodeId n) {
        return std::any_of(node(n).told.begin(), node(n).told.end(), [](const out::Tell& t) { return t.type == CLOG_RETRY; });
    }
};
constexpr uint32_t value_of(uint32_t readable, uint32_t written, uint32_t primary, bool confirmed = true) {
    return readable | written << CLOG_LEGS_WRITTEN_SHIFT | primary << CLOG_LEGS_PRIMARY_SHIFT | (confirmed ? CLOG_LEGS_CONFIRMED : 0);
}
}  // namespace

TEST(Legs, EveryKernelIsToldAtTheStart) {
    Legs g;
    for (NodeId n = 1; n <= 3; ++n) EXPECT_EQ(g.told(n), value_of(3, 3, 0));
}

TEST(Legs, TheMajorityGivesALegUpForAll) {
    Legs g;
    g.bad_legs[2] = g.bad_legs[3] = {1};
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    for (NodeId n = 1; n <= 3; ++n) {
        EXPECT_EQ(g.legs(n).away, 2u);
        EXPECT_EQ(g.told(n), value_of(1, 1, 0));
    }
}

TEST(Legs, OneNodesLostPathCostsTheOthersNothing) {
    Legs g;
    g.bad_legs[1] = {1};
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    EXPECT_EQ(g.legs(2).away, 0u);
    EXPECT_TRUE(g.node(1).noted("only 1 of 3 nodes cannot use it"));
    EXPECT_FALSE(g.retried(1));
    g.bad_legs.clear();
    g.pass(5000);
    EXPECT_TRUE(g.retried(1));  // its path is well again
}

TEST(Legs, WithTheOtherPolicyOneNodeIsEnough) {
    Legs g;
    for (auto& [n, m] : g.nodes) m->cluster.config_mutable().leg_failure_any = true;
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    EXPECT_EQ(g.legs(3).away, 2u);
}

TEST(Legs, AnEpochIsConfirmedOnlyWhenEveryKernelFollowsIt) {
    Legs g;
    g.deaf = {3};
    g.bad_legs[2] = g.bad_legs[3] = {1};
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    EXPECT_EQ(g.told(1), value_of(1, 1, 0, false));
    g.step(3, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::follows, 0, g.legs(3).epoch});
    g.pass(200);
    EXPECT_EQ(g.told(1), value_of(1, 1, 0));
}

TEST(Legs, TheLastLegStays) {
    Legs g(1);
    g.bad_legs[1] = {0, 1};
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    g.say(1, ev::KernelLegs::failed, 0);
    g.pass(5000);
    EXPECT_EQ(g.legs(1).away, 2u);
    EXPECT_TRUE(g.node(1).noted("it is the last one"));
}

TEST(Legs, ALegThatReturnsIsCopiedWhereItMissedWrites) {
    Legs g;
    for (NodeId n = 1; n <= 3; ++n) g.bad_legs[n] = {1};
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    g.mark(1, {{7, 1}});
    g.mark(2, {{20, 2}});
    g.pass(200);
    g.bad_legs.clear();
    g.say(3, ev::KernelLegs::restore, 1);
    g.pass(100);
    for (NodeId n : {1, 2}) g.step(n, ev::Regions{1, "LVM-x", ev::Regions::clear, {{0, 128}}});
    g.pass(3000);
    RangeSet copied;
    for (auto& [n, m] : g.nodes)
        for (const out::Copy& c : m->copies) copied.add(c.ranges);
    EXPECT_EQ(copied.ranges(), (std::vector<Range>{{7, 1}, {20, 2}}));
    EXPECT_EQ(g.legs(1).away | g.legs(1).joining, 0);
    EXPECT_EQ(g.told(2), value_of(3, 3, 0));
    EXPECT_EQ(g.log(1).state().missed.count(), 0u);
}

TEST(Legs, MarksThatEndWhileALegIsAwayAreNotForgotten) {
    Legs g;
    for (NodeId n = 1; n <= 3; ++n) g.bad_legs[n] = {1};
    g.mark(1, {{7, 1}});
    g.say(1, ev::KernelLegs::failed, 1);
    g.pass(200);
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::clear, {{7, 1}}});
    g.pass(2 * Config{}.idle_unmark_ms);  // longer than a region stays marked
    EXPECT_EQ(g.log(1).marks().size(), 0u);
    EXPECT_TRUE(g.log(3).state().missed.contains(7));
}

// A log in memory: after a crash of everybody the first leg is all that is known.
TEST(Legs, ThePrimaryOfALogInMemoryStays) {
    Legs g;
    for (NodeId n = 1; n <= 3; ++n) g.bad_legs[n] = {0};
    g.say(1, ev::KernelLegs::failed, 0);
    g.pass(200);
    EXPECT_EQ(g.legs(2).away, 0u);
    EXPECT_TRUE(g.node(1).noted("the log is in memory"));
}

namespace {
// One node with a log disk.
struct Alone : Solo {
    Alone() {
        by_channel(Request::ctr, text("131072 clustered-disk /dev/log 1024 nosync"));
        open();
    }
    void open() {
        by_channel(Request::resume, {}, 2);
        pass(200);
    }
    void close() {
        by_channel(Request::postsuspend);
        pass(500);
    }
    void say(ev::KernelLegs::What what, uint16_t legs) {
        step(ev::KernelLegs{1, "LVM-x", what, legs, 0});
        pass(200);
    }
    const LogState& state() { return cluster.logs().at("LVM-x")->state(); }
};
}  // namespace

TEST(Legs, AloneANodeDecidesByItselfAndThePrimaryMoves) {
    Alone s;
    s.legs_readable = false;
    s.say(ev::KernelLegs::failed, 1);
    EXPECT_EQ(s.state().legs.away, 1u);
    EXPECT_EQ(s.state().legs.primary, 1u);
}

TEST(Legs, APrimaryThatHasTheOnlyCopyStays) {
    Alone s;
    s.hold_copies = true;
    s.tell(ev::Regions::mark, {{3, 1}});
    s.tell(ev::Regions::lost, {{3, 1}});
    s.pass(100);
    ASSERT_EQ(s.state().unsynced_count(), 1u);
    s.legs_readable = false;
    s.say(ev::KernelLegs::failed, 1);
    EXPECT_EQ(s.state().legs.away, 0u);
    EXPECT_TRUE(s.noted("it is the primary, and 1 region(s) are not in sync"));
}

TEST(Legs, AWriteThatTheLastLegMissedEndsToo) {
    Alone s;
    s.say(ev::KernelLegs::forced, 1);
    ASSERT_EQ(s.state().legs.away, 1u);
    s.tell(ev::Regions::mark, {{3, 1}});
    s.hold_writes = true;
    s.tell(ev::Regions::lost, {{3, 1}});
    EXPECT_TRUE(s.heard(CLOG_TOLD).empty());  // it is on no disk yet
    for (int i = 0; i < 5; ++i) s.release_writes();
    EXPECT_EQ(s.heard(CLOG_TOLD).ranges(), (std::vector<Range>{{3, 1}}));
    EXPECT_TRUE(s.state().missed.contains(3));
    EXPECT_EQ(s.state().unsynced_count(), 0u);  // nothing to copy it to
}

namespace {
// A node that opens the log of somebody else, all of whom are gone.
struct Heir : Solo {
    static Config of(NodeId self) {
        Config c = defaults();
        c.self = self;
        return c;
    }
    Heir(NodeId self, const Bytes& found) : Solo(found.size(), of(self)) { disk = found; }
    uint16_t away(const std::string& line) {
        by_channel(Request::ctr, text(line));
        by_channel(Request::resume, {}, 2);
        pass(200);
        const Log& log = *cluster.logs().at("LVM-x");
        return log.phase() == Phase::active ? log.state().legs.away : UINT16_MAX;
    }
};
}  // namespace

// Whoever opens the log writes over what told of the legs: at whatever sector that ends, the next one must know.
TEST(Legs, ACrashWhileTheLogIsOpenedForgetsNoLegThatIsAway) {
    constexpr const char* other_regions = "131072 clustered-disk /dev/log 2048 nosync";
    constexpr const char* longer = "132096 clustered-disk /dev/log 1024 nosync";
    constexpr const char* same = "131072 clustered-disk /dev/log 1024 nosync";
    Alone first;
    first.say(ev::KernelLegs::forced, 1);
    ASSERT_EQ(first.state().legs.away, 1u);
    first.disk.resize(proto::logdisk::layout(first.disk.size(), 128).slots_at + 3 * proto::logdisk::kSlotBytes);
    Bytes damaged = first.disk;
    damaged[proto::logdisk::layout(damaged.size(), 128).page_at(0, 2, 0) + 100] ^= 1;
    for (const Bytes& found : {first.disk, damaged})
        for (const char* line : {same, other_regions, longer})
            for (NodeId self : {1u, 6u}) {
                Heir second(self, found);
                size_t cuts = 0;
                second.cut_short = [&](const Bytes& cut) {
                    ++cuts;
                    EXPECT_EQ(Heir(7, cut).away(line), 1u) << line << ", node " << self << ", cut " << cuts;
                };
                EXPECT_EQ(second.away(line), 1u) << line << ", node " << self;
                EXPECT_GT(cuts, 20u);
            }
}

TEST(Legs, AMirrorThatIsClosedWithALegAwayRemembersIt) {
    Alone s;
    s.tell(ev::Regions::mark, {{3, 1}, {90, 2}});
    s.say(ev::KernelLegs::forced, 1);
    ASSERT_EQ(s.state().legs.primary, 1u);
    s.tell(ev::Regions::clear, {{0, 128}});
    s.close();
    EXPECT_TRUE(s.noted("keeps the cluster's format"));
    s.open();
    EXPECT_EQ(s.state().legs.away, 1u);
    EXPECT_EQ(s.state().legs.primary, 1u);
    EXPECT_EQ(s.state().missed.ranges(), (std::vector<Range>{{3, 1}, {90, 2}}));
    s.hold_copies = true;
    s.say(ev::KernelLegs::follows, 0);
    s.say(ev::KernelLegs::restore, 1);
    s.step(ev::KernelLegs{1, "LVM-x", ev::KernelLegs::follows, 0, s.state().legs.epoch});
    s.pass(500);
    EXPECT_EQ(s.state().raw.ranges(), (std::vector<Range>{{3, 1}, {90, 2}}));
    s.close();  // the good copy is on the second leg: the kernel's own form cannot say so
    s.open();
    EXPECT_EQ(s.state().legs.away, 0u);
    EXPECT_EQ(s.state().legs.primary, 1u);
    s.release_copies();
    s.pass(2000);
    EXPECT_EQ(s.state().unsynced_count(), 0u);
}

namespace {
// Node 3 is lost while it writes in region 7; then the primary fails.
struct LostWriter : Group {
    explicit LostWriter(NodeId count = 3, const std::vector<std::vector<NodeId>>& lost = {{3}}) : Group(count) {
        for (NodeId n = 1; n <= count; ++n) {
            create(n, "131072 clustered-disk /dev/log 1024 nosync", 2);
            pass(500);
        }
        for (auto& [n, m] : nodes) m->cluster.config_mutable().dead_wait_ms = 600000;  // nothing is copied
        step(3, ev::Regions{1, "LVM-x", ev::Regions::mark, {{7, 1}}});
        pass(200);
        for (const auto& nodes_lost : lost) vanish(nodes_lost);
        run();
        pass(500);
        bad_legs[1] = bad_legs[2] = {0};
    }
    void primary_fails() {
        step(1, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::failed, 1, 0});
        pass(5000);
    }
    const LogState& state() { return log(2).state(); }
    bool paused(NodeId n) {
        uint32_t serial = 0;
        for (const auto& t : node(n).told)
            if (t.type == CLOG_PAUSE) serial = t.serial;
        return serial != 0;
    }
};
}  // namespace

TEST(Legs, WhatALostNodeWasWritingGoesWithThePrimaryIfNobodyHasSeenIt) {
    LostWriter g;
    ASSERT_EQ(g.state().torn.ranges(), (std::vector<Range>{{7, 1}}));
    g.primary_fails();
    EXPECT_EQ(g.state().legs.away, 1u);
    EXPECT_EQ(g.state().legs.primary, 1u);
    EXPECT_EQ(g.state().unsynced_count(), 0u);
    EXPECT_TRUE(g.state().missed.contains(7));
    for (NodeId n : {1u, 2u}) EXPECT_FALSE(g.paused(n));
}

TEST(Legs, WhatWasSeenKeepsThePrimary) {
    LostWriter g;
    g.saw = {2};
    g.primary_fails();
    EXPECT_EQ(g.state().legs.away, 0u);
    EXPECT_TRUE(g.node(1).noted("it is the primary, and 1 region(s) are not in sync"));
    g.saw.clear();  // copied meanwhile on another way, say
    g.pass(5000);
    EXPECT_EQ(g.state().legs.away, 1u);
}

TEST(Legs, OneVoteIsNotEnoughForThePrimaryOfALostNode) {
    LostWriter g;
    for (auto& [n, m] : g.nodes) m->cluster.config_mutable().leg_failure_any = true;
    g.saw = {2};
    g.primary_fails();
    EXPECT_EQ(g.state().legs.away, 0u);
}

TEST(Legs, WhatALegMissedKeepsThePrimaryThoughNobodyHasSeenIt) {
    LostWriter g;
    g.step(2, ev::Regions{1, "LVM-x", ev::Regions::lost, {{9, 1}}});
    g.primary_fails();
    EXPECT_EQ(g.state().legs.away, 0u);
}

// Who leaves when a node is lost already cannot be asked what it has seen of that one's writes.
TEST(Legs, WhatOneThatIsGoneMayHaveSeenKeepsThePrimary) {
    LostWriter lost, left;
    lost.vanish({1});
    lost.pass(500);
    ASSERT_EQ(lost.state().torn.ranges(), (std::vector<Range>{{7, 1}}));
    left.ask(1, Request::postsuspend, {}, 2);
    left.pass(1000);
    ASSERT_EQ(left.state().members.count(1), 0u);
    for (LostWriter* g : {&lost, &left}) {
        g->step(2, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::failed, 1, 0});
        g->pass(5000);
        EXPECT_EQ(g->state().legs.away, 0u);
        EXPECT_TRUE(g->node(2).noted("it is the primary, and 1 region(s) are not in sync"));
    }
}

// A site that goes takes several nodes at once: none of them has seen that another was lost.
TEST(Legs, NodesLostInOneMomentHaveSeenNothingOfOneAnother) {
    LostWriter at_once(4, {{3, 4}}), in_turn(4, {{4}, {3}});
    for (LostWriter* g : {&at_once, &in_turn}) {
        ASSERT_EQ(g->state().torn.ranges(), (std::vector<Range>{{7, 1}}));
        g->primary_fails();
    }
    EXPECT_EQ(at_once.state().legs.away, 1u);
    EXPECT_EQ(in_turn.state().legs.away, 0u);
}

// It may have a lease that nobody else has seen (I2).
TEST(LostNode, NobodyWritesWhatItMayBeCopying) {
    LostWriter g;
    auto marked = [&](Region r) {
        return std::any_of(g.node(1).told.begin(), g.node(1).told.end(), [&](const out::Tell& t) { return t.type == CLOG_MARKED && RangeSet(t.ranges).contains(r); });
    };
    g.copies_last = true;
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::mark, {{7, 1}, {9, 1}}});
    g.pass(5000);
    EXPECT_TRUE(marked(9));
    EXPECT_FALSE(marked(7));
    for (const auto& [n, m] : std::map(g.state().members))
        if (!g.nodes.contains(n)) g.step(1, ev::FencedNode{n});
    g.pass(5000);
    for (const out::Copy& c : std::vector(g.node(1).copies)) g.step(1, ev::Copied{c.uuid, c.ranges, {}, {}});
    for (const out::Copy& c : std::vector(g.node(2).copies)) g.step(2, ev::Copied{c.uuid, c.ranges, {}, {}});
    g.pass(5000);
    EXPECT_TRUE(marked(7));
}

TEST(Legs, ANodeWithAnotherNumberOfLegsIsRefused) {
    Group h(2);
    h.create(1, kCtr, 2);
    h.pass(300);
    h.create(2, kCtr, 3);
    h.pass(300);
    EXPECT_TRUE(h.node(2).noted("the table of node 2 has 3 legs, that of the nodes which use the mirror 2"));
}

// I3: an earlier Missed that comes back while the log is being closed says nothing of the marks that are left.
TEST(Legs, AnEarlierMissedDoesNotEndTheMarksOfALogThatCloses) {
    Group g(2);
    for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk /dev/log 1024 nosync", 2), g.pass(500);
    for (NodeId n : {1u, 2u}) g.bad_legs[n] = {1};
    g.step(1, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::failed, 2, 0});
    g.pass(500);
    ASSERT_EQ(g.log(1).state().legs.away, 2);
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::mark, {{7, 2}}});
    g.pass(200);
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::clear, {{7, 1}}});
    g.held = {1};
    g.pass(2 * Config{}.idle_unmark_ms);    // 7 is given to `missed`
    g.ask(1, Request::postsuspend, {}, 2);  // and all the rest
    for (bool found = false; !found;) {
        ASSERT_FALSE(g.node(1).outbox.empty());
        const Bytes frame = g.node(1).outbox.front();
        g.node(1).outbox.pop_front();
        found = std::holds_alternative<proto::wire::Missed>(proto::wire::decode(frame)->body);
        for (NodeId n : {1u, 2u}) g.todo.emplace_back(n, ev::Deliver{1, frame});
        g.run();
    }
    EXPECT_TRUE(g.log(1).marks().marked(8));
    EXPECT_FALSE(g.log(2).state().missed.contains(8));
    g.held = {};
    g.run();
    g.pass(500);
    EXPECT_TRUE(g.log(2).state().missed.contains(8));
    EXPECT_EQ(g.log(1).phase(), Phase::detached);
}

// The last message of a node that is lost may have been delivered to itself alone: it has ended its marks by it.
TEST(LostNode, WhatItsSlotAloneKnowsIsTakenOver) {
    Group g(2);
    for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk 253:4 1024 nosync", 2);
    g.pass(1000);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    const Log& second = g.log(2);
    g.held = {2};
    g.ask(2, Request::set_region_sync, Solo::u64({7, 0}), 2);  // a write there has missed a leg
    g.pass(200);
    for (const Bytes& frame : std::exchange(g.node(2).outbox, {})) g.step(2, ev::Deliver{2, frame});
    g.pass(1000);
    ASSERT_TRUE(second.state().unsynced(7));
    ASSERT_FALSE(g.log(1).state().unsynced(7));
    g.copies_last = true;
    g.vanish({2});
    g.run();
    g.pass(500);
    EXPECT_TRUE(g.log(1).state().unsynced(7));
}
