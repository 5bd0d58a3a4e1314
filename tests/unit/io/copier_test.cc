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
        std::memcpy(to, bytes->data() + offset, length);
        return 0;
    }
    int write(const uint8_t* from, size_t length, uint64_t offset) override {
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
    bool empty(uint64_t offset, size_t length) override { return offset >= used_to || offset + length <= used_from; }
    std::string name() const override { return "memory"; }
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
    std::mutex mutex;
    std::condition_variable changed;
    RangeSet done;
    auto from = std::make_shared<std::vector<uint8_t>>(size_t{kRegions} * kRegionSectors * 512, 7);
    auto to = std::make_shared<std::vector<uint8_t>>(from->size());
    Copier copier(
        [&](const Copier::Report& r) {
            std::lock_guard lock(mutex);
            done.add(r.done);
            changed.notify_all();
        },
        [] {});
    CopyLegs legs;
    for (const auto& bytes : {from, to}) legs.push_back(std::make_unique<MemoryLeg>(bytes, std::chrono::microseconds(0)));
    copier.use_legs(std::move(legs));
    copier.set_rate(1);  // the second region is due after days
    copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}});
    for (Region wanted : {20u, 11u}) {
        copier.copy_first(wanted);
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return done.contains(wanted); }));
        EXPECT_LE(done.count(), 3u);
    }
    copier.set_rate(0);
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return done.count() == kRegions; }));
    EXPECT_EQ(*from, *to);
}

TEST(Copier, GivesWayWhereOthersComeFirst) {
    std::mutex mutex;
    std::condition_variable changed;
    RangeSet done;
    auto from = std::make_shared<std::vector<uint8_t>>(size_t{kRegions} * kRegionSectors * 512, 7);
    auto to = std::make_shared<std::vector<uint8_t>>(from->size());
    Copier copier(
        [&](const Copier::Report& r) {
            std::lock_guard lock(mutex);
            done.add(r.done);
            changed.notify_all();
        },
        [] {});
    CopyLegs legs;
    for (const auto& bytes : {from, to}) legs.push_back(std::make_unique<MemoryLeg>(bytes, std::chrono::microseconds(0)));
    const auto* written = static_cast<const MemoryLeg*>(legs.back().get());
    copier.use_legs(std::move(legs));
    copier.set_rate(0, 4);
    copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}});
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return done.count() == kRegions; }));
    EXPECT_EQ(*from, *to);
    EXPECT_FALSE(written->eager);
}

// Region 2 holds something on the source alone, region 3 on the target alone; region 5 holds something though both legs deny it.
TEST(Copier, SkipsWhereNoLegHoldsAnything) {
    std::mutex mutex;
    std::condition_variable changed;
    RangeSet done;
    const size_t region = size_t{kRegionSectors} * 512;
    auto from = std::make_shared<std::vector<uint8_t>>(kRegions * region);
    auto to = std::make_shared<std::vector<uint8_t>>(from->size());
    auto fill = [&](std::vector<uint8_t>& leg, size_t r, uint8_t value) { std::fill_n(leg.begin() + static_cast<ptrdiff_t>(r * region), region, value); };
    fill(*from, 2, 7);
    fill(*to, 3, 8);
    fill(*from, 5, 9);
    Copier copier(
        [&](const Copier::Report& r) {
            std::lock_guard lock(mutex);
            done.add(r.done);
            changed.notify_all();
        },
        [] {});
    CopyLegs legs;
    for (size_t used : {2, 3}) {
        auto leg = std::make_unique<MemoryLeg>(used == 2 ? from : to, std::chrono::microseconds(0));
        leg->used_from = used * region;
        leg->used_to = (used + 1) * region;
        legs.push_back(std::move(leg));
    }
    copier.use_legs(std::move(legs));
    copier.copy(kRegionSectors, uint64_t{kRegions} * kRegionSectors, {{0, kRegions}});
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return done.count() == kRegions; }));
    EXPECT_EQ(*from, *to);
    EXPECT_EQ(copier.bytes_copied(), 3 * region);
    EXPECT_EQ(copier.bytes_skipped(), (kRegions - 3) * region);
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
