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
    EXPECT_EQ(after(PATH_DRAINING, {PATH_UNDRAIN}), PATH_RAMPING);
}

TEST(Path, AFailedPathReturnsByAProbeOrByWord) {
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE, PATH_PROBE_BAD}), PATH_FAILED);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE, PATH_PROBE_OK, PATH_RAMPED}), PATH_ACTIVE);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_REINSTATE}), PATH_ACTIVE);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_ERROR, PATH_PROBE_OK}), PATH_FAILED);  // nobody had asked
}

TEST(Path, WhatIsStuckReturnsWhenItsIOHasLanded) {
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_LATE, PATH_LANDED}), PATH_RAMPING);
    EXPECT_EQ(after(PATH_ACTIVE, {PATH_LATE, PATH_ERROR}), PATH_FAILED);
    EXPECT_EQ(path_letter(PATH_STUCK), 'F');
}
