// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer over every decoder of bytes from outside. FUZZ_TARGET picks one; a crash or a sanitizer's report is a finding.
#include <cstdlib>
#include <cstring>

#include "clogd/core/cluster.hh"
#include "clogd/core/slot.hh"
#include "clogd/io/mirror_device.hh"
#include "clogd/io/thin_disk.hh"
#include "dm-raid1-ext/agreement.h"
#include "dm-raid1-ext/picture.h"
#include "proto/ulog.hh"
#include "proto/wire.hh"

using namespace proto;

namespace {

void check(bool ok) {
    if (!ok) std::abort();
}

// A checksum would keep the fuzzer out, so it is mended first.
void fuzz_wire(ByteView bytes) {
    Bytes frame(bytes.begin(), bytes.end());
    if (frame.size() < 20) return;
    uint32_t crc = crc32c(ByteView(frame).first(frame.size() - 4));
    for (int i = 0; i < 4; ++i) frame[frame.size() - 4 + static_cast<size_t>(i)] = static_cast<uint8_t>(crc >> (8 * i));
    if (auto m = wire::decode(frame)) {
        Bytes again = wire::encode(*m);
        if (again.size() <= kMaxMessageBytes) check(wire::decode(again).has_value());
    }
}

void fuzz_ulog(ByteView bytes) {
    if (auto call = ulog::decode(bytes)) {
        check(call->uuid.size() <= kMaxUuid && call->data.size() <= bytes.size());
        std::string why;
        clogd::Log::parse_ctr(call->text(), &why);
    }
}

void fuzz_ctr(ByteView bytes) {
    std::string why;
    auto in = clogd::Log::parse_ctr({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, &why);
    check(in.has_value() || !why.empty());
    if (in) check(in->params.regions() > 0 && (in->params.region_sectors & (in->params.region_sectors - 1)) == 0);
    clogd::io::parse_mirror("x", 64, std::string(bytes.begin(), bytes.end()));
}

void fuzz_slot(ByteView bytes) {
    Bytes image(logdisk::kSlotBytes);
    // Input patches a slot that is whole: offset, length, bytes.
    for (uint32_t p = 0; p < logdisk::kPages; ++p)
        for (uint32_t c = 0; c < 2; ++c) {
            Bytes page = logdisk::encode_page({1, 2, static_cast<uint16_t>(p)}, c + 1, bytes.first(std::min<size_t>(bytes.size(), 3840)));
            std::copy(page.begin(), page.end(), image.begin() + static_cast<ptrdiff_t>((p * 2 + c) * 4096));
        }
    clogd::read_slot(1, 2, image, 1000);
    if (bytes.size() > 4) {
        size_t at = (size_t{bytes[0]} << 8 | bytes[1]) % (image.size() - 256);
        std::copy_n(bytes.begin() + 2, std::min<size_t>(bytes.size() - 2, 256), image.begin() + static_cast<ptrdiff_t>(at));
        auto content = clogd::read_slot(1, 2, image, 1000);
        for (const auto& r : content.marks.ranges()) check(r.end() <= 1000);
    }
    logdisk::decode_mirr(bytes);
    logdisk::decode_global_header(1, bytes);
}

void fuzz_state(ByteView bytes) {
    if (auto s = clogd::LogState::decode(bytes)) s->digest();
}

// A whole daemon that is told nonsense by its peers, in a settled view.
void fuzz_cluster(ByteView bytes) {
    clogd::Config c;
    c.self = 1;
    clogd::Cluster cluster(c);
    auto feed = [&](const clogd::Event& e) {
        cluster.step(e, 1000);
        return cluster.output();
    };
    feed(clogd::ev::Membership{{{1, 1}, {2, 2}}, {}});
    feed(clogd::ev::Ring{1, 1, {1, 2}});
    feed(clogd::ev::ScanDone{});
    wire::ViewId view;
    for (auto& o : feed(clogd::ev::Quorum{1, 1, true}))
        if (auto* s = std::get_if<clogd::out::Send>(&o)) {
            view = wire::decode(s->frame)->view;
            feed(clogd::ev::Deliver{1, s->frame});
        }
    feed(clogd::ev::Deliver{2, wire::encode({view, {}, wire::Hello{}})});
    ulog::Call call;
    call.luid = 1;
    call.uuid = "u";
    call.type = ulog::Request::ctr;
    std::string ctr = "4096 clustered-core 16 nosync";
    call.data.assign(ctr.begin(), ctr.end());
    feed(clogd::ev::Call{call});
    call.type = ulog::Request::resume;
    feed(clogd::ev::Call{call});
    std::vector<clogd::Output> out = feed(clogd::ev::LegDisks{"u", {}, {}});
    for (int i = 0; i < 4; ++i) {
        std::vector<clogd::Output> next;
        for (auto& o : out)
            if (auto* s = std::get_if<clogd::out::Send>(&o))
                for (auto& x : feed(clogd::ev::Deliver{1, s->frame})) next.push_back(std::move(x));
        out = std::move(next);
    }
    while (bytes.size() > 3) {
        size_t n = std::min<size_t>(bytes.size() - 3, bytes[1] + 1u);
        Reader r(bytes.subspan(2, n));
        wire::Body body;
        if (wire::detail::decode_body(bytes[0] % std::variant_size_v<wire::Body>, r, body)) feed(clogd::ev::Deliver{2, wire::encode({view, "u", body})});
        bytes = bytes.subspan(2 + n);
    }
}

// What a disk says of its blocks.
void fuzz_thin(ByteView bytes) {
    if (auto block = clogd::io::parse_thin_capacity(bytes)) check(*block >= 512 && (*block & (*block - 1)) == 0);
    if (bytes.size() < 8) return;
    uint64_t from = 0;
    for (size_t i = 0; i < 8; ++i) from = from << 8 | bytes[i];
    uint64_t next = from;
    for (const clogd::io::BlockRun& run : clogd::io::parse_lba_status(bytes.subspan(8), from)) {
        check(run.count > 0 && next + run.count > next);
        next += run.count;
    }
}

// The kernel's picture of the regions, whatever the mirror and the daemon do with it and in whatever order.
void fuzz_picture(ByteView bytes) {
    constexpr clog_u32 kRegions = 2 * PICTURE_CHUNK + 100;
    std::vector<unsigned char> flags(kRegions);
    std::vector<clog_u32> pending((picture_chunks(kRegions) + 31) / 32);
    picture p{};
    p.regions = kRegions;
    p.flags = flags.data();
    p.pending = pending.data();
    picture_reset(&p);
    clog_range ranges[PICTURE_CHUNK / 2];
    clog_u16 type = 0;
    clog_u32 more = 0;
    auto tell = [&] {
        clog_u32 n = picture_tell(&p, &type, &more, ranges);
        check(n <= PICTURE_CHUNK / 2);
        for (clog_u32 i = 0; i < n; ++i) check(ranges[i].count > 0 && ranges[i].start < kRegions && ranges[i].count <= kRegions - ranges[i].start);
    };
    agreement legs{};
    agreement_reset(&legs, 3);
    for (; bytes.size() >= 3; bytes = bytes.subspan(3)) {
        clog_u32 region = (clog_u32{bytes[1]} << 8 | bytes[2]) % kRegions;
        switch (bytes[0] % 13) {
            case 0: picture_mark(&p, region); break;
            case 1: picture_clear(&p, region); break;
            case 2: picture_want(&p, region); break;
            case 3: picture_lose(&p, region); break;
            case 4: picture_take(&p, CLOG_SYNCED, region); break;
            case 5: picture_take(&p, CLOG_UNSYNCED, region); break;
            case 6: picture_take(&p, CLOG_CLOSE, region); break;
            case 7: picture_take(&p, CLOG_MARKED, region); break;
            case 8:
                agreement_take(&legs, clog_u32{bytes[1]} << 24 | clog_u32{bytes[2]} * 0x10101u, region);
                check(!legs.told || ((legs.readable & ~legs.written) == 0 && legs.readable >> legs.primary & 1 && (legs.written & ~legs.needed) == 0));
                break;
            case 9: picture_take(&p, CLOG_TOLD, region); break;
            case 10: tell(); break;
            case 11: picture_tell_held(&p), picture_tell_again(&p, 0, kRegions); break;
            case 12: picture_take(&p, bytes[1], region); break;
        }
        clog_u32 unsynced = 0, marks = 0, lost = 0;
        for (unsigned char f : flags) {
            unsynced += (f & R_UNSYNCED) != 0;
            marks += (f & (R_MARK | R_ASKED)) != 0;
            lost += (f & R_LOST) != 0;
            check((f & (R_MARKED | R_MARK | R_ASKED)) == 0 || ((f & R_MARKED) != 0) + ((f & R_MARK) != 0) + ((f & R_ASKED) != 0) == 1);
        }
        check(unsynced == p.unsynced && marks == p.marks_waiting && lost == p.lost_waiting);
    }
    for (int i = 0; i < 100 && (type || i == 0); ++i) tell();
    check(type == 0);  // it does not talk for ever
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const std::string target = std::getenv("FUZZ_TARGET") ? std::getenv("FUZZ_TARGET") : "wire";
    ByteView bytes(data, size);
    if (target == "wire") fuzz_wire(bytes);
    else if (target == "ulog") fuzz_ulog(bytes);
    else if (target == "ctr") fuzz_ctr(bytes);
    else if (target == "slot") fuzz_slot(bytes);
    else if (target == "state") fuzz_state(bytes);
    else if (target == "cluster") fuzz_cluster(bytes);
    else if (target == "picture") fuzz_picture(bytes);
    else if (target == "thin") fuzz_thin(bytes);
    else std::abort();
    return 0;
}
