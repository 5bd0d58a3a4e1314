// SPDX-License-Identifier: GPL-2.0-or-later
// A table that puts another disk in the place of a leg (I3).
#include <gtest/gtest.h>

#include "tests/unit/core/group.hh"

using namespace test;

namespace {
constexpr char kTable[] = "131072 clustered-disk 253:4 1024 nosync";
constexpr char kSync[] = "131072 clustered-disk 253:4 1024 sync";

LegDisk disk(const std::string& name) { return {"8:" + std::to_string(name.back()), 0, {}, {name}}; }
std::vector<LegDisk> disks(const std::string& first, const std::string& second) { return {disk(first), disk(second)}; }

struct Mirrored : Solo {
    uint64_t luid = 1;
    uint32_t resumed = 0;
    explicit Mirrored() {
        disks_are = disks("a", "b");
        load(kTable);
    }
    void load(const std::string& ctr) {
        ask(Request::ctr, text(ctr), luid);
        resumed = ask(Request::resume, {}, luid);
        pass(2000);
    }
    void close() {
        ask(Request::postsuspend, {}, luid);
        pass(500);
        ask(Request::dtr, {}, luid++);
        pass(100);
    }
    const Log& log() { return *cluster.logs().at("LVM-x"); }
    bool noted(const std::string& part) const {
        return std::any_of(notes.begin(), notes.end(), [&](const std::string& n) { return n.find(part) != std::string::npos; });
    }
};
}  // namespace

TEST(ReplacedLeg, IsRefusedWithTheRemedy) {
    Mirrored m;
    ASSERT_EQ(m.log().phase(), Phase::active);
    m.close();
    m.disks_are = disks("a", "c");
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::detached);
    EXPECT_LT(m.error(m.resumed), 0);
    EXPECT_TRUE(m.noted("leg 1 of the table is")) << m.notes.back();
    EXPECT_NE(m.log().trouble().find("`sync`"), std::string::npos);
    EXPECT_EQ(m.value(m.ask(Request::is_remote_recovering, Solo::u64({0}), m.luid)), 1) << "its writes wait";
    EXPECT_EQ(m.suspends, 1u) << "so that another table can take its place";
    m.close();
    m.disks_are = disks("a", "b");
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::active);
    EXPECT_EQ(m.log().state().unsynced_count(), 0u);
}

TEST(ReplacedLeg, IsWrittenAnewWithSync) {
    Mirrored m;
    m.close();
    m.disks_are = disks("a", "c");
    m.hold_copies = true;
    m.load(kSync);
    ASSERT_EQ(m.log().phase(), Phase::active);
    EXPECT_EQ(m.log().state().unsynced_count(), 128u);
    m.release_copies();
    m.pass(20000);
    EXPECT_EQ(m.log().state().unsynced_count(), 0u);
    m.close();
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::active) << "it is the one that was there by now";
}

TEST(ReplacedLeg, IsNotWhatTheOthersAreWrittenFrom) {
    Mirrored m;
    m.close();
    for (const auto& is : {disks("c", "b"), disks("b", "a")}) {
        m.disks_are = is;
        m.load(kSync);
        EXPECT_EQ(m.log().phase(), Phase::detached);
        EXPECT_LT(m.error(m.resumed), 0);
        EXPECT_EQ(std::exchange(m.suspends, 0), 1u);
        EXPECT_TRUE(m.copies.empty());
        EXPECT_TRUE(m.noted("would be copied over the others"));
        m.close();
    }
}

TEST(ReplacedLeg, ALegMoreIsAnotherDisk) {
    Mirrored m;
    m.close();
    m.disks_are.push_back(disk("c"));
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::detached);
    EXPECT_TRUE(m.noted("leg 2 of the table"));
}

TEST(ReplacedLeg, WhatIsNotKnownIsNotRefused) {
    Mirrored m;
    m.close();
    m.disks_are.clear();
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::active);
}

TEST(ReplacedLeg, IsWelcomeIfTheOthersHaveTheSameInItsPlace) {
    Group g(2);
    for (NodeId n : {1u, 2u}) g.node(n).disks_are = disks("a", "c");
    g.node(2).disks_were = disks("a", "b");
    g.create(1, kTable);
    g.pass(1000);
    g.create(2, kTable);
    g.pass(1000);
    EXPECT_EQ(g.log(2).phase(), Phase::active);
}

TEST(ReplacedLeg, IsRefusedIfTheOthersHaveAnother) {
    Group g(2);
    g.node(1).disks_are = disks("a", "b");
    g.node(2).disks_are = disks("a", "c");
    g.node(2).disks_were = disks("a", "b");
    g.create(1, kTable);
    g.pass(1000);
    g.create(2, kSync);
    g.pass(1000);
    EXPECT_EQ(g.log(2).phase(), Phase::detached);
    EXPECT_TRUE(g.node(2).noted("close the mirror on every node"));
    g.pass(3000);
    EXPECT_EQ(g.log(1).state().members.size(), 1u);
}

// What had come to the target before it was suspended would keep the suspend from ending.
TEST(RefusedTable, GivesBackItsWritesWhenItIsSuspended) {
    Mirrored m;
    m.close();
    m.disks_are = disks("a", "c");
    m.load(kTable);
    ASSERT_EQ(m.log().phase(), Phase::detached);
    const auto recovering = [&] { return m.ask(Request::is_remote_recovering, Solo::u64({5}), m.luid); };
    m.pass(5000);
    EXPECT_EQ(m.value(recovering()), 1);
    m.ask(Request::presuspend, {}, m.luid);
    EXPECT_EQ(m.value(recovering()), 1) << "reads may still come, and would be told that every leg is as good";
    EXPECT_EQ(m.value(m.ask(Request::in_sync, Solo::u64({5}), m.luid)), 0);
    m.pass(1000);
    const uint32_t last = recovering();
    EXPECT_EQ(m.value(last), 0);
    EXPECT_EQ(m.value(last, 1), 0) << "it is to ask for each write";
    EXPECT_EQ(m.value(m.ask(Request::in_sync, Solo::u64({6}), m.luid)), 0) << "this is for a read";
    EXPECT_EQ(m.value(m.ask(Request::in_sync, Solo::u64({5}), m.luid)), 1) << "else it would write to the first leg, unmarked";
    EXPECT_EQ(m.error(m.ask(Request::mark_region, Solo::u64({5}), m.luid)), -EIO);
    EXPECT_EQ(m.value(m.ask(Request::in_sync, Solo::u64({5}), m.luid)), 0) << "the write has been marked: this is for a read";
    EXPECT_EQ(m.error(m.ask(Request::flush, Solo::u64({5}), m.luid)), -EIO);
    EXPECT_EQ(m.error(m.ask(Request::flush, {}, m.luid)), 0);
    m.ask(Request::clear_region, Solo::u64({5}), m.luid);
    m.ask(Request::postsuspend, {}, m.luid);
    const uint32_t again = m.ask(Request::resume, {}, m.luid);
    m.pass(3000);
    EXPECT_LT(m.error(again), 0);
    EXPECT_EQ(m.value(recovering()), 1) << "resumed by hand, it waits again";
    EXPECT_EQ(m.suspends, 2u);
}

// Its kernel takes the log for failed and would hold every write.
TEST(RefusedTable, ThatGaveBackItsWritesIsNotTakenAgain) {
    Mirrored m;
    m.close();
    m.disks_are = disks("a", "c");
    m.load(kTable);
    const auto suspend = [&](uint64_t luid) {
        m.ask(Request::presuspend, {}, luid);
        m.pass(1000);
        m.ask(Request::is_remote_recovering, Solo::u64({5}), luid);
        m.ask(Request::mark_region, Solo::u64({5}), luid);
        m.ask(Request::postsuspend, {}, luid);
    };
    suspend(m.luid);
    m.disks_are = disks("a", "b");
    const uint32_t again = m.ask(Request::resume, {}, m.luid);
    m.pass(3000);
    EXPECT_LT(m.error(again), 0);
    EXPECT_EQ(m.log().phase(), Phase::detached);
    EXPECT_NE(m.log().trouble().find("load it anew"), std::string::npos);
    EXPECT_EQ(m.suspends, 2u);
    m.close();
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::active);
}

TEST(RefusedTable, ThatWasInUseBeforeKeepsItsWrites) {
    Mirrored m;
    m.ask(Request::postsuspend, {}, m.luid);
    m.pass(500);
    m.disks_are = disks("a", "c");
    m.ask(Request::resume, {}, m.luid);
    m.pass(2000);
    ASSERT_EQ(m.log().phase(), Phase::detached);
    m.ask(Request::presuspend, {}, m.luid);
    m.pass(5000);
    EXPECT_EQ(m.value(m.ask(Request::is_remote_recovering, Solo::u64({5}), m.luid)), 1) << "its kernel may know regions that are not in sync";
}

TEST(RefusedTable, WhoseSuspendWasInterruptedWaitsAgain) {
    Mirrored m;
    m.close();
    m.disks_are = disks("a", "c");
    m.load(kTable);
    m.ask(Request::presuspend, {}, m.luid);
    m.pass(301000);
    EXPECT_EQ(m.value(m.ask(Request::is_remote_recovering, Solo::u64({5}), m.luid)), 1);
}

TEST(RefusedTable, ThatDoesNotHandleErrorsKeepsItsWrites) {
    Mirrored m;
    m.close();
    m.disks_are = disks("a", "c");
    m.errors_handled = false;
    m.load(kTable);
    m.ask(Request::presuspend, {}, m.luid);
    m.pass(5000);
    EXPECT_EQ(m.value(m.ask(Request::is_remote_recovering, Solo::u64({5}), m.luid)), 1) << "it would write what it could not mark";
}

TEST(Table, OfAnotherSizeBeginsAnewAlsoWhileTheLogIsInUse) {
    Mirrored m;
    ASSERT_EQ(m.log().state().params.regions(), 128u);
    m.ask(Request::ctr, Solo::text("262144 clustered-disk 253:4 1024 nosync"), 2);
    m.ask(Request::resume, {}, 2);
    m.pass(3000);
    EXPECT_EQ(m.log().phase(), Phase::active);
    EXPECT_EQ(m.log().state().params.regions(), 256u);
}

TEST(Slots, AreCountedAlikeByAll) {
    Group g(2);
    g.create(1, kTable);
    g.pass(1000);
    g.disk.resize(8 << 20);  // the device has grown, and node 2 sees it so
    g.create(2, kTable);
    g.pass(1000);
    ASSERT_EQ(g.log(2).phase(), Phase::active);
    EXPECT_GT(g.log(1).state().slots, 0u);
    EXPECT_EQ(g.log(1).state().slots, g.log(2).state().slots);
}

TEST(ReplacedLeg, ATableThatLeavesOneOutIsNotRefused) {
    for (const auto& left : {std::vector{disk("a"), disk("c")}, std::vector{disk("b"), disk("c")}, std::vector{disk("a"), disk("b")}}) {
        Mirrored m;
        m.close();
        m.disks_were = {disk("a"), disk("b"), disk("c")};
        m.disks_are = left;
        m.load(kTable);
        EXPECT_EQ(m.log().phase(), Phase::active);
    }
    Mirrored m;
    m.close();
    m.disks_were = {disk("a"), disk("b"), disk("c")};
    m.disks_are = disks("c", "a");  // they have changed places
    m.load(kTable);
    EXPECT_EQ(m.log().phase(), Phase::detached);
}

// The daemon dies while a table is refused; the administrator loads the right one.
TEST(ReplacedLeg, OfATableThatIsFoundRunningIsLeftForTheRightOne) {
    Solo s;
    s.disks_were = disks("a", "b");
    s.disks_are = disks("a", "c");
    s.step(ev::FoundLive{"LVM-x", kTable, {}});
    s.pass(1000);
    ASSERT_EQ(s.cluster.logs().at("LVM-x")->phase(), Phase::looking);
    EXPECT_EQ(s.suspends, 1u);
    s.ask(Request::postsuspend, {}, 1);
    s.disks_are = disks("a", "b");
    s.ask(Request::ctr, Solo::text(kTable), 2);
    s.ask(Request::resume, {}, 2);
    s.pass(3000);
    EXPECT_EQ(s.cluster.logs().at("LVM-x")->phase(), Phase::active);
}
