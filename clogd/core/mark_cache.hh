// SPDX-License-Identifier: GPL-2.0-or-later
// Which regions this node has marked, which of them its kernel uses, and which have been idle for longest.
//
// Marks are sticky: the kernel's clear only starts the idle time. A region leaves when it was idle for long enough, or when
// the cap is passed and it is the longest idle. One that the kernel uses never leaves (I1).
#pragma once

#include <map>
#include <unordered_map>
#include <vector>

#include "clogd/core/event.hh"

namespace clogd {

class MarkCache {
  public:
    bool marked(Region r) const { return entries_.contains(r); }
    bool used(Region r) const {
        auto it = entries_.find(r);
        return it != entries_.end() && it->second.used;
    }
    size_t size() const { return entries_.size(); }
    size_t used_count() const { return entries_.size() - idle_.size(); }

    void use(Region r) {
        auto [it, fresh] = entries_.try_emplace(r);
        if (!fresh && !it->second.used) idle_.erase(it->second.order);
        it->second.used = true;
    }
    void idle(Region r, TimeMs now) {
        auto it = entries_.find(r);
        if (it == entries_.end() || !it->second.used) return;
        it->second = {false, ++order_, now};
        idle_.emplace(order_, r);
    }
    void drop(Region r) {
        auto it = entries_.find(r);
        if (it == entries_.end()) return;
        if (!it->second.used) idle_.erase(it->second.order);
        entries_.erase(it);
    }
    void clear() { *this = {}; }

    // Idle regions that may lose their mark: those idle since before `now - idle_ms`, and the oldest beyond `cap`.
    struct Idle {
        Region region = 0;
        uint64_t order = 0;  // names this time of being idle
    };
    std::vector<Idle> droppable(TimeMs now, TimeMs idle_ms, size_t cap) const {
        std::vector<Idle> out;
        size_t over = entries_.size() > cap ? entries_.size() - cap : 0;
        for (const auto& [order, r] : idle_) {
            bool old = now - entries_.at(r).since >= idle_ms;
            if (!old && out.size() >= over) break;
            out.push_back({r, order});
        }
        return out;
    }
    // Was it idle all the time since droppable() named it?
    bool still(const Idle& i) const {
        auto it = entries_.find(i.region);
        return it != entries_.end() && !it->second.used && it->second.order == i.order;
    }
    std::vector<Region> all() const {
        std::vector<Region> out;
        for (const auto& [r, e] : entries_) out.push_back(r);
        return out;
    }
    std::vector<Region> in_use() const {
        std::vector<Region> out;
        for (const auto& [r, e] : entries_)
            if (e.used) out.push_back(r);
        return out;
    }

  private:
    struct Entry {
        bool used = true;
        uint64_t order = 0;
        TimeMs since = 0;
    };
    std::unordered_map<Region, Entry> entries_;
    std::map<uint64_t, Region> idle_;  // oldest first
    uint64_t order_ = 0;
};

}  // namespace clogd
