// SPDX-License-Identifier: GPL-2.0-or-later
// A set of regions as disjoint, sorted, non-adjacent ranges. Sized for sets that are large but simple (all of a mirror) or small.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "proto/region.hh"

namespace clogd {

using proto::NodeId;
using proto::Range;
using proto::Region;

class RangeSet {
  public:
    RangeSet() = default;
    explicit RangeSet(const std::vector<Range>& ranges) { add(ranges); }

    bool empty() const { return map_.empty(); }
    uint64_t count() const { return count_; }  // regions
    size_t range_count() const { return map_.size(); }
    bool operator==(const RangeSet&) const = default;

    void clear() {
        map_.clear();
        count_ = 0;
    }

    void add(Region r) { add(Range{r, 1}); }
    void add(Range r) {
        uint64_t from = r.start, to = r.end();
        auto it = map_.upper_bound(from);
        if (it != map_.begin() && std::prev(it)->second >= from) --it;
        while (it != map_.end() && it->first <= to) {
            from = std::min<uint64_t>(from, it->first);
            to = std::max(to, it->second);
            count_ -= it->second - it->first;
            it = map_.erase(it);
        }
        map_[from] = to;
        count_ += to - from;
    }
    void add(const std::vector<Range>& ranges) {
        for (const Range& r : ranges) add(r);
    }
    void add(const RangeSet& other) {
        for (auto [from, to] : other.map_) add(make(from, to));
    }

    void remove(Region r) { remove(Range{r, 1}); }
    void remove(Range r) {
        uint64_t from = r.start, to = r.end();
        auto it = map_.upper_bound(from);
        if (it != map_.begin() && std::prev(it)->second > from) --it;
        while (it != map_.end() && it->first < to) {
            auto [start, end] = *it;
            it = map_.erase(it);
            count_ -= end - start;
            if (start < from) map_[start] = from, count_ += from - start;
            if (end > to) {
                map_[to] = end, count_ += end - to;
                break;
            }
        }
    }
    void remove(const std::vector<Range>& ranges) {
        for (const Range& r : ranges) remove(r);
    }
    void remove(const RangeSet& other) {
        for (auto [from, to] : other.map_) remove(make(from, to));
    }

    bool contains(Region r) const {
        auto it = map_.upper_bound(r);
        return it != map_.begin() && std::prev(it)->second > r;
    }
    bool intersects(Range r) const {
        auto it = map_.upper_bound(r.start);
        if (it != map_.begin() && std::prev(it)->second > r.start) return true;
        return it != map_.end() && it->first < r.end();
    }
    // The part of this set that lies in r, at most `limit` ranges.
    RangeSet within(Range r) const {
        RangeSet out;
        auto it = map_.upper_bound(r.start);
        if (it != map_.begin() && std::prev(it)->second > r.start) --it;
        for (; it != map_.end() && it->first < r.end(); ++it) out.add(make(std::max<uint64_t>(it->first, r.start), std::min(it->second, r.end())));
        return out;
    }
    RangeSet intersect(const RangeSet& other) const {
        RangeSet out;
        const RangeSet& small = range_count() <= other.range_count() ? *this : other;
        const RangeSet& large = &small == this ? other : *this;
        for (auto [from, to] : small.map_) out.add(large.within(make(from, to)));
        return out;
    }

    std::vector<Range> ranges(size_t limit = SIZE_MAX) const {
        std::vector<Range> out;
        for (auto it = map_.begin(); it != map_.end() && out.size() < limit; ++it) out.push_back(make(it->first, it->second));
        return out;
    }

    // Joins neighbours until at most `limit` ranges are left. The result contains this set.
    void coarsen(size_t limit) {
        for (uint64_t gap = 1; map_.size() > std::max<size_t>(limit, 1); gap *= 2) {
            for (auto it = map_.begin(); it != map_.end();) {
                auto next = std::next(it);
                if (next != map_.end() && next->first - it->second <= gap) {
                    count_ += next->first - it->second;
                    it->second = next->second;
                    map_.erase(next);
                } else {
                    ++it;
                }
            }
        }
    }

  private:
    static Range make(uint64_t from, uint64_t to) { return {static_cast<Region>(from), static_cast<uint32_t>(to - from)}; }
    std::map<uint64_t, uint64_t> map_;  // start -> end
    uint64_t count_ = 0;
};

}  // namespace clogd
