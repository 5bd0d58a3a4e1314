// SPDX-License-Identifier: GPL-2.0-or-later
// A multipath map that shares an array with other nodes: the module's own grouping.h, and around it what dm-mpath/cluster.c and
// dm-raid1-ext/log_groups.c do with paths, handlers and locks.
#pragma once

#include <algorithm>

#include "clogd/core/event.hh"
#include "dm-raid1-ext/grouping.h"
#include "tests/sim/kernel_model.hh"

namespace sim {

struct MapHabits {
    uint32_t groups = 2;
    std::vector<uint32_t> order;  // the best first
    bool fails_back = true;
};

class GroupsMap final : public Kernel {
  public:
    GroupsMap(KernelHost& host, NodeId node, size_t index, std::string uuid, uint32_t id, MapHabits habits, uint16_t said)
        : host_(host), node_(node), index_(index), uuid_(std::move(uuid)), id_(id), habits_(std::move(habits)), said_(said) {
        for (uint32_t g = 0; g < habits_.groups; ++g) grouping_.reach |= 1u << g;
        grouping_reset(&grouping_, said_);
    }
    ~GroupsMap() override { *alive_ = false; }

    void activate() override {
        live_ = say_create_ = say_resume_ = true;
        poke();
        look_again();
    }
    void submit(Bio) override {}
    bool active() const override { return live_; }
    uint32_t in_flight() const override { return current_ != grouping_.in_use || activating_; }
    const std::string& uuid() const override { return uuid_; }
    const std::string& ctr() const override { return ctr_; }
    uint32_t current() const { return current_; }
    bool reaches(uint32_t group) const { return grouping_.reach >> group & 1; }

    void heal(uint32_t group) {
        if (group < habits_.groups) path(group, true);
    }
    void path(uint32_t group, bool on) {
        if (grouping_reach(&grouping_, group, on)) poke();
        look();
    }

    // ---- the channel
    std::vector<clogd::Event> compose() override {
        if (std::exchange(say_create_, false)) {
            std::vector<clogd::Event> out;
            if (told_once_ && live_) out.push_back(found());
            told_once_ = true;
            out.push_back(call(Request::ctr, Bytes(ctr_.begin(), ctr_.end())));
            return out;
        }
        if (std::exchange(say_resume_, false)) return {call(Request::resume, {})};
        if (live_ && std::exchange(grouping_.say, false)) return {clogd::ev::Groups{uuid_, {grouping_.reach, static_cast<uint8_t>(grouping_.wants), grouping_.said}}};
        if (live_ && std::exchange(grouping_.say_switched, false)) return {clogd::ev::Switched{uuid_, grouping_.turn, static_cast<uint8_t>(grouping_.how)}};
        if (std::exchange(say_suspend_, false)) {
            suspend_asked_ = true;
            return {call(Request::postsuspend, {})};
        }
        return {};
    }
    void tell(const clogd::out::Tell& t) override {
        if (t.log != id_) return;
        if (t.type == CLOG_STATE) {
            active_ = t.value & CLOG_STATE_ACTIVE;
            lease_until_ = host_.now_us() + t.serial * 1000;
        } else if (t.type == CLOG_GROUP && live_) {
            if (!grouping_take(&grouping_, t.value, t.serial)) host_.broken("GROUP that makes no sense");
            if (grouping_.say || grouping_.say_switched) poke();
        }
        look();
    }
    void daemon_left() override {
        say_create_ = true;
        say_resume_ = live_;
        grouping_say_again(&grouping_);
        if (std::exchange(suspend_asked_, false)) say_suspend_ = true;
    }
    void reply(const proto::ulog::Reply& r) override {
        if (r.type != Request::postsuspend || !std::exchange(suspend_asked_, false)) return;
        grouping_reset(&grouping_, said_ += 100);
        active_ = live_ = say_resume_ = false;
        host_.after(100'000, guard([this] {
                        live_ = say_resume_ = true;
                        poke();
                    }));
    }
    void leave() override {
        if (!live_ || activating_ || say_suspend_ || suspend_asked_) return;
        say_suspend_ = true;
        poke();
    }

  private:
    void poke() { host_.channel_poke(node_, index_); }
    std::function<void()> guard(std::function<void()> f) {
        return [alive = alive_, f = std::move(f)] {
            if (*alive) f();
        };
    }
    clogd::ev::Call call(Request type, Bytes data) {
        proto::ulog::Call c;
        c.luid = id_;
        c.uuid = uuid_;
        c.seq = ++serial_;
        c.type = type;
        c.data = std::move(data);
        c.channel = true;
        return {c};
    }
    bool usable(uint32_t group) const { return group < habits_.groups && reaches(group); }
    uint32_t best() const {
        for (uint32_t g : habits_.order)
            if (reaches(g)) return g;
        return CLOG_GROUP_NONE;
    }
    uint32_t desired() const {
        if (!usable(current_)) return usable(grouping_.in_use) ? grouping_.in_use : best();
        return habits_.fails_back ? best() : current_;
    }
    void look() {
        if (!live_ || activating_) return;
        if (!usable(current_)) current_ = CLOG_GROUP_NONE;
        const uint32_t group = desired();
        if (group == CLOG_GROUP_NONE) return;
        bool tell = false;
        grouping_answer answer = grouping_ask(&grouping_, group, &tell);
        if (tell) poke();
        if (!active_ || host_.now_us() >= lease_until_) return;
        if (grouping_granted(&grouping_, group)) enter(group, true);
        else if (!grouping_.busy && usable(grouping_.in_use)) enter(grouping_.in_use, false);
        else if (answer == GROUPING_GUEST && !usable(current_)) current_ = group;
    }
    void enter(uint32_t group, bool granted) {
        if (current_ == group && !granted) return;
        activating_ = true;
        host_.switch_array(node_, index_, group, granted, guard_bool([this, group](bool ok) {
                               activating_ = false;
                               if (ok) current_ = group;
                               if (grouping_end(&grouping_, group, ok ? CLOG_SWITCH_DONE : CLOG_SWITCH_FAILED)) poke();
                               if (!ok && grouping_reach(&grouping_, group, false)) poke();
                               if (!ok) host_.after(400'000, guard([this, group] { path(group, true); }));  // as the prober has it
                               look();
                           }));
    }
    std::function<void(bool)> guard_bool(std::function<void(bool)> f) {
        return [alive = alive_, f = std::move(f)](bool ok) {
            if (*alive) f(ok);
        };
    }
    void look_again() {
        host_.after(100'000, guard([this] {
                        look();
                        look_again();
                    }));
    }

    KernelHost& host_;
    NodeId node_;
    size_t index_;
    std::string uuid_, ctr_ = "1024 groups";
    uint32_t id_, serial_ = 0;
    MapHabits habits_;
    uint16_t said_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    grouping grouping_{};
    uint32_t current_ = CLOG_GROUP_NONE;
    bool live_ = false, say_create_ = false, say_resume_ = false, say_suspend_ = false, suspend_asked_ = false, told_once_ = false;
    bool active_ = false, activating_ = false;
    uint64_t lease_until_ = 0;
};

}  // namespace sim
