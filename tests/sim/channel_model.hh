// SPDX-License-Identifier: GPL-2.0-or-later
// A kernel with dm-raid1-ext over dm-log-cluster: the module's own region.c and picture.c, and around them what write.c, share.c and
// log_cluster.c do with locks, lists and a worker.
#pragma once

#include <algorithm>

#include "clogd/core/event.hh"
#include "dm-raid1-ext/picture.h"
#include "dm-raid1-ext/region.h"
#include "tests/sim/kernel_model.hh"

namespace sim {

class ChannelMirror final : public Kernel {
  public:
    ChannelMirror(KernelHost& host, NodeId node, size_t index, std::string uuid, std::string ctr, uint32_t regions, uint32_t id, uint64_t idle_us)
        : host_(host),
          node_(node),
          index_(index),
          uuid_(std::move(uuid)),
          ctr_(std::move(ctr)),
          id_(id),
          idle_us_(idle_us),
          flags_(regions),
          pending_((picture_chunks(regions) + 31) / 32) {
        picture_.regions = regions;
        picture_.flags = flags_.data();
        picture_.pending = pending_.data();
        picture_reset(&picture_);
    }
    ~ChannelMirror() override { *alive_ = false; }

    void activate() override {
        live_ = say_create_ = say_resume_ = true;
        poke();
        sweep();
    }
    void submit(Bio bio) override {
        ++outstanding_;
        Region r = bio.block / host_.blocks_per_region();
        if (!bio.write) {
            bool any_leg = active_ && !primary_only_ && !(picture_.flags[r] & R_UNSYNCED);
            host_.after(10, guard([this, bio, any_leg] { finish(bio, host_.leg_read(node_, bio, any_leg)); }));
            return;
        }
        if (auto e = entries_.find(r); e != entries_.end() && may_write()) {
            region_way way = region_enter(&e->second.r);
            if (way == REGION_EVERY_LEG || way == REGION_PRIMARY) {
                send(bio, way);
                return;
            }
        }
        cold_.push_back(bio);
        wake();
    }
    bool active() const override { return live_; }
    uint32_t in_flight() const override { return outstanding_; }
    const std::string& uuid() const override { return uuid_; }
    const std::string& ctr() const override { return ctr_; }

    // ---- the channel
    // What a read of the device would bring next; empty: nothing.
    std::vector<clogd::Event> compose() override {
        if (say_create_) {
            say_create_ = false;
            std::vector<clogd::Event> out;
            if (told_once_) out.push_back(clogd::ev::FoundLive{uuid_, ctr_});
            told_once_ = true;
            out.push_back(call(Request::ctr, Bytes(ctr_.begin(), ctr_.end())));
            return out;
        }
        if (say_resume_) {
            say_resume_ = false;
            return {call(Request::resume, {})};
        }
        clog_range ranges[PICTURE_CHUNK / 2];
        clog_u16 type = 0;
        clog_u32 more = 0, count = picture_tell(&picture_, &type, &more, ranges);
        if (!type) return {};
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
    void tell(const clogd::out::Tell& t) override {
        if (t.log != id_) return;
        if (t.type == CLOG_STATE) {
            active_ = t.value & CLOG_STATE_ACTIVE;
            primary_only_ = t.value & CLOG_STATE_PRIMARY_ONLY;
            lease_until_ = host_.now_us() + t.lease_ms * 1000;
        } else {
            bool news = false;
            for (const auto& r : t.ranges)
                for (uint32_t i = 0; i < r.count; ++i) news |= picture_take(&picture_, t.type, r.start + i);
            if (news) poke();
        }
        wake();
    }
    void daemon_left() override {
        say_create_ = say_resume_ = live_;
        if (live_) picture_tell_held(&picture_);
        picture_tell_again(&picture_, 0, picture_.regions);
    }

  private:
    struct Entry {
        region r{};
        uint64_t used = 0;
        std::deque<Bio> waiting;
    };

    bool may_write() const { return active_ && host_.now_us() < lease_until_; }
    void poke() { host_.channel_poke(node_, index_); }
    clogd::ev::Call call(Request type, Bytes data) {
        proto::ulog::Call c;
        c.luid = id_;
        c.uuid = uuid_;
        c.seq = ++serial_;
        c.type = type;
        c.data = std::move(data);
        c.channel = true;
        c.copes = true;
        return {c};
    }
    std::function<void()> guard(std::function<void()> f) {
        return [alive = alive_, f = std::move(f)] {
            if (*alive) f();
        };
    }
    void finish(const Bio& bio, uint64_t value) {
        --outstanding_;
        host_.bio_done(node_, bio, value);
    }
    void send(const Bio& bio, region_way way) {
        Region r = bio.block / host_.blocks_per_region();
        entries_[r].used = host_.now_us();
        host_.leg_write(node_, bio, way == REGION_EVERY_LEG, guard([this, bio, r] {
                            region_leave(&entries_[r].r);
                            finish(bio, 0);
                            wake();
                        }));
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
                    if (may_write()) send(b, region_enter(&e.r));
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
        if (!may_write()) {
            if (!cold_.empty()) host_.after(20'000, guard([this] { wake(); }));
            return;
        }
        for (const Bio& bio : std::exchange(cold_, {})) {
            Region r = bio.block / host_.blocks_per_region();
            Entry& e = entries_[r];
            region_way way = region_enter(&e.r);
            if (way == REGION_ASK) {
                if (wanted_by_cluster(r)) {
                    step(e, REGION_AWAIT);
                    if (picture_want(&picture_, r)) poke();
                } else {
                    step(e, REGION_MARK);
                    if (picture_mark(&picture_, r)) poke();
                }
                way = region_enter(&e.r);
            }
            if (way == REGION_WAIT) {
                e.waiting.push_back(bio);
                if (picture_want(&picture_, r)) poke();
            } else send(bio, way);
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

    KernelHost& host_;
    NodeId node_;
    size_t index_;
    std::string uuid_, ctr_;
    uint32_t id_, serial_ = 0;
    uint64_t idle_us_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::vector<unsigned char> flags_;
    std::vector<clog_u32> pending_;
    picture picture_{};
    std::map<Region, Entry> entries_;
    std::deque<Bio> cold_;
    bool live_ = false, say_create_ = false, say_resume_ = false, told_once_ = false, active_ = false, primary_only_ = false, busy_ = false;
    uint64_t lease_until_ = 0;
    uint32_t outstanding_ = 0;
};

}  // namespace sim
