// SPDX-License-Identifier: GPL-2.0-or-later
// Formation: the state of a log that nobody has in use, made by one node from the log disk, or from what it remembers.
//
// I4  Nobody that is out of sight can still be writing when it begins (pump()).
// I1  After a crash of everybody, what any member had marked or knew to be not in sync is not in sync.
// I3  Nor is it forgotten which legs have missed writes, at whatever write this ends (Op::keep_legs).
#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "clogd/core/log.hh"

namespace clogd {

namespace wire = proto::wire;
namespace disk = proto::logdisk;
using out::Level;

namespace {
struct FoundSlot {
    NodeId owner = 0;
    SlotContent content;
};

std::vector<FoundSlot> read_slots(uint32_t hash, proto::ByteView bytes, uint32_t regions) {
    std::vector<FoundSlot> slots;
    for (size_t at = 0; at + disk::kSlotBytes <= bytes.size(); at += disk::kSlotBytes) {
        const proto::ByteView image = bytes.subspan(at, disk::kSlotBytes);
        FoundSlot& f = slots.emplace_back(FoundSlot{slot_owner(image), {}});
        if (f.owner) f.content = read_slot(hash, f.owner, image, regions);
        else f.content.trusted = true;
    }
    return slots;
}

// The newest that the log disk says of the legs. Their epochs only grow, so it counts also where nothing else can be trusted any more.
proto::AgreedLegs newest_legs(const std::optional<disk::GlobalHeader>& header, const std::vector<FoundSlot>& slots) {
    proto::AgreedLegs legs = header ? header->legs : proto::AgreedLegs{};
    for (const FoundSlot& f : slots)
        if (f.owner && f.content.legs.epoch >= legs.epoch) legs = f.content.legs;
    return legs;
}
}  // namespace

// pump() begins when nobody can still be writing.
void Log::become_former() {
    if (phase_ != Phase::waiting && phase_ != Phase::receiving) {
        host_.send(uuid_, wire::Detach{});
        return;
    }
    if (!replaced_.empty() && params_.sync_mode != wire::kForceSync) {
        refuse_replaced("create the mirror with the log argument `sync`");
        return;
    }
    former_ = true;
    phase_ = Phase::forming;
    header_page_.clear();
    legs_only_ = false;
    awaited_.clear();
    retry_at_ = 0;
}

// By time, where who is out of sight has no quorum.
bool Log::others_stopped() {
    std::erase_if(awaited_, [&](NodeId node) { return host_.node_in_ring(node) || host_.fenced(node); });
    return awaited_.empty() && (host_.last_loss() == 0 || host_.now() >= host_.last_loss() + host_.longest_wait());
}

// Where half of the votes are enough, these may be writing as long as they are neither in sight nor reported as fenced. Then formation begins anew.
bool Log::await_others(const std::set<NodeId>& writers) {
    if (!host_.halves()) return false;
    awaited_ = writers;
    awaited_.erase(host_.config().self);
    if (others_stopped()) return false;
    header_page_.clear();
    legs_only_ = false;
    for (NodeId node : awaited_)
        note(Level::warning,
             fmt::format("the log waits for node {}, which may be writing out of sight: half of the votes have quorum here. When it is off: clogctl fenced {}", node, node));
    return true;
}

bool Log::slots_fit(const disk::GlobalHeader& h) const { return h.slots <= proto::kMaxNodes && h.slots_at + uint64_t{h.slots} * disk::kSlotBytes <= disk_bytes_; }

void Log::header_read(const ev::DiskDone& e) {
    header_page_ = e.data;
    proto::Reader r(e.data);
    uint32_t magic = 0, hash = 0;
    r(magic), r(hash);
    format_ = true;
    if (disk::decode_mirr(e.data)) {
        uint64_t bytes = (disk::mirr_bytes(params_.regions()) + disk::kPageBytes - 1) / disk::kPageBytes * disk::kPageBytes;
        read_disk(Op::read_slots, 0, static_cast<uint32_t>(bytes));
        return;
    }
    if (magic != disk::kSectorMagic) {
        form_from_disk({});
        return;
    }
    if (hash != disk::log_hash(uuid_)) {
        disk_failed(
            fmt::format("log device {} holds the log of another mirror, which may be in use: give this mirror a log device of its own, or, if "
                        "the other mirror is gone, clear it with: dd if=/dev/zero of=<log device> bs=4k count=1 oflag=direct",
                        device_));
        return;
    }
    const auto found = disk::decode_global_header(hash, e.data);
    disk::GlobalHeader h = found.value_or(disk::GlobalHeader{});
    const bool whole = found && h.uuid == uuid_ && h.format == disk::kFormat && slots_fit(h);
    const bool usable = whole && h.slots > 0;
    if (!usable || h.region_sectors != params_.region_sectors) {
        note(Level::warning, fmt::format("log device {}: {}; every region will be copied", device_, usable ? "the region size has changed" : "the header of the log is damaged"));
        params_.sync_mode = wire::kForceSync;
        legs_only_ = true;
        if (!whole) h.slots = layout_.slots, h.slots_at = layout_.slots_at;
        if (h.slots) read_disk(Op::read_slots, h.slots_at, h.slots * disk::kSlotBytes);
        else form_from_disk({});
        return;
    }
    format_ = h.regions != params_.regions();
    if (!format_) layout_.slots = h.slots, layout_.slots_at = h.slots_at;
    read_disk(Op::read_slots, h.slots_at, h.slots * disk::kSlotBytes);
}

Bytes Log::global_header(uint32_t slots) const {
    disk::GlobalHeader h;
    h.uuid = uuid_;
    h.region_sectors = params_.region_sectors;
    h.regions = params_.regions();
    h.slots = slots;
    h.slots_at = layout_.slots_at;
    h.legs = agreed_legs();
    proto::Writer w;
    w(h);
    return disk::encode_page(disk::global_header_id(disk::log_hash(uuid_)), state_.epoch, w.bytes());
}

// I1 after a crash of everybody: the newest epoch names its members; what any of them had marked or unsynced counts.
void Log::form_from_disk(const Bytes& bytes) {
    const Config& cfg = host_.config();
    const uint32_t regions = params_.regions();
    const uint32_t hash = disk::log_hash(uuid_);
    const RangeSet all(std::vector<Range>{{0, regions}});
    const auto mirr = disk::decode_mirr(header_page_);
    const auto header = disk::decode_global_header(hash, header_page_);
    const std::vector<FoundSlot> slots = mirr ? std::vector<FoundSlot>{} : read_slots(hash, bytes, header ? header->regions : regions);
    const proto::AgreedLegs legs = newest_legs(header, slots);
    LogState s;
    s.params = params_;
    bool known = false;
    std::set<NodeId> others = host_.nodelist();  // any of them may find as this node does that nobody has the log in use, and open it, too

    if (mirr && !bytes.empty()) {
        known = params_.sync_mode == wire::kSyncDefault;
        for (uint32_t r = 0; known && r < regions; ++r) {
            bool clean = r < mirr->regions && (bytes[disk::kMirrBitsAt + r / 8] >> (r % 8) & 1);
            if (clean) continue;
            uint32_t end = r + 1;
            while (end < regions && !(end < mirr->regions && (bytes[disk::kMirrBitsAt + end / 8] >> (end % 8) & 1))) ++end;
            s.raw.add(Range{r, end - r});
            r = end;
        }
        s.raw.coarsen(proto::kMaxUnsyncedRanges / 2);
        if (known) note(Level::info, fmt::format("log device {} was closed cleanly: {} of {} regions are in sync", device_, regions - s.raw.count(), regions));
    } else if (header && !bytes.empty() && !legs_only_) {  // format 3
        const disk::GlobalHeader& h = *header;
        bool trusted = true;
        const disk::SlotHeader* newest = nullptr;
        // A header that does not name its own place was written to the wrong one.
        for (size_t i = 0; i < slots.size(); ++i) {
            const SlotContent& c = slots[i].content;
            if (c.present && std::none_of(c.header.members.begin(), c.header.members.end(), [&](const disk::SlotMember& m) { return m.node == slots[i].owner && m.slot == i; }))
                trusted = false;
        }
        for (const FoundSlot& f : slots)
            if (f.content.present && (!newest || f.content.header.epoch > newest->epoch)) newest = &f.content.header;
        // A damaged header may have been the newest.
        for (const FoundSlot& f : slots)
            if (!f.content.trusted && !f.content.present) trusted = false;
        if (newest && trusted) {
            s.epoch = newest->epoch;
            for (const disk::SlotMember& m : newest->members) {
                const FoundSlot* f = m.slot < slots.size() && slots[m.slot].owner == m.node ? &slots[m.slot] : nullptr;
                bool wrote = f && f->content.present && f->content.header.epoch >= m.join_epoch;
                if (f && wrote && !f->content.trusted) trusted = false;
                bool is_self = m.node == cfg.self;
                bool present = !is_self && host_.node_in_view(m.node) && host_.node_lists_log(m.node, uuid_);
                const uint64_t boot = is_self ? cfg.boot : host_.node_boot(m.node), wrote_in = wrote ? f->content.header.boot : 0;
                const bool other_life = booted_between(wrote_in, boot);  // what it had marked is a dead kernel's
                present = present && !other_life;
                bool absent = !is_self && !host_.node_in_view(m.node) && host_.node_in_ring(m.node);
                if (wrote) {
                    s.raw.add(f->content.raw);
                    s.torn.add(f->content.torn);
                    const bool own = is_self && kept_ && !other_life;
                    bool alive = present || own;  // without its daemon nobody knows which life of a machine is up: it may be writing, or dead
                    if (!alive && cfg.planted != Planted::forget_torn_on_restart) s.torn.add(f->content.marks);
                    if (own)
                        for (const Range& range : f->content.marks.ranges())
                            for (uint32_t k = 0; k < range.count; ++k) marks_.use(range.start + k);
                }
                // Its kernel goes on: it will attach, or its machine will leave the ring.
                if (newest->closed) continue;  // nobody is left of those members
                if (present || absent) {
                    MemberState ms;
                    ms.status = present ? Member::demoted : Member::absent;
                    ms.slot = m.slot;
                    ms.join_epoch = m.join_epoch;
                    if (wrote) ms.busy = f->content.marks, ms.boot = f->content.header.boot;
                    s.members[m.node] = std::move(ms);
                } else if (is_self) {
                    MemberState ms;
                    ms.slot = m.slot;
                    ms.join_epoch = m.join_epoch;
                    s.members[m.node] = std::move(ms);
                }
            }
            s.torn.remove(s.raw);
            known = trusted;
        } else {
            known = trusted && !newest;  // formatted, never used
            if (known) s.raw = all;
        }
        if (trusted && newest && !newest->closed) {
            others.clear();
            for (const disk::SlotMember& m : newest->members) others.insert(m.node);
        }
        if (await_others(others)) return;
        if (!trusted) {
            std::string where;
            for (const FoundSlot& f : slots)
                if (!f.content.trusted) where += fmt::format("{}{}", where.empty() ? " in the slot(s) of node(s) " : ", ", f.owner);
            note(Level::error, fmt::format("log device {}: damaged pages{}; nothing on it is trusted and every region will be copied", device_, where));
            trouble_ = "the log disk had damaged pages; every region is being copied";
            s.members.clear();
            s.torn.clear();
            format_ = true;  // what is left of older epochs must not outlive this one
            // Machines that are up without their daemon may be writing anywhere.
            for (NodeId node : last_view_.machines) {
                if (node == cfg.self || last_view_.processes.contains(node)) continue;
                MemberState ms;
                ms.status = Member::absent;
                ms.slot = static_cast<uint16_t>(s.members.size());
                ms.busy = all;
                s.members[node] = std::move(ms);
            }
        }
        if (known && h.regions < regions && params_.sync_mode != wire::kNoSync) s.raw.add(Range{h.regions, regions - h.regions});
        if (h.regions > regions && regions) {
            s.raw.remove(Range{regions, h.regions - regions});
            s.torn.remove(Range{regions, h.regions - regions});
        }
        if (format_)
            for (auto& [node, m] : s.members) m.busy = RangeSet(m.busy.within({0, regions}).ranges());
    }
    if (await_others(others)) return;  // also where the disk tells nothing
    if (!known || params_.sync_mode == wire::kForceSync) {
        s.torn.clear();
        s.raw = params_.sync_mode == wire::kNoSync && bytes.empty() ? RangeSet{} : params_.sync_mode == wire::kNoSync && mirr ? RangeSet{} : all;
    }
    expect_frozen(s);
    if (std::string why = form_legs(s, legs); !why.empty()) {
        if (replaced_.empty()) disk_failed(why);  // it may pass
        else refuse_table(why);
        return;
    }
    MemberState me;
    if (auto it = s.members.find(cfg.self); it != s.members.end()) me = it->second;
    else {
        std::set<uint16_t> taken;
        for (const auto& [node, m] : s.members) taken.insert(m.slot);
        while (taken.contains(me.slot)) ++me.slot;
        me.join_epoch = s.epoch + 1;
    }
    if (me.slot >= layout_.slots) {
        disk_failed(fmt::format("log device {} has room for {} nodes, all in use: use a larger log device", device_, layout_.slots));
        return;
    }
    if (host_.version() >= wire::kSlotsSince) s.slots = static_cast<uint16_t>(layout_.slots), s.leg_prints = leg_prints_;
    me.status = Member::joining;
    me.boot = cfg.boot;
    me.legs = s.legs.count;
    if (kept_) me.busy = my_kernel_regions();
    s.members[cfg.self] = std::move(me);
    ++s.epoch;
    state_ = std::move(s);
    has_state_ = true;
    phase_ = Phase::writing;
    // The slot that is written next may be the one that tells which legs have missed writes; and one that is formatted must not be taken
    // for one that was never used (a MiRr header names no slots).
    if (state_.legs.degraded() || state_.legs.primary || (format_ && !mirr)) write_disk(Op::keep_legs, 0, global_header(format_ ? 0 : layout_.slots));
    else prepare_slots();
}

void Log::prepare_slots() {
    if (format_) write_disk(Op::format, layout_.slots_at, Bytes(size_t{layout_.slots} * disk::kSlotBytes));
    else start_slot();
}

// Nodes that lost quorum and have yet to attach again may have kernels with marks: nothing is copied until they tell (I2).
void Log::expect_frozen(LogState& s) {
    for (const auto& [node, standing] : last_view_.standings) {
        if (node == host_.config().self || standing.standing != wire::Standing::frozen || !host_.node_in_view(node) || s.members.contains(node)) continue;
        std::set<uint16_t> taken;
        for (const auto& [other, m] : s.members) taken.insert(m.slot);
        MemberState m;
        m.status = Member::demoted;
        while (taken.contains(m.slot)) ++m.slot;
        m.join_epoch = s.epoch + 1;
        if (!params_.has_disk || m.slot < layout_.slots) s.members[node] = std::move(m);
    }
}

// A core log lives in memory. It is believed only if everybody who shared it last is here with the same state.
void Log::form_from_memory() {
    const Config& cfg = host_.config();
    bool trusted = has_state_;
    for (const auto& [node, m] : state_.members) {
        if (node == cfg.self || !has_state_) continue;
        auto it = last_view_.standings.find(node);
        if (it == last_view_.standings.end() || it->second.epoch != state_.epoch) trusted = false;
    }
    if (!trusted && await_others(host_.nodelist())) return;
    const RangeSet all(std::vector<Range>{{0, params_.regions()}});
    LogState s;
    s.params = params_;
    if (trusted && state_.params.regions() == params_.regions()) {
        s = state_;
        s.params = params_;
        s.reports.clear();
        for (auto& [node, m] : s.members)
            if (node != cfg.self) m.status = Member::demoted, m.lease.clear();
    } else if (params_.groups()) {
        s.groups.turn = state_.groups.turn;  // nothing is told of an earlier turn by mistake
    } else if (has_state_ || kept_) {
        note(Level::warning, "the log was in memory and some of its holders are gone: every region will be copied");
        s.torn = all;
        s.epoch = state_.epoch;
    } else if (params_.sync_mode != wire::kNoSync) {
        s.raw = all;
    }
    expect_frozen(s);
    // Nobody may have the state any more, but kernels go on with what was agreed.
    proto::AgreedLegs legs = agreed_legs();
    for (const auto& [node, standing] : last_view_.standings)
        if (standing.legs.epoch > legs.epoch && standing.legs.count) legs = standing.legs;
    RangeSet missed = has_state_ ? state_.missed : RangeSet{};
    if (std::string why = form_legs(s, legs); !why.empty()) {
        refuse_table(why);
        return;
    }
    if (s.legs.degraded()) s.missed.add(trusted ? missed : all);
    else s.raw.add(missed);  // another table: what some leg missed is copied from the first
    s.torn.remove(s.raw);
    if (host_.version() >= wire::kSlotsSince) s.leg_prints = leg_prints_;
    MemberState& me = s.members[cfg.self];
    me.status = Member::joining;
    me.boot = cfg.boot;
    me.legs = s.legs.count;
    me.lease.clear();
    me.join_epoch = ++s.epoch;
    if (kept_) me.busy = my_kernel_regions();
    me.busy.add(me.marks);  // they count as in use again
    state_ = std::move(s);
    has_state_ = true;
    phase_ = Phase::ready;
    host_.send(uuid_, wire::Ready{});
}

// What this node's slot holds is not replaced before it is known: a crash meanwhile must forget none of it.
void Log::start_slot() {
    assert(self());
    phase_ = Phase::writing;
    read_disk(Op::read_slot, layout_.page_at(self()->slot, 0, 0), disk::kSlotBytes);
}

void Log::slot_read(const ev::DiskDone& e) {
    if (!e.ok) {
        disk_failed(fmt::format("log device {} cannot be read: {}", device_, e.error));
        return;
    }
    MemberState* me = self();
    assert(me);
    slot_ = std::make_unique<Slot>(disk::log_hash(uuid_), host_.config().self, layout_, me->slot, params_.regions());
    if (!host_.halves()) apart_.clear();
    membership_changed();
    tell_slot();
    slot_->start(state_.epoch, marks_.all(), everything_marked_, e.data);
}

}  // namespace clogd
