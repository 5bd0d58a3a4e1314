// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "clogd/core/slot.hh"

using namespace clogd;
using namespace proto::logdisk;

namespace {
constexpr uint32_t kRegions = 100000;
const uint32_t kHash = log_hash("LVM-x");

struct Disk {
    Layout l = layout(1 << 20, kRegions);
    Bytes bytes = Bytes(1 << 20);
    Slot slot{kHash, 5, l, 1, kRegions};

    void apply(const SlotWrite& w, size_t length) { std::copy(w.data.begin(), w.data.begin() + static_cast<ptrdiff_t>(length), bytes.begin() + static_cast<ptrdiff_t>(w.offset)); }
    size_t drain(bool stale = true) {
        size_t n = 0;
        while (auto w = slot.next_write(stale)) {
            apply(*w, w->data.size());
            slot.written(true);
            ++n;
        }
        return n;
    }
    SlotContent content() const { return read_slot(kHash, 5, proto::ByteView(bytes).subspan(l.slots_at + kSlotBytes, kSlotBytes), kRegions); }
    uint64_t epoch = 3;
    void set_header() {
        SlotHeader h;
        h.epoch = epoch;
        h.members = {{5, 1, 3}};
        slot.set_header(h);
    }
    void begin() {
        set_header();
        slot.start(epoch, {});
        drain();
    }
    // By the node's next daemon, or in its next standing.
    void begin_again(const std::vector<Region>& marks) {
        ++epoch;
        slot = Slot(kHash, 5, l, 1, kRegions);
        set_header();
        slot.set_unsynced({}, {});
        slot.start(epoch, marks, false, proto::ByteView(bytes).subspan(l.slots_at + kSlotBytes, kSlotBytes));
    }
};
}  // namespace

TEST(Slot, MarksShareOneWriteAndAreDurableOnlyBehindIt) {
    Disk d;
    d.begin();
    for (Region r : {7u, 90000u, 12u}) d.slot.add_mark(r);
    EXPECT_FALSE(d.slot.durable(7));
    auto w = d.slot.next_write(false);
    ASSERT_TRUE(w);
    EXPECT_EQ(w->data.size(), 4096u);
    d.slot.add_mark(500);  // came too late for this write
    EXPECT_FALSE(d.slot.durable(7));
    d.apply(*w, 4096);
    d.slot.written(true);
    EXPECT_TRUE(d.slot.durable(7) && d.slot.durable(90000) && d.slot.durable(12));
    EXPECT_FALSE(d.slot.durable(500));
    EXPECT_EQ(d.content().marks.count(), 3u);
    EXPECT_EQ(d.drain(), 1u);
    EXPECT_TRUE(d.content().marks.contains(500));
}

TEST(Slot, DroppedMarksLeaveTheDiskLater) {
    Disk d;
    d.begin();
    d.slot.add_mark(7);
    d.slot.add_mark(8);
    d.drain();
    d.slot.drop_mark(7);
    EXPECT_EQ(d.drain(false), 0u);
    EXPECT_TRUE(d.content().marks.contains(7));
    EXPECT_EQ(d.drain(true), 1u);
    EXPECT_FALSE(d.content().marks.contains(7));
    EXPECT_TRUE(d.content().marks.contains(8));
}

TEST(Slot, FailedWriteIsRepeatedOverTheSameCopy) {
    Disk d;
    d.begin();
    d.slot.add_mark(7);
    auto w = d.slot.next_write(false);
    d.apply(*w, 512);  // torn
    d.slot.written(false);
    EXPECT_FALSE(d.slot.durable(7));
    EXPECT_TRUE(d.content().trusted);
    auto again = d.slot.next_write(false);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->offset, w->offset);
    d.apply(*again, 4096);
    d.slot.written(true);
    EXPECT_TRUE(d.slot.durable(7));
    EXPECT_TRUE(d.content().marks.contains(7));
}

// I6: the table has an end. Beyond it everything counts as marked; no mark ever waits for another region to be cleared.
TEST(Slot, FullTableMarksEverything) {
    Disk d;
    d.begin();
    for (Region r = 0; r < kMaxMarks + 50; ++r) d.slot.add_mark(r * 3);
    d.drain();
    for (Region r = 0; r < kMaxMarks + 50; ++r) EXPECT_TRUE(d.slot.durable(r * 3));
    EXPECT_EQ(d.content().marks.count(), kRegions);
    for (Region r = 0; r < kMaxMarks + 50; ++r) d.slot.drop_mark(r * 3);
    d.drain();
    EXPECT_TRUE(d.content().marks.empty());
    d.slot.add_mark(1);
    d.drain();
    EXPECT_EQ(d.content().marks.count(), 1u);
}

TEST(Slot, GarbageAndForeignPagesAreNotTrusted) {
    Disk d;
    d.begin();
    d.slot.add_mark(7);
    d.drain();
    ASSERT_TRUE(d.content().trusted);
    Bytes good = d.bytes;
    d.bytes[d.l.page_at(1, 2, 0) + 700] ^= 1;
    EXPECT_FALSE(d.content().trusted);
    d.bytes = good;  // a page of the same slot in the wrong place
    std::copy_n(good.begin() + static_cast<ptrdiff_t>(d.l.page_at(1, 1, 0)), 4096, d.bytes.begin() + static_cast<ptrdiff_t>(d.l.page_at(1, 3, 1)));
    EXPECT_FALSE(d.content().trusted);
}

TEST(Slot, WhatTheSlotHeldIsGoneOnWith) {
    Disk d;
    d.begin();
    for (Region r : {7u, 8u, 9u}) d.slot.add_mark(r), d.drain();  // in several pages, and copies
    d.begin_again({7, 9, 20});
    EXPECT_FALSE(d.slot.clean());
    const Bytes before = d.bytes;
    while (auto w = d.slot.next_write(true)) {
        ASSERT_EQ(w->data.size(), 4096u) << "a page at a time";
        d.slot.written(true);
        for (size_t cut = 0; cut <= w->data.size(); cut += 512) {
            d.apply(*w, cut);
            EXPECT_TRUE(d.content().trusted);
            EXPECT_TRUE(d.content().marks.contains(7) && d.content().marks.contains(9));
        }
    }
    EXPECT_EQ(d.content().marks.count(), 3u) << "8 has left, 20 has come";
    EXPECT_TRUE(d.content().marks.contains(20));
    EXPECT_EQ(d.content().header.epoch, d.epoch);
    // Without knowing what it held, the newest copy of a page goes first.
    d.bytes = before;
    Slot blind(kHash, 5, d.l, 1, kRegions);
    blind.start(d.epoch, {7, 9, 20});
    size_t lost = 0;
    const auto image = blind.next_write(true);
    ASSERT_TRUE(image);
    for (size_t cut = 0; cut < image->data.size(); cut += 512) {
        d.bytes = before;
        d.apply(*image, cut);
        lost += d.content().trusted && !(d.content().marks.contains(7) && d.content().marks.contains(9));
    }
    EXPECT_GT(lost, 0u) << "the test would not show it";
}

// Whatever is cut short, whenever: what was acknowledged is read back, and at most what was under way beside it.
RC_GTEST_PROP(Slot, ACrashLosesNothingAcknowledged, ()) {
    Disk d;
    d.begin();
    std::set<Region> acked;
    auto steps = *rc::gen::container<std::vector<std::pair<uint8_t, uint8_t>>>(rc::gen::arbitrary<std::pair<uint8_t, uint8_t>>());
    std::set<Region> asked;
    for (auto [what, r] : steps) {
        if (what < 150) {
            d.slot.add_mark(r);
            asked.insert(r);
        } else if (what < 180 && acked.count(r)) {
            d.slot.drop_mark(r);
            acked.erase(r);
        } else if (what > 245) {
            d.begin_again({acked.begin(), acked.end()});
        } else if (auto w = d.slot.next_write(what % 2)) {
            bool ok = what % 3 != 0;
            d.apply(*w, ok ? w->data.size() : (what % 8) * 512);
            d.slot.written(ok);
        }
        for (Region a : asked)
            if (d.slot.durable(a)) acked.insert(a);
        SlotContent c = d.content();
        RC_ASSERT(c.trusted);
        for (Region a : acked) RC_ASSERT(c.marks.contains(a));
        for (const Range& range : c.marks.ranges())
            for (uint32_t i = 0; i < range.count; ++i) RC_ASSERT(asked.count(range.start + i) == 1);
    }
}

TEST(Slot, ManyUnsyncedRangesAreJoinedNotDropped) {
    Disk d;
    RangeSet torn;
    for (Region r = 0; r < 5000; ++r) torn.add(r * 20);
    d.slot.set_unsynced(torn, {});
    d.begin();
    SlotContent c = d.content();
    EXPECT_EQ(c.torn.intersect(torn), torn);
    EXPECT_LE(c.torn.range_count(), kRangesPerPage);
}

// Whatever is marked all the time, what is not in sync and the header come to the disk.
TEST(Slot, MarksThatNeverStopDoNotKeepTheHeaderFromTheDisk) {
    Disk d;
    d.begin();
    SlotHeader h;
    h.epoch = 99;
    d.slot.set_header(h);
    RangeSet raw;
    raw.add(Region{17});
    d.slot.set_unsynced({}, raw);
    Region next = 0;
    d.slot.add_mark(next++);
    for (int writes = 0; writes < 20 && !d.slot.clean(); ++writes) {
        auto w = d.slot.next_write(false);
        ASSERT_TRUE(w);
        d.slot.add_mark(next++);  // one more comes while it is under way
        d.apply(*w, w->data.size());
        d.slot.written(true);
    }
    EXPECT_TRUE(d.slot.clean());
    EXPECT_EQ(d.content().header.epoch, 99u);
    EXPECT_TRUE(d.content().raw.contains(17));
}

// The header alone tells which leg has what was acknowledged: a write that goes astray over one copy must not be able to destroy that.
TEST(Slot, WhichLegsAreAwayStandsInBothCopiesOfTheHeader) {
    Disk d;
    d.begin();
    SlotHeader h;
    h.epoch = 4;
    h.members = {{5, 1, 3}};
    h.legs = {7, 2, 1, 1};
    d.slot.set_header(h);
    EXPECT_EQ(d.drain(), 2u);
    const Bytes whole = d.bytes;
    const uint64_t at = d.l.page_at(1, 0, 0);
    for (uint64_t copy : {0, 1}) {
        d.bytes = whole;
        const Bytes stray = encode_page({kHash, 9, 4}, 77, {});
        std::copy(stray.begin(), stray.end(), d.bytes.begin() + static_cast<ptrdiff_t>(at + copy * kPageBytes));
        EXPECT_FALSE(d.content().trusted);
        EXPECT_EQ(d.content().legs, h.legs);
    }
}
