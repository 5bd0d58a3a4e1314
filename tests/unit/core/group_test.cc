// SPDX-License-Identifier: GPL-2.0-or-later
// What needs several nodes and no chance: the limits of a cluster (I6), and clusters of two versions. The rest is tests/sim's.
#include <gtest/gtest.h>

#include "tests/unit/core/group.hh"

using namespace test;

TEST(Group, TheSixtyFifthNodeIsRefusedAndToldWhy) {
    Group g(proto::kMaxNodes + 1);
    for (NodeId n = 1; n <= proto::kMaxNodes + 1; ++n) g.create(n);
    g.pass(500);
    for (NodeId n = 1; n <= proto::kMaxNodes; ++n) EXPECT_EQ(g.log(n).phase(), Phase::active) << "node " << n;
    EXPECT_NE(g.log(proto::kMaxNodes + 1).phase(), Phase::active);
    EXPECT_TRUE(g.node(proto::kMaxNodes + 1).noted("the log has room for 64 nodes and all are taken"));
    EXPECT_EQ(g.log(1).state().members.size(), proto::kMaxNodes);
}

TEST(Group, AJoinerThatIsOverrunStartsItsJoinAnew) {
    Group g(3);
    g.create(1);
    g.create(2);
    g.pass(500);
    g.held = {1};  // it gives the state, and cannot send it yet
    g.create(3);
    ASSERT_EQ(g.log(3).phase(), Phase::receiving);
    for (uint32_t i = 0; i < proto::kMaxJoinBacklog + 10; ++i) g.step(2, ev::FencedNode{99});
    EXPECT_TRUE(g.node(3).noted("too many messages while the state arrives"));
    g.held.clear();
    g.pass(2000);
    EXPECT_EQ(g.log(3).phase(), Phase::active);
    EXPECT_EQ(g.log(3).state().chain, g.log(1).state().chain);
}

TEST(Group, NodesOfTwoVersionsShareALog) {
    Group g(3, {2});
    for (NodeId n = 1; n <= 3; ++n) g.create(n, "131072 clustered-core 1024");
    g.pass(3000);
    for (NodeId n = 1; n <= 3; ++n) {
        ASSERT_EQ(g.log(n).phase(), Phase::active) << "node " << n;
        EXPECT_EQ(g.log(n).state().unsynced_count(), 0u);
        EXPECT_EQ(g.node(n).cluster.version(), proto::wire::kVersion);
        EXPECT_EQ(g.node(n).cluster.counters().malformed, 0u);
        uint32_t mark = g.ask(n, Request::mark_region, Solo::u64({n}));
        g.pass(100);
        ASSERT_FALSE(g.node(n).replies.empty());
        EXPECT_EQ(g.node(n).replies.back().seq, mark);
        EXPECT_EQ(g.node(n).replies.back().error, 0);
    }
    EXPECT_EQ(g.log(1).state().chain, g.log(2).state().chain);
    EXPECT_EQ(g.log(1).state().chain, g.log(3).state().chain);
}

TEST(Group, TheRateIsSharedAlsoWithJoiners) {
    Group g(3);
    g.create(1);
    g.create(2);
    g.pass(500);
    g.step(2, ev::Rate{"LVM-x", 600});
    for (NodeId n : {1u, 2u}) EXPECT_EQ(g.node(n).copy_rate, 300u * 1024);
    g.create(3);
    g.pass(500);
    for (NodeId n : {1u, 2u, 3u}) EXPECT_EQ(g.node(n).copy_rate, 200u * 1024);
    g.step(3, ev::Rate{"LVM-x", 0});
    for (NodeId n : {1u, 2u, 3u}) EXPECT_EQ(g.node(n).copy_rate, 0u);
}

// Whoever uses the mirror comes first, on whichever node, and joiners hear of it, too.
TEST(Group, CopyingGivesWayOnAllNodes) {
    Group g(3);
    g.copies_last = true;
    const char* line = "131072 clustered-core 1024 sync";
    g.create(1, line);
    g.create(2, line);
    g.pass(500);
    for (NodeId n : {1u, 2u}) EXPECT_EQ(g.node(n).copy_one_in, 1u);
    g.step(2, ev::Foreground{"LVM-x", true});
    for (NodeId n : {1u, 2u}) EXPECT_EQ(g.node(n).copy_one_in, 8u);
    g.create(3, line);
    g.pass(500);
    for (NodeId n : {1u, 2u, 3u}) EXPECT_EQ(g.node(n).copy_one_in, 12u);
    g.step(1, ev::Foreground{"LVM-x", true});
    g.step(2, ev::Foreground{"LVM-x", false});
    for (NodeId n : {1u, 2u, 3u}) EXPECT_EQ(g.node(n).copy_one_in, 12u);
    g.step(1, ev::Foreground{"LVM-x", false});
    for (NodeId n : {1u, 2u, 3u}) EXPECT_EQ(g.node(n).copy_one_in, 1u);
}

// What a log in memory had marked counts as in use when its state is formed anew: nobody copies there before the kernel has let go (I2).
TEST(Group, AMarkThatIsKeptInMemoryIsBusyAfterTheLossOfQuorum) {
    Group g(3);
    for (NodeId n = 1; n <= 3; ++n) {
        g.create(n, "131072 clustered-core 1024 nosync", 2);
        g.pass(500);
    }
    g.copies_last = true;
    for (NodeId n : {1u, 3u}) g.step(n, ev::Regions{1, "LVM-x", ev::Regions::mark, {{7, 1}}});
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::clear, {{7, 1}}});
    g.pass(200);
    g.vanish({3});
    g.pass(500);
    ASSERT_TRUE(g.log(1).state().torn.contains(7));
    for (NodeId n : {1u, 2u}) g.step(n, ev::Quorum{g.ring, 1, false});
    ASSERT_EQ(g.log(1).phase(), Phase::frozen);
    g.new_ring();
    g.pass(2000);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    ASSERT_TRUE(g.log(1).state().members.at(1).marks.contains(7));
    EXPECT_TRUE(g.log(1).state().members.at(1).busy.contains(7));
}

// Five seconds after its own Hello a node takes the others for deaf, however long it was up before.
TEST(Group, ANodeThatHasJustComeWaitsForTheOthersHello) {
    Config c;
    c.self = 1;
    Cluster cluster(c);
    const TimeMs now = 100000;
    for (const Event& e : {Event(ev::ScanDone{}), Event(ev::Membership{{{1, 101}, {2, 102}}, {}}), Event(ev::Ring{1, 1, {1, 2}}), Event(ev::Quorum{1, 1, true})})
        cluster.step(e, now);
    auto rejoins = [&](TimeMs at) {
        cluster.step(ev::Tick{}, at);
        const std::vector<Output> out = cluster.output();
        return std::any_of(out.begin(), out.end(), [](const Output& o) { return std::holds_alternative<out::Rejoin>(o); });
    };
    EXPECT_FALSE(rejoins(now + 50));
    EXPECT_FALSE(rejoins(now + 4900));
    EXPECT_TRUE(rejoins(now + 5000));
}

namespace {
std::vector<Bytes> frames(Cluster& cluster) {
    std::vector<Bytes> out;
    for (Output& o : cluster.output())
        if (auto* sent = std::get_if<out::Send>(&o)) out.push_back(sent->frame);
    return out;
}
}  // namespace

// I4: quorum goes between a Hello and its return, in the same ring.
TEST(Group, AViewDoesNotSettleWithoutQuorum) {
    Config c;
    c.self = 1;
    Cluster cluster(c);
    for (const Event& e : {Event(ev::ScanDone{}), Event(ev::Membership{{{1, 101}}, {}}), Event(ev::Ring{1, 1, {1}}), Event(ev::Quorum{1, 1, true})}) cluster.step(e, 1000);
    const std::vector<Bytes> hello = frames(cluster);
    ASSERT_EQ(hello.size(), 1u);
    cluster.step(ev::Quorum{1, 1, false}, 1001);
    cluster.step(ev::Deliver{1, hello[0]}, 1002);
    EXPECT_FALSE(cluster.settled());
    cluster.step(ev::Quorum{1, 1, true}, 1003);
    const std::vector<Bytes> again = frames(cluster);
    ASSERT_EQ(again.size(), 1u);
    cluster.step(ev::Deliver{1, again[0]}, 1004);
    EXPECT_TRUE(cluster.settled());
}

// Corosync may list a process of a machine that left in the middle of a change.
TEST(Group, AProcessOfAMachineThatIsNotInTheRingIsNotWaitedFor) {
    Config c;
    c.self = 1;
    Cluster cluster(c);
    for (const Event& e : {Event(ev::ScanDone{}), Event(ev::Membership{{{1, 101}, {2, 102}}, {}}), Event(ev::Ring{1, 1, {1}}), Event(ev::Quorum{1, 1, true})})
        cluster.step(e, 1000);
    const std::vector<Bytes> hello = frames(cluster);
    ASSERT_EQ(hello.size(), 1u);
    cluster.step(ev::Deliver{1, hello[0]}, 1001);
    EXPECT_TRUE(cluster.settled());
}

// What was refused is sent again in its order, whatever another log forgets meanwhile: a drop that overtakes an add loses `busy` (I2).
TEST(Group, WhatWasRefusedKeepsItsOrderBesideALogThatForgets) {
    Group g(2);
    g.by_channel = g.copies_last = true;
    for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk /dev/log 1024 sync"), g.pass(500);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    auto regions = [&](ev::Regions::What what) { g.step(1, ev::Regions{1, "LVM-x", what, {{120, 1}}}); };
    regions(ev::Regions::mark);
    g.pass(100);
    ASSERT_TRUE(g.log(2).state().members.at(1).busy.contains(120));
    g.held = {1};
    regions(ev::Regions::clear);
    regions(ev::Regions::mark);
    for (Request type : {Request::ctr, Request::resume}) {  // another log, whose Attach waits
        Call call;
        call.luid = 2;
        call.uuid = "LVM-y";
        call.version = 3;
        call.seq = ++g.seq;
        call.type = type;
        call.channel = true;
        if (type == Request::ctr) call.data = Solo::text("4096 clustered-core 1024 nosync");
        g.step(1, ev::Call{call});
    }
    auto deliver = [&] {
        Bytes frame = g.node(1).outbox.front();
        g.node(1).outbox.pop_front();
        for (NodeId n : {1u, 2u}) g.todo.emplace_back(n, ev::Deliver{1, frame});
        g.run();
    };
    ASSERT_GE(g.node(1).outbox.size(), 3u);
    g.new_ring();
    g.run();
    deliver();  // the drop, refused
    g.now += 3000;
    g.step(1, ev::Tick{});  // log y asks again, and forgets what it had asked
    deliver();              // the add, refused
    g.held = {};
    g.run();
    g.pass(200);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    ASSERT_TRUE(g.log(1).marks().used(120));
    EXPECT_TRUE(g.log(2).state().members.at(1).busy.contains(120));
}

// I4: Corosync tells a ring before its verdict of quorum, with a quorum device up to half a minute before.
TEST(Group, WithoutAVerdictForTheRingNothingGoesOnForLong) {
    for (const bool by_channel : {true, false}) {
        Group g(2);
        g.by_channel = by_channel;
        for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk /dev/log 1024 nosync"), g.pass(500);
        ASSERT_EQ(g.log(1).phase(), Phase::active);
        g.nodes.erase(2);
        g.step(1, ev::Membership{{{1, 101}}, {2}});
        g.step(1, ev::Ring{2, 1, {1}});
        g.pass(500);
        EXPECT_EQ(g.log(1).phase(), Phase::frozen);
        g.node(1).told.clear();
        if (by_channel) g.step(1, ev::Regions{1, "LVM-x", ev::Regions::mark, {{9, 1}}});
        const uint32_t mark = by_channel ? 0 : g.ask(1, Request::mark_region, Solo::u64({9}));
        g.pass(30000);
        EXPECT_TRUE(std::none_of(g.node(1).told.begin(), g.node(1).told.end(), [](const out::Tell& t) { return t.type == CLOG_MARKED; }));
        EXPECT_TRUE(std::none_of(g.node(1).told.begin(), g.node(1).told.end(), [](const out::Tell& t) { return t.type == CLOG_STATE && t.value & CLOG_STATE_ACTIVE; }));
        EXPECT_TRUE(std::none_of(g.node(1).replies.begin(), g.node(1).replies.end(), [&](const Reply& r) { return mark && r.seq == mark; }));
        g.step(1, ev::Quorum{2, 1, true});
        g.pass(3000);
        EXPECT_EQ(g.log(1).phase(), Phase::active);
    }
}

// A "no" that was meant for an earlier ring comes between a Hello and its return; nobody has gone on without this node.
TEST(Group, QuorumThatComesAfterTheHellosSettlesTheView) {
    Config c;
    c.self = 1;
    Cluster cluster(c);
    for (const Event& e : {Event(ev::ScanDone{}), Event(ev::Membership{{{1, 101}}, {}}), Event(ev::Ring{2, 1, {1}}), Event(ev::Quorum{2, 1, true})}) cluster.step(e, 1000);
    const std::vector<Bytes> hello = frames(cluster);
    ASSERT_EQ(hello.size(), 1u);
    cluster.step(ev::Quorum{1, 1, false}, 1001);
    cluster.step(ev::Deliver{1, hello[0]}, 1002);
    EXPECT_FALSE(cluster.settled());
    cluster.step(ev::Quorum{2, 1, true}, 1003);
    EXPECT_TRUE(cluster.settled());
}

// I4: --dead-wait-ms is changed node by node: nobody's lease is longer than another's patience.
TEST(Group, ALeaseIsShorterThanTheShortestWaitOfAnyMember) {
    Group g(2, {}, {}, {{1, 10000}, {2, 1000}});
    g.by_channel = true;
    g.pass(11000);
    for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk /dev/log 1024 nosync"), g.pass(500);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    uint32_t lease = 0;
    for (const out::Tell& t : g.node(1).told)
        if (t.type == CLOG_STATE && t.value & CLOG_STATE_ACTIVE) lease = t.serial;
    EXPECT_GT(lease, 0u);
    EXPECT_LT(lease, 1000u);
    // And whoever waits for node 1 knows how long that was told to wait.
    g.copies_last = true;
    g.step(1, ev::Regions{1, "LVM-x", ev::Regions::mark, {{9, 1}}});
    g.pass(200);
    g.vanish({1});
    g.pass(9000);
    EXPECT_TRUE(g.log(2).state().members.contains(1));
    g.pass(3000);
    EXPECT_FALSE(g.log(2).state().members.contains(1));
}

// A mirror whose table this clogd does not understand (a newer one created it) runs on: it is held on to, and the others know of it.
TEST(Group, ARunningMirrorThatCannotBeServedIsHeldOnTo) {
    Group g(2);
    for (NodeId n : {1u, 2u}) g.create(n, "131072 clustered-disk /dev/log 1024 nosync"), g.pass(500);
    const uint32_t mark = g.ask(2, Request::mark_region, Solo::u64({5}));
    ASSERT_EQ(g.node(2).replies.back().seq, mark);
    g.copies_last = true;
    Config c;
    c.self = 2;
    c.dead_wait_ms = 0;
    g.nodes[2] = std::make_unique<Group::Member>(c);
    g.step(2, ev::FoundLive{"LVM-x", "131072 clustered-disk /dev/log 1024 nosync of-tomorrow", {}});
    g.step(2, ev::ScanDone{});
    g.new_ring();
    g.pass(5000);
    ASSERT_EQ(g.log(1).phase(), Phase::active);
    EXPECT_TRUE(g.node(2).noted("log argument 'of-tomorrow' is not known"));
    EXPECT_TRUE(g.node(2).cluster.unserved().contains("LVM-x"));
    EXPECT_FALSE(g.log(1).state().unsynced(5));  // its kernel writes there
    g.node(2).replies.clear();
    for (Request type : {Request::in_sync, Request::mark_region, Request::resume, Request::flush}) g.ask(2, type, Solo::u64({9}));
    g.pass(60000);
    EXPECT_TRUE(g.node(2).replies.empty());
    const uint32_t recovering = g.ask(2, Request::is_remote_recovering, Solo::u64({9}));
    ASSERT_EQ(g.node(2).replies.size(), 1u);
    EXPECT_EQ(g.node(2).replies[0].seq, recovering);
    EXPECT_EQ(g.node(2).replies[0].error, 0);
    EXPECT_EQ(g.node(2).replies[0].data.at(0), 1);
    // It is removed: what it had marked is copied.
    g.ask(2, Request::postsuspend);
    g.ask(2, Request::dtr);
    g.pass(500);
    EXPECT_EQ(g.node(2).replies.back().error, 0);
    EXPECT_FALSE(g.node(2).cluster.unserved().contains("LVM-x"));
    EXPECT_FALSE(g.log(1).state().members.contains(2));
}
