// SPDX-License-Identifier: GPL-2.0-or-later
// A node's slot on the log disk: which region stands in which place of which page, and which page to write next.
//
// Keeps I1 on disk: a mark is `durable` only after the page that holds it was written. Never does I/O itself: the owner asks
// next_write(), carries it out, and tells written(). One write is in flight at a time, and every mark that waits shares the next.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <unordered_map>

#include "clogd/core/range_set.hh"
#include "proto/logdisk.hh"

namespace clogd {

using proto::Bytes;

struct SlotWrite {
    uint64_t offset = 0;
    Bytes data;
};

class Slot {
  public:
    Slot(uint32_t log_hash, NodeId node, proto::logdisk::Layout layout, uint32_t slot, uint32_t regions);

    // Puts the slot in its first state. before: what the place holds now. Where that is a whole slot of this node's its pages are gone on with, for
    // each copy that is the newest of its page must stay until the other one is written; else all of it is replaced.
    // everything: what was marked before is not known, so all of it counts as marked.
    void start(uint64_t epoch, const std::vector<Region>& marks, bool everything = false, proto::ByteView before = {});

    void add_mark(Region r);   // becomes durable with a later write
    void drop_mark(Region r);  // leaves the disk with a later write; the caller has made the legs durable
    bool durable(Region r) const;
    void end_everything();  // the kernel was drained: `marks` say it all
    bool waiting() const { return !pending_.empty(); }

    void set_header(const proto::logdisk::SlotHeader& header);
    void set_unsynced(const RangeSet& torn, const RangeSet& raw);

    std::optional<SlotWrite> next_write(bool stale_too);
    void written(bool ok);
    bool writing() const { return writing_; }
    bool clean() const;  // header and unsynced pages on disk are current
    bool stale() const;  // dropped marks are still on disk
    uint64_t writes() const { return writes_; }

  private:
    enum class Place : uint8_t { pending, writing, durable };
    struct Mark {
        Place place = Place::pending;
        uint8_t page = 0;
        uint16_t index = 0;
    };
    struct PageCtl {
        uint64_t seq = 0;
        uint8_t next_copy = 0;
        bool dirty = false;
    };
    struct MarkPage {
        std::vector<Range> places;
        std::vector<uint16_t> free;
    };

    SlotWrite page_write(uint32_t page, proto::ByteView payload);
    bool place_pending();
    bool go_on_with(proto::ByteView before, uint64_t epoch, const std::vector<Region>& marks);

    uint32_t log_hash_;
    NodeId node_;
    proto::logdisk::Layout layout_;
    uint32_t slot_;
    uint32_t regions_;
    std::unordered_map<Region, Mark> marks_;
    std::deque<Region> pending_;
    std::array<PageCtl, proto::logdisk::kPages> pages_{};
    std::array<MarkPage, proto::logdisk::kMarkPages> mark_pages_{};
    Bytes header_, torn_, raw_;
    proto::AgreedLegs legs_;     // of the header
    bool header_first_ = false;  // the write under way is the first of two
    bool header_once_ = false;   // one copy of the header says it, and the other is to follow
    std::vector<Region> in_write_;
    uint32_t writing_page_ = 0;
    bool writing_ = false;
    bool marks_last_ = false;  // the last page that was written was one of marks
    bool image_due_ = false;
    bool everything_due_ = false;  // the page that says so, before anything else
    bool all_marked_ = false;      // the table was full: one entry covers everything until it empties
    uint64_t writes_ = 0;
};

// What a slot says, read back. trusted: false if any page is damaged.
struct SlotContent {
    bool trusted = false;
    bool present = false;  // somebody has used the slot since the disk was formatted
    proto::logdisk::SlotHeader header;
    proto::AgreedLegs legs;  // the newest that any whole copy of the header says of them, also if nothing else can be trusted
    RangeSet marks, torn, raw;
};
SlotContent read_slot(uint32_t log_hash, NodeId node, proto::ByteView bytes, uint32_t regions);

// The node whose pages fill this slot, 0 if it was never used.
NodeId slot_owner(proto::ByteView bytes);

}  // namespace clogd
