// SPDX-License-Identifier: GPL-2.0-or-later
// The character device of dm-log-cluster (proto/channel.h): frames of the kernel's become events, what the core tells becomes frames.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "clogd/core/event.hh"

namespace clogd::io {

class ChannelDevice {
  public:
    // Null without a reason: the module is not loaded. Null with one: it is, and its device cannot be used.
    static std::unique_ptr<ChannelDevice> open(boost::asio::io_context& loop, std::function<void(const Event&)> on_event, std::string* why);
    ~ChannelDevice();
    void answer(const proto::ulog::Reply& reply);
    void tell(const out::Tell& what);
    void flush();  // answer() and tell() collect
    // The logs that were there when it was opened have all been told.
    bool told_all() const;
    bool lost() const;

    static bool is_channel_log(uint64_t luid) { return luid <= UINT32_MAX; }  // netlink's are kernel addresses

  private:
    struct Impl;
    explicit ChannelDevice(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
};

}  // namespace clogd::io
