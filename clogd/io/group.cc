// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/group.hh"

#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <corosync/votequorum.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "clogd/io/logging.hh"

namespace clogd::io {

namespace asio = boost::asio;

namespace {

constexpr auto kReconnect = std::chrono::milliseconds(500);
constexpr auto kOfferAgain = std::chrono::milliseconds(2);
constexpr char kGroupName[] = "clogd-1";

class Corosync final : public Group {
  public:
    Corosync(asio::io_context& loop, GroupCallbacks callbacks) : loop_(loop), callbacks_(std::move(callbacks)), retry_(loop), offer_(loop) { connect(); }
    ~Corosync() override { disconnect(); }

    void send(Bytes frame) override {
        if (!connected_) return;
        queue_.push_back(std::move(frame));
        asked_.push_back(Clock::now());
        if (!offering_) flush();
    }
    void rejoin() override {
        asio::post(loop_, [this, life = life_] {
            if (life == life_ && connected_) failed("the group", CS_ERR_TRY_AGAIN);
        });
    }
    size_t queued() const override { return queue_.size(); }
    std::string trouble() const override { return connected_ ? std::string() : trouble_; }
    RoundTrips round_trips() const override { return round_trips_; }

  private:
    using Clock = std::chrono::steady_clock;

    // Messages of one sender come back in the order in which they were sent.
    void came_back() {
        if (asked_.empty()) return;
        const auto us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - asked_.front()).count());
        asked_.pop_front();
        ++round_trips_.count;
        round_trips_.total_us += us;
        round_trips_.longest_us = std::max(round_trips_.longest_us, us);
    }
    void connect() {
        cpg_model_v1_data_t model{};
        model.cpg_deliver_fn = [](cpg_handle_t h, const cpg_name*, uint32_t node, uint32_t pid, void* data, size_t size) {
            auto* bytes = static_cast<uint8_t*>(data);
            if (node == self(h)->node_ && pid == static_cast<uint32_t>(::getpid())) self(h)->came_back();
            self(h)->callbacks_.event(ev::Deliver{node, Bytes(bytes, bytes + size)});
        };
        model.cpg_confchg_fn = [](cpg_handle_t h, const cpg_name*, const cpg_address* members, size_t n, const cpg_address* left, size_t left_n, const cpg_address*, size_t) {
            ev::Membership m;
            for (size_t i = 0; i < n; ++i) m.members.push_back({members[i].nodeid, members[i].pid});
            for (size_t i = 0; i < left_n; ++i) m.left.push_back(left[i].nodeid);
            self(h)->callbacks_.event(m);
        };
        model.cpg_totem_confchg_fn = [](cpg_handle_t h, cpg_ring_id ring, uint32_t n, const uint32_t* nodes) {
            self(h)->callbacks_.event(ev::Ring{ring.seq, ring.nodeid, {nodes, nodes + n}});
        };
        model.flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF;
        cs_error_t r = cpg_model_initialize(&cpg_, CPG_MODEL_V1, reinterpret_cast<cpg_model_data_t*>(&model), this);
        if (r != CS_OK) return failed("Corosync's CPG service", r);
        cpg_up_ = true;
        quorum_model_v1_data_t quorum{};
        quorum.model = QUORUM_MODEL_V1;
        quorum.quorum_notify_fn = [](quorum_handle_t h, uint32_t quorate, quorum_ring_id ring, uint32_t, const uint32_t*) {
            const void* context = nullptr;
            quorum_context_get(h, &context);
            auto* me = const_cast<Corosync*>(static_cast<const Corosync*>(context));
            me->callbacks_.event(ev::Quorum{ring.seq, ring.nodeid, quorate != 0, me->halves()});
        };
        uint32_t type = 0;
        r = quorum_model_initialize(&quorum_, QUORUM_MODEL_V1, reinterpret_cast<quorum_model_data_t*>(&quorum), &type, this);
        if (r != CS_OK) return failed("Corosync's quorum service", r);
        quorum_up_ = true;
        if (type == QUORUM_FREE) {
            log(out::Level::error, "Corosync has no quorum provider: set 'provider: corosync_votequorum' in the quorum section of corosync.conf");
            return failed("Corosync's quorum service", CS_ERR_NOT_EXIST);
        }
        if ((r = cpg_local_get(cpg_, &node_)) != CS_OK) return failed("Corosync's CPG service", r);
        if ((r = votequorum_initialize(&votes_, nullptr)) != CS_OK) return failed("Corosync's votequorum service", r);
        votes_up_ = true;
        cpg_name name{};
        name.length = sizeof kGroupName - 1;
        std::memcpy(name.value, kGroupName, name.length);
        if ((r = cpg_join(cpg_, &name)) != CS_OK) return failed("joining the CPG group", r);
        int cpg_fd = -1, quorum_fd = -1;
        cpg_fd_get(cpg_, &cpg_fd);
        quorum_fd_get(quorum_, &quorum_fd);
        cpg_watch_.emplace(loop_, ::dup(cpg_fd));
        quorum_watch_.emplace(loop_, ::dup(quorum_fd));
        connected_ = true;
        log(out::Level::info, fmt::format("connected to Corosync as node {}", node_));
        callbacks_.connected(node_);
        if ((r = quorum_trackstart(quorum_, CS_TRACK_CHANGES | CS_TRACK_CURRENT)) != CS_OK) return failed("Corosync's quorum service", r);
        watch(*cpg_watch_, [this] { return cpg_dispatch(cpg_, CS_DISPATCH_ALL); });
        watch(*quorum_watch_, [this] { return quorum_dispatch(quorum_, CS_DISPATCH_ALL); });
    }
    // May those who are out of sight have quorum, too? Taken for yes until Corosync has said.
    bool halves() {
        votequorum_info info{};
        if (votequorum_getinfo(votes_, node_, &info) == CS_OK)
            halves_ = info.flags & (VOTEQUORUM_INFO_TWONODE | VOTEQUORUM_INFO_AUTO_TIE_BREAKER | VOTEQUORUM_INFO_LAST_MAN_STANDING);
        return halves_;
    }
    static Corosync* self(cpg_handle_t h) {
        void* context = nullptr;
        cpg_context_get(h, &context);
        return static_cast<Corosync*>(context);
    }
    void watch(asio::posix::stream_descriptor& fd, const std::function<cs_error_t()>& dispatch) {
        fd.async_wait(asio::posix::stream_descriptor::wait_read, [this, &fd, dispatch, life = life_](const boost::system::error_code& error) {
            if (life != life_) return;
            cs_error_t r = error ? CS_ERR_LIBRARY : dispatch();
            if (life != life_) return;
            if (r != CS_OK && r != CS_ERR_TRY_AGAIN) return failed("Corosync", r);
            watch(fd, dispatch);
        });
    }
    void failed(const char* what, cs_error_t r) {
        std::string text = fmt::format("{} is not to be had ({}): is corosync running on this node? (systemctl status corosync)", what, cs_strerror(r));
        if (text != trouble_) log(out::Level::warning, text);
        trouble_ = text;
        bool was = connected_;
        disconnect();
        if (was) callbacks_.event(ev::Disconnected{});
        retry_.expires_after(kReconnect);
        retry_.async_wait([this](const boost::system::error_code& error) {
            if (!error) connect();
        });
    }
    void disconnect() {
        ++life_;
        connected_ = offering_ = false;
        queue_.clear();
        asked_.clear();
        cpg_watch_.reset();
        quorum_watch_.reset();
        if (std::exchange(quorum_up_, false)) quorum_finalize(quorum_);
        if (std::exchange(votes_up_, false)) votequorum_finalize(votes_);
        if (std::exchange(cpg_up_, false)) cpg_finalize(cpg_);
    }
    void flush() {
        while (!queue_.empty()) {
            iovec iov{queue_.front().data(), queue_.front().size()};
            cs_error_t r = cpg_mcast_joined(cpg_, CPG_TYPE_AGREED, &iov, 1);
            if (r == CS_ERR_TRY_AGAIN) {
                offering_ = true;
                offer_.expires_after(kOfferAgain);
                offer_.async_wait([this, life = life_](const boost::system::error_code& error) {
                    if (error || life != life_) return;
                    offering_ = false;
                    flush();
                });
                return;
            }
            if (r != CS_OK) {
                asio::post(loop_, [this, r, life = life_] {
                    if (life == life_) failed("Corosync", r);
                });
                return;
            }
            queue_.pop_front();
        }
    }

    asio::io_context& loop_;
    GroupCallbacks callbacks_;
    asio::steady_timer retry_, offer_;
    cpg_handle_t cpg_ = 0;
    quorum_handle_t quorum_ = 0;
    votequorum_handle_t votes_ = 0;
    std::optional<asio::posix::stream_descriptor> cpg_watch_, quorum_watch_;
    std::deque<Bytes> queue_;
    std::deque<Clock::time_point> asked_;  // of what is queued or under way
    RoundTrips round_trips_;
    unsigned int node_ = 0;
    std::string trouble_ = "not connected yet";
    uint64_t life_ = 0;
    bool connected_ = false, offering_ = false, cpg_up_ = false, quorum_up_ = false, votes_up_ = false, halves_ = true;
};

// One node that orders its own messages. Always quorate.
class Solo final : public Group {
  public:
    Solo(asio::io_context& loop, GroupCallbacks callbacks) : loop_(loop), callbacks_(std::move(callbacks)) {
        asio::post(loop_, [this] {
            callbacks_.connected(1);
            callbacks_.event(ev::Membership{{{1, 1}}, {}});
            callbacks_.event(ev::Ring{1, 1, {1}});
            callbacks_.event(ev::Quorum{1, 1, true});
        });
    }
    void send(Bytes frame) override {
        asio::post(loop_, [this, f = std::move(frame)]() mutable { callbacks_.event(ev::Deliver{1, std::move(f)}); });
    }
    void rejoin() override {}
    size_t queued() const override { return 0; }
    std::string trouble() const override { return {}; }
    RoundTrips round_trips() const override { return {}; }

  private:
    asio::io_context& loop_;
    GroupCallbacks callbacks_;
};

}  // namespace

std::unique_ptr<Group> corosync_group(asio::io_context& loop, GroupCallbacks callbacks) { return std::make_unique<Corosync>(loop, std::move(callbacks)); }
std::unique_ptr<Group> solo_group(asio::io_context& loop, GroupCallbacks callbacks) { return std::make_unique<Solo>(loop, std::move(callbacks)); }

}  // namespace clogd::io
