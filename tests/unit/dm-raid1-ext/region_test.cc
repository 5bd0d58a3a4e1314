// SPDX-License-Identifier: GPL-2.0-or-later
// Every sequence of events that a region of the kernel's mirror can see, up to three writes in flight: what it promises holds in all of them.
#include <gtest/gtest.h>

#include <set>
#include <tuple>
#include <vector>

#include "dm-raid1-ext/region.h"

namespace {

// What the region's user knows besides its state.
struct World {
    region r{};
    bool durable = false;  // the mark, or the log knows that the legs may differ
    bool copying = false;
    unsigned in_flight = 0;
    auto key() const { return std::tuple(r.state, r.pending, durable, copying, in_flight); }
};

void explore(World w, std::set<decltype(World{}.key())>& seen) {
    if (!seen.insert(w.key()).second) return;
    ASSERT_EQ(w.r.pending, w.in_flight);
    if (w.in_flight < 3) {
        World n = w;
        switch (region_enter(&n.r)) {
            case REGION_EVERY_LEG:
            case REGION_PRIMARY:
                ASSERT_TRUE(n.durable) << "I1: a write left before its mark was durable, in " << region_state_name(region_state(w.r.state));
                ASSERT_FALSE(n.copying) << "I2: a write entered a region that is being copied";
                ++n.in_flight;
                explore(n, seen);
                break;
            case REGION_ASK: ASSERT_EQ(w.r.state, REGION_CLEAN); [[fallthrough]];
            case REGION_WAIT: ASSERT_EQ(n.key(), w.key()) << "a write that waits changed something";
        }
    }
    if (w.in_flight) {
        World n = w;
        --n.in_flight;
        bool drained = region_leave(&n.r);
        ASSERT_EQ(drained, n.in_flight == 0 && w.r.state == REGION_CLOSING);
        explore(n, seen);
    }
    for (int e = 0; e < REGION_EVENTS; ++e) {
        World n = w;
        if (!region_step(&n.r, region_event(e))) {
            ASSERT_EQ(n.key(), w.key()) << "a refused event changed something";
            continue;
        }
        switch (e) {
            case REGION_MARKED:
            case REGION_UNSYNC: n.durable = true; break;
            case REGION_MARK:
            case REGION_MARK_FAILED: n.durable = false; break;
            case REGION_DRAINED:
                ASSERT_EQ(n.in_flight, 0u) << "I2: a copy started while a write was in flight";
                n.copying = true;
                break;
            case REGION_COPIED:
            case REGION_UNMARK:
                ASSERT_EQ(n.in_flight, 0u);
                n.durable = n.copying = false;
                break;
            case REGION_COPY_FAILED:
                n.copying = false;
                n.durable = true;  // the log was told
                break;
        }
        explore(n, seen);
    }
}

TEST(Region, EverySequenceKeepsItsPromises) {
    std::set<decltype(World{}.key())> seen;
    explore({}, seen);
    std::set<int> states;
    for (const auto& k : seen) states.insert(std::get<0>(k));
    EXPECT_EQ(states.size(), size_t{REGION_STATES}) << "a state cannot be reached";
}

TEST(Region, FromEveryStateThereIsAWayBackToClean) {
    std::set<decltype(World{}.key())> seen;
    explore({}, seen);
    for (const auto& k : seen) {
        World w;
        w.r.state = std::get<0>(k);
        std::vector<region> todo{w.r};  // its writes have ended
        std::set<int> reached;
        while (!todo.empty()) {
            region r = todo.back();
            todo.pop_back();
            if (!reached.insert(r.state).second) continue;
            for (int e = 0; e < REGION_EVENTS; ++e) {
                region n = r;
                if (region_step(&n, region_event(e))) todo.push_back(n);
            }
        }
        EXPECT_TRUE(reached.contains(REGION_CLEAN)) << region_state_name(region_state(w.r.state));
    }
}

}  // namespace
