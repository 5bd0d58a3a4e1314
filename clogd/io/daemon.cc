// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/daemon.hh"

#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "clogd/io/clock.hh"
#include "clogd/io/leg_disks.hh"
#include "clogd/io/logging.hh"
#include "proto/control.hh"

namespace clogd::io {

using nlohmann::json;
using out::Level;

namespace {
constexpr auto kTick = std::chrono::milliseconds(50);
}

Daemon::Daemon(DaemonOptions options) : options_(std::move(options)), ticker_(loop_), signals_(loop_, SIGTERM, SIGINT), harmless_(loop_, SIGHUP, SIGUSR1), cluster_(options_.core) {
    started_ = now();
    if (::mkdir(options_.run_directory.c_str(), 0750) < 0 && errno != EEXIST)
        log(Level::warning,
            fmt::format("{} cannot be created ({}): a mirror that is suspended when this daemon dies must be resumed by hand", options_.run_directory, std::strerror(errno)));
    control_ = std::make_unique<Control>(loop_, options_.control_name, [this](std::string_view text) { return answer(text); });
    if (options_.kernel)
        ulog_ = std::make_unique<UlogSocket>(loop_, [this](const proto::ulog::Call& call) {
            note_resume(call);
            step(ev::Call{call});
        });
    GroupCallbacks callbacks{[this](const Event& e) { step(e); }, [this](NodeId node) { cluster_.config_mutable().self = node; }};
    first_scan();
    group_ = options_.solo ? solo_group(loop_, std::move(callbacks)) : corosync_group(loop_, std::move(callbacks));
}

Daemon::~Daemon() = default;

TimeMs Daemon::now() const { return boot_clock_ms(); }

int Daemon::run() {
    signals_.async_wait([this](const boost::system::error_code& error, int) {
        if (error) return;
        size_t active = 0;
        for (const auto& [uuid, l] : cluster_.logs()) active += l->phase() != Phase::detached;
        if (active)
            log(Level::warning,
                fmt::format("stopping while {} log(s) are in use: their mirrors go on where regions are warm, everything else waits until clogd runs again", active));
        else log(Level::info, "stopping");
        sd_notify(0, "STOPPING=1");
        loop_.stop();
    });
    watch_harmless();
    tick();
    sd_notify(0, "READY=1");
    log(Level::info, fmt::format("clogd {} is running{}", CLOGD_VERSION, options_.solo ? " alone, without Corosync" : ""));
    loop_.run();
    return 0;
}

void Daemon::watch_harmless() {
    harmless_.async_wait([this](const boost::system::error_code& error, int number) {
        if (error) return;
        if (number == SIGHUP) log(Level::info, "SIGHUP: there is no configuration file to read again");
        else {
            const std::string path = options_.run_directory + "/flight-recorder";
            const ssize_t bytes = write_flight_recorder(path);
            log(Level::info, bytes > 0 ? fmt::format("SIGUSR1: the flight recorder is in {}", path)
                                       : fmt::format("SIGUSR1: the flight recorder cannot be written to {}: {}", path, std::strerror(static_cast<int>(-bytes))));
        }
        watch_harmless();
    });
}

// Asked anew when nodes come or go, for then the nodelist may have changed.
void Daemon::look_at_names() {
    if (options_.solo || !cluster_.connected() || named_for_ == cluster_.machines()) return;
    named_for_ = cluster_.machines();
    names_worker_.post([this] { boost::asio::post(loop_, [this, names = read_node_names()] { names_read(names); }); });
}

void Daemon::names_read(const std::optional<NodeNames>& names) {
    if (!names) {
        named_for_.reset();  // again
        return;
    }
    names_ = *names;
    ev::Nodelist list;
    for (const auto& [node, called] : names_) list.nodes.push_back(node);
    step(list);
}

void Daemon::tick() {
    if (++ticks_ % 4 == 0) {
        look_at_paths();
        look_at_uses();
    }
    if (ticks_ % 20 == 0) {
        sd_notify(0, "WATCHDOG=1");
        for (const auto& [uuid, l] : cluster_.logs()) {
            LogIo& x = io(uuid);
            const uint16_t away = l->state().legs.away;
            x.failure_told &= static_cast<uint16_t>(~x.away_before | away);  // a leg that has returned may fail anew
            x.away_before = away;
            uint64_t unsynced = l->state().unsynced_count();
            double rate = x.unsynced_before > unsynced ? static_cast<double>(x.unsynced_before - unsynced) : 0;
            x.copy_rate = unsynced == 0 ? 0 : x.copy_rate == 0 ? rate : 0.7 * x.copy_rate + 0.3 * rate;
            x.unsynced_before = unsynced;
        }
        for (auto it = logs_.begin(); it != logs_.end();) {
            if (cluster_.logs().contains(it->first)) {
                ++it;
                continue;
            }
            forget_suspended(*it->second);
            reaper_.post([keep = std::move(it->second)]() mutable { keep.reset(); });  // its threads may still be busy
            it = logs_.erase(it);
        }
        if (scanned_) open_channel();
        else end_scan();
        look_at_names();
        std::string trouble = group_->trouble();
        if (trouble != group_trouble_) {
            group_trouble_ = trouble;
            sd_notifyf(0, "STATUS=%s", trouble.empty() ? "connected" : trouble.c_str());
        }
    }
    step(ev::Tick{});
    ticker_.expires_after(kTick);
    ticker_.async_wait([this](const boost::system::error_code& error) {
        if (!error) tick();
    });
}

void Daemon::step(const Event& event) {
    if (stepping_) {
        waiting_.push_back(event);
        return;
    }
    stepping_ = true;
    cluster_.step(event, now());
    while (true) {
        for (Output& o : cluster_.output()) std::visit([this](auto& x) { act(x); }, o);
        if (waiting_.empty()) break;
        Event next = std::move(waiting_.front());
        waiting_.pop_front();
        cluster_.step(next, now());
    }
    stepping_ = false;
    if (channel_) channel_->flush();
}

void Daemon::later(Event event) {
    boost::asio::post(loop_, [this, e = std::move(event)] { step(e); });
}

// The module may be loaded later than this daemon is started.
void Daemon::open_channel() {
    if (!options_.kernel || (channel_ && !channel_->lost())) return;
    channel_.reset();
    std::string why;
    channel_ = ChannelDevice::open(
        loop_, [this](const Event& e) { from_channel(e); }, &why);
    if (why != channel_trouble_ && !why.empty()) log(Level::error, fmt::format("/dev/clogd, the channel to dm-log-cluster, cannot be used: {}", why));
    channel_trouble_ = why;
}

// ---- paths ------------------------------------------------------------------------------------------------------------------------

// While regions are copied. What the copier does is not among it: it uses the legs.
void Daemon::look_at_uses() {
    constexpr int kUsed = 3, kUnused = 5;  // looks in a row: who only looks what is on it does not count
    std::vector<ev::Foreground> news;
    for (const auto& [uuid, l] : cluster_.logs()) {
        LogIo& x = io(uuid);
        const bool copied = l->state().unsynced_count() != 0;
        const uint64_t count = copied ? uses_of(x.mirror.get().number) : 0;
        const bool changed = copied && x.uses.before && *x.uses.before != count;
        x.uses.before = copied ? std::optional(count) : std::nullopt;
        x.uses.row = changed == x.uses.used ? 0 : x.uses.row + 1;
        if (x.uses.row < (x.uses.used ? kUnused : kUsed)) continue;
        x.uses.used = changed;
        x.uses.row = 0;
        news.push_back({uuid, changed});
    }
    for (const ev::Foreground& e : news) step(e);
}

// Only after device-mapper has changed something, or a leg has failed: then what is known of its paths says whether it is the leg.
void Daemon::look_at_paths() {
    if (!device_mapper_ && options_.kernel && ticks_ % 20 == 0) device_mapper_ = DeviceMapperEvents::open(loop_, [this] { paths_stale_ = true; });
    if (!paths_stale_ || paths_asked_) return;
    paths_stale_ = false;
    struct Look {
        std::string uuid;
        MirrorDevice mirror;
        std::vector<Paths> before;
    };
    std::vector<Look> looks;
    for (const auto& [uuid, l] : cluster_.logs()) {
        auto me = l->state().members.find(cluster_.config().self);
        if (me == l->state().members.end() || !me->second.legs) continue;  // not our target
        LogIo& x = io(uuid);
        looks.push_back({uuid, x.mirror.get(), x.paths});
    }
    if (looks.empty()) return;
    paths_asked_ = true;
    paths_worker_.post([this, looks = std::move(looks)] {
        for (const Look& look : looks) {
            std::vector<Paths> paths = paths_of(look.mirror.legs);
            for (size_t leg = 0; leg < paths.size(); ++leg) {
                // A table that was loaded anew does not know what the one before it was told.
                const bool news = paths[leg].some_lost() || paths[leg] != (leg < look.before.size() ? look.before[leg] : Paths{});
                if (news && !tell_paths(look.mirror.name, leg, paths[leg])) log(Level::debug, fmt::format("mirror {} does not take what is known of its paths", look.mirror.name));
            }
            boost::asio::post(loop_, [this, uuid = look.uuid, paths] { paths_seen(uuid, paths); });
        }
        boost::asio::post(loop_, [this] { paths_asked_ = false; });
    });
}

void Daemon::paths_seen(const std::string& uuid, std::vector<Paths> paths) {
    auto it = logs_.find(uuid);
    if (it == logs_.end()) return;
    LogIo& x = *it->second;
    for (size_t leg = 0; leg < paths.size(); ++leg) {
        const Paths now = paths[leg], before = leg < x.paths.size() ? x.paths[leg] : Paths{};
        const uint16_t bit = static_cast<uint16_t>(1U << leg);
        if (now != before && now.total && (now.some_lost() || before.some_lost()))
            log(now.all_lost()    ? Level::error
                : now.some_lost() ? Level::warning
                                  : Level::notice,
                fmt::format("log {}: {} of {} path(s) to leg {} are left on this node", uuid, now.usable, now.total, leg));
        if (now != before) x.failure_told &= static_cast<uint16_t>(~bit);
        if (!(x.failed & bit) || x.failure_told & bit || !now.total) continue;
        x.failure_told |= bit;
        log(Level::warning, now.all_lost()
                                ? fmt::format("log {}: leg {} fails here because none of its {} path(s) is left: look between this node and the device", uuid, leg, now.total)
                                : fmt::format("log {}: leg {} fails here though {} of {} path(s) work: look at the device itself", uuid, leg, now.usable, now.total));
    }
    x.failed = 0;
    x.paths = std::move(paths);
}

// Whoever resumed a mirror that this daemon had suspended: its successor has nothing to resume, and might commit somebody's table.
void Daemon::note_resume(const proto::ulog::Call& call) {
    auto it = logs_.find(call.uuid);
    if (call.type != proto::ulog::Request::resume || it == logs_.end()) return;
    LogIo& x = *it->second;
    ++x.resumes;
    forget_suspended(x);
}

void Daemon::forget_suspended(LogIo& x) {
    x.device_worker.post([this, &x] { resumed(x); });
}

void Daemon::resumed(LogIo& x) {
    if (!x.suspended.empty()) remember_suspended(options_.run_directory, std::exchange(x.suspended, {}), false);
}

// What the kernel says before everything that it runs is known waits until then.
void Daemon::from_channel(const Event& e) {
    if (const auto* call = std::get_if<ev::Call>(&e)) note_resume(call->call);
    if (const auto* legs = std::get_if<ev::KernelLegs>(&e)) {
        if (legs->what == ev::KernelLegs::failed) io(legs->uuid).failed |= legs->legs;
        paths_stale_ = true;
    }
    if (scanned_ || std::holds_alternative<ev::FoundLive>(e)) step(e);
    else early_.push_back(e);
    end_scan();
}

// Before this node says anything to the others it must know which mirrors its kernel runs already, and with which legs.
void Daemon::end_scan() {
    if (scanned_ || !tables_read_ || (channel_ && !channel_->told_all())) return;
    scanned_ = true;
    step(ev::ScanDone{});
    for (const Event& e : std::exchange(early_, {})) step(e);  // now: what the channel says next must come behind them
}

void Daemon::first_scan() {
    auto done = [this] {
        tables_read_ = true;
        end_scan();
    };
    if (!options_.kernel) {
        boost::asio::post(loop_, done);
        return;
    }
    open_channel();
    scanner_.post([this, done] {
        for (const std::string& name : remembered_suspended(options_.run_directory)) {
            log(Level::notice, fmt::format("resuming {}, which an earlier daemon had suspended", name));
            std::thread([this, name] {  // blocks until its log answers
                resume_device(name);
                remember_suspended(options_.run_directory, name, false);
            })
                .detach();
        }
        std::string error;
        auto all = scan_mirrors(&error);
        if (!all) {
            log(Level::error, fmt::format("the running mirrors cannot be listed ({}): trying again", error));
            boost::asio::post(loop_, [this, error] { scan_trouble_ = error; });
            std::this_thread::sleep_for(std::chrono::seconds(1));
            boost::asio::post(loop_, [this] { first_scan(); });
            return;
        }
        for (const MirrorDevice& m : *all) {
            log(Level::notice, fmt::format("mirror {} runs already; taking up its log {}", m.name, m.log_uuid));
            later(ev::FoundLive{m.log_uuid, m.ctr, {}});
        }
        boost::asio::post(loop_, done);
    });
}

Daemon::LogIo& Daemon::io(const std::string& uuid) {
    auto& x = logs_[uuid];
    if (!x) {
        x = std::make_shared<LogIo>();
        x->copier = std::make_unique<Copier>(
            [this, uuid](Copier::Report r) {
                if (!r.mended.empty()) boost::asio::post(loop_, [uuid, what = std::move(r.mended)] { log(Level::warning, fmt::format("log {}: {}", uuid, what)); });
                later(ev::Copied{uuid, std::move(r.done), std::move(r.failed), std::move(r.error), r.failed_leg});
            },
            [this, uuid] { later(ev::CopyIdle{uuid}); });
    }
    return *x;
}

// ---- output ----------------------------------------------------------------------------------------------------------------------

void Daemon::act(out::Send& o) {
    if (channel_) channel_->flush();  // the kernel hears before the others hear that it has
    group_->send(std::move(o.frame));
}
void Daemon::act(out::Answer& o) {
    if (!ChannelDevice::is_channel_log(o.reply.luid)) {
        if (ulog_) ulog_->answer(o.reply);
    } else if (channel_) {
        channel_->answer(o.reply);
    }
}

void Daemon::act(out::Tell& o) {
    if (channel_) channel_->tell(o);
}

void Daemon::act(out::Note& o) { log(o.level, o.uuid.empty() ? o.text : fmt::format("log {}: {}", o.uuid, o.text)); }

void Daemon::act(out::OpenDisk& o) {
    LogIo& x = io(o.uuid);
    x.disk_worker.post([this, uuid = o.uuid, device = o.device] {
        std::string error;
        std::shared_ptr<BlockDevice> disk = BlockDevice::open(device, &error);
        boost::asio::post(loop_, [this, uuid, disk, error] {
            // Two mirrors with one log device would write over each other.
            for (const auto& [other, held] : logs_)
                if (disk && other != uuid && held->disk && held->disk->number() == disk->number()) {
                    step(ev::DiskOpened{uuid, 0, {}, fmt::format("it is the log of mirror {} already: give each mirror a log device of its own", other)});
                    return;
                }
            io(uuid).disk = disk;
            step(ev::DiskOpened{uuid, disk ? disk->bytes() : 0, disk ? disk->number() : std::string(), error});
        });
    });
}

// At once, so that the devices can be removed as soon as the kernel has its answer.
void Daemon::act(out::Close& o) {
    LogIo& x = io(o.uuid);
    x.disk.reset();
    x.mirror.forget();
    x.paths.clear();
    x.copier->close_legs();
}

void Daemon::act(out::DiskRead& o) {
    LogIo& x = io(o.uuid);
    x.disk_worker.post([this, disk = x.disk, o] {
        AlignedBuffer buffer(o.length);
        int r = disk ? disk->read(buffer.data(), o.length, o.offset) : -ENODEV;
        ev::DiskDone done{o.uuid, o.op, r == 0, {}, r ? std::strerror(-r) : ""};
        if (r == 0) done.data.assign(buffer.data(), buffer.data() + o.length);
        later(std::move(done));
    });
}

void Daemon::act(out::DiskWrite& o) {
    LogIo& x = io(o.uuid);
    x.disk_worker.post([this, disk = x.disk, uuid = o.uuid, op = o.op, offset = o.offset, data = std::move(o.data)] {
        AlignedBuffer buffer(data.size());
        std::memcpy(buffer.data(), data.data(), data.size());
        int r = disk ? disk->write_durable(buffer.data(), data.size(), offset) : -ENODEV;
        later(ev::DiskDone{uuid, op, r == 0, {}, r == -EILSEQ ? "it reads back other than it was written" : r ? std::strerror(-r) : ""});
    });
}

// By a worker that no leg can hold up: a table without the leg that hangs is what is waited for.
void Daemon::act(out::LookAtLegs& o) {
    disks_worker_.post([this, uuid = o.uuid, directory = options_.run_directory] {
        std::string error;
        std::vector<LegDisk> is;
        const auto m = find_mirror(uuid, &error);
        if (m)
            for (const auto& leg : m->legs) is.push_back(leg_disk(leg.device, leg.offset_sectors));
        later(ev::LegDisks{uuid, is.empty() ? std::vector<LegDisk>() : remembered_legs(directory, uuid), is, m && m->handle_errors && !m->keep_log});
        leg_disks_[uuid] = std::move(is);
    });
}

void Daemon::act(out::KeepLegs& o) {
    disks_worker_.post([this, uuid = o.uuid, directory = options_.run_directory] {
        const auto seen = leg_disks_.extract(uuid);
        if (!seen || seen.mapped().empty()) return;
        if (std::string error = remember_legs(directory, uuid, seen.mapped()); !error.empty())
            log(Level::warning, fmt::format("{} (log {}): a disk that is put in another's place will not be noticed", error, uuid));
    });
}

void Daemon::act(out::FindLegs& o) {
    LogIo& x = io(o.uuid);
    x.device_worker.post([this, &x, uuid = o.uuid] {
        std::string error;
        auto m = x.mirror.look_up(uuid, &error);
        ev::Legs legs{uuid, 0, false, error};
        if (m) {
            legs.error = x.copier->use_legs(m->legs);
            if (legs.error.empty()) legs.count = static_cast<uint32_t>(m->legs.size());
            legs.handle_errors = m->handle_errors;
        }
        later(std::move(legs));
        boost::asio::post(loop_, [this] { paths_stale_ = true; });
    });
}

void Daemon::act(out::FlushLegs& o) {
    LogIo& x = io(o.uuid);
    x.device_worker.post([this, &x, uuid = o.uuid, legs = o.legs] {
        int r = x.copier->flush(legs);
        std::string error;
        if (r == -ENODEV)
            if (auto m = x.mirror.look_up(uuid, &error)) r = x.copier->use_legs(m->legs).empty() ? x.copier->flush(legs) : -ENODEV;
        later(ev::LegsFlushed{uuid, r == 0});
    });
}

void Daemon::act(out::Copy& o) { io(o.uuid).copier->copy(o.region_sectors, o.sectors, o.ranges, o.from, o.to, o.any); }

// On a worker of its own: a leg that hangs must not keep others from being asked. A vote waits for this, so the table is not read for it
// if the legs are known.
void Daemon::act(out::Probe& o) {
    LogIo& x = io(o.uuid);
    x.probe_worker.post([this, &x, uuid = o.uuid, leg = o.leg] {
        std::vector<Leg> legs = x.mirror.get().legs;
        std::string error;
        if (legs.empty())
            if (auto m = x.mirror.look_up(uuid, &error)) legs = m->legs;
        int r = probe_leg(legs, leg);
        if (r == 0) x.copier->use_legs(legs);  // one that could not be opened before may be there again
        later(ev::Probed{uuid, leg, r == 0});
    });
}
void Daemon::act(out::CopyFirst& o) { io(o.uuid).copier->copy_first(o.region); }
void Daemon::act(out::CopyUntil& o) { io(o.uuid).copier->may_write_until(o.until); }
void Daemon::act(out::CopyRate& o) { io(o.uuid).copier->set_rate(o.bytes_per_s, o.one_in); }
void Daemon::act(out::CopyCancel& o) {
    LogIo& x = io(o.uuid);
    x.copier->cancel();
}

void Daemon::act(out::Drain& o) {
    LogIo& x = io(o.uuid);
    x.device_worker.post([this, uuid = o.uuid, reload = o.reload] {
        std::string error;
        auto m = find_mirror(uuid, &error);
        int r = m ? 0 : -ENODEV;
        if (m && reload) r = reload_device(*m);
        if (m && r == 0) {
            remember_suspended(options_.run_directory, m->name, true);
            r = suspend_device(m->name);
            int back = resume_device(m->name);
            if (r == 0) r = back;
            remember_suspended(options_.run_directory, m->name, false);
        }
        later(ev::Drained{uuid, r == 0, r == 0 ? "" : !error.empty() ? error : std::strerror(-r)});
    });
}

void Daemon::act(out::Suspend& o) {
    LogIo& x = io(o.uuid);
    x.device_worker.post([this, &x, uuid = o.uuid, for_good = o.for_good, resumes = x.resumes.load()] {
        std::string error;
        auto m = find_mirror(uuid, &error);
        if (!m) {
            log(Level::error, fmt::format("log {}: its mirror cannot be suspended: {}", uuid, error));
            return;
        }
        if (for_good && x.resumes != resumes) return;  // of another table; what became of that is said apart
        if (!for_good) {
            x.suspended = m->name;
            remember_suspended(options_.run_directory, m->name, true);
        }
        int r = suspend_device(m->name);
        if (for_good && r == 0 && x.resumes != resumes) r = resume_device(m->name);
        else log(r ? Level::error : Level::notice, fmt::format("mirror {} is suspended{}", m->name, r ? fmt::format(": {}", std::strerror(-r)) : ""));
    });
}

void Daemon::act(out::Resume& o) {
    LogIo& x = io(o.uuid);
    x.device_worker.post([this, &x, uuid = o.uuid] {
        std::string error;
        auto m = find_mirror(uuid, &error);
        int r = m ? resume_device(m->name) : -ENODEV;
        resumed(x);
        log(r ? Level::error : Level::notice, fmt::format("mirror {} is resumed{}", m ? m->name : uuid, r ? fmt::format(": {}", std::strerror(-r)) : ""));
        later(ev::Drained{uuid, r == 0, error});
    });
}

void Daemon::act(out::Scan& o) {
    scanner_.post([this, uuid = o.uuid] {
        std::string error;
        if (auto m = find_mirror(uuid, &error)) later(ev::FoundLive{uuid, m->ctr, {}});
    });
}

// ---- control -----------------------------------------------------------------------------------------------------------------------

namespace {
std::string no_such_log(const std::string& uuid) { return fmt::format("no log '{}' is in use on this node: clogctl status lists them", uuid); }
}  // namespace

std::string Daemon::answer(std::string_view text) {
    auto refuse = [](const std::string& why) { return json{{"ok", false}, {"error", why}}.dump(); };
    json request = json::parse(text, nullptr, false);
    if (!request.is_object() || !request.contains("request") || !request["request"].is_string()) return refuse("not a request of clogctl's");
    if (request.value("api", json(0)) != json(proto::control::kApi)) return refuse("clogctl and clogd are of different versions: install the same of both");
    const std::string what = request["request"];
    if (what == "status") return status();
    if (what == "map") {
        if (!request.contains("log") || !request["log"].is_string()) return refuse("'map' needs a log");
        return map_of(request["log"]);
    }
    if (what == "dump") return dump();
    if (what == "fenced") {
        if (!request.contains("node")) return refuse("'fenced' needs a node");
        return fence(request["node"]);
    }
    if (what == "rate") {
        if (!request.contains("log") || !request["log"].is_string() || !request.contains("kib_per_s") || !request["kib_per_s"].is_number_unsigned() ||
            request["kib_per_s"].get<uint64_t>() > UINT32_MAX)
            return refuse("'rate' needs a log and KiB per second");
        const std::string log = request["log"];
        auto it = cluster_.logs().find(log);
        if (it == cluster_.logs().end()) return refuse(no_such_log(log));
        if (it->second->phase() != Phase::active) return refuse(fmt::format("log '{}' is {} on this node: try again when it is active", log, phase_name(it->second->phase())));
        if (it->second->state().params.groups()) return refuse(fmt::format("log '{}' is of the paths to an array: nothing is copied there", log));
        step(ev::Rate{log, request["kib_per_s"]});
        return json{{"ok", true}}.dump();
    }
    return refuse("unknown request '" + what + "'");
}

// A node by its number, or by a name that Corosync's nodelist gives it.
std::string Daemon::fence(const json& node) {
    auto refuse = [](const std::string& why) { return json{{"ok", false}, {"error", why}}.dump(); };
    const std::string word = node.is_string() ? node.get<std::string>() : node.dump();
    std::set<NodeId> known(cluster_.machines());
    for (NodeId n : cluster_.processes()) known.insert(n);
    for (const auto& [id, names] : names_) known.insert(id);
    for (const auto& [uuid, l] : cluster_.logs())
        for (const auto& [id, m] : l->state().members) known.insert(id);
    std::set<NodeId> meant;
    std::string list;
    for (NodeId n : known) {
        auto names = names_.find(n);
        const bool named = names != names_.end() && !names->second.empty();
        list += fmt::format("{}{}{}", list.empty() ? "" : ", ", n, named ? fmt::format(" ({})", names->second.front()) : "");
        if (word == std::to_string(n) || (named && std::find(names->second.begin(), names->second.end(), word) != names->second.end())) meant.insert(n);
    }
    if (meant.empty()) return refuse(fmt::format("node '{}' is not known here; known are: {}", word, list.empty() ? "none" : list));
    if (meant.size() > 1) return refuse(fmt::format("'{}' means more than one node: give its number; known are: {}", word, list));
    const NodeId id = *meant.begin();
    if (!cluster_.quorate()) return refuse("this node has no quorum");
    auto processes = cluster_.processes();
    if (std::find(processes.begin(), processes.end(), id) != processes.end() || cluster_.machines().contains(id))
        return refuse(fmt::format("node {} is in the cluster: it is not fenced", id));
    step(ev::FencedNode{id});
    return json{{"ok", true}, {"node", id}}.dump();
}

namespace {
// Groups of paths are numbered from 1, as in the table; 0: none.
int group_number(uint8_t group) { return group == GroupVoice::kNone ? 0 : group + 1; }
json groups_json(const Groups& g) {
    json out{{"in_use", group_number(g.in_use)}, {"turn", g.turn}};
    if (g.holder) out["switching"] = {{"node", g.holder}, {"to", group_number(g.target)}};
    return out;
}
json voice_json(const Voice& voice) {
    json reaches = json::array();
    for (uint8_t group = 0; group < CLOG_GROUPS_MAX; ++group)
        if (voice.reaches(group)) reaches.push_back(group + 1);
    return {{"reaches", std::move(reaches)}, {"wants", group_number(voice.said.wants)}};
}
json legs_json(const LogState& s, const std::vector<Paths>& paths) {
    json legs = json::array();
    for (uint8_t i = 0; i < s.legs.count; ++i) {
        const char* state = s.legs.away >> i & 1 ? "away" : s.legs.joining >> i & 1 ? "joining" : s.legs.suspects.contains(i) ? "suspect" : "alive";
        legs.push_back({{"leg", i}, {"state", state}, {"primary", i == s.legs.primary}});
        if (i < paths.size() && paths[i].total) legs.back()["paths"] = {{"usable", paths[i].usable}, {"total", paths[i].total}};
    }
    return legs;
}
}  // namespace

std::string Daemon::status() {
    json out{{"ok", true},
             {"pid", ::getpid()},
             {"version", CLOGD_VERSION},
             {"node", cluster_.config().self},
             {"transport", options_.solo ? "solo" : "corosync"},
             {"uptime_ms", now() - started_}};
    out["corosync"] = {
        {"connected", cluster_.connected()}, {"quorate", cluster_.quorate()}, {"settled", cluster_.settled()}, {"views", cluster_.views()}, {"half_is_enough", cluster_.halves()}};
    if (!group_->trouble().empty()) out["corosync"]["trouble"] = group_->trouble();
    out["scan"] = {{"complete", scanned_}};
    if (!scanned_ && !scan_trouble_.empty()) out["scan"]["trouble"] = scan_trouble_;
    for (const auto& [uuid, why] : cluster_.unserved()) out["unserved"].push_back({{"uuid", uuid}, {"trouble", why}});
    out["nodes"] = json::array();
    std::set<NodeId> all(cluster_.machines());
    for (NodeId n : cluster_.processes()) all.insert(n);
    auto processes = cluster_.processes();
    for (NodeId n : all)
        out["nodes"].push_back({{"id", n}, {"up", cluster_.machines().contains(n)}, {"clogd", std::find(processes.begin(), processes.end(), n) != processes.end()}});
    out["messages"] = {{"sent", cluster_.counters().sent},
                       {"delivered", cluster_.counters().delivered},
                       {"refused", cluster_.counters().refused},
                       {"malformed", cluster_.counters().malformed},
                       {"queued", group_->queued()}};
    const RoundTrips trips = group_->round_trips();
    out["messages"]["round_trips"] = {{"count", trips.count}, {"total_us", trips.total_us}, {"longest_us", trips.longest_us}};
    if (ulog_) {
        const auto& c = ulog_->counters();
        out["netlink"] = {{"received", c.received}, {"foreign", c.foreign}, {"malformed", c.malformed}, {"overflows", c.overflows}, {"unsent", c.unsent}};
    }
    out["logs"] = json::array();
    for (const auto& [uuid, l] : cluster_.logs()) {
        auto at = logs_.find(uuid);
        const LogIo* x = at == logs_.end() ? nullptr : at->second.get();
        const LogState& s = l->state();
        const LogCounters& c = l->counters();
        const uint32_t regions = s.params.regions();
        uint64_t leased = 0;
        json recovering = json::array(), members = json::array();
        static constexpr const char* names[] = {"joining", "active", "restarting", "down, log unread", "without clogd", "lost, log unread", "lost"};
        for (const auto& [node, m] : s.members) {
            leased += m.lease.count();
            if (!m.lease.empty()) recovering.push_back({{"node", node}, {"regions", m.lease.count()}});
            members.push_back({{"node", node}, {"state", names[static_cast<size_t>(m.status)]}, {"slot", m.slot}, {"busy", m.busy.count()}, {"trouble", m.trouble != 0}});
            if (s.params.groups()) members.back().update(voice_json(m.voice));
        }
        json log{{"uuid", uuid},
                 {"phase", phase_name(l->phase())},
                 {"type", s.params.groups()   ? "groups"
                          : s.params.has_disk ? "disk"
                                              : "core"},
                 {"kernel", l->by_channel() ? "channel" : "netlink"},
                 {"device", l->device()},
                 {"region_bytes", uint64_t{s.params.region_sectors} * 512},
                 {"regions", regions},
                 {"unsynced", s.unsynced_count()},
                 {"recovering", leased},
                 {"dirty", l->marks().size()},
                 {"in_use", l->marks().used_count()},
                 {"clean", regions - std::min<uint64_t>(regions, s.unsynced_count() + l->marks().size())},
                 {"epoch", s.epoch},
                 {"members", members},
                 {"legs", legs_json(s, x ? x->paths : std::vector<Paths>())},
                 {"leg_epoch", s.legs.epoch},
                 {"missed", s.missed.count()},
                 {"rate_limit_bytes_per_s", s.rate_kib * 1024},
                 {"recovered_by", recovering},
                 {"held_requests", l->held()},
                 {"log_failed", l->log_failed()}};
        if (x) {
            log["bytes_copied"] = x->copier->bytes_copied();
            log["bytes_skipped"] = x->copier->bytes_skipped();
        }
        for (const auto& [node, since] : l->waits_for()) log["waits_for"].push_back({{"node", node}, {"out_of_sight_ms", now() - since}});
        if (l->held()) log["oldest_held_ms"] = now() - l->first_held();
        if (s.params.groups()) log["groups"] = groups_json(s.groups);
        if (s.unsynced_count() && !l->users().empty()) log["gives_way_to"] = l->users();
        if (!l->trouble().empty()) log["trouble"] = l->trouble();
        if (x && x->copy_rate >= 0.01 && s.unsynced_count()) {
            log["rate_bytes_per_s"] = std::llround(x->copy_rate * s.params.region_sectors * 512);
            log["seconds_left"] = std::llround(std::ceil(static_cast<double>(s.unsynced_count()) / x->copy_rate));
        }
        log["counters"] = {{"requests", c.requests},           {"marks", c.marks}, {"warm_marks", c.warm_marks},         {"clears", c.clears}, {"log_writes", c.log_writes},
                           {"messages_sent", c.messages_sent}, {"held", c.held},   {"regions_copied", c.regions_copied}, {"leases", c.leases}, {"drains", c.drains},
                           {"dead_known_ms", c.dead_known_ms}};
        out["logs"].push_back(std::move(log));
    }
    return out.dump();
}

std::string Daemon::map_of(const std::string& uuid) {
    auto it = cluster_.logs().find(uuid);
    if (it == cluster_.logs().end()) return json{{"ok", false}, {"error", no_such_log(uuid)}}.dump();
    const LogState& s = it->second->state();
    if (s.params.groups()) return json{{"ok", false}, {"error", fmt::format("log '{}' is of the paths to an array: it has no regions", uuid)}}.dump();
    auto list = [](const RangeSet& set) {
        json a = json::array();
        for (const Range& r : set.ranges(proto::control::kMaxRanges)) a.push_back({r.start, r.count});
        return a;
    };
    RangeSet marks;
    for (Region r : it->second->marks().all()) marks.add(r);
    json leases = json::array();
    for (const auto& [node, m] : s.members) leases.push_back({{"node", node}, {"regions", list(m.lease)}});
    return json{{"ok", true},           {"uuid", uuid},        {"regions", s.params.regions()}, {"raw", list(s.raw)}, {"torn", list(s.torn)}, {"missed", list(s.missed)},
                {"dirty", list(marks)}, {"recovering", leases}}
        .dump();
}

std::string Daemon::dump() {
    std::string path = options_.run_directory + "/flight-recorder";
    ssize_t bytes = write_flight_recorder(path);
    json out = json::parse(status());
    if (bytes > 0) out["flight_recorder"] = path;
    else out["flight_recorder_error"] = fmt::format("{}: {}", path, std::strerror(static_cast<int>(-bytes)));
    out["core"] = json::array();
    for (const auto& [uuid, l] : cluster_.logs()) out["core"].push_back({{"uuid", uuid}, {"local", l->debug()}});
    return out.dump();
}

}  // namespace clogd::io
