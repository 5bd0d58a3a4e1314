// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/core/cluster.hh"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "clogd/core/reply.hh"

namespace clogd {

namespace wire = proto::wire;
using out::Level;

namespace {
constexpr size_t kStandingsPerHello = 200;
constexpr TimeMs kRejoinMs = 5000;
constexpr TimeMs kLeastVerdictMs = 100;
constexpr size_t kMaxEarlyCalls = 4096;
}  // namespace

Cluster::Cluster(Config config) : config_(config), longest_wait_(config.dead_wait_ms), shortest_wait_(config.dead_wait_ms) {}
Cluster::~Cluster() = default;

std::vector<Output> Cluster::output() { return std::exchange(output_, {}); }

std::vector<NodeId> Cluster::processes() const {
    std::vector<NodeId> out;
    for (const auto& [node, pid] : members_) out.push_back(node);
    return out;
}

void Cluster::step(const Event& event, TimeMs now) {
    now_ = std::max(now_, now);
    std::visit(
        [this](const auto& e) {
            using T = std::decay_t<decltype(e)>;
            if constexpr (std::is_same_v<T, ev::DiskOpened>) to_log(e, &Log::disk_opened);
            else if constexpr (std::is_same_v<T, ev::DiskDone>) to_log(e, &Log::disk_done);
            else if constexpr (std::is_same_v<T, ev::Legs>) to_log(e, &Log::legs);
            else if constexpr (std::is_same_v<T, ev::LegDisks>) to_log(e, &Log::leg_disks);
            else if constexpr (std::is_same_v<T, ev::Copied>) to_log(e, &Log::copied);
            else if constexpr (std::is_same_v<T, ev::Drained>) to_log(e, &Log::drained);
            else if constexpr (std::is_same_v<T, ev::LegsFlushed>) {
                if (Log* log = find(e.uuid)) log->legs_flushed(e.ok);
            } else if constexpr (std::is_same_v<T, ev::CopyIdle>) {
                if (Log* log = find(e.uuid)) log->copy_idle();
            } else if constexpr (std::is_same_v<T, ev::Regions>) to_log(e, &Log::regions);
            else if constexpr (std::is_same_v<T, ev::KernelLegs>) to_log(e, &Log::kernel_legs);
            else if constexpr (std::is_same_v<T, ev::Probed>) to_log(e, &Log::probed);
            else if constexpr (std::is_same_v<T, ev::Repair>) to_log(e, &Log::repair);
            else if constexpr (std::is_same_v<T, ev::Rate>) to_log(e, &Log::rate);
            else if constexpr (std::is_same_v<T, ev::Foreground>) to_log(e, &Log::foreground);
            else if constexpr (std::is_same_v<T, ev::Groups>) to_log(e, &Log::groups);
            else if constexpr (std::is_same_v<T, ev::Switched>) to_log(e, &Log::switched);
            else on(e);
        },
        event);
    for (auto it = logs_.begin(); it != logs_.end();) {
        it->second->pump();
        if (it->second->forgettable()) it = logs_.erase(it);
        else ++it;
    }
    transmit();
}

Log* Cluster::find(const std::string& uuid) {
    auto it = logs_.find(uuid);
    return it == logs_.end() ? nullptr : it->second.get();
}

Log& Cluster::find_or_create(const std::string& uuid) {
    auto& log = logs_[uuid];
    LogHost& host = *this;
    if (!log) log = std::make_unique<Log>(uuid, host);
    return *log;
}

// ---- kernel -----------------------------------------------------------------------------------------------------------------

void Cluster::on(const ev::Call& e) {
    // A kernel that runs a mirror already comes with CTR and RESUME as a new one does. Until the running mirrors were listed
    // nobody can tell the two apart, and to take the one for the other would lose its marks.
    if (!scanned_) {
        if (early_.size() >= kMaxEarlyCalls) early_.pop_front();  // the kernel repeats it
        early_.push_back(e);
        return;
    }
    Log* log = find(e.call.uuid);
    if (unserved_.contains(e.call.uuid) && e.call.type != proto::ulog::Request::ctr && !(log && log->knows(e.call.luid))) {
        hold_on(e.call);
        return;
    }
    if (!log && e.call.type == proto::ulog::Request::ctr) {
        if (logs_.size() < proto::kMaxLogs) {
            log = &find_or_create(e.call.uuid);
        } else {
            emit(out::Note{Level::error, e.call.uuid, fmt::format("{} logs are in use, the most that one daemon serves", proto::kMaxLogs)});
        }
    }
    if (log && (e.call.type != proto::ulog::Request::resume || log->knows(e.call.luid))) {
        log->call(e.call);
        return;
    }
    proto::ulog::Reply r = reply_to(e.call);
    r.error = e.call.type == proto::ulog::Request::ctr ? -ENOSPC : e.call.type == proto::ulog::Request::dtr ? 0 : -ESRCH;
    if (e.call.type == proto::ulog::Request::resume) {
        // Its CTR went to a daemon that is gone. A failure would make the kernel take regions for not in sync (log_kernel.cc).
        if (orphans_.size() < proto::kMaxLogs) orphans_[e.call.uuid] = e.call;
        emit(out::Scan{e.call.uuid});
        return;
    }
    emit(out::Answer{std::move(r)});
}

void Cluster::on(const ev::FoundLive& e) {
    std::string why;
    auto instance = Log::parse_ctr(e.ctr, &why);
    if (!instance || logs_.size() >= proto::kMaxLogs) {
        if (instance) why = fmt::format("{} logs are in use, the most that one daemon serves", proto::kMaxLogs);
        emit(out::Note{Level::error, e.uuid,
                       fmt::format("a mirror that is in use cannot be served: {}; its writes wait. Remove it, or start the clogd that it was created with", why)});
        unserved_[e.uuid] = why;
        return;
    }
    Log& log = find_or_create(e.uuid);
    log.found_live(*instance, e.legs);
    if (auto orphan = orphans_.extract(e.uuid)) log.adopt(orphan.mapped(), *instance);
}

// The mirror runs, and nothing is known of its log here. An error would make its kernel write to one leg, unmarked: whatever lets it write waits, and
// the kernel asks again. What it takes to look at it and to remove it is answered.
void Cluster::hold_on(const proto::ulog::Call& call) {
    using proto::ulog::Request;
    proto::ulog::Reply r = reply_to(call);
    auto numbers = [&](std::initializer_list<uint64_t> values) {
        proto::Writer w;
        for (uint64_t v : values) w(v);
        r.data = w.take();
    };
    switch (call.type) {
        case Request::ctr:
        case Request::resume:
        case Request::in_sync:
        case Request::is_clean:
        case Request::mark_region:
        case Request::flush:
        case Request::set_region_sync:
        case Request::get_region_size: return;
        case Request::presuspend:
        case Request::clear_region: break;
        case Request::get_resync_work: numbers({0, 0}); break;
        case Request::get_sync_count: numbers({0}); break;
        case Request::is_remote_recovering: numbers({1, 0}); break;  // "ask again"
        case Request::status_info:
        case Request::status_table: {
            constexpr std::string_view text = "1 clustered-core";
            r.data.assign(text.begin(), text.end());
            break;
        }
        case Request::postsuspend:
        case Request::dtr:  // nothing of it is in flight any more
            unserved_.erase(call.uuid);
            send(call.uuid, wire::Detach{});
            send(call.uuid, wire::Folded{});
            break;
    }
    emit(out::Answer{std::move(r)});
}

void Cluster::on(const ev::ScanDone&) {
    scanned_ = true;
    for (const ev::Call& call : std::exchange(early_, {})) on(call);
    say_hello();
}

// ---- views ------------------------------------------------------------------------------------------------------------------

void Cluster::view_broke() {
    settled_ = false;
    greeted_ = false;
    overtaken_ = false;
    greetings_.clear();
    uint64_t hash = 0xcbf29ce484222325ull;
    for (const auto& [node, pid] : members_) hash = (hash ^ (uint64_t{node} << 32 | pid)) * 0x100000001b3ull;
    view_ = {ring_.seq, ring_.rep, hash};
    for (auto& [uuid, log] : logs_) log->unsettle();
}

void Cluster::on(const ev::Membership& e) {
    if (!connected_) last_loss_ = std::max<TimeMs>(now_, 1);  // who was there before is not known
    connected_ = true;
    const auto before = std::exchange(members_, {});
    for (const ev::Process& p : e.members) members_[p.node] = p.pid;
    // Who was started anew within one membership has gone, too.
    if (!e.left.empty() || !std::includes(members_.begin(), members_.end(), before.begin(), before.end())) last_loss_ = std::max<TimeMs>(now_, 1), ++losses_;
    view_broke();
    say_hello();
}

void Cluster::on(const ev::Ring& e) {
    if (!connected_) last_loss_ = std::max<TimeMs>(now_, 1);
    connected_ = true;
    ring_ = {e.seq, e.rep};
    std::set<NodeId> machines(e.nodes.begin(), e.nodes.end());
    if (!std::includes(machines.begin(), machines.end(), machines_.begin(), machines_.end())) last_loss_ = std::max<TimeMs>(now_, 1), ++machine_losses_;
    machines_ = std::move(machines);
    forget_fenced();
    judged_or_not();
    view_broke();
    say_hello();
}

void Cluster::on(const ev::Quorum& e) {
    bool was = quorate();
    quorum_ring_ = {e.ring_seq, e.ring_rep};
    quorate_ = e.quorate || config_.planted == Planted::ignore_quorum;
    halves_ = e.halves;
    judged_or_not();
    // I4: a verdict "yes" counts for the ring that it was given for; a "no" counts at once, whichever ring it means.
    if (!quorate_) {
        if (was || settled_) note(Level::warning, "quorum is lost: nothing is written until it is back");
        overtaken_ = overtaken_ || settled_;
        settled_ = false;
        if (quorum_ring_ == ring_) view_broke();  // else what was said in the present ring may still hold
        for (auto& [uuid, log] : logs_) log->freeze("this node has no quorum");
        return;
    }
    say_hello();
    try_settle();
}

// Corosync tells a ring before its verdict of quorum, with a quorum device long before. For as long as a lost node is given to stop this node
// goes on as it was told in the ring before; by then the others may count it out (I4).
void Cluster::judged_or_not() {
    if (quorum_ring_ == ring_) unjudged_since_ = 0;
    else if (!unjudged_since_) unjudged_since_ = std::max<TimeMs>(now_, 1);
}

void Cluster::on(const ev::Disconnected&) {
    if (connected_) note(Level::error, "the connection to Corosync is lost: nothing is written until it is back");
    connected_ = false;
    members_.clear();
    machines_.clear();
    fenced_.clear();
    ring_ = {};
    quorum_ring_ = {};
    unjudged_since_ = 0;
    quorate_ = false;
    last_loss_ = std::max<TimeMs>(now_, 1);
    view_broke();
    for (auto& [uuid, log] : logs_) log->freeze("Corosync is not running on this node");
    // What was under way may or may not have been delivered; the logs start over with Attach.
    inflight_.clear();
    queue_.clear();
    refused_in_queue_ = 0;
}

void Cluster::say_hello() {
    if (greeted_ || !scanned_ || !quorate() || !members_.contains(config_.self)) return;
    if (halves_ && !nodelist_) return;  // for whom it may have to wait is not known yet
    greeted_ = true;
    unsettled_since_ = now_;
    std::vector<wire::LogStanding> all;
    for (const auto& [uuid, log] : logs_)
        if (log->phase() != Phase::detached) all.push_back(log->standing());
    // The others must not take its marks for those of a kernel that is gone.
    for (const auto& unserved : unserved_) {
        const std::string& uuid = unserved.first;
        if (std::any_of(all.begin(), all.end(), [&](const wire::LogStanding& s) { return s.uuid == uuid; })) continue;
        wire::LogStanding s;
        s.uuid = uuid;
        s.standing = wire::Standing::frozen;
        all.push_back(std::move(s));
    }
    uint8_t parts = static_cast<uint8_t>(std::max<size_t>(1, (all.size() + kStandingsPerHello - 1) / kStandingsPerHello));
    for (uint8_t part = 0; part < parts; ++part) {
        wire::Hello h;
        h.incarnation = config_.incarnation;
        h.boot = config_.boot;
        h.dead_wait_ms = static_cast<uint32_t>(config_.dead_wait_ms);
        h.halves = halves_;
        h.losses = static_cast<uint8_t>(std::min(std::max(losses_, machine_losses_), 255u));
        h.part = part;
        h.parts = parts;
        size_t from = part * kStandingsPerHello, to = std::min(from + kStandingsPerHello, all.size());
        h.logs.assign(all.begin() + static_cast<ptrdiff_t>(from), all.begin() + static_cast<ptrdiff_t>(to));
        emit(out::Send{wire::encode({view_, {}, std::move(h)})});
        ++counters_.sent;
    }
}

void Cluster::hello(NodeId sender, const wire::Hello& h) {
    if (h.parts == 0 || !members_.contains(sender)) return;
    Greeting& g = greetings_[sender];
    if (h.part == 0) g = {{}, h.parts, h.version, h.boot, h.losses, h.dead_wait_ms, h.halves != 0};
    if (g.parts_left == 0) return;
    g.logs.insert(g.logs.end(), h.logs.begin(), h.logs.end());
    --g.parts_left;
    try_settle();
}

// When the last Hello comes; or when quorum does, if a "no" came after this node's Hello (I4) and nobody went on without it meanwhile.
void Cluster::try_settle() {
    if (settled_ || overtaken_ || !greeted_ || !quorate()) return;
    for (const auto& [node, pid] : members_) {
        // Corosync may list a process of a machine that has left the ring: it never says Hello.
        if (!machines_.contains(node)) continue;
        auto it = greetings_.find(node);
        if (it == greetings_.end() || it->second.parts_left) return;
    }
    settle();
}

bool Cluster::anyone_active(const Entry& e) const {
    return std::any_of(e.standings.begin(), e.standings.end(), [](const auto& s) { return s.second.standing == wire::Standing::active; });
}

uint64_t Cluster::node_boot(NodeId node) const {
    auto it = greetings_.find(node);
    return it == greetings_.end() ? 0 : it->second.boot;
}

bool Cluster::node_lists_log(NodeId node, const std::string& uuid) const {
    auto it = directory_.find(uuid);
    return it != directory_.end() && it->second.standings.contains(node);
}

void Cluster::compare_waits() {
    longest_wait_before_ = std::exchange(longest_wait_, config_.dead_wait_ms);
    shortest_wait_ = config_.dead_wait_ms;
    halves_said_ = false;
    for (const auto& [node, g] : greetings_) {
        halves_said_ = halves_said_ || g.halves;
        if (!g.dead_wait_ms) continue;
        longest_wait_ = std::max(longest_wait_, g.dead_wait_ms);
        shortest_wait_ = std::min(shortest_wait_, g.dead_wait_ms);
    }
}

// Every member does this at the same point of the order, from the same Hellos.
void Cluster::settle() {
    settled_ = true;
    ++views_;
    version_ = wire::kVersion;
    directory_.clear();
    compare_waits();
    losses_ = machine_losses_ = 0;
    uint8_t losses = 0;
    std::map<NodeId, uint64_t> boots;
    for (const auto& [node, g] : greetings_) {
        boots[node] = g.boot;
        losses = std::max(losses, g.losses);
        version_ = std::min(version_, g.version);
        for (const wire::LogStanding& s : g.logs) {
            Entry& e = directory_[s.uuid];
            e.standings[node] = s;
        }
    }
    for (auto& [uuid, e] : directory_) {
        Settle view;
        for (const auto& [node, pid] : members_)
            if (machines_.contains(node)) view.processes.insert(node);
        view.machines = machines_;
        view.losses = losses;
        view.boots = boots;
        view.standings = e.standings;
        // The largest group of active members that agree goes on; then the one that came furthest, then the lowest node.
        std::map<std::pair<uint64_t, uint64_t>, std::set<NodeId>> groups;
        for (const auto& [node, s] : e.standings)
            if (s.standing == wire::Standing::active) groups[{s.applied, s.chain}].insert(node);
        for (const auto& [key, nodes] : groups) {
            bool better = nodes.size() > view.authority.size() ||
                          (nodes.size() == view.authority.size() && (key.first > view.applied || (key.first == view.applied && nodes < view.authority)));
            if (!better) continue;
            view.authority = nodes;
            view.applied = key.first;
            view.chain = key.second;
        }
        for (auto& [node, s] : e.standings)
            if (s.standing == wire::Standing::active && !view.authority.contains(node)) s.standing = wire::Standing::frozen;
        // Two halves that meet may each have one that forms the state: who came furthest goes on, and nobody while one is active.
        const wire::LogStanding* furthest = nullptr;
        for (const auto& [node, s] : e.standings) {
            if (s.standing != wire::Standing::alone || !view.authority.empty()) continue;
            if (!furthest || std::pair(s.epoch, s.applied) > std::pair(furthest->epoch, furthest->applied)) furthest = &s, e.alone = node;
        }
        for (auto& [node, s] : e.standings)
            if (s.standing == wire::Standing::alone && node != e.alone) s.standing = wire::Standing::joining;
        view.alone = e.alone;
        for (const auto& [node, s] : e.standings)  // it has this state, and goes on
            if (s.standing == wire::Standing::joining && !view.authority.empty() && s.applied == view.applied && s.chain == view.chain) e.invited.insert(node);
        if (Log* log = find(uuid)) log->settle(view);
    }
    // A log that this node has begun to use since it said Hello.
    for (auto& [uuid, log] : logs_)
        if (!node_lists_log(config_.self, uuid) && log->phase() == Phase::waiting) log->settle({});
}

// ---- messages ----------------------------------------------------------------------------------------------------------------

void Cluster::send(const std::string& uuid, wire::Body body) {
    if (Log* log = find(uuid)) ++log->counters().messages_sent;
    queue_.push_back({{}, uuid, std::move(body)});
}

void Cluster::forget_messages(const std::string& uuid) {
    auto forgotten = [&](const wire::Message& m) {
        return m.uuid == uuid && !std::holds_alternative<wire::Diverged>(m.body) && !std::holds_alternative<wire::Detach>(m.body) && !std::holds_alternative<wire::Folded>(m.body);
    };
    // What was refused of other logs stays ahead of what they send next: a later one must not overtake an earlier one.
    assert(refused_in_queue_ <= queue_.size());
    const auto refused_end = queue_.begin() + static_cast<ptrdiff_t>(refused_in_queue_);
    refused_in_queue_ -= static_cast<size_t>(std::count_if(queue_.begin(), refused_end, forgotten));
    std::erase_if(queue_, forgotten);
    for (wire::Message& m : inflight_)
        if (m.uuid == uuid) m.body = wire::Hello{};  // not to be sent again
}

void Cluster::transmit() {
    if (!settled_) return;
    refused_in_queue_ = 0;
    while (!queue_.empty()) {
        wire::Message m = std::move(queue_.front());
        queue_.pop_front();
        if (std::holds_alternative<wire::Hello>(m.body)) continue;  // not to be sent any more
        m.view = view_;
        emit(out::Send{wire::encode(m)});
        ++counters_.sent;
        inflight_.push_back(std::move(m));
    }
}

void Cluster::on(const ev::Deliver& e) {
    std::string why;
    auto m = wire::decode(e.frame, &why);
    if (!m) {
        ++counters_.malformed;
        if (counters_.malformed < 10) note(Level::warning, fmt::format("ignored a message of node {}: {}", e.sender, why));
        return;
    }
    ++counters_.delivered;
    if (const auto* h = std::get_if<wire::Hello>(&m->body)) {
        if (m->view == view_) hello(e.sender, *h);
        return;
    }
    const bool counts = settled_ && m->view == view_ && members_.contains(e.sender);
    if (!settled_ && m->view == view_) overtaken_ = true;
    if (e.sender == config_.self && !inflight_.empty()) {
        wire::Message mine = std::move(inflight_.front());
        inflight_.pop_front();
        if (!counts && !std::holds_alternative<wire::Hello>(mine.body)) {
            // Refused: again in the next view, before anything newer.
            refused_in_queue_ = std::min(refused_in_queue_, queue_.size());
            queue_.insert(queue_.begin() + static_cast<ptrdiff_t>(refused_in_queue_), std::move(mine));
            ++refused_in_queue_;
        }
    }
    if (!counts) {
        ++counters_.refused;
        return;
    }
    proto::Reader tail(proto::ByteView(e.frame).last(4));
    uint32_t crc = 0;
    tail(crc);
    deliver_log(e.sender, *m, crc);
}

void Cluster::deliver_log(NodeId sender, const wire::Message& m, uint32_t crc) {
    Entry& e = directory_[m.uuid];
    Log* log = find(m.uuid);
    if (const auto* f = std::get_if<wire::Fenced>(&m.body); f && m.uuid.empty()) {
        directory_.erase(m.uuid);
        note(Level::notice, fmt::format("node {} is reported as fenced: what it had marked is copied at once", f->node));
        if (!machines_.contains(f->node)) fenced_.insert(f->node);
        for (auto& [uuid, l] : logs_) l->apply(sender, m.body, crc);
        return;
    }
    if (const auto* a = std::get_if<wire::Attach>(&m.body)) {
        wire::LogStanding& s = e.standings[sender];
        if (s.standing == wire::Standing::active) return;  // of before
        s.uuid = m.uuid;
        if (s.standing != wire::Standing::alone) s.standing = wire::Standing::joining;
        s.epoch = a->state_epoch;
        if (anyone_active(e)) {
            e.invited.insert(sender);
            if (log) {
                if (sender == config_.self) log->attach_delivered(sender, *a);
                else log->apply(sender, m.body, crc);
            }
        } else {
            std::erase_if(e.queue, [&](const auto& q) { return q.first == sender; });
            e.queue.emplace_back(sender, *a);
            choose_former(m.uuid, e);
        }
        return;
    }
    if (std::holds_alternative<wire::Ready>(m.body)) {
        auto s = e.standings.find(sender);
        if (s == e.standings.end()) return;
        const bool invited = e.invited.contains(sender) || version_ < wire::kInvitedSince;
        if (e.alone != sender && !(anyone_active(e) && invited)) return;  // of a state that nobody has any more
        e.invited.erase(sender);
        s->second.standing = wire::Standing::active;
        if (e.alone == sender) e.alone = 0;
        std::erase_if(e.queue, [&](const auto& q) { return q.first == sender; });
        if (log) log->apply(sender, m.body, crc);
        release_queue(m.uuid, e, crc);
        return;
    }
    if (log) log->apply(sender, m.body, crc);
    if (std::holds_alternative<wire::Diverged>(m.body)) {
        if (auto s = e.standings.find(sender); s != e.standings.end()) s->second.standing = wire::Standing::frozen;
        if (!anyone_active(e)) e.invited.clear();
    } else if (std::holds_alternative<wire::Detach>(m.body)) {
        auto s = e.standings.find(sender);
        bool was_active = s != e.standings.end() && s->second.standing == wire::Standing::active;
        if (s != e.standings.end()) e.standings.erase(s);
        std::erase_if(e.queue, [&](const auto& q) { return q.first == sender; });
        if (e.alone == sender) e.alone = 0;
        e.invited.erase(sender);
        if (was_active && !anyone_active(e)) {
            e.invited.clear();  // whoever was given the state asks for the next one
            // The last one writes the closed form before anybody may open the log again.
            e.alone = sender;
        }
        choose_former(m.uuid, e);
    } else if (std::holds_alternative<wire::Folded>(m.body)) {
        if (e.alone == sender) e.alone = 0;
        choose_former(m.uuid, e);
    }
    if (e.standings.empty() && e.queue.empty() && !e.alone) directory_.erase(m.uuid);
}

// Nobody is active: one of those that attached forms the state, the others wait for it.
void Cluster::choose_former(const std::string& uuid, Entry& e) {
    if (anyone_active(e) || e.alone || e.queue.empty()) return;
    NodeId best = e.queue.front().first;
    if (!e.queue.front().second.params.has_disk) {
        // A log in memory: whoever came furthest, even if it has yet to attach.
        const wire::LogStanding* most = nullptr;
        for (const auto& [node, s] : e.standings) {
            if (s.epoch == 0 || !members_.contains(node)) continue;
            if (!most || std::pair(s.epoch, s.applied) > std::pair(most->epoch, most->applied)) most = &s, best = node;
        }
        if (std::none_of(e.queue.begin(), e.queue.end(), [&](const auto& q) { return q.first == best; })) return;
    }
    e.alone = best;
    e.standings[best].standing = wire::Standing::alone;
    if (best != config_.self) return;
    if (Log* log = find(uuid)) log->become_former();
}

void Cluster::release_queue(const std::string& uuid, Entry& e, uint32_t crc) {
    Log* log = find(uuid);
    auto queue = std::exchange(e.queue, {});
    for (auto& [node, attach] : queue) {
        if (!members_.contains(node)) continue;
        e.invited.insert(node);
        if (!log) continue;
        if (node == config_.self) log->attach_delivered(node, attach);
        else log->apply(node, attach, crc);
    }
}

void Cluster::on(const ev::Nodelist& e) {
    nodelist_.emplace(e.nodes.begin(), e.nodes.end());
    say_hello();
    try_settle();
}

const std::set<NodeId>& Cluster::nodelist() const {
    static const std::set<NodeId> none;
    return nodelist_ ? *nodelist_ : none;
}

// Who is in sight again may be lost again: what was said of it does not count for that.
void Cluster::forget_fenced() {
    std::erase_if(fenced_, [&](NodeId node) { return machines_.contains(node); });
    for (auto* messages : {&queue_, &inflight_})
        for (wire::Message& m : *messages)
            if (const auto* f = std::get_if<wire::Fenced>(&m.body); f && machines_.contains(f->node)) m.body = wire::Hello{};
}

void Cluster::on(const ev::FencedNode& e) { queue_.push_back({{}, {}, wire::Fenced{e.node}}); }

void Cluster::on(const ev::Tick&) {
    if (unjudged_since_ && now_ >= unjudged_since_ + std::max(kLeastVerdictMs, config_.dead_wait_ms / 2))
        for (auto& [uuid, log] : logs_) log->freeze("Corosync has not told whether this membership has quorum");
    // Everybody has quorum and has said Hello, yet this node missed one (verdicts and memberships come by separate ways): it
    // leaves the group and comes back, which makes a view of its own.
    if (settled_ || !greeted_) unsettled_since_ = now_;
    if (now_ >= unsettled_since_ + kRejoinMs) {
        unsettled_since_ = now_;
        note(Level::warning, "the view does not settle: joining the group again");
        emit(out::Rejoin{});
    }
    for (auto& [uuid, log] : logs_) log->tick();
}

}  // namespace clogd
