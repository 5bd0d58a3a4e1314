// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/clogctl/client.hh"

#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <qb/qbipcc.h>

#include "proto/control.hh"

namespace clogctl {

using nlohmann::json;

json ask(const std::string& service, json request) {
    request["api"] = proto::control::kApi;
    std::unique_ptr<qb_ipcc_connection_t, void (*)(qb_ipcc_connection_t*)> c(qb_ipcc_connect(service.c_str(), proto::control::kMaxAnswerBytes), qb_ipcc_disconnect);
    if (!c) {
        if (errno == EACCES || errno == EPERM) throw NotRunning(fmt::format("clogd does not talk to this user: run clogctl as root ({})", std::strerror(errno)));
        throw NotRunning(fmt::format("clogd does not answer on this node: start it with 'systemctl start clogd' ({})", std::strerror(errno)));
    }
    std::string text = request.dump();
    qb_ipc_request_header header{};
    header.id = proto::control::kMessageId;
    header.size = static_cast<int32_t>(sizeof header + text.size());
    iovec iov[2] = {{&header, sizeof header}, {text.data(), text.size()}};
    if (ssize_t r = qb_ipcc_sendv(c.get(), iov, 2); r < 0) throw NotRunning(fmt::format("clogd cannot be asked: {}", std::strerror(static_cast<int>(-r))));
    std::vector<char> buffer(proto::control::kMaxAnswerBytes);
    ssize_t n = qb_ipcc_recv(c.get(), buffer.data(), buffer.size(), 10000);
    if (n < 0) throw NotRunning(fmt::format("clogd runs, but did not answer within 10 s ({}): see its log, journalctl -u clogd", std::strerror(static_cast<int>(-n))));
    qb_ipc_response_header out{};
    if (static_cast<size_t>(n) < sizeof out) throw NotRunning("clogd's answer is too short");
    std::memcpy(&out, buffer.data(), sizeof out);
    json answer = json::parse(buffer.data() + sizeof out, buffer.data() + n, nullptr, false);
    if (!answer.is_object()) throw NotRunning("clogd's answer is not JSON");
    if (!answer.value("ok", false)) throw Refused(answer.value("error", "refused"));
    return answer;
}

}  // namespace clogctl
