// SPDX-License-Identifier: GPL-2.0-or-later
// One Cluster with one node, a log disk in memory and a kernel that the test speaks for. Every output is carried out at once.
#pragma once

#include <deque>
#include <functional>

#include "clogd/core/cluster.hh"

namespace test {

using namespace clogd;
using proto::ulog::Call;
using proto::ulog::Reply;
using proto::ulog::Request;

struct Solo {
    Config config;
    Cluster cluster;
    Bytes disk;
    TimeMs now = 1000;
    uint32_t seq = 0;
    std::vector<Reply> replies;
    std::vector<std::string> notes;
    std::vector<out::Tell> told;
    std::vector<out::Copy> copies;
    uint64_t suspends = 0, reloads = 0, sends = 0, disk_writes = 0, flushes = 0;
    bool disk_ok = true, hold_writes = false, legs_ok = true, legs_readable = true, hold_copies = false, hold_flushes = false, errors_handled = true;
    std::function<void(const Bytes& disk)> cut_short;  // is shown the disk as it would be if everybody crashed during a write
    std::deque<Event> held_writes, held_copies;
    std::deque<Event> todo;
    std::vector<LegDisk> disks_were, disks_are;  // below the mirror

    static Config defaults() {
        Config c;
        c.self = 1;
        c.dead_wait_ms = 0;
        c.alone_core = true;
        return c;
    }
    explicit Solo(size_t disk_bytes = 1 << 20, Config c = defaults()) : config(c), cluster(c), disk(disk_bytes) {
        step(ev::Membership{{{c.self, 1}}, {}});
        step(ev::Ring{1, c.self, {c.self}});
        step(ev::ScanDone{});
        step(ev::Quorum{1, c.self, true});
    }
    void step(Event e) {
        todo.push_back(std::move(e));
        while (!todo.empty()) {
            Event next = std::move(todo.front());
            todo.pop_front();
            cluster.step(next, now);
            for (Output& o : cluster.output()) std::visit([this](auto& x) { act(x); }, o);
        }
    }
    void pass(TimeMs ms) {
        for (TimeMs end = now + ms; now < end;) {
            now += 50;
            step(ev::Tick{});
        }
    }
    void act(out::Send& o) {
        ++sends;
        todo.push_back(ev::Deliver{config.self, o.frame});
    }
    void act(out::Answer& o) { replies.push_back(o.reply); }
    void act(out::OpenDisk& o) { todo.push_back(ev::DiskOpened{o.uuid, disk.size(), "253:4", {}}); }
    void act(out::DiskRead& o) {
        todo.push_back(ev::DiskDone{o.uuid, o.op, disk_ok,
                                    disk_ok ? Bytes(disk.begin() + static_cast<ptrdiff_t>(o.offset), disk.begin() + static_cast<ptrdiff_t>(o.offset + o.length)) : Bytes{},
                                    "I/O error"});
    }
    void act(out::DiskWrite& o) {
        ++disk_writes;
        if (cut_short) {
            Bytes cut = disk;
            for (size_t at = 0; at < o.data.size(); at += proto::kSectorBytes) {
                std::copy_n(o.data.begin() + static_cast<ptrdiff_t>(at), proto::kSectorBytes, cut.begin() + static_cast<ptrdiff_t>(o.offset + at));
                if (at < 8192 || at % 20480 == 0) cut_short(cut);
            }
        }
        if (disk_ok) std::copy(o.data.begin(), o.data.end(), disk.begin() + static_cast<ptrdiff_t>(o.offset));
        (hold_writes ? held_writes : todo).push_back(ev::DiskDone{o.uuid, o.op, disk_ok, {}, "I/O error"});
    }
    void act(out::FlushLegs& o) {
        ++flushes;
        if (!hold_flushes) todo.push_back(ev::LegsFlushed{o.uuid, true});
    }
    void act(out::LookAtLegs& o) { todo.push_back(ev::LegDisks{o.uuid, disks_were, disks_are, errors_handled}); }
    void act(out::KeepLegs&) { disks_were = disks_are; }
    void act(out::Suspend&) { ++suspends; }
    void act(out::FindLegs& o) { todo.push_back(ev::Legs{o.uuid, legs_ok ? 2u : 0u, true, legs_ok ? "" : "no mirror"}); }
    void act(out::Copy& o) {
        copies.push_back(o);
        (hold_copies ? held_copies : todo).push_back(ev::Copied{o.uuid, o.ranges, {}, {}});
    }
    void act(out::CopyCancel& o) { todo.push_back(ev::CopyIdle{o.uuid}); }
    void act(out::Drain& o) {
        reloads += o.reload;
        todo.push_back(ev::Drained{o.uuid, true, {}});
    }
    void act(out::Note& o) { notes.push_back(o.text); }
    void act(out::Probe& o) { todo.push_back(ev::Probed{o.uuid, o.leg, legs_readable}); }
    void act(out::Tell& o) { told.push_back(o); }
    template <class T>
    void act(T&) {}
    void release_copies() {
        hold_copies = false;
        while (!held_copies.empty()) {
            Event e = held_copies.front();
            held_copies.pop_front();
            step(e);
            pass(100);
        }
    }
    void release_writes() {
        for (auto& e : std::exchange(held_writes, {})) step(std::move(e));
    }

    uint32_t ask(Request type, Bytes data = {}, uint64_t luid = 1, const std::string& uuid = "LVM-x", uint32_t version = 3) {
        Call c;
        c.luid = luid;
        c.uuid = uuid;
        c.version = version;
        c.seq = ++seq;
        c.type = type;
        c.data = std::move(data);
        step(ev::Call{c});
        return seq;
    }
    static Bytes text(const std::string& s) {
        Bytes b(s.begin(), s.end());
        b.push_back(0);
        return b;
    }
    static Bytes u64(std::initializer_list<uint64_t> values) {
        Bytes out;
        for (uint64_t v : values)
            for (int i = 0; i < 8; ++i) out.push_back(static_cast<uint8_t>(v >> (8 * i)));
        return out;
    }
    const Reply* answer(uint32_t to) const {
        for (const Reply& r : replies)
            if (r.seq == to) return &r;
        return nullptr;
    }
    int64_t value(uint32_t to, size_t i = 0) const {
        const Reply* r = answer(to);
        int64_t v = -1;
        if (r && r->data.size() >= 8 * (i + 1)) std::memcpy(&v, r->data.data() + 8 * i, 8);
        return v;
    }
    int error(uint32_t to) const {
        const Reply* r = answer(to);
        return r ? r->error : 1;
    }
    // A live mirror of 128 regions of 1024 sectors.
    const Log& live(const std::string& ctr = "131072 clustered-disk /dev/log 1024", uint64_t luid = 1) {
        ask(Request::ctr, text(ctr), luid);
        ask(Request::resume, {}, luid);
        return *cluster.logs().at("LVM-x");
    }
    // The same by the channel: a kernel that is told.
    uint32_t by_channel(Request type, Bytes data = {}, uint8_t legs = 0) {
        Call c;
        c.luid = 1;
        c.uuid = "LVM-x";
        c.seq = ++seq;
        c.type = type;
        c.data = std::move(data);
        c.channel = true;
        c.legs = legs;
        step(ev::Call{c});
        return seq;
    }
    void tell(ev::Regions::What what, std::vector<Range> ranges) { step(ev::Regions{1, "LVM-x", what, std::move(ranges)}); }
    // Regions that were told with a frame of this type since the last look.
    RangeSet heard(uint16_t type) {
        RangeSet out;
        for (const out::Tell& t : told)
            if (t.type == type) out.add(t.ranges);
        std::erase_if(told, [&](const out::Tell& t) { return t.type == type; });
        return out;
    }
    const Log& live_by_channel(const std::string& ctr = "131072 clustered-disk /dev/log 1024 nosync") {
        by_channel(Request::ctr, text(ctr));
        by_channel(Request::resume);
        return *cluster.logs().at("LVM-x");
    }
    bool noted(const std::string& part) const {
        for (const std::string& n : notes)
            if (n.find(part) != std::string::npos) return true;
        return false;
    }
};

}  // namespace test
