// SPDX-License-Identifier: GPL-2.0-or-later
// How a node comes to share a log, and how the members change. See log.hh for the invariants.
#include "clogd/core/log.hh"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace clogd {

namespace wire = proto::wire;
namespace disk = proto::logdisk;
using out::Level;

namespace {
constexpr TimeMs kRetryMs = 1000;       // a failed log disk is tried again after
constexpr TimeMs kAttachRetryMs = 500;  // a joiner that hears nothing asks again after
constexpr char kUnreadable[] = "the state that the other nodes sent cannot be read: do they run another version of clogd?";
constexpr TimeMs kRefusedRetryMs = 30000;  // a running mirror that the others refused asks them again after
constexpr TimeMs kDigestMs = 30000;

// Many may be joining at once: each asks more and more rarely.
constexpr TimeMs attach_pause(unsigned tries) { return kAttachRetryMs << std::min(tries, 4u); }
}  // namespace

const char* phase_name(Phase phase) {
    static constexpr const char* names[] = {"detached", "looking", "opening", "waiting",   "forming", "receiving", "writing",
                                            "ready",    "active",  "frozen",  "detaching", "leaving", "folding"};
    return names[static_cast<size_t>(phase)];
}

Log::Log(std::string uuid, LogHost& host) : uuid_(std::move(uuid)), host_(host) {}

void Log::note(Level level, std::string text) { host_.emit(out::Note{level, uuid_, std::move(text)}); }

MemberState* Log::self() {
    auto it = state_.members.find(host_.config().self);
    return it == state_.members.end() ? nullptr : &it->second;
}

bool Log::replica() const {
    return has_state_ && (phase_ == Phase::writing || phase_ == Phase::ready || phase_ == Phase::active || phase_ == Phase::detaching || phase_ == Phase::leaving);
}

wire::LogStanding Log::standing() const {
    wire::LogStanding s;
    s.uuid = uuid_;
    if (has_state_) s.epoch = state_.epoch, s.applied = state_.applied, s.chain = state_.chain;
    s.legs = agreed_legs();
    switch (phase_) {
        case Phase::active:
        case Phase::detaching:
        case Phase::leaving: s.standing = wire::Standing::active; break;
        case Phase::frozen: s.standing = wire::Standing::frozen; break;
        case Phase::forming:
        case Phase::folding: s.standing = wire::Standing::alone; break;
        case Phase::writing:
        case Phase::ready: s.standing = former_ ? wire::Standing::alone : wire::Standing::joining; break;
        default: s.standing = wire::Standing::joining; break;
    }
    return s;
}

// ---- attach --------------------------------------------------------------------------------------------------------------

void Log::begin() {
    replaced_.clear();
    leg_prints_.clear();
    if (params_.groups()) {
        attach();
        return;
    }
    phase_ = Phase::looking;
    host_.emit(out::LookAtLegs{uuid_});
}

// Nothing on a leg says whose it is: a disk that has come in another's place would be read as if it had all that was written there. It may
// come if everything is copied to it, or if it is the one that the nodes which use the mirror have in that place, too.
void Log::leg_disks(const ev::LegDisks& e) {
    if (phase_ != Phase::looking) return;
    handle_errors_ = e.handle_errors;
    leg_prints_.clear();
    for (const LegDisk& leg : e.is) leg_prints_.push_back(leg_print(leg));
    if (leg_prints_.size() > proto::kMaxLegs) leg_prints_.clear();
    const bool nothing_new = e.was.empty() || only_left_out(e.was, e.is);
    for (size_t i = 0; i < e.is.size() && !nothing_new; ++i) {
        if (i < e.was.size() && same_disk(e.was[i], e.is[i]) != SameDisk::no) continue;
        if (replaced_.empty())
            replaced_text_ = fmt::format("leg {} of the table is {}, and {}: its content would be taken for that of the mirror", i, describe(e.is[i]),
                                         i < e.was.size() ? fmt::format("was {} before", describe(e.was[i])) : std::string("was not there before"));
        replaced_.insert(i);
    }
    if (replaced_.empty() || !kept_) {
        attach();
        return;
    }
    trouble_ = replaced_text_ + ". Load the table with the disks that were there";  // its kernel may hold writes: it is held on to
    note(Level::error, trouble_);
    hold_kernel(true);
}

// By this node itself: another one may form the state, or needs not wait for it.
void Log::refuse_table(const std::string& why) {
    former_ = false;
    host_.send(uuid_, wire::Detach{});
    refused(why);
}

void Log::refuse_replaced(const char* remedy) {
    refuse_table(fmt::format("{}. Load the table with the disks that were there; or, to have the disk written anew, {}", replaced_text_, remedy));
}

void Log::attach() {
    former_ = false;
    if (params_.has_disk && !disk_open_) {
        phase_ = Phase::opening;
        host_.emit(out::OpenDisk{uuid_, device_});
        return;
    }
    phase_ = Phase::waiting;
    send_attach();
}

void Log::send_attach() {
    if (copy_busy_) return;  // I2: what this node was copying must have ended before others count on it (copy_idle() goes on)
    wire::Attach a;
    if (phase_ != Phase::receiving || chunks_have_ == 0) {
        ++my_transfer_;
        chunks_have_ = 0;
        incoming_.clear();
    }
    a.transfer = my_transfer_;
    a.have = chunks_have_;
    a.params = params_;
    a.kept = kept_;
    a.boot = host_.config().boot;
    a.legs = my_leg_count_;
    a.state_epoch = has_state_ && !params_.has_disk ? state_.epoch : 0;
    RangeSet busy = my_kernel_regions();
    busy.coarsen(wire::kRangesPerMessage);
    if (kept_) a.busy = busy.ranges();
    retry_at_ = host_.now() + attach_pause(attach_tries_++);
    host_.send(uuid_, std::move(a));
}

// Drops the state and asks for it anew. The kernel goes on with what it holds; everything else waits.
void Log::restart_attach(const char* why) {
    note(Level::notice, fmt::format("asks for the state anew: {}", why));
    if (replica() || phase_ == Phase::frozen) kept_ = kept_ || phase_ == Phase::active || phase_ == Phase::frozen || phase_ == Phase::detaching;
    backlog_.clear();
    ops_.clear();
    slot_.reset();
    transfers_.clear();
    lost_at_.clear();  // I4: of losses in an earlier standing; whoever is lost in the next one is given its time anew
    cancel_copies();
    copying_.clear();
    result_ = {};
    lease_asked_ = false;
    reading_dead_ = 0;
    flushing_legs_ = false;
    if (params_.has_disk) has_state_ = false;
    for (Held& h : held_) h.committed = false;
    if (!kept_) marks_.clear();  // else they go on in the new slot
    core_pending_.clear(), core_sent_.clear(), core_held_.clear(), core_drop_.clear();
    core_acked_ = core_seq_;
    if (!params_.has_disk)
        for (Region r : marks_.all()) core_pending_.add(r);
    busy_asked_.clear();
    given_.clear();
    missed_under_way_ = 0;
    my_legs_.probes.clear();
    host_.forget_messages(uuid_);
    phase_ = Phase::waiting;
    former_ = false;
}

void Log::refused(const std::string& reason) {
    if (trouble_ != reason) note(Level::error, reason);
    trouble_ = reason;
    if (kept_ && (phase_ == Phase::waiting || phase_ == Phase::receiving || phase_ == Phase::forming)) {  // its kernel goes on: it is held on to, and asks again
        restart_attach(reason.c_str());
        retry_at_ = host_.now() + kRefusedRetryMs;
        return;
    }
    hold_kernel(true);  // so that no more writes come, and another table can take its place
    phase_ = Phase::detached;
    host_.emit(out::Close{uuid_});
    disk_open_ = false;
    refuse_resumes(-EINVAL);
}

void Log::disk_opened(const ev::DiskOpened& e) {
    if (pending_ctr_) {
        log_device_probed(e);
        return;
    }
    if (phase_ != Phase::opening) return;
    layout_ = disk::layout(e.bytes, params_.regions());
    Instance mine;
    mine.params = params_;
    mine.device = device_;
    if (std::string why = log_device_fault(mine, e); !why.empty()) {
        disk_failed(why);
        return;
    }
    disk_open_ = true;
    disk_bytes_ = e.bytes;
    disk_number_ = e.device;
    if (!own_read_) return;  // pump() reads it, once this node's id is known
    phase_ = Phase::waiting;
    send_attach();
}

// After a restart of the daemon the kernel may write wherever its predecessor had a mark.
void Log::own_slot_read(const ev::DiskDone& e, bool header) {
    const uint32_t hash = disk::log_hash(uuid_);
    if (e.ok && header) {
        if (auto h = disk::decode_global_header(hash, e.data); h && slots_fit(*h) && h->slots > 0) {
            read_disk(Op::read_own_slots, h->slots_at, h->slots * disk::kSlotBytes);
            return;
        }
    }
    bool mine = false, of_earlier_boot = false, damaged = false;
    for (size_t at = 0; e.ok && !header && at + disk::kSlotBytes <= e.data.size(); at += disk::kSlotBytes) {
        proto::ByteView image(e.data.data() + at, disk::kSlotBytes);
        if (slot_owner(image) != host_.config().self) continue;
        SlotContent c = read_slot(hash, host_.config().self, image, params_.regions());
        if (!c.trusted) {
            damaged = true;
        } else if (c.header.boot != host_.config().boot) {
            of_earlier_boot = true;
        } else {
            mine = true;
            inherited_ = inherited_ || c.header.not_in_sync_told;
            uncertain_.add(c.marks);
            apart_.add(c.raw), apart_.add(c.torn);
        }
    }
    // A table that was not in use before the predecessor died: what is marked is of a kernel that is gone.
    if (of_earlier_boot && !mine && !damaged) kept_ = false;
    for (const Range& range : uncertain_.ranges())
        for (uint32_t i = 0; i < range.count && !everything_marked_; ++i) {
            if (marks_.size() >= disk::kMaxMarks / 2) everything_marked_ = true;
            else marks_.use(range.start + i);
        }
    if (kept_ && (!mine || damaged)) {
        everything_marked_ = inherited_ = true;
        uncertain_.add(Range{0, params_.regions()});
    }
    own_read_ = true;
    phase_ = Phase::waiting;
    send_attach();
}

// A new table hears why it cannot be used. One that has been running must not: the kernel makes "not in sync" of an error, and
// writes to one leg, unmarked. It waits.
void Log::refuse_resumes(int error) {
    if (kept_) return;
    for (Held& h : resumes_) answer(h.call, error);
    resumes_.clear();
}

// The log disk does not do what it should. A state that cannot be read is not guessed; the next try follows.
void Log::disk_failed(const std::string& error) {
    if (!log_failed_ || trouble_ != error) note(Level::error, error);
    log_failed_ = true;
    trouble_ = error;
    retry_at_ = host_.now() + kRetryMs;
    if (phase_ == Phase::opening || phase_ == Phase::waiting) refuse_resumes(-EIO);
    if (phase_ == Phase::forming || (phase_ == Phase::writing && former_)) {
        ops_.clear();
        slot_.reset();
        has_state_ = false;
        former_ = false;
        phase_ = Phase::waiting;
        refuse_resumes(-EIO);
        host_.send(uuid_, wire::Detach{});  // somebody else may have more luck
    }
}

// Runs on every active member, and on the attaching node itself.
void Log::attach_delivered(NodeId node, const wire::Attach& attach) {
    if (node != host_.config().self) return;
    if (phase_ != Phase::waiting && phase_ != Phase::receiving) return;
    if (attach.transfer != my_transfer_) return;
    if (attach.have == 0) backlog_.clear();
    phase_ = Phase::receiving;
}

// ---- the log disk ------------------------------------------------------------------------------------------------------------

void Log::read_disk(Op op, uint64_t offset, uint32_t length) {
    ops_[next_op_] = op;
    host_.emit(out::DiskRead{uuid_, next_op_++, offset, length});
}

void Log::write_disk(Op op, uint64_t offset, Bytes data) {
    ops_[next_op_] = op;
    ++counters_.log_writes;
    host_.emit(out::DiskWrite{uuid_, next_op_++, offset, std::move(data)});
}

// A region in which our kernel may go on writing at once is being copied by somebody: that ends first (I2).
bool Log::in_the_way() {
    MemberState* me = self();
    if (!me || me->busy.empty()) return false;
    RangeSet unsynced = me->busy.intersect(state_.torn);
    unsynced.add(me->busy.intersect(state_.raw));
    if (state_.unseen_grants() && !unsynced.empty()) return true;
    for (const auto& [node, m] : state_.members)
        if (node != host_.config().self && !m.lease.intersect(me->busy).empty()) return true;
    return false;
}

void Log::disk_done(const ev::DiskDone& e) {
    auto it = ops_.find(e.op);
    if (it == ops_.end()) return;  // of an attempt that was given up
    Op op = it->second;
    ops_.erase(it);
    if (e.ok && op != Op::read_dead) {
        if (log_failed_) note(Level::notice, fmt::format("log device {} works again", device_));
        if (log_failed_) trouble_.clear();
        log_failed_ = false;
    }
    switch (op) {
        case Op::none: break;
        case Op::read_own_header:
        case Op::read_own_slots:
            if (phase_ == Phase::opening) own_slot_read(e, op == Op::read_own_header);
            break;
        case Op::read_header:
            if (phase_ != Phase::forming) break;
            if (e.ok) header_read(e);
            else disk_failed(fmt::format("log device {} cannot be read: {}", device_, e.error));
            break;
        case Op::read_slots:
            if (phase_ != Phase::forming) break;
            if (e.ok) form_from_disk(e.data);
            else disk_failed(fmt::format("log device {} cannot be read: {}", device_, e.error));
            break;
        case Op::keep_legs:
        case Op::format:
            if (phase_ != Phase::writing) break;
            if (!e.ok) disk_failed(fmt::format("log device {} cannot be written: {}", device_, e.error));
            else if (op == Op::keep_legs) prepare_slots();
            else start_slot();
            break;
        case Op::read_slot:
            if (phase_ == Phase::writing) slot_read(e);
            break;
        case Op::slot_write:
            if (!slot_) break;
            slot_->written(e.ok);
            if (!e.ok) disk_failed(fmt::format("log device {} cannot be written: {}", device_, e.error));
            if (closing_ && (!e.ok || slot_->clean())) {
                host_.send(uuid_, wire::Folded{});
                leave_done();
            }
            break;
        case Op::global_header:
            if (phase_ != Phase::writing) break;
            if (!e.ok) {
                disk_failed(fmt::format("log device {} cannot be written: {}", device_, e.error));
                break;
            }
            format_ = false;
            phase_ = Phase::ready;
            host_.send(uuid_, wire::Ready{});
            break;
        case Op::read_dead: {
            NodeId node = reading_dead_;
            auto member = state_.members.find(node);
            if (!replica() || member == state_.members.end()) {
                reading_dead_ = 0;
                break;
            }
            wire::DeadMarks d;
            d.node = node;
            d.absent = member->second.status == Member::absent_unread;
            d.final = !d.absent && reading_final_;
            RangeSet marks;
            SlotContent content;
            if (e.ok) content = read_slot(disk::log_hash(uuid_), node, e.data, params_.regions());
            // A node that never wrote its slot in this life had nothing marked.
            bool wrote = content.present && content.header.epoch >= member->second.join_epoch;
            d.trusted = e.ok && (content.trusted || (content.present && !wrote));
            if (d.trusted && wrote) marks = content.marks;
            if (content.present && host_.version() >= wire::kApartSince) {
                d.epoch = content.header.epoch;
                if (content.header.legs != agreed_legs()) d.leg_epoch = content.header.legs.epoch;
            }
            if (!d.trusted)
                note(Level::error,
                     fmt::format("log device {}: the slot of node {} {}; every region will be copied", device_, node, e.ok ? "is damaged" : "cannot be read (" + e.error + ")"));
            // What it knew alone: messages that were delivered to nobody else when it was lost, or in a half of its own. It has acted on them.
            if (d.trusted && wrote && !d.absent) {
                for (RangeSet* set : {&content.torn, &content.raw}) set->remove(state_.raw), set->remove(state_.torn);
                if (std::popcount(state_.legs.alive()) == 1) content.raw.remove(state_.missed);  // there is nothing else that it could mean
                marks.add(content.torn);
                content.raw.coarsen(wire::kRangesPerMessage);
                if (!content.raw.empty()) host_.send(uuid_, wire::LegFailed{content.raw.ranges(), 1});
            }
            marks.coarsen(wire::kRangesPerMessage);
            d.marks = marks.ranges();
            host_.send(uuid_, std::move(d));
            break;
        }
        case Op::fold_bits:
            if (phase_ != Phase::folding) break;
            if (e.ok) write_disk(Op::fold_header, 0, fold_page0_);
            else {
                note(Level::error, fmt::format("log device {} cannot be written ({}): it stays in the cluster's format", device_, e.error));
                host_.send(uuid_, wire::Folded{});
                leave_done();
            }
            break;
        case Op::fold_header:
            if (phase_ != Phase::folding) break;
            if (!e.ok) note(Level::error, fmt::format("log device {} cannot be written ({}): it stays in the cluster's format", device_, e.error));
            host_.send(uuid_, wire::Folded{});
            leave_done();
            break;
    }
}

// ---- state transfer --------------------------------------------------------------------------------------------------------

void Log::snapshot_for(NodeId node, uint64_t id) {
    Transfer t;
    t.id = id;
    t.bytes = state_.encode();
    t.count = static_cast<uint32_t>((t.bytes.size() + wire::kChunkBytes - 1) / wire::kChunkBytes);
    transfers_[node] = std::move(t);
}

// Only the coordinator sends, one chunk at a time, and only when its own slot holds all that the joiner's is about to replace.
void Log::serve_transfers() {
    if (phase_ != Phase::active || state_.coordinator() != host_.config().self) return;
    if (slot_ && !slot_->clean()) return;
    for (auto& [node, t] : transfers_) {
        if (t.next >= t.count || t.sent > t.next) continue;
        wire::Chunk c;
        c.node = node;
        c.transfer = t.id;
        c.index = t.next;
        c.count = t.count;
        size_t from = size_t{t.next} * wire::kChunkBytes;
        size_t to = std::min(from + wire::kChunkBytes, t.bytes.size());
        c.bytes.assign(t.bytes.begin() + static_cast<ptrdiff_t>(from), t.bytes.begin() + static_cast<ptrdiff_t>(to));
        t.sent = t.next + 1;
        host_.send(uuid_, std::move(c));
    }
}

void Log::chunk(const wire::Chunk& c) {  // at the joiner
    if (c.transfer != my_transfer_ || c.index != chunks_have_ || phase_ != Phase::receiving) return;
    incoming_.insert(incoming_.end(), c.bytes.begin(), c.bytes.end());
    ++chunks_have_;
    retry_at_ = host_.now() + kAttachRetryMs;
    if (chunks_have_ == c.count) state_arrived();
}

void Log::state_arrived() {
    auto state = LogState::decode(incoming_);
    incoming_.clear();
    if (!state || !state->members.contains(host_.config().self)) {
        trouble_ = kUnreadable;
        restart_attach("the state that arrived is damaged");
        retry_at_ = host_.now() + attach_pause(attach_tries_);  // then tick() asks again
        return;
    }
    for (size_t i : replaced_)
        if (i >= state->leg_prints.size() || !state->leg_prints[i] || i >= leg_prints_.size() || state->leg_prints[i] != leg_prints_[i]) {
            refuse_replaced("close the mirror on every node and create it with the log argument `sync`");
            return;
        }
    state_ = std::move(*state);
    has_state_ = true;
    leg_epoch_at_ = host_.now();
    params_ = state_.params;
    if (host_.config().planted == Planted::partial_transfer) {
        state_.torn.clear();
        for (auto& [node, m] : state_.members) m.lease.clear();
    }
    phase_ = Phase::writing;
    std::deque<Backlog> backlog = std::move(backlog_);
    backlog_.clear();
    for (Backlog& b : backlog) {
        if (b.body) apply(b.sender, *b.body, b.crc);
        else apply_settle(b.view);
        if (phase_ != Phase::writing) return;
    }
    MemberState* me = self();
    if (!me) return;
    if (params_.has_disk) {
        if (me->slot >= layout_.slots) {
            restart_attach("no slot on the log disk");
            return;
        }
        start_slot();
    }  // else pump() says Ready
}

// ---- messages --------------------------------------------------------------------------------------------------------------

void Log::apply(NodeId sender, const wire::Body& body, uint32_t frame_crc) {
    if (const auto* refuse = std::get_if<wire::Refuse>(&body)) {
        if (refuse->node == host_.config().self && (phase_ == Phase::receiving || phase_ == Phase::waiting)) refused(refuse->reason);
    }
    if (phase_ == Phase::receiving) {
        if (backlog_.size() >= proto::kMaxJoinBacklog) {
            restart_attach("too many messages while the state arrives");
            send_attach();
            return;
        }
        backlog_.push_back({sender, body, frame_crc, {}});
        if (const auto* c = std::get_if<wire::Chunk>(&body); c && c->node == host_.config().self) chunk(*c);
        return;
    }
    if (phase_ == Phase::detached && std::holds_alternative<wire::Ready>(body)) has_state_ = false;
    if (!replica()) return;
    ++state_.applied;
    state_.chain = (state_.chain ^ (uint64_t{sender} << 32 | frame_crc)) * 0x100000001b3ull + state_.applied;
    apply_body(sender, body);
    if (!replica()) return;
    advance_legs();
    advance_groups();
    // I5: the joiner's state is that of all when this message has been dealt with.
    if (auto due = std::exchange(snapshot_due_, {})) snapshot_for(due->first, due->second);
}

void Log::apply_body(NodeId sender, const wire::Body& body) {
    const NodeId me = host_.config().self;
    auto member = state_.members.find(sender);
    MemberState* from = member == state_.members.end() ? nullptr : &member->second;

    if (const auto* a = std::get_if<wire::Attach>(&body)) {
        apply_attach(sender, *a);
        return;
    }
    if (!from) return;
    if (std::get_if<wire::Ready>(&body)) {
        if (from->status != Member::joining) return;
        from->status = Member::active;
        users_.clear();  // the joiner does not know of them: they say it again
        ++state_.epoch;
        transfers_.erase(sender);
        if (sender == me && phase_ == Phase::ready) {
            phase_ = Phase::active;
            attach_tries_ = 0;
            if (trouble_ == kUnreadable) trouble_.clear();
            for (auto& [luid, in] : instances_) in.used = in.used || in.live;
            former_ = false;
            kept_ = false;
            copying_.clear();
            for (const Range& range : from->marks.ranges())  // a core log: the others kept this node's marks
                for (uint32_t i = 0; i < range.count; ++i) marks_.use(range.start + i);
            core_held_.add(from->marks);
            core_seq_ = core_acked_ = std::max(core_seq_, from->mark_seq);
            my_legs_.acked.reset(), my_legs_.confirmed.reset();
            my_legs_.probes.clear();
            my_legs_.answering.clear();
            my_legs_.verdicts.clear();
            channel_.told_legs.reset();
            channel_.told_pause.reset();
            channel_.lost_told.clear();   // said in an earlier standing, and perhaps not heard
            channel_.told_close.clear();  // what the kernel cleared meanwhile may count as in use again
            speak_again();
            if (!host_.halves()) apart_.clear();
            apart_.coarsen(wire::kRangesPerMessage);
            if (!apart_.empty()) host_.send(uuid_, wire::LegFailed{apart_.ranges(), 1});
            replaced_.clear();
            if (!params_.groups()) host_.emit(out::KeepLegs{uuid_});
            if (suspended_) host_.emit(out::Resume{uuid_});
            if (!uncertain_.empty()) drain_after_ = host_.now() + 2000;
            my_busy_ = from->busy;
            lease_asked_ = false;
            asked_want_.clear();
            next_digest_ = host_.now() + kDigestMs;
            legs_asked_ = false;
            if (params_.groups()) note(Level::notice, fmt::format("in use by {} node(s)", state_.with(Member::active).size()));
            else
                note(Level::notice, fmt::format("in use by {} node(s), {} of {} regions in sync", state_.with(Member::active).size(), params_.regions() - state_.unsynced_count(),
                                                params_.regions()));
        }
        membership_changed();
    } else if (std::get_if<wire::Detach>(&body)) {
        bool mine = sender == me && phase_ == Phase::leaving;
        if (mine) closing_slot_ = from->slot;
        witness_goes();
        remove_member(sender);
        if (mine) {
            finish_detach();
        } else if ((phase_ == Phase::writing || phase_ == Phase::ready) && !former_ && state_.with(Member::active).empty()) {
            restart_attach("the last node that had it in use has left");
            send_attach();
        }
    } else if (const auto* c = std::get_if<wire::Chunk>(&body)) {
        auto t = transfers_.find(c->node);
        if (t != transfers_.end() && t->second.id == c->transfer && t->second.next == c->index) ++t->second.next;
    } else if (const auto* d = std::get_if<wire::DeadMarks>(&body)) {
        apply_dead(*d);
    } else if (const auto* f = std::get_if<wire::LegFailed>(&body)) {
        if (from->status != Member::active) return;
        if (!f->passing) from->trouble = 1, from->failures = LogState::kFailuresToHalt;
        RangeSet set(f->regions);
        if (sender == me) apart_.remove(set);  // the others know of it now
        unsync(RangeSet(set.within({0, params_.regions()}).ranges()), true);
    } else if (const auto* b = std::get_if<wire::BusyReport>(&body)) {
        auto report = state_.reports.find(b->generation);
        from->busy.add(b->busy);
        if (report == state_.reports.end()) return;
        report->second.waiting.erase(sender);
        if (report->second.waiting.empty()) state_.reports.erase(report);
    } else if (const auto* change = std::get_if<wire::BusyChange>(&body)) {
        from->busy.remove(change->drop);
        from->busy.add(change->add);
        if (sender == me) {
            busy_asked_.remove(change->add);
            pass_.remove(change->drop);
            for (const Range& r : change->add)
                for (uint32_t i = 0; i < r.count && !state_.unseen_grants(); ++i)
                    if (!state_.leased(r.start + i) && (channel_.on ? state_.unsynced(r.start + i) : state_.torn.contains(r.start + i))) pass_.add(r.start + i);
        }
    } else if (const auto* l = std::get_if<wire::Lease>(&body)) {
        if (from->status == Member::active) apply_lease(sender, *l);
    } else if (const auto* w = std::get_if<wire::Want>(&body)) {
        if (from->status != Member::active || phase_ != Phase::active) return;
        for (const Range& r : w->regions)
            for (uint32_t i = 0; i < r.count && i < 64; ++i) {
                if (self() && self()->lease.contains(r.start + i)) host_.emit(out::CopyFirst{uuid_, r.start + i});
                else if (wanted_.range_count() < wire::kRangesPerMessage) wanted_.add(r.start + i);
            }
    } else if (const auto* t = std::get_if<wire::Trouble>(&body)) {
        bool was = state_.halted();
        from->trouble = t->on;
        if (t->on) from->failures = LogState::kFailuresToHalt;  // it has no legs to copy from
        // Requests were answered "not in sync" meanwhile, and kernels may write there: everybody tells again.
        if (was && !state_.halted()) {
            RangeSet all = state_.torn;
            all.add(state_.raw);
            if (!all.empty()) unsync(all, false);
        }
    } else if (const auto* m = std::get_if<wire::Mark>(&body)) {
        from->marks.remove(m->drop);
        from->marks.add(m->add);
        from->mark_seq = m->seq;
        // The lowest other active member vouches for the mark.
        if (phase_ == Phase::active && sender != me) {
            for (const auto& [node, other] : state_.members) {
                if (node == sender || other.status != Member::active) continue;
                if (node == me) host_.send(uuid_, wire::MarkAck{sender, m->seq});
                break;
            }
        }
        if (sender == me && sole_member()) core_acked_ = std::max(core_acked_, m->seq);
    } else if (const auto* k = std::get_if<wire::MarkAck>(&body)) {
        if (k->node == me) core_acked_ = std::max(core_acked_, k->seq);
    } else if (std::get_if<wire::DigestPoint>(&body)) {
        digest_point_ = state_.applied;
        digest_ = state_.digest();
        if (phase_ == Phase::active && state_.coordinator() == me) host_.send(uuid_, wire::Digest{digest_point_, digest_});
    } else if (const auto* digest = std::get_if<wire::Digest>(&body)) {
        if (digest->point == digest_point_ && digest->hash != digest_ && phase_ == Phase::active) {
            trouble_ = fmt::format("this node's state of the log differed from node {}'s; it was thrown away and fetched anew", sender);
            note(Level::error, trouble_);
            host_.send(uuid_, wire::Diverged{});
            restart_attach("its state differs from the others'");
            send_attach();
        }
    } else if (std::get_if<wire::Diverged>(&body)) {
        if (from->status == Member::active) from->status = Member::demoted;
        if (host_.version() >= wire::kRebootSince) state_.wait_for_no_report_of(sender);
        membership_changed();
    } else if (const auto* fenced = std::get_if<wire::Fenced>(&body)) {
        auto it = state_.members.find(fenced->node);
        if (it != state_.members.end() && (it->second.status == Member::lost || it->second.status == Member::lost_unread)) it->second.no_grace = 1;
    } else if (const auto* suspect = std::get_if<wire::LegSuspect>(&body)) {
        apply_legs(sender, *from, *suspect);
    } else if (const auto* vote = std::get_if<wire::LegVote>(&body)) {
        apply_legs(sender, *from, *vote);
    } else if (const auto* ack = std::get_if<wire::LegAck>(&body)) {
        apply_legs(sender, *from, *ack);
    } else if (const auto* back = std::get_if<wire::LegReturn>(&body)) {
        apply_legs(sender, *back);
    } else if (const auto* missed = std::get_if<wire::Missed>(&body)) {
        apply_legs(sender, *missed);
    } else if (const auto* repair = std::get_if<wire::Repair>(&body)) {
        apply_repair(*from, *repair);
    } else if (const auto* rate = std::get_if<wire::Rate>(&body)) {
        state_.rate_kib = std::min<uint64_t>(rate->kib_per_s, UINT32_MAX);
    } else if (const auto* foreground = std::get_if<wire::Foreground>(&body)) {
        if (foreground->on) users_.insert(sender);
        else users_.erase(sender);
        if (sender == host_.config().self) used_told_.reset();
    } else if (const auto* voice = std::get_if<wire::GroupVoice>(&body)) {
        apply_groups(*from, *voice);
    } else if (const auto* switched = std::get_if<wire::GroupSwitched>(&body)) {
        apply_groups(sender, *switched);
    }
}

void Log::apply_attach(NodeId node, const wire::Attach& a) {
    const bool coordinator = phase_ == Phase::active && state_.coordinator() == host_.config().self;
    auto refuse = [&](std::string why) {
        if (coordinator) host_.send(uuid_, wire::Refuse{node, std::move(why)});
    };
    wire::Params theirs = a.params, ours = state_.params;
    if (theirs.groups() != ours.groups()) {
        auto kind = [](const wire::Params& p) { return p.groups() ? "the paths of an array" : "a mirror"; };
        refuse(fmt::format("node {} uses this uuid for {}, the other nodes use it for {}: give each a uuid of its own", node, kind(theirs), kind(ours)));
        return;
    }
    theirs.sync_mode = ours.sync_mode = 0;
    if (theirs != ours) {
        refuse(
            fmt::format("the table of node {} differs from that of the nodes which use the mirror: {} sectors in regions of {} with a {} log against {} "
                        "sectors in regions of {} with a {} log; load the same table on every node",
                        node, theirs.sectors, theirs.region_sectors, theirs.has_disk ? "disk" : "core", ours.sectors, ours.region_sectors, ours.has_disk ? "disk" : "core"));
        return;
    }
    if (a.legs && state_.legs.count && a.legs != state_.legs.count) {
        refuse(fmt::format("the table of node {} has {} legs, that of the nodes which use the mirror {}: load the same table on every node", node, a.legs, state_.legs.count));
        return;
    }
    if (!a.legs && !a.kept && state_.legs.degraded()) {
        refuse(fmt::format("a leg of this mirror is away, and the kernel of node {} cannot be told which: use dm-raid1-ext with a `cluster` log there, or repair the mirror first",
                           node));
        return;
    }
    if (state_.legs.count == 0) state_.legs.count = a.legs;
    if (auto it = state_.members.find(node); it != state_.members.end()) {
        MemberState& m = it->second;
        if (auto t = transfers_.find(node); t != transfers_.end() && t->second.id == a.transfer && a.have > 0) {
            t->second.next = a.have;  // goes on where the last coordinator stopped
            t->second.sent = a.have;
            return;
        }
        bool traces = m.status != Member::joining || !m.busy.empty();
        const bool kept = a.kept && (m.boot == 0 || m.boot == a.boot);  // 0: not known
        if (!kept && traces) {
            // It starts afresh: what it had marked in its last life must be known before its slot is used again. It asks again.
            if (m.status != Member::lost && m.status != Member::lost_unread) lose(node, m, Member::lost_unread, true);
            m.no_grace = 1;
            return;
        }
        m.status = Member::joining;
        if (host_.version() >= wire::kRebootSince) state_.wait_for_no_report_of(node);  // what it says now counts
        state_.legs.unseen.erase(node);                                                 // its new daemon does not know of it
        lost_at_.erase(node);
        m.boot = a.boot;
        if (a.legs || !a.kept) m.legs = a.legs;
        m.busy = RangeSet(a.busy);
        m.busy.add(m.marks);
        m.lease.clear();
        m.no_grace = 0;
        m.trouble = m.failures = 0;
    } else {
        std::set<uint16_t> taken;
        for (const auto& [other, m] : state_.members) taken.insert(m.slot);
        uint16_t slot = 0;
        while (taken.contains(slot)) ++slot;
        uint32_t limit = params_.has_disk ? slots() : proto::kMaxNodes;
        if (slot >= limit) {
            refuse(fmt::format("the log has room for {} nodes and all are taken{}", limit, params_.has_disk ? ": use a larger log device" : ""));
            return;
        }
        MemberState m;
        m.slot = slot;
        m.join_epoch = state_.epoch + 1;
        m.boot = a.boot;
        m.legs = a.legs;
        m.busy = RangeSet(a.busy);
        state_.members[node] = std::move(m);
    }
    ++state_.epoch;
    membership_changed();
    snapshot_due_ = {node, a.transfer};
}

void Log::lose(NodeId node, MemberState& m, Member how, bool no_grace) {
    if (m.status == how && m.no_grace == no_grace) return;
    if (how == Member::lost_unread && m.status != how) witness_goes();
    m.status = how;
    m.no_grace = m.no_grace || no_grace;
    leg_epoch_at_ = host_.now();                        // its kernel goes on for as long as its write lease runs
    if (how == Member::absent_unread) m.lease.clear();  // its process is gone, and with it every copy it had in flight
    state_.wait_for_no_report_of(node);
    lost_at_[node] = host_.now();
    transfers_.erase(node);
}

void Log::remove_member(NodeId node) {
    auto it = state_.members.find(node);
    if (it == state_.members.end()) return;
    if (host_.config().planted == Planted::lease_outlives_holder) state_.synced(it->second.lease);
    state_.wait_for_no_report_of(node);
    state_.legs.waiting.erase(node);
    state_.legs.unseen.erase(node);
    for (auto& [leg, suspect] : state_.legs.suspects) suspect.votes.erase(node);
    state_.members.erase(it);
    transfers_.erase(node);
    lost_at_.erase(node);
    ++state_.epoch;
    membership_changed();
}

void Log::apply_dead(const wire::DeadMarks& d) {
    if (d.node == reading_dead_) reading_dead_ = 0;
    auto it = state_.members.find(d.node);
    if (it == state_.members.end()) return;
    MemberState& m = it->second;
    RangeSet marks(d.marks);
    if (!d.trusted) marks.add(Range{0, params_.regions()});
    marks = marks.within({0, params_.regions()});
    if (d.absent) {
        if (m.status != Member::absent_unread) return;
        m.busy.add(marks);
        m.status = Member::absent;
        return;
    }
    if (m.status != Member::lost && m.status != Member::lost_unread) return;
    marks.add(m.busy);
    marks.add(m.marks);
    if (host_.config().planted == Planted::drop_dead_marks) marks.clear();
    RangeSet fresh = marks;
    fresh.remove(state_.torn);
    fresh.remove(state_.raw);
    if (m.status == Member::lost_unread) counters_.dead_known_ms = host_.now() - host_.last_loss();
    if (!fresh.empty()) unsync(fresh, false);
    if (phase_ == Phase::active && state_.coordinator() == host_.config().self)
        note(Level::notice,
             fmt::format("node {} is gone with {} region(s) marked{}", d.node, marks.count(),
                         d.final          ? ""
                         : host_.halves() ? fmt::format("; half of the votes have quorum here, so they are copied when it is reported as fenced: clogctl fenced {}", d.node)
                                          : "; they are copied when it cannot write any more"));
    if (!d.final) {
        m.status = Member::lost;
        return;
    }
    // What is written from now on is newer than all that it wrote in a half of its own.
    const bool apart = host_.version() >= wire::kApartSince;
    if (apart) state_.epoch = std::max(state_.epoch, d.epoch);
    if (apart && state_.legs.count && d.leg_epoch && d.leg_epoch >= state_.legs.epoch) {
        state_.legs.epoch = d.leg_epoch;
        raise_leg_epoch();
    }
    remove_member(d.node);
}

// Every replica does this at the same point of the order.
void Log::apply_settle(const Settle& view) {
    ++state_.applied;
    state_.chain = state_.chain * 0x100000001b3ull + view.processes.size() + state_.applied;
    // Two halves that have seen nothing but the loss of each other must not take their states for the same.
    if (host_.version() >= wire::kApartSince)
        for (NodeId node : view.processes) state_.chain = (state_.chain ^ node) * 0x100000001b3ull;
    if (host_.version() < wire::kSlotsSince) state_.slots = 0, state_.leg_prints.clear();
    std::vector<NodeId> nodes;
    for (const auto& [node, m] : state_.members) nodes.push_back(node);
    const bool in_one_moment = view.losses <= 1 && !state_.primary_has_alone();
    const uint8_t seen_by_gone = state_.legs.seen_by_gone;
    for (NodeId node : nodes) {
        MemberState& m = state_.members[node];
        bool lost = m.status == Member::lost || m.status == Member::lost_unread;
        if (view.authority.contains(node) && m.status == Member::active) continue;
        if (view.processes.contains(node)) {
            const auto boot = view.boots.find(node);
            const bool booted = boot != view.boots.end() && booted_between(m.boot, boot->second) && host_.version() >= wire::kRebootSince;
            if (!view.standings.contains(node) || booted) lose(node, m, lost && m.status == Member::lost ? Member::lost : Member::lost_unread, true);
            else if (m.status == Member::active || m.status == Member::absent || m.status == Member::absent_unread) lose(node, m, Member::demoted, false);
        } else if (!lost) {
            // A machine that is up without its daemon goes on writing where it may; one that is out of sight must be given time.
            bool here = view.machines.contains(node);
            if (here && m.status == Member::absent) continue;
            lose(node, m, here ? Member::absent_unread : Member::lost_unread, false);
        }
    }
    if (in_one_moment) state_.legs.seen_by_gone = seen_by_gone;  // they have seen nothing of one another
    ++state_.epoch;
    membership_changed();
    advance_legs();
    advance_groups();
}

void Log::settle(const Settle& view) {
    last_view_ = view;
    for (auto& [node, t] : transfers_) t.sent = t.next;
    const bool stays = view.authority.contains(host_.config().self);
    switch (phase_) {
        case Phase::detached:
        case Phase::looking:
        case Phase::opening:
        case Phase::folding: break;
        case Phase::forming:
            if (view.alone == host_.config().self) break;
            restart_attach("another node has formed the state, or does");
            send_attach();
            break;
        case Phase::waiting:
            if (log_failed_ && params_.has_disk) break;  // tick() tries again
            send_attach();
            break;
        case Phase::receiving:
            if (view.authority.empty()) {
                restart_attach("the nodes that served it are gone");
            } else {
                backlog_.push_back({0, std::nullopt, 0, view});
            }
            send_attach();
            break;
        case Phase::writing:
        case Phase::ready:
            if (former_ && view.alone == host_.config().self) {
                if (host_.version() < wire::kSlotsSince) state_.slots = 0, state_.leg_prints.clear();
                if (phase_ == Phase::ready) host_.send(uuid_, wire::Ready{});
            } else if (!former_ && !view.authority.empty() && view.applied == state_.applied && view.chain == state_.chain) {
                apply_settle(view);
                if (phase_ == Phase::ready) host_.send(uuid_, wire::Ready{});
            } else {
                restart_attach("the view changed");
                send_attach();
            }
            break;
        case Phase::active:
        case Phase::detaching:
        case Phase::leaving:
            if (stays) {
                apply_settle(view);
                if (!params_.has_disk) {  // the second holder of a mark may be gone
                    core_pending_.add(core_held_), core_pending_.add(core_sent_);
                    core_held_.clear(), core_sent_.clear();
                    core_acked_ = core_seq_;
                }
                if (phase_ == Phase::leaving) host_.send(uuid_, wire::Detach{});
            } else if (phase_ == Phase::active) {
                remember_apart();
                restart_attach("the other nodes went on without it");
                send_attach();
            } else {
                leave_done();
            }
            break;
        case Phase::frozen:
            remember_apart();
            kept_ = true;
            restart_attach("quorum is back");
            send_attach();
            break;
    }
}

void Log::unsettle() {
    if (phase_ == Phase::detached) has_state_ = false;  // a state that was closed may be overtaken unseen
}

// Writes that the stock target has begun cannot be taken back from it: nothing gets as far. Ours has no lease then, or none any more.
void Log::hold_kernel(bool for_good) {
    if (channel_.on || params_.groups()) return;
    if (!suspended_) host_.emit(out::Suspend{uuid_, for_good});
    suspended_ = true;
}

// What this node, alone in its half, has come to know: the state that it is about to get does not say so.
void Log::remember_apart() {
    if (!host_.halves() || !has_state_) return;
    apart_.add(state_.raw), apart_.add(state_.torn), apart_.add(state_.missed);
}

void Log::tell_slot() {
    if (!slot_) return;
    RangeSet raw = state_.raw_on_disk();
    raw.add(apart_);
    slot_->set_unsynced(state_.torn, raw);
}

void Log::freeze(const char* why) {
    switch (phase_) {
        case Phase::active:
            note(Level::warning, fmt::format("writes wait: {}", why));
            hold_kernel();
            cancel_copies();
            copying_.clear();
            result_ = {};
            phase_ = Phase::frozen;
            break;
        case Phase::forming:
        case Phase::receiving:
        case Phase::writing:
        case Phase::ready: restart_attach(why); break;
        case Phase::detaching:
        case Phase::leaving:
        case Phase::folding: leave_done(); break;
        default: break;
    }
}

// The slot on disk follows the state: at once when something was added, lazily when something went away.
void Log::membership_changed() {
    used_told_.reset();  // it may have been lost

    if (core_seq_ > core_acked_) {  // whoever was to vouch for these marks may not be able to any more
        core_pending_.add(core_sent_);
        core_sent_.clear();
        core_acked_ = core_seq_;
    }
    tell_header();
}

void Log::tell_header() {
    if (!slot_) return;
    disk::SlotHeader h;
    h.not_in_sync_told = inherited_ || !tainted_.empty();
    h.epoch = state_.epoch;
    h.boot = host_.config().boot;
    for (const auto& [node, m] : state_.members) h.members.push_back({node, m.slot, m.join_epoch});
    h.legs = agreed_legs();
    if (host_.config().planted == Planted::legs_not_on_disk) h.legs = {};
    h.closed = closing_;
    if (closing_) h.members.push_back({host_.config().self, closing_slot_, 0});
    tell_slot();
    slot_->set_header(h);
    sync_unsynced_ = false;
}

// The coordinator reads what lost and absent nodes had marked: at once, and again when they can no longer write.
void Log::read_lost() {
    if (phase_ != Phase::active || state_.coordinator() != host_.config().self || reading_dead_) return;
    const Config& cfg = host_.config();
    for (auto& [node, m] : state_.members) {
        bool first = m.status == Member::lost_unread || m.status == Member::absent_unread;
        // A coordinator that came later counts from when it learnt of the loss.
        lost_at_.try_emplace(node, host_.now());
        bool again = m.status == Member::lost && (m.no_grace || cfg.planted == Planted::no_grace || host_.has_stopped(lost_at_[node]));
        if (!first && !again) continue;
        reading_dead_ = node;
        reading_final_ = m.status == Member::lost || m.no_grace;  // when it is asked for: it may have written until then
        if (params_.has_disk) {
            read_disk(Op::read_dead, layout_.page_at(m.slot, 0, 0), disk::kSlotBytes);
        } else {
            wire::DeadMarks d;
            d.node = node;
            d.absent = m.status == Member::absent_unread;
            d.final = !d.absent && (m.status == Member::lost || m.no_grace);
            d.marks = m.marks.ranges(wire::kRangesPerMessage);
            host_.send(uuid_, std::move(d));
        }
        return;
    }
}

std::map<NodeId, TimeMs> Log::waits_for() const {
    std::map<NodeId, TimeMs> out;
    if (phase_ == Phase::forming)
        for (NodeId node : awaited_) out[node] = host_.last_loss();
    if (!replica()) return out;
    for (const auto& [node, m] : state_.members) {
        if (m.status != Member::lost && m.status != Member::lost_unread) continue;
        auto at = lost_at_.find(node);
        out[node] = at == lost_at_.end() ? host_.now() : at->second;
    }
    return out;
}

bool Log::sole_member() const { return state_.members.size() == 1; }

// ---- leaving -----------------------------------------------------------------------------------------------------------------

void Log::finish_detach() {
    if (state_.members.empty() && params_.has_disk && !log_failed_ && !kernel_form_lies()) fold();
    else if (state_.members.empty() && slot_ && !log_failed_) close_slot();
    else {
        if (!state_.members.empty()) has_state_ = false;
        host_.send(uuid_, wire::Folded{});
        leave_done();
    }
}

// The kernel's own form takes every leg to be in use and the first to be the good one.
bool Log::kernel_form_lies() const { return state_.legs.degraded() || (state_.legs.primary != 0 && state_.unsynced_count()); }

// While a leg is away the kernel's own form cannot say what it missed: the log keeps the cluster's.
void Log::close_slot() {
    phase_ = Phase::folding;
    closing_ = true;
    membership_changed();
    note(Level::warning, fmt::format("log device {} keeps the cluster's format, because not every leg is whole: only clogd can open it", device_));
}

void Log::fold() {
    phase_ = Phase::folding;
    const uint32_t regions = params_.regions();
    uint64_t bytes = (disk::mirr_bytes(regions) + disk::kPageBytes - 1) / disk::kPageBytes * disk::kPageBytes;
    proto::Writer w;
    w(disk::kMirrMagic), w(disk::kMirrVersion), w(uint64_t{regions});
    Bytes image = w.take();
    image.resize(bytes);
    for (uint32_t r = 0; r < regions; ++r) image[disk::kMirrBitsAt + r / 8] |= static_cast<uint8_t>(1u << (r % 8));
    for (const RangeSet* set : {&state_.raw, &state_.torn})
        for (const Range& range : set->ranges())
            for (uint64_t r = range.start; r < range.end(); ++r) image[disk::kMirrBitsAt + r / 8] &= static_cast<uint8_t>(~(1u << (r % 8)));
    // The first sector decides what the disk is, so it is written last, in a write that changes nothing else.
    fold_page0_.assign(image.begin(), image.begin() + disk::kPageBytes);
    const Bytes open = global_header(slots());
    std::copy_n(open.begin(), proto::kSectorBytes, image.begin());
    write_disk(Op::fold_bits, 0, std::move(image));
}

void Log::leave_done() {
    if (params_.has_disk || !state_.members.empty()) has_state_ = false;
    forget_local();
    phase_ = Phase::detached;
    host_.emit(out::Close{uuid_});
    disk_open_ = false;
    if (postsuspend_) answer(*postsuspend_, 0);
    postsuspend_.reset();
    if (!resumes_.empty() && instances_.contains(resumes_.back().luid)) take_up(resumes_.back().luid);  // came meanwhile
}

void Log::forget_local() {
    ops_.clear();
    slot_.reset();
    marks_.clear();
    core_pending_.clear(), core_sent_.clear(), core_held_.clear(), core_drop_.clear();
    core_acked_ = core_seq_;
    my_busy_.clear(), pass_.clear(), tainted_.clear(), busy_asked_.clear();
    wanted_.clear(), asked_want_.clear();
    cancel_copies();
    copying_.clear();
    apart_.clear();
    awaited_.clear();
    result_ = {};
    lease_asked_ = false;
    transfers_.clear();
    lost_at_.clear();
    reading_dead_ = 0;
    flushing_legs_ = false;
    given_.clear();
    missed_asked_ = false;
    missed_under_way_ = 0;
    closing_ = false;
    my_legs_ = {};
    my_voice_.reset();
    my_switch_.reset();
    speak_again();
    kernel_legs_ = {};
    trouble_sticky_ = false;
    trouble_until_ = 0;
    legs_ = 0;
    legs_asked_ = false;
    kept_ = false;
    uncertain_.clear();
    everything_marked_ = inherited_ = false;
    own_read_ = true;
    log_failed_ = false;
    suspended_ = false;
    draining_ = false;
}

// ---- time ----------------------------------------------------------------------------------------------------------------------

void Log::tick() {
    const TimeMs now = host_.now();
    switch (phase_) {
        case Phase::opening:
        case Phase::waiting:
            if (log_failed_ && now >= retry_at_) {
                attach();
            } else if (phase_ == Phase::waiting && now >= retry_at_ + 2 * kAttachRetryMs) {
                host_.forget_messages(uuid_);
                send_attach();
            }
            break;
        case Phase::receiving:
            if (now >= retry_at_) send_attach();
            break;
        case Phase::active: {
            sweep();
            if (sync_unsynced_ && now >= synced_unsynced_at_ + 1000) {
                synced_unsynced_at_ = now;
                sync_unsynced_ = false;
                tell_slot();
            }
            if (now >= next_digest_ && state_.coordinator() == host_.config().self) {
                next_digest_ = now + kDigestMs;
                if (state_.with(Member::active).size() > 1 && state_.applied > digest_point_ + 2) host_.send(uuid_, wire::DigestPoint{});
            }
            if (self() && self()->trouble && !trouble_sticky_ && trouble_until_ && now >= trouble_until_) {
                trouble_until_ = 0;
                legs_asked_ = false;
                host_.send(uuid_, wire::Trouble{0});
            }
            break;
        }
        default: break;
    }
    drain_if_stuck();
    // A table that waits for quorum or for its log must not keep dmsetup hanging: the device is there, its I/O waits.
    while (!resumes_.empty() && now >= resumes_.front().since + host_.config().resume_hold_ms) {
        note(Level::warning, fmt::format("the mirror is resumed, but its writes wait: the log is {}{}", phase_name(phase_), host_.quorate() ? "" : " and there is no quorum"));
        answer(resumes_.front().call, 0);
        resumes_.erase(resumes_.begin());
    }
}

void Log::pump() {
    if (phase_ == Phase::opening && disk_open_ && !own_read_ && ops_.empty() && host_.config().self != 0) read_disk(Op::read_own_header, 0, disk::kPageBytes);
    // I4: before a state is formed, whoever is out of sight must have stopped writing, the mirror and its slot.
    if (phase_ == Phase::forming && others_stopped()) {
        if (!params_.has_disk) form_from_memory();
        else if (ops_.empty() && header_page_.empty()) read_disk(Op::read_header, 0, disk::kPageBytes);
    }
    if (phase_ == Phase::active) {
        read_lost();
        serve_transfers();
        serve_rate();
        renew_copies();
        plan_copies();
        answer_held();
        serve_channel();
        serve_legs();
        serve_groups();
        if (!params_.has_disk) send_marks();
        for (Held& h : resumes_) answer(h.call, 0);
        resumes_.clear();
    }
    if (slot_ && !slot_->writing() && (phase_ == Phase::writing || phase_ == Phase::active || phase_ == Phase::detaching || closing_) &&
        !(log_failed_ && host_.now() < retry_at_)) {
        bool stale_too = phase_ == Phase::detaching || sync_unsynced_ || !slot_->waiting();
        if (auto w = slot_->next_write(stale_too)) write_disk(Op::slot_write, w->offset, std::move(w->data));
    }
    if (phase_ == Phase::writing && params_.has_disk && !former_ && !slot_ && ops_.empty() && !(log_failed_ && host_.now() < retry_at_)) start_slot();
    const bool slot_ready = params_.has_disk ? slot_ && slot_->clean() && !slot_->waiting() && ops_.empty() : has_state_;
    if (phase_ == Phase::writing && slot_ready && !in_the_way()) {
        if (former_ && format_) {
            write_disk(Op::global_header, 0, global_header(layout_.slots));
        } else {
            phase_ = Phase::ready;
            host_.send(uuid_, wire::Ready{});
        }
    }
    if (phase_ == Phase::detaching && !copy_busy_ && !missed_asked_ && (!slot_ || (slot_->clean() && !slot_->stale() && !slot_->waiting() && ops_.empty()) || log_failed_)) {
        phase_ = Phase::leaving;
        host_.send(uuid_, wire::Detach{});
    }
    tell_state();
}

}  // namespace clogd
