// SPDX-License-Identifier: GPL-2.0-or-later
// A multipath map that shares an array with other nodes: the module's own grouping.h, and around it what dm-mpath/cluster.c and
// dm-raid1-ext/log_groups.c do with paths, handlers and locks.
#pragma once

#include <algorithm>

#include "clogd/core/event.hh"
#include "dm-raid1-ext/grouping.h"
#include "tests/sim/channel_kernel.hh"

namespace sim {

struct MapHabits {
    uint32_t groups = 2;
    std::vector<uint32_t> order;  // the best first
    bool fails_back = true;
};

class GroupsMap final : public ChannelKernel {
  public:
    GroupsMap(KernelHost& host, NodeId node, size_t index, std::string uuid, uint32_t id, MapHabits habits, uint16_t said)
        : ChannelKernel(host, node, index, std::move(uuid), "1024 groups", id), habits_(std::move(habits)), said_(said) {
        for (uint32_t g = 0; g < habits_.groups; ++g) grouping_.reach |= 1u << g;
        grouping_reset(&grouping_, said_);
    }
    void activate() override {
        begin();
        look_again();
    }
    void submit(Bio) override {}
    bool active() const override { return live_; }
    uint32_t in_flight() const override { return 0; }
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
        if (auto first = compose_beginning(); !first.empty()) return first;
        if (live_ && std::exchange(grouping_.say, false)) return {clogd::ev::Groups{uuid_, {grouping_.reach, static_cast<uint8_t>(grouping_.wants), grouping_.said}}};
        if (live_ && std::exchange(grouping_.say_switched, false)) return {clogd::ev::Switched{uuid_, grouping_.turn, static_cast<uint8_t>(grouping_.how)}};
        return compose_end();
    }
    void tell(const clogd::out::Tell& t) override {
        if (t.log != id_) return;
        if (t.type == CLOG_STATE) {
            take_lease(t);
        } else if (t.type == CLOG_GROUP && live_) {
            if (!grouping_take(&grouping_, t.value, t.serial)) host_.broken("GROUP that makes no sense");
            if (grouping_.say || grouping_.say_switched) poke();
        }
        look();
    }
    void daemon_left() override {
        tell_new_daemon();
        grouping_say_again(&grouping_);
    }
    void reply(const proto::ulog::Reply& r) override {
        if (!suspended_by(r)) return;
        grouping_reset(&grouping_, said_ += 100);
        host_.after(100'000, guard([this] { go_on(); }));
    }
    void leave() override {
        if (!live_ || activating_ || say_suspend_ || suspend_asked_) return;
        say_suspend_ = true;
        poke();
    }

  private:
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
        if (!has_lease()) return;
        if (grouping_granted(&grouping_, group)) enter(group, true);
        else if (!grouping_.busy && usable(grouping_.in_use)) enter(grouping_.in_use, false);
        else if (answer == GROUPING_GUEST && !usable(current_)) current_ = group;
    }
    void enter(uint32_t group, bool granted) {
        if (current_ == group && !granted) return;
        activating_ = true;
        grouping_begin(&grouping_, group);
        host_.switch_array(node_, index_, group, granted, guard([this, group](bool ok) {
                               activating_ = false;
                               if (ok) current_ = group;
                               if (grouping_end(&grouping_, group, ok ? CLOG_SWITCH_DONE : CLOG_SWITCH_FAILED)) poke();
                               if (!ok && grouping_reach(&grouping_, group, false)) poke();
                               if (!ok) host_.after(400'000, guard([this, group] { path(group, true); }));  // as the prober has it
                               look();
                           }));
    }
    void look_again() {
        host_.after(100'000, guard([this] {
                        look();
                        look_again();
                    }));
    }

    MapHabits habits_;
    uint16_t said_;
    grouping grouping_{};
    uint32_t current_ = CLOG_GROUP_NONE;
    bool activating_ = false;
};

}  // namespace sim
