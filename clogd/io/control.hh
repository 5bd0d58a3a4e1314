// SPDX-License-Identifier: GPL-2.0-or-later
// The control socket (proto/control.hh): libqb's IPC server, turned by the one event loop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

namespace clogd::io {

class Control {
  public:
    // answer: a request's text in, the answer's text out. Throws std::system_error if another clogd has the name; while any other
    // process has it, says so and tries again.
    Control(boost::asio::io_context& loop, const std::string& name, std::function<std::string(std::string_view)> answer);
    ~Control();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace clogd::io
