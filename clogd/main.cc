// SPDX-License-Identifier: GPL-2.0-or-later
// clogd: options, protection of the process, start.
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "clogd/io/daemon.hh"
#include "clogd/io/logging.hh"
#include "cmd/usage.hh"
#include "proto/bytes.hh"
#include "proto/control.hh"

namespace {

constexpr int kMappedBytes = 256 << 10;  // an allocation from here on is a mapping of its own

// A mirror may hold the swap space or this program's own file: nothing of the daemon may be paged out, nor killed for memory.
void protect_process() {
    // Locked memory is taken from the machine for good: no huge page for each thread's stack and heap, and what is freed goes back.
    ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    ::mallopt(M_ARENA_MAX, 2);
    ::mallopt(M_MMAP_THRESHOLD, kMappedBytes);
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) clogd::io::log(clogd::out::Level::warning, "memory cannot be locked: run clogd as root, or give it CAP_IPC_LOCK");
    std::ofstream("/proc/self/oom_score_adj") << "-1000";
}

// Classic daemon: the parent ends when the child is ready or has failed.
int detach(int* ready) {
    int ends[2];
    if (::pipe(ends) < 0) return -1;
    pid_t child = ::fork();
    if (child < 0) return -1;
    if (child > 0) {
        ::close(ends[1]);
        char status = 1;
        if (::read(ends[0], &status, 1) != 1) status = 1;
        std::_Exit(status);
    }
    ::close(ends[0]);
    ::setsid();
    if (::chdir("/") < 0) return -1;
    if (!std::freopen("/dev/null", "r", stdin) || !std::freopen("/dev/null", "w", stdout)) return -1;
    *ready = ends[1];
    return 0;
}

uint64_t boot_id() {
    std::string text;
    std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), text);
    return proto::fnv1a(text) | 1;  // 0 means: not known
}
}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"clogd keeps the nodes of a cluster of one opinion about the dirty regions of their shared mirrors.", "clogd"};
    app.footer("It needs no configuration file: Corosync tells it the cluster, and the kernel the mirrors.\nSee clogd(8) and clogctl(8).");
    clogd::io::DaemonOptions options;
    bool foreground = false, verbose = false, version = false;
    std::string transport = "corosync", leg_failure = "majority";
    uint64_t idle_ms = options.core.idle_unmark_ms, wait_ms = options.core.dead_wait_ms;
    uint32_t marks = options.core.mark_cap, lease_mib = options.core.lease_bytes >> 20;
    options.control_name = proto::control::kService;
    app.add_flag("-f,--foreground", foreground, "stay in the foreground and log to stderr");
    app.add_flag("-v,--verbose", verbose, "log debug messages to stderr too");
    app.add_flag("-V,--version", version, "print the version and exit");
    app.add_option("--transport", transport, "corosync, or solo: one node without Corosync")->check(CLI::IsMember({"corosync", "solo"}))->capture_default_str();
    app.add_option("--idle-unmark-ms", idle_ms, "a region unwritten for so long loses its mark")->check(CLI::Range(100u, 3600000u))->capture_default_str();
    app.add_option("--mark-cap", marks, "most regions that stay marked while idle, per log")->check(CLI::Range(16u, 2800u))->capture_default_str();
    app.add_option("--dead-wait-ms", wait_ms, "time between losing sight of a node and copying what it had marked; `clogctl fenced` ends it early")
        ->check(CLI::Range(1u, 600000u))
        ->capture_default_str();
    app.add_option("--leg-failure", leg_failure, "who gives up a leg that fails for this node: the majority of the nodes, or any one")
        ->check(CLI::IsMember({"majority", "any"}))
        ->capture_default_str();
    app.add_option("--lease-mib", lease_mib, "largest piece of a mirror that a node copies under one lease, in MiB")->check(CLI::Range(1u, 1024u))->capture_default_str();
    app.add_flag("--alone-core", options.core.alone_core, "let the last node go on with a log in memory (a crash then copies everything)");
    app.add_option("--run-directory", options.run_directory, "where marks of suspended devices and the flight recorder go")->capture_default_str();
    app.add_option("--control", options.control_name, "name of the control socket")->capture_default_str()->check([](const std::string& name) {
        return proto::control::valid_name(name) ? std::string() : fmt::format("'{}' must be {}", name, proto::control::kNameRule);
    });
    app.add_flag(
        "--no-kernel", [&](int64_t) { options.kernel = false; }, "serve the cluster and the control socket only");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return usage::exit(app, e);
    }
    // None of these may end the daemon, for mirrors would wait: a terminal or a reader of the log that goes away, a signal meant to reload.
    for (int harmless : {SIGPIPE, SIGHUP, SIGUSR1}) ::signal(harmless, SIG_IGN);
    if (version) {
        fmt::print("clogd {}\n", CLOGD_VERSION);
        return 0;
    }
    options.solo = transport == "solo";
    options.core.idle_unmark_ms = idle_ms;
    options.core.dead_wait_ms = options.solo ? 0 : wait_ms;
    options.core.leg_failure_any = leg_failure == "any";
    options.core.mark_cap = marks;
    options.core.lease_bytes = lease_mib << 20;
    options.core.alone_core = options.core.alone_core || options.solo;
    options.core.boot = boot_id();
    options.core.incarnation = static_cast<uint64_t>(::getpid()) << 32 | static_cast<uint32_t>(::time(nullptr));

    int ready = -1;
    if (!foreground && detach(&ready) < 0) {
        fmt::print(stderr, "clogd: cannot become a daemon: {}\n", std::generic_category().message(errno));
        return 1;
    }
    auto tell_parent = [&](char status) {
        if (ready >= 0 && ::write(ready, &status, 1) == 1) ::close(ready);
    };
    clogd::io::open_log(foreground, verbose);
    protect_process();
    int status = 1;
    try {
        clogd::io::Daemon daemon(options);
        tell_parent(0);
        if (!foreground && !std::freopen("/dev/null", "w", stderr)) return 1;  // whoever started it may wait for the end of its output
        status = daemon.run();
        // Threads may hang in a suspend or on a dead disk; the process must end all the same.
        clogd::io::close_log();
        std::_Exit(status);
    } catch (const std::system_error& e) {
        clogd::io::log(clogd::out::Level::error, fmt::format("cannot start: {}", e.what()));
        if (!foreground) fmt::print(stderr, "clogd: cannot start: {}\n", e.what());
    }
    tell_parent(1);
    clogd::io::close_log();
    return status;
}
