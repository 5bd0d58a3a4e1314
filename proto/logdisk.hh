// SPDX-License-Identifier: GPL-2.0-or-later
// The log disk: format 3 (in use by the cluster) and "MiRr" version 2 (the kernel's `disk` log, when the log is closed).
//
//   byte 0      page 0: format 3's header, or the MiRr header; whichever was written last decides what the disk is
//   byte 1024   MiRr: one bit per region, 1 = clean, little-endian (only valid under a MiRr header)
//   slots_at    format 3: one slot per node, back to back; the node is the slot's only writer
//
// A slot has kPages pages, each in two copies that are written in turn, so a write that is cut short never destroys what was
// acknowledged before it. A page is eight sectors that each carry their own identity, sequence number and checksum: a page with
// whole sectors of two sequence numbers is torn (a crash, harmless), one with a bad or foreign sector is not to be trusted.
//
// While format 3 is in use the first sector lacks the MiRr magic, so the stock kernel takes the log for a new one and copies all.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "proto/bytes.hh"
#include "proto/region.hh"

namespace proto::logdisk {

inline constexpr uint32_t kPageBytes = 4096;
inline constexpr uint32_t kSectors = kPageBytes / kSectorBytes;
inline constexpr uint32_t kSectorPayload = kSectorBytes - 32;
inline constexpr uint32_t kPagePayload = kSectors * kSectorPayload;  // 3840
inline constexpr uint32_t kRangesPerPage = kPagePayload / 8;         // 480

inline constexpr uint32_t kHeaderPage = 0;
inline constexpr uint32_t kFirstMarkPage = 1;
inline constexpr uint32_t kMarkPages = 6;
inline constexpr uint32_t kUnsyncedPage = kFirstMarkPage + kMarkPages;  // one page of torn, one of raw ranges
inline constexpr uint32_t kRawPage = kUnsyncedPage + 1;
inline constexpr uint32_t kPages = kRawPage + 1;
inline constexpr uint32_t kMaxMarks = kMarkPages * kRangesPerPage;  // 2880 entries
inline constexpr uint32_t kSlotBytes = kPages * 2 * kPageBytes;

inline constexpr uint32_t kSectorMagic = 0x33474c43;  // "CLG3"
inline constexpr uint32_t kMirrMagic = 0x4D695272;    // "MiRr"
inline constexpr uint32_t kMirrVersion = 2;
inline constexpr uint64_t kMirrBitsAt = 1024;
inline constexpr uint32_t kFormat = 3;
inline constexpr uint16_t kGlobalHeader = 0xffff;  // "page" number of page 0

struct Layout {
    uint64_t slots_at = 0;
    uint32_t slots = 0;         // 0: the device is too small
    uint64_t needed_bytes = 0;  // for one slot
    uint64_t page_at(uint32_t slot, uint32_t page, uint32_t copy) const { return slots_at + uint64_t{slot} * kSlotBytes + (uint64_t{page} * 2 + copy) * kPageBytes; }
};

inline uint64_t mirr_bytes(uint64_t regions) { return kMirrBitsAt + (regions + 63) / 64 * 8; }

inline Layout layout(uint64_t device_bytes, uint64_t regions) {
    Layout l;
    l.slots_at = (mirr_bytes(regions) + kPageBytes - 1) / kPageBytes * kPageBytes;
    l.needed_bytes = l.slots_at + kSlotBytes;
    if (device_bytes >= l.needed_bytes) l.slots = static_cast<uint32_t>(std::min<uint64_t>(kMaxNodes, (device_bytes - l.slots_at) / kSlotBytes));
    return l;
}

// Who a page belongs to. log_hash is fnv1a of the mirror's uuid, folded to 32 bits.
struct PageId {
    uint32_t log_hash = 0;
    NodeId node = 0;
    uint16_t page = 0;
    bool operator==(const PageId&) const = default;
};

constexpr PageId global_header_id(uint32_t log_hash) { return {log_hash, 0, kGlobalHeader}; }

inline uint32_t log_hash(std::string_view uuid) {
    uint64_t h = fnv1a(uuid);
    return static_cast<uint32_t>(h ^ (h >> 32));
}

inline Bytes encode_page(const PageId& id, uint64_t seq, ByteView payload) {
    Bytes out(kPageBytes);
    for (uint32_t s = 0; s < kSectors; ++s) {
        Writer w;
        w(kSectorMagic);
        w(id.log_hash);
        w(id.node);
        w(id.page);
        w(static_cast<uint16_t>(s));
        w(seq);
        w(uint32_t{0});
        auto sector = out.begin() + static_cast<ptrdiff_t>(size_t{s} * kSectorBytes);
        auto end = std::copy(w.bytes().begin(), w.bytes().end(), sector);
        size_t from = std::min<size_t>(size_t{s} * kSectorPayload, payload.size());
        size_t to = std::min<size_t>(from + kSectorPayload, payload.size());
        std::copy(payload.begin() + static_cast<ptrdiff_t>(from), payload.begin() + static_cast<ptrdiff_t>(to), end);
        Writer tail;
        tail(crc32c(ByteView(sector, kSectorBytes - 4)));
        std::copy(tail.bytes().begin(), tail.bytes().end(), sector + kSectorBytes - 4);
    }
    return out;
}

enum class PageState : uint8_t {
    zero,   // never written since the disk was formatted
    valid,  // whole and of the expected identity
    torn,   // sectors of two writes: the later one was never acknowledged
    bad,    // garbage, or somebody else's page: nothing in this slot is to be trusted
};

struct Page {
    PageState state = PageState::bad;
    uint64_t seq = 0;  // of a torn page: the highest
    Bytes payload;
};

inline Page decode_page(const PageId& id, ByteView bytes) {
    Page page;
    if (bytes.size() != kPageBytes) return page;
    bool any_zero = false, any_whole = false, mixed = false;
    for (uint32_t s = 0; s < kSectors; ++s) {
        ByteView sector = bytes.subspan(size_t{s} * kSectorBytes, kSectorBytes);
        if (sector[0] == 0 && std::memcmp(sector.data(), sector.data() + 1, kSectorBytes - 1) == 0) {  // all zero
            any_zero = true;
            continue;
        }
        Reader r(sector);
        uint32_t magic = 0, hash = 0, node = 0, reserved = 0;
        uint16_t number = 0, index = 0;
        uint64_t seq = 0;
        r(magic), r(hash), r(node), r(number), r(index), r(seq), r(reserved);
        uint32_t crc = 0;
        Reader tail(sector.subspan(kSectorBytes - 4));
        tail(crc);
        if (magic != kSectorMagic || hash != id.log_hash || node != id.node || number != id.page || index != s || crc != crc32c(sector.first(kSectorBytes - 4)))
            return page;  // bad
        if (any_whole && seq != page.seq) mixed = true;
        page.seq = std::max(page.seq, seq);
        any_whole = true;
        page.payload.insert(page.payload.end(), sector.begin() + 28, sector.begin() + 28 + kSectorPayload);
    }
    if (!any_whole) {
        page.state = PageState::zero;
    } else if (any_zero || mixed) {
        page.state = PageState::torn;
        page.payload.clear();
    } else {
        page.state = PageState::valid;
    }
    return page;
}

// Of the two copies of a page the newest whole one counts. nullopt: not to be trusted.
inline std::optional<Page> newest(const Page& a, const Page& b) {
    if (a.state == PageState::bad || b.state == PageState::bad) return std::nullopt;
    auto usable = [](const Page& p) { return p.state == PageState::valid; };
    if (usable(a) && usable(b)) return a.seq >= b.seq ? a : b;
    if (usable(a) || usable(b)) {
        const Page& good = usable(a) ? a : b;
        const Page& other = usable(a) ? b : a;
        // A torn copy can only be the write after the good one; anything older was whole once and is now damaged.
        if (other.state == PageState::torn && other.seq <= good.seq) return std::nullopt;
        return good;
    }
    if (a.state == PageState::torn && b.state == PageState::torn) return std::nullopt;
    Page empty;
    empty.state = PageState::zero;
    return empty;
}

// --- page contents -------------------------------------------------------------------------------------------------------

struct GlobalHeader {
    uint32_t format = kFormat;
    std::string uuid;
    uint32_t region_sectors = 0;
    uint32_t regions = 0;
    uint32_t slots = 0;  // 0: they are about to be written anew
    uint64_t slots_at = 0;
    AgreedLegs legs;  // as they were found when a state was formed, if a slot that told of them was about to be overwritten
    template <class A>
    void fields(A& a) {
        a(format), a(uuid), a(region_sectors), a(regions), a(slots), a(slots_at), a(legs);
    }
};

// Page 0 while the log is in use. nullopt: it is damaged, or something else.
inline std::optional<GlobalHeader> decode_global_header(uint32_t log_hash, ByteView page0) {
    const Page page = decode_page(global_header_id(log_hash), page0);
    if (page.state != PageState::valid) return std::nullopt;
    GlobalHeader h;
    Reader r(page.payload);
    r(h);
    return r.ok() ? std::optional(h) : std::nullopt;
}

struct SlotMember {
    NodeId node = 0;
    uint16_t slot = 0;
    uint64_t join_epoch = 0;
    template <class A>
    void fields(A& a) {
        a(node), a(slot), a(join_epoch);
    }
};

struct SlotHeader {
    uint64_t epoch = 0;
    uint64_t boot = 0;  // names the owner's boot: marks of an earlier one have no kernel that would still be writing
    std::vector<SlotMember> members;
    AgreedLegs legs;               // the highest epoch of all slots counts
    uint8_t closed = 0;            // the members have left cleanly, while a leg was away
    uint8_t not_in_sync_told = 0;  // its kernel, of the stock target, was told so of regions: it writes them to one leg unasked until its table is replaced
    template <class A>
    void fields(A& a) {
        a(epoch), a(boot), a(members), a(legs), a(closed);
        later_field(a, not_in_sync_told);
    }
};

// Mark, torn and raw pages hold ranges; entries with count 0 are free places.
inline Bytes encode_ranges(const std::vector<Range>& places) {
    Writer w;
    for (const Range& r : places) {
        w(r.start);
        w(r.count);
    }
    return w.take();
}

inline std::optional<std::vector<Range>> decode_ranges(ByteView payload, uint32_t regions) {
    std::vector<Range> out;
    Reader r(payload);
    while (r.left() >= 8) {
        Range range;
        r(range.start);
        r(range.count);
        if (range.count == 0) continue;
        if (range.end() > regions) return std::nullopt;
        out.push_back(range);
    }
    return out;
}

// --- MiRr version 2 -------------------------------------------------------------------------------------------------------

struct Mirr {
    uint64_t regions = 0;  // LVM writes 2^64-1 for "as many as the mirror has"
};

inline std::optional<Mirr> decode_mirr(ByteView page0) {
    uint32_t magic = 0, version = 0;
    Mirr m;
    Reader r(page0);
    r(magic), r(version), r(m.regions);
    if (!r.ok() || magic != kMirrMagic || version != kMirrVersion) return std::nullopt;
    return m;
}

}  // namespace proto::logdisk
