// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/copier.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace clogd::io {

namespace {
struct LegDevice final : CopyLeg {
    std::unique_ptr<BlockDevice> device;
    uint64_t offset = 0;
    LegDevice(std::unique_ptr<BlockDevice> d, uint64_t o) : device(std::move(d)), offset(o) {}
    int read(uint8_t* to, size_t length, uint64_t at) override { return device->read(to, length, at + offset); }
    int write(const uint8_t* from, size_t length, uint64_t at) override { return device->write(from, length, at + offset); }
    int flush() override { return device->flush(); }
    std::string name() const override { return device->number(); }
};
}  // namespace

Copier::Copier(std::function<void(Report)> report, std::function<void()> idle) : report_(std::move(report)), idle_(std::move(idle)) {}

Copier::~Copier() {
    for (auto& t : threads_) t.request_stop();
    wake_.notify_all();
}

std::string Copier::use_legs(const std::vector<Leg>& legs) {
    CopyLegs opened;
    for (const Leg& leg : legs) {
        std::string error;
        auto device = BlockDevice::open(leg.device, &error);
        if (!device) return "leg " + leg.device + ": " + error;
        opened.push_back(std::make_unique<LegDevice>(std::move(device), leg.offset_sectors * proto::kSectorBytes));
    }
    use_legs(std::move(opened));
    return {};
}

void Copier::use_legs(CopyLegs legs) {
    std::lock_guard lock(mutex_);
    legs_ = std::make_shared<CopyLegs>(std::move(legs));
}

void Copier::close_legs() {
    std::lock_guard lock(mutex_);
    legs_.reset();
}

void Copier::copy(uint32_t region_sectors, uint64_t sectors, const std::vector<Range>& ranges) {
    std::lock_guard lock(mutex_);
    region_sectors_ = region_sectors;
    sectors_ = sectors;
    cancelled_ = false;
    todo_.add(ranges);
    if (threads_.empty())
        for (size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
    wake_.notify_all();
}

void Copier::copy_first(Region region) {
    std::lock_guard lock(mutex_);
    urgent_ = true;
    if (todo_.contains(region)) first_.push_back(region);
    wake_.notify_all();
}

void Copier::cancel() {
    std::unique_lock lock(mutex_);
    todo_.clear();
    first_.clear();
    done_.clear();
    cancelled_ = true;
    if (running_ == 0) {
        lock.unlock();
        idle_();
    }
}

int Copier::flush() {
    std::shared_ptr<CopyLegs> legs;
    {
        std::lock_guard lock(mutex_);
        legs = legs_;
    }
    int error = legs ? 0 : -ENODEV;
    if (legs)
        for (const auto& leg : *legs)
            if (int r = leg->flush()) error = r;
    return error;
}

int Copier::copy_range(const CopyLegs& legs, AlignedBuffer& buffer, Range range, std::string* error) {
    uint64_t from = uint64_t{range.start} * region_sectors_ * proto::kSectorBytes;
    uint64_t to = std::min(range.end() * region_sectors_, sectors_) * proto::kSectorBytes;
    for (uint64_t at = from; at < to;) {
        size_t length = static_cast<size_t>(std::min<uint64_t>(buffer.size(), to - at));
        if (int r = legs[0]->read(buffer.data(), length, at)) {
            *error = fmt::format("reading leg {}: {}", legs[0]->name(), std::strerror(-r));
            return r;
        }
        for (size_t i = 1; i < legs.size(); ++i)
            if (int r = legs[i]->write(buffer.data(), length, at)) {
                *error = fmt::format("writing leg {}: {}", legs[i]->name(), std::strerror(-r));
                return r;
            }
        at += length;
        bytes_ += length;
    }
    return 0;
}

// Flushes and reports what was copied; lock is held on entry and on return.
void Copier::finish(std::unique_lock<std::mutex>& lock) {
    RangeSet done = std::exchange(done_, {});
    urgent_ = false;
    auto legs = legs_;
    if (done.empty() || cancelled_) return;
    lock.unlock();
    Report report;
    int error = legs ? 0 : -ENODEV;  // closed meanwhile
    if (legs)
        for (const auto& leg : *legs)
            if (int r = leg->flush()) error = r;
    (error ? report.failed : report.done) = done.ranges();
    if (error) report.error = fmt::format("flushing a leg: {}", std::strerror(-error));
    report_(std::move(report));
    lock.lock();
}

void Copier::run(const std::stop_token& stop) {
    AlignedBuffer buffer(kChunkBytes);
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, stop, [this] { return !todo_.empty(); });
        if (stop.stop_requested()) return;
        if (todo_.empty()) continue;
        Range range{};
        bool wanted = false;
        while (!first_.empty() && !wanted) {
            wanted = todo_.contains(first_.front());
            range = {first_.front(), 1};
            first_.pop_front();
        }
        if (!wanted) {
            range = todo_.ranges(1).front();
            uint64_t regions = std::max<uint64_t>(1, kChunkBytes / (uint64_t{region_sectors_} * proto::kSectorBytes));
            range.count = static_cast<uint32_t>(std::min<uint64_t>(range.count, regions));
        }
        todo_.remove(range);
        ++running_;
        auto legs = legs_;
        lock.unlock();
        std::string error;
        int r = legs ? copy_range(*legs, buffer, range, &error) : -ENODEV;
        lock.lock();
        if (r == 0) {
            done_.add(range);
        } else if (!cancelled_) {
            Report report;
            report.failed.push_back(range);
            report.error = legs ? error : "the legs are not open";
            lock.unlock();
            report_(std::move(report));
            lock.lock();
        }
        // In batches, except where somebody waits: a flush of every leg goes before each report.
        const bool batch = done_.count() * region_sectors_ * proto::kSectorBytes >= kBatchBytes;
        if (wanted || urgent_ || batch) finish(lock);
        // The last one reports the rest, also what the others left to it while it was reporting.
        while (!done_.empty() && todo_.empty() && running_ == 1) finish(lock);
        --running_;
        if (cancelled_ && running_ == 0 && todo_.empty()) {
            done_.clear();
            lock.unlock();
            idle_();
            lock.lock();
            cancelled_ = false;
        }
    }
}

}  // namespace clogd::io
