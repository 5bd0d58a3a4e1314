// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/ulog_socket.hh"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "clogd/io/logging.hh"

namespace clogd::io {

namespace asio = boost::asio;
namespace ulog = proto::ulog;

namespace {
constexpr int kReceiveBuffer = 4 << 20;
}  // namespace

struct UlogSocket::Impl {
    asio::posix::stream_descriptor fd;
    std::function<void(const ulog::Call&)> on_call;
    Counters counters;
    const uint32_t pid = static_cast<uint32_t>(::getpid());

    Impl(asio::io_context& loop, std::function<void(const ulog::Call&)> f) : fd(loop), on_call(std::move(f)) {
        int s = ::socket(PF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
        if (s < 0) throw std::system_error(errno, std::generic_category(), "netlink connector");
        fd.assign(s);
        sockaddr_nl address{};
        address.nl_family = AF_NETLINK;
        if (::bind(s, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) throw std::system_error(errno, std::generic_category(), "netlink bind");
        int group = ulog::kConnectorIdx;
        if (::setsockopt(s, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) throw std::system_error(errno, std::generic_category(), "netlink group 7");
        if (::setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) < 0) ::setsockopt(s, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
        wait();
    }
    void wait() {
        fd.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
            if (error) return;
            receive();
            wait();
        });
    }
    // One frame per wake-up: a mirror's worker asks one thing at a time, so a second read would mostly find nothing.
    void receive() {
        alignas(nlmsghdr) std::array<uint8_t, 16384> buffer;
        sockaddr_nl from{};
        socklen_t from_size = sizeof from;
        ssize_t n = ::recvfrom(fd.native_handle(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
        if (n < 0) {
            if (errno != ENOBUFS) return;
            ++counters.overflows;
            log(out::Level::warning, "the kernel's requests came faster than they were read and some are lost: the kernel repeats them after 15 s");
            return;
        }
        if (from.nl_pid != 0) {  // a process, not the kernel
            ++counters.foreign;
            return;
        }
        nlmsghdr header;
        if (static_cast<size_t>(n) >= sizeof header) std::memcpy(&header, buffer.data(), sizeof header);
        if (static_cast<size_t>(n) < sizeof header || header.nlmsg_len < sizeof header || header.nlmsg_len > static_cast<size_t>(n)) {
            ++counters.malformed;
            return;
        }
        std::string why;
        auto call = ulog::decode(proto::ByteView(buffer.data() + sizeof header, header.nlmsg_len - sizeof header), &why);
        if (!call) {
            if (++counters.malformed < 10) log(out::Level::warning, fmt::format("ignored a netlink message {}", why));
            return;
        }
        ++counters.received;
        on_call(*call);
    }
    void answer(const ulog::Reply& reply) {
        proto::Bytes body = ulog::encode(reply);
        nlmsghdr header{};
        header.nlmsg_len = static_cast<uint32_t>(sizeof header + body.size());
        header.nlmsg_type = NLMSG_DONE;
        header.nlmsg_pid = pid;
        proto::Bytes frame(sizeof header + body.size());
        std::memcpy(frame.data(), &header, sizeof header);
        std::memcpy(frame.data() + sizeof header, body.data(), body.size());
        sockaddr_nl to{};
        to.nl_family = AF_NETLINK;
        if (::sendto(fd.native_handle(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) {
            ++counters.unsent;
            log(out::Level::error, fmt::format("an answer could not be given to the kernel: {}", std::strerror(errno)));
        }
    }
};

UlogSocket::UlogSocket(asio::io_context& loop, std::function<void(const ulog::Call&)> on_call) : impl_(std::make_unique<Impl>(loop, std::move(on_call))) {}
UlogSocket::~UlogSocket() = default;
void UlogSocket::answer(const ulog::Reply& reply) { impl_->answer(reply); }
const UlogSocket::Counters& UlogSocket::counters() const { return impl_->counters; }

}  // namespace clogd::io
