// SPDX-License-Identifier: GPL-2.0-or-later
// The copier's threads: every region that it was given is reported once, however its threads meet.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <random>

#include "clogd/io/copier.hh"

using namespace clogd;
using namespace clogd::io;

namespace {

constexpr uint32_t kRegionSectors = 2048;  // as much as a thread takes at once
constexpr uint32_t kRegions = 24;

struct MemoryLeg final : CopyLeg {
    std::shared_ptr<std::vector<uint8_t>> bytes;
    std::chrono::microseconds flush_time;
    std::atomic<int> writers{0};
    std::atomic<bool> eager{false};  // two wrote at once, or much in one piece
    MemoryLeg(std::shared_ptr<std::vector<uint8_t>> b, std::chrono::microseconds t) : bytes(std::move(b)), flush_time(t) {}
    int read(uint8_t* to, size_t length, uint64_t offset) override {
        if (bad_at < offset + length && offset <= bad_at) return -EIO;
        std::memcpy(to, bytes->data() + offset, length);
        return 0;
    }
    int write(const uint8_t* from, size_t length, uint64_t offset) override {
        if (bad_at < offset + length && offset <= bad_at) bad_at = UINT64_MAX;
        if (++writers > 1 || length > (64 << 10)) eager = true;
        std::memcpy(bytes->data() + offset, from, length);
        --writers;
        return 0;
    }
    int flush() override {
        std::this_thread::sleep_for(flush_time);
        return 0;
    }
    size_t used_from = 0, used_to = SIZE_MAX;  // as it says
    std::atomic<uint64_t> bad_at{UINT64_MAX};  // this byte cannot be read until it is written
    bool empty(uint64_t offset, size_t length) override { return offset >= used_to || offset + length <= used_from; }
    std::string name() const override { return "memory"; }
};

constexpr size_t kRegionBytes = size_t{kRegionSectors} * 512;

// Two legs in memory and a copier from the first to the second; what it says that it has done.
struct TwoLegs {
    std::mutex mutex;
    std::condition_variable changed;
    RangeSet done, failed;
    std::shared_ptr<std::vector<uint8_t>> bytes[2];
    MemoryLeg* leg[2];
    Copier copier{[this](const Copier::Report& r) {
                      std::lock_guard lock(mutex);
                      done.add(r.done);
                      failed.add(r.failed);
                      changed.notify_all();
                  },
                  [] {}};

    explicit TwoLegs(uint8_t content) {
        CopyLegs legs;
        for (int i : {0, 1}) {
            bytes[i] = std::make_shared<std::vector<uint8_t>>(kRegions * kRegionBytes, i == 0 ? content : 0);
            legs.push_back(std::make_unique<MemoryLeg>(bytes[i], std::chrono::microseconds(0)));
            leg[i] = static_cast<MemoryLeg*>(legs.back().get());
        }
        copier.use_legs(std::move(legs));
    }
    void fill(int which, size_t region, uint8_t value) { std::fill_n(bytes[which]->begin() + static_cast<ptrdiff_t>(region * kRegionBytes), kRegionBytes, value); }
    void copy_all() { copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}}); }
    template <class F>
    testing::AssertionResult come_to(F what) {
        std::unique_lock lock(mutex);
        if (changed.wait_for(lock, std::chrono::seconds(30), what)) return testing::AssertionSuccess();
        return testing::AssertionFailure() << done.count() << " of " << kRegions << " regions are copied";
    }
    testing::AssertionResult end() {
        return come_to([&] { return done.count() == kRegions; });
    }
    bool equal() const { return *bytes[0] == *bytes[1]; }
};

TEST(Copier, ReportsEveryRegionOnce) {
    std::mutex mutex;
    std::condition_variable changed;
    RangeSet done;
    uint64_t reported = 0;
    auto from = std::make_shared<std::vector<uint8_t>>(size_t{kRegions} * kRegionSectors * 512, 7);
    auto to = std::make_shared<std::vector<uint8_t>>(from->size());
    std::mt19937 random(1);
    Copier copier(
        [&](const Copier::Report& r) {
            std::lock_guard lock(mutex);
            EXPECT_TRUE(r.failed.empty());
            done.add(r.done);
            for (const Range& range : r.done) reported += range.count;
            changed.notify_all();
        },
        [] {});
    for (int round = 0; round < 150; ++round) {
        CopyLegs legs;
        for (const auto& bytes : {from, to}) legs.push_back(std::make_unique<MemoryLeg>(bytes, std::chrono::microseconds(random() % 1500)));
        copier.use_legs(std::move(legs));
        {
            std::lock_guard lock(mutex);
            done.clear();
            reported = 0;
        }
        uint32_t count = 2 + random() % (kRegions - 1);
        copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, count}});
        if (random() % 2) copier.copy_first(static_cast<Region>(random() % count));
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return done.count() == count; }))
            << "round " << round << ": " << done.count() << " of " << count << " regions";
        EXPECT_EQ(reported, count);
    }
    EXPECT_EQ(*from, *to);
}

TEST(Copier, ARateBoundsEverythingButWhatSomebodyWaitsFor) {
    TwoLegs two(7);
    two.copier.set_rate(1);  // the second region is due after days
    two.copy_all();
    for (Region wanted : {20u, 11u}) {
        two.copier.copy_first(wanted);
        ASSERT_TRUE(two.come_to([&] { return two.done.contains(wanted); }));
        std::lock_guard lock(two.mutex);
        EXPECT_LE(two.done.count(), 3u);
    }
    two.copier.set_rate(0);
    ASSERT_TRUE(two.end());
    EXPECT_TRUE(two.equal());
}

TEST(Copier, GivesWayWhereOthersComeFirst) {
    TwoLegs two(7);
    two.copier.set_rate(0, 4);
    two.copy_all();
    ASSERT_TRUE(two.end());
    EXPECT_TRUE(two.equal());
    EXPECT_FALSE(two.leg[1]->eager);
}

// Region 2 holds something on the source alone, region 3 on the target alone; region 5 holds something though both legs deny it.
TEST(Copier, SkipsWhereNoLegHoldsAnything) {
    TwoLegs two(0);
    two.fill(0, 2, 7);
    two.fill(1, 3, 8);
    two.fill(0, 5, 9);
    for (size_t i : {0, 1}) {
        two.leg[i]->used_from = (2 + i) * kRegionBytes;
        two.leg[i]->used_to = (3 + i) * kRegionBytes;
    }
    two.copy_all();
    ASSERT_TRUE(two.end());
    EXPECT_TRUE(two.equal());
    EXPECT_EQ(two.copier.bytes_copied(), 3 * kRegionBytes);
    EXPECT_EQ(two.copier.bytes_skipped(), (kRegions - 3) * kRegionBytes);
}

// Region 4 has a page that the source cannot read. The target has that page, and something else around it.
TEST(Copier, WhatTheSourceCannotReadIsTakenFromAnotherLegThatHasIt) {
    TwoLegs two(7);
    two.fill(1, 4, 8);
    const size_t page = 4 * kRegionBytes + 5 * 4096;
    two.leg[0]->bad_at = page + 100;
    two.copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}}, 0, UINT16_MAX, {{3, 2}});
    ASSERT_TRUE(two.end());
    EXPECT_TRUE(two.equal());
    EXPECT_EQ(two.leg[0]->bad_at, UINT64_MAX);
    for (size_t at : {page, page + 4095}) EXPECT_EQ((*two.bytes[0])[at], 8);
    for (size_t at : {page - 1, page + 4096}) EXPECT_EQ((*two.bytes[0])[at], 7);
}

TEST(Copier, WhatTheSourceAloneHasIsNotTakenFromAnother) {
    TwoLegs two(7);
    two.leg[0]->bad_at = 4 * kRegionBytes + 100;
    two.copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}}, 0, UINT16_MAX, {{3, 1}, {5, 1}});
    ASSERT_TRUE(two.come_to([&] { return two.done.count() + two.failed.count() == kRegions; }));
    EXPECT_TRUE(two.failed.contains(4));
    EXPECT_NE(two.leg[0]->bad_at, UINT64_MAX);
}

TEST(Copier, WhatNoLegCanReadIsAnError) {
    TwoLegs two(7);
    for (MemoryLeg* leg : two.leg) leg->bad_at = 4 * kRegionBytes + 100;
    two.copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}}, 0, UINT16_MAX, {{0, kRegions}});
    ASSERT_TRUE(two.come_to([&] { return two.done.count() + two.failed.count() == kRegions; }));
    EXPECT_TRUE(two.failed.contains(4));
}

TEST(Copier, LegsThatWereClosedAreAnError) {
    std::mutex mutex;
    std::condition_variable changed;
    std::string error;
    Copier copier(
        [&](const Copier::Report& r) {
            std::lock_guard lock(mutex);
            error = r.error;
            changed.notify_all();
        },
        [] {});
    copier.copy(8, 64, {{0, 1}});
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return !error.empty(); }));
    EXPECT_EQ(error, "the legs are not open");
}

}  // namespace
