// SPDX-License-Identifier: GPL-2.0-or-later
// Golden vectors and limits of every shared format. A change here is a change of what other versions and disks see.
#include <gtest/gtest.h>

#include "proto/logdisk.hh"
#include "proto/ulog.hh"
#include "proto/wire.hh"

using namespace proto;

namespace {
std::string hex(ByteView bytes) {
    std::string out;
    for (uint8_t b : bytes) out += "0123456789abcdef"[b >> 4], out += "0123456789abcdef"[b & 15];
    return out;
}
ByteView text(const char* s) { return {reinterpret_cast<const uint8_t*>(s), std::strlen(s)}; }
}  // namespace

TEST(Crc32c, KnownVector) { EXPECT_EQ(crc32c(text("123456789")), 0xE3069283u); }

TEST(Wire, GoldenFrame) {
    wire::Message m{{7, 1, 0x1122334455667788ull}, "LVM-x", wire::BusyChange{{{3, 2}}, {{9, 1}}}};
    EXPECT_EQ(hex(wire::encode(m)),
              "636c6f67"
              "0300"
              "0100"
              "0a00"
              "0700000000000000"
              "01000000"
              "8877665544332211"
              "0500"
              "4c564d2d78"
              "01000000"
              "0300000002000000"
              "01000000"
              "0900000001000000"
              "822a0402");
}

TEST(Wire, EveryMessageComesBack) {
    wire::Hello h{wire::kVersion, 42, 0, 1, {{"u", wire::Standing::active, 3, 4, 5, {6, 2, 1, 1}}}};
    wire::Attach a{1, 2, {1024, 1 << 20, 1, 2}, 1, 9, {{0, 5}}};
    for (const wire::Body& body : {wire::Body(h),
                                   wire::Body(a),
                                   wire::Body(wire::Refuse{3, "why"}),
                                   wire::Body(wire::Chunk{1, 2, 3, 4, {5, 6}}),
                                   wire::Body(wire::Ready{}),
                                   wire::Body(wire::Detach{}),
                                   wire::Body(wire::Folded{}),
                                   wire::Body(wire::DeadMarks{1, 1, 0, 1, {{1, 1}}}),
                                   wire::Body(wire::LegFailed{{{4, 1}}}),
                                   wire::Body(wire::BusyReport{8, {}}),
                                   wire::Body(wire::BusyChange{}),
                                   wire::Body(wire::Lease{{{1, 2}}, {}, {}, {{7, 7}}}),
                                   wire::Body(wire::Want{{{2, 1}}}),
                                   wire::Body(wire::Trouble{1}),
                                   wire::Body(wire::Mark{4, {{1, 1}}, {{2, 2}}}),
                                   wire::Body(wire::MarkAck{1, 4}),
                                   wire::Body(wire::DigestPoint{}),
                                   wire::Body(wire::Digest{1, 2}),
                                   wire::Body(wire::Diverged{}),
                                   wire::Body(wire::Fenced{5}),
                                   wire::Body(wire::LegSuspect{1, 1, 0}),
                                   wire::Body(wire::LegVote{1, 7, 1}),
                                   wire::Body(wire::LegAck{2, 9, 2, {{3, 1}}}),
                                   wire::Body(wire::LegReturn{6}),
                                   wire::Body(wire::Missed{{{3, 4}}}),
                                   wire::Body(wire::Rate{2048}),
                                   wire::Body(wire::Foreground{1}),
                                   wire::Body(wire::Repair{{{5, 1}}, 3})}) {
        Bytes frame = wire::encode({{1, 2, 3}, "uuid", body});
        auto back = wire::decode(frame);
        ASSERT_TRUE(back) << body.index();
        EXPECT_EQ(back->body.index(), body.index());
        EXPECT_EQ(wire::encode(*back), frame) << body.index();
    }
}

// What version 1 sends has neither boot, losses and dead-wait nor unseen; the first clogd of version 2 has no dead-wait; version 3 adds
// halves, and what a lost node's slot says of its epochs.
TEST(Wire, FramesOfTheFirstVersionAreRead) {
    for (const auto& [body, bytes] : {std::pair{wire::Body(wire::LegVote{1, 7, 1}), 1}, std::pair{wire::Body(wire::Hello{}), 14}, std::pair{wire::Body(wire::Hello{}), 5},
                                      std::pair{wire::Body(wire::Hello{}), 1}, std::pair{wire::Body(wire::DeadMarks{}), 12}}) {
        Bytes frame = wire::encode({{1, 2, 3}, "uuid", body});
        frame.erase(frame.end() - 4 - bytes, frame.end());
        Writer crc;
        crc(crc32c(frame));
        frame.insert(frame.end(), crc.bytes().begin(), crc.bytes().end());
        auto back = wire::decode(frame);
        ASSERT_TRUE(back) << body.index();
        EXPECT_EQ(wire::encode(*back), wire::encode({{1, 2, 3}, "uuid", body}));
    }
}

// A cluster of versions N and N+1: the newer one appends fields, the older one reads what it knows.
TEST(Wire, OlderReaderTakesLongerMessage) {
    Writer w;
    w(wire::kMagic), w(static_cast<uint16_t>(wire::kVersion + 1)), w(wire::kReadableBy), w(uint16_t{13}), w(wire::ViewId{1, 2, 3}), w(std::string("u"));
    w(uint8_t{1});            // Trouble as version N knows it
    w(uint32_t{0xdeadbeef});  // and what N+1 added
    w(crc32c(w.bytes()));
    auto m = wire::decode(w.take());
    ASSERT_TRUE(m);
    EXPECT_EQ(std::get<wire::Trouble>(m->body).on, 1);
}

TEST(Wire, RefusesWhatItCannotFollow) {
    Writer w;
    w(wire::kMagic), w(uint16_t{99}), w(uint16_t{99}), w(uint16_t{13}), w(wire::ViewId{}), w(std::string("u")), w(uint8_t{1});
    w(crc32c(w.bytes()));
    std::string why;
    EXPECT_FALSE(wire::decode(w.take(), &why));
    EXPECT_NE(why.find("newer"), std::string::npos);
}

TEST(Wire, EveryCutAndEveryFlippedBitIsRefused) {
    Bytes frame = wire::encode({{1, 2, 3}, "uuid", wire::Lease{{{1, 2}, {5, 6}}, {}, {}, {{7, 7}}}});
    for (size_t n = 0; n < frame.size(); ++n) EXPECT_FALSE(wire::decode(ByteView(frame).first(n)));
    for (size_t bit = 0; bit < frame.size() * 8; ++bit) {
        Bytes bad = frame;
        bad[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
        EXPECT_FALSE(wire::decode(bad)) << bit;
    }
}

TEST(Wire, HugeCountsAreRefusedWithoutMemory) {
    Writer w;
    w(wire::kMagic), w(wire::kVersion), w(wire::kReadableBy), w(uint16_t{12}), w(wire::ViewId{}), w(std::string("u")), w(uint32_t{0xffffffff});
    w(crc32c(w.bytes()));
    EXPECT_FALSE(wire::decode(w.take()));
}

TEST(Ulog, FrameAsTheKernelSendsIt) {
    ulog::CnMsg cn{7, 1, 5, 0, 160 + 8, 0};
    ulog::WireRequest r{};
    r.luid = 0xffff888012345678ull;
    std::strcpy(r.uuid, "LVM-abc");
    r.version = 3;
    r.seq = 5;
    r.request_type = 8;
    r.data_size = 8;
    uint64_t region = 77;
    Bytes frame(sizeof cn + sizeof r + 8);
    std::memcpy(frame.data(), &cn, sizeof cn);
    std::memcpy(frame.data() + 20, &r, sizeof r);
    std::memcpy(frame.data() + 180, &region, 8);
    auto call = ulog::decode(frame);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->type, ulog::Request::in_sync);
    EXPECT_EQ(call->u64(), 77u);
    EXPECT_EQ(call->uuid, "LVM-abc");

    auto broken = [&](auto change) {
        Bytes bad = frame;
        change(bad);
        return !ulog::decode(bad);
    };
    EXPECT_TRUE(broken([](Bytes& b) { b[0] = 8; }));                                              // another id
    EXPECT_TRUE(broken([](Bytes& b) { b[16] = 255; }));                                           // length beyond the frame
    EXPECT_TRUE(broken([](Bytes& b) { b[20 + 156] = 200; }));                                     // data beyond the frame
    EXPECT_TRUE(broken([](Bytes& b) { b[20 + 140] = 4; }));                                       // version
    EXPECT_TRUE(broken([](Bytes& b) { b[20 + 152] = 18; }));                                      // request
    EXPECT_TRUE(broken([](Bytes& b) { std::fill(b.begin() + 28, b.begin() + 28 + 129, 'x'); }));  // uuid without an end
    EXPECT_TRUE(broken([](Bytes& b) { b.resize(179); }));
    for (uint32_t v = 1; v <= 3; ++v) EXPECT_FALSE(broken([v](Bytes& b) { b[20 + 140] = static_cast<uint8_t>(v); }));
}

TEST(Ulog, AnswerKeepsTheNumberThatTheKernelMatches) {
    Bytes out = ulog::encode({1, "u", 3, 4711, ulog::Request::in_sync, -5, Bytes(8)});
    ASSERT_EQ(out.size(), 20u + 160 + 8);
    ulog::WireRequest r;
    std::memcpy(&r, out.data() + 20, sizeof r);
    EXPECT_EQ(r.seq, 4711u);
    EXPECT_EQ(r.error, -5);
    EXPECT_EQ(r.data_size, 8u);
}

// --- log disk ---------------------------------------------------------------------------------------------------------------

namespace {
const logdisk::PageId kId{logdisk::log_hash("LVM-x"), 3, 2};
}

TEST(LogDisk, GoldenPage) {
    Bytes page = logdisk::encode_page(kId, 9, text("hello"));
    ASSERT_EQ(page.size(), 4096u);
    EXPECT_EQ(hex(ByteView(page).first(36)),
              "434c4733"
              "07a258f1"
              "03000000"
              "0200"
              "0000"
              "0900000000000000"
              "00000000"
              "68656c6c6f000000");
    EXPECT_EQ(fnv1a(page), 9924789082669475226ull);
    auto back = logdisk::decode_page(kId, page);
    EXPECT_EQ(back.state, logdisk::PageState::valid);
    EXPECT_EQ(back.seq, 9u);
    EXPECT_EQ(std::string(back.payload.begin(), back.payload.begin() + 5), "hello");
}

TEST(LogDisk, TornForeignAndDamagedPagesAreToldApart) {
    Bytes old = logdisk::encode_page(kId, 7, text("old")), fresh = logdisk::encode_page(kId, 9, text("new"));
    for (size_t cut = 1; cut < 8; ++cut) {
        Bytes torn = old;
        std::copy(fresh.begin(), fresh.begin() + static_cast<ptrdiff_t>(cut * 512), torn.begin());
        EXPECT_EQ(logdisk::decode_page(kId, torn).state, logdisk::PageState::torn);
    }
    logdisk::PageId other = kId;
    other.page = 3;
    EXPECT_EQ(logdisk::decode_page(other, fresh).state, logdisk::PageState::bad);
    other = kId;
    other.node = 4;
    EXPECT_EQ(logdisk::decode_page(other, fresh).state, logdisk::PageState::bad);
    fresh[1000] ^= 1;
    EXPECT_EQ(logdisk::decode_page(kId, fresh).state, logdisk::PageState::bad);
    EXPECT_EQ(logdisk::decode_page(kId, Bytes(4096)).state, logdisk::PageState::zero);
}

TEST(LogDisk, OfTwoCopiesTheNewestWholeOneCounts) {
    auto page = [](uint64_t seq) { return logdisk::decode_page(kId, logdisk::encode_page(kId, seq, text("x"))); };
    logdisk::Page torn = page(8), bad, zero;
    torn.state = logdisk::PageState::torn;
    zero.state = logdisk::PageState::zero;
    EXPECT_EQ(logdisk::newest(page(6), page(7))->seq, 7u);
    EXPECT_EQ(logdisk::newest(page(7), torn)->seq, 7u);  // the torn one was never acknowledged
    EXPECT_FALSE(logdisk::newest(page(9), torn));        // an older one was whole once
    EXPECT_FALSE(logdisk::newest(page(6), bad));
    EXPECT_FALSE(logdisk::newest(torn, torn));
    EXPECT_EQ(logdisk::newest(zero, zero)->state, logdisk::PageState::zero);
}

TEST(LogDisk, LayoutKeepsClearOfTheKernelsBits) {
    auto l = logdisk::layout(4 << 20, 2048);
    EXPECT_EQ(l.slots_at, 4096u);
    EXPECT_EQ(l.slots, (uint32_t{4 << 20} - 4096) / logdisk::kSlotBytes);
    EXPECT_EQ(logdisk::layout(4096 + logdisk::kSlotBytes - 1, 2048).slots, 0u);  // too small for one node
    EXPECT_GE(logdisk::layout(8 << 20, 32u << 20).slots, 3u);                    // 16 TiB in 512 KiB regions
    EXPECT_EQ(logdisk::layout(1ull << 40, 2048).slots, kMaxNodes);
}

TEST(LogDisk, MirrHeader) {
    Bytes page(4096);
    const uint8_t golden[] = {0x72, 0x52, 0x69, 0x4d, 2, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0};
    std::copy(std::begin(golden), std::end(golden), page.begin());
    ASSERT_TRUE(logdisk::decode_mirr(page));
    EXPECT_EQ(logdisk::decode_mirr(page)->regions, 128u);
    page[4] = 1;
    EXPECT_FALSE(logdisk::decode_mirr(page));
}
