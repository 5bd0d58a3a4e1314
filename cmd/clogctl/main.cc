// SPDX-License-Identifier: GPL-2.0-or-later
// clogctl: shows and steers clogd.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <thread>

#include <fmt/format.h>
#include <qb/qblog.h>
#include <CLI/CLI.hpp>

#include "cmd/clogctl/client.hh"
#include "cmd/clogctl/show.hh"
#include "cmd/usage.hh"
#include "proto/control.hh"

namespace {

using clogctl::ask;
using nlohmann::json;

constexpr uint32_t kMaxRate = 4194303;  // MiB per second: its KiB fit into 32 bits

unsigned terminal_width() {
    winsize w{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 40 ? w.ws_col : 80;
}

// The log a command means: the one named, or the only one.
json pick(const json& status, const std::string& wanted) {
    json found;
    size_t matches = 0;
    for (const json& log : status["logs"])
        if (wanted.empty() || log["uuid"].get<std::string>().find(wanted) != std::string::npos) {
            found = log;
            ++matches;
        }
    if (matches == 1) return found;
    std::string names;
    for (const json& log : status["logs"]) names += "\n  " + log["uuid"].get<std::string>();
    if (matches == 0)
        throw clogctl::Refused(wanted.empty() ? "no log is in use on this node" : fmt::format("no log matches '{}'; in use are:{}", wanted, names.empty() ? " none" : names));
    throw clogctl::Refused(fmt::format("{} logs match, name one of them:{}", matches, names));
}

int wait_sync(const clogctl::Daemon& service, const std::string& wanted, unsigned timeout_s, bool as_json) {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
    const bool tty = ::isatty(STDOUT_FILENO) && !as_json;
    while (true) {
        json status = ask(service, {{"request", "status"}});
        // What cannot be seen is not in sync.
        std::string line = clogctl::blind(status);
        bool synced = line.empty();
        for (const json& log : status["logs"]) {
            if (!wanted.empty() && log["uuid"].get<std::string>().find(wanted) == std::string::npos) continue;
            if (log["unsynced"] != 0 || log["phase"] != "active") {
                synced = false;
                line = fmt::format("{} {}", log["uuid"].get<std::string>(), log["phase"] == "active" ? clogctl::progress(log, 30) : log["phase"].get<std::string>());
            }
        }
        if (!wanted.empty() && clogctl::blind(status).empty()) pick(status, wanted);
        if (synced) {
            if (tty) fmt::print("\r\033[K");
            if (as_json) fmt::print("{}\n", json{{"ok", true}, {"in_sync", true}}.dump());
            else fmt::print("in sync\n");
            return clogctl::kFine;
        }
        if (tty) {
            fmt::print("\r\033[K{}", line);
            std::fflush(stdout);
        }
        if (timeout_s && std::chrono::steady_clock::now() >= end) {
            if (as_json) fmt::print("{}\n", json{{"ok", true}, {"in_sync", false}, {"why", line}}.dump());
            else fmt::print("{}not in sync after {} s: {}\n", tty ? "\n" : "", timeout_s, line);
            return clogctl::blind(status).empty() ? clogctl::kSyncing : clogctl::kTrouble;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(250));
    }
}

// What libqb prints of a flight recorder; at its end, too, it complains to stderr. It goes to a file in memory first: libqb leaves files in
// /dev/shm if it is ended in the middle, by a reader that has gone.
std::string flight_recorder(const std::string& file) {
    const int memory = ::memfd_create("flight recorder", MFD_CLOEXEC), nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    const int out = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), err = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (memory < 0 || nowhere < 0 || out < 0 || err < 0) throw clogctl::Refused(fmt::format("the flight recorder cannot be read: {}", std::strerror(errno)));
    std::fflush(stdout);
    ::dup2(memory, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    qb_log_init("clogctl", LOG_USER, LOG_EMERG);
    qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
    const int r = qb_log_blackbox_print_from_file(file.c_str());
    qb_log_fini();
    std::fflush(stdout);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    std::string text(static_cast<size_t>(std::max<off_t>(0, ::lseek(memory, 0, SEEK_END))), '\0');
    const ssize_t n = ::pread(memory, text.data(), text.size(), 0);
    const int why = n < 0 ? errno : -r;
    for (int fd : {memory, nowhere, out, err}) ::close(fd);
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    if (text.empty()) throw clogctl::Refused(fmt::format("the flight recorder cannot be read: {}: {}", file, std::strerror(why)));
    return text;
}

int dump(const clogctl::Daemon& service, bool as_json) {
    json d = ask(service, {{"request", "dump"}});
    fmt::print("{}\n", d.dump(2));
    if (d.contains("flight_recorder_error")) throw clogctl::Refused(fmt::format("the flight recorder cannot be written: {}", d["flight_recorder_error"].get<std::string>()));
    if (!as_json) fmt::print("\nflight recorder ({0}):\n{1}", d["flight_recorder"].get<std::string>(), flight_recorder(d["flight_recorder"]));
    return clogctl::kFine;
}

// A rate in MiB per second as KiB per second, never 0, which means no bound, for a small one.
uint64_t rate_of(const std::string& word) {
    double mib = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), mib);
    if (error != std::errc{} || end != word.data() + word.size() || !(mib >= 0 && mib <= kMaxRate))
        throw CLI::ValidationError("rate", fmt::format("'{}' is not a rate: give MiB per second, from 0 (as fast as it goes) to {}", word, kMaxRate));
    return static_cast<uint64_t>(std::ceil(mib * 1024));
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"clogctl shows and steers clogd, the log daemon of mirrors that a cluster shares.", "clogctl"};
    app.footer("Exit status of 'status': 0 all is well, 1 regions are being copied, 2 something needs care, 3 clogd is not there or hangs.");
    app.require_subcommand(1);
    app.set_version_flag("-V,--version", "clogctl " CLOGD_VERSION);
    clogctl::Daemon service;
    service.service = proto::control::kService;
    std::string log, node, mib_per_s;
    bool as_json = false, watch = false;
    unsigned timeout_s = 0;
    app.add_option("--control", service.service, "name of clogd's control socket")->capture_default_str()->check([](const std::string& name) {
        return proto::control::valid_name(name) ? std::string() : fmt::format("'{}' must be {}", name, proto::control::kNameRule);
    });
    unsigned answer_s = service.timeout_s;
    app.add_option("--timeout", answer_s, "seconds that clogd has for an answer")->capture_default_str()->check(CLI::Range(1u, 3600u));
    auto json_flag = [&](CLI::App* c) { c->add_flag("--json", as_json, "print JSON"); };
    auto* status = app.add_subcommand("status", "nodes, quorum, logs, regions, who copies, how fast");
    json_flag(status);
    status->add_flag("-w,--watch", watch, "again every second, until interrupted");
    auto* wait = app.add_subcommand("wait-sync", "wait until every log, or the one named, is in sync");
    wait->add_option("log", log, "uuid of a log, or a part of it");
    wait->add_option("-t,--timeout", timeout_s, "give up after so many seconds (0: never)")->capture_default_str();
    json_flag(wait);
    auto* map = app.add_subcommand("map", "a picture of the regions of a log");
    map->add_option("log", log, "uuid of a log, or a part of it (may be left out if there is only one)");
    json_flag(map);
    auto* dump_cmd = app.add_subcommand("dump", "the daemon's state and flight recorder");
    json_flag(dump_cmd);
    auto* fenced = app.add_subcommand("fenced", "say that a node is fenced: it cannot write any more, and what it had marked may be copied at once");
    fenced->add_option("node", node, "its number, or its name in corosync.conf")->required();
    json_flag(fenced);
    auto* rate = app.add_subcommand("rate", "bound what all nodes together copy of a mirror; a region for which a write waits is copied at once all the same");
    rate->add_option("mib", mib_per_s, "MiB per second; 0: as fast as it goes")->required();
    rate->add_option("log", log, "uuid of a log, or a part of it (may be left out if there is only one)");
    json_flag(rate);
    auto* version = app.add_subcommand("version", "versions of clogctl and of the daemon");
    json_flag(version);
    uint64_t kib_per_s = 0;
    try {
        app.parse(argc, argv);
        if (rate->parsed()) kib_per_s = rate_of(mib_per_s);
    } catch (const CLI::ParseError& e) {
        return usage::exit(app, e);
    }
    service.timeout_s = answer_s;
    service.as_json = as_json;
    try {
        if (status->parsed()) {
            while (true) {
                json s = ask(service, {{"request", "status"}});
                if (watch && !as_json && ::isatty(STDOUT_FILENO)) fmt::print("\033[H\033[2J");
                if (as_json) fmt::print("{}\n", s.dump(2));
                else fmt::print("{}", clogctl::table(s));
                if (!watch) return clogctl::verdict(s);
                std::fflush(stdout);
                std::this_thread::sleep_for(std::chrono::seconds(1));
            }
        }
        if (wait->parsed()) return wait_sync(service, log, timeout_s, as_json);
        if (map->parsed()) {
            json l = pick(ask(service, {{"request", "status"}}), log);
            json m = ask(service, {{"request", "map"}, {"log", l["uuid"]}});
            if (as_json) fmt::print("{}\n", m.dump(2));
            else fmt::print("{}", clogctl::picture(m, terminal_width() - 12, 24));
            return clogctl::kFine;
        }
        if (dump_cmd->parsed()) return dump(service, as_json);
        if (fenced->parsed()) {
            json a = ask(service, {{"request", "fenced"}, {"node", node}});
            if (as_json) fmt::print("{}\n", a.dump());
            else fmt::print("node {} is fenced: what it had marked is copied\n", a["node"].get<uint32_t>());
            return clogctl::kFine;
        }
        if (rate->parsed()) {
            json l = pick(ask(service, {{"request", "status"}}), log);
            json a = ask(service, {{"request", "rate"}, {"log", l["uuid"]}, {"kib_per_s", kib_per_s}});
            if (as_json) fmt::print("{}\n", a.dump());
            return clogctl::kFine;
        }
        std::string daemon = ask(service, {{"request", "status"}}).value("version", "?");
        if (as_json) fmt::print("{}\n", json{{"clogctl", CLOGD_VERSION}, {"clogd", daemon}}.dump());
        else fmt::print("clogctl {}, clogd {}\n", CLOGD_VERSION, daemon);
        return clogctl::kFine;
    } catch (const clogctl::NotRunning& e) {
        if (as_json) fmt::print("{}\n", json{{"ok", false}, {"error", e.what()}}.dump());
        fmt::print(stderr, "clogctl: {}\n", e.what());
        return clogctl::kNoDaemon;
    } catch (const clogctl::Refused& e) {
        if (as_json) fmt::print("{}\n", json{{"ok", false}, {"error", e.what()}}.dump());
        fmt::print(stderr, "clogctl: {}\n", e.what());
        return clogctl::kTrouble;
    }
}
