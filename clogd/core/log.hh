// SPDX-License-Identifier: GPL-2.0-or-later
// One log on one node: the replicated state, this node's marks, and the answers to its kernel.
//
// I1  A mark is answered only when its regions are in the slot on disk (or held by a second member, for a core log).
// I2  A region is copied only under a lease, and a lease is granted only where no kernel can be writing: a region that is not
//     in sync is refused to the kernel (its IN_SYNC or MARK waits), and a kernel that was writing there before is `busy`.
// I4  Without quorum nothing is answered and the mirror is suspended; a lost node's regions wait until it cannot write.
// I3  Which legs are in use is agreed, epoch by epoch; a write that a leg missed ends when nobody uses that leg any more.
// I5  The state comes whole from an active member, or is formed from the log disk by one node while the others wait.
//
// log.cc: attach, formation, transfer, membership. log_kernel.cc: the kernel's requests. log_copy.cc: leases and busy regions.
// log_channel.cc: a kernel with dm-log-cluster. log_legs.cc: which legs are in use. log_repair.cc: what one of them cannot
// read. log_groups.cc: a log of groups of paths.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_set>

#include "clogd/core/event.hh"
#include "clogd/core/log_state.hh"
#include "clogd/core/mark_cache.hh"
#include "clogd/core/slot.hh"

namespace clogd {

enum class Phase : uint8_t {
    detached,   // constructed, not in use
    looking,    // at the disks below the mirror: are they those that were there?
    opening,    // the log device is being opened
    waiting,    // has asked to attach, or will when the view is settled
    forming,    // alone with the log disk: reads it and writes the first state
    receiving,  // the state is arriving
    writing,    // has the state, writes its own slot
    ready,      // has said so, waits for the message to come back
    active,
    frozen,     // without quorum
    detaching,  // cleaning its slot, then says Detach
    leaving,    // has said Detach
    folding,    // was the last: writes the MiRr form
};
const char* phase_name(Phase phase);

// What a log needs from the cluster around it.
struct LogHost {
    virtual ~LogHost() = default;
    virtual void emit(Output output) = 0;
    virtual void send(const std::string& uuid, proto::wire::Body body) = 0;
    virtual void forget_messages(const std::string& uuid) = 0;  // those not yet handed to the group
    virtual TimeMs now() const = 0;
    virtual const Config& config() const = 0;
    virtual bool quorate() const = 0;
    virtual bool settled() const = 0;                  // who is there, and who was lost, is decided
    virtual bool node_in_view(NodeId node) const = 0;  // its daemon is there
    virtual bool node_in_ring(NodeId node) const = 0;  // its machine is there
    virtual bool node_lists_log(NodeId node, const std::string& uuid) const = 0;
    virtual uint64_t node_boot(NodeId node) const = 0;  // of a node in view; 0: not known
    // How long the members wait for a lost node to stop. Each may have been told another time: who waits takes the longest, whoever is
    // given a lease the shortest (I4).
    virtual TimeMs longest_wait() const = 0;
    virtual TimeMs shortest_wait() const = 0;
    // Whoever is out of sight since then can write no more. Time tells that where the others have no quorum; where half of the votes
    // are enough (halves), only a report that the node is fenced does.
    virtual bool has_stopped(TimeMs since) const = 0;
    virtual bool halves() const = 0;
    virtual bool fenced(NodeId node) const = 0;  // out of sight, and reported as fenced since
    virtual const std::set<NodeId>& nodelist() const = 0;
    virtual TimeMs last_loss() const = 0;  // when a node was last lost from sight
    virtual uint16_t version() const = 0;  // of messages: the oldest that a daemon in the view has
};

struct Instance {  // one table of the kernel's that uses the log
    proto::wire::Params params;
    std::string device;
    bool live = false;
    bool used = false;                  // it was in use: its kernel's region hash knows something
    TimeMs suspending_since = 0;        // PRESUSPEND came then, and neither POSTSUSPEND nor RESUME since; 0: none did
    uint64_t write_asked = UINT64_MAX;  // region of a write that was let pass IS_REMOTE_RECOVERING, and is not marked yet
    bool gave_back = false;             // its kernel takes its log for failed, and that never ends
};

// What the other members' Hellos and the membership say at the start of a view.
struct Settle {
    std::set<NodeId> processes;
    std::set<NodeId> machines;
    std::map<NodeId, proto::wire::LogStanding> standings;  // of this log
    std::map<NodeId, uint64_t> boots;                      // of the processes' machines; 0: not known
    uint64_t applied = 0, chain = 0;                       // the authority's; nobody active: 0
    std::set<NodeId> authority;
    NodeId alone = 0;    // forms the state, or writes the last one
    uint8_t losses = 0;  // memberships since the view before this one that lost somebody
};

struct LogCounters {
    uint64_t requests = 0, marks = 0, warm_marks = 0, clears = 0, log_writes = 0, messages_sent = 0, held = 0;
    uint64_t regions_copied = 0, leases = 0, drains = 0;
    TimeMs dead_known_ms = 0;  // from the last loss of a node until what it had marked was known
};

class Log {
  public:
    Log(std::string uuid, LogHost& host);

    // --- kernel (log_kernel.cc)
    void call(const proto::ulog::Call& call);
    static std::optional<Instance> parse_ctr(std::string_view text, std::string* why);
    void found_live(const Instance& instance, const proto::AgreedLegs& legs);
    void adopt(const proto::ulog::Call& resume, const Instance& instance);
    bool knows(uint64_t luid) const { return instances_.contains(luid) || (phase_ != Phase::detached && live_luid_ == 0); }
    bool forgettable() const { return instances_.empty() && phase_ == Phase::detached && !pending_ctr_; }

    // --- cluster
    void apply(NodeId sender, const proto::wire::Body& body, uint32_t frame_crc);
    void settle(const Settle& view);
    void unsettle();  // the view broke; nothing is decided until the next is settled
    void freeze(const char* why);
    void attach_delivered(NodeId node, const proto::wire::Attach& attach);  // an active member (or this node) serves it
    void become_former();
    bool replica() const;  // holds the state and applies messages
    proto::wire::LogStanding standing() const;
    void refused(const std::string& reason);

    // --- events
    void disk_opened(const ev::DiskOpened& e);
    void disk_done(const ev::DiskDone& e);
    void legs_flushed(bool ok);
    void legs(const ev::Legs& e);
    void leg_disks(const ev::LegDisks& e);
    void copied(const ev::Copied& e);
    void copy_idle();
    void drained(const ev::Drained& e);
    void regions(const ev::Regions& e);
    void kernel_legs(const ev::KernelLegs& e);
    void probed(const ev::Probed& e);
    void repair(const ev::Repair& e);
    void rate(const ev::Rate& e) { rate_wish_ = e.kib_per_s; }
    void foreground(const ev::Foreground& e) { used_ = e.on; }
    void groups(const ev::Groups& e);
    void switched(const ev::Switched& e);
    void tick();
    void pump();  // after every event: writes that are due, requests that can be answered

    // --- looking in (status, tests)
    Phase phase() const { return phase_; }
    const LogState& state() const { return state_; }
    const std::string& uuid() const { return uuid_; }
    const MarkCache& marks() const { return marks_; }
    const LogCounters& counters() const { return counters_; }
    LogCounters& counters() { return counters_; }
    const std::set<NodeId>& users() const { return users_; }  // copying gives way to them
    const std::string& trouble() const { return trouble_; }
    const std::string& device() const { return device_; }
    size_t held() const { return held_.size(); }
    TimeMs first_held() const { return held_.empty() ? 0 : held_.front().since; }
    bool log_failed() const { return log_failed_; }
    bool by_channel() const { return channel_.on; }  // the kernel has dm-log-cluster
    std::map<NodeId, TimeMs> waits_for() const;      // nodes out of sight that may still write, and since when
    std::string debug() const;                       // one line of local state, for dumps

  private:
    struct Held {  // a request of the kernel's that waits
        uint64_t luid = 0;
        proto::ulog::Call call;
        TimeMs since = 0;
        std::vector<Region> marks;  // of a MARK, or of a FLUSH that carries them
        bool committed = false;     // they were handed to the slot and wait for the disk
    };
    enum class Op : uint8_t {
        none,
        read_own_header,
        read_own_slots,
        read_header,
        read_slots,
        keep_legs,
        format,
        read_slot,
        slot_write,
        global_header,
        read_dead,
        fold_bits,
        fold_header
    };
    enum class Verdict : uint8_t { yes, no, wait };

    // log.cc
    void begin();
    void refuse_table(const std::string& why);
    void refuse_replaced(const char* remedy);
    void hold_kernel(bool for_good = false);
    void remember_apart();
    void tell_slot();
    void tell_header();
    void attach();
    void send_attach();
    void restart_attach(const char* why);
    bool in_the_way();
    void write_disk(Op op, uint64_t offset, Bytes data);
    void read_disk(Op op, uint64_t offset, uint32_t length);
    void own_slot_read(const ev::DiskDone& e, bool header);
    void snapshot_for(NodeId node, uint64_t transfer);
    void serve_transfers();
    void chunk(const proto::wire::Chunk& c);
    void state_arrived();
    void apply_attach(NodeId node, const proto::wire::Attach& attach);
    void apply_settle(const Settle& view);
    void apply_body(NodeId sender, const proto::wire::Body& body);
    void apply_dead(const proto::wire::DeadMarks& d);
    void lose(NodeId node, MemberState& m, Member how, bool no_grace);
    void remove_member(NodeId node);
    void membership_changed();
    void read_lost();
    void finish_detach();
    void fold();
    bool kernel_form_lies() const;
    uint32_t slots() const { return state_.slots ? state_.slots : layout_.slots; }  // that the log disk has
    void close_slot();
    void leave_done();
    void note(out::Level level, std::string text);
    void disk_failed(const std::string& error);
    void refuse_resumes(int error);
    MemberState* self();
    bool sole_member() const;
    void forget_local();

    // log_form.cc
    void header_read(const ev::DiskDone& e);
    void form_from_disk(const Bytes& slots);
    void form_from_memory();
    void expect_frozen(LogState& s);
    void prepare_slots();
    void start_slot();
    void slot_read(const ev::DiskDone& e);
    bool await_others(const std::set<NodeId>& writers);
    bool others_stopped();
    bool slots_fit(const proto::logdisk::GlobalHeader& h) const;
    Bytes global_header(uint32_t slots) const;

    // log_kernel.cc
    void log_device_probed(const ev::DiskOpened& e);
    static std::string log_device_fault(const Instance& in, const ev::DiskOpened& e);
    void ctr(const proto::ulog::Call& call);
    void resume(const proto::ulog::Call& call);
    void postsuspend(const proto::ulog::Call& call);
    bool gives_back(const Instance& in) const;
    void take_up(uint64_t luid);
    void leave();
    void drained_now();
    bool try_answer(Held& held);
    Verdict in_sync(Region r);
    bool try_mark(Held& held);
    void clear_region(Region r);
    void answer(const proto::ulog::Call& call, int error, Bytes data = {});
    void answer_u64(const proto::ulog::Call& call, uint64_t a);
    void answer_u64(const proto::ulog::Call& call, uint64_t a, uint64_t b);
    void hold(Held held);
    void answer_held();
    std::string status_text() const;
    bool mark_durable(Region r) const;
    void sweep();
    void send_marks();
    // The live table has not been answered as active yet, so the kernel's in_sync_hint is 0 and it puts every write off.
    bool never_used() const { return !kept_ && phase_ != Phase::active && phase_ != Phase::frozen; }

    // log_channel.cc
    void channel_opened(bool on);
    void serve_channel();
    void tell_state();
    void tell(uint16_t type, const RangeSet& set);
    void take_held();
    void answer_channel_marks();
    bool may_pass(Region r);
    bool only_passed_are_left() const;
    void tell_unsynced();
    void record_lost();
    bool lease_over(const MemberState& m) const;
    RangeSet unheard() const;
    TimeMs write_lease_ms() const;

    // log_legs.cc
    bool legs_agreed() const;
    bool leg_can_go(uint8_t leg, bool unseen = false) const;
    bool primary_can_go(bool unseen = false) const;
    void witness_goes();
    bool pause_due() const;
    void vote();
    uint16_t legs_to_flush() const;
    proto::AgreedLegs agreed_legs() const;
    void raise_leg_epoch();
    void leg_away(uint8_t leg);
    void leg_stays(uint8_t leg, size_t failed, size_t voters);
    void legs_joined();
    void decide_suspects();
    void advance_joining();
    void sync_alone();
    void advance_legs();
    void apply_legs(NodeId sender, MemberState& from, const proto::wire::LegSuspect& s);
    void apply_legs(NodeId sender, MemberState& from, const proto::wire::LegVote& v);
    void apply_legs(NodeId sender, MemberState& from, const proto::wire::LegAck& a);
    void apply_legs(NodeId sender, const proto::wire::LegReturn& r);
    void apply_legs(NodeId sender, const proto::wire::Missed& m);
    void serve_legs();

    // log_repair.cc
    std::optional<uint8_t> primary_instead_of(uint16_t bad) const;
    void apply_repair(const MemberState& from, const proto::wire::Repair& r);
    void serve_repairs();
    void tell_legs();
    void drop_all_marks();
    void end_given_marks();
    void end_mark(Region r);
    void end_everything_marked();
    RangeSet all_marks() const;
    void send_missed(RangeSet regions);
    std::string form_legs(LogState& s, const proto::AgreedLegs& found);

    // log_groups.cc
    void apply_groups(MemberState& from, const proto::wire::GroupVoice& voice);
    void apply_groups(NodeId sender, const proto::wire::GroupSwitched& s);
    void advance_groups();
    void serve_groups();
    void speak_again();

    // log_copy.cc
    void unsync(const RangeSet& set, bool raw);
    void apply_lease(NodeId sender, const proto::wire::Lease& lease);
    void wanted(Region r);
    void plan_copies();
    void serve_rate();
    void begin_copy(const RangeSet& granted);
    void copy_until(TimeMs until);
    void renew_copies();
    void cancel_copies();
    void set_busy(const RangeSet& add, const RangeSet& drop);
    RangeSet my_kernel_regions() const;
    bool pass_mode() const;
    void drain_if_stuck();
    void note_progress();
    uint32_t lease_regions() const;

    std::string uuid_;
    LogHost& host_;
    Phase phase_ = Phase::detached;
    LogState state_;
    bool has_state_ = false;
    std::map<uint64_t, Instance> instances_;
    uint64_t live_luid_ = 0;
    proto::wire::Params params_;
    std::string device_, trouble_;
    bool former_ = false;
    Settle last_view_;
    RangeSet uncertain_;                            // after a restart of the daemon: what its predecessor had marked
    bool everything_marked_ = false;                // the predecessor's marks are not known: the slot says "everything"
    bool own_read_ = true;                          // false: the predecessor's marks are yet to be read
    std::optional<proto::ulog::Call> postsuspend_;  // waits for the detach
    std::vector<Held> resumes_;
    bool inherited_ = false;  // the table was in use before this daemon began, and may write what it takes for not in sync to one leg
    bool kept_ = false;       // the kernel has gone on writing under an earlier standing

    // disk
    bool disk_open_ = false;
    uint64_t disk_bytes_ = 0;
    std::string disk_number_;
    proto::logdisk::Layout layout_;
    std::unique_ptr<Slot> slot_;
    uint64_t next_op_ = 1;
    std::map<uint64_t, Op> ops_;
    bool log_failed_ = false;
    TimeMs retry_at_ = 0;
    bool format_ = false;         // formation rewrites the whole log disk
    bool legs_only_ = false;      // ... and nothing of what was there counts but what it says of the legs
    std::set<NodeId> awaited_;    // formation waits until these are in sight, or reported as fenced
    bool sync_unsynced_ = false;  // raw/torn shrank since the slot was told
    TimeMs synced_unsynced_at_ = 0;
    NodeId reading_dead_ = 0;
    bool reading_final_ = false;  // it could write no more when the reading began
    std::map<NodeId, TimeMs> lost_at_;
    Bytes fold_page0_;
    Bytes header_page_;

    // transfer
    struct Transfer {
        uint64_t id = 0;
        Bytes bytes;
        uint32_t next = 0, count = 0;
        uint32_t sent = 0;  // one more than the last chunk sent by this node in this view
    };
    std::map<NodeId, Transfer> transfers_;
    std::optional<std::pair<NodeId, uint64_t>> snapshot_due_;  // node, its transfer
    uint64_t my_transfer_ = 0;
    uint32_t attach_tries_ = 0;
    uint32_t chunks_have_ = 0;
    Bytes incoming_;
    struct Backlog {
        NodeId sender = 0;
        std::optional<proto::wire::Body> body;
        uint32_t crc = 0;
        Settle view;
    };
    std::deque<Backlog> backlog_;
    uint64_t digest_point_ = 0, digest_ = 0;
    TimeMs next_digest_ = 0;

    // kernel
    struct PendingCtr {  // waits until its log device was looked at
        proto::ulog::Call call;
        Instance instance;
        Bytes data;
    };
    std::optional<PendingCtr> pending_ctr_;
    std::deque<Held> held_;
    MarkCache marks_;
    RangeSet core_pending_, core_sent_, core_held_, core_drop_;  // marks of a core log: asked, in a message, confirmed, to be dropped
    uint64_t core_seq_ = 0, core_acked_ = 0;
    bool flushing_legs_ = false;
    TimeMs next_sweep_ = 0;
    std::vector<MarkCache::Idle> sweep_;  // marks that may end when the legs are flushed
    bool suspended_ = false;              // by this daemon, for want of quorum
    bool draining_ = false;
    TimeMs drain_after_ = 0, drain_started_ = 0;

    struct AskedRepair {
        uint16_t bad = 0;    // legs
        uint32_t epoch = 0;  // in which the others were asked
        TimeMs asked_at = 0;
    };
    struct Channel {  // of a kernel that is told
        bool on = false;
        RangeSet asked;      // marks that are not decided yet
        RangeSet committed;  // marks that wait for the disk, or for a second member
        RangeSet wants;      // writes wait for these copies
        RangeSet lost;       // a leg missed a write there, and it is not recorded yet
        RangeSet lost_told;  // of these: the others were told
        RangeSet held;       // after a restart: what is in use
        std::map<Region, AskedRepair> repairs;
        bool held_complete = false;
        bool told_all = false;
        uint64_t told_applied = 0;
        RangeSet told_unsynced, told_close;
        uint32_t told_state = UINT32_MAX;
        std::optional<std::pair<uint32_t, uint32_t>> told_legs;  // value and epoch of LEGS
        std::optional<uint32_t> follows;                         // epoch
        std::optional<uint32_t> told_pause;                      // its serial; 0: reads go on
        std::optional<bool> saw;                                 // the answer to it
        TimeMs renew_at = 0, lease_until = 0;
    };
    Channel channel_;

    struct MyLegs {                             // what this node has to say of the legs; bits
        uint16_t failed = 0;                    // a write failed here
        uint16_t alone = 0;                     // of these: the others do not give them up
        uint16_t forced = 0, back = 0;          // the administrator gives them up, or says that they are well
        std::map<uint8_t, TimeMs> probes;       // asked for by a vote, and since when
        std::map<uint8_t, uint64_t> answering;  // rounds that this node has answered, or asks its leg about
        std::map<uint8_t, uint8_t> verdicts;    // to be said
        std::array<TimeMs, proto::kMaxLegs> ask_at{};
        void well(uint16_t legs) {  // or of no interest any more
            failed &= static_cast<uint16_t>(~legs);
            alone &= static_cast<uint16_t>(~legs);
        }
        TimeMs retry_at = 0, return_at = 0, speak_at = 0, count_at = 0;
        std::optional<uint32_t> confirmed, acked;  // epochs
    };
    MyLegs my_legs_;
    uint32_t pauses_ = 0;
    uint8_t my_leg_count_ = 0;
    proto::AgreedLegs kernel_legs_;  // what the kernel kept, when the daemon was started
    TimeMs leg_epoch_at_ = 0;
    RangeSet given_;                 // marks that stand in `missed`
    uint32_t missed_under_way_ = 0;  // Missed messages of ours that have not come back
    bool missed_asked_ = false;      // the last of them is for all marks
    uint16_t closing_slot_ = 0;
    bool closing_ = false;  // the last page of a log that keeps the cluster's format is being written

    // a log of groups
    std::optional<proto::wire::GroupVoice> my_voice_, voice_sent_;
    std::optional<ev::Switched> my_switch_;                    // the last that the kernel said
    std::optional<uint32_t> switch_sent_;                      // the turn
    std::optional<std::pair<uint32_t, uint32_t>> told_group_;  // value and turn of GROUP
    TimeMs granted_at_ = 0;

    // copying
    std::set<size_t> replaced_;         // places of the table with other disks than were there
    std::vector<uint64_t> leg_prints_;  // of the table's disks
    std::string replaced_text_;
    uint32_t legs_ = 0;
    bool handle_errors_ = false;
    bool legs_asked_ = false;
    uint32_t lease_wish_ = 0;   // regions that were asked for last
    bool lease_asked_ = false;  // a Lease message of ours with a wish is under way
    TimeMs lease_retry_ = 0;
    TimeMs lease_asked_at_ = 0;  // when that message was made
    TimeMs copy_until_ = 0, copy_renew_at_ = 0;
    RangeSet copying_;           // handed to io
    RangeSet apart_;             // not in sync as this node alone knows, which went on in a half of its own
    RangeSet asked_want_;        // already told to the others
    RangeSet wanted_;            // somebody's kernel waits for these
    proto::wire::Lease result_;  // not yet told
    bool copy_busy_ = false;     // io may still be copying (after a cancel)
    Region cursor_ = 0;
    std::optional<uint64_t> rate_wish_;                         // KiB/s for all, not yet said
    std::optional<std::pair<uint64_t, uint32_t>> copier_told_;  // what this node's copier may, as it knows it
    std::optional<bool> used_told_;                             // under way
    bool used_ = false;                                         // this node's mirror, by somebody
    std::set<NodeId> users_;                                    // nodes of which that was said
    RangeSet my_busy_, tainted_, pass_;
    RangeSet busy_asked_;
    TimeMs trouble_until_ = 0;
    TimeMs trouble_backoff_ = 5000;
    bool trouble_sticky_ = false;  // until the table is replaced
    LogCounters counters_;
};

}  // namespace clogd
