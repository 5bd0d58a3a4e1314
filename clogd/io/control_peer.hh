// SPDX-License-Identifier: GPL-2.0-or-later
// Who listens on a control socket's name. Any local user can take an abstract name, so the daemon and clogctl look before they trust it.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace clogd::io {

struct ControlPeer {
    pid_t pid = 0;
    uid_t uid = 0;
    std::string program;  // as the kernel calls it
    bool ended = false;   // all that is left of it is a thread that waits in the kernel
    bool trusted() const { return uid == 0 || uid == ::geteuid(); }
    bool is_clogd() const { return trusted() && program == "clogd" && !ended; }
    std::string text() const { return fmt::format("process {} ({}{}) of user {}", pid, program, ended ? ", which has ended but for a thread that waits in the kernel" : "", uid); }
};

// nullopt: nobody listens, or so many wait to be let in that the kernel does not say who does. Never waits.
inline std::optional<ControlPeer> control_peer(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name.size() + 1 > sizeof address.sun_path) return std::nullopt;
    std::memcpy(address.sun_path + 1, name.data(), name.size());  // behind a zero: abstract
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return std::nullopt;
    ucred who{};
    socklen_t size = sizeof who;
    // libqb binds the whole of sun_path.
    const bool found = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    ::close(fd);
    if (!found || who.pid == 0) return std::nullopt;
    ControlPeer peer{who.pid, who.uid, {}, false};
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", who.pid)), peer.program);
    std::string stat;
    std::getline(std::ifstream(fmt::format("/proc/{}/stat", who.pid)), stat);
    const size_t state = stat.rfind(") ");
    peer.ended = state != std::string::npos && state + 2 < stat.size() && stat[state + 2] == 'Z';
    return peer;
}

}  // namespace clogd::io
