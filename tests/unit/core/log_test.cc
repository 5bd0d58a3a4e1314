// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's seventeen requests, and what the log promises about marks, copies and its disk.
#include <gtest/gtest.h>

#include "tests/unit/core/solo.hh"

using namespace test;

TEST(Log, CopiesANewMirrorAndCountsIt) {
    Solo s;
    const Log& log = s.live();
    EXPECT_EQ(log.phase(), Phase::active);
    EXPECT_EQ(log.state().unsynced_count(), 0u);  // the harness copies at once
    EXPECT_EQ(log.counters().regions_copied, 128u);
    EXPECT_EQ(s.value(s.ask(Request::get_sync_count)), 128);
}

TEST(Log, WarmRegionCostsNothing) {
    Solo s;
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    s.ask(Request::mark_region, Solo::u64({5}));
    s.ask(Request::flush);
    s.ask(Request::clear_region, Solo::u64({5}));
    uint64_t sends = s.sends, writes = s.disk_writes;
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(s.error(s.ask(Request::mark_region, Solo::u64({5}))), 0);
        EXPECT_EQ(s.error(s.ask(Request::flush)), 0);
        EXPECT_EQ(s.error(s.ask(Request::clear_region, Solo::u64({5}))), 0);
    }
    EXPECT_EQ(s.sends, sends);
    EXPECT_EQ(s.disk_writes, writes);
    EXPECT_EQ(log.counters().warm_marks, 100u);
}

TEST(Log, FirstMarkIsOnePageNoMessageAndSharedByAllThatWait) {
    Solo s;
    s.live("131072 clustered-disk /dev/log 1024 nosync");
    s.hold_writes = true;
    uint64_t sends = s.sends, writes = s.disk_writes;
    uint32_t a = s.ask(Request::mark_region, Solo::u64({1}));
    EXPECT_FALSE(s.answer(a));  // I1: not before it is durable
    EXPECT_EQ(s.disk_writes, writes + 1);
    uint32_t b = s.ask(Request::mark_region, Solo::u64({2, 3}), 1);
    s.release_writes();
    EXPECT_TRUE(s.answer(a));
    EXPECT_FALSE(s.answer(b));
    EXPECT_EQ(s.disk_writes, writes + 2);
    s.release_writes();
    EXPECT_TRUE(s.answer(b));
    EXPECT_EQ(s.sends, sends);
}

TEST(Log, FlushCarriesMarksToo) {
    Solo s;
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    EXPECT_EQ(s.error(s.ask(Request::flush, Solo::u64({7, 8, 9}))), 0);
    EXPECT_EQ(log.marks().size(), 3u);
    EXPECT_EQ(s.value(s.ask(Request::is_clean, Solo::u64({7}))), 0);
    EXPECT_EQ(s.value(s.ask(Request::is_clean, Solo::u64({10}))), 1);
}

TEST(Log, IdleMarksGoAfterTheLegsWereFlushedUsedOnesStay) {
    Solo s;
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    s.ask(Request::mark_region, Solo::u64({1, 2}));
    s.ask(Request::clear_region, Solo::u64({1}));
    s.pass(1000);
    EXPECT_EQ(log.marks().size(), 2u);
    EXPECT_EQ(s.flushes, 0u);
    s.pass(s.config.idle_unmark_ms * 5 / 4);
    EXPECT_EQ(s.flushes, 1u);
    EXPECT_FALSE(log.marks().marked(1));
    EXPECT_TRUE(log.marks().marked(2));
}

TEST(Log, MarksBeyondTheCapLeaveOldestFirst) {
    Config c = Solo::defaults();
    c.mark_cap = 16;
    Solo s(1 << 20, c);
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    for (uint64_t r = 0; r < 40; ++r) {
        s.ask(Request::mark_region, Solo::u64({r}));
        s.ask(Request::clear_region, Solo::u64({r}));
    }
    s.pass(100);
    EXPECT_EQ(log.marks().size(), 16u);
    EXPECT_TRUE(log.marks().marked(39));
    EXPECT_FALSE(log.marks().marked(0));
}

TEST(Log, AWriteToAnUnsyncedRegionWaitsForItsCopy) {
    Solo s;
    s.hold_copies = true;
    s.live();
    uint32_t q = s.ask(Request::in_sync, Solo::u64({100}));
    EXPECT_FALSE(s.answer(q));
    uint32_t r = s.ask(Request::is_remote_recovering, Solo::u64({100}));
    EXPECT_EQ(s.value(r, 0), 0);
    EXPECT_EQ(s.value(r, 1), 128);  // the kernel shall ask IN_SYNC, not this, from now on
    s.release_copies();
    EXPECT_EQ(s.value(q), 1);
}

TEST(Log, TheKernelIsNeverGivenWorkNorBelievedACopy) {
    Solo s;
    s.live();
    EXPECT_EQ(s.value(s.ask(Request::get_resync_work)), 0);
    EXPECT_EQ(s.error(s.ask(Request::set_region_sync, Solo::u64({3, 1}))), 0);
}

TEST(Log, AFailedLegWriteIsRecordedBeforeItIsAnswered) {
    Solo s;
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    s.ask(Request::mark_region, Solo::u64({3}));
    uint32_t q = s.ask(Request::set_region_sync, Solo::u64({3, 0}));
    EXPECT_EQ(s.error(q), 0);
    EXPECT_TRUE(log.state().raw.contains(3));
    EXPECT_EQ(s.value(s.ask(Request::in_sync, Solo::u64({3}))), 0);
    EXPECT_EQ(s.value(s.ask(Request::in_sync, Solo::u64({4}))), 1);
}

TEST(Log, ARestartedDaemonKeepsTheMarksOfTheFirst) {
    Solo first;
    first.live("131072 clustered-disk /dev/log 1024 nosync");
    first.ask(Request::mark_region, Solo::u64({3, 77}));
    Solo second;
    second.disk = first.disk;
    second.step(ev::FoundLive{"LVM-x", "131072 clustered-disk /dev/log 1024 nosync", {}});
    const Log& log = *second.cluster.logs().at("LVM-x");
    ASSERT_EQ(log.phase(), Phase::active);
    EXPECT_TRUE(log.marks().marked(3) && log.marks().marked(77));
    EXPECT_EQ(log.state().unsynced_count(), 0u);                                       // the kernel wrote on: nothing differs
    EXPECT_EQ(second.error(second.ask(Request::mark_region, Solo::u64({5}), 42)), 0);  // under whatever luid
}

TEST(Log, AfterACrashOnlyWhatWasMarkedIsUnsynced) {
    Solo first;
    first.live("131072 clustered-disk /dev/log 1024 nosync");
    first.ask(Request::mark_region, Solo::u64({3, 77}));
    Solo second;
    second.disk = first.disk;
    second.hold_copies = true;
    const Log& log = second.live();
    EXPECT_EQ(log.state().torn.count(), 2u);
    EXPECT_TRUE(log.state().torn.contains(3) && log.state().torn.contains(77));
}

TEST(Log, ACleanCloseLeavesTheKernelsFormat) {
    Solo s;
    s.live();
    s.ask(Request::mark_region, Solo::u64({3}));
    s.ask(Request::clear_region, Solo::u64({3}));
    s.ask(Request::presuspend);
    EXPECT_EQ(s.error(s.ask(Request::postsuspend)), 0);
    auto mirr = proto::logdisk::decode_mirr(s.disk);
    ASSERT_TRUE(mirr);
    EXPECT_EQ(mirr->regions, 128u);
    for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(s.disk[1024 + i], 0xff);
    EXPECT_EQ(s.disk[1024 + 16], 0);
    s.ask(Request::resume);
    EXPECT_FALSE(proto::logdisk::decode_mirr(s.disk));  // in use: the stock kernel must not trust it
}

TEST(Log, StatusAsDmToolsParseIt) {
    Solo s;
    s.live("131072 clustered-disk /dev/log 1024 nosync");
    auto status = [&] {
        const Reply* r = s.answer(s.ask(Request::status_info));
        return std::string(r->data.begin(), r->data.end());
    };
    EXPECT_EQ(status(), "3 clustered-disk 253:4 A");
    s.disk_ok = false;
    uint32_t mark = s.ask(Request::mark_region, Solo::u64({9}));
    EXPECT_EQ(status(), "3 disk 253:4 D");
    EXPECT_FALSE(s.answer(mark));
    s.disk_ok = true;
    s.pass(1500);
    EXPECT_EQ(status(), "3 clustered-disk 253:4 A");
    EXPECT_EQ(s.error(mark), 0);
}

TEST(Log, CoreLogAlone) {
    Solo s;
    const Log& log = s.live("131072 clustered-core 1024 nosync");
    EXPECT_EQ(log.phase(), Phase::active);
    EXPECT_EQ(s.error(s.ask(Request::mark_region, Solo::u64({9}))), 0);
    const Reply* r = s.answer(s.ask(Request::status_info));
    EXPECT_EQ(std::string(r->data.begin(), r->data.end()), "1 clustered-core");
}

TEST(Log, CoreLogWaitsForASecondMemberUnlessToldOtherwise) {
    Config c = Solo::defaults();
    c.alone_core = false;
    Solo s(1 << 20, c);
    s.live("131072 clustered-core 1024 nosync");
    EXPECT_FALSE(s.answer(s.ask(Request::mark_region, Solo::u64({9}))));
}

// A table that was never in use: reads may have the first leg, writes are put off without blocking the kernel's worker.
TEST(Log, ATableThatWaitsDoesNotHangItsReaders) {
    Config c = Solo::defaults();
    Solo s(1 << 20, c);
    s.step(ev::Quorum{1, 1, false});
    s.live("131072 clustered-disk /dev/log 1024 nosync");
    uint32_t write = s.ask(Request::is_remote_recovering, Solo::u64({3}));
    EXPECT_EQ(s.value(write, 0), 1);
    EXPECT_EQ(s.value(write, 1), 0);
    EXPECT_EQ(s.value(s.ask(Request::in_sync, Solo::u64({3}))), 0);
    EXPECT_EQ(s.value(s.ask(Request::get_sync_count)), 0);  // a full count would let writes through to one leg
    s.step(ev::Quorum{1, 1, true});
    s.pass(500);
    EXPECT_EQ(s.value(s.ask(Request::in_sync, Solo::u64({3}))), 1);
}

TEST(Log, WithoutQuorumNothingIsMarkedAndNothingFails) {
    Solo s;
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    s.step(ev::Quorum{1, 1, false});
    EXPECT_EQ(log.phase(), Phase::frozen);
    uint64_t writes = s.disk_writes;
    uint32_t mark = s.ask(Request::mark_region, Solo::u64({9})), read = s.ask(Request::in_sync, Solo::u64({9}));
    EXPECT_FALSE(s.answer(mark) || s.answer(read));
    EXPECT_TRUE(s.answer(s.ask(Request::status_info)));
    EXPECT_EQ(s.value(s.ask(Request::get_sync_count)), 128);
    EXPECT_EQ(s.disk_writes, writes);
    s.step(ev::Quorum{1, 1, true});
    s.pass(500);
    EXPECT_EQ(s.error(mark), 0);
    EXPECT_EQ(s.value(read), 1);
}

TEST(Log, ReconnectingKernelIsGivenNoDeviceItHasNoRoomFor) {
    Solo s;
    uint32_t first = s.ask(Request::ctr, Solo::text("131072 clustered-disk 253:9 1024"));
    EXPECT_EQ(std::string(s.answer(first)->data.begin(), s.answer(first)->data.end() - 1), "253:9");
    EXPECT_TRUE(s.answer(s.ask(Request::ctr, Solo::text("131072 clustered-disk 253:9 1024")))->data.empty());
    EXPECT_TRUE(s.answer(s.ask(Request::ctr, Solo::text("131072 clustered-disk 253:9 1024"), 2, "LVM-y", 1))->data.empty());  // version 1 knows no device
}

TEST(Log, UnknownTablesAreToldToReconnect) {
    Solo s;
    EXPECT_EQ(s.error(s.ask(Request::in_sync, Solo::u64({1}), 99)), -ESRCH);
    EXPECT_EQ(s.error(s.ask(Request::dtr, {}, 99)), 0);
    EXPECT_FALSE(s.answer(s.ask(Request::resume, {}, 99)));  // an error here would make the kernel write to one leg
}

TEST(Log, HeldRequestsAreBounded) {
    Solo s;
    s.live("131072 clustered-disk /dev/log 1024 nosync");
    const Log& log = *s.cluster.logs().at("LVM-x");
    s.step(ev::Quorum{1, 1, false});
    for (uint32_t i = 0; i < 3 * proto::kMaxHeldRequests; ++i) s.ask(Request::in_sync, Solo::u64({i % 128}), 1);
    EXPECT_LE(log.held(), proto::kMaxHeldRequests);
    EXPECT_EQ(log.held(), 128u);  // the same question asked again replaces the first
}

TEST(Log, LogsPerDaemonAreBounded) {
    Solo s;
    for (uint32_t i = 0; i < proto::kMaxLogs; ++i) EXPECT_EQ(s.error(s.ask(Request::ctr, Solo::text("4096 clustered-core 1024"), i + 1, "u" + std::to_string(i))), 0);
    EXPECT_EQ(s.error(s.ask(Request::ctr, Solo::text("4096 clustered-core 1024"), 9999, "one-more")), -ENOSPC);
    EXPECT_EQ(s.cluster.logs().size(), proto::kMaxLogs);
    EXPECT_TRUE(s.noted("the most that one daemon serves"));
    for (uint32_t i = 0; i < proto::kMaxLogs; ++i) s.ask(Request::dtr, {}, i + 1, "u" + std::to_string(i));
    EXPECT_TRUE(s.cluster.logs().empty());
}

TEST(Log, NonsenseFromTheKernelIsRefused) {
    Solo s;
    s.live();
    EXPECT_EQ(s.error(s.ask(Request::mark_region, Solo::u64({128}))), -EINVAL);
    EXPECT_EQ(s.error(s.ask(Request::clear_region, Solo::u64({1ull << 40}))), -EINVAL);
    EXPECT_EQ(s.value(s.ask(Request::in_sync, Solo::u64({128}))), 0);
    EXPECT_TRUE(s.answer(s.ask(Request::mark_region, Bytes{1, 2, 3})));
}

// --- bad input at CTR and on the log disk ----------------------------------------------------------------------------------------

struct BadCtr {
    const char* text;
    const char* says;
};
class CtrTest : public testing::TestWithParam<BadCtr> {};
TEST_P(CtrTest, OneClearMessage) {
    Solo s;
    EXPECT_EQ(s.error(s.ask(Request::ctr, Solo::text(GetParam().text))), -EINVAL);
    EXPECT_TRUE(s.noted(GetParam().says)) << (s.notes.empty() ? "nothing" : s.notes.back());
    EXPECT_TRUE(s.cluster.logs().empty());
}
INSTANTIATE_TEST_SUITE_P(All, CtrTest,
                         testing::Values(BadCtr{"", "incomplete"}, BadCtr{"131072 clustered-core", "incomplete"}, BadCtr{"x clustered-core 1024", "not a number of sectors"},
                                         BadCtr{"131072 clustered-tape 1024", "use clustered-disk or clustered-core"},
                                         BadCtr{"131072 clustered-disk 1024", "needs a log device and a region size"}, BadCtr{"131072 clustered-core 1000", "power of two"},
                                         BadCtr{"131072 clustered-core 1", "power of two"}, BadCtr{"1024 clustered-core 2048", "power of two"},
                                         BadCtr{"131072 clustered-core 1024 sync nosync", "choose one"}, BadCtr{"131072 clustered-core 1024 fast", "not known"},
                                         BadCtr{"99999999999999 clustered-core 2", "larger region size"}, BadCtr{"131072 clustered-disk /dev/a/b 10x", "not a number of sectors"}));

TEST(LogDevice, TooSmall) {
    Solo s(64 << 10);
    EXPECT_EQ(s.error(s.ask(Request::ctr, Solo::text("131072 clustered-disk /dev/log 1024"))), -EINVAL);
    EXPECT_TRUE(s.noted("needs at least 77824 for its log"));
    EXPECT_TRUE(s.cluster.logs().empty());
}

TEST(LogDevice, OfAnotherMirror) {
    Solo first;
    first.live();
    Solo s;
    s.disk = first.disk;
    s.ask(Request::ctr, Solo::text("131072 clustered-disk /dev/log 1024"), 1, "LVM-other");
    uint32_t resume = s.ask(Request::resume, {}, 1, "LVM-other");
    EXPECT_TRUE(s.noted("holds the log of another mirror"));
    EXPECT_EQ(s.error(resume), -EIO);
    EXPECT_EQ(s.disk, first.disk);
}

TEST(LogDevice, GarbageIsNotTrusted) {
    Solo first;
    first.live("131072 clustered-disk /dev/log 1024 nosync");
    Solo s;
    s.disk = first.disk;
    for (size_t at = 8192; at < s.disk.size(); at += 100) s.disk[at] ^= 0x5a;
    s.hold_copies = true;
    const Log& log = s.live();
    EXPECT_EQ(log.state().raw.count(), 128u);
    EXPECT_TRUE(s.noted("damaged pages"));
}

TEST(LogDevice, UnreadableIsReportedAndTriedAgain) {
    Solo s;
    s.disk_ok = false;
    s.live();
    EXPECT_TRUE(s.noted("cannot be read"));
    EXPECT_EQ(s.error(s.seq), -EIO);
    s.disk_ok = true;
    s.pass(3000);
    EXPECT_EQ(s.cluster.logs().at("LVM-x")->phase(), Phase::active);
}

TEST(LogDevice, AGrownMirrorCopiesOnlyWhatIsNew) {
    Solo first;
    first.live();
    first.pass(3000);
    Solo s;
    s.disk = first.disk;
    s.hold_copies = true;
    const Log& log = s.live("196608 clustered-disk /dev/log 1024");
    EXPECT_EQ(log.state().raw.ranges(), (std::vector<Range>{{128, 64}}));
}

TEST(Log, SixteenTebibytesStaySmall) {
    Solo s(8 << 20);
    s.hold_copies = true;
    const Log& log = s.live("34359738368 clustered-disk /dev/log 1024");
    EXPECT_EQ(log.phase(), Phase::active);
    EXPECT_EQ(log.state().raw.count(), 32u << 20);
    EXPECT_EQ(log.state().raw.range_count(), 1u);
    EXPECT_LT(log.state().encode().size(), proto::kMaxMessageBytes);
}

TEST(LogState, TooManyRangesAreJoinedNotDropped) {
    LogState st;
    st.params = {1024, 34359738368ull, 1, 0};
    RangeSet many;
    for (Region r = 0; r < proto::kMaxUnsyncedRanges + 10; ++r) many.add(r * 4);
    EXPECT_TRUE(st.add_torn(many));
    EXPECT_LE(st.torn.range_count(), proto::kMaxUnsyncedRanges);
    EXPECT_EQ(st.torn.intersect(many), many);
    auto back = LogState::decode(st.encode());
    ASSERT_TRUE(back);
    EXPECT_EQ(back->digest(), st.digest());
}

// What decides what the disk is, is written last, and alone.
TEST(Log, ACrashWhileTheLogIsClosedForgetsNothing) {
    constexpr const char* line = "131072 clustered-disk /dev/log 1024";
    Solo s(proto::logdisk::layout(1 << 20, 128).slots_at + 2 * proto::logdisk::kSlotBytes);
    const Log& log = s.live_by_channel(line);
    s.pass(1000);
    ASSERT_EQ(log.state().unsynced_count(), 0u);
    s.hold_copies = true;
    s.tell(ev::Regions::mark, {{1, 1}});
    s.tell(ev::Regions::lost, {{1, 1}});
    s.pass(100);
    ASSERT_TRUE(log.state().unsynced(1));
    size_t cuts = 0;
    s.cut_short = [&](const Bytes& cut) {
        ++cuts;
        Solo next(cut.size());
        next.disk = cut;
        next.hold_copies = true;
        const Log& found = next.live_by_channel(line);
        next.pass(100);
        EXPECT_EQ(found.phase(), Phase::active);
        EXPECT_TRUE(found.state().unsynced(1)) << "cut " << cuts;
    };
    s.by_channel(Request::postsuspend);
    s.pass(500);
    EXPECT_EQ(log.phase(), Phase::detached);
    EXPECT_TRUE(proto::logdisk::decode_mirr(s.disk));
    EXPECT_GE(cuts, 16u);  // two writes of eight sectors
}

// It may be writing, or it may have started anew: nobody knows before its daemon says so.
TEST(Log, WhatAMachineWithoutItsDaemonHadMarkedIsNotInSyncAndNotCopied) {
    Config c = Solo::defaults();
    c.self = 2;
    Solo first(1 << 20, c), second;
    first.live_by_channel();
    first.tell(ev::Regions::mark, {{5, 1}});
    first.pass(100);
    second.disk = first.disk;
    second.step(ev::Ring{2, 1, {1, 2}});
    second.step(ev::Quorum{2, 1, true});
    const Log& log = second.live_by_channel();
    second.pass(1000);
    ASSERT_EQ(log.phase(), Phase::active);
    EXPECT_EQ(log.state().members.at(2).status, Member::absent);
    EXPECT_TRUE(log.state().torn.contains(5));
    EXPECT_TRUE(second.copies.empty());
}

// I4: whoever is out of sight may write until its lease has run out.
TEST(Log, AStateInMemoryIsFormedWhenNobodyCanBeWriting) {
    Config c = Solo::defaults();
    c.dead_wait_ms = 1000;
    Solo s(1 << 20, c);
    const Log& log = s.live_by_channel("131072 clustered-core 1024 nosync");
    s.pass(900);
    EXPECT_EQ(log.phase(), Phase::forming);
    s.pass(200);
    EXPECT_EQ(log.phase(), Phase::active);
}

// I1: a flush that began before a write says nothing of that write, although the write has ended by the time the flush does.
TEST(Log, AMarkThatWasUsedAfterTheFlushBeganStays) {
    Solo s;
    const Log& log = s.live("131072 clustered-disk /dev/log 1024 nosync");
    auto write = [&] {
        s.ask(Request::mark_region, Solo::u64({5}));
        s.ask(Request::clear_region, Solo::u64({5}));
    };
    write();
    s.hold_flushes = true;
    s.pass(13000);
    ASSERT_EQ(s.flushes, 1u);
    write();
    s.step(ev::LegsFlushed{"LVM-x", true});
    EXPECT_TRUE(log.marks().marked(5));
    s.hold_flushes = false;
    s.pass(13000);
    EXPECT_FALSE(log.marks().marked(5));
}

// A kernel that goes on makes "not in sync" of an error, and writes to one leg, unmarked.
TEST(Log, AResumeOfARunningTableIsNotAnsweredWithAnError) {
    const std::string line = "131072 clustered-disk /dev/log 1024 nosync";
    Solo first;
    first.live(line);
    first.ask(Request::mark_region, Solo::u64({7}));
    Solo s;
    s.disk = first.disk;
    s.disk_ok = false;
    s.step(ev::FoundLive{"LVM-x", line, {}});
    s.ask(Request::ctr, Solo::text(line));
    const uint32_t resume = s.ask(Request::resume);
    s.pass(20000);
    EXPECT_TRUE(!s.answer(resume) || s.error(resume) == 0);
    const uint32_t in_sync = s.ask(Request::in_sync, Solo::u64({9}));
    EXPECT_FALSE(s.answer(in_sync));
    s.disk_ok = true;
    s.pass(20000);
    EXPECT_EQ(s.error(resume), 0);
    EXPECT_EQ(s.value(in_sync), 1);
}

// A kernel that was told of a region that is not in sync asks no more there, and writes it to one leg, until its table is replaced.
TEST(Log, WhatTheKernelWasToldIsNotInSyncIsKnownToTheNextDaemon) {
    const std::string line = "131072 clustered-disk /dev/log 1024";
    for (const bool told : {false, true}) {
        Solo first;
        first.legs_ok = !told;  // nobody can copy
        first.live(line);
        first.pass(1000);
        const uint32_t in_sync = first.ask(Request::in_sync, Solo::u64({7}));
        for (int i = 0; i < 1000 && !first.answer(in_sync); ++i) first.pass(100);
        ASSERT_EQ(first.value(in_sync), told ? 0 : 1);
        if (!told) first.ask(Request::mark_region, Solo::u64({7}));
        EXPECT_EQ(first.reloads, 0u);
        Solo s;
        s.disk = first.disk;
        s.step(ev::FoundLive{"LVM-x", line, {}});
        s.pass(20000);
        const Log& log = *s.cluster.logs().at("LVM-x");
        ASSERT_EQ(log.phase(), Phase::active);
        EXPECT_EQ(s.reloads > 0, told);
        if (!told) continue;
        s.step(ev::Quorum{1, 1, false});
        s.ask(Request::postsuspend);  // its daemon has suspended it, which is not enough
        s.step(ev::Quorum{1, 1, true});
        s.pass(20000);
        ASSERT_EQ(log.phase(), Phase::active);
        EXPECT_TRUE(log.state().members.at(1).busy.contains(7));
        s.ask(Request::ctr, Solo::text(line), 2);
        s.ask(Request::postsuspend);
        s.ask(Request::resume, {}, 2);
        s.pass(1000);
        EXPECT_FALSE(log.state().members.at(1).busy.contains(7));
    }
}

// The slot of this node is of an earlier life of its machine, which cannot be seen while it cannot be read.
TEST(Log, WhatADeadKernelHadMarkedIsNotTakenForWhatTheLivingOneHas) {
    const std::string line = "131072 clustered-disk /dev/log 1024 nosync";
    Config c = Solo::defaults();
    c.boot = 77;
    Solo first(1 << 20, c);
    first.live(line);
    ASSERT_EQ(first.error(first.ask(Request::mark_region, Solo::u64({7}))), 0);
    c.boot = 78;
    Solo s(first.disk.size(), c);
    s.disk = first.disk;
    s.hold_copies = true;
    s.disk_ok = false;
    s.step(ev::FoundLive{"LVM-x", line, {}});
    s.ask(Request::ctr, Solo::text(line));
    s.ask(Request::resume);
    s.pass(200);
    s.disk_ok = true;
    s.pass(20000);
    const Log& log = *s.cluster.logs().at("LVM-x");
    ASSERT_EQ(log.phase(), Phase::active);
    EXPECT_TRUE(log.state().unsynced(7));
}

// I1: a slot that is being formatted must not pass for one that was never used.
TEST(Log, ACrashWhileTheSlotsAreFormattedForgetsNoMark) {
    Solo first;
    first.live("131072 clustered-disk /dev/log 1024 nosync");
    ASSERT_EQ(first.error(first.ask(Request::mark_region, Solo::u64({3, 77}))), 0);
    Config c = Solo::defaults();
    c.self = 2;
    c.boot = 78;
    const std::string grown = "196608 clustered-disk /dev/log 1024 nosync";
    size_t cuts = 0, forgot = 0;
    Solo second(first.disk.size(), c);
    second.disk = first.disk;
    second.hold_copies = true;
    second.cut_short = [&](const Bytes& cut) {
        ++cuts;
        Solo third(cut.size(), c);
        third.disk = cut;
        third.hold_copies = true;
        const Log& log = third.live(grown);
        if (log.phase() == Phase::active) forgot += !log.state().unsynced(3) || !log.state().unsynced(77);
    };
    second.live(grown);
    EXPECT_GT(cuts, 0u);
    EXPECT_EQ(forgot, 0u) << "of " << cuts << " cuts";
}
