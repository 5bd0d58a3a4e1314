// SPDX-License-Identifier: GPL-2.0-or-later
// The copier's threads: every region that it was given is reported once, however its threads meet.
#include <gtest/gtest.h>
#include <unistd.h>

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
        copier.may_write_until(UINT64_MAX);
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
    copier.may_write_until(UINT64_MAX);
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
    copier.may_write_until(UINT64_MAX);
    copier.copy(8, 64, {{0, 1}});
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return !error.empty(); }));
    EXPECT_EQ(error, "the legs are not open");
}

// A leg in a file. The test can hold reads, and hears of each write before it happens.
struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool hold_reads = false;
    unsigned reading = 0, writes = 0, after_stop = 0;
    bool stopped = false;
    size_t longest = 0;
};
struct FileLeg final : CopyLeg {
    std::shared_ptr<FILE> file{std::tmpfile(), [](FILE* f) {
                                   if (f) std::fclose(f);
                               }};
    Gate& gate;
    explicit FileLeg(Gate& g, size_t bytes, uint8_t content) : gate(g) {
        std::vector<uint8_t> all(bytes, content);
        EXPECT_EQ(::pwrite(fd(), all.data(), bytes, 0), static_cast<ssize_t>(bytes));
    }
    int fd() const { return ::fileno(file.get()); }
    int read(uint8_t* to, size_t length, uint64_t offset) override {
        const ssize_t n = ::pread(fd(), to, length, static_cast<off_t>(offset));
        std::unique_lock lock(gate.mutex);
        ++gate.reading;
        gate.changed.notify_all();
        gate.changed.wait(lock, [this] { return !gate.hold_reads; });
        --gate.reading;
        gate.changed.notify_all();
        return n == static_cast<ssize_t>(length) ? 0 : -EIO;
    }
    int write(const uint8_t* from, size_t length, uint64_t offset) override {
        {
            std::lock_guard lock(gate.mutex);
            ++gate.writes;
            gate.after_stop += gate.stopped;
            gate.longest = std::max(gate.longest, length);
            gate.changed.notify_all();
        }
        return ::pwrite(fd(), from, length, static_cast<off_t>(offset)) == static_cast<ssize_t>(length) ? 0 : -EIO;
    }
    int flush() override { return ::fdatasync(fd()) ? -errno : 0; }
    std::string name() const override { return "file"; }
};
struct TwoFiles {
    static constexpr uint32_t kSectors = 32768;  // one region, as large as the mirror
    Gate gate;
    FileLeg* leg[2];
    RangeSet done;
    bool failed = false;
    unsigned idle = 0;
    Copier copier{[this](const Copier::Report& r) {
                      std::lock_guard lock(gate.mutex);
                      done.add(r.done);
                      failed = failed || !r.failed.empty();
                      gate.changed.notify_all();
                  },
                  [this] {
                      std::lock_guard lock(gate.mutex);
                      ++idle;
                      gate.changed.notify_all();
                  }};
    TwoFiles() {
        CopyLegs legs;
        for (int i : {0, 1}) {
            legs.push_back(std::make_unique<FileLeg>(gate, size_t{kSectors} * 512, i == 0 ? 7 : 8));
            leg[i] = static_cast<FileLeg*>(legs.back().get());
        }
        copier.use_legs(std::move(legs));
    }
    void begin() { copier.copy(kSectors, kSectors, {{0, 1}}); }
    void hold(bool on) {
        std::lock_guard lock(gate.mutex);
        gate.hold_reads = on;
        gate.changed.notify_all();
    }
    void stop() {
        std::lock_guard lock(gate.mutex);
        gate.stopped = true;
    }
    template <class F>
    bool comes(F what) {
        std::unique_lock lock(gate.mutex);
        return gate.changed.wait_for(lock, std::chrono::seconds(30), what);
    }
    int content(int which, size_t at) const {
        uint8_t byte = 0;
        return ::pread(leg[which]->fd(), &byte, 1, static_cast<off_t>(at)) == 1 ? byte : -1;
    }
};

TEST(Copier, ACancelIsHeededWithinARegion) {
    TwoFiles two;
    two.copier.may_write_until(UINT64_MAX);
    two.hold(true);
    two.begin();
    ASSERT_TRUE(two.comes([&] { return two.gate.reading == 1; }));
    two.stop();
    two.copier.cancel();
    two.hold(false);
    ASSERT_TRUE(two.comes([&] { return two.idle == 1; }));
    EXPECT_EQ(two.gate.writes, 0u);
    EXPECT_TRUE(two.done.empty());
    EXPECT_FALSE(two.failed);
    EXPECT_EQ(two.content(1, 0), 8);
}

TEST(Copier, WritesNoMoreThanAMebibyteAtOnce) {
    TwoFiles two;
    two.copier.may_write_until(UINT64_MAX);
    two.begin();
    ASSERT_TRUE(two.comes([&] { return two.done.contains(0); }));
    EXPECT_EQ(two.gate.longest, size_t{1} << 20);
    EXPECT_EQ(two.content(1, size_t{TwoFiles::kSectors} * 512 - 1), 7);
}

TEST(Copier, NothingIsWrittenBeforeItIsAllowed) {
    TwoFiles two;
    two.begin();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(two.gate.writes, 0u);
    two.copier.may_write_until(UINT64_MAX);
    ASSERT_TRUE(two.comes([&] { return two.done.contains(0); }));
}

// A daemon that hangs, or that was stopped between a read and its write. The time is over while the read lasts; nobody cancels.
TEST(Copier, WhatWasReadBeforeItsTimeWasOverIsReadAgainAndNotWritten) {
    TwoFiles two;
    two.hold(true);
    two.copier.may_write_until(boot_clock_ms() + 100000);
    two.begin();
    ASSERT_TRUE(two.comes([&] { return two.gate.reading == 1; }));
    two.copier.may_write_until(boot_clock_ms());
    two.stop();
    two.hold(false);
    ASSERT_TRUE(two.comes([&] { return two.gate.reading == 0; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    {
        std::lock_guard lock(two.gate.mutex);
        EXPECT_EQ(two.gate.writes, 0u);
        two.gate.stopped = false;
    }
    const uint8_t newer = 9;
    ASSERT_EQ(::pwrite(two.leg[0]->fd(), &newer, 1, 0), 1);
    two.copier.may_write_until(UINT64_MAX);
    ASSERT_TRUE(two.comes([&] { return two.done.contains(0); }));
    EXPECT_EQ(two.content(1, 0), 9);
    EXPECT_EQ(two.content(1, 1), 7);
    EXPECT_FALSE(two.failed);
}

}  // namespace
