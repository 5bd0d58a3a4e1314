// SPDX-License-Identifier: GPL-2.0-or-later
// Table lines exactly as libdevmapper emits them for clustered logs.
#include <gtest/gtest.h>

#include "clogd/io/mirror_device.hh"

using clogd::io::parse_mirror;

TEST(MirrorTable, ClusteredDisk) {
    auto m = parse_mirror("vg-lv", 131072, "userspace 4 LVM-uuid clustered-disk 253:4 1024 2 253:5 0 253:6 2048 1 handle_errors");
    ASSERT_TRUE(m);
    EXPECT_EQ(m->log_uuid, "LVM-uuid");
    EXPECT_EQ(m->ctr, "131072 clustered-disk 253:4 1024");
    ASSERT_EQ(m->legs.size(), 2u);
    EXPECT_EQ(m->legs[1].device, "253:6");
    EXPECT_EQ(m->legs[1].offset_sectors, 2048u);
    EXPECT_TRUE(m->handle_errors);
}
TEST(MirrorTable, ClusteredCoreThreeLegs) {
    auto m = parse_mirror("x", 64, "userspace 4 u clustered-core 16 nosync 3 8:0 0 8:16 0 8:32 0");
    ASSERT_TRUE(m);
    EXPECT_EQ(m->ctr, "64 clustered-core 16 nosync");
    EXPECT_EQ(m->legs.size(), 3u);
    EXPECT_FALSE(m->handle_errors);
}
TEST(MirrorTable, IntegratedFlush) {
    auto m = parse_mirror("x", 64, "userspace 4 u integrated_flush clustered-core 16 2 8:0 0 8:16 0");
    ASSERT_TRUE(m);
    EXPECT_EQ(m->ctr, "64 clustered-core 16");
}
TEST(MirrorTable, OthersAreLeftAlone) {
    for (const char* params : {"", "core 2 1024 nosync 2 8:0 0 8:16 0", "disk 2 8:1 1024 2 8:0 0 8:16 0", "userspace 3 u other 16 2 8:0 0 8:16 0",
                               "userspace 99 u clustered-core 16 2 8:0 0", "userspace 3 u clustered-core 16 9999 8:0 0", "userspace x y z w"})
        EXPECT_FALSE(parse_mirror("x", 64, params)) << params;
}
