// SPDX-License-Identifier: GPL-2.0-or-later
// A cluster in one thread, driven by one seed: machines with kernels and daemons, an ordered group that splits and merges, a log
// disk that tears and misdirects, and legs with contents. The daemons are the real clogd::Cluster.
//
// After every event: I2 (nobody writes where somebody copies) and I4 (no write long after quorum was lost) at each leg access;
// I1 by forming a state from the log disk as a crash of everybody would leave it; I5 between replicas; I6 by limits. At the end
// everything is healed: each log must come into sync on all nodes, legs must be identical and hold what was acknowledged.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "clogd/core/cluster.hh"
#include "tests/sim/kernel_model.hh"

namespace sim {

struct Rng {
    uint64_t s;
    // A seed is mixed by the generator itself: were it multiplied by the generator's increment, seeds would share their sequences.
    explicit Rng(uint64_t seed) : s(seed) { s = next() ^ 0x5851f42d4c957f2dull; }
    uint64_t next() {
        uint64_t z = (s += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    uint64_t below(uint64_t n) { return n ? next() % n : 0; }
    uint64_t between(uint64_t a, uint64_t b) { return a + below(b - a + 1); }
    bool chance(uint32_t permille) { return below(1000) < permille; }
};

struct Options {
    uint64_t seed = 1;
    clogd::Planted planted = clogd::Planted::none;
    uint32_t max_nodes = 5;
    bool trace = false;
};

struct Result {
    bool ok = true;
    std::string failure;
    uint64_t events = 0;
    uint64_t hash = 0;
};

Result run(const Options& options);

}  // namespace sim
