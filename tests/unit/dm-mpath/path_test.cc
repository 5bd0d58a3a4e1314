// SPDX-License-Identifier: GPL-2.0-or-later
// What one path of a map may do next: every sequence of events.
#include <gtest/gtest.h>

#include "dm-mpath/path.h"

namespace {
path_state after(path_state from, std::initializer_list<path_event> events) {
    u8 state = from;
    for (path_event e : events) path_step(&state, e);
    return static_cast<path_state>(state);
}
}  // namespace

TEST(Path, EveryStateIsReachedAndLeft) {
    bool reached[PATH_STATES] = {true}, left[PATH_STATES] = {};
    for (int s = 0; s < PATH_STATES; ++s)
        for (int e = 0; e < PATH_EVENTS; ++e) {
            u8 state = static_cast<u8>(s);
            const bool changed = path_step(&state, static_cast<path_event>(e));
            ASSERT_LT(state, PATH_STATES);
            ASSERT_EQ(changed, state != s);
            if (changed) reached[state] = left[s] = true;
        }
    for (int s = 0; s < PATH_STATES; ++s) EXPECT_TRUE(reached[s] && left[s]) << path_state_name(static_cast<path_state>(s));
}

TEST(Path, WhateverHappensAFailureOrADrainEndsNewIO) {
    for (int s = 0; s < PATH_STATES; ++s)
        for (path_event e : {PATH_ERROR, PATH_FAIL, PATH_DRAIN, PATH_LATE}) EXPECT_FALSE(path_takes_io(after(static_cast<path_state>(s), {e}))) << s << " " << e;
}

TEST(Path, WhatIsDrainedStaysSo) {
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_DRAIN, PATH_REINSTATE, PATH_PROBE, PATH_PROBE_OK, PATH_RAMPED, PATH_ERROR, PATH_LANDED}), PATH_DRAINING);
    EXPECT_EQ(after(PATH_DRAINING, {PATH_UNDRAIN}), PATH_PROBING);
}

TEST(Path, AFailedPathReturnsByAProbeOrByWord) {
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE, PATH_PROBE_BAD}), PATH_FAILED);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE, PATH_PROBE_OK, PATH_RAMPED}), PATH_ACTIVE);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_REINSTATE}), PATH_ACTIVE);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE_OK}), PATH_FAILED);  // nobody had asked
}

TEST(Path, WhatIsStuckReturnsWhenItsIOHasLanded) {
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_LATE, PATH_LANDED}), PATH_PROBING);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_LATE, PATH_ERROR}), PATH_FAILED);
    EXPECT_EQ(path_letter(PATH_STUCK), 'F');
}

TEST(Path, OnlyATryOrAWordLetsAPathIn) {
    for (int s = 0; s < PATH_STATES; ++s)
        for (int e = 0; e < PATH_EVENTS; ++e) {
            const path_state from = static_cast<path_state>(s), to = after(from, {static_cast<path_event>(e)});
            ASSERT_TRUE(path_takes_io(from) || !path_takes_io(to) || e == PATH_REINSTATE || (from == PATH_PROBING && e == PATH_PROBE_OK)) << s << " " << e;
        }
    EXPECT_EQ(after(PATH_DRAINING, {PATH_ADDED, PATH_PROBE_OK}), PATH_RAMPING);
}

TEST(Path, WhatLeadsToAnotherDiskStaysOut) {
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE, PATH_OTHER_DISK}), PATH_FOREIGN);
    for (path_event e : {PATH_ERROR, PATH_FAIL, PATH_LANDED, PATH_PROBE, PATH_PROBE_OK, PATH_PROBE_BAD, PATH_CONFLICT, PATH_UNDRAIN, PATH_ADDED})
        EXPECT_EQ(after(PATH_FOREIGN, {e}), PATH_FOREIGN) << e;
    EXPECT_EQ(after(PATH_FOREIGN, {PATH_DRAIN, PATH_UNDRAIN, PATH_OTHER_DISK}), PATH_FOREIGN);
    EXPECT_EQ(after(PATH_FOREIGN, {PATH_REINSTATE}), PATH_ACTIVE);
}

TEST(Path, AConflictIsNoMoreThanATry) {
    EXPECT_EQ(after(PATH_RAMPING, {PATH_CONFLICT}), PATH_UNREGISTERED);
    EXPECT_EQ(after(PATH_UNREGISTERED, {PATH_PROBE, PATH_CONFLICT}), PATH_UNREGISTERED);
    EXPECT_EQ(after(PATH_UNREGISTERED, {PATH_PROBE, PATH_PROBE_OK}), PATH_RAMPING);
    EXPECT_EQ(after(PATH_UNREGISTERED, {PATH_PROBE, PATH_PROBE_BAD}), PATH_FAILED);
}

namespace {
conflict of(bool in_service, std::initializer_list<path_state> others) {
    path_others counted{};
    for (path_state s : others) path_count_other(&counted, s);
    return path_conflict(in_service, &counted);
}
}  // namespace

TEST(Conflict, IsThePathsWhileAnotherTakesIO) {
    for (bool in_service : {false, true}) {
        EXPECT_EQ(of(in_service, {PATH_ACTIVE}), CONFLICT_OF_PATH);
        EXPECT_EQ(of(in_service, {PATH_UNREGISTERED, PATH_FAILED, PATH_RAMPING}), CONFLICT_OF_PATH);
    }
}

TEST(Conflict, IsTheNodesWhenNoOtherTakesIO) {
    EXPECT_EQ(of(true, {}), CONFLICT_OF_NODE);
    EXPECT_EQ(of(true, {PATH_UNREGISTERED, PATH_UNREGISTERED}), CONFLICT_OF_NODE);
    EXPECT_EQ(of(true, {PATH_FAILED, PATH_STUCK}), CONFLICT_OF_NODE);  // what was in use was registered
}

// It may be the only one that was not registered: those that are away are waited for.
TEST(Conflict, OfAPathThatReturnsWaitsForTheOthers) {
    for (path_state s : {PATH_FAILED, PATH_PROBING, PATH_STUCK}) EXPECT_EQ(of(false, {PATH_UNREGISTERED, s}), CONFLICT_OF_PATH) << s;
    for (path_state s : {PATH_UNREGISTERED, PATH_FOREIGN, PATH_DRAINING}) EXPECT_EQ(of(false, {s}), CONFLICT_OF_NODE) << s;
    EXPECT_EQ(of(false, {}), CONFLICT_OF_NODE);
}
