// SPDX-License-Identifier: GPL-2.0-or-later
// A kernel with dm-raid1-ext over dm-log-cluster: the module's own region.c, picture.c, agreement.h and outcome.h, and around them what write.c,
// share.c and log_cluster.c do with locks, lists and a worker.
#pragma once

#include <algorithm>

#include "clogd/core/event.hh"
#include "dm-raid1-ext/agreement.h"
#include "dm-raid1-ext/outcome.h"
#include "dm-raid1-ext/picture.h"
#include "dm-raid1-ext/region.h"
#include "tests/sim/channel_kernel.hh"

namespace sim {

class ChannelMirror final : public ChannelKernel {
  public:
    ChannelMirror(KernelHost& host, NodeId node, size_t index, std::string uuid, std::string ctr, uint32_t regions, uint32_t legs, uint32_t id, uint64_t idle_us)
        : ChannelKernel(host, node, index, std::move(uuid), std::move(ctr), id), idle_us_(idle_us), flags_(regions), pending_((picture_chunks(regions) + 31) / 32) {
        picture_.regions = regions;
        picture_.flags = flags_.data();
        picture_.pending = pending_.data();
        picture_reset(&picture_);
        agreement_reset(&told_legs_, legs);
        agreed_ = told_legs_;
    }

    void activate() override {
        begin();
        sweep();
    }
    void submit(Bio bio) override {
        ++outstanding_;
        Region r = bio.block / host_.blocks_per_region();
        if (!bio.write) {
            if (may_begin()) {
                read(bio);
            } else {
                reads_.push_back(bio);
                wake();
            }
            return;
        }
        if (auto e = entries_.find(r); e != entries_.end() && may_begin()) {
            region_way way = region_enter(&e->second.r);
            if (way == REGION_EVERY_LEG) {
                send(bio);
                return;
            }
            if (way == REGION_PRIMARY) region_leave(&e->second.r);
        }
        cold_.push_back(bio);
        wake();
    }
    bool active() const override { return live_ && !leaving_; }
    uint32_t in_flight() const override { return outstanding_; }

    // ---- the channel
    // What a read of the device would bring next; empty: nothing.
    std::vector<clogd::Event> compose() override {
        if (auto first = compose_beginning(static_cast<uint8_t>(told_legs_.legs)); !first.empty()) return first;
        if (say_follows_) {
            say_follows_ = false;
            return {legs_event(clogd::ev::KernelLegs::follows, 0, agreed_.epoch)};
        }
        if (std::exchange(say_paused_, false)) return {legs_event(clogd::ev::KernelLegs::paused, saw_, paused_)};
        if (legs_failed_ & ~failed_told_) {
            failed_told_ = legs_failed_;
            return {legs_event(clogd::ev::KernelLegs::failed, legs_failed_, 0)};
        }
        if (legs_forced_) return {legs_event(clogd::ev::KernelLegs::forced, std::exchange(legs_forced_, 0), 0)};
        if (legs_restore_) {
            legs_failed_ = failed_told_ = 0;
            return {legs_event(clogd::ev::KernelLegs::restore, std::exchange(legs_restore_, 0), 0)};
        }
        for (auto& [r, repair] : repairs_)
            if (!std::exchange(repair.told, true)) return {clogd::ev::Repair{uuid_, r, repair.bad}};
        clog_range ranges[PICTURE_CHUNK / 2];
        clog_u16 type = 0;
        clog_u32 more = 0, count = picture_tell(&picture_, &type, &more, ranges);
        if (!type) return compose_end();
        clogd::ev::Regions e{id_, uuid_, {}, {}};
        switch (type) {
            case CLOG_MARK: e.what = clogd::ev::Regions::mark; break;
            case CLOG_CLEAR: e.what = clogd::ev::Regions::clear; break;
            case CLOG_WANT: e.what = clogd::ev::Regions::want; break;
            case CLOG_LOST: e.what = clogd::ev::Regions::lost; break;
            default: e.what = more ? clogd::ev::Regions::held : clogd::ev::Regions::held_end;
        }
        for (clog_u32 i = 0; i < count; ++i) e.ranges.push_back({ranges[i].start, ranges[i].count});
        return {e};
    }
    clogd::ev::FoundLive found() const override {
        clogd::ev::FoundLive f{uuid_, ctr_, {}};
        f.legs.count = static_cast<uint8_t>(told_legs_.legs);
        if (told_legs_.told) {
            f.legs.epoch = told_legs_.epoch;
            f.legs.primary = static_cast<uint8_t>(told_legs_.primary);
            f.legs.away = static_cast<uint16_t>(((1u << told_legs_.legs) - 1) & ~told_legs_.readable);
        }
        return f;
    }
    void tell(const clogd::out::Tell& t) override {
        if (t.log != id_) return;
        if (t.type == CLOG_STATE) {
            if (!has_lease() && t.value & CLOG_STATE_ACTIVE) ++lapses_;
            primary_only_ = t.value & CLOG_STATE_PRIMARY_ONLY;
            take_lease(t);
        } else if (t.type == CLOG_LEGS) {
            if (!live_) return;
            if (!agreement_take(&told_legs_, t.value, t.serial)) host_.broken("LEGS that make no sense");
            legs_news_ = true;
            legs_failed_ &= told_legs_.written;
            failed_told_ &= legs_failed_;
        } else if (t.type == CLOG_PAUSE) {
            paused_ = t.serial;
            say_paused_ = paused_ != 0;
            poke();
        } else if (t.type == CLOG_TAKEN) {
            repairs_.erase(t.serial);
        } else if (t.type == CLOG_RETRY) {
            retry_ |= t.value;
            legs_failed_ &= ~t.value;
            failed_told_ &= ~t.value;
        } else {
            bool news = false;
            for (const auto& r : t.ranges)
                for (uint32_t i = 0; i < r.count; ++i) news |= picture_take(&picture_, t.type, r.start + i);
            if (news) poke();
        }
        if (has_lease() && !picture_.unsynced && !primary_only_) saw_ = false;
        wake();
    }
    void daemon_left() override {
        tell_new_daemon();
        failed_told_ = 0;
        for (auto& [r, repair] : repairs_) repair.told = false;
        if (live_) picture_tell_held(&picture_);
        picture_tell_again(&picture_, 0, picture_.regions);
    }

    void reply(const proto::ulog::Reply& r) override {
        if (!suspended_by(r)) return;
        say_follows_ = false;
        picture_reset(&picture_);
        agreement_reset(&told_legs_, told_legs_.legs);
        legs_news_ = true;
        legs_failed_ = failed_told_ = retry_ = 0;
        repairs_.clear();
        paused_ = 0;
        say_paused_ = false;
        saw_ = true;
        wake();
        host_.after(300'000, guard([this] {
                        leaving_ = false;
                        go_on();
                    }));
    }
    void leave() override {
        if (!active()) return;
        leaving_ = true;
        drain();
    }
    void restore_legs() override {
        retry_ |= (1u << told_legs_.legs) - 1;
        legs_restore_ = retry_;
        poke();
        wake();
    }
    void force_leg(uint32_t leg) override {
        legs_forced_ |= 1u << leg;
        poke();
    }
    void lose_some(uint32_t any) override {
        if (active() && picture_lose(&picture_, any % picture_.regions)) poke();
    }
    // repair.c: a read failed on that leg, and another one could be read.
    void repair(uint32_t any, uint32_t leg) override {
        const Region r = any % picture_.regions;
        if (!active() || !may_begin() || picture_.flags[r] & R_UNSYNCED || (repairs_.size() >= kRepairs && !repairs_.contains(r))) return;
        repairs_[r] = {static_cast<uint16_t>(repairs_[r].bad | 1u << leg), false};
        poke();
    }
    bool asks_for_repair() const override { return !repairs_.empty(); }
    uint32_t readable(Region r) const override {
        if (!may_begin()) return 0;
        return in_sync(r) ? told_legs_.readable : 1u << told_legs_.primary;
    }

  private:
    struct Write {
        Bio bio;
        write_sent sent{};
    };
    static constexpr size_t kRepairs = 8;  // CLUSTER_REPAIRS
    struct AskedRepair {
        uint16_t bad = 0;
        bool told = false;
    };
    struct Entry {
        region r{};
        uint64_t used = 0;
        std::deque<Bio> waiting;
    };

    bool may_begin() const { return has_lease() && told_legs_.told; }
    clogd::ev::KernelLegs legs_event(clogd::ev::KernelLegs::What what, uint32_t legs, uint32_t epoch) { return {id_, uuid_, what, static_cast<uint16_t>(legs), epoch}; }
    void finish(const Bio& bio, uint64_t value) {
        --outstanding_;
        host_.bio_done(node_, bio, value);
    }
    void fail(const Bio& bio) {
        --outstanding_;
        host_.bio_failed(node_, bio);
    }
    bool in_sync(Region r) const { return !primary_only_ && !(picture_.flags[r] & R_UNSYNCED); }
    void put_off(const Bio& bio) {
        reads_.push_back(bio);
        host_.after(20'000, guard([this] { wake(); }));
    }
    void read(const Bio& bio) {
        const Region r = bio.block / host_.blocks_per_region();
        const uint32_t legs = readable(r);
        const bool alone = !in_sync(r);
        if (alone && paused_) return put_off(bio);
        host_.after(10, guard([this, bio, legs, alone] {
                        auto value = host_.leg_read(node_, bio, legs);
                        if (!value) return fail(bio);
                        if (alone && paused_) return put_off(bio);
                        saw_ = saw_ || alone;
                        finish(bio, *value);
                    }));
    }
    Entry& entry(const Bio& bio) { return entries_[bio.block / host_.blocks_per_region()]; }
    void send(const Bio& bio) {
        entry(bio).used = host_.now_us();
        Write w{bio, {agreement_word(&told_legs_), lapses_, 0, 0, 0}};
        w.sent.sent = word_written(w.sent.word);
        host_.leg_write(node_, bio, w.sent.sent, guard([this, w](uint32_t failed) {
                            Write ended = w;
                            ended.sent.failed = failed;
                            if (write_ends_at_once(&ended.sent, true, may_begin(), lapses_)) end(ended);
                            else undecided_.push_back(ended);
                            wake();
                        }));
    }
    void end(const Write& w) {
        leave_region(w.bio);
        finish(w.bio, 0);
    }
    void leave_region(const Bio& bio) { region_leave(&entry(bio).r); }
    void start_over(const Bio& bio) {
        leave_region(bio);
        cold_.push_back(bio);
    }
    // True: it has ended or started over.
    bool decide(const Write& w, uint32_t retry) {
        const bool closing = entry(w.bio).r.state == REGION_CLOSING;
        const write_world now{true, may_begin(), lapses_, retry, closing, leaving_ ? SUSPEND_DRAINS : SUSPEND_NONE};
        switch (outcome_of_write(&agreed_, &w.sent, &now)) {
            case WRITE_ENDS: end(w); return true;
            case WRITE_AGAIN: start_over(w.bio); return true;
            case WRITE_LOST: abandon(w.bio); return true;
            case WRITE_WAITS_FOR_LEASE: return false;
            case WRITE_WAITS_FOR_NODES: break;
            default: host_.broken("a write with an outcome that this mirror does not have"); return true;
        }
        if (const uint32_t failed = write_failed_legs(&agreed_, &w.sent); failed & ~legs_failed_) {
            legs_failed_ |= failed;
            poke();
        }
        return false;
    }
    void abandon(const Bio& bio) {
        region_step(&entry(bio).r, REGION_UNSYNC);
        if (picture_lose(&picture_, bio.block / host_.blocks_per_region())) poke();
        lost_.push_back(bio);
    }
    void look_for_legs() {
        if (std::exchange(legs_news_, false)) {
            agreed_ = told_legs_;
            if (agreed_.told) {
                say_follows_ = true;
                poke();
            }
        }
        const uint32_t retry = std::exchange(retry_, 0);
        for (const Write& w : std::exchange(undecided_, {}))
            if (!decide(w, retry)) undecided_.push_back(w);
        for (const Bio& bio : std::exchange(lost_, {})) {
            if (picture_.flags[bio.block / host_.blocks_per_region()] & R_LOST) {
                lost_.push_back(bio);
            } else {
                leave_region(bio);
                fail(bio);
            }
        }
    }
    // A suspend: what is under way ends, every mark ends, the daemon is told.
    void drain() {
        wake();
        if (outstanding_ == 0 && live_) {
            for (auto& [r, e] : entries_) {
                if (e.r.state == REGION_WARM || e.r.state == REGION_UNSYNCED) {
                    step(e, REGION_UNMARK);
                    if (picture_clear(&picture_, r)) poke();
                }
                e = {};
            }
            entries_.clear();
            say_suspend_ = true;
            poke();
            return;
        }
        host_.after(5'000, guard([this] { drain(); }));
    }
    void wake() {
        if (busy_) return;
        busy_ = true;
        host_.after(5, guard([this] {
                        busy_ = false;
                        work();
                    }));
    }
    void step(Entry& e, region_event event) {
        if (!region_step(&e.r, event)) host_.broken(std::string("event ") + std::to_string(event) + " in state " + region_state_name(region_state(e.r.state)));
    }
    void release(Entry& e) {
        for (const Bio& b : std::exchange(e.waiting, {})) cold_.push_back(b);
    }
    bool wanted_by_cluster(Region r) const { return picture_.flags[r] & (R_UNSYNCED | R_CLOSE); }

    void work() {
        for (auto& [r, e] : entries_) {
            unsigned char f = picture_.flags[r];
            if (e.r.state == REGION_MARKING && f & R_MARKED) {
                step(e, REGION_MARKED);
                for (const Bio& b : std::exchange(e.waiting, {})) {
                    if (may_begin()) region_enter(&e.r), send(b);
                    else cold_.push_back(b);
                }
            } else if (e.r.state == REGION_MARKING && !(f & (R_MARK | R_ASKED))) {
                step(e, REGION_MARK_FAILED);
                release(e);
            }
        }
        if (std::exchange(picture_.closing, false))
            for (auto& [r, e] : entries_)
                if (picture_.flags[r] & R_CLOSE && (e.r.state == REGION_WARM || e.r.state == REGION_UNSYNCED)) step(e, REGION_COPY);
        look_for_legs();
        for (auto& [r, e] : entries_)
            if (e.r.state == REGION_CLOSING && !e.r.pending) {
                step(e, REGION_HAND_OVER);
                if (picture_clear(&picture_, r)) poke();
                if (!e.waiting.empty() && picture_want(&picture_, r)) poke();
            }
        for (auto& [r, e] : entries_)
            if (e.r.state == REGION_AWAY && !wanted_by_cluster(r)) {
                step(e, REGION_BACK);
                release(e);
            }
        if (!may_begin()) {
            if (!cold_.empty() || !reads_.empty()) host_.after(20'000, guard([this] { wake(); }));
            return;
        }
        for (const Bio& bio : std::exchange(reads_, {})) read(bio);
        for (const Bio& bio : std::exchange(cold_, {})) {
            Region r = bio.block / host_.blocks_per_region();
            Entry& e = entries_[r];
            region_way way = region_enter(&e.r);
            if (way == REGION_ASK) {
                if (picture_.flags[r] & R_CLOSE) {
                    step(e, REGION_AWAIT);
                    if (picture_want(&picture_, r)) poke();
                } else {
                    step(e, REGION_MARK);
                    if (picture_mark(&picture_, r)) poke();
                }
                way = region_enter(&e.r);
            }
            if (way == REGION_PRIMARY) {  // about to be closed and copied
                region_leave(&e.r);
                cold_.push_back(bio);
                host_.after(20'000, guard([this] { wake(); }));
                continue;
            }
            if (way == REGION_WAIT) {
                e.waiting.push_back(bio);
                if (e.r.state == REGION_AWAY && picture_want(&picture_, r)) poke();
            } else send(bio);
        }
    }
    void sweep() {
        host_.after(100'000, guard([this] {
                        for (auto& [r, e] : entries_)
                            if (e.r.state == REGION_WARM && !e.r.pending && host_.now_us() - e.used > idle_us_) {
                                step(e, REGION_UNMARK);
                                if (picture_clear(&picture_, r)) poke();
                            }
                        sweep();
                    }));
    }

    uint64_t idle_us_;
    std::vector<unsigned char> flags_;
    std::vector<clog_u32> pending_;
    picture picture_{};
    std::map<Region, Entry> entries_;
    std::deque<Bio> cold_, reads_, lost_;  // lost_: a leg missed them and the daemon is yet to record it
    std::deque<Write> undecided_;
    std::map<Region, AskedRepair> repairs_;
    agreement told_legs_{}, agreed_{};
    uint32_t legs_failed_ = 0, failed_told_ = 0, legs_forced_ = 0, legs_restore_ = 0, retry_ = 0;
    bool legs_news_ = false, say_follows_ = false, leaving_ = false, say_paused_ = false, saw_ = true;
    bool primary_only_ = false, busy_ = false;
    uint32_t outstanding_ = 0, lapses_ = 0, paused_ = 0;
};

}  // namespace sim
