// SPDX-License-Identifier: GPL-2.0-or-later
// What every log in a kernel with dm-log-cluster has in common: it speaks on the channel, again to each new daemon, and holds a lease.
#pragma once

#include <utility>

#include "clogd/core/event.hh"
#include "proto/channel.h"
#include "tests/sim/kernel_model.hh"

namespace sim {

class ChannelKernel : public Kernel {
  public:
    ~ChannelKernel() override { *alive_ = false; }
    bool live() const override { return live_; }
    const std::string& uuid() const override { return uuid_; }
    const std::string& ctr() const override { return ctr_; }

  protected:
    ChannelKernel(KernelHost& host, NodeId node, size_t index, std::string uuid, std::string ctr, uint32_t id)
        : host_(host), node_(node), index_(index), uuid_(std::move(uuid)), ctr_(std::move(ctr)), id_(id) {}

    void poke() { host_.channel_poke(node_, index_); }
    template <class F>
    auto guard(F f) {
        return [alive = alive_, f = std::move(f)](auto... arguments) {
            if (*alive) f(arguments...);
        };
    }
    clogd::ev::Call call(Request type, Bytes data = {}, uint8_t legs = 0) {
        proto::ulog::Call c;
        c.luid = id_;
        c.uuid = uuid_;
        c.seq = ++serial_;
        c.type = type;
        c.data = std::move(data);
        c.channel = true;
        c.legs = legs;
        return {c};
    }
    // What comes before everything else, if it is still to be said. `legs`: of its table.
    std::vector<clogd::Event> compose_beginning(uint8_t legs = 0) {
        if (std::exchange(say_create_, false)) {
            std::vector<clogd::Event> out;
            if (told_once_ && live_) out.push_back(found());
            told_once_ = true;
            out.push_back(call(Request::ctr, Bytes(ctr_.begin(), ctr_.end())));
            return out;
        }
        if (std::exchange(say_resume_, false)) return {call(Request::resume, {}, legs)};
        return {};
    }
    // ... and what comes last.
    std::vector<clogd::Event> compose_end() {
        if (!std::exchange(say_suspend_, false)) return {};
        suspend_asked_ = true;
        return {call(Request::postsuspend)};
    }
    void begin() {
        live_ = say_create_ = say_resume_ = true;
        poke();
    }
    void tell_new_daemon() {
        say_create_ = true;
        say_resume_ = live_;
        if (std::exchange(suspend_asked_, false)) say_suspend_ = true;
    }
    // Is it the answer to the suspend? Then the log is out of use until go_on().
    bool suspended_by(const proto::ulog::Reply& r) {
        if (r.type != Request::postsuspend || !std::exchange(suspend_asked_, false)) return false;
        active_ = live_ = say_resume_ = false;
        return true;
    }
    void go_on() {
        live_ = say_resume_ = true;
        poke();
    }
    bool has_lease() const { return active_ && host_.now_us() < lease_until_; }
    void take_lease(const clogd::out::Tell& state) {
        active_ = state.value & CLOG_STATE_ACTIVE;
        lease_until_ = host_.now_us() + state.serial * 1000;
    }

    KernelHost& host_;
    NodeId node_;
    size_t index_;
    std::string uuid_, ctr_;
    uint32_t id_;
    bool live_ = false, say_suspend_ = false, suspend_asked_ = false;

  private:
    uint32_t serial_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    bool say_create_ = false, say_resume_ = false, told_once_ = false, active_ = false;
    uint64_t lease_until_ = 0;
};

}  // namespace sim
