// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/clogctl/client.hh"

#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <qb/qbipcc.h>

#include "clogd/io/control_peer.hh"
#include "cmd/clogctl/show.hh"
#include "proto/control.hh"

namespace clogctl {

using nlohmann::json;

namespace {

// libqb waits without a limit in more places than one (while it connects, and when the answer has begun to arrive), so the time is kept
// outside of it: a signal that says its words, made beforehand, and ends the process.
class Deadline {
  public:
    Deadline(const Daemon& daemon, const std::string& words) {
        err_ = fmt::format("clogctl: {}\n", words);
        out_ = daemon.as_json ? json{{"ok", false}, {"error", words}}.dump() + "\n" : std::string();
        struct sigaction action {};
        action.sa_handler = [](int) { over(); };
        ::sigaction(SIGALRM, &action, nullptr);
        ::alarm(daemon.timeout_s);
    }
    ~Deadline() { ::alarm(0); }
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;

  private:
    static void over() {
        // Nobody may be left to read it, and there is nobody else to tell.
        [[maybe_unused]] ssize_t written = ::write(STDOUT_FILENO, out_.data(), out_.size());
        written = ::write(STDERR_FILENO, err_.data(), err_.size());
        ::_exit(kNoDaemon);
    }
    static inline std::string out_, err_;
};

std::unique_ptr<qb_ipcc_connection_t, void (*)(qb_ipcc_connection_t*)> connect(const Daemon& daemon) {
    while (true) {
        auto* c = qb_ipcc_connect(daemon.service.c_str(), proto::control::kMaxAnswerBytes);
        if (c || errno != EAGAIN) return {c, qb_ipcc_disconnect};
        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // more are waiting to be let in than the daemon's socket holds
    }
}

}  // namespace

json ask(const Daemon& daemon, json request) {
    request["api"] = proto::control::kApi;
    const auto peer = clogd::io::control_peer(daemon.service);
    if (peer && !peer->trusted())
        throw NotRunning(fmt::format("the control socket's name '{}' is taken by {}, which is not clogd: end that process, and clogd takes the name within a second",
                                     daemon.service, peer->text()));
    Deadline deadline(daemon, fmt::format("clogd hangs: {} has not answered within {} s; see its log (journalctl -u clogd) and what it waits for (cat /proc/{}/stack)",
                                          peer ? peer->text() : "it is there, but", daemon.timeout_s, peer ? std::to_string(peer->pid) : "$(pidof clogd)"));
    auto c = connect(daemon);
    if (!c) {
        const int why = errno;
        if (why == EACCES || why == EPERM) throw NotRunning(fmt::format("clogd does not talk to this user: run clogctl as root ({})", std::strerror(why)));
        throw NotRunning(fmt::format("clogd is not there: nothing listens on '{}' on this node; start it with 'systemctl start clogd' ({})", daemon.service, std::strerror(why)));
    }
    std::string text = request.dump();
    qb_ipc_request_header header{};
    header.id = proto::control::kMessageId;
    header.size = static_cast<int32_t>(sizeof header + text.size());
    iovec iov[2] = {{&header, sizeof header}, {text.data(), text.size()}};
    if (ssize_t r = qb_ipcc_sendv(c.get(), iov, 2); r < 0) throw NotRunning(fmt::format("clogd cannot be asked: {}", std::strerror(static_cast<int>(-r))));
    std::vector<char> buffer(proto::control::kMaxAnswerBytes);
    ssize_t n = qb_ipcc_recv(c.get(), buffer.data(), buffer.size(), -1);
    if (n < 0) throw NotRunning(fmt::format("clogd has ended before it answered ({}): see its log, journalctl -u clogd", std::strerror(static_cast<int>(-n))));
    qb_ipc_response_header out{};
    if (static_cast<size_t>(n) < sizeof out) throw NotRunning("clogd's answer is too short");
    std::memcpy(&out, buffer.data(), sizeof out);
    json answer = json::parse(buffer.data() + sizeof out, buffer.data() + n, nullptr, false);
    if (!answer.is_object()) throw NotRunning("clogd's answer is not JSON");
    if (!answer.value("ok", false)) throw Refused(answer.value("error", "refused"));
    return answer;
}

}  // namespace clogctl
