// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "clogd/core/range_set.hh"

using clogd::Range;
using clogd::RangeSet;

namespace {
std::set<uint32_t> plain(const RangeSet& s) {
    std::set<uint32_t> out;
    for (const Range& r : s.ranges())
        for (uint32_t i = 0; i < r.count; ++i) out.insert(r.start + i);
    return out;
}
}  // namespace

RC_GTEST_PROP(RangeSet, BehavesLikeASetOfNumbers, ()) {
    RangeSet set;
    std::set<uint32_t> model;
    auto steps = *rc::gen::container<std::vector<std::tuple<bool, uint8_t, uint8_t>>>(rc::gen::arbitrary<std::tuple<bool, uint8_t, uint8_t>>());
    for (auto [add, start, length] : steps) {
        Range r{start, 1u + length % 20};
        for (uint32_t i = 0; i < r.count; ++i) add ? (void)model.insert(r.start + i) : (void)model.erase(r.start + i);
        add ? set.add(r) : set.remove(r);
        RC_ASSERT(set.count() == model.size());
    }
    RC_ASSERT(plain(set) == model);
    auto ranges = set.ranges();
    for (size_t i = 1; i < ranges.size(); ++i) RC_ASSERT(ranges[i - 1].end() < ranges[i].start);  // disjoint, sorted, not adjacent
    for (uint32_t r = 0; r < 300; ++r) RC_ASSERT(set.contains(r) == (model.count(r) == 1));
}

RC_GTEST_PROP(RangeSet, IntersectAndWithin, (std::set<uint8_t> a, std::set<uint8_t> b, uint8_t from, uint8_t length)) {
    RangeSet x, y;
    for (uint8_t v : a) x.add(v);
    for (uint8_t v : b) y.add(v);
    std::set<uint32_t> both, window;
    for (uint8_t v : a) {
        if (b.count(v)) both.insert(v);
        if (v >= from && v < from + length + 1) window.insert(v);
    }
    RC_ASSERT(plain(x.intersect(y)) == both);
    RC_ASSERT(plain(x.within({from, length + 1u})) == window);
    RC_ASSERT(x.intersects({from, length + 1u}) == !window.empty());
}

RC_GTEST_PROP(RangeSet, CoarsenOnlyAdds, (std::set<uint16_t> a, uint8_t limit)) {
    RangeSet x;
    for (uint16_t v : a) x.add(v);
    RangeSet before = x;
    x.coarsen(limit);
    RC_ASSERT(x.range_count() <= std::max<size_t>(1, limit));
    RC_ASSERT(x.intersect(before) == before);
    if (before.range_count() <= limit) RC_ASSERT(x == before);
}
