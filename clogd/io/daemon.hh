// SPDX-License-Identifier: GPL-2.0-or-later
// The daemon: one event loop that tells the core what happens and carries out what it asks for.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json_fwd.hpp>

#include "clogd/core/cluster.hh"
#include "clogd/io/channel_device.hh"
#include "clogd/io/control.hh"
#include "clogd/io/copier.hh"
#include "clogd/io/group.hh"
#include "clogd/io/leg_paths.hh"
#include "clogd/io/mirror_device.hh"
#include "clogd/io/node_names.hh"
#include "clogd/io/ulog_socket.hh"
#include "clogd/io/worker.hh"

namespace clogd::io {

struct DaemonOptions {
    bool solo = false;
    bool kernel = true;  // false: no netlink and no device-mapper (tests of the group and the control socket)
    std::string control_name;
    std::string run_directory = "/run/clogd";
    Config core;
};

// The mirror of a log, as last seen; read by several workers.
class KnownMirror {
  public:
    MirrorDevice get() {
        std::lock_guard lock(mutex_);
        return mirror_;
    }
    void forget() { keep({}); }
    // nullopt: as find_mirror(), and what is known stays.
    std::optional<MirrorDevice> look_up(const std::string& log_uuid, std::string* error) {
        auto found = find_mirror(log_uuid, error);
        if (found) keep(*found);
        return found;
    }

  private:
    void keep(MirrorDevice mirror) {
        std::lock_guard lock(mutex_);
        mirror_ = std::move(mirror);
    }
    std::mutex mutex_;
    MirrorDevice mirror_;
};

class Daemon {
  public:
    explicit Daemon(DaemonOptions options);
    ~Daemon();
    int run();  // until SIGTERM or SIGINT; the exit status

  private:
    struct Uses {  // of a mirror that is being copied
        std::optional<uint64_t> before;
        bool used = false;
        int row = 0;  // looks that say otherwise
    };
    struct LogIo {                          // what one log uses outside the core
        std::shared_ptr<BlockDevice> disk;  // each job keeps the one that it was given
        std::unique_ptr<Copier> copier;
        KnownMirror mirror;
        std::vector<Paths> paths;                                // to each leg, as last seen
        uint16_t failed = 0, failure_told = 0, away_before = 0;  // bits of legs: what the kernel has said of them, what was said of their paths then
        uint64_t unsynced_before = 0;
        Uses uses;
        std::string suspended;  // device that act(Suspend) has suspended for a while; of device_worker
        std::atomic<uint64_t> resumes = 0;
        double copy_rate = 0;                             // regions per second, all nodes
        Worker disk_worker, device_worker, probe_worker;  // last: what their jobs use must outlive them
    };

    void step(const Event& event);
    void note_resume(const proto::ulog::Call& call);
    void forget_suspended(LogIo& x);
    void resumed(LogIo& x);  // on its device_worker
    void act(out::Send& o);
    void act(out::Answer& o);
    void act(out::OpenDisk& o);
    void act(out::Close& o);
    void act(out::DiskRead& o);
    void act(out::DiskWrite& o);
    void act(out::FlushLegs& o);
    void act(out::FindLegs& o);
    void act(out::LookAtLegs& o);
    void act(out::KeepLegs& o);
    void act(out::Copy& o);
    void act(out::CopyFirst& o);
    void act(out::CopyUntil& o);
    void act(out::CopyRate& o);
    void act(out::CopyCancel& o);
    void act(out::Drain& o);
    void act(out::Suspend& o);
    void act(out::Resume& o);
    void act(out::Scan& o);
    void act(out::Rejoin&) { group_->rejoin(); }
    void act(out::Tell& o);
    void act(out::Probe& o);
    void act(out::Note& o);

    LogIo& io(const std::string& uuid);
    void later(Event event);  // from any thread
    void first_scan();
    void end_scan();
    void from_channel(const Event& e);
    void look_at_uses();
    void look_at_paths();
    void paths_seen(const std::string& uuid, std::vector<Paths> paths);
    void tick();
    void open_channel();
    std::string answer(std::string_view request);
    std::string status();
    std::string map_of(const std::string& uuid);
    std::string dump();
    std::string fence(const nlohmann::json& node);
    void look_at_names();
    void names_read(const std::optional<NodeNames>& names);
    void watch_harmless();
    TimeMs now() const;

    DaemonOptions options_;
    boost::asio::io_context loop_;
    boost::asio::steady_timer ticker_;
    boost::asio::signal_set signals_, harmless_;
    Cluster cluster_;
    std::unique_ptr<Group> group_;
    std::unique_ptr<UlogSocket> ulog_;
    std::unique_ptr<ChannelDevice> channel_;
    std::string channel_trouble_, scan_trouble_;
    NodeNames names_;
    std::optional<std::set<NodeId>> named_for_;  // the machines when they were read
    bool scanned_ = false, tables_read_ = false;
    std::deque<Event> early_;  // of the channel, before that
    std::unique_ptr<Control> control_;
    std::map<std::string, std::shared_ptr<LogIo>> logs_;
    std::unique_ptr<DeviceMapperEvents> device_mapper_;
    bool paths_stale_ = true, paths_asked_ = false;
    std::map<std::string, std::vector<LegDisk>> leg_disks_;  // as the core looked at them; of the disks' worker
    Worker scanner_, reaper_, paths_worker_, names_worker_, disks_worker_;
    bool stepping_ = false;
    std::deque<Event> waiting_;  // told while a step was under way
    uint64_t ticks_ = 0;
    TimeMs started_ = 0;
    std::string group_trouble_;
};

}  // namespace clogd::io
