// SPDX-License-Identifier: GPL-2.0-or-later
// Status lines of `multipath` targets, as the kernel prints them.
#include <gtest/gtest.h>

#include "clogd/io/leg_paths.hh"

using clogd::io::parse_paths;
using clogd::io::Paths;

TEST(LegPaths, GroupsOfOneSelectorOrAnother) {
    EXPECT_EQ(parse_paths("2 0 1 0 2 1 A 0 1 2 8:16 A 0 0 1 E 0 1 2 8:32 F 3 0 1 "), (Paths{1, 2}));
    EXPECT_EQ(parse_paths("2 0 0 0 1 1 A 0 2 0 8:0 A 0 8:16 A 7"), (Paths{2, 2}));
    EXPECT_EQ(parse_paths("2 1 0 0 2 1 D 0 2 1 8:0 F 1 0 8:16 F 1 0 A 2 972 0 1 3 8:32 F 0 0 0 0"), (Paths{0, 3}));
}
TEST(LegPaths, AMapWithoutPathsHasNoneToLose) { EXPECT_EQ(parse_paths("2 0 0 0 0 0"), Paths{}); }
TEST(LegPaths, WhatIsNoStatus) {
    for (const char* text :
         {"", "2", "2 0 0 0 1 1 A 0 2 0 8:0 A 0", "2 0 0 0 1 1 A 0 1 0 8:0 X 0", "2 0 0 0 99999999 1", "2 0 0 0 1 1 A 0 4294967295 0", "8:0 A 0", "2 0 1 0 2 1 A 0 1 2 8:16 A 0 0"})
        EXPECT_FALSE(parse_paths(text)) << text;
}
