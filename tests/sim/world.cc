// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/sim/world.hh"

#include <algorithm>
#include <bit>
#include <cstdio>

#include <fmt/format.h>

#include "tests/sim/channel_model.hh"
#include "tests/sim/groups_model.hh"
#include "tests/sim/words.hh"

namespace sim {

using namespace clogd;
namespace disk = proto::logdisk;

namespace {

constexpr uint32_t kBlocksPerRegion = 2;
constexpr uint32_t kRegionSectors = 8;
constexpr uint64_t kTokenUs = 600'000;
constexpr uint64_t kDeadWaitMs = 300;
constexpr NodeId kLockOfTheDead = UINT32_MAX;

struct Violation {
    std::string text;
};

class World final : public KernelHost {
  public:
    explicit World(const Options& o) : opt_(o), rng_(o.seed) {}

    Result run() {
        Result result;
        try {
            setup();
            while (!done_ && step()) {
            }
            if (!done_) fail("the simulation ran dry");
        } catch (const Violation& v) {
            result.ok = false;
            result.failure = v.text;
        }
        result.events = events_;
        result.hash = hash_;
        return result;
    }

  private:
    // ---- parts ------------------------------------------------------------------------------------------------------------
    struct Copier {
        size_t from = 0;
        uint32_t to = 0;
        RangeSet left;
        std::deque<Region> first;
        bool running = false, pausing = false, cancel = false;
        TimeMs until = 0;  // nothing is begun to be written from then on
        Region current = 0;
        bool writing = false;  // this block
        uint32_t block = 0;
        uint64_t value = 0;
    };
    struct DiskQueue {
        std::deque<std::function<void()>> ops;
        bool running = false;
    };
    struct Inbox {
        std::deque<Event> events;
        bool scheduled = false;
    };
    struct LogBox {  // one log on one node
        Copier copier;
        DiskQueue disk;
        std::unique_ptr<Kernel> kernel;
        bool disk_open = false;
        bool poked = false;  // a read of the channel is under way
        std::deque<out::Tell> told;
        bool telling = false;
    };
    struct Node {
        NodeId id = 0;
        bool up = false;       // the machine
        bool daemon = false;   // clogd
        bool channel = false;  // it has the channel open
        uint32_t pid = 0;
        std::unique_ptr<Cluster> cluster;
        uint64_t life = 0;         // of the machine
        uint64_t daemon_life = 0;  // of the daemon
        Inbox inbox, quorum_inbox;
        std::vector<LogBox> logs;
        uint64_t no_quorum_since = 0;  // us; 0: it has quorum or was not told
        uint64_t minority_since = 0;   // us; 0: its ring has quorum; also without a daemon that would be told
        uint64_t component = 0;
        bool met = false;  // this machine has seen all others since it booted
    };
    struct Frame {
        NodeId sender = 0;
        Bytes bytes;
    };
    struct Component {  // a totem ring
        uint64_t id = 0;
        NodeId rep = 0;
        std::set<NodeId> machines;
        std::map<NodeId, uint32_t> processes;
        std::vector<Frame> order;
        std::map<NodeId, size_t> handed;  // how far each has been put into inboxes
        std::vector<Frame> held;          // sent while the ring is broken
        bool frozen = false;
        bool quorate = false;
    };
    struct Mirror {  // one log, seen from outside
        std::string uuid;
        bool has_disk = true;
        uint32_t channel_permille = 0;  // of its nodes with our target and log
        uint32_t regions = 0;
        std::vector<std::vector<uint64_t>> legs;  // [leg][block]
        std::vector<uint64_t> acked, seen, version;
        std::vector<NodeId> writer;                  // who holds the block's lock, 0: nobody
        std::vector<std::multiset<NodeId>> writing;  // per region: writes in flight to legs
        std::vector<NodeId> copying;                 // per region: who copies it now
        Bytes disk;
        uint64_t acked_writes = 0;
        std::set<std::pair<NodeId, size_t>> broken;  // paths to legs
        bool legs_fail = false;
        std::optional<size_t> doomed;      // the primary of a site that is going: it fails when somebody has read what it alone has, or soon
        MapHabits habits;                  // of the maps of an array
        uint32_t array = CLOG_GROUP_NONE;  // the group by which the array serves
        std::set<NodeId> switching;        // nodes that switch it now
        uint32_t flips = 0;                // since anything changed
        bool is_array() const { return !habits.order.empty(); }
        bool path(NodeId node, size_t leg) const { return !broken.contains({node, leg}); }
    };
    struct Pending {
        uint64_t at = 0;
        uint64_t order = 0;
        std::function<void()> what;
        bool operator<(const Pending& o) const { return at != o.at ? at > o.at : order > o.order; }
    };

    [[noreturn]] void fail(const std::string& text) { throw Violation{fmt::format("at {} us, event {}: {}", now_, events_, text)}; }
    void trace(const std::string& text) {
        if (opt_.trace) fmt::print("{:>10} {}\n", now_, text);
    }
    void mix(uint64_t v) { hash_ = (hash_ ^ v) * 0x100000001b3ull; }

    // ---- time ---------------------------------------------------------------------------------------------------------------
    void after(uint64_t us, std::function<void()> what) override { queue_.push({now_ + us, ++order_, std::move(what)}); }
    uint64_t now_us() override { return now_; }
    bool step() {
        if (queue_.empty()) return false;
        Pending p = std::move(const_cast<Pending&>(queue_.top()));
        queue_.pop();
        now_ = p.at;
        ++events_;
        if (events_ > 3'000'000) fail("no end: too many events");
        p.what();
        return true;
    }

    // ---- setup ---------------------------------------------------------------------------------------------------------------
    void setup() {
        uint32_t n = static_cast<uint32_t>(rng_.chance(700) ? 3 : rng_.chance(20) ? rng_.between(8, 64) : rng_.between(2, opt_.max_nodes));
        uint32_t mirrors = rng_.chance(800) ? 1 : 2;
        sites_ = rng_.chance(120);
        if (sites_) n = static_cast<uint32_t>(rng_.between(3, opt_.max_nodes));
        halves_ = !sites_ && Rng(opt_.seed ^ 0x68616c766573).chance(100);
        if (halves_) n = 2;
        for (uint32_t i = 0; i < mirrors; ++i) {
            Mirror m;
            m.uuid = fmt::format("LVM-mirror{}", i);
            m.has_disk = !rng_.chance(250);
            m.channel_permille = rng_.chance(300) ? 0 : rng_.chance(700) ? 1000 : 500;
            if (sites_) m.has_disk = true, m.channel_permille = 1000;
            m.legs_fail = m.channel_permille == 1000 && (sites_ || rng_.chance(600));
            m.regions = static_cast<uint32_t>(rng_.between(6, 40));
            uint32_t blocks = m.regions * kBlocksPerRegion;
            m.legs.assign(rng_.chance(800) ? 2 : 3, std::vector<uint64_t>(blocks));
            for (auto& leg : m.legs)
                for (uint64_t& b : leg) b = rng_.chance(500) ? 0 : (1ull << 60) + rng_.below(1000);
            m.acked.assign(blocks, 0);
            m.seen.assign(blocks, 0);
            m.version.assign(blocks, 0);
            m.writer.assign(blocks, 0);
            m.writing.resize(m.regions);
            m.copying.assign(m.regions, 0);
            for (uint32_t b = 0; b < blocks; ++b) m.acked[b] = 0;
            m.disk.assign(disk::layout(1 << 24, m.regions).slots_at + size_t{std::max(n + 1, 4u)} * disk::kSlotBytes, 0);
            if (rng_.chance(300))
                for (size_t k = 0; k < 4096; ++k) m.disk[k] = static_cast<uint8_t>(rng_.next());
            mirrors_.push_back(std::move(m));
        }
        if (rng_.chance(300)) add_array();
        write_permille_ = static_cast<uint32_t>(rng_.between(300, 950));
        hot_ = rng_.chance(300);
        depth_ = static_cast<uint32_t>(rng_.between(1, 6));
        leg_failure_any_ = rng_.chance(300);
        copy_pause_us_ = rng_.chance(300) ? 800'000 : 0;
        slow_copies_ = rng_.chance(300);
        late_verdicts_ = std::all_of(mirrors_.begin(), mirrors_.end(), [](const Mirror& m) { return m.channel_permille == 1000; }) && rng_.chance(500);
        for (NodeId id = 1; id <= n; ++id) {
            auto node = std::make_unique<Node>();
            node->id = id;
            nodes_[id] = std::move(node);
        }
        for (auto& [id, node] : nodes_) boot(*node);
        chaos_until_ = rng_.between(4, 14) * 1'000'000;
        schedule_chaos();
        after(chaos_until_, [this] { heal_everything(); });
    }

    void add_array() {
        Mirror m;
        m.uuid = "MPATH-array";
        m.has_disk = false;
        m.channel_permille = 1000;
        m.habits.groups = static_cast<uint32_t>(rng_.between(2, 4));
        for (uint32_t g = 0; g < m.habits.groups; ++g) m.habits.order.push_back(g);
        m.habits.fails_back = rng_.chance(700);
        odd_habits_ = rng_.chance(300);
        mirrors_.push_back(std::move(m));
    }
    std::unique_ptr<Kernel> make_map(NodeId id, size_t i, uint64_t life) {
        MapHabits habits = mirrors_[i].habits;
        if (odd_habits_ && rng_.chance(400)) std::reverse(habits.order.begin(), habits.order.end());
        if (odd_habits_ && rng_.chance(300)) habits.fails_back = !habits.fails_back;
        return std::make_unique<GroupsMap>(*this, id, i, mirrors_[i].uuid, static_cast<uint32_t>(life * 100 + i + 1), habits, static_cast<uint16_t>(rng_.next()));
    }
    uint32_t blocks_per_region() override { return kBlocksPerRegion; }
    Mirror& mirror_of(const std::string& uuid) {
        for (Mirror& m : mirrors_)
            if (m.uuid == uuid) return m;
        fail("unknown mirror " + uuid);
    }
    size_t mirror_index(const std::string& uuid) { return static_cast<size_t>(&mirror_of(uuid) - mirrors_.data()); }
    std::string ctr(const Mirror& m) {
        uint64_t sectors = uint64_t{m.regions} * kRegionSectors;
        if (m.is_array()) return "1024 groups";
        return m.has_disk ? fmt::format("{} clustered-disk 253:9 {}", sectors, kRegionSectors) : fmt::format("{} clustered-core {}", sectors, kRegionSectors);
    }

    // ---- machines --------------------------------------------------------------------------------------------------------------
    void boot(Node& node) {
        trace(fmt::format("node {} boots", node.id));
        node.up = true;
        ++node.life;
        node.logs.clear();
        node.logs.resize(mirrors_.size());
        node.no_quorum_since = node.minority_since = 0;
        node.met = false;
        regroup_soon(1000);
        start_daemon(node);
        for (size_t i = 0; i < mirrors_.size(); ++i) {
            uint64_t life = node.life;
            after(rng_.between(1'000, 900'000), [this, id = node.id, i, life] {
                Node& me = *nodes_[id];
                if (!me.up || me.life != life) return;
                const Mirror& m = mirrors_[i];
                something_changed();
                if (m.is_array()) me.logs[i].kernel = make_map(id, i, life);
                else if (rng_.chance(m.channel_permille))
                    me.logs[i].kernel = std::make_unique<ChannelMirror>(*this, id, i, m.uuid, ctr(m), m.regions, static_cast<uint32_t>(m.legs.size()),
                                                                        static_cast<uint32_t>(life * 100 + i + 1), rng_.between(100, 1500) * 1000);
                else me.logs[i].kernel = std::make_unique<KernelMirror>(*this, id, m.uuid, ctr(m), m.regions, (life + 1000) << 32 | (i + 1));
                me.logs[i].kernel->activate();
            });
        }
        app(node.id, node.life);
    }
    void start_daemon(Node& node) {
        trace(fmt::format("node {} starts its daemon", node.id));
        something_changed();
        node.daemon = true;
        node.pid = ++pids_;
        uint64_t life = ++node.daemon_life;
        Config c;
        c.self = node.id;
        c.incarnation = life;
        c.boot = node.life;
        c.idle_unmark_ms = 400;
        c.mark_cap = 24;
        c.dead_wait_ms = kDeadWaitMs;
        c.lease_bytes = 4 * kRegionSectors * 512;
        c.resume_hold_ms = 100;
        c.alone_core = false;
        c.leg_failure_any = leg_failure_any_;
        c.planted = opt_.planted;
        node.cluster = std::make_unique<Cluster>(c);
        node.inbox = {};
        node.quorum_inbox = {};
        for (LogBox& box : node.logs) {
            box.disk = {};
            box.copier = {};
            box.disk_open = false;
        }
        after(rng_.between(100, 20'000), daemon_guard(node, [this, id = node.id] {
                  Node& me = *nodes_[id];
                  for (size_t i = 0; i < me.logs.size(); ++i) {
                      Kernel* k = me.logs[i].kernel.get();
                      if (k && k->live()) feed(me, k->found());
                      if (k && k->active() && k->suspended()) k->resume(nullptr);  // its predecessor died between suspend and resume
                  }
                  feed(me, ev::ScanDone{});
                  ev::Nodelist all;
                  for (auto& [other, n] : nodes_) all.nodes.push_back(other);
                  feed(me, all);
                  me.channel = true;
                  for (size_t i = 0; i < me.logs.size(); ++i) channel_poke(id, i);
              }));
        after(rng_.between(100, 30'000), daemon_guard(node, [this, id = node.id] { join_group(*nodes_[id]); }));
        tick(node.id, life);
    }
    void tick(NodeId id, uint64_t life) {
        after(50'000, [this, id, life] {
            Node& node = *nodes_[id];
            if (!node.daemon || node.daemon_life != life) return;
            feed(node, ev::Tick{});
            tick(id, life);
        });
    }
    std::function<void()> daemon_guard(Node& node, std::function<void()> f) {
        return [this, id = node.id, life = node.daemon_life, f = std::move(f)] {
            Node& me = *nodes_[id];
            if (me.daemon && me.daemon_life == life) f();
        };
    }
    void kill_daemon(Node& node) {
        trace(fmt::format("node {} loses its daemon", node.id));
        node.daemon = node.channel = false;
        for (LogBox& box : node.logs) {
            if (!box.kernel) continue;
            hear_all(node, box);
            box.kernel->daemon_left();
            box.poked = false;
        }
        abandon_io(node, false);
        node.cluster.reset();
        auto it = components_.find(node.component);
        if (it != components_.end() && it->second.processes.erase(node.id) && node.up)
            after(rng_.between(500, 20'000), [this, c = node.component, id = node.id] { process_change(c, id); });
    }
    void crash(Node& node) {
        trace(fmt::format("node {} crashes", node.id));
        node.up = false;
        node.daemon = node.channel = false;
        ++node.life;
        abandon_io(node, true);
        // Each leg write in flight has landed or not; the locks go with the machine.
        for (LegWrite& w : leg_writes_)
            if (w.node == node.id && !w.gone) {
                if (rng_.chance(500)) land(w);
                drop(w);
            }
        // The locks of whoever used the mirror there are taken over when the cluster has seen it go, not before there is a ring without it.
        for (size_t i = 0; i < mirrors_.size(); ++i)
            for (uint32_t b = 0; b < mirrors_[i].writer.size(); ++b)
                if (mirrors_[i].writer[b] == node.id) {
                    if (!mirrors_[i].channel_permille) mirrors_[i].writer[b] = 0;
                    else mirrors_[i].writer[b] = kLockOfTheDead, after(kTokenUs + 200'000, [this, i, b, latest = now_ + kTokenUs + 700'000] { take_over(i, b, latest); });
                }
        node.logs.clear();
        node.cluster.reset();
        regroup_soon(kTokenUs + rng_.below(200'000));
        if (auto it = components_.find(node.component); it != components_.end()) it->second.frozen = true;
        if (halves_) after(rng_.between(kTokenUs, 4'000'000), [this, id = node.id, life = node.life] { report_fenced(id, life); });
    }
    // Where half of the votes are enough somebody has to say that a machine is off; it is.
    void report_fenced(NodeId id, uint64_t life) {
        if (nodes_[id]->up || nodes_[id]->life != life) return;
        for (auto& [other, node] : nodes_)
            if (node->daemon && node->cluster->quorate() && !node->cluster->machines().contains(id)) {
                trace(fmt::format("node {} is told that node {} is fenced", other, id));
                feed(*node, ev::FencedNode{id});
                return;
            }
        after(500'000, [this, id, life] { report_fenced(id, life); });
    }
    // When every kernel reads the block from one leg at most, or at the latest.
    void take_over(size_t index, uint32_t block, uint64_t latest) {
        const auto reads_many = [&](const auto& n) {
            return n.second->up && n.second->logs[index].kernel && std::popcount(n.second->logs[index].kernel->readable(block / kBlocksPerRegion)) > 1;
        };
        if (now_ < latest && (mirrors_[index].channel_permille < 1000 || std::any_of(nodes_.begin(), nodes_.end(), reads_many)))
            after(std::min<uint64_t>(10'000, latest - now_), [this, index, block, latest] { take_over(index, block, latest); });
        else
            after(1'000, [this, index, block] {
                mirrors_[index].writer[block] = 0;
                if (Node* node = some(&Node::up); node && rng_.chance(700)) read(*node, index, block);
            });
    }
    Bio new_bio(size_t index, uint32_t block) {
        Bio bio;
        bio.block = block;
        bio.id = (uint64_t{index} << 48) | ++write_ids_;
        return bio;
    }
    void read(Node& node, size_t index, uint32_t block) {
        Kernel* k = node.logs[index].kernel.get();
        if (!node.up || !k || !k->active()) return;
        k->submit(new_bio(index, block));
    }
    // A daemon that ends takes its copies along; a log write in flight lands, lands torn, or does not.
    void abandon_io(Node& node, bool machine) {
        for (size_t i = 0; i < node.logs.size(); ++i) {
            LogBox& box = node.logs[i];
            Mirror& m = mirrors_[i];
            if (box.copier.running && m.copying[box.copier.current] == node.id) {
                if (box.copier.writing && rng_.chance(500)) land_piece(node.id, m, box.copier);
                m.copying[box.copier.current] = 0;
            }
            box.copier = {};
            if (auto w = std::exchange(disk_inflight_[{node.id, i}], {}); !w.data.empty()) {
                uint32_t how = static_cast<uint32_t>(rng_.below(3));
                size_t keep = how == 0 ? 0 : how == 1 ? w.data.size() : rng_.below(w.data.size() / 512 + 1) * 512;
                if (!machine) keep = w.data.size();  // the kernel finishes what it was given
                std::copy(w.data.begin(), w.data.begin() + static_cast<ptrdiff_t>(keep), m.disk.begin() + static_cast<ptrdiff_t>(w.offset));
            }
            box.disk = {};
        }
    }

    // ---- the ordered group ----------------------------------------------------------------------------------------------------
    // Which machines see each other now: same island.
    uint32_t island(NodeId id) const {
        auto it = islands_.find(id);
        return it == islands_.end() ? 0 : it->second;
    }
    void regroup_soon(uint64_t us) {
        after(us, [this] { regroup(); });
    }
    void push(Node& node, Event e, bool quorum = false) {
        Inbox& box = quorum ? node.quorum_inbox : node.inbox;
        box.events.push_back(std::move(e));
        pump_inbox(node, quorum);
    }
    void pump_inbox(Node& node, bool quorum) {
        Inbox& box = quorum ? node.quorum_inbox : node.inbox;
        if (box.scheduled || box.events.empty()) return;
        box.scheduled = true;
        uint64_t delay = quorum ? late_verdicts_ && rng_.chance(300) ? rng_.between(60'000, 3'000'000) : rng_.between(10, rng_.chance(50) ? 60'000 : 3'000)
                                : rng_.between(20, rng_.chance(20) ? 30'000 : 400);
        after(delay, daemon_guard(node, [this, id = node.id, quorum] {
                  Node& me = *nodes_[id];
                  Inbox& b = quorum ? me.quorum_inbox : me.inbox;
                  b.scheduled = false;
                  if (b.events.empty()) return;
                  Event e = std::move(b.events.front());
                  b.events.pop_front();
                  if (const auto* q = std::get_if<ev::Quorum>(&e)) {
                      if (q->quorate) me.no_quorum_since = 0;
                      else if (!me.no_quorum_since) me.no_quorum_since = now_;
                  }
                  if (opt_.trace && !std::holds_alternative<ev::Deliver>(e))
                      trace(fmt::format("node {} is told event {} {}", id, e.index(), std::holds_alternative<ev::Membership>(e) ? std::get<ev::Membership>(e).members.size() : 0));
                  feed(me, e);
                  pump_inbox(me, quorum);
              }));
    }
    ev::Membership membership(const Component& c, std::vector<NodeId> left) {
        ev::Membership m;
        for (auto [id, pid] : c.processes) m.members.push_back({id, pid});
        m.left = std::move(left);
        return m;
    }
    void tell_ring(Node& node, const Component& c) { push(node, ev::Ring{c.id, c.rep, {c.machines.begin(), c.machines.end()}}); }
    void join_group(Node& node) {
        auto it = components_.find(node.component);
        if (it == components_.end() || !it->second.machines.contains(node.id)) return;  // the next regroup() takes it in
        Component& c = it->second;
        if (auto p = c.processes.find(node.id); p != c.processes.end() && p->second == node.pid) return;
        if (c.frozen) {
            after(50'000, daemon_guard(node, [this, id = node.id] { join_group(*nodes_[id]); }));
            return;
        }
        c.processes[node.id] = node.pid;
        c.handed[node.id] = c.order.size();
        tell_ring(node, c);
        push(node, ev::Quorum{c.id, c.rep, c.quorate, halves_}, true);
        flush_order(c);
        for (auto [id, pid] : c.processes) push(*nodes_[id], membership(c, {}));
    }
    void process_change(uint64_t component, NodeId left) {
        auto it = components_.find(component);
        if (it == components_.end()) return;
        flush_order(it->second);
        for (auto [id, pid] : it->second.processes) push(*nodes_[id], membership(it->second, {left}));
    }
    void flush_order(Component& c) {
        for (auto [id, pid] : c.processes) {
            Node& node = *nodes_[id];
            for (size_t& at = c.handed[id]; at < c.order.size(); ++at) push(node, ev::Deliver{c.order[at].sender, c.order[at].bytes});
        }
    }
    void multicast(Node& sender, Bytes bytes) {
        auto it = components_.find(sender.component);
        if (it == components_.end() || !it->second.processes.contains(sender.id)) return;
        Component& c = it->second;
        if (opt_.trace)
            if (auto m = proto::wire::decode(bytes)) trace(fmt::format("node {} sends {} of {}", sender.id, in_words(m->body), m->uuid));
        if (bytes.size() > proto::kMaxMessageBytes) fail("I6: a message of " + std::to_string(bytes.size()) + " bytes");
        c.order.push_back({sender.id, std::move(bytes)});
        if (c.frozen) return;  // ordered when the ring has re-formed
        // Receivers get it a little later, in order; a crash in between decides who got it.
        after(rng_.between(50, 500), [this, id = c.id] {
            auto again = components_.find(id);
            if (again != components_.end() && !again->second.frozen) flush_order(again->second);
        });
    }
    // Totem forms new rings from what can see each other. Members of an old ring that stay together get the same messages; what
    // only the others had is lost to them, and what one of them sent comes again in the new ring.
    void regroup() {
        something_changed();
        std::map<uint32_t, std::set<NodeId>> groups;
        for (auto& [id, node] : nodes_)
            if (node->up) groups[island(id)].insert(id);
        std::set<uint64_t> keep;
        std::vector<std::set<NodeId>> fresh;
        for (auto& [key, machines] : groups) {
            bool same = false;
            for (auto& [cid, c] : components_) {
                if (c.machines != machines) continue;
                bool all_here =
                    std::all_of(machines.begin(), machines.end(), [&, cid = cid](NodeId id) { return nodes_[id]->component == cid && lives_[cid][id] == nodes_[id]->life; });
                if (all_here) {
                    same = true;
                    keep.insert(cid);
                    c.frozen = false;
                    flush_order(c);
                    // A daemon that came while the ring was broken.
                    break;
                }
            }
            if (!same) fresh.push_back(machines);
        }
        std::map<uint64_t, Component> old = std::exchange(components_, {});
        for (uint64_t id : keep) components_[id] = std::move(old[id]);
        for (const auto& machines : fresh) {
            Component c;
            c.id = ring_seq_ += 4;
            c.rep = *machines.begin();
            c.machines = machines;
            for (NodeId id : machines) nodes_[id]->met = nodes_[id]->met || machines.size() == nodes_.size();
            c.quorate = machines.size() * 2 > nodes_.size() || (halves_ && nodes_[*machines.begin()]->met);
            trace(fmt::format("ring {} of {} machine(s){}", c.id, machines.size(), c.quorate ? ", quorate" : ""));
            std::vector<Frame> carried;
            std::map<NodeId, std::set<NodeId>> was_with;
            for (auto& [oid, o] : old) {
                std::vector<NodeId> stay;
                for (NodeId id : machines)
                    if (nodes_[id]->component == oid && nodes_[id]->daemon && o.processes.contains(id) && o.processes[id] == nodes_[id]->pid) stay.push_back(id);
                if (stay.empty()) continue;
                size_t cut = 0;
                for (NodeId id : stay) cut = std::max(cut, o.handed[id]);
                cut += rng_.below(o.order.size() - cut + 1);
                for (NodeId id : stay) {
                    for (size_t at = o.handed[id]; at < cut; ++at) push(*nodes_[id], ev::Deliver{o.order[at].sender, o.order[at].bytes});
                    for (auto [other, pid] : o.processes) was_with[id].insert(other);
                }
                for (size_t at = cut; at < o.order.size(); ++at)
                    if (std::find(stay.begin(), stay.end(), o.order[at].sender) != stay.end()) carried.push_back(o.order[at]);
            }
            for (NodeId id : machines) {
                Node& node = *nodes_[id];
                node.component = c.id;
                if (c.quorate) node.minority_since = 0;
                else if (!node.minority_since) node.minority_since = std::max<uint64_t>(now_, 1);
                lives_[c.id][id] = node.life;
                if (node.daemon) c.processes[id] = node.pid;
            }
            for (auto [id, pid] : c.processes) {
                Node& node = *nodes_[id];
                c.handed[id] = 0;
                // First who left, then who joined, as CPG tells it.
                Component rest = c;
                std::vector<NodeId> left;
                for (NodeId other : was_with[id])
                    if (!c.processes.contains(other)) left.push_back(other);
                if (!left.empty() && rng_.chance(500)) {
                    std::erase_if(rest.processes, [&, id = id](auto& p) { return p.first != id && !was_with[id].contains(p.first); });
                    push(node, membership(rest, left));
                    left.clear();
                }
                if (rng_.chance(500)) {
                    tell_ring(node, c);
                    push(node, membership(c, left));
                } else {
                    push(node, membership(c, left));
                    tell_ring(node, c);
                }
                push(node, ev::Quorum{c.id, c.rep, c.quorate, halves_}, true);
            }
            c.order = std::move(carried);
            uint64_t id = c.id;
            components_[id] = std::move(c);
            flush_order(components_[id]);
        }
    }

    // ---- daemon ------------------------------------------------------------------------------------------------------------------
    void feed(Node& node, const Event& e) {
        node.cluster->step(e, now_ / 1000);
        mix(e.index() + 100 * node.id);
        for (Output& o : node.cluster->output()) std::visit([&](auto& x) { act(node, x); }, o);
        check_often(node);
    }
    void act(Node& node, out::Tell& o) {
        for (LogBox& box : node.logs)
            if (box.kernel) box.told.push_back(o);  // it takes what is its own
        for (size_t i = 0; i < node.logs.size(); ++i) tell_kernel(node, i);
    }
    // What was written is heard, whatever becomes of the daemon.
    void hear_all(const Node& node, LogBox& box) {
        for (const out::Tell& t : std::exchange(box.told, {})) hear(node, box, t);
    }
    void hear(const Node& node, LogBox& box, const out::Tell& t) {
        if (!box.kernel) return;
        if (opt_.trace) trace(fmt::format("node {} kernel is told {}", node.id, in_words(t)));
        box.kernel->tell(t);
    }
    // The channel keeps its order in both directions.
    void tell_kernel(Node& node, size_t index) {
        LogBox& box = node.logs[index];
        if (box.telling || box.told.empty()) return;
        box.telling = true;
        after(rng_.between(2, rng_.chance(20) ? 5'000 : 40), [this, id = node.id, life = node.life, index] {
            Node& me = *nodes_[id];
            if (!me.up || me.life != life) return;
            LogBox& b = me.logs[index];
            b.telling = false;
            if (b.told.empty()) return;
            out::Tell t = std::move(b.told.front());
            b.told.pop_front();
            hear(me, b, t);
            tell_kernel(me, index);
        });
    }
    void channel_poke(NodeId id, size_t index) override {
        Node& node = *nodes_[id];
        if (!node.channel || node.logs[index].poked || !node.logs[index].kernel) return;
        node.logs[index].poked = true;
        after(rng_.between(5, rng_.chance(20) ? 10'000 : 60), daemon_guard(node, [this, id, index] {
                  Node& me = *nodes_[id];
                  me.logs[index].poked = false;
                  if (!me.channel || !me.logs[index].kernel) return;
                  while (true) {
                      auto events = me.logs[index].kernel->compose();
                      if (events.empty()) break;
                      for (const Event& e : events) {
                          if (opt_.trace)
                              if (const auto* r = std::get_if<ev::Regions>(&e)) trace(fmt::format("node {} kernel tells {} {}", id, in_words(r->what), in_words(r->ranges)));
                          feed(me, e);
                      }
                  }
              }));
    }
    void broken(const std::string& what) override { fail("the kernel's region machine: " + what); }
    void act(Node& node, out::Send& o) {
        for (LogBox& box : node.logs) hear_all(node, box);
        multicast(node, std::move(o.frame));
    }
    void act(Node& node, out::Answer& o) {
        mix(o.reply.seq);
        if (opt_.trace) trace(fmt::format("node {} answers {} seq {} error {}", node.id, static_cast<int>(o.reply.type), o.reply.seq, o.reply.error));
        after(rng_.between(5, 60), [this, id = node.id, life = node.life, r = o.reply] {
            Node& me = *nodes_[id];
            if (!me.up || me.life != life) return;
            Kernel* k = me.logs[mirror_index(r.uuid)].kernel.get();
            if (k) k->reply(r);
        });
    }
    void act(Node& node, out::OpenDisk& o) {
        after(rng_.between(50, 2000), daemon_guard(node, [this, id = node.id, uuid = o.uuid] {
                  feed(*nodes_[id], ev::DiskOpened{uuid, mirror_of(uuid).disk.size(), "253:9", {}});
              }));
    }
    void act(Node&, out::Close&) {}
    void act(Node& node, out::DiskRead& o) {
        disk_op(node, o.uuid, [this, id = node.id, o] {
            Mirror& m = mirror_of(o.uuid);
            if (o.offset + o.length > m.disk.size()) fail("log disk read beyond its end");
            Bytes data(m.disk.begin() + static_cast<ptrdiff_t>(o.offset), m.disk.begin() + static_cast<ptrdiff_t>(o.offset + o.length));
            bool ok = !disk_trouble();
            if (opt_.trace) trace(fmt::format("node {} {} {}+{} of the log disk of {}", id, ok ? "reads" : "cannot read", o.offset, o.length, o.uuid));
            feed(*nodes_[id], ev::DiskDone{o.uuid, o.op, ok, ok ? std::move(data) : Bytes{}, ok ? "" : "Input/output error"});
        });
    }
    void act(Node& node, out::DiskWrite& o) {
        Mirror& m = mirror_of(o.uuid);
        if (o.offset + o.data.size() > m.disk.size()) fail("log disk write beyond its end");
        size_t index = mirror_index(o.uuid);
        disk_op(
            node, o.uuid,
            [this, id = node.id, o, index] {
                Mirror& mm = mirror_of(o.uuid);
                Node& me = *nodes_[id];
                disk_inflight_[{id, index}] = {};
                bool ok = true;
                if (opt_.trace) trace(fmt::format("node {} writes {}+{} of the log disk of {}", id, o.offset, o.data.size(), o.uuid));
                if (disk_trouble()) {
                    ok = false;
                    uint32_t how = static_cast<uint32_t>(rng_.below(3));
                    if (opt_.trace) trace(fmt::format("node {} fails at it, as {}", id, how == 0 ? "torn" : how == 1 ? "misdirected" : "not written"));
                    if (how == 0) {  // torn
                        size_t keep = rng_.below(o.data.size() / 512) * 512;
                        std::copy(o.data.begin(), o.data.begin() + static_cast<ptrdiff_t>(keep), mm.disk.begin() + static_cast<ptrdiff_t>(o.offset));
                    } else if (how == 1 && o.data.size() == 4096 && o.offset >= disk::layout(1 << 24, mm.regions).slots_at) {  // misdirected; reading back finds it
                        uint64_t slots_at = disk::layout(1 << 24, mm.regions).slots_at;
                        uint64_t at = slots_at + rng_.below((mm.disk.size() - slots_at) / 4096) * 4096;
                        std::copy(o.data.begin(), o.data.end(), mm.disk.begin() + static_cast<ptrdiff_t>(at));
                    }
                } else {
                    std::copy(o.data.begin(), o.data.end(), mm.disk.begin() + static_cast<ptrdiff_t>(o.offset));
                }
                if (me.no_quorum_since && now_ - me.no_quorum_since > kDeadWaitMs * 1000) fail(fmt::format("I4: node {} writes the log without quorum", id));
                feed(me, ev::DiskDone{o.uuid, o.op, ok, {}, ok ? "" : "Input/output error"});
            },
            &o.data, o.offset);
    }
    bool disk_trouble() { return disk_errors_ && now_ < chaos_until_ && rng_.chance(20); }
    struct Inflight {
        uint64_t offset = 0;
        Bytes data;
    };
    // One at a time per log and node, in order.
    void disk_op(Node& node, const std::string& uuid, std::function<void()> what, const Bytes* data = nullptr, uint64_t offset = 0) {
        size_t index = mirror_index(uuid);
        DiskQueue& q = node.logs[index].disk;
        Inflight in;
        if (data) in = {offset, *data};
        q.ops.push_back([this, id = node.id, index, in = std::move(in), what = std::move(what)] {
            Node& me = *nodes_[id];
            disk_inflight_[{id, index}] = in;
            after(rng_.between(50, rng_.chance(30) ? 20'000 : 600), daemon_guard(me, [this, id, index, what] {
                      disk_inflight_[{id, index}] = {};
                      what();
                      Node& n = *nodes_[id];
                      if (!n.daemon || n.logs.size() <= index) return;
                      DiskQueue& dq = n.logs[index].disk;
                      dq.running = false;
                      run_disk(dq);
                  }));
        });
        run_disk(q);
    }
    void run_disk(DiskQueue& q) {
        if (q.running || q.ops.empty()) return;
        q.running = true;
        auto op = std::move(q.ops.front());
        q.ops.pop_front();
        op();
    }
    void act(Node& node, out::FlushLegs& o) {
        after(rng_.between(50, 3000), daemon_guard(node, [this, id = node.id, uuid = o.uuid, legs = o.legs] {
                  const Mirror& m = mirror_of(uuid);
                  bool ok = true;
                  for (size_t leg = 0; leg < m.legs.size(); ++leg) ok = ok && (!(legs >> leg & 1) || m.path(id, leg));
                  feed(*nodes_[id], ev::LegsFlushed{uuid, ok});
              }));
    }
    void act(Node& node, out::Probe& o) {
        const bool hangs = rng_.chance(50);
        after(hangs ? 5'000'000 : rng_.between(50, 3000), daemon_guard(node, [this, id = node.id, o] {
                  feed(*nodes_[id], ev::Probed{o.uuid, o.leg, mirror_of(o.uuid).path(id, o.leg)});
              }));
    }
    void act(Node&, out::KeepLegs&) {}
    void act(Node& node, out::LookAtLegs& o) {
        after(rng_.between(20, 2000), daemon_guard(node, [this, id = node.id, uuid = o.uuid] { feed(*nodes_[id], ev::LegDisks{uuid, {}, {}}); }));
    }
    void act(Node& node, out::FindLegs& o) {
        after(rng_.between(50, 2000), daemon_guard(node, [this, id = node.id, uuid = o.uuid] {
                  feed(*nodes_[id], ev::Legs{uuid, static_cast<uint32_t>(mirror_of(uuid).legs.size()), true, {}});
              }));
    }
    void act(Node& node, out::Copy& o) {
        Copier& c = node.logs[mirror_index(o.uuid)].copier;
        c.from = o.from;
        c.to = o.to;
        c.left.add(o.ranges);
        next_copy(node, o.uuid);
    }
    void act(Node&, out::CopyRate&) {}
    void act(Node& node, out::CopyUntil& o) {
        node.logs[mirror_index(o.uuid)].copier.until = o.until;
        next_copy(node, o.uuid);
    }
    void act(Node& node, out::CopyFirst& o) {
        Copier& c = node.logs[mirror_index(o.uuid)].copier;
        if (c.left.contains(o.region)) c.first.push_back(o.region);
    }
    void act(Node& node, out::CopyCancel& o) {
        Copier& c = node.logs[mirror_index(o.uuid)].copier;
        c.left.clear();
        c.first.clear();
        c.cancel = true;
        if (!c.running) {
            c.cancel = false;
            after(10, daemon_guard(node, [this, id = node.id, uuid = o.uuid] { feed(*nodes_[id], ev::CopyIdle{uuid}); }));
        }
    }
    // Of a daemon that goes: what it was writing has landed.
    void land_piece(NodeId id, Mirror& m, const Copier& c) {
        for (size_t leg = 0; leg < m.legs.size(); ++leg)
            if (leg != c.from && c.to >> leg & 1 && m.path(id, leg)) m.legs[leg][c.block] = c.value;
    }
    void next_copy(Node& node, const std::string& uuid) {
        size_t index = mirror_index(uuid);
        Copier& c = node.logs[index].copier;
        if (c.running || c.pausing || c.left.empty() || now_ / 1000 >= c.until) return;
        Region r = c.left.ranges(1).front().start;
        while (!c.first.empty()) {
            Region f = c.first.front();
            c.first.pop_front();
            if (c.left.contains(f)) {
                r = f;
                break;
            }
        }
        c.running = true;
        c.current = r;
        c.left.remove(r);
        Mirror& m = mirrors_[index];
        if (!m.writing[r].empty()) fail(fmt::format("I2: node {} copies region {} of {} while node {} writes it", node.id, r, uuid, *m.writing[r].begin()));
        if (NodeId other = who_copies(index, r)) fail(fmt::format("I2: nodes {} and {} both copy region {}", node.id, other, r));
        m.copying[r] = node.id;
        if (opt_.trace) trace(fmt::format("node {} copies {} region {} from leg {}", node.id, m.uuid, r, c.from));
        copy_piece(node, index, r * kBlocksPerRegion);
    }
    // Who may still write the region: whoever copies it, until it hears that it must not or its time is over.
    NodeId who_copies(size_t index, Region r) {
        const NodeId id = mirrors_[index].copying[r];
        return id && may_copy(nodes_[id]->logs[index].copier) ? id : 0;
    }
    bool may_copy(const Copier& c) const { return c.writing || (!c.cancel && now_ / 1000 < c.until) || opt_.planted == Planted::copy_without_lease; }
    // Reads a block, which may take as long as a path needs to be given up, and writes it if that is still allowed.
    void copy_piece(Node& node, size_t index, uint32_t block) {
        const uint64_t value = mirrors_[index].legs[node.logs[index].copier.from][block];
        const bool slow = slow_copies_ && now_ < chaos_until_ && rng_.chance(20);
        after(slow ? 1'500'000 : rng_.between(100, 2'500), daemon_guard(node, [this, id = node.id, index, block, value] {
                  Copier& c = nodes_[id]->logs[index].copier;
                  if (!may_copy(c)) return end_copy(*nodes_[id], index, false, -1);
                  c.writing = true;
                  c.block = block;
                  c.value = value;
                  after(rng_.between(50, 500), daemon_guard(*nodes_[id], [this, id, index] { copy_landed(*nodes_[id], index); }));
              }));
    }
    void copy_landed(Node& node, size_t index) {
        Mirror& m = mirrors_[index];
        Copier& c = node.logs[index].copier;
        const Region r = c.current;
        if (!m.writing[r].empty()) fail(fmt::format("I2: region {} was written by node {} while node {} copied it", r, *m.writing[r].begin(), node.id));
        c.writing = false;
        int failed_leg = m.path(node.id, c.from) ? -1 : static_cast<int>(c.from);
        for (size_t leg = 0; leg < m.legs.size() && failed_leg < 0; ++leg) {
            if (leg == c.from || !(c.to >> leg & 1)) continue;
            if (m.path(node.id, leg)) m.legs[leg][c.block] = c.value;
            else failed_leg = static_cast<int>(leg);
        }
        if (failed_leg >= 0) end_copy(node, index, true, failed_leg);
        else if ((c.block + 1) % kBlocksPerRegion == 0) end_copy(node, index, true, -1);
        else copy_piece(node, index, c.block + 1);
    }
    // whole: it was copied, or has failed; else its time was over, and it is begun anew when there is more.
    void end_copy(Node& node, size_t index, bool whole, int failed_leg) {
        Mirror& m = mirrors_[index];
        Copier& c = node.logs[index].copier;
        const Region r = c.current;
        const NodeId id = node.id;
        if (m.copying[r] == id) m.copying[r] = 0;
        c.running = false;
        const bool cancelled = std::exchange(c.cancel, false);
        if (whole) {
            const bool failed = failed_leg >= 0 || (copy_errors_ && now_ < chaos_until_ && rng_.chance(10));
            ev::Copied done{m.uuid, {}, {}, {}, failed_leg};
            (failed ? done.failed : done.done).push_back({r, 1});
            if (failed) done.error = "Input/output error";
            feed(node, done);
        } else if (!cancelled) {
            c.left.add(Range{r, 1});
        }
        if (!node.daemon) return;
        if (cancelled) feed(node, ev::CopyIdle{m.uuid});
        Copier& next = node.logs[index].copier;
        next.pausing = copy_pause_us_ > 0;
        if (!next.pausing) return next_copy(node, m.uuid);
        after(rng_.below(copy_pause_us_), daemon_guard(node, [this, id, index] {
                  nodes_[id]->logs[index].copier.pausing = false;
                  next_copy(*nodes_[id], mirrors_[index].uuid);
              }));
    }
    void act(Node& node, out::Drain& o) {
        Kernel* k = node.logs[mirror_index(o.uuid)].kernel.get();
        if (!k) {
            after(10, daemon_guard(node, [this, id = node.id, uuid = o.uuid] { feed(*nodes_[id], ev::Drained{uuid, false, "busy"}); }));
            return;
        }
        auto tell = daemon_guard(node, [this, id = node.id, uuid = o.uuid] { feed(*nodes_[id], ev::Drained{uuid, true, {}}); });
        k->suspend([this, k, tell, id = node.id, life = node.life, reload = o.reload] {
            after(100, [this, k, tell, id, life, reload] {
                if (nodes_[id]->up && nodes_[id]->life == life) k->resume(tell, reload);
            });
        });
    }
    void act(Node& node, out::Suspend& o) {
        Kernel* k = node.logs[mirror_index(o.uuid)].kernel.get();
        if (k) k->suspend(nullptr);
    }
    void act(Node& node, out::Resume& o) {
        Kernel* k = node.logs[mirror_index(o.uuid)].kernel.get();
        auto tell = daemon_guard(node, [this, id = node.id, uuid = o.uuid] { feed(*nodes_[id], ev::Drained{uuid, true, {}}); });
        if (k) k->resume(tell);
    }
    void act(Node& node, out::Scan& o) {
        after(rng_.between(100, 5000), daemon_guard(node, [this, id = node.id, uuid = o.uuid] {
                  Node& me = *nodes_[id];
                  Kernel* k = me.logs[mirror_index(uuid)].kernel.get();
                  if (k) feed(me, k->found());
              }));
    }
    void act(Node& node, out::Rejoin&) {
        after(10, daemon_guard(node, [this, id = node.id] {
                  Node& me = *nodes_[id];
                  me.inbox.events.clear();
                  me.quorum_inbox.events.clear();
                  if (auto it = components_.find(me.component); it != components_.end() && it->second.processes.erase(id)) process_change(me.component, id);
                  me.pid = ++pids_;
                  feed(me, ev::Disconnected{});
                  after(500'000, daemon_guard(me, [this, id] { join_group(*nodes_[id]); }));
              }));
    }
    void act(Node& node, out::Note& o) { trace(fmt::format("node {} {}: {}", node.id, o.uuid, o.text)); }

    // ---- kernel -------------------------------------------------------------------------------------------------------------------
    void ulog_send(NodeId id, const proto::ulog::Call& call) override {
        Node& node = *nodes_[id];
        if (opt_.trace) trace(fmt::format("node {} kernel asks {} region {} seq {}", id, static_cast<int>(call.type), call.u64(), call.seq));
        after(rng_.between(5, 60), daemon_guard(node, [this, id, call] { feed(*nodes_[id], ev::Call{call}); }));
    }
    bool daemon_listens(NodeId id) override { return nodes_[id]->daemon; }

    struct LegWrite {
        NodeId node = 0;
        size_t mirror = 0;
        size_t leg = 0;
        uint32_t block = 0;
        uint64_t value = 0;
        uint64_t id = 0;
        bool gone = false;
    };
    void land(LegWrite& w) { mirrors_[w.mirror].legs[w.leg][w.block] = w.value; }
    void drop(LegWrite& w) {
        w.gone = true;
        auto& set = mirrors_[w.mirror].writing[w.block / kBlocksPerRegion];
        if (auto it = set.find(w.node); it != set.end()) set.erase(it);
    }
    void leg_write(NodeId id, const Bio& bio, uint32_t legs, std::function<void(uint32_t)> done) override {
        size_t index = bio.id >> 48;
        Mirror& m = mirrors_[index];
        Node& node = *nodes_[id];
        Region region = bio.block / kBlocksPerRegion;
        if (node.no_quorum_since && now_ - node.no_quorum_since > kDeadWaitMs * 1000) fail(fmt::format("I4: node {} writes without quorum", id));
        // A write lease needs no daemon to end.
        if (node.minority_since && now_ - node.minority_since > kDeadWaitMs * 1000 && dynamic_cast<ChannelMirror*>(node.logs[index].kernel.get()))
            fail(fmt::format("I4: node {} writes in a ring without quorum", id));
        if (NodeId other = who_copies(index, region)) fail(fmt::format("I2: node {} writes region {} of {} while node {} copies it", id, region, m.uuid, other));
        if (opt_.trace)
            trace(fmt::format("node {} writes {} region {} block {} version {}{}", id, m.uuid, region, bio.block, bio.value,
                              fmt::format(" to legs {:#x}", legs & ((1u << m.legs.size()) - 1))));
        struct State {
            size_t left = 0;
            uint32_t failed = 0;
        };
        auto state = std::make_shared<State>();
        for (size_t leg = 0; leg < m.legs.size(); ++leg) {
            if (!(legs >> leg & 1)) continue;
            ++state->left;
            leg_writes_.push_back({id, index, leg, bio.block, bio.value, ++write_ids_, false});
            m.writing[region].insert(id);
            uint64_t wid = write_ids_;
            bool slow = leg == 1 && slow_leg_;
            after(rng_.between(50, slow ? 30'000 : 1500), [this, wid, state, done] {
                auto it = std::lower_bound(leg_writes_.begin(), leg_writes_.end(), wid, [](const LegWrite& w, uint64_t v) { return w.id < v; });
                if (it == leg_writes_.end() || it->id != wid || it->gone) return;
                const bool ok = mirrors_[it->mirror].path(it->node, it->leg);
                if (ok || rng_.chance(200)) land(*it);  // an error does not say that nothing was written
                if (!ok) state->failed |= 1u << it->leg;
                drop(*it);
                while (!leg_writes_.empty() && leg_writes_.front().gone) leg_writes_.pop_front();
                if (--state->left == 0) done(state->failed);
            });
        }
    }
    std::optional<uint64_t> leg_read(NodeId id, const Bio& bio, uint32_t legs) override {
        Mirror& m = mirrors_[bio.id >> 48];
        std::vector<size_t> good;
        for (size_t leg = 0; leg < m.legs.size(); ++leg)
            if (legs >> leg & 1 && m.path(id, leg)) good.push_back(leg);
        if (good.empty()) return std::nullopt;
        const size_t leg = good[rng_.below(good.size())];
        if (opt_.trace) trace(fmt::format("node {} reads {} block {} from leg {}: version {}", id, m.uuid, bio.block, leg, m.legs[leg][bio.block]));
        return m.legs[leg][bio.block];
    }
    void bio_failed(NodeId id, const Bio& bio) override {
        trace(fmt::format("node {}: {} of block {} fails", id, bio.write ? "a write" : "a read", bio.block));
        if (!bio.write) return;
        mirrors_[bio.id >> 48].writer[bio.block] = 0;
        for (const auto& [other, n] : nodes_)  // whatever they see of it, it is one of the two for good
            if (other != id && n->up)
                for (uint64_t at : {uint64_t{0}, rng_.below(20'000)})
                    after(at, [this, other = other, index = bio.id >> 48, block = bio.block] { read(*nodes_[other], index, block); });
    }
    void bio_done(NodeId id, const Bio& bio, uint64_t value) override {
        size_t index = bio.id >> 48;
        Mirror& m = mirrors_[index];
        if (bio.write) {
            m.acked[bio.block] = std::max(m.acked[bio.block], bio.value);
            m.writer[bio.block] = 0;
            ++m.acked_writes;
            check_acknowledged(index, bio);
        } else if (m.writer[bio.block] == 0) {
            uint64_t version = value >= (1ull << 60) ? 0 : value;
            uint64_t least = std::max(m.acked[bio.block], m.seen[bio.block]);
            if (version < least) fail(fmt::format("node {} read version {} of block {} after version {} was seen or acknowledged", id, version, bio.block, least));
            m.seen[bio.block] = version;
            const auto has = [&](const auto& leg) { return leg[bio.block] == version; };
            if (m.doomed && std::count_if(m.legs.begin(), m.legs.end(), has) == 1) after(0, [this, id, &m, block = bio.block] { seen_alone(id, m, block); });
        }
    }

    // ---- arrays ----------------------------------------------------------------------------------------------------------------------
    void something_changed() {
        for (Mirror& m : mirrors_) m.flips = 0;
    }
    void switch_array(NodeId id, size_t index, uint32_t group, bool granted, std::function<void(bool)> done) override {
        Mirror& m = mirrors_[index];
        trace(fmt::format("node {} {} group {}", id, granted ? "switches the array to" : "follows to", group));
        if (granted && !m.switching.empty()) fail(fmt::format("nodes {} and {} both switch the array", *m.switching.begin(), id));
        if (granted) m.switching.insert(id);
        after(rng_.between(500, 30'000), [this, id, index, group, granted, life = nodes_[id]->life, done] {
            Mirror& mm = mirrors_[index];
            if (granted) mm.switching.erase(id);
            const bool gone = !nodes_[id]->up || nodes_[id]->life != life;
            const bool ok = !(now_ < chaos_until_ && rng_.chance(50));
            if (gone ? rng_.chance(500) : ok) {
                if (mm.array != group && ++mm.flips > 2 * nodes_.size() + 4) fail("the array is dragged back and forth");
                mm.array = group;
            }
            if (gone) return;
            if (!ok) something_changed();
            done(ok);
        });
    }
    void hurt_paths(Mirror& m, size_t index) {
        const uint32_t group = static_cast<uint32_t>(rng_.below(m.habits.groups));
        const bool on = rng_.chance(400), all = rng_.chance(200);
        Node* one = some(&Node::up);
        for (auto& [id, node] : nodes_) {
            auto* map = node->up ? dynamic_cast<GroupsMap*>(node->logs[index].kernel.get()) : nullptr;
            if (!map || (!all && node.get() != one)) continue;
            something_changed();
            trace(fmt::format("node {} {} group {}", id, on ? "finds" : "loses", group));
            map->path(group, on);
        }
    }
    std::string array_trouble(const Mirror& m, size_t index) {
        const Groups* agreed = nullptr;
        for (auto& [id, node] : nodes_) {
            const auto& map = dynamic_cast<const GroupsMap&>(*node->logs[index].kernel);
            agreed = &node->cluster->logs().at(m.uuid)->state().groups;
            if (map.current() != agreed->in_use) return fmt::format("node {} uses group {}, the cluster group {}", id, map.current(), agreed->in_use);
        }
        if (agreed->holder) return fmt::format("node {} is to switch the array", agreed->holder);
        if (agreed->in_use != m.array) return fmt::format("the array serves by group {}, the cluster uses {}", m.array, agreed->in_use);
        if (!odd_habits_ && m.habits.fails_back && agreed->in_use != 0) return fmt::format("group {} is still in use, and everybody wants 0", agreed->in_use);
        return {};
    }

    // I3: whatever was acknowledged is on every leg from which anybody would read it.
    void check_acknowledged(size_t index, const Bio& bio) {
        const Mirror& m = mirrors_[index];
        for (auto& [id, node] : nodes_) {
            if (!node->up || !node->logs[index].kernel) continue;
            uint32_t legs = node->logs[index].kernel->readable(bio.block / kBlocksPerRegion);
            for (size_t leg = 0; leg < m.legs.size(); ++leg)
                if (legs >> leg & 1 && m.legs[leg][bio.block] != bio.value)
                    fail(fmt::format("I3: version {} of block {} is acknowledged, and node {} may read version {} from leg {}", bio.value, bio.block, id, m.legs[leg][bio.block],
                                     leg));
        }
    }

    // ---- the application -------------------------------------------------------------------------------------------------------------
    void app(NodeId id, uint64_t life) {
        after(rng_.between(2'000, hot_ ? 20'000 : 150'000) * std::max<size_t>(1, nodes_.size() * nodes_.size() / 32), [this, id, life] {
            Node& node = *nodes_[id];
            if (!node.up || node.life != life || quiet_) return;
            app(id, life);
            size_t index = rng_.below(mirrors_.size());
            Kernel* k = node.logs[index].kernel.get();
            if (!k || !k->active() || k->in_flight() >= depth_) return;
            Mirror& m = mirrors_[index];
            if (m.is_array()) return;
            Bio bio = new_bio(index, static_cast<uint32_t>(hot_ && rng_.chance(800) ? rng_.below(4) : rng_.below(m.version.size())));
            bio.write = rng_.chance(write_permille_) && m.writer[bio.block] == 0;
            if (bio.write) {
                m.writer[bio.block] = id;
                bio.value = ++m.version[bio.block];
                // Whoever waits for the lock next must not go back, also if this one is lost on the way.
            }
            k->submit(bio);
        });
    }

    // ---- chaos -----------------------------------------------------------------------------------------------------------------------
    void schedule_chaos() {
        disk_errors_ = rng_.chance(200);
        copy_errors_ = rng_.chance(100);
        slow_leg_ = rng_.chance(400);
        uint64_t gap = rng_.between(200, 2500) * 1000;
        after(gap, [this] {
            if (now_ >= chaos_until_) return;
            wreak();
            schedule_chaos();
        });
    }
    Node* some(bool Node::*what) {
        std::vector<Node*> all;
        for (auto& [id, node] : nodes_)
            if ((*node).*what) all.push_back(node.get());
        return all.empty() ? nullptr : all[rng_.below(all.size())];
    }
    void wreak() {
        something_changed();
        if (sites_ && rng_.chance(800)) {
            if (rng_.chance(600)) lose_site(mirrors_.front());
            else come_back(mirrors_.front());
            return;
        }
        switch (rng_.below(13)) {
            case 0:
            case 1:
                if (Node* node = some(&Node::up)) crash(*node);
                break;
            case 2:
            case 3:
                for (auto& [id, node] : nodes_)
                    if (!node->up) {
                        boot(*node);
                        break;
                    }
                break;
            case 4:
                if (Node* node = some(&Node::daemon)) {
                    kill_daemon(*node);
                    restart_later(*node);
                }
                break;
            case 5: {  // a link is cut: totem needs its token time to notice
                islands_.clear();
                if (rng_.chance(700)) {
                    uint32_t k = static_cast<uint32_t>(rng_.between(2, 3));
                    for (auto& [id, node] : nodes_) islands_[id] = rng_.chance(650) ? 0 : static_cast<uint32_t>(rng_.below(k));
                }
                for (auto& [cid, c] : components_) {
                    std::set<uint32_t> seen;
                    for (NodeId id : c.machines) seen.insert(island(id));
                    if (seen.size() > 1) c.frozen = true;
                }
                regroup_soon(kTokenUs + rng_.below(100'000));
                break;
            }
            case 6:
                islands_.clear();
                regroup_soon(rng_.between(1'000, 300'000));
                break;
            case 8:
            case 9: {
                const size_t index = rng_.below(mirrors_.size());
                if (mirrors_[index].is_array()) hurt_paths(mirrors_[index], index);
                else hurt_legs(mirrors_[index]);
                break;
            }
            case 10:
                if (Node* node = some(&Node::up))
                    if (Kernel* k = node->logs[rng_.below(mirrors_.size())].kernel.get()) {
                        if (rng_.chance(500)) k->leave();
                        else if (rng_.chance(200) && node->daemon) feed(*node, ev::Rate{mirrors_.front().uuid, rng_.below(1000)});
                        else if (rng_.chance(200) && node->daemon) feed(*node, ev::Foreground{mirrors_.front().uuid, rng_.chance(500)});
                        else if (rng_.chance(500)) k->lose_some(static_cast<uint32_t>(rng_.below(UINT32_MAX)));
                        else {
                            const auto region = static_cast<uint32_t>(rng_.below(UINT32_MAX)), leg = static_cast<uint32_t>(rng_.below(2));
                            trace(fmt::format("leg {} of {} cannot be read everywhere on node {}", leg, k->uuid(), node->id));
                            k->repair(region, leg);
                        }
                    }
                break;
            case 11:
            case 12: lose_site(mirrors_.front()); break;
            case 7:
                if (rng_.chance(250))
                    for (auto& [id, node] : nodes_)
                        if (node->up) crash(*node);
                break;
        }
    }
    bool in_sync(const Mirror& m, NodeId id) {
        for (Region r = 0; r < m.regions; ++r)
            if (std::popcount(nodes_[id]->logs[mirror_index(m.uuid)].kernel->readable(r)) < 2) return false;
        return true;
    }
    // A node goes while it writes, with others at once or in turn, and in the same seconds the leg that was the primary.
    void lose_site(Mirror& m) {
        std::vector<NodeId> up;
        for (auto& [id, node] : nodes_)
            if (node->up && node->logs.front().kernel) up.push_back(id);
        if (now_ >= chaos_until_ || !m.legs_fail || !m.broken.empty() || up.size() < 2) return;
        auto writer = std::find_if(up.begin(), up.end(), [&](NodeId id) { return std::count(m.writer.begin(), m.writer.end(), id) > 0 && in_sync(m, id); });
        if (writer == up.end()) {
            after(1'000, [this, &m] { lose_site(m); });
            return;
        }
        const size_t primary = nodes_[*writer]->logs.front().kernel->found().legs.primary;
        const uint64_t spread = rng_.chance(500) ? 0 : 1'500'000;
        crash(*nodes_[*writer]);
        for (size_t more = rng_.below((up.size() + 1) / 2); more; --more) {
            const NodeId id = up[rng_.below(up.size())];
            after(rng_.below(spread + 1), [this, id, life = nodes_[id]->life] {
                if (now_ < chaos_until_ && nodes_[id]->up && nodes_[id]->life == life) crash(*nodes_[id]);
            });
        }
        m.doomed = primary;
        after(rng_.between(kTokenUs, kTokenUs + 1'500'000), [this, &m] { lose_primary(m); });
    }
    void come_back(Mirror& m) {
        mend_legs(m);
        for (auto& [id, node] : nodes_) {
            if (!node->up) boot(*node);
            else if (Kernel* k = node->logs[mirror_index(m.uuid)].kernel.get()) k->restore_legs();
        }
    }
    void lose_primary(Mirror& m) {
        const auto leg = std::exchange(m.doomed, std::nullopt);
        if (!leg || now_ >= chaos_until_) return;
        break_leg(m, *leg);
    }
    // The node has read what no other leg has. It may go, too.
    void seen_alone(NodeId id, Mirror& m, uint32_t block) {
        if (now_ >= chaos_until_ || !m.doomed || !nodes_[id]->up) return;
        trace(fmt::format("node {} has read what only leg {} has", id, *m.doomed));
        const auto up = static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), [](const auto& n) { return n.second->up; }));
        Kernel* k = nodes_[id]->logs[mirror_index(m.uuid)].kernel.get();
        if ((up - 1) * 2 > nodes_.size() && rng_.chance(600)) crash(*nodes_[id]);
        else if (k && rng_.chance(400)) k->leave();
        after(rng_.below(50'000), [this, &m] { lose_primary(m); });
        after(rng_.between(100'000, 1'500'000), [this, &m, block] {
            if (Node* node = some(&Node::up)) read(*node, mirror_index(m.uuid), block);
        });
    }
    void break_leg(Mirror& m, size_t leg) {
        trace(fmt::format("leg {} of {} breaks for all", leg, m.uuid));
        for (auto& [id, n] : nodes_) m.broken.insert({id, leg});
    }
    void mend_legs(Mirror& m) {
        trace(fmt::format("the legs of {} are well again", m.uuid));
        m.broken.clear();
    }
    void hurt_legs(Mirror& m) {
        if (!m.legs_fail) return;
        const size_t leg = rng_.below(m.legs.size());
        Node* node = some(&Node::up);
        if (m.broken.empty() ? rng_.chance(800) : rng_.chance(300)) {
            if (rng_.chance(500)) {
                break_leg(m, leg);
            } else if (node) {
                trace(fmt::format("leg {} of {} breaks for node {}", leg, m.uuid, node->id));
                m.broken.insert({node->id, leg});
                if (rng_.chance(300)) suspend_later(*node, mirror_index(m.uuid));
            }
            return;
        }
        if (rng_.chance(800)) {
            mend_legs(m);
        }
        Kernel* k = node ? node->logs[mirror_index(m.uuid)].kernel.get() : nullptr;
        if (k && rng_.chance(800)) k->restore_legs();
        else if (k) k->force_leg(static_cast<uint32_t>(leg));
    }
    // With writes on their way that a leg has missed.
    void suspend_later(Node& node, size_t index) {
        after(rng_.below(100'000), [this, id = node.id, life = node.life, index] {
            Node& me = *nodes_[id];
            if (Kernel* k = me.up && me.life == life && now_ < chaos_until_ ? me.logs[index].kernel.get() : nullptr) k->leave();
        });
    }
    void restart_later(Node& node) {
        after(rng_.between(50'000, 3'000'000), [this, id = node.id, life = node.life] {
            Node& me = *nodes_[id];
            if (me.up && me.life == life && !me.daemon) start_daemon(me);
        });
    }
    void heal_everything() {
        trace("everything is healed");
        islands_.clear();
        for (Mirror& m : mirrors_) m.broken.clear();
        for (auto& [id, node] : nodes_)
            for (LogBox& box : node->logs)
                if (auto* map = dynamic_cast<GroupsMap*>(box.kernel.get()))
                    for (uint32_t g = 0; g < 4; ++g) map->heal(g);
        regroup_soon(10'000);
        for (auto& [id, node] : nodes_) {
            if (!node->up) boot(*node);
            else if (!node->daemon) start_daemon(*node);
        }
        after(1'500'000, [this] { quiet_ = true; });
        after(3'000'000, [this] { finish(60); });
    }
    // Every node has come back with the kernel's own target, which cannot be told that the first leg is behind: it is refused, for good.
    bool rightly_refused(size_t i) {
        const Mirror& m = mirrors_[i];
        bool said = false;
        for (auto& [id, node] : nodes_) {
            auto it = node->cluster->logs().find(m.uuid);
            if (it == node->cluster->logs().end() || it->second->phase() == Phase::active || dynamic_cast<ChannelMirror*>(node->logs[i].kernel.get())) return false;
            said = said || it->second->trouble().find("this kernel cannot be told") != std::string::npos;
        }
        return said;
    }
    void finish(int tries) {
        std::string why;
        std::set<size_t> refused;
        for (size_t i = 0; i < mirrors_.size(); ++i)
            if (rightly_refused(i)) refused.insert(i);
        for (auto& [id, node] : nodes_)
            for (size_t i = 0; i < mirrors_.size(); ++i) {
                if (refused.contains(i)) continue;
                auto it = node->cluster->logs().find(mirrors_[i].uuid);
                if (it == node->cluster->logs().end()) why = fmt::format("node {} does not have log {}", id, mirrors_[i].uuid);
                else if (it->second->phase() != Phase::active) why = fmt::format("log {} on node {} is {}", mirrors_[i].uuid, id, phase_name(it->second->phase()));
                else if (it->second->state().legs.degraded()) {
                    why = fmt::format("log {}: a leg is away or joining", mirrors_[i].uuid);
                    node->logs[i].kernel->restore_legs();
                } else if (it->second->state().unsynced_count()) why = fmt::format("log {}: {} region(s) are not in sync", mirrors_[i].uuid, it->second->state().unsynced_count());
                else if (node->logs[i].kernel->asks_for_repair()) why = fmt::format("node {}: regions still wait to be rewritten", id);
                else if (node->logs[i].kernel->in_flight()) why = fmt::format("node {}: {} request(s) still wait", id, node->logs[i].kernel->in_flight());
            }
        for (size_t i = 0; i < mirrors_.size() && why.empty(); ++i)
            if (mirrors_[i].is_array()) {
                why = array_trouble(mirrors_[i], i);
                if (!why.empty() && tries < 50) fail("an array does not come to rest: " + why);
            }
        if (!why.empty()) {
            if (tries == 0) describe_all();
            if (tries == 0) fail("it never came into sync: " + why);
            after(2'000'000, [this, tries] { finish(tries - 1); });
            return;
        }
        for (Mirror& m : mirrors_) {
            if (refused.contains(mirror_index(m.uuid))) continue;
            const Log* first = nullptr;
            for (auto& [id, node] : nodes_) {
                const Log& log = *node->cluster->logs().at(m.uuid);
                if (first && first->state().applied == log.state().applied && first->state().encode() != log.state().encode())
                    fail(fmt::format("I5: the states of {} differ on node {}", m.uuid, id));
                if (!first) first = &log;
            }
            for (uint32_t b = 0; b < m.version.size(); ++b) {
                for (size_t leg = 1; leg < m.legs.size(); ++leg)
                    if (m.legs[leg][b] != m.legs[0][b])
                        fail(fmt::format("{}: leg {} differs from leg 0 at block {} (region {}): {} against {}", m.uuid, leg, b, b / kBlocksPerRegion, m.legs[leg][b],
                                         m.legs[0][b]));
                uint64_t v = m.legs[0][b] >= (1ull << 60) ? 0 : m.legs[0][b];
                if (v < m.acked[b]) fail(fmt::format("{}: block {} holds version {}, but {} was acknowledged", m.uuid, b, v, m.acked[b]));
                mix(v);
            }
        }
        done_ = true;
    }

    std::string describe(const RangeSet& set) { return " " + in_words(set.ranges()); }
    void describe_all() {
        for (auto& [id, node] : nodes_) {
            if (!node->daemon) continue;
            trace(fmt::format("node {} settled {} quorate {} refused {}", id, node->cluster->settled(), node->cluster->quorate(), node->cluster->counters().refused));
            for (const auto& [uuid, log] : node->cluster->logs()) {
                const LogState& s = log->state();
                trace(fmt::format("node {} {} {} held {} epoch {} raw{} torn{} missed{}", id, uuid, phase_name(log->phase()), log->held(), s.epoch, describe(s.raw),
                                  describe(s.torn), describe(s.missed)));
                trace(fmt::format("    legs {} primary {} away {:#x} joining {:#x} epoch {} waits for {} suspects {}", s.legs.count, s.legs.primary, s.legs.away, s.legs.joining,
                                  s.legs.epoch, s.legs.waiting.size(), s.legs.suspects.size()));
                for (const auto& [n, m] : s.members)
                    trace(fmt::format("    member {} status {} lease{} busy{} trouble {}", n, static_cast<int>(m.status), describe(m.lease), describe(m.busy), m.trouble));
                for (const auto& [g, r] : s.reports) trace(fmt::format("    report {}{} waits for {}", g, describe(r.regions), r.waiting.size()));
                trace("    " + log->debug());
            }
        }
    }

    // ---- checks ----------------------------------------------------------------------------------------------------------------------
    void check_often(Node& node) {
        for (const auto& [uuid, log] : node.cluster->logs()) {
            if (log->held() > proto::kMaxHeldRequests) fail("I6: held requests");
            if (log->phase() != Phase::active) continue;
            const LogState& s = log->state();
            if (s.members.size() > proto::kMaxNodes || s.reports.size() > 4096) fail("I6: state");
        }
        if (events_ % 211 == 0) check_crash();
        if (events_ % 101 == 0) check_replicas();
    }
    // I5: whoever has applied the same messages has the same state.
    void check_replicas() {
        for (Mirror& m : mirrors_) {
            std::map<std::pair<uint64_t, uint64_t>, std::pair<NodeId, Bytes>> seen;
            for (auto& [id, node] : nodes_) {
                if (!node->daemon) continue;
                auto it = node->cluster->logs().find(m.uuid);
                if (it == node->cluster->logs().end() || it->second->phase() != Phase::active) continue;
                const LogState& s = it->second->state();
                Bytes bytes = s.encode();
                auto [at, fresh] = seen.try_emplace({s.applied, s.chain}, id, bytes);
                if (!fresh && at->second.second != bytes) fail(fmt::format("I5: the states of {} differ on nodes {} and {}", m.uuid, at->second.first, id));
            }
        }
    }
    // I1: if everybody crashed now, the log disk would name every region whose legs differ or may come to differ.
    void check_crash() {
        for (size_t i = 0; i < mirrors_.size(); ++i) {
            Mirror& m = mirrors_[i];
            if (!m.has_disk) continue;
            RangeSet differ;
            for (Region r = 0; r < m.regions; ++r) {
                bool d = !m.writing[r].empty();
                for (uint32_t b = r * kBlocksPerRegion; b < (r + 1) * kBlocksPerRegion; ++b)
                    for (size_t leg = 1; leg < m.legs.size(); ++leg) d = d || m.legs[leg][b] != m.legs[0][b];
                if (d) differ.add(r);
            }
            if (differ.empty() && !m.legs_fail) continue;
            size_t primary = 0;
            RangeSet known = after_crash(m, &primary);
            for (uint32_t b = 0; b < m.version.size(); ++b) {
                uint64_t v = m.legs[primary][b] >= (1ull << 60) ? 0 : m.legs[primary][b];
                if (v < m.acked[b]) fail(fmt::format("I3: after a crash of everybody block {} of {} would have version {}, but {} was acknowledged", b, m.uuid, v, m.acked[b]));
            }
            differ.remove(known);
            if (!differ.empty()) {
                describe_all();
                trace(fmt::format("known after a crash:{}; differ beyond it:{}", describe(known), describe(differ)));
                fail(fmt::format("I1: after a crash of everybody nothing would tell that region {} of {} may differ", differ.ranges(1).front().start, m.uuid));
            }
        }
    }
    RangeSet after_crash(const Mirror& m, size_t* primary) {
        Config c;
        c.self = 1000;
        c.planted = opt_.planted;
        c.dead_wait_ms = 0;
        Cluster solo(c);
        Bytes image = m.disk;
        for (const auto& [key, write] : disk_inflight_) {  // may have come to the disk in part
            if (key.second != mirror_index(m.uuid)) continue;
            const size_t part = (events_ * 7919 + key.first) % (write.data.size() / proto::kSectorBytes + 1) * proto::kSectorBytes;
            std::copy_n(write.data.begin(), part, image.begin() + static_cast<ptrdiff_t>(write.offset));
        }
        std::deque<Event> todo;
        todo.push_back(ev::Membership{{{1000, 1}}, {}});
        todo.push_back(ev::Ring{1, 1000, {1000}});
        todo.push_back(ev::ScanDone{});
        todo.push_back(ev::Quorum{1, 1000, true});
        proto::ulog::Call call;
        call.luid = 1;
        call.uuid = m.uuid;
        call.version = 3;
        call.seq = 1;
        call.channel = m.channel_permille > 0;  // where the primary may have moved, the kernel's own target is refused
        call.legs = call.channel ? static_cast<uint8_t>(m.legs.size()) : uint8_t{0};
        call.type = Request::ctr;
        std::string text = ctr(m);
        call.data.assign(text.begin(), text.end());
        call.data.push_back(0);
        todo.push_back(ev::Call{call});
        for (int round = 0; round < 300; ++round) {
            if (todo.empty()) todo.push_back(ev::Tick{});
            Event e = std::move(todo.front());
            todo.pop_front();
            solo.step(e, static_cast<TimeMs>(round * 10 + 10));
            for (Output& o : solo.output()) {
                if (auto* s = std::get_if<out::Send>(&o)) todo.push_back(ev::Deliver{1000, s->frame});
                else if (auto* look = std::get_if<out::LookAtLegs>(&o)) todo.push_back(ev::LegDisks{look->uuid, {}, {}});
                else if (auto* answer = std::get_if<out::Answer>(&o)) {
                    if (answer->reply.type != Request::ctr) continue;
                    call.type = Request::resume;
                    call.data.clear();
                    todo.push_back(ev::Call{call});
                } else if (auto* d = std::get_if<out::OpenDisk>(&o)) todo.push_back(ev::DiskOpened{d->uuid, image.size(), "253:9", {}});
                else if (auto* r = std::get_if<out::DiskRead>(&o))
                    todo.push_back(ev::DiskDone{
                        r->uuid, r->op, true, Bytes(image.begin() + static_cast<ptrdiff_t>(r->offset), image.begin() + static_cast<ptrdiff_t>(r->offset + r->length)), {}});
                else if (auto* w = std::get_if<out::DiskWrite>(&o)) {
                    std::copy(w->data.begin(), w->data.end(), image.begin() + static_cast<ptrdiff_t>(w->offset));
                    todo.push_back(ev::DiskDone{w->uuid, w->op, true, {}, {}});
                }
            }
            auto it = solo.logs().find(m.uuid);
            if (it != solo.logs().end() && it->second->phase() == Phase::active) {
                RangeSet out = it->second->state().raw;
                out.add(it->second->state().torn);
                out.add(it->second->state().missed);
                *primary = it->second->state().legs.primary;
                return out;
            }
        }
        fail("a lone node cannot open the log after a crash of everybody");
    }

    Options opt_;
    Rng rng_;
    std::priority_queue<Pending> queue_;
    uint64_t now_ = 0, order_ = 0, events_ = 0, hash_ = 0xcbf29ce484222325ull;
    std::map<NodeId, std::unique_ptr<Node>> nodes_;
    std::vector<Mirror> mirrors_;
    std::map<uint64_t, Component> components_;
    std::map<uint64_t, std::map<NodeId, uint64_t>> lives_;
    std::map<NodeId, uint32_t> islands_;
    std::map<std::pair<NodeId, size_t>, Inflight> disk_inflight_;
    std::deque<LegWrite> leg_writes_;
    uint64_t ring_seq_ = 0, write_ids_ = 0, chaos_until_ = 0, copy_pause_us_ = 0;  // before each region that is copied, at most: as a low rate has it
    uint32_t pids_ = 100, write_permille_ = 500, depth_ = 4;
    bool leg_failure_any_ = false, odd_habits_ = false, hot_ = false, quiet_ = false, done_ = false, disk_errors_ = false, copy_errors_ = false, slow_leg_ = false;
    bool sites_ = false;          // whole sites go, again and again
    bool halves_ = false;         // two nodes, each of which has quorum alone once it has seen the other
    bool slow_copies_ = false;    // one read in fifty takes as long as a path needs to be given up
    bool late_verdicts_ = false;  // on quorum, as a quorum device gives them; a kernel without a write lease would go on until it is told
};

}  // namespace

Result run(const Options& options) { return World(options).run(); }

}  // namespace sim
