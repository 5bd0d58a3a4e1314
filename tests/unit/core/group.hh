// SPDX-License-Identifier: GPL-2.0-or-later
// Several nodes and one total order of their messages. A node's sends can be held back, as flow control does.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "proto/channel.h"
#include "tests/unit/core/solo.hh"

namespace test {

struct Group {
    struct Member {
        Cluster cluster;
        std::vector<Reply> replies;
        std::vector<std::string> notes;
        std::deque<Bytes> outbox;
        std::vector<out::Tell> told;
        std::vector<out::Copy> copies;
        uint64_t copy_rate = 0;
        std::vector<LegDisk> disks_were, disks_are;
        uint32_t copy_one_in = 1;
        explicit Member(const Config& c) : cluster(c) {}
        bool noted(const std::string& part) const {
            return std::any_of(notes.begin(), notes.end(), [&](const std::string& n) { return n.find(part) != std::string::npos; });
        }
    };
    std::map<NodeId, std::unique_ptr<Member>> nodes;
    std::set<NodeId> held;   // what these send stays with them
    std::set<NodeId> newer;  // these are of the next version: it appends fields
    std::set<NodeId> older;  // these say that they are of the first version
    std::set<NodeId> deaf;   // their kernels say nothing of what they were told
    std::set<NodeId> saw;    // somebody has read there what the primary alone has
    std::map<NodeId, std::set<uint8_t>> bad_legs;
    std::deque<std::pair<NodeId, Event>> todo;
    TimeMs now = 1000;
    uint32_t seq = 0;
    uint64_t ring = 1;
    bool by_channel = false;
    bool copies_last = false;  // for ever
    bool halves = false;       // half of the votes have quorum, of nodes 1 and 2
    Bytes disk = Bytes(1 << 20);

    explicit Group(NodeId count, std::set<NodeId> newer_nodes = {}, std::set<NodeId> older_nodes = {}, const std::map<NodeId, TimeMs>& waits = {}, bool half_is_enough = false)
        : newer(std::move(newer_nodes)), older(std::move(older_nodes)), halves(half_is_enough) {
        std::vector<ev::Process> processes;
        std::vector<NodeId> machines;
        for (NodeId n = 1; n <= count; ++n) {
            Config c;
            c.self = n;
            c.dead_wait_ms = waits.contains(n) ? waits.at(n) : 0;
            nodes[n] = std::make_unique<Member>(c);
            processes.push_back({n, 100 + n});
            machines.push_back(n);
        }
        for (const auto& [n, m] : nodes)
            for (const Event& e :
                 {Event(ev::Membership{processes, {}}), Event(ev::Ring{1, 1, machines}), Event(ev::ScanDone{}), Event(ev::Nodelist{{1, 2}}), Event(ev::Quorum{1, 1, true, halves})})
                todo.emplace_back(n, e);
        run();
    }
    void run() {
        while (true) {
            while (!todo.empty()) {
                auto [n, event] = std::move(todo.front());
                todo.pop_front();
                Member& m = *nodes.at(n);
                m.cluster.step(event, now);
                for (Output& o : m.cluster.output()) std::visit([&, node = n](auto& x) { act(node, m, x); }, o);
            }
            bool any = false;
            for (auto& [n, m] : nodes) {
                if (held.contains(n) || m->outbox.empty()) continue;
                Bytes frame = std::move(m->outbox.front());
                m->outbox.pop_front();
                for (const auto& [to, other] : nodes) todo.emplace_back(to, ev::Deliver{n, frame});
                any = true;
                break;
            }
            if (!any) return;
        }
    }
    void step(NodeId n, Event e) {
        todo.emplace_back(n, std::move(e));
        run();
    }
    void pass(TimeMs ms) {
        for (TimeMs end = now + ms; now < end;) {
            now += 50;
            for (const auto& [n, m] : nodes) todo.emplace_back(n, ev::Tick{});
            run();
        }
    }
    // In one moment; run() tells the others.
    void vanish(const std::vector<NodeId>& lost) {
        for (NodeId n : lost) nodes.erase(n);
        std::erase_if(todo, [&](const auto& t) { return !nodes.contains(t.first); });
        new_ring(lost);
    }
    void new_ring(const std::vector<NodeId>& lost = {}) {
        ++ring;
        std::vector<ev::Process> processes;
        std::vector<NodeId> machines;
        for (const auto& [n, m] : nodes) processes.push_back({n, 100 + n}), machines.push_back(n);
        for (NodeId n : machines)
            for (const Event& e :
                 {Event(ev::Membership{processes, lost}), Event(ev::Ring{ring, machines.front(), machines}), Event(ev::Quorum{ring, machines.front(), true, halves})})
                todo.emplace_back(n, e);
    }
    static Bytes of_next_version(const Bytes& frame) {
        auto m = proto::wire::decode(frame);
        if (auto* hello = std::get_if<proto::wire::Hello>(&m->body)) hello->version = proto::wire::kVersion + 1;
        Bytes out = proto::wire::encode(*m);
        out.erase(out.end() - 4, out.end());
        out[4] = proto::wire::kVersion + 1;
        proto::Writer tail;
        tail(uint32_t{0xdeadbeef});
        out.insert(out.end(), tail.bytes().begin(), tail.bytes().end());
        proto::Writer crc;
        crc(proto::crc32c(out));
        out.insert(out.end(), crc.bytes().begin(), crc.bytes().end());
        return out;
    }
    static Bytes of_first_version(const Bytes& frame) {
        auto m = proto::wire::decode(frame);
        if (auto* hello = std::get_if<proto::wire::Hello>(&m->body)) hello->version = 1;
        return proto::wire::encode(*m);
    }
    void act(NodeId n, Member& m, out::Send& o) { m.outbox.push_back(newer.contains(n) ? of_next_version(o.frame) : older.contains(n) ? of_first_version(o.frame) : o.frame); }
    void act(NodeId n, Member&, out::OpenDisk& o) { todo.emplace_back(n, ev::DiskOpened{o.uuid, disk.size(), "253:4", {}}); }
    void act(NodeId n, Member&, out::DiskRead& o) {
        auto from = disk.begin() + static_cast<ptrdiff_t>(o.offset);
        todo.emplace_back(n, ev::DiskDone{o.uuid, o.op, true, Bytes(from, from + o.length), {}});
    }
    void act(NodeId n, Member&, out::DiskWrite& o) {
        std::copy(o.data.begin(), o.data.end(), disk.begin() + static_cast<ptrdiff_t>(o.offset));
        todo.emplace_back(n, ev::DiskDone{o.uuid, o.op, true, {}, {}});
    }
    void act(NodeId, Member& m, out::Answer& o) { m.replies.push_back(o.reply); }
    void act(NodeId, Member& m, out::Note& o) { m.notes.push_back(o.text); }
    void act(NodeId n, Member& m, out::LookAtLegs& o) { todo.emplace_back(n, ev::LegDisks{o.uuid, m.disks_were, m.disks_are}); }
    void act(NodeId, Member& m, out::KeepLegs&) { m.disks_were = m.disks_are; }
    void act(NodeId n, Member&, out::FindLegs& o) { todo.emplace_back(n, ev::Legs{o.uuid, 2, true, {}}); }
    void act(NodeId n, Member&, out::FlushLegs& o) { todo.emplace_back(n, ev::LegsFlushed{o.uuid, true}); }
    void act(NodeId n, Member& m, out::Copy& o) {
        m.copies.push_back(o);
        if (!copies_last) todo.emplace_back(n, ev::Copied{o.uuid, o.ranges, {}, {}});
    }
    void act(NodeId, Member& m, out::CopyRate& o) { m.copy_rate = o.bytes_per_s, m.copy_one_in = o.one_in; }
    void act(NodeId n, Member&, out::Probe& o) { todo.emplace_back(n, ev::Probed{o.uuid, o.leg, !bad_legs[n].contains(o.leg)}); }
    void act(NodeId n, Member& m, out::Tell& o) {
        m.told.push_back(o);
        if (o.type == CLOG_PAUSE && o.serial) todo.emplace_back(n, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::paused, saw.contains(n), o.serial});
        if (o.type == CLOG_LEGS && !deaf.contains(n)) todo.emplace_back(n, ev::KernelLegs{1, "LVM-x", ev::KernelLegs::follows, 0, o.serial});
    }
    void act(NodeId n, Member&, out::CopyCancel& o) { todo.emplace_back(n, ev::CopyIdle{o.uuid}); }
    void act(NodeId n, Member&, out::Drain& o) { todo.emplace_back(n, ev::Drained{o.uuid, true, {}}); }
    template <class T>
    void act(NodeId, Member&, T&) {}

    uint32_t ask(NodeId n, Request type, Bytes data = {}, uint8_t legs = 0) {
        Call c;
        c.luid = 1;
        c.uuid = "LVM-x";
        c.version = 3;
        c.seq = ++seq;
        c.type = type;
        c.data = std::move(data);
        c.channel = legs > 0 || by_channel;
        c.legs = legs;
        step(n, ev::Call{c});
        return seq;
    }
    void create(NodeId n, const std::string& ctr = "131072 clustered-core 1024 nosync", uint8_t legs = 0) {
        ask(n, Request::ctr, Solo::text(ctr), legs);
        ask(n, Request::resume, {}, legs);
    }
    Member& node(NodeId n) { return *nodes.at(n); }
    const Log& log(NodeId n) { return *node(n).cluster.logs().at("LVM-x"); }
};

}  // namespace test
