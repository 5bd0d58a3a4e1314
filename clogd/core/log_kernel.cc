// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's requests (proto/ulog.hh) and their answers.
//
// The stock mirror's traps, and what is done about them:
// - Once it was told that everything is in sync it never again asks whether a region is being recovered elsewhere, nor for work.
//   So it is told so at once, copies nothing itself, and asks IN_SYNC for every region that is not in its hash: there it waits.
// - IN_SYNC = 0 makes it write to the first leg only, without a mark. So 0 is answered only when nobody can copy (`tainted`).
// - A full sync count, too, makes it believe that for good; a table that is not in use yet is told 0 (never_used()).
// - An error to IN_SYNC counts as 0. So it is never answered with an error.
// - Its worker is one thread per mirror: a request that waits keeps it from sending CLEAR (pass_mode() in log_copy.cc).
// - A write that IS_REMOTE_RECOVERING puts off keeps a suspend from ending. Where the table was refused it would for ever: gives_back().
// - That it asks IN_SYNC, or marks a region, proves that the region is not in its hash: it has no write in flight there.
#include <cerrno>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "clogd/core/log.hh"
#include "clogd/core/reply.hh"
#include "proto/channel.h"

namespace clogd {

namespace wire = proto::wire;
using out::Level;
using proto::ulog::Call;
using proto::ulog::Request;

// ---- CTR --------------------------------------------------------------------------------------------------------------------

namespace {
constexpr TimeMs kWedgedMs = 2000;
constexpr TimeMs kGiveBackAfterMs = 1000;  // after PRESUSPEND: soon nothing more is let in
constexpr TimeMs kGiveBackForMs = 300000;  // a suspend that takes longer was interrupted, and the kernel tells nobody

std::vector<std::string_view> words(std::string_view text) {
    std::vector<std::string_view> out;
    while (true) {
        size_t from = text.find_first_not_of(' ');
        if (from == std::string_view::npos) return out;
        size_t to = std::min(text.find(' ', from), text.size());
        out.push_back(text.substr(from, to - from));
        text.remove_prefix(to);
    }
}
template <class T>
bool number(std::string_view text, T& value) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
}
}  // namespace

// "<sectors> clustered-disk <device> <region size> [sync|nosync] [block_on_error]" or "<sectors> clustered-core <region size> ...";
// "<sectors> groups" of the paths to an array.
std::optional<Instance> Log::parse_ctr(std::string_view text, std::string* why) {
    auto refuse = [&](std::string reason) -> std::optional<Instance> {
        *why = std::move(reason);
        return std::nullopt;
    };
    auto args = words(text);
    Instance in;
    if (args.size() == 2 && args[1] == "groups") {
        in.params.region_sectors = 1;
        in.params.sectors = CLOG_GROUPS_MAX;
        in.params.sync_mode = wire::kGroups;
        return in;
    }
    if (args.size() < 3)
        return refuse(
            fmt::format("log arguments '{}' are incomplete: expected <length> clustered-disk <device> <region size> or "
                        "<length> clustered-core <region size>",
                        text));
    if (!number(args[0], in.params.sectors) || in.params.sectors == 0) return refuse(fmt::format("mirror length '{}' is not a number of sectors", args[0]));
    size_t at = 2;
    if (args[1] == "clustered-disk" || args[1] == "clustered_disk") {
        in.params.has_disk = 1;
        in.device = args[at++];
        if (at >= args.size()) return refuse("clustered-disk needs a log device and a region size");
    } else if (args[1] != "clustered-core" && args[1] != "clustered_core") {
        return refuse(fmt::format("log type '{}' is not known: use clustered-disk or clustered-core", args[1]));
    }
    uint32_t size = 0;
    if (!number(args[at], size)) return refuse(fmt::format("region size '{}' is not a number of sectors", args[at]));
    if (size < 2 || (size & (size - 1)) || size > in.params.sectors)
        return refuse(fmt::format("region size {} is not a power of two between 2 and the mirror's length of {} sectors", size, in.params.sectors));
    in.params.region_sectors = size;
    if ((in.params.sectors + size - 1) / size >= UINT32_MAX)
        return refuse(fmt::format("{} sectors in regions of {} are more than {} regions: use a larger region size", in.params.sectors, size, UINT32_MAX - 1));
    for (++at; at < args.size(); ++at) {
        if (args[at] == "sync" || args[at] == "nosync") {
            uint8_t mode = args[at] == "sync" ? wire::kForceSync : wire::kNoSync;
            if (in.params.sync_mode && in.params.sync_mode != mode) return refuse("both sync and nosync are given: choose one");
            in.params.sync_mode = mode;
        } else if (args[at] != "block_on_error") {
            return refuse(fmt::format("log argument '{}' is not known: expected sync, nosync or block_on_error", args[at]));
        }
    }
    return in;
}

void Log::ctr(const Call& call) {
    std::string why;
    auto instance = parse_ctr(call.text(), &why);
    if (!instance) {
        note(Level::error, why);
        answer(call, -EINVAL);
        return;
    }
    // A kernel that lost its daemon sends CTR again and has no room for an answer; only a new table is told its log device.
    bool again = instances_.contains(call.luid) || (live_luid_ == 0 && phase_ != Phase::detached);
    Bytes data;
    if (instance->params.has_disk && !again && call.version >= 2) {
        data.assign(instance->device.begin(), instance->device.end());
        data.push_back(0);
        if (data.size() > 128) {
            note(Level::error, fmt::format("log device name '{}' is longer than 127 characters: use major:minor", instance->device));
            answer(call, -EINVAL);
            return;
        }
    }
    if (instance->params.has_disk && !again && phase_ == Phase::detached && !pending_ctr_) {
        // A log device that will not do is told now, while the table can still be refused.
        host_.emit(out::OpenDisk{uuid_, instance->device});
        pending_ctr_ = PendingCtr{call, std::move(*instance), std::move(data)};
        return;
    }
    instances_.try_emplace(call.luid, std::move(*instance));
    answer(call, 0, std::move(data));
}

void Log::log_device_probed(const ev::DiskOpened& e) {
    PendingCtr p = std::move(*pending_ctr_);
    pending_ctr_.reset();
    host_.emit(out::Close{uuid_});
    std::string why = log_device_fault(p.instance, e);
    if (!why.empty()) {
        note(Level::error, why);
        answer(p.call, -EINVAL);
        return;
    }
    instances_.try_emplace(p.call.luid, std::move(p.instance));
    answer(p.call, 0, std::move(p.data));
}

std::string Log::log_device_fault(const Instance& in, const ev::DiskOpened& e) {
    if (e.bytes == 0) return fmt::format("log device {}: {}", in.device, e.error);
    auto l = proto::logdisk::layout(e.bytes, in.params.regions());
    if (l.slots) return {};
    return fmt::format("log device {} has {} bytes; a mirror of {} regions needs at least {} for its log: use a larger log device, or a larger region size", in.device, e.bytes,
                       in.params.regions(), l.needed_bytes);
}

void Log::found_live(const Instance& instance, const proto::AgreedLegs& legs) {
    if (legs.count && my_leg_count_ == 0) my_leg_count_ = legs.count, kernel_legs_ = legs;
    if (phase_ != Phase::detached) return;
    params_ = instance.params;
    device_ = instance.device;
    kept_ = true;
    inherited_ = !params_.has_disk && !params_.groups();  // else its slot tells
    own_read_ = !params_.has_disk;
    // No disk tells what the predecessor had marked: the kernel may be writing anywhere until it is drained, or says what it holds.
    if (!params_.has_disk && !params_.groups()) uncertain_.add(Range{0, params_.regions()});
    begin();
}

void Log::adopt(const Call& call, const Instance& instance) {
    instances_.try_emplace(call.luid, instance).first->second.used = true;
    resume(call);
}

void Log::resume(const Call& call) {
    Instance& in = instances_[call.luid];
    for (auto& [luid, other] : instances_) other.live = luid == call.luid;
    in.suspending_since = 0;
    if (inherited_ && (call.channel || (live_luid_ && call.luid != live_luid_))) {
        inherited_ = false;
        if (!call.channel) drained_now();
        tell_header();
    }
    if (in.gave_back) {
        trouble_ = "the table has given back its writes, and its kernel takes the log for failed: load it anew (dmsetup load, then resume)";
        note(Level::error, trouble_);
        answer(call, -EINVAL);
        suspended_ = false;
        hold_kernel(true);
        return;
    }
    wire::Params mine = params_;
    if (!mine.groups() && !in.params.groups()) mine.sync_mode = in.params.sync_mode;  // of the state: how it began
    const bool same = in.params == mine && in.device == device_;
    if (phase_ == Phase::active && same) {
        in.used = true;
        suspended_ = false;
        if (!tainted_.empty() && live_luid_ && call.luid != live_luid_) {  // another table: its region hash is new
            RangeSet drop = std::exchange(tainted_, {});
            for (Region r : marks_.in_use())
                if (drop.contains(r)) marks_.idle(r, host_.now());
            tell_header();
            set_busy({}, drop);
        }
        live_luid_ = call.luid;
        channel_opened(call.channel);
        my_leg_count_ = call.legs;
        answer(call, 0);
        return;
    }
    const bool other = !same || phase_ == Phase::looking || (live_luid_ && call.luid != live_luid_);
    channel_opened(call.channel);
    if (call.channel) live_luid_ = call.luid;
    my_leg_count_ = call.legs;
    Held h;
    h.luid = call.luid;
    h.call = call;
    h.since = host_.now();
    for (Held& r : resumes_)
        if (r.luid == call.luid) {
            r = h;
            return;
        }
    resumes_.push_back(h);
    if (phase_ == Phase::detached) take_up(call.luid);
    if (suspended_ && other && phase_ != Phase::active && phase_ != Phase::detaching && phase_ != Phase::leaving && phase_ != Phase::folding) {
        // Another table came in the place of the one that this daemon had suspended: nothing of that is in flight, and nothing of it goes on.
        host_.forget_messages(uuid_);
        host_.send(uuid_, wire::Detach{});
        leave_done();
    }
    if (phase_ != Phase::active) return;
    held_.clear();
    leave();  // a table of another size or log: what was agreed for the one before does not hold for it
}

void Log::take_up(uint64_t luid) {
    const Instance& in = instances_.at(luid);
    params_ = in.params;
    device_ = in.device;
    live_luid_ = luid;
    kept_ = inherited_ = false;
    suspended_ = false;  // its kernel has just been resumed
    trouble_.clear();
    begin();
}

void Log::end_everything_marked() {
    if (everything_marked_ && slot_) slot_->end_everything();
    everything_marked_ = false;
}

// Everything that this table had in flight has ended and its region hash is empty.
void Log::drained_now() {
    RangeSet stays = tainted_;  // until another table comes
    if (inherited_) stays.add(uncertain_);
    for (Region r : marks_.in_use())
        if (!stays.contains(r)) marks_.idle(r, host_.now());
    if (!inherited_) {
        uncertain_.clear();
        end_everything_marked();
    }
    pass_.clear();
    RangeSet drop = my_busy_;
    drop.remove(stays);
    if (phase_ == Phase::active) set_busy({}, drop);
    else my_busy_.remove(drop);
}

// A suspend of a table that was refused: what it was to write goes back unwritten. The kernel does so with what it cannot mark, if it handles
// errors: it says that the log has failed, for as long as the table lives, holds the writes, and gives them to the next table. (A suspend that is
// to flush fails them.) Its worker asks for one write at a time, IS_REMOTE_RECOVERING and IN_SYNC at once, and marks it before it reads again: so
// IN_SYNC is 1 for that write alone. For a read it is 0, else one that fails on the first leg would be answered from another.
bool Log::gives_back(const Instance& in) const {
    const bool refused = in.live && !in.used && phase_ == Phase::detached && !channel_.on && !in.params.groups();
    const TimeMs since = in.suspending_since;
    return refused && handle_errors_ && since && host_.now() >= since + kGiveBackAfterMs && host_.now() < since + kGiveBackForMs;
}

void Log::postsuspend(const Call& call) {
    held_.clear();
    if (!live_luid_ && phase_ != Phase::detached) live_luid_ = call.luid;  // found in use, and had nothing to say until now
    channel_opened(false);
    for (auto& [luid, in] : instances_) in.live = false, in.suspending_since = 0;
    if (params_.groups()) {  // a map that is given another table goes on reaching what it reached
        answer(call, 0);
        return;
    }
    if (draining_ || suspended_ || (phase_ != Phase::active && phase_ != Phase::detached)) {
        drained_now();
        // Our own suspend, or nothing to leave: an attach that is under way stops with the table.
        if (!draining_ && !suspended_) {
            resumes_.clear();
            if (phase_ == Phase::writing || phase_ == Phase::ready || phase_ == Phase::forming || phase_ == Phase::receiving || phase_ == Phase::waiting) {
                host_.forget_messages(uuid_);  // an Attach that is delivered behind this would be taken for the next one
                host_.send(uuid_, wire::Detach{});
            }
            if (phase_ != Phase::detaching && phase_ != Phase::leaving && phase_ != Phase::folding) leave_done();
        }
        answer(call, 0);
        return;
    }
    if (phase_ == Phase::detached) {
        answer(call, 0);
        return;
    }
    postsuspend_ = call;
    leave();
}

// The table that was live has nothing in flight any more.
void Log::leave() {
    const RangeSet marks = all_marks();
    drained_now();
    phase_ = Phase::detaching;
    cancel_copies();
    copying_.clear();
    if (state_.legs.degraded() && !marks.empty()) {  // what the legs that are away have missed must not end with these marks
        missed_asked_ = true;
        send_missed(marks);
    } else {
        drop_all_marks();
    }
    tell_slot();
}

// ---- requests ----------------------------------------------------------------------------------------------------------------

void Log::answer(const Call& call, int error, Bytes data) {
    proto::ulog::Reply r = reply_to(call);
    r.error = error;
    r.data = std::move(data);
    host_.emit(out::Answer{std::move(r)});
}

void Log::answer_u64(const Call& call, uint64_t a) {
    Bytes data(8);
    std::memcpy(data.data(), &a, 8);
    answer(call, 0, std::move(data));
}

void Log::answer_u64(const Call& call, uint64_t a, uint64_t b) {
    Bytes data(16);
    std::memcpy(data.data(), &a, 8);
    std::memcpy(data.data() + 8, &b, 8);
    answer(call, 0, std::move(data));
}

void Log::call(const Call& call) {
    ++counters_.requests;
    if (call.type == Request::ctr) {
        ctr(call);
        return;
    }
    auto it = instances_.find(call.luid);
    if (it == instances_.end() && phase_ != Phase::detached && live_luid_ == 0 && call.type != Request::dtr) {
        // The mirror was found running; this is its table.
        Instance in;
        in.params = params_;
        in.device = device_;
        in.live = in.used = true;
        it = instances_.emplace(call.luid, std::move(in)).first;
        live_luid_ = call.luid;
    }
    if (it == instances_.end()) {
        // The kernel takes ESRCH for "no daemon", sends CTR and RESUME, and then the request again. If that RESUME fails, it
        // takes the region for one that is not in sync and writes to one leg: so a RESUME never comes here (Cluster::on(Call)).
        answer(call, call.type == Request::dtr ? 0 : -ESRCH);
        return;
    }
    Instance& in = it->second;
    const uint64_t regions = in.params.regions();
    auto region_ok = [&](uint64_t r) {
        if (r < regions) return true;
        note(Level::error, fmt::format("the kernel asked for region {} of a mirror that has {}", r, regions));
        answer(call, -EINVAL);
        return false;
    };
    switch (call.type) {
        case Request::ctr: break;
        case Request::dtr:
            instances_.erase(it);
            answer(call, 0);
            // A table that was found in use may not have said a word: this was another one, which never came into use.
            if (instances_.empty() && live_luid_ && phase_ != Phase::detached && phase_ != Phase::detaching && phase_ != Phase::leaving && phase_ != Phase::folding) {
                host_.send(uuid_, wire::Detach{});
                host_.send(uuid_, wire::Folded{});
                leave_done();
            }
            break;
        case Request::presuspend:
            in.suspending_since = host_.now();
            in.write_asked = UINT64_MAX;
            answer(call, 0);
            break;
        case Request::postsuspend: postsuspend(call); break;
        case Request::resume: resume(call); break;
        case Request::get_region_size: answer_u64(call, in.params.region_sectors); break;
        case Request::is_clean:
            if (region_ok(call.u64())) answer_u64(call, marks_.used(static_cast<Region>(call.u64())) ? 0 : 1);
            break;
        case Request::in_sync:
            // A table that has not been in use yet: its writes are put off by IS_REMOTE_RECOVERING, so this is for a read, and reads
            // may have the first leg. (Were they to wait, udev would hang on a device that nobody could remove.)
            if (call.u64() >= regions || never_used()) {
                answer_u64(call, call.u64() < regions && call.u64() == in.write_asked && gives_back(in));
                break;
            }
            hold({call.luid, call, host_.now(), {}});
            break;
        case Request::mark_region:
        case Request::flush: {
            for (size_t i = 0; i < call.u64_count(); ++i) {
                if (!region_ok(call.u64(i))) return;
            }
            // A MARK is answered when it is durable, not at the FLUSH behind it: a daemon that dies between the two would have
            // promised what its successor cannot know. The FLUSH itself then has nothing left to do; but the kernel writes when it
            // is answered, so one for marks of an earlier standing waits with everything else (I4).
            if (call.u64_count() && gives_back(in)) {
                in.write_asked = UINT64_MAX;
                in.gave_back = true;
                answer(call, -EIO);
                break;
            }
            counters_.marks += call.u64_count();
            if (call.u64_count() == 0 && (phase_ == Phase::active || my_kernel_regions().empty())) {
                answer(call, 0);
                break;
            }
            Held h{call.luid, call, host_.now(), {}};
            for (size_t i = 0; i < call.u64_count(); ++i) h.marks.push_back(static_cast<Region>(call.u64(i)));
            hold(std::move(h));
            break;
        }
        case Request::clear_region:
            for (size_t i = 0; i < call.u64_count(); ++i)
                if (!region_ok(call.u64(i))) return;
            for (size_t i = 0; i < call.u64_count(); ++i) clear_region(static_cast<Region>(call.u64(i)));
            answer(call, 0);
            break;
        case Request::get_resync_work: answer_u64(call, 0, 0); break;  // the daemons copy
        case Request::set_region_sync: {
            if (!region_ok(call.u64())) return;
            if (call.u64(1)) {
                answer(call, 0);  // the kernel copies nothing, so it has nothing to report
                break;
            }
            Region r = static_cast<Region>(call.u64());
            if (phase_ == Phase::active) {
                if (!tainted_.contains(r)) {
                    trouble_ = "a write failed on a leg of this mirror; repair it: lvconvert --repair, or load a table without the failed leg";
                    note(Level::error, fmt::format("{} (region {})", trouble_, r));
                    trouble_sticky_ = true;
                    tainted_.add(r);
                    host_.send(uuid_, wire::LegFailed{{{r, 1}}, 0});
                }
                hold({call.luid, call, host_.now(), {}});
            } else {
                answer(call, 0);  // its mark stays
            }
            break;
        }
        case Request::get_sync_count:
            // A full count sets the kernel's hint: it would never ask IS_REMOTE_RECOVERING again. So not before the log is in use.
            answer_u64(call, has_state_ && (!never_used() || host_.config().planted == Planted::early_full_count) ? regions - std::min(regions, state_.unsynced_count()) : 0);
            break;
        case Request::status_info:
        case Request::status_table: {
            std::string text = status_text();
            answer(call, 0, Bytes(text.begin(), text.end()));
            break;
        }
        case Request::is_remote_recovering:
            // While the log is away: "yes, ask again". Else: never, for IN_SYNC is where a write waits.
            in.write_asked = gives_back(in) ? call.u64() : UINT64_MAX;
            if (in.write_asked != UINT64_MAX) answer_u64(call, 0, 0);
            else if (phase_ == Phase::active) answer_u64(call, 0, regions);
            else answer_u64(call, 1, 0);
            break;
    }
}

// As cmirrord words it. libdevmapper looks at a log's health only when the type reads `disk`.
std::string Log::status_text() const {
    if (!params_.has_disk) return "1 clustered-core";
    std::string device = disk_number_.empty() ? device_ : disk_number_;
    return log_failed_ ? fmt::format("3 disk {} D", device) : fmt::format("3 clustered-disk {} A", device);
}

void Log::hold(Held held) {
    ++counters_.held;
    for (auto it = held_.begin(); it != held_.end(); ++it)  // the kernel asks again after 15 s, under a new number
        if (it->luid == held.luid && it->call.type == held.call.type && it->call.data == held.call.data) {
            held.committed = it->committed;
            held.since = it->since;
            held_.erase(it);
            break;
        }
    if (held_.size() >= proto::kMaxHeldRequests) {
        note(Level::warning, fmt::format("more than {} requests wait: the oldest is left to the kernel to ask again", proto::kMaxHeldRequests));
        held_.pop_front();
    }
    held_.push_back(std::move(held));
}

void Log::answer_held() {
    for (size_t i = 0; i < held_.size();) {
        if (try_answer(held_[i])) held_.erase(held_.begin() + static_cast<ptrdiff_t>(i));
        else ++i;
    }
}

bool Log::try_answer(Held& h) {
    switch (h.call.type) {
        case Request::in_sync: {
            Verdict v = in_sync(static_cast<Region>(h.call.u64()));
            if (v == Verdict::wait) return false;
            answer_u64(h.call, v == Verdict::yes ? 1 : 0);
            return true;
        }
        case Request::mark_region:
        case Request::flush: return try_mark(h);
        case Request::set_region_sync: {
            // Answered when the loss is recorded, in the state and in this node's slot, and every kernel has heard of it.
            const auto r = static_cast<Region>(h.call.u64());
            if (!state_.raw.contains(r) || unheard().contains(r) || (slot_ && !slot_->clean())) return false;
            answer(h.call, 0);
            return true;
        }
        default: answer(h.call, 0); return true;
    }
}

Log::Verdict Log::in_sync(Region r) {
    if (host_.config().planted == Planted::in_sync_while_copying && state_.leased(r)) return Verdict::yes;
    if (!state_.unsynced(r)) return Verdict::yes;
    if (pass_.contains(r)) return Verdict::yes;
    // It asks, so it has no write in flight there.
    if (!tainted_.contains(r) && (marks_.used(r) || uncertain_.contains(r))) {
        marks_.idle(r, host_.now());
        uncertain_.remove(r);
    }
    if (my_busy_.contains(r) && !tainted_.contains(r) && !busy_asked_.contains(r)) set_busy({}, RangeSet(std::vector<Range>{{r, 1}}));
    if (state_.leased(r)) {
        wanted(r);
        return Verdict::wait;
    }
    // Where the lost node may be writing, too, nobody else would know of what is written to one leg.
    const bool alone = host_.halves() && state_.unseen_grants();
    const bool wedged = draining_ && !alone && host_.now() >= drain_started_ + kWedgedMs;
    if (state_.halted() || wedged) {
        // Nobody can copy, or this answer keeps a suspend from ending that others wait for. The stock target decides by its legs; it may write here
        // unasked until its table is replaced. The slot tells the next daemon, unless the log disk has failed, too.
        if (!tainted_.contains(r)) {
            tainted_.add(r);
            set_busy(RangeSet(std::vector<Range>{{r, 1}}), {});
            tell_header();
        }
        marks_.use(r);
        if (slot_) slot_->add_mark(r);
        const bool recorded = !slot_ || log_failed_ || (mark_durable(r) && slot_->clean());
        return busy_asked_.contains(r) || !recorded ? Verdict::wait : Verdict::no;
    }
    if (state_.torn.contains(r) && pass_mode() && !state_.unseen_grants()) {
        if (!busy_asked_.contains(r)) set_busy(RangeSet(std::vector<Range>{{r, 1}}), {});
        return Verdict::wait;  // until the message is back: pass_ has it then
    }
    wanted(r);
    return Verdict::wait;
}

bool Log::mark_durable(Region r) const {
    if (params_.has_disk) return slot_ && slot_->durable(r);
    return core_held_.contains(r);
}

bool Log::try_mark(Held& h) {
    // Regions that lost their sync since the kernel asked wait as they would have then.
    bool ready = true;
    for (Region r : h.marks) {
        if (state_.leased(r) && host_.config().planted != Planted::in_sync_while_copying) {  // whatever was promised before: it is being copied (I2)
            wanted(r);
            return false;
        }
        if (busy_asked_.contains(r)) {  // a lease may be granted before the others hear of it
            ready = false;
            continue;
        }
        if (!state_.unsynced(r) || pass_.contains(r) || marks_.used(r)) continue;
        if (tainted_.contains(r)) continue;
        if (state_.halted() && !state_.leased(r)) {
            tainted_.add(r);
            set_busy(RangeSet(std::vector<Range>{{r, 1}}), {});
            ready = false;
        } else if (in_sync(r) != Verdict::yes) {
            ready = false;
        }
        if (busy_asked_.contains(r)) ready = false;
    }
    if (!ready && !h.committed) return false;
    if (!h.committed) {
        h.committed = true;
        bool warm = true;
        for (Region r : h.marks) {
            bool durable = mark_durable(r);
            marks_.use(r);
            if (durable) continue;
            warm = false;
            if (params_.has_disk) {
                if (slot_) slot_->add_mark(r);
            } else {
                core_drop_.remove(r);
                core_pending_.add(r);
            }
        }
        if (warm) counters_.warm_marks += h.marks.size();
    }
    if (host_.config().planted != Planted::mark_before_durable)
        for (Region r : h.marks)
            if (!mark_durable(r)) return false;
    answer(h.call, 0);
    return true;
}

void Log::clear_region(Region r) {
    ++counters_.clears;
    if (!tainted_.contains(r)) marks_.idle(r, host_.now());
    uncertain_.remove(r);
    pass_.remove(r);
    if (my_busy_.contains(r) && !tainted_.contains(r) && phase_ == Phase::active) set_busy({}, RangeSet(std::vector<Range>{{r, 1}}));
}

// ---- sticky marks end ----------------------------------------------------------------------------------------------------------

void Log::sweep() {
    if (flushing_legs_ || phase_ != Phase::active) return;
    const Config& cfg = host_.config();
    // The flush below costs whoever writes: one for many marks.
    if (host_.now() < next_sweep_ && marks_.size() <= cfg.mark_cap + cfg.mark_cap / 8) return;
    next_sweep_ = host_.now() + cfg.idle_unmark_ms / 8;
    sweep_ = marks_.droppable(host_.now(), cfg.idle_unmark_ms, cfg.mark_cap);
    if (cfg.planted == Planted::unmark_while_writing) {
        sweep_.clear();
        for (Region r : marks_.all()) sweep_.push_back({r, 0});
    }
    if (sweep_.empty()) return;
    // I1: what the legs acknowledged may still sit in their caches; a mark goes only after they were flushed.
    flushing_legs_ = true;
    host_.emit(out::FlushLegs{uuid_, legs_to_flush()});
}

void Log::legs_flushed(bool ok) {
    if (!flushing_legs_) return;
    flushing_legs_ = false;
    if (!ok || phase_ != Phase::active) return;
    RangeSet missed;
    for (const MarkCache::Idle& i : std::exchange(sweep_, {})) {
        const Region r = i.region;
        // I1: what was written since the flush began may sit in some leg's cache, although the write has ended.
        if (!marks_.still(i) && host_.config().planted != Planted::unmark_while_writing) continue;
        if (!marks_.marked(r)) continue;
        if (state_.legs.degraded() && host_.config().planted != Planted::unmark_while_away) missed.add(r);
        else end_mark(r);
    }
    if (!missed.empty()) send_missed(std::move(missed));
}

void Log::end_mark(Region r) {
    if (params_.has_disk) {
        if (!slot_ || !slot_->durable(r)) return;
        slot_->drop_mark(r);
    } else {
        if (!core_held_.contains(r)) return;
        core_held_.remove(r);
        core_drop_.add(r);
    }
    marks_.drop(r);
}

// Marks of a core log: one message for all that wait; they count when a second member has said that it holds them.
void Log::send_marks() {
    if (core_seq_ > core_acked_) return;
    if (!core_sent_.empty()) {
        core_held_.add(core_sent_);
        core_sent_.clear();
        answer_held();
    }
    if (core_pending_.empty() && core_drop_.empty()) return;
    if (state_.with(Member::active).size() < 2 && !host_.config().alone_core) return;
    wire::Mark m;
    m.seq = ++core_seq_;
    m.add = core_pending_.ranges(wire::kRangesPerMessage);
    m.drop = core_drop_.ranges(wire::kRangesPerMessage);
    core_drop_.remove(m.drop);
    core_sent_ = RangeSet(m.add);
    core_pending_.remove(m.add);
    host_.send(uuid_, std::move(m));
}

}  // namespace clogd
