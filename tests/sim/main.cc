// SPDX-License-Identifier: GPL-2.0-or-later
// clogd-sim: runs seeds, or shows that each planted bug is found. A failing seed prints the command that replays it.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "tests/sim/world.hh"

namespace {
constexpr const char* kPlanted[] = {"none",
                                    "drop-dead-marks",
                                    "lease-outlives-holder",
                                    "partial-transfer",
                                    "mark-before-durable",
                                    "ignore-quorum",
                                    "unmark-while-writing",
                                    "in-sync-while-copying",
                                    "skip-busy-report",
                                    "no-grace",
                                    "forget-torn-on-restart",
                                    "early-full-count",
                                    "forget-held",
                                    "long-lease",
                                    "mark-unsynced",
                                    "unconfirmed-leg",
                                    "forget-missed",
                                    "primary-goes-unsynced",
                                    "unmark-while-away",
                                    "legs-not-on-disk",
                                    "grant-twice",
                                    "switch-at-wish",
                                    "seen-primary-goes",
                                    "copy-without-lease",
                                    "failed-before-heard",
                                    "halves-by-time"};
static_assert(std::size(kPlanted) == static_cast<size_t>(clogd::Planted::count_));
}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Deterministic simulation of clogd clusters"};
    uint64_t first = 1, seeds = 100, step = 1;
    std::string planted = "none";
    bool trace = false, hunt = false, hashes = false;
    app.add_option("--first", first, "first seed");
    app.add_option("--seeds", seeds, "how many seeds");
    app.add_option("--step", step, "distance between seeds, to share them out among processes");
    app.add_option("--planted", planted, "plant a known bug: " + fmt::format("{}", fmt::join(kPlanted, ", ")));
    app.add_flag("--trace", trace, "print what happens");
    app.add_flag("--hunt", hunt, "plant every known bug in turn; fails unless each is found within the seeds");
    app.add_flag("--hashes", hashes, "print each seed's trace hash");
    CLI11_PARSE(app, argc, argv);
    // Each seed's disks and queues take the memory of the one before, rather than the system clearing it anew.
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);

    auto run_all = [&](clogd::Planted bug, bool expect) {
        uint64_t events = 0;
        for (uint64_t i = 0; i < seeds; ++i) {
            sim::Options o;
            o.seed = first + i * step;
            o.planted = bug;
            o.trace = trace;
            sim::Result r = sim::run(o);
            events += r.events;
            if (hashes) fmt::print("seed {} hash {:016x} events {}\n", o.seed, r.hash, r.events);
            if (!r.ok) {
                if (expect) {
                    fmt::print("{}: found by seed {} ({})\n", kPlanted[static_cast<size_t>(bug)], o.seed, r.failure);
                    return true;
                }
                fmt::print("seed {} FAILED: {}\nreplay: {} --first {} --seeds 1 --planted {} --trace\n", o.seed, r.failure, argv[0], o.seed, kPlanted[static_cast<size_t>(bug)]);
                return false;
            }
            if (i && i % 1000 == 0 && !expect) {
                fmt::print("{} seeds, {} events\n", i, events);
                std::fflush(stdout);
            }
        }
        if (expect) fmt::print("{}: NOT found within {} seeds\n", kPlanted[static_cast<size_t>(bug)], seeds);
        else fmt::print("{} seeds, {} events: no invariant broken\n", seeds, events);
        return !expect;
    };

    if (hunt) {
        std::atomic<size_t> next{1};
        std::atomic<bool> all{true};
        std::vector<std::jthread> hunters;  // worlds share nothing
        for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
            hunters.emplace_back([&] {
                for (size_t b = next++; b < std::size(kPlanted); b = next++)
                    if (!run_all(static_cast<clogd::Planted>(b), true)) all = false;
            });
        hunters.clear();
        return all ? 0 : 1;
    }
    for (size_t b = 0; b < std::size(kPlanted); ++b)
        if (planted == kPlanted[b]) return run_all(static_cast<clogd::Planted>(b), false) ? 0 : 1;
    fmt::print(stderr, "clogd-sim: no planted bug is called '{}'; they are: {}\n", planted, fmt::join(kPlanted, ", "));
    return 2;
}
