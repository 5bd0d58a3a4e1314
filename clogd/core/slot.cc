// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/core/slot.hh"

#include <algorithm>
#include <cassert>
#include <unordered_set>
#include <utility>

namespace clogd {

using namespace proto::logdisk;
using proto::kSectorBytes;

namespace {
constexpr uint32_t kEverythingPage = kFirstMarkPage + kMarkPages - 1;  // its last place is not for one mark

struct Copies {
    std::optional<Page> newest;
    bool first = false;  // it is the first of the two
};
Copies copies_of(uint32_t page, uint32_t log_hash, NodeId node, proto::ByteView slot) {
    const PageId id{log_hash, node, static_cast<uint16_t>(page)};
    const Page a = decode_page(id, slot.subspan(size_t{page} * 2 * kPageBytes, kPageBytes));
    Copies out{newest(a, decode_page(id, slot.subspan((size_t{page} * 2 + 1) * kPageBytes, kPageBytes))), false};
    out.first = out.newest && a.state == PageState::valid && a.seq == out.newest->seq;
    return out;
}
}  // namespace

Slot::Slot(uint32_t log_hash, NodeId node, Layout layout, uint32_t slot, uint32_t regions) : log_hash_(log_hash), node_(node), layout_(layout), slot_(slot), regions_(regions) {
    assert(slot < layout.slots);
    for (MarkPage& page : mark_pages_) {
        page.places.assign(kRangesPerPage, Range{0, 0});
        for (uint32_t i = kRangesPerPage; i-- > 0;) page.free.push_back(static_cast<uint16_t>(i));
    }
    // The last place of the last mark page is kept for "everything", so that a full table never blocks a mark.
    mark_pages_.back().free.erase(mark_pages_.back().free.begin());
}

void Slot::start(uint64_t epoch, const std::vector<Region>& marks, bool everything, proto::ByteView before) {
    assert(!writing_);
    const bool goes_on = go_on_with(before, epoch, marks);
    if (everything) {
        all_marked_ = true;
        mark_pages_.back().places.back() = Range{0, regions_};
        everything_due_ = goes_on;
    }
    for (Region r : marks) add_mark(r);
    if (!goes_on) {
        while (place_pending()) {
            for (Region r : in_write_) marks_[r].place = Place::durable;  // they travel with the image
            in_write_.clear();
        }
        for (PageCtl& page : pages_) page = {epoch << 24, 0, false};
        image_due_ = true;
    }
    pages_[kHeaderPage].dirty = true;  // written after the others, for it vouches for them
}

// Marks that are on the disk stay in their places; what is there and is not marked any more leaves it like any other mark.
bool Slot::go_on_with(proto::ByteView before, uint64_t epoch, const std::vector<Region>& marks) {
    if (before.size() != kSlotBytes || !read_slot(log_hash_, node_, before, regions_).trusted) return false;
    std::array<Page, kPages> newest_of;
    for (uint32_t p = 0; p < kPages; ++p) {
        const Copies copies = copies_of(p, log_hash_, node_, before);
        if (!copies.newest || copies.newest->state != PageState::valid) return false;
        newest_of[p] = *copies.newest;
        pages_[p] = {std::max(epoch << 24, copies.newest->seq), copies.first, false};
    }
    const std::unordered_set<Region> wanted(marks.begin(), marks.end());
    for (uint32_t k = 0; k < kMarkPages; ++k) {
        MarkPage& page = mark_pages_[k];
        std::vector<uint16_t> free;
        proto::Reader r(newest_of[kFirstMarkPage + k].payload);
        for (uint32_t i = 0; i < kRangesPerPage; ++i) {
            Range range;
            if (r.left() >= 8) r(range.start), r(range.count);
            const bool last = k == kMarkPages - 1 && i == kRangesPerPage - 1;  // not for one mark
            if (range.count == 1 && !last && wanted.contains(range.start) &&
                marks_.try_emplace(range.start, Mark{Place::durable, static_cast<uint8_t>(k), static_cast<uint16_t>(i)}).second) {
                page.places[i] = range;
                continue;
            }
            if (range.count) pages_[kFirstMarkPage + k].dirty = true;
            if (!last) free.push_back(static_cast<uint16_t>(i));
        }
        page.free.assign(free.rbegin(), free.rend());
    }
    pages_[kUnsyncedPage].dirty = newest_of[kUnsyncedPage].payload != torn_;
    pages_[kRawPage].dirty = newest_of[kRawPage].payload != raw_;
    return true;
}

void Slot::end_everything() {
    if (!all_marked_ || !marks_.empty()) return;
    all_marked_ = false;
    mark_pages_.back().places.back() = Range{0, 0};
    pages_[kEverythingPage].dirty = true;
}

bool Slot::durable(Region r) const {
    auto it = marks_.find(r);
    return it != marks_.end() && it->second.place == Place::durable && !image_due_;
}

void Slot::add_mark(Region r) {
    assert(r < regions_);
    if (marks_.try_emplace(r).second) pending_.push_back(r);
}

void Slot::drop_mark(Region r) {
    auto it = marks_.find(r);
    if (it == marks_.end()) return;
    if (it->second.place == Place::durable && it->second.page != 0xff) {
        MarkPage& page = mark_pages_[it->second.page];
        page.places[it->second.index] = Range{0, 0};
        page.free.push_back(it->second.index);
        pages_[kFirstMarkPage + it->second.page].dirty = true;
        marks_.erase(it);
    } else if (it->second.place == Place::durable) {
        marks_.erase(it);  // covered by "everything"
    }
    end_everything();
}

void Slot::set_header(const SlotHeader& header) {
    proto::Writer w;
    w(header);
    if (header_ == w.bytes()) return;
    header_ = w.take();
    pages_[kHeaderPage].dirty = true;
    // No other page tells which leg has what was acknowledged: a copy that is destroyed must not be the only one.
    if (header.legs != legs_ && (header.legs.away || header.legs.primary)) header_once_ = true;
    legs_ = header.legs;
}

void Slot::set_unsynced(const RangeSet& torn, const RangeSet& raw) {
    auto put = [&](Bytes& kept, RangeSet set, uint32_t page) {
        set.coarsen(kRangesPerPage);
        Bytes bytes = encode_ranges(set.ranges());
        if (bytes == kept) return;
        kept = std::move(bytes);
        pages_[page].dirty = true;
    };
    put(torn_, torn, kUnsyncedPage);
    put(raw_, raw, kRawPage);
}

bool Slot::clean() const { return !writing_ && !image_due_ && !everything_due_ && !pages_[kHeaderPage].dirty && !pages_[kUnsyncedPage].dirty && !pages_[kRawPage].dirty; }

bool Slot::stale() const {
    for (uint32_t p = 0; p < kMarkPages; ++p)
        if (pages_[kFirstMarkPage + p].dirty) return true;
    return false;
}

// Gives waiting marks their places, all in the one page with most room; false if nothing waits.
bool Slot::place_pending() {
    if (pending_.empty()) return false;
    uint32_t best = 0;
    for (uint32_t p = 1; p < kMarkPages; ++p)
        if (mark_pages_[p].free.size() > mark_pages_[best].free.size()) best = p;
    MarkPage& page = mark_pages_[best];
    if (page.free.empty() && !all_marked_) {
        all_marked_ = true;
        mark_pages_.back().places.back() = Range{0, regions_};
        best = kMarkPages - 1;
    }
    while (!pending_.empty()) {
        Mark& mark = marks_[pending_.front()];
        if (all_marked_) {
            mark = {Place::writing, 0xff, 0};
        } else if (!page.free.empty()) {
            mark = {Place::writing, static_cast<uint8_t>(best), page.free.back()};
            page.places[page.free.back()] = Range{pending_.front(), 1};
            page.free.pop_back();
        } else {
            break;
        }
        in_write_.push_back(pending_.front());
        pending_.pop_front();
    }
    writing_page_ = kFirstMarkPage + (all_marked_ ? kMarkPages - 1 : best);
    return true;
}

SlotWrite Slot::page_write(uint32_t page, proto::ByteView payload) {
    PageCtl& ctl = pages_[page];
    ctl.dirty = false;
    if (page == kHeaderPage) header_first_ = std::exchange(header_once_, false);
    ++ctl.seq;
    writing_ = true;
    writing_page_ = page;
    ++writes_;
    PageId id{log_hash_, node_, static_cast<uint16_t>(page)};
    return {layout_.page_at(slot_, page, ctl.next_copy), encode_page(id, ctl.seq, payload)};
}

std::optional<SlotWrite> Slot::next_write(bool stale_too) {
    if (writing_) return std::nullopt;
    if (image_due_) {
        SlotWrite image{layout_.page_at(slot_, kFirstMarkPage, 0), {}};
        for (uint32_t p = kFirstMarkPage; p < kPages; ++p) {
            Bytes payload = p == kUnsyncedPage ? torn_ : p == kRawPage ? raw_ : encode_ranges(mark_pages_[p - kFirstMarkPage].places);
            for (int copy = 0; copy < 2; ++copy) {
                Bytes page = encode_page({log_hash_, node_, static_cast<uint16_t>(p)}, ++pages_[p].seq, payload);
                image.data.insert(image.data.end(), page.begin(), page.end());
            }
            pages_[p].dirty = false;
        }
        writing_ = true;
        ++writes_;
        return image;
    }
    if (std::exchange(everything_due_, false)) return page_write(kEverythingPage, encode_ranges(mark_pages_.back().places));
    // In turn: marks that never stop coming must not keep the others from the disk.
    const bool others = pages_[kRawPage].dirty || pages_[kUnsyncedPage].dirty || pages_[kHeaderPage].dirty;
    if (!(others && marks_last_) && place_pending()) {
        marks_last_ = true;
        return page_write(writing_page_, encode_ranges(mark_pages_[writing_page_ - kFirstMarkPage].places));
    }
    marks_last_ = false;
    if (pages_[kRawPage].dirty) return page_write(kRawPage, raw_);
    if (pages_[kUnsyncedPage].dirty) return page_write(kUnsyncedPage, torn_);
    if (pages_[kHeaderPage].dirty) return page_write(kHeaderPage, header_);  // last: it vouches for the others
    if (stale_too)
        for (uint32_t p = 0; p < kMarkPages; ++p)
            if (pages_[kFirstMarkPage + p].dirty) return page_write(kFirstMarkPage + p, encode_ranges(mark_pages_[p].places));
    return std::nullopt;
}

void Slot::written(bool ok) {
    assert(writing_);
    writing_ = false;
    if (image_due_) {
        if (ok) image_due_ = false;
        return;
    }
    PageCtl& ctl = pages_[writing_page_];
    if (ok) {
        ctl.next_copy ^= 1;
        if (writing_page_ == kHeaderPage && std::exchange(header_first_, false)) ctl.dirty = true;
        for (Region r : in_write_) {
            auto it = marks_.find(r);
            if (it != marks_.end()) it->second.place = Place::durable;
        }
        in_write_.clear();
        return;
    }
    // Again, over the same copy: the other one is the last that is known to be good.
    ctl.dirty = true;
    if (all_marked_ && writing_page_ == kEverythingPage) everything_due_ = true;
    if (writing_page_ == kHeaderPage && std::exchange(header_first_, false)) header_once_ = true;
    for (Region r : in_write_) {
        auto it = marks_.find(r);
        if (it == marks_.end()) continue;
        if (it->second.page != 0xff) {
            MarkPage& page = mark_pages_[it->second.page];
            page.places[it->second.index] = Range{0, 0};
            page.free.push_back(it->second.index);
        }
        it->second = {};
        pending_.push_back(r);
    }
    in_write_.clear();
}

SlotContent read_slot(uint32_t log_hash, NodeId node, proto::ByteView bytes, uint32_t regions) {
    SlotContent out;
    if (bytes.size() != kSlotBytes) return out;
    for (int copy = 0; copy < 2; ++copy) {
        const Page page = decode_page({log_hash, node, static_cast<uint16_t>(kHeaderPage)}, bytes.subspan(static_cast<size_t>(copy) * kPageBytes, kPageBytes));
        SlotHeader header;
        proto::Reader r(page.payload);
        r(header);
        if (page.state == PageState::valid && r.ok() && header.legs.epoch >= out.legs.epoch) out.legs = header.legs;
    }
    std::array<std::optional<Page>, kPages> pages;
    for (uint32_t p = 0; p < kPages; ++p) pages[p] = copies_of(p, log_hash, node, bytes).newest;
    if (!pages[kHeaderPage]) return out;
    if (pages[kHeaderPage]->state == PageState::zero) {  // the header is written last: without it the rest says nothing
        out.trusted = true;
        return out;
    }
    proto::Reader r(pages[kHeaderPage]->payload);
    r(out.header);
    if (!r.ok()) return out;
    out.present = true;
    for (uint32_t p = kFirstMarkPage; p < kPages; ++p) {
        if (!pages[p]) return out;
        auto ranges = decode_ranges(pages[p]->payload, regions);
        if (!ranges) return out;
        (p == kUnsyncedPage ? out.torn : p == kRawPage ? out.raw : out.marks).add(*ranges);
    }
    out.trusted = true;
    return out;
}

NodeId slot_owner(proto::ByteView bytes) {
    for (size_t at = 0; at + kSectorBytes <= bytes.size() && at < 2 * kPageBytes; at += kSectorBytes) {
        proto::Reader r(bytes.subspan(at));
        uint32_t magic = 0, hash = 0, node = 0;
        r(magic), r(hash), r(node);
        if (magic == kSectorMagic) return node;
    }
    return 0;
}

}  // namespace clogd
