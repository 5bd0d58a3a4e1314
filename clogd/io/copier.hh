// SPDX-License-Identifier: GPL-2.0-or-later
// Copies regions from one leg to others, in user space, with direct I/O. Nobody writes them meanwhile (I2 is the core's).
//
// Threads of its own; every result is told through `report` from one of them. A region counts as done only after the legs were
// flushed. What somebody waits for goes first. cancel() returns at once; `idle` is told when nothing is in flight any more.
//
// Before each piece is written it is asked whether that is still allowed: not after a cancel, nor after the moment that may_write_until()
// named (I4). So copying ends by itself when whoever asked for it hangs, and what was read before a pause is not written after it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "clogd/core/range_set.hh"
#include "clogd/io/block_device.hh"
#include "clogd/io/clock.hh"
#include "clogd/io/mirror_device.hh"

namespace clogd::io {

// A leg as copying uses it. 0, or a negative errno.
struct CopyLeg {
    virtual ~CopyLeg() = default;
    virtual int read(uint8_t* to, size_t length, uint64_t offset) = 0;
    virtual int write(const uint8_t* from, size_t length, uint64_t offset) = 0;
    virtual int flush() = 0;
    virtual bool empty(uint64_t, size_t) { return false; }  // true: it is known to hold nothing there, which reads as zeros
    virtual std::string name() const = 0;
};
using CopyLegs = std::vector<std::unique_ptr<CopyLeg>>;

// Reads a little of a leg, straight from its device. 0, or a negative errno.
int probe_leg(const std::vector<Leg>& legs, uint8_t leg);

class Copier {
  public:
    struct Report {
        std::vector<Range> done, failed;
        std::string error;
        int failed_leg = -1;
        std::string mended;  // what one leg could not read and another could
    };
    Copier(std::function<void(Report)> report, std::function<void()> idle);
    ~Copier();

    // Opens the legs; one that cannot be opened fails where it is used. An error text if none can.
    std::string use_legs(const std::vector<Leg>& legs);
    void use_legs(CopyLegs legs);
    void close_legs();
    // From one leg, by its place, to those whose bits are set in `to`. Ranges that still wait go to the same. What cannot be read in `any` is
    // read from one of `to`, and rewritten on `from`.
    void copy(uint32_t region_sectors, uint64_t sectors, const std::vector<Range>& ranges, uint8_t from = 0, uint16_t to = UINT16_MAX, const std::vector<Range>& any = {});
    void copy_first(Region region);
    void may_write_until(TimeMs until);  // of boot_clock_ms(); what is not copied by then waits until this is told anew
    // Bytes per second (0: as fast as it goes), and one in how much of its time (1: all of it). A region for which somebody waits is copied at once all the same.
    void set_rate(uint64_t bytes_per_s, uint32_t one_in = 1);
    void cancel();
    int flush(uint16_t legs = UINT16_MAX);  // makes durable what these legs hold
    uint64_t bytes_copied() const { return bytes_; }
    uint64_t bytes_skipped() const { return skipped_; }  // no leg holds anything there

  private:
    static constexpr size_t kThreads = 4;  // so that a leg is read while others are written and flushed
    static constexpr uint64_t kChunkBytes = 1 << 20;
    static constexpr uint64_t kBatchBytes = 8 << 20;
    static constexpr uint64_t kGentleBytes = 64 << 10;  // at once, where others come first
    static constexpr uint64_t kMendBytes = 4 << 10;     // taken from another leg around what cannot be read
    void run(const std::stop_token& stop, size_t thread);
    bool may_copy(size_t thread) const;
    struct Way {
        uint8_t from = 0;
        uint16_t to = UINT16_MAX;
        bool has(size_t leg) const { return leg == from || (to >> leg & 1); }
    };
    bool lapsed() const { return boot_clock_ms() >= until_; }
    bool may_write(uint64_t cancels) const { return cancels == cancels_ && !lapsed(); }
    struct Job {
        const CopyLegs& legs;
        Way way;
        const RangeSet& any;
        AlignedBuffer& buffer;
        size_t piece;
        uint64_t cancels;  // there had been when it began
        Report& report;
    };
    int copy_range(const Job& job, Range range);
    int read_around(const Job& job, uint64_t at, size_t length) const;
    static bool nothing_to_copy(const CopyLegs& legs, Way way, AlignedBuffer& buffer, uint64_t at, size_t length);
    static int flush_legs(const CopyLegs& legs, uint16_t which, int* failed_leg);
    bool must_wait(std::unique_lock<std::mutex>& lock, const std::stop_token& stop);
    Range next_range(bool* wanted);
    void copy_one(std::unique_lock<std::mutex>& lock, AlignedBuffer& buffer, Range range, bool wanted);
    void finish(std::unique_lock<std::mutex>& lock);

    std::function<void(Report)> report_;
    std::function<void()> idle_;
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::shared_ptr<CopyLegs> legs_;
    RangeSet todo_, any_;
    std::deque<Region> first_;
    RangeSet done_;
    uint32_t region_sectors_ = 0;
    uint64_t sectors_ = 0;
    Way way_;
    size_t running_ = 0;
    bool cancelled_ = false, urgent_ = false;
    std::atomic<uint64_t> cancels_{0};
    std::atomic<TimeMs> until_{0};
    uint64_t rate_ = 0;
    uint32_t one_in_ = 1;
    std::chrono::steady_clock::time_point next_{};  // before then nothing is begun
    std::atomic<uint64_t> bytes_{0}, skipped_{0};
    std::vector<std::jthread> threads_;
};

}  // namespace clogd::io
