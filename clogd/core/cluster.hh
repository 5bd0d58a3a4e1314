// SPDX-License-Identifier: GPL-2.0-or-later
// All logs of one daemon over one ordered group: views, quorum, and who may serve whom.
//
// Pure: step() is told one event, output() returns what is to be done. No I/O, clock, thread or randomness.
//
// A *view* is one membership of the group in one totem ring. It is *settled* when every member has said Hello in it, and a member
// says Hello only once it knows that the ring is quorate (I4). A message counts only if it is delivered in the settled view in
// which it was sent, so a part of a split cluster never changes a log; what was refused is sent again in the next view. Hello
// tells how far the sender's logs have come: where they differ, the larger group goes on and the rest fetches the state (I5).
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>

#include "clogd/core/log.hh"

namespace clogd {

class Cluster final : private LogHost {
  public:
    explicit Cluster(Config config);
    ~Cluster() override;

    void step(const Event& event, TimeMs now);
    std::vector<Output> output();

    struct Counters {
        uint64_t sent = 0, delivered = 0, refused = 0, malformed = 0;
    };
    const std::map<std::string, std::unique_ptr<Log>>& logs() const { return logs_; }
    const Config& config() const override { return config_; }
    Config& config_mutable() { return config_; }
    uint16_t version() const override { return version_; }
    bool settled() const override { return settled_; }
    bool quorate() const override { return quorate_ && quorum_ring_ == ring_; }
    bool connected() const { return connected_; }
    std::vector<NodeId> processes() const;
    const std::set<NodeId>& machines() const { return machines_; }
    const Counters& counters() const { return counters_; }
    uint64_t views() const { return views_; }
    bool halves() const override { return (halves_ || halves_said_) && config_.planted != Planted::halves_by_time; }
    const std::map<std::string, std::string>& unserved() const { return unserved_; }

  private:
    struct RingId {
        uint64_t seq = 0;
        NodeId rep = 0;
        bool operator==(const RingId&) const = default;
    };
    struct Entry {  // what the group knows of one log
        std::map<NodeId, proto::wire::LogStanding> standings;
        std::vector<std::pair<NodeId, proto::wire::Attach>> queue;  // attached while nobody was active
        NodeId alone = 0;                                           // forms or folds
        std::set<NodeId> invited;                                   // joining, and somebody active has their Attach: their Ready is of this state
    };
    struct Greeting {
        std::vector<proto::wire::LogStanding> logs;
        uint8_t parts_left = 0;
        uint16_t version = 0;
        uint64_t boot = 0;
        uint8_t losses = 0;
        TimeMs dead_wait_ms = 0;  // 0: not known
        bool halves = false;
    };

    // LogHost
    void emit(Output o) override { output_.push_back(std::move(o)); }
    void send(const std::string& uuid, proto::wire::Body body) override;
    void forget_messages(const std::string& uuid) override;
    TimeMs now() const override { return now_; }
    bool node_in_view(NodeId node) const override { return members_.contains(node) && machines_.contains(node); }
    bool node_in_ring(NodeId node) const override { return machines_.contains(node); }
    bool node_lists_log(NodeId node, const std::string& uuid) const override;
    uint64_t node_boot(NodeId node) const override;
    TimeMs last_loss() const override { return last_loss_; }
    TimeMs longest_wait() const override { return std::max(longest_wait_, longest_wait_before_); }
    TimeMs shortest_wait() const override { return shortest_wait_; }
    bool has_stopped(TimeMs since) const override { return !halves() && now_ >= since + longest_wait(); }
    bool fenced(NodeId node) const override { return fenced_.contains(node); }
    const std::set<NodeId>& nodelist() const override;

    void on(const ev::Call& e);
    void on(const ev::Deliver& e);
    void on(const ev::Membership& e);
    void on(const ev::Ring& e);
    void on(const ev::Quorum& e);
    void on(const ev::Disconnected& e);
    void on(const ev::FoundLive& e);
    void on(const ev::ScanDone& e);
    void on(const ev::FencedNode& e);
    void on(const ev::Nodelist& e);
    void on(const ev::Tick& e);
    template <class T>
    void to_log(const T& e, void (Log::*handler)(const T&)) {
        if (auto it = logs_.find(e.uuid); it != logs_.end()) (it->second.get()->*handler)(e);
    }

    void hold_on(const proto::ulog::Call& call);
    void view_broke();
    void say_hello();
    void hello(NodeId sender, const proto::wire::Hello& h);
    void try_settle();
    void settle();
    void compare_waits();
    void forget_fenced();
    void judged_or_not();
    void transmit();
    void deliver_log(NodeId sender, const proto::wire::Message& m, uint32_t crc);
    void choose_former(const std::string& uuid, Entry& e);
    void release_queue(const std::string& uuid, Entry& e, uint32_t crc);
    bool anyone_active(const Entry& e) const;
    Log* find(const std::string& uuid);
    Log& find_or_create(const std::string& uuid);
    void note(out::Level level, std::string text) { emit(out::Note{level, {}, std::move(text)}); }

    Config config_;
    TimeMs now_ = 0;
    bool connected_ = false, scanned_ = false;
    std::map<NodeId, uint32_t> members_;  // node -> pid
    std::set<NodeId> machines_;
    RingId ring_, quorum_ring_;
    bool quorate_ = false;
    bool halves_ = false, halves_said_ = false;  // by this node's Corosync; by another member's
    std::optional<std::set<NodeId>> nodelist_;
    std::set<NodeId> fenced_;  // of the nodes out of sight: reported as such
    proto::wire::ViewId view_;
    bool settled_ = false, greeted_ = false;
    bool overtaken_ = false;     // messages of this view were delivered that this node did not take part in
    TimeMs unjudged_since_ = 0;  // the ring has no verdict of quorum since; 0: it has one
    std::map<NodeId, Greeting> greetings_;
    TimeMs last_loss_ = 0, unsettled_since_ = 0;
    // Of the settled view, and of the one before: who is lost now was in that.
    TimeMs longest_wait_ = 0, longest_wait_before_ = 0, shortest_wait_ = 0;
    unsigned losses_ = 0, machine_losses_ = 0;  // memberships, and rings, since a view was settled that lost somebody
    uint16_t version_ = proto::wire::kVersion;
    uint64_t views_ = 0;
    std::map<std::string, Entry> directory_;
    std::map<std::string, std::unique_ptr<Log>> logs_;
    std::deque<ev::Call> early_;                        // before the running mirrors were listed
    std::map<std::string, std::string> unserved_;       // mirrors that run and cannot be served, and why
    std::map<std::string, proto::ulog::Call> orphans_;  // RESUMEs of tables that are not known
    std::deque<proto::wire::Message> queue_;            // to be sent in the next settled view
    size_t refused_in_queue_ = 0;                       // messages at its head that were sent before and refused
    std::deque<proto::wire::Message> inflight_;         // sent, not yet delivered to us
    std::vector<Output> output_;
    Counters counters_;
};

}  // namespace clogd
