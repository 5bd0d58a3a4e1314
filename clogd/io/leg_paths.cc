// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/leg_paths.hh"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "clogd/io/dm_task.hh"

namespace clogd::io {

namespace {
constexpr uint32_t kMaxPaths = 65536;  // as the mirror's message has it

class Words {
  public:
    explicit Words(const std::string& text) : in_(text) {}
    std::optional<std::string> next() {
        std::string word;
        return in_ >> word ? std::optional(word) : std::nullopt;
    }
    std::optional<uint32_t> number() {
        auto word = next();
        uint32_t n = 0;
        if (!word) return std::nullopt;
        auto [end, error] = std::from_chars(word->data(), word->data() + word->size(), n);
        return error == std::errc{} && end == word->data() + word->size() && n <= kMaxPaths ? std::optional(n) : std::nullopt;
    }
    bool skip(std::optional<uint32_t> count) {
        if (!count) return false;
        for (uint32_t i = 0; i < *count; ++i)
            if (!next()) return false;
        return true;
    }

  private:
    std::istringstream in_;
};

// Fewest of its paths left.
Paths worse(Paths a, Paths b) {
    if (!a.total || !b.total) return a.total ? a : b;
    return uint64_t{b.usable} * a.total < uint64_t{a.usable} * b.total ? b : a;
}

DmTask run_for(int what, dev_t device) {
    DmTask task(dm_task_create(what));
    if (!task || !dm_task_set_major(task.get(), static_cast<int>(major(device))) || !dm_task_set_minor(task.get(), static_cast<int>(minor(device))) ||
        !dm_task_no_flush(task.get()) || !dm_task_run(task.get()))
        return {};
    return task;
}

// The map that is worst off among those below the device, and the device itself.
Paths paths_below(dev_t device, std::set<dev_t>& seen) {
    Paths found;
    if (!dm_is_dm_major(static_cast<uint32_t>(major(device))) || !seen.insert(device).second) return found;
    DmTask status = run_for(DM_DEVICE_STATUS, device);
    if (!status) return found;
    for_each_target(status.get(), [&](uint64_t, const char* type, const char* params) {
        if (std::strncmp(type, "multipath", 9) != 0) return;  // ours may be loaded under another name
        if (auto paths = parse_paths(params)) found = worse(found, *paths);
    });
    if (found.total) return found;
    DmTask task = run_for(DM_DEVICE_DEPS, device);
    const struct dm_deps* deps = task ? dm_task_get_deps(task.get()) : nullptr;
    for (uint32_t i = 0; deps && i < deps->count; ++i) found = worse(found, paths_below(deps->device[i], seen));
    return found;
}
}  // namespace

std::optional<Paths> parse_paths(const std::string& status) {
    Words words(status);
    if (!words.skip(words.number()) || !words.skip(words.number())) return std::nullopt;  // features, hardware handler
    auto groups = words.number();
    if (!groups || !words.number()) return std::nullopt;  // the current one
    Paths paths;
    for (uint32_t g = 0; g < *groups; ++g) {
        if (!words.next() || !words.skip(words.number())) return std::nullopt;  // its state, its selector's figures
        auto count = words.number(), figures = words.number();
        if (!count || !figures) return std::nullopt;
        for (uint32_t p = 0; p < *count; ++p) {
            auto device = words.next(), state = words.next();
            if (!state || (*state != "A" && *state != "F") || !words.number() || !words.skip(figures)) return std::nullopt;
            paths.usable += *state == "A";
            if (++paths.total > kMaxPaths) return std::nullopt;
        }
    }
    return paths;
}

namespace {
std::optional<dev_t> parse_device(const std::string& number) {
    unsigned int big = 0, small = 0;
    char colon = 0;
    std::istringstream in(number);
    return in >> big >> colon >> small && colon == ':' ? std::optional(makedev(big, small)) : std::nullopt;
}
}  // namespace

bool is_multipath_map(const std::string& number) {
    auto lock = device_mapper_lock();
    auto device = parse_device(number);
    DmTask status = device ? run_for(DM_DEVICE_STATUS, *device) : DmTask{};
    size_t targets = 0, maps = 0;
    if (status)
        for_each_target(status.get(), [&](uint64_t, const char* type, const char*) {
            ++targets;
            maps += std::strncmp(type, "multipath", 9) == 0;  // ours may be loaded under another name
        });
    return targets == 1 && maps == 1;
}

std::vector<Paths> paths_of(const std::vector<Leg>& legs) {
    std::vector<Paths> out;
    for (const Leg& leg : legs) {
        auto lock = device_mapper_lock();  // for each anew: a mirror with many legs over many maps must not keep others waiting
        std::set<dev_t> seen;
        auto device = parse_device(leg.device);
        out.push_back(device ? paths_below(*device, seen) : Paths{});
    }
    return out;
}

bool tell_paths(const std::string& mirror, size_t leg, Paths paths) {
    auto lock = device_mapper_lock();
    DmTask task(dm_task_create(DM_DEVICE_TARGET_MSG));
    return task && dm_task_set_name(task.get(), mirror.c_str()) && dm_task_set_sector(task.get(), 0) &&
           dm_task_set_message(task.get(), fmt::format("paths {} {} {}", leg, paths.usable, paths.total).c_str()) && dm_task_run(task.get());
}

std::unique_ptr<DeviceMapperEvents> DeviceMapperEvents::open(boost::asio::io_context& loop, std::function<void()> on_event) {
    int fd = ::open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (fd < 0) return nullptr;
    auto out = std::unique_ptr<DeviceMapperEvents>(new DeviceMapperEvents(loop, fd, std::move(on_event)));
    out->wait();
    return out;
}

void DeviceMapperEvents::wait() {
    control_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
        if (error) return;
        struct dm_ioctl io {};  // from here on what happens counts as new
        io.version[0] = DM_VERSION_MAJOR;
        io.data_size = sizeof io;
        io.data_start = sizeof io;
        if (::ioctl(control_.native_handle(), DM_DEV_ARM_POLL, &io) < 0) return;
        on_event_();
        wait();
    });
}

}  // namespace clogd::io
