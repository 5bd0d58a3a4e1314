// SPDX-License-Identifier: GPL-2.0-or-later
// Where half of the votes are enough for quorum (Corosync's two_node and its like), both halves of a cluster may be going on: time tells
// nothing of a node that is out of sight (I4). Only a report that it is fenced does.
#include <gtest/gtest.h>

#include "tests/unit/core/group.hh"

using namespace test;

namespace {
constexpr char kDisk[] = "131072 clustered-disk 253:4 1024 nosync";
constexpr char kCore[] = "131072 clustered-core 1024 nosync";
constexpr TimeMs kLong = 10'000;

struct Pair : Group {
    explicit Pair(bool half_is_enough = true) : Group(2, {}, {}, {}, half_is_enough) {}
    void use(const std::string& ctr, uint8_t legs = 0) {
        for (NodeId n : {1u, 2u}) create(n, ctr, legs);
        pass(1000);
        ASSERT_EQ(log(1).phase(), Phase::active);
        ASSERT_EQ(log(2).phase(), Phase::active);
    }
    void lose_second() {
        vanish({2});
        run();
    }
};

// Node 1 alone, as if its machine had been started after the other was lost; what `disk` holds is there.
struct Survivor : Group {
    explicit Survivor(const Bytes& from, bool half_is_enough = true) : Group(1, {}, {}, {}, half_is_enough) { disk = from; }
    void opens_when_second_is_fenced(const char* ctr) {
        create(1, ctr);
        pass(kLong);
        EXPECT_EQ(log(1).phase(), Phase::forming);
        EXPECT_TRUE(log(1).waits_for().contains(2));
        step(1, ev::FencedNode{2});
        pass(2000);
        EXPECT_EQ(log(1).phase(), Phase::active);
    }
};
}  // namespace

TEST(Halves, WhatALostNodeHadMarkedWaitsForTheReportThatItIsFenced) {
    for (const char* ctr : {kDisk, kCore}) {
        Pair g;
        g.use(ctr);
        g.ask(2, Request::mark_region, Solo::u64({5}));
        g.pass(200);
        g.lose_second();
        g.pass(kLong);
        EXPECT_TRUE(g.log(1).state().unsynced(5)) << ctr;
        EXPECT_TRUE(g.log(1).state().members.contains(2)) << ctr;
        EXPECT_TRUE(g.node(1).copies.empty()) << ctr;
        ASSERT_TRUE(g.log(1).waits_for().contains(2)) << ctr;
        EXPECT_GE(g.now, g.log(1).waits_for().at(2) + kLong) << ctr;
        EXPECT_TRUE(g.node(1).noted("clogctl fenced 2")) << ctr;
        g.step(1, ev::FencedNode{2});
        g.pass(2000);
        EXPECT_FALSE(g.log(1).state().members.contains(2)) << ctr;
        EXPECT_FALSE(g.node(1).copies.empty()) << ctr;
        EXPECT_EQ(g.log(1).state().unsynced_count(), 0u) << ctr;
        EXPECT_TRUE(g.log(1).waits_for().empty()) << ctr;
    }
}

TEST(Halves, ElsewhereTimeIsEnough) {
    Pair g(false);
    g.use(kDisk);
    g.ask(2, Request::mark_region, Solo::u64({5}));
    g.pass(200);
    g.lose_second();
    g.pass(2000);
    EXPECT_FALSE(g.node(1).copies.empty());
    EXPECT_TRUE(g.log(1).waits_for().empty());
}

TEST(Halves, OneMemberThatSaysSoIsEnough) {
    Pair g(false);
    g.use(kDisk);
    g.ask(2, Request::mark_region, Solo::u64({5}));
    g.ring = 7;
    for (NodeId n : {1u, 2u})
        for (const Event& e : {Event(ev::Ring{7, 1, {1, 2}}), Event(ev::Quorum{7, 1, true, n == 2})}) g.todo.emplace_back(n, e);
    g.run();
    ASSERT_TRUE(g.node(1).cluster.halves());
}

TEST(Halves, AReportOfALossThatIsOverDoesNotCountForTheNext) {
    Pair g;
    g.use(kDisk);
    g.step(1, ev::FencedNode{2});  // it is in sight
    g.ask(2, Request::mark_region, Solo::u64({5}));
    g.pass(200);
    g.lose_second();
    g.pass(kLong);
    EXPECT_TRUE(g.node(1).copies.empty());
    EXPECT_TRUE(g.log(1).waits_for().contains(2));
}

TEST(Halves, AStateIsNotFormedWhileANodeThatTheLogNamesIsOutOfSight) {
    Pair g;
    g.use(kDisk);
    g.ask(2, Request::mark_region, Solo::u64({5}));
    g.pass(200);
    Survivor s(g.disk);
    s.opens_when_second_is_fenced(kDisk);
    EXPECT_TRUE(s.node(1).noted("clogctl fenced 2"));
    ASSERT_FALSE(s.node(1).copies.empty());
    EXPECT_TRUE(RangeSet(s.node(1).copies.front().ranges).contains(5));
}

TEST(Halves, WhoHasLeftTheLogIsNotWaitedFor) {
    Pair g;
    g.use(kDisk);
    g.ask(2, Request::postsuspend);
    g.pass(1000);
    Survivor s(g.disk);
    s.create(1, kDisk);
    s.pass(2000);
    EXPECT_EQ(s.log(1).phase(), Phase::active);
}

TEST(Halves, WithoutALogThatTellsEveryNodeOfTheClusterIsWaitedFor) {
    Survivor s(Bytes(1 << 20));
    s.opens_when_second_is_fenced(kCore);
}

TEST(Halves, SoItIsIfTheLogIsDamaged) {
    Pair g;
    g.use(kDisk);
    for (size_t at = 4096 + 100; at < g.disk.size(); at += 512) g.disk[at] ^= 0x5a;
    Survivor s(g.disk);
    s.create(1, kDisk);
    s.pass(kLong);
    EXPECT_EQ(s.log(1).phase(), Phase::forming);
    EXPECT_TRUE(s.log(1).waits_for().contains(2));
}

// Both halves may find that nobody has the log in use.
TEST(Halves, ALogThatNobodyUsesWaitsForEveryNodeOfTheCluster) {
    Pair g;
    g.use(kDisk);
    for (NodeId n : {1u, 2u}) g.ask(n, Request::postsuspend), g.pass(1000);
    for (const Bytes& disk : {g.disk, Bytes(1 << 20)}) {
        Survivor s(disk);
        s.opens_when_second_is_fenced(kDisk);
    }
}

TEST(Halves, ElsewhereALogThatNobodyUsesWaitsForNobody) {
    Survivor s(Bytes(1 << 20), false);
    s.create(1, kDisk);
    s.pass(2000);
    EXPECT_EQ(s.log(1).phase(), Phase::active);
}

TEST(Halves, AWriteThatALegMissedWaitsForTheLostNodeToo) {
    Pair g;
    g.use(kDisk, 2);
    g.lose_second();
    g.pass(1000);
    g.bad_legs[1] = {1};
    g.step(1, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::failed, 2, 0});
    g.pass(kLong);
    const LegState& l = g.log(1).state().legs;
    EXPECT_EQ(l.away, 2u);
    EXPECT_TRUE(l.waiting.contains(2));
    g.step(1, ev::FencedNode{2});
    g.pass(2000);
    EXPECT_TRUE(l.waiting.empty());
}

// Each half has a node that would form the state, and waits for the other.
TEST(Halves, OneOfTwoThatFormGoesOnWhenTheyMeet) {
    Pair g;
    auto alone = [&](NodeId n, NodeId other) {
        for (const Event& e : {Event(ev::Membership{{{n, 100 + n}}, {other}}), Event(ev::Ring{10 + n, n, {n}}), Event(ev::Quorum{10 + n, n, true, true})})
            g.todo.emplace_back(n, e);
    };
    alone(1, 2), alone(2, 1);
    g.run();
    for (NodeId n : {1u, 2u}) g.create(n, kCore);
    g.pass(5000);
    for (NodeId n : {1u, 2u}) ASSERT_EQ(g.log(n).phase(), Phase::forming);
    g.ring = 20;
    g.new_ring();
    g.run();
    g.pass(5000);
    for (NodeId n : {1u, 2u}) ASSERT_EQ(g.log(n).phase(), Phase::active);
    EXPECT_EQ(g.log(1).state().members.size(), 2u);
    EXPECT_EQ(g.log(1).state().encode(), g.log(2).state().encode());
}

// What one half has recorded must not be lost when the other goes on.
TEST(Halves, WhatOneHalfKnowsToDifferIsKnownToBothWhenTheyMeet) {
    Pair g;
    g.use(kDisk);
    auto alone = [&](NodeId n, NodeId other) {
        for (const Event& e : {Event(ev::Membership{{{n, 100 + n}}, {other}}), Event(ev::Ring{10 + n, n, {n}}), Event(ev::Quorum{10 + n, n, true, true})})
            g.todo.emplace_back(n, e);
    };
    alone(1, 2), alone(2, 1);
    g.run();
    g.copies_last = true;
    g.step(2, ev::Call{[] {
               Call c;
               c.luid = 1;
               c.uuid = "LVM-x";
               c.version = 3;
               c.seq = 9999;
               c.type = Request::set_region_sync;
               c.data = Solo::u64({7, 0});
               return c;
           }()});
    g.pass(1000);
    ASSERT_TRUE(g.log(2).state().unsynced(7));
    ASSERT_FALSE(g.log(1).state().unsynced(7));
    g.ring = 20;
    g.new_ring();
    g.run();
    g.pass(5000);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    ASSERT_EQ(g.log(2).phase(), Phase::active);
    EXPECT_TRUE(g.log(1).state().unsynced(7));
    EXPECT_EQ(g.log(1).state().chain, g.log(2).state().chain);
}

// Its clogd is gone, its machine is in sight: it has no quorum of its own by which its kernel would go on.
TEST(Halves, AMachineInSightIsNotWaitedForByHand) {
    Pair g;
    g.use(kDisk, 2);
    g.nodes.erase(2);
    for (const Event& e : {Event(ev::Membership{{{1, 101}}, {2}})}) g.step(1, e);
    g.pass(1000);
    g.bad_legs[1] = {1};
    g.step(1, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::failed, 2, 0});
    g.pass(5000);
    EXPECT_EQ(g.log(1).state().legs.away, 2u);
    EXPECT_TRUE(g.log(1).state().legs.waiting.empty());
}
