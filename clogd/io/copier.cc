// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/copier.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "clogd/io/thin_disk.hh"

namespace clogd::io {

namespace {
constexpr std::chrono::seconds kLongestPause{1};

struct LegDevice final : CopyLeg {
    std::unique_ptr<BlockDevice> device;
    std::once_flag copied;  // most legs never are
    std::unique_ptr<ThinDisk> thin;
    uint64_t offset = 0;
    LegDevice(std::unique_ptr<BlockDevice> d, uint64_t o) : device(std::move(d)), offset(o) {}
    int read(uint8_t* to, size_t length, uint64_t at) override { return device->read(to, length, at + offset); }
    int write(const uint8_t* from, size_t length, uint64_t at) override { return device->write(from, length, at + offset); }
    int flush() override { return device->flush(); }
    bool empty(uint64_t at, size_t length) override {
        std::call_once(copied, [this] { thin = ThinDisk::open(device->number()); });
        return thin && thin->empty(at + offset, length);
    }
    std::string name() const override { return device->number(); }
};
}  // namespace

int probe_leg(const std::vector<Leg>& legs, uint8_t leg) {
    if (leg >= legs.size()) return -ENXIO;
    std::string error;
    auto device = BlockDevice::open(legs[leg].device, &error);
    if (!device) return -ENXIO;
    AlignedBuffer buffer(4096);
    return device->read(buffer.data(), buffer.size(), legs[leg].offset_sectors * proto::kSectorBytes);
}

Copier::Copier(std::function<void(Report)> report, std::function<void()> idle) : report_(std::move(report)), idle_(std::move(idle)) {}

Copier::~Copier() {
    for (auto& t : threads_) t.request_stop();
    wake_.notify_all();
}

std::string Copier::use_legs(const std::vector<Leg>& legs) {
    CopyLegs opened;
    std::string why;
    bool any = false;
    for (const Leg& leg : legs) {
        std::string error;
        auto device = BlockDevice::open(leg.device, &error);
        if (!device) why = fmt::format("leg {}: {}", leg.device, error);
        any = any || device;
        opened.push_back(device ? std::make_unique<LegDevice>(std::move(device), leg.offset_sectors * proto::kSectorBytes) : nullptr);
    }
    if (!any) return why;
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

void Copier::copy(uint32_t region_sectors, uint64_t sectors, const std::vector<Range>& ranges, uint8_t from, uint16_t to, const std::vector<Range>& any) {
    std::lock_guard lock(mutex_);
    way_ = {from, to};
    any_.add(any);
    region_sectors_ = region_sectors;
    sectors_ = sectors;
    cancelled_ = false;
    todo_.add(ranges);
    if (threads_.empty())
        for (size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this, i](const std::stop_token& stop) { run(stop, i); });
    wake_.notify_all();
}

void Copier::copy_first(Region region) {
    std::lock_guard lock(mutex_);
    urgent_ = true;
    if (todo_.contains(region)) first_.push_back(region);
    wake_.notify_all();
}

void Copier::set_rate(uint64_t bytes_per_s, uint32_t one_in) {
    std::lock_guard lock(mutex_);
    rate_ = bytes_per_s;
    one_in_ = one_in;
    next_ = {};
    wake_.notify_all();
}

// Others come first, and one thread is enough; but not if somebody waits for a region.
bool Copier::may_copy(size_t thread) const { return thread == 0 || one_in_ == 1 || !first_.empty(); }

void Copier::may_write_until(TimeMs until) {
    std::lock_guard lock(mutex_);
    until_ = until;
    wake_.notify_all();
}

// The rate, or whoever comes first, leaves nothing for now: waits a moment, or until something changes.
bool Copier::must_wait(std::unique_lock<std::mutex>& lock, const std::stop_token& stop) {
    if (!first_.empty() || std::chrono::steady_clock::now() >= next_) return false;
    wake_.wait_until(lock, stop, next_, [this, rate = rate_, one_in = one_in_] { return rate_ != rate || one_in_ != one_in || urgent_ || !first_.empty() || todo_.empty(); });
    return true;
}

void Copier::cancel() {
    std::unique_lock lock(mutex_);
    todo_.clear();
    any_.clear();
    first_.clear();
    done_.clear();
    cancelled_ = true;
    ++cancels_;
    if (running_ == 0) {
        lock.unlock();
        idle_();
    }
}

int Copier::flush_legs(const CopyLegs& legs, uint16_t which, int* failed_leg) {
    int error = 0;
    for (size_t i = 0; i < legs.size(); ++i) {
        if (!(which >> i & 1)) continue;
        int r = legs[i] ? legs[i]->flush() : -ENXIO;
        if (r) error = r, *failed_leg = static_cast<int>(i);
    }
    return error;
}

int Copier::flush(uint16_t which) {
    std::shared_ptr<CopyLegs> legs;
    {
        std::lock_guard lock(mutex_);
        legs = legs_;
    }
    int ignored = -1;
    return legs ? flush_legs(*legs, which, &ignored) : -ENODEV;
}

// Where every leg says that it holds nothing they are equal; nobody writes there meanwhile. The disk's word is checked by a look at the first page.
bool Copier::nothing_to_copy(const CopyLegs& legs, Way way, AlignedBuffer& buffer, uint64_t at, size_t length) {
    constexpr size_t kLook = 4096;
    for (size_t i = 0; i < legs.size(); ++i)
        if (way.has(i) && (!legs[i] || !legs[i]->empty(at, length))) return false;
    for (size_t i = 0; i < legs.size(); ++i) {
        if (!way.has(i)) continue;
        const size_t look = std::min(kLook, length);
        if (legs[i]->read(buffer.data(), look, at) != 0 || std::any_of(buffer.data(), buffer.data() + look, [](uint8_t b) { return b != 0; })) return false;
    }
    return true;
}

// Page by page: what the leg itself can read others may have in an older state, if a node died while it wrote there. Rewritten at once, so that a
// leg that is dead costs few tries.
int Copier::read_around(const Job& job, uint64_t at, size_t length) const {
    const CopyLegs& legs = job.legs;
    const Way way = job.way;
    const uint64_t region_bytes = uint64_t{region_sectors_} * proto::kSectorBytes;
    const size_t page = static_cast<size_t>(std::min(kMendBytes, region_bytes));
    for (size_t done = 0; done < length; done += page) {
        uint8_t* to = job.buffer.data() + done;
        const size_t bytes = std::min(page, length - done);
        const int error = legs[way.from]->read(to, bytes, at + done);
        if (error == 0) continue;
        if (!job.any.contains(static_cast<Region>((at + done) / region_bytes))) return error;
        size_t other = 0;
        auto can = [&](size_t leg) { return leg != way.from && way.has(leg) && legs[leg] && legs[leg]->read(to, bytes, at + done) == 0; };
        while (other < legs.size() && !can(other)) ++other;
        if (other == legs.size()) return error;
        if (!may_write(job.cancels)) return -ECANCELED;
        if (int r = legs[way.from]->write(to, bytes, at + done)) return r;
        job.report.mended = fmt::format("leg {} could not be read at byte {}: rewritten from leg {}", legs[way.from]->name(), at + done, legs[other]->name());
    }
    return 0;
}

int Copier::copy_range(const Job& job, Range range) {
    const CopyLegs& legs = job.legs;
    const Way way = job.way;
    uint64_t from = uint64_t{range.start} * region_sectors_ * proto::kSectorBytes;
    uint64_t to = std::min(range.end() * region_sectors_, sectors_) * proto::kSectorBytes;
    auto fail = [&](size_t leg, const char* what, int error) {
        job.report.failed_leg = static_cast<int>(leg);
        job.report.error = fmt::format("{} leg {}: {}", what, leg < legs.size() && legs[leg] ? legs[leg]->name() : fmt::format("{}", leg), std::strerror(-error));
        return error;
    };
    if (way.from >= legs.size() || !legs[way.from]) return fail(way.from, "opening", -ENXIO);
    for (uint64_t at = from; at < to;) {
        if (!may_write(job.cancels)) return -ECANCELED;
        size_t length = static_cast<size_t>(std::min<uint64_t>(job.piece, to - at));
        if (nothing_to_copy(legs, way, job.buffer, at, length)) {
            at += length;
            skipped_ += length;
            continue;
        }
        int r = legs[way.from]->read(job.buffer.data(), length, at);
        if (r && !job.any.empty()) r = read_around(job, at, length);
        if (r == -ECANCELED) return r;
        if (r) return fail(way.from, "reading", r);
        for (size_t i = 0; i < legs.size(); ++i) {
            if (i == way.from || !(way.to >> i & 1)) continue;
            if (!legs[i]) return fail(i, "opening", -ENXIO);
            if (!may_write(job.cancels)) return -ECANCELED;
            if ((r = legs[i]->write(job.buffer.data(), length, at))) return fail(i, "writing", r);
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
    const Way way = way_;
    if (done.empty() || cancelled_) return;
    lock.unlock();
    Report report;
    // None: closed meanwhile. The leg that was read is flushed, too: what was read may be in its cache alone.
    int error = legs ? flush_legs(*legs, static_cast<uint16_t>(way.to | 1u << way.from), &report.failed_leg) : -ENODEV;
    (error ? report.failed : report.done) = done.ranges();
    if (error) report.error = fmt::format("flushing a leg: {}", std::strerror(-error));
    report_(std::move(report));
    lock.lock();
}

// What to copy next: a region for which somebody waits goes first.
Range Copier::next_range(bool* wanted) {
    Range range{};
    while (!first_.empty() && !*wanted) {
        *wanted = todo_.contains(first_.front());
        range = {first_.front(), 1};
        first_.pop_front();
    }
    if (!*wanted) {
        range = todo_.ranges(1).front();
        uint64_t regions = one_in_ > 1 ? 1 : std::max<uint64_t>(1, kChunkBytes / (uint64_t{region_sectors_} * proto::kSectorBytes));
        range.count = static_cast<uint32_t>(std::min<uint64_t>(range.count, regions));
    }
    todo_.remove(range);
    if (rate_) {
        const std::chrono::duration<double> share(static_cast<double>(range.count) * region_sectors_ * proto::kSectorBytes / static_cast<double>(rate_));
        next_ = std::max(next_, std::chrono::steady_clock::now()) + std::chrono::duration_cast<std::chrono::steady_clock::duration>(share);
    }
    return range;
}

// Copies the range; lock is held on entry and on return.
void Copier::copy_one(std::unique_lock<std::mutex>& lock, AlignedBuffer& buffer, Range range, bool wanted) {
    auto legs = legs_;
    const Way way = way_;
    const RangeSet any = any_.within(range);
    any_.remove(range);
    const bool gentle = one_in_ > 1 && !wanted;
    const uint64_t cancels = cancels_;
    lock.unlock();
    const auto began = std::chrono::steady_clock::now();
    Report report;
    int r = legs ? copy_range({*legs, way, any, buffer, gentle ? kGentleBytes : buffer.size(), cancels, report}, range) : -ENODEV;
    lock.lock();
    if (gentle && one_in_ > 1) {
        const auto now = std::chrono::steady_clock::now();
        next_ = std::max(next_, now + std::min<std::chrono::steady_clock::duration>((now - began) * (one_in_ - 1), kLongestPause));
    }
    if (r == 0) {
        done_.add(range);
    } else if (r == -ECANCELED && cancels == cancels_) {  // its time had run out: read anew when there is more
        todo_.add(range);
        any_.add(any);
        if (wanted) first_.push_front(range.start);
    } else if (!cancelled_) {
        report.failed.push_back(range);
        if (!legs) report.error = "the legs are not open";
    }
    if (!report.failed.empty() || !report.mended.empty()) {
        lock.unlock();
        report_(std::move(report));
        lock.lock();
    }
}

void Copier::run(const std::stop_token& stop, size_t thread) {
    AlignedBuffer buffer(kChunkBytes);
    std::unique_lock lock(mutex_);
    while (true) {
        const auto can_copy = [this, thread] { return !todo_.empty() && may_copy(thread) && !lapsed(); };
        wake_.wait(lock, stop, can_copy);
        if (stop.stop_requested()) return;
        if (!can_copy()) continue;
        const bool paused = must_wait(lock, stop);
        if (paused && !urgent_) continue;
        bool wanted = false;
        ++running_;
        if (!paused) {
            const Range range = next_range(&wanted);
            copy_one(lock, buffer, range, wanted);
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
