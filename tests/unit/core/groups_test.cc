// SPDX-License-Identifier: GPL-2.0-or-later
// Which group of an array's paths the nodes use: who may switch it (clogd/core/groups.hh, log_groups.cc), and what a kernel makes of
// that (dm-raid1-ext/grouping.h).
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "dm-raid1-ext/grouping.h"
#include "tests/unit/core/group.hh"

using namespace test;

namespace {
constexpr uint8_t kNone = GroupVoice::kNone;

Voice voice(uint32_t reach, uint8_t wants) { return {{reach, wants, 0}, true}; }

std::optional<Grant> choose(const std::map<NodeId, Voice>& voices, uint8_t in_use) {
    std::set<NodeId> able;
    for (const auto& [node, v] : voices) able.insert(node);
    return choose_switch(voices, able, in_use);
}
}  // namespace

TEST(ChooseSwitch, TheFirstThatWantsAGroupGetsIt) {
    auto grant = choose({{1, voice(3, kNone)}, {2, voice(3, 1)}}, kNone);
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant->node, 2u);
    EXPECT_EQ(grant->group, 1);
}

TEST(ChooseSwitch, AWishOfOneIsNotEnough) { EXPECT_FALSE(choose({{1, voice(3, 0)}, {2, voice(3, 1)}}, 1)); }

TEST(ChooseSwitch, AWishOfAllIs) { EXPECT_EQ(choose({{1, voice(3, 0)}, {2, voice(3, 0)}, {3, voice(0, kNone)}}, 1)->group, 0); }

TEST(ChooseSwitch, WhoLostTheGroupInUseIsServedIfNobodyElseIsLost) {
    EXPECT_EQ(choose({{1, voice(2, 1)}, {2, voice(3, 0)}}, 0)->node, 1u);
    EXPECT_FALSE(choose({{1, voice(2, 1)}, {2, voice(1, 0)}}, 0));                    // one would be served in the other's place
    EXPECT_TRUE(choose({{1, voice(2, 1)}, {2, voice(2, 1)}, {3, voice(1, 0)}}, 0));   // more would be served than are
    EXPECT_FALSE(choose({{1, voice(2, 1)}, {2, voice(3, 0)}, {3, voice(1, 0)}}, 0));  // as many
    EXPECT_FALSE(choose({{1, voice(3, 0)}, {2, voice(2, 1)}, {3, voice(3, 0)}}, 1));  // back, while one could not follow
}

TEST(ChooseSwitch, AGroupThatIsNotReachedIsNotWanted) { EXPECT_FALSE(choose({{1, voice(1, 9)}}, 0)); }

// Whatever nodes reach and want, and whoever carries the switches out: they end.
RC_GTEST_PROP(ChooseSwitch, SwitchingEnds, ()) {
    std::map<NodeId, Voice> voices;
    const auto nodes = *rc::gen::inRange<NodeId>(1, 9);
    for (NodeId n = 1; n <= nodes; ++n) voices[n] = voice(*rc::gen::inRange(0u, 16u), *rc::gen::element<uint8_t>(0, 1, 2, 3, kNone));
    uint8_t in_use = *rc::gen::element<uint8_t>(0, 1, 2, 3, kNone);
    uint32_t switches = 0;
    while (auto grant = choose(voices, in_use)) {
        RC_ASSERT(voices[grant->node].reaches(grant->group));
        in_use = grant->group;
        RC_ASSERT(++switches <= nodes + 1);
    }
}

namespace {
struct Array : Group {
    explicit Array(NodeId count = 3) : Group(count) {
        by_channel = true;
        for (NodeId n = 1; n <= count; ++n) create(n, "1024 groups");
        pass(500);
    }
    void say(NodeId n, uint32_t reach, uint8_t wants) { step(n, ev::Groups{"LVM-x", {reach, wants, ++said[n]}}); }
    void end(NodeId n, uint32_t turn, uint32_t how) { step(n, ev::Switched{"LVM-x", turn, static_cast<uint8_t>(how)}); }
    const Groups& groups(NodeId n) { return log(n).state().groups; }
    out::Tell told(NodeId n) {
        out::Tell last;
        for (const auto& t : node(n).told)
            if (t.type == CLOG_GROUP) last = t;
        return last;
    }
    uint32_t granted(NodeId n) { return told(n).value >> CLOG_GROUP_GRANTED_SHIFT & CLOG_GROUP_NONE; }
    uint32_t in_use(NodeId n) { return told(n).value & CLOG_GROUP_NONE; }
    std::map<NodeId, uint16_t> said;
};
}  // namespace

TEST(Groups, OneNodeAtATimeAndTheOthersHear) {
    Array a;
    a.say(1, 3, 0);
    EXPECT_EQ(a.granted(1), 0u);
    a.say(2, 3, 1);
    EXPECT_EQ(a.granted(2), CLOG_GROUP_NONE);
    EXPECT_TRUE(a.told(2).value & CLOG_GROUP_BUSY);
    a.end(1, a.told(1).serial, CLOG_SWITCH_DONE);
    for (NodeId n = 1; n <= 3; ++n) {
        EXPECT_EQ(a.in_use(n), 0u);
        EXPECT_EQ(a.granted(n), CLOG_GROUP_NONE);
        EXPECT_FALSE(a.told(n).value & CLOG_GROUP_BUSY);
    }
    EXPECT_EQ(a.told(2).value >> CLOG_GROUP_HEARD_SHIFT, a.said[2]);
}

TEST(Groups, ANodeThatLosesThePreferredGroupCostsOneSwitch) {
    Array a;
    for (NodeId n = 1; n <= 3; ++n) a.say(n, 3, 0);
    a.end(1, a.told(1).serial, CLOG_SWITCH_DONE);
    a.say(1, 2, 1);
    ASSERT_EQ(a.granted(1), 1u);
    a.end(1, a.told(1).serial, CLOG_SWITCH_DONE);
    EXPECT_EQ(a.in_use(2), 1u);
    a.pass(5000);
    EXPECT_EQ(a.groups(2).turn, 2u) << "the others want 0, and stay";
    a.say(1, 3, 0);  // it is back
    EXPECT_EQ(a.groups(2).turn, 3u);
    EXPECT_EQ(a.groups(2).target, 0);
}

TEST(Groups, AHolderThatCannotIsNotLetAgainBeforeItAsks) {
    Array a;
    for (uint32_t how : {CLOG_SWITCH_FAILED, CLOG_SWITCH_DECLINED}) {
        a.say(1, 3, 0);
        a.end(1, a.told(1).serial, how);
        EXPECT_EQ(a.groups(2).holder, 0u);
        EXPECT_EQ(a.in_use(1), CLOG_GROUP_NONE);
    }
    a.say(1, 3, 0);
    EXPECT_EQ(a.granted(1), 0u);
}

// It wants another group by now, has said so, and will not say it again.
TEST(Groups, AHolderThatHasThoughtBetterKeepsItsNewWish) {
    Array a;
    a.say(1, 3, 0);
    const uint32_t turn = a.told(1).serial;
    a.say(1, 3, 1);
    a.end(1, turn, CLOG_SWITCH_DECLINED);
    EXPECT_EQ(a.granted(1), 1u);
}

// The lost one may have been let, unseen.
TEST(Groups, NobodyIsLetSwitchWhileALostNodeMay) {
    Array a;
    for (NodeId n = 1; n <= 3; ++n) a.say(n, 3, 0);
    a.end(1, a.told(1).serial, CLOG_SWITCH_DONE);
    for (auto& [n, m] : a.nodes) m->cluster.config_mutable().dead_wait_ms = 1000;
    a.vanish({3});
    a.pass(500);
    for (NodeId n : {1u, 2u}) a.say(n, 2, 1);
    EXPECT_EQ(a.groups(1).holder, 0u);
    a.pass(1500);
    EXPECT_NE(a.groups(1).holder, 0u);
}

TEST(Groups, AHolderThatIsSilentLosesItsTurn) {
    Array a;
    a.say(3, 3, 1);
    ASSERT_EQ(a.groups(1).holder, 3u);
    a.pass(70000);
    EXPECT_EQ(a.groups(1).holder, 0u);
    EXPECT_EQ(a.groups(1).in_use, kNone);
    a.end(3, a.groups(1).turn, CLOG_SWITCH_DONE);
    EXPECT_EQ(a.groups(1).in_use, kNone) << "too late";
}

TEST(Groups, AMapThatIsSuspendedGoesOnToCount) {
    Array a;
    for (NodeId n = 1; n <= 3; ++n) a.say(n, n == 1 ? 2 : 3, n == 1 ? 1 : 0);
    while (a.groups(1).holder) a.end(a.groups(1).holder, a.groups(1).turn, CLOG_SWITCH_DONE);
    ASSERT_EQ(a.groups(2).in_use, 1);
    a.ask(1, Request::postsuspend);
    a.pass(1000);
    EXPECT_EQ(a.groups(2).turn, a.told(2).serial);
    EXPECT_EQ(a.groups(2).holder, 0u) << "it could not follow when it is resumed";
    a.ask(1, Request::dtr);
    a.pass(1000);
    EXPECT_EQ(a.groups(2).target, 0) << "it is gone";
}

TEST(Groups, AUuidIsForOneKindAlone) {
    Group g(2);
    g.create(1, "1024 groups");
    g.pass(500);
    g.create(2, "65536 clustered-core 1024");
    g.pass(500);
    EXPECT_TRUE(g.node(2).noted("uses this uuid for a mirror"));
}

namespace {
grouping reaches_two(uint16_t said = 0) {
    grouping g{};
    grouping_reset(&g, said);
    grouping_reach(&g, 0, true);
    grouping_reach(&g, 1, true);
    return g;
}
}  // namespace

TEST(Grouping, WaitsUntilItIsDecidedThenMayOrIsAGuest) {
    grouping g = reaches_two(7);
    bool tell = false;
    EXPECT_EQ(grouping_ask(&g, 1, &tell), GROUPING_WAIT);
    EXPECT_TRUE(tell);
    auto told = [&](uint32_t in_use, uint32_t granted, bool busy) {
        return in_use | granted << CLOG_GROUP_GRANTED_SHIFT | (busy ? CLOG_GROUP_BUSY : 0) | static_cast<uint32_t>(g.said) << CLOG_GROUP_HEARD_SHIFT;
    };
    ASSERT_TRUE(grouping_take(&g, told(0, CLOG_GROUP_NONE, true), 1));
    EXPECT_EQ(grouping_ask(&g, 1, &tell), GROUPING_WAIT) << "somebody switches";
    ASSERT_TRUE(grouping_take(&g, told(0, CLOG_GROUP_NONE, false), 1));
    EXPECT_EQ(grouping_ask(&g, 1, &tell), GROUPING_GUEST);
    EXPECT_FALSE(tell);
    EXPECT_TRUE(grouping_uses(&g, 0));
    ASSERT_TRUE(grouping_take(&g, told(0, 1, true), 2));
    EXPECT_EQ(grouping_ask(&g, 1, &tell), GROUPING_MAY);
    EXPECT_TRUE(grouping_end(&g, 1, CLOG_SWITCH_DONE));
    EXPECT_FALSE(grouping_granted(&g, 1)) << "once";
    ASSERT_TRUE(grouping_take(&g, told(1, CLOG_GROUP_NONE, false), 2));
    EXPECT_EQ(grouping_ask(&g, 1, &tell), GROUPING_MAY);
    EXPECT_FALSE(g.say_switched);
}

TEST(Grouping, WhatIsNotWantedAnyMoreIsGivenBack) {
    grouping g = reaches_two();
    bool tell = false;
    grouping_ask(&g, 1, &tell);
    ASSERT_TRUE(grouping_take(&g, 0u | 1u << CLOG_GROUP_GRANTED_SHIFT | CLOG_GROUP_BUSY | static_cast<uint32_t>(g.said) << CLOG_GROUP_HEARD_SHIFT, 4));
    grouping_ask(&g, 0, &tell);
    EXPECT_TRUE(g.say_switched);
    EXPECT_EQ(g.how, CLOG_SWITCH_DECLINED);
    EXPECT_FALSE(grouping_take(&g, 40, 5)) << "no such group";
}

TEST(Grouping, AGrantThatComesTooLateIsGivenBack) {
    grouping g = reaches_two();
    bool tell = false;
    grouping_ask(&g, 1, &tell);
    grouping_reach(&g, 1, false);  // while the grant is on its way
    ASSERT_TRUE(grouping_take(&g, 0u | 1u << CLOG_GROUP_GRANTED_SHIFT | CLOG_GROUP_BUSY, 4));
    EXPECT_TRUE(g.say_switched);
    EXPECT_EQ(g.how, CLOG_SWITCH_DECLINED);
    EXPECT_FALSE(grouping_granted(&g, 1));
}

// Another node would be let switch the array at the same time.
TEST(Grouping, ASwitchThatIsUnderWayEndsWhenItHasEnded) {
    struct grouping g {};
    grouping_reset(&g, 1);
    grouping_reach(&g, 0, true);
    grouping_reach(&g, 1, true);
    bool tell = false;
    grouping_ask(&g, 1, &tell);
    const uint32_t granted = CLOG_GROUP_NONE | 1u << CLOG_GROUP_GRANTED_SHIFT | CLOG_GROUP_BUSY;
    ASSERT_TRUE(grouping_take(&g, granted, 4));
    grouping_begin(&g, 1);
    g.say_switched = false;
    grouping_reach(&g, 1, false);  // a path fails, another one is still at it
    grouping_ask(&g, 0, &tell);    // it would rather have the other group by now
    ASSERT_TRUE(grouping_take(&g, granted, 4));
    EXPECT_FALSE(g.say_switched);
    EXPECT_TRUE(grouping_end(&g, 1, CLOG_SWITCH_FAILED));
    EXPECT_TRUE(g.say_switched);
    EXPECT_EQ(g.how, CLOG_SWITCH_FAILED);
}
