// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/control.hh"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <system_error>

#include <qb/qbdefs.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "clogd/io/control_peer.hh"
#include "clogd/io/logging.hh"
#include "proto/control.hh"

namespace clogd::io {

namespace asio = boost::asio;

// libqb asks to be told about its file descriptors through C callbacks without a context, so there is one server at a time.
struct Control::Impl {
    struct Watch {
        asio::posix::stream_descriptor fd;
        int32_t events;
        void* data;
        qb_ipcs_dispatch_fn_t fn;
        uint64_t id;
    };
    asio::io_context& loop;
    std::function<std::string(std::string_view)> answer;
    qb_ipcs_service_t* service = nullptr;
    std::map<int, std::shared_ptr<Watch>> watches;
    uint64_t ids = 0;
    asio::steady_timer retry;
    std::string taken_by;  // the process that has the name, if it is not clogd
    static inline Impl* instance = nullptr;

    Impl(asio::io_context& l, const std::string& name, std::function<std::string(std::string_view)> f) : loop(l), answer(std::move(f)), retry(l) {
        instance = this;
        qb_ipcs_service_handlers handlers{};
        handlers.connection_accept = [](qb_ipcs_connection_t*, uid_t uid, gid_t) -> int32_t { return uid == 0 || uid == ::geteuid() ? 0 : -EACCES; };
        handlers.connection_closed = [](qb_ipcs_connection_t*) -> int32_t { return 0; };
        handlers.msg_process = [](qb_ipcs_connection_t* c, void* data, size_t size) -> int32_t { return instance->process(c, data, size); };
        qb_ipcs_poll_handlers poll{};
        poll.job_add = [](qb_loop_priority, void* data, qb_loop_job_dispatch_fn fn) -> int32_t {
            asio::post(instance->loop, [data, fn] { fn(data); });
            return 0;
        };
        poll.dispatch_add = [](qb_loop_priority, int32_t fd, int32_t events, void* data, qb_ipcs_dispatch_fn_t fn) -> int32_t { return instance->add(fd, events, data, fn); };
        poll.dispatch_mod = [](qb_loop_priority, int32_t fd, int32_t events, void* data, qb_ipcs_dispatch_fn_t fn) -> int32_t {
            instance->remove(fd);
            return instance->add(fd, events, data, fn);
        };
        poll.dispatch_del = [](int32_t fd) -> int32_t {
            instance->remove(fd);
            return 0;
        };
        run(name, handlers, poll);
    }

    // Any local user can take the name: that must not keep this node's mirrors waiting, so the rest of the daemon starts without it.
    void run(const std::string& name, qb_ipcs_service_handlers handlers, qb_ipcs_poll_handlers poll) {
        if (const auto peer = control_peer(name)) {
            if (peer->is_clogd())
                throw std::system_error(EADDRINUSE, std::generic_category(),
                                        "another clogd runs on this node, " + peer->text() + ": either clogd.service or the Pacemaker agent starts it, never both");
            return run_later(name, handlers, poll, peer->text() + (peer->ended ? "" : ", which is not clogd"));
        }
        service = qb_ipcs_create(name.c_str(), 0, QB_IPC_SOCKET, &handlers);
        qb_ipcs_enforce_buffer_size(service, proto::control::kMaxAnswerBytes);
        qb_ipcs_poll_handlers_set(service, &poll);
        const int r = qb_ipcs_run(service);
        if (r) service = nullptr;  // libqb has let go of it
        if (r == -EADDRINUSE) return run_later(name, handlers, poll, "a process that lets nobody in");
        if (r) throw std::system_error(-r, std::generic_category(), "control socket '" + name + "' (is /dev/shm or /run full or read-only?)");
        if (!taken_by.empty()) log(out::Level::notice, "the control socket's name '" + name + "' is free again: clogctl works");
        taken_by.clear();
    }
    void run_later(const std::string& name, const qb_ipcs_service_handlers& handlers, const qb_ipcs_poll_handlers& poll, const std::string& by) {
        if (by != taken_by)
            log(out::Level::error, "the control socket's name '" + name + "' is taken by " + by + ": clogctl does not work until it ends; trying again each second");
        taken_by = by;
        retry.expires_after(std::chrono::seconds(1));
        retry.async_wait([this, name, handlers, poll](const boost::system::error_code& error) {
            if (error) return;
            try {
                run(name, handlers, poll);
            } catch (const std::system_error& e) {
                run_later(name, handlers, poll, e.what());
            }
        });
    }
    ~Impl() {
        if (service) qb_ipcs_destroy(service);
        watches.clear();
        instance = nullptr;
    }

    int32_t add(int fd, int32_t events, void* data, qb_ipcs_dispatch_fn_t fn) {
        // asio closes what it owns, so it gets a copy
        auto w = std::make_shared<Watch>(Watch{asio::posix::stream_descriptor(loop, ::dup(fd)), events, data, fn, ++ids});
        watches[fd] = w;
        arm(fd, w);
        return 0;
    }
    void remove(int fd) { watches.erase(fd); }
    void arm(int fd, const std::shared_ptr<Watch>& w) {
        auto type = w->events & POLLOUT ? asio::posix::stream_descriptor::wait_write : asio::posix::stream_descriptor::wait_read;
        w->fd.async_wait(type, [this, fd, id = w->id, type](const boost::system::error_code& error) {
            if (error || instance != this) return;
            auto it = watches.find(fd);
            if (it == watches.end() || it->second->id != id) return;
            auto keep = it->second;
            int32_t r = keep->fn(fd, type == asio::posix::stream_descriptor::wait_write ? POLLOUT : POLLIN, keep->data);
            it = watches.find(fd);
            if (it == watches.end() || it->second->id != id) return;
            if (r < 0) watches.erase(it);
            else arm(fd, keep);
        });
    }
    int32_t process(qb_ipcs_connection_t* c, void* data, size_t size) {
        qb_ipc_request_header header{};
        std::string text;
        if (size >= sizeof header) {
            std::memcpy(&header, data, sizeof header);
            if (header.size >= static_cast<int32_t>(sizeof header) && static_cast<size_t>(header.size) <= size && header.id == proto::control::kMessageId &&
                size <= proto::control::kMaxRequestBytes)
                text = answer(std::string_view(static_cast<char*>(data) + sizeof header, static_cast<size_t>(header.size) - sizeof header));
        }
        if (text.empty()) text = R"({"ok":false,"error":"not a request of clogctl's: use the clogctl of the same version"})";
        if (text.size() > proto::control::kMaxAnswerBytes - 1024) text = R"({"ok":false,"error":"the answer is too large"})";
        qb_ipc_response_header out{};
        out.id = proto::control::kMessageId;
        out.size = static_cast<int32_t>(sizeof out + text.size());
        iovec iov[2] = {{&out, sizeof out}, {text.data(), text.size()}};
        qb_ipcs_response_sendv(c, iov, 2);
        return 0;
    }
};

Control::Control(asio::io_context& loop, const std::string& name, std::function<std::string(std::string_view)> answer)
    : impl_(std::make_unique<Impl>(loop, name, std::move(answer))) {}
Control::~Control() = default;

}  // namespace clogd::io
