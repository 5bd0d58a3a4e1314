// SPDX-License-Identifier: GPL-2.0-or-later
// The netlink connector to the kernel's `userspace` dirty log (proto/ulog.hh).
//
// Joins group 7 alone (a bind mask of 7 would join 1 to 3), and takes only what the kernel itself sent, under the right id. If the
// socket overflows, the kernel asks again after 15 s; it is counted and told.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "proto/ulog.hh"

namespace clogd::io {

class UlogSocket {
  public:
    struct Counters {
        uint64_t received = 0, foreign = 0, malformed = 0, overflows = 0, unsent = 0;
    };
    // Throws std::system_error if the kernel has no connector or denies it.
    UlogSocket(boost::asio::io_context& loop, std::function<void(const proto::ulog::Call&)> on_call);
    ~UlogSocket();
    void answer(const proto::ulog::Reply& reply);
    const Counters& counters() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace clogd::io
