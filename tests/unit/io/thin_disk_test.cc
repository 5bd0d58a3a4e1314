// SPDX-License-Identifier: GPL-2.0-or-later
// What thin disks say of themselves (SBC-4, 5.11 and 5.16), and what is nonsense.
#include <gtest/gtest.h>

#include "clogd/io/thin_disk.hh"

using namespace clogd::io;

namespace {

void put(std::vector<uint8_t>& to, uint64_t value, size_t bytes) {
    for (size_t i = bytes; i-- > 0;) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

std::vector<uint8_t> capacity(uint32_t block_bytes, uint8_t flags) {
    std::vector<uint8_t> out;
    put(out, 0x100000, 8);
    put(out, block_bytes, 4);
    out.resize(32);
    out[14] = flags;
    return out;
}

struct Descriptor {
    uint64_t first;
    uint32_t count;
    uint8_t status;
};

std::vector<uint8_t> lba_status(const std::vector<Descriptor>& list) {
    std::vector<uint8_t> out;
    put(out, 4 + 16 * list.size(), 4);
    put(out, 0, 4);
    for (const Descriptor& d : list) put(out, d.first, 8), put(out, d.count, 4), put(out, uint64_t{d.status} << 24, 4);
    return out;
}

}  // namespace

TEST(ThinDisk, OnlyOneWhoseFreeBlocksReadAsZerosIsAsked) {
    EXPECT_EQ(parse_thin_capacity(capacity(512, 0xc0)), 512u);
    EXPECT_EQ(parse_thin_capacity(capacity(4096, 0xc0)), 4096u);
    for (uint8_t flags : {0x00, 0x80, 0x40}) EXPECT_FALSE(parse_thin_capacity(capacity(512, flags)));
    for (uint32_t bytes : {0u, 256u, 520u, 131072u}) EXPECT_FALSE(parse_thin_capacity(capacity(bytes, 0xc0)));
    auto cut = capacity(512, 0xc0);
    cut.resize(31);
    EXPECT_FALSE(parse_thin_capacity(cut));
}

TEST(ThinDisk, RunsFollowEachOtherFromTheBlockAskedFor) {
    auto runs = parse_lba_status(lba_status({{90, 20, 1}, {110, 5, 0}, {115, 1, 2}}), 100);
    ASSERT_EQ(runs.size(), 3u);
    EXPECT_EQ(runs[0].count, 10u);
    EXPECT_FALSE(runs[0].in_use);
    EXPECT_EQ(runs[1].count, 5u);
    EXPECT_TRUE(runs[1].in_use);
    EXPECT_FALSE(runs[2].in_use);
    EXPECT_TRUE(parse_lba_status(lba_status({{100, 5, 7}}), 100).front().in_use) << "a status that nobody knows";
}

TEST(ThinDisk, NonsenseSaysNothing) {
    EXPECT_TRUE(parse_lba_status({}, 0).empty());
    EXPECT_TRUE(parse_lba_status(lba_status({}), 0).empty());
    EXPECT_TRUE(parse_lba_status(lba_status({{101, 5, 1}}), 100).empty()) << "begins behind what was asked for";
    EXPECT_TRUE(parse_lba_status(lba_status({{90, 10, 1}}), 100).empty()) << "ends before it";
    EXPECT_TRUE(parse_lba_status(lba_status({{100, 0, 1}}), 100).empty());
    EXPECT_TRUE(parse_lba_status(lba_status({{UINT64_MAX, 2, 1}}), UINT64_MAX).empty());
    EXPECT_EQ(parse_lba_status(lba_status({{100, 5, 1}, {106, 5, 1}}), 100).size(), 1u) << "a gap";
    EXPECT_EQ(parse_lba_status(lba_status({{100, 5, 1}, {104, 5, 1}}), 100).size(), 1u) << "an overlap";
    auto cut = lba_status({{100, 5, 1}, {105, 5, 1}});
    cut.resize(cut.size() - 1);
    EXPECT_EQ(parse_lba_status(cut, 100).size(), 1u);
    auto longer = lba_status({{100, 5, 1}});
    put(longer, 105, 8), put(longer, 5, 4), put(longer, 1u << 24, 4);
    EXPECT_EQ(parse_lba_status(longer, 100).size(), 1u) << "more than it says";
}

TEST(ThinDisk, WhatIsNoSuchDiskDoesNotTell) {
    EXPECT_EQ(ThinDisk::open("no such thing"), nullptr);
    EXPECT_EQ(ThinDisk::open("../../../etc"), nullptr);
    EXPECT_EQ(ThinDisk::open("1:0"), nullptr);
}
