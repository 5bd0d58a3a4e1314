// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/channel_device.hh"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <map>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "clogd/io/logging.hh"
#include "proto/channel.h"

namespace clogd::io {

namespace asio = boost::asio;
using proto::Bytes;
using proto::ulog::Request;

namespace {
constexpr size_t kReadBytes = 8 * CLOG_FRAME_MAX;
constexpr size_t kWriteBytes = 48 << 10;  // the device takes 64 KiB at once; a frame has at most 16
}  // namespace

struct ChannelDevice::Impl : std::enable_shared_from_this<ChannelDevice::Impl> {
    asio::posix::stream_descriptor fd;
    std::function<void(const Event&)> on_event;
    std::array<uint8_t, kReadBytes> buffer{};
    std::map<uint32_t, std::string> logs;  // the kernel's number, uuid
    Bytes out;
    bool lost = false;
    uint32_t logs_at_start = UINT32_MAX, created = 0;

    Impl(asio::io_context& loop, int file, std::function<void(const Event&)> f) : fd(loop, file), on_event(std::move(f)) {}

    void read() {
        fd.async_read_some(asio::buffer(buffer), [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
            if (error == asio::error::operation_aborted) return;
            if (error) {
                log(out::Level::error, fmt::format("the kernel's channel is lost: {}", error.message()));
                self->lost = true;
                return;
            }
            self->take(bytes);
            self->read();
        });
    }
    void take(size_t bytes) {
        for (size_t at = 0; at + sizeof(clog_frame) <= bytes;) {
            clog_frame f;
            std::memcpy(&f, buffer.data() + at, sizeof f);
            if (f.bytes < sizeof f || f.bytes > bytes - at) {
                log(out::Level::error, "the kernel's channel sent a malformed frame: modules and clogd are of different versions");
                lost = true;
                return;
            }
            frame(f, buffer.data() + at + sizeof f);
            at += f.bytes;
        }
    }
    const std::string* uuid_of(const clog_frame& f) const {  // nullptr: no log that was created
        auto it = logs.find(f.log);
        return it == logs.end() ? nullptr : &it->second;
    }
    void frame(const clog_frame& f, const uint8_t* items) {
        switch (f.type) {
            case CLOG_HELLO:
                logs_at_start = f.serial;
                log(out::Level::info, fmt::format("the kernel's channel is open; {} log(s) use it", f.serial));
                if (f.value != CLOG_CHANNEL_VERSION)
                    log(out::Level::error,
                        fmt::format("the kernel speaks version {} of the channel, this clogd version {}: install the same of both", f.value, CLOG_CHANNEL_VERSION));
                return;
            case CLOG_CREATE:
                if (sizeof f + f.count <= f.bytes) create(f, {reinterpret_cast<const char*>(items), f.count});
                return;
            case CLOG_RESUME: call(f, Request::resume); return;
            case CLOG_SUSPEND: call(f, Request::postsuspend); return;
            case CLOG_DESTROY:
                call(f, Request::dtr);
                logs.erase(f.log);
                return;
            case CLOG_MARK: regions(f, items, ev::Regions::mark); return;
            case CLOG_CLEAR: regions(f, items, ev::Regions::clear); return;
            case CLOG_WANT: regions(f, items, ev::Regions::want); return;
            case CLOG_LOST: regions(f, items, ev::Regions::lost); return;
            case CLOG_LEGS_FAILED: legs(f, ev::KernelLegs::failed); return;
            case CLOG_LEGS_FORCED: legs(f, ev::KernelLegs::forced); return;
            case CLOG_LEGS_RESTORE: legs(f, ev::KernelLegs::restore); return;
            case CLOG_FOLLOWS: legs(f, ev::KernelLegs::follows); return;
            case CLOG_PAUSED: legs(f, ev::KernelLegs::paused); return;
            case CLOG_REPAIR:
                if (const std::string* uuid = uuid_of(f)) on_event(ev::Repair{*uuid, f.serial, static_cast<uint16_t>(f.value & CLOG_LEGS_MASK)});
                return;
            case CLOG_RATE:
                if (const std::string* uuid = uuid_of(f)) on_event(ev::Rate{*uuid, f.value});
                return;
            case CLOG_GROUPS:
                if (const std::string* uuid = uuid_of(f))
                    on_event(ev::Groups{*uuid, {f.value, static_cast<uint8_t>(f.serial & CLOG_GROUP_NONE), static_cast<uint16_t>(f.serial >> CLOG_GROUPS_SAID_SHIFT)}});
                return;
            case CLOG_SWITCHED:
                if (const std::string* uuid = uuid_of(f)) on_event(ev::Switched{*uuid, f.serial, static_cast<uint8_t>(std::min(f.value, CLOG_SWITCH_DECLINED))});
                return;
            case CLOG_HELD: regions(f, items, f.value ? ev::Regions::held : ev::Regions::held_end); return;
            default: log(out::Level::warning, fmt::format("ignored a frame of type {} of the kernel's channel", f.type));
        }
    }
    // "<uuid>\0<ctr string>\0"
    void create(const clog_frame& f, std::string_view text) {
        size_t middle = text.find('\0');
        if (middle == 0 || middle >= text.size()) return;
        std::string uuid(text.substr(0, middle)), ctr(text.substr(middle + 1));
        ctr = ctr.c_str();
        logs[f.log] = uuid;
        if (f.value & CLOG_CREATE_IN_USE) on_event(ev::FoundLive{uuid, ctr, agreed(f)});
        ++created;
        call(f, Request::ctr, Bytes(ctr.begin(), ctr.end()));
    }
    void call(const clog_frame& f, Request type, Bytes data = {}) {
        const std::string* uuid = uuid_of(f);
        if (!uuid) return;
        proto::ulog::Call c;
        c.luid = f.log;
        c.uuid = *uuid;
        c.seq = f.serial;
        c.type = type;
        c.data = std::move(data);
        c.channel = true;
        if (type == Request::resume) c.legs = leg_count(f.value);
        on_event(ev::Call{std::move(c)});
    }
    static proto::AgreedLegs agreed(const clog_frame& f) {
        proto::AgreedLegs legs;
        legs.count = leg_count(f.value >> CLOG_CREATE_LEGS_SHIFT & 15);
        legs.away = static_cast<uint16_t>(f.value >> CLOG_CREATE_AWAY_SHIFT & CLOG_LEGS_MASK);
        legs.primary = static_cast<uint8_t>(f.value >> CLOG_CREATE_PRIMARY_SHIFT & CLOG_LEGS_PRIMARY_MASK);
        legs.epoch = f.serial;
        return legs;
    }
    static uint8_t leg_count(uint32_t legs) { return legs >= 2 && legs <= proto::kMaxLegs ? static_cast<uint8_t>(legs) : uint8_t{0}; }
    void legs(const clog_frame& f, ev::KernelLegs::What what) {
        if (const std::string* uuid = uuid_of(f)) on_event(ev::KernelLegs{f.log, *uuid, what, static_cast<uint16_t>(f.value & CLOG_LEGS_MASK), f.serial});
    }
    void regions(const clog_frame& f, const uint8_t* items, ev::Regions::What what) {
        const std::string* uuid = uuid_of(f);
        if (!uuid || f.bytes != sizeof f + f.count * sizeof(clog_range)) return;
        ev::Regions e{f.log, *uuid, what, {}};
        for (size_t i = 0; i < f.count; ++i) {
            clog_range r;
            std::memcpy(&r, items + i * sizeof r, sizeof r);
            if (r.count && uint64_t{r.start} + r.count < UINT32_MAX) e.ranges.push_back({r.start, r.count});
        }
        on_event(std::move(e));
    }
    void put(uint16_t type, uint32_t number, uint32_t serial, uint32_t value, const std::vector<proto::Range>& ranges) {
        assert(ranges.size() <= CLOG_RANGES_MAX);
        clog_frame f{static_cast<uint32_t>(sizeof f + ranges.size() * sizeof(clog_range)), type, static_cast<uint16_t>(ranges.size()), number, serial, value};
        auto append = [this](const void* data, size_t bytes) {
            const auto* from = static_cast<const uint8_t*>(data);
            out.insert(out.end(), from, from + bytes);
        };
        append(&f, sizeof f);
        for (const proto::Range& r : ranges) {
            clog_range c{r.start, r.count};
            append(&c, sizeof c);
        }
        if (out.size() >= kWriteBytes) flush();
    }
    void flush() {
        if (out.empty() || lost) return;
        ssize_t n = ::write(fd.native_handle(), out.data(), out.size());
        if (n != static_cast<ssize_t>(out.size())) {
            log(out::Level::error, fmt::format("the kernel's channel refuses what it is told: {}", std::strerror(errno)));
            lost = true;
        }
        out.clear();
    }
};

ChannelDevice::ChannelDevice(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<ChannelDevice> ChannelDevice::open(asio::io_context& loop, std::function<void(const Event&)> on_event, std::string* why) {
    why->clear();
    int file = ::open("/dev/" CLOG_CHANNEL_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) {
        if (errno != ENOENT) *why = errno == EBUSY ? "another clogd has it open" : std::strerror(errno);
        return nullptr;
    }
    auto impl = std::make_shared<Impl>(loop, file, std::move(on_event));
    impl->read();
    return std::unique_ptr<ChannelDevice>(new ChannelDevice(std::move(impl)));
}

ChannelDevice::~ChannelDevice() {
    boost::system::error_code ignored;
    impl_->fd.close(ignored);
}

void ChannelDevice::answer(const proto::ulog::Reply& reply) {
    if (reply.type == Request::ctr || reply.type == Request::postsuspend)
        impl_->put(CLOG_ANSWER, static_cast<uint32_t>(reply.luid), reply.seq, static_cast<uint32_t>(-reply.error), {});
}

void ChannelDevice::tell(const out::Tell& what) { impl_->put(what.type, what.log, what.serial, what.value, what.ranges); }
void ChannelDevice::flush() { impl_->flush(); }
bool ChannelDevice::told_all() const { return impl_->lost || impl_->created >= impl_->logs_at_start; }
bool ChannelDevice::lost() const { return impl_->lost; }

}  // namespace clogd::io
