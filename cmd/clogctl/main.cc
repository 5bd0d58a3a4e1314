// SPDX-License-Identifier: GPL-2.0-or-later
// clogctl: shows and steers clogd.
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

#include <fmt/format.h>
#include <qb/qblog.h>
#include <CLI/CLI.hpp>

#include "cmd/clogctl/client.hh"
#include "cmd/clogctl/show.hh"
#include "proto/control.hh"

namespace {

using clogctl::ask;
using nlohmann::json;

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

int wait_sync(const std::string& service, const std::string& wanted, unsigned timeout_s, bool as_json) {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
    const bool tty = ::isatty(STDOUT_FILENO) && !as_json;
    while (true) {
        json status = ask(service, {{"request", "status"}});
        bool synced = true;
        std::string line;
        for (const json& log : status["logs"]) {
            if (!wanted.empty() && log["uuid"].get<std::string>().find(wanted) == std::string::npos) continue;
            if (log["unsynced"] != 0 || log["phase"] != "active") {
                synced = false;
                line = fmt::format("{} {}", log["uuid"].get<std::string>(), log["phase"] == "active" ? clogctl::progress(log, 30) : log["phase"].get<std::string>());
            }
        }
        if (!wanted.empty()) pick(status, wanted);
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
            if (as_json) fmt::print("{}\n", json{{"ok", true}, {"in_sync", false}}.dump());
            else fmt::print("{}not in sync after {} s: {}\n", tty ? "\n" : "", timeout_s, line);
            return clogctl::kSyncing;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(250));
    }
}

int dump(const std::string& service, bool as_json) {
    json d = ask(service, {{"request", "dump"}});
    fmt::print("{}\n", d.dump(2));
    if (as_json || !d.contains("flight_recorder")) return clogctl::kFine;
    fmt::print("\nflight recorder ({}):\n", d["flight_recorder"].get<std::string>());
    std::fflush(stdout);
    qb_log_init("clogctl", LOG_USER, LOG_EMERG);
    qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
    qb_log_blackbox_print_from_file(d["flight_recorder"].get<std::string>().c_str());
    qb_log_fini();
    return clogctl::kFine;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"clogctl shows and steers clogd, the log daemon of mirrors that a cluster shares."};
    app.footer("Exit status of 'status': 0 all is well, 1 regions are being copied, 2 something needs care, 3 clogd does not answer.");
    app.require_subcommand(1);
    app.set_version_flag("-V,--version", "clogctl " CLOGD_VERSION);
    std::string service = proto::control::kService, log;
    bool as_json = false, watch = false;
    unsigned timeout_s = 0;
    uint32_t node = 0;
    double mib_per_s = 0;
    app.add_option("--control", service, "name of clogd's control socket")->capture_default_str();
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
    fenced->add_option("node", node, "node id")->required()->check(CLI::PositiveNumber);
    json_flag(fenced);
    auto* rate = app.add_subcommand("rate", "bound what all nodes together copy of a mirror; a region for which a write waits is copied at once all the same");
    rate->add_option("mib", mib_per_s, "MiB per second; 0: as fast as it goes")->required()->check(CLI::Range(0.0, 4194303.0));
    rate->add_option("log", log, "uuid of a log, or a part of it (may be left out if there is only one)");
    json_flag(rate);
    auto* version = app.add_subcommand("version", "versions of clogctl and of the daemon");
    json_flag(version);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) ? clogctl::kUsage : 0;
    }
    try {
        if (status->parsed()) {
            while (true) {
                json s = ask(service, {{"request", "status"}});
                if (watch) fmt::print("\033[H\033[2J");
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
            return clogctl::kFine;
        }
        if (rate->parsed()) {
            json l = pick(ask(service, {{"request", "status"}}), log);
            // Never 0, which means no bound, for a small one.
            const auto kib = static_cast<uint64_t>(std::ceil(mib_per_s * 1024));
            json a = ask(service, {{"request", "rate"}, {"log", l["uuid"]}, {"kib_per_s", kib}});
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
