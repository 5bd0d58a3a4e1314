// SPDX-License-Identifier: GPL-2.0-or-later
// The ordered group that carries the cluster's messages: Corosync's CPG with libquorum's verdicts, or this node alone.
//
// Flow control is a queue: a message that Corosync cannot take now is offered again a little later, in order; nothing sleeps. When
// Corosync goes away, everything queued is dropped (the core starts over with Attach), and the connection is tried again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "clogd/core/event.hh"

namespace clogd::io {

// From asking for a message to be sent to its delivery here, which every member's comes close to.
struct RoundTrips {
    uint64_t count = 0, total_us = 0, longest_us = 0;
};

class Group {
  public:
    virtual ~Group() = default;
    virtual void send(Bytes frame) = 0;
    virtual void rejoin() = 0;
    virtual size_t queued() const = 0;
    virtual std::string trouble() const = 0;  // why it is not connected; empty if it is
    virtual RoundTrips round_trips() const = 0;
};

struct GroupCallbacks {
    std::function<void(const Event&)> event;
    std::function<void(NodeId)> connected;  // with this node's id, before any event
};

std::unique_ptr<Group> corosync_group(boost::asio::io_context& loop, GroupCallbacks callbacks);
std::unique_ptr<Group> solo_group(boost::asio::io_context& loop, GroupCallbacks callbacks);

}  // namespace clogd::io
