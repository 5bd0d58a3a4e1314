// SPDX-License-Identifier: GPL-2.0-or-later
// How many paths the legs of a mirror have left on this node, where a multipath map (the kernel's own or ours) is somewhere below them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "clogd/io/mirror_device.hh"

namespace clogd::io {

struct Paths {
    uint32_t usable = 0, total = 0;  // total 0: there is no map below
    bool operator==(const Paths&) const = default;
    bool some_lost() const { return usable < total; }
    bool all_lost() const { return total && !usable; }
};

// Of the status line of a `multipath` target; nullopt: it is none.
std::optional<Paths> parse_paths(const std::string& status);

// For each leg the map below it that is worst off. Blocking, but touches no path.
std::vector<Paths> paths_of(const std::vector<Leg>& legs);

// Is it such a map and nothing else, so that its blocks are those of the disk below? number: major:minor.
bool is_multipath_map(const std::string& number);

// Tells the mirror, so that it reads more from legs that are well connected. False: it would not hear of it.
bool tell_paths(const std::string& mirror, size_t leg, Paths paths);

// Says when any device-mapper device has changed: one came or went, was resumed, or a path of a map has failed or is back.
class DeviceMapperEvents {
  public:
    // Null: device-mapper is not there, or cannot be waited for.
    static std::unique_ptr<DeviceMapperEvents> open(boost::asio::io_context& loop, std::function<void()> on_event);

  private:
    DeviceMapperEvents(boost::asio::io_context& loop, int fd, std::function<void()> on_event) : control_(loop, fd), on_event_(std::move(on_event)) {}
    void wait();
    boost::asio::posix::stream_descriptor control_;
    std::function<void()> on_event_;
};

}  // namespace clogd::io
