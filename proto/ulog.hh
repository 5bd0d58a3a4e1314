// SPDX-License-Identifier: GPL-2.0-or-later
// The kernel's `userspace` dirty log: netlink connector frames and struct dm_ulog_request.
//
// Source: include/uapi/linux/dm-log-userspace.h and connector.h (protocol versions 1 to 3, kernels 6.1 and 6.12). One frame is
// cn_msg followed by dm_ulog_request followed by data; both are of the host's byte order, for they never leave it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "proto/bytes.hh"

namespace proto::ulog {

enum class Request : uint32_t {
    ctr = 1,
    dtr = 2,
    presuspend = 3,
    postsuspend = 4,
    resume = 5,
    get_region_size = 6,
    is_clean = 7,
    in_sync = 8,
    flush = 9,
    mark_region = 10,
    clear_region = 11,
    get_resync_work = 12,
    set_region_sync = 13,
    get_sync_count = 14,
    status_info = 15,
    status_table = 16,
    is_remote_recovering = 17,
};
inline constexpr uint32_t kRequestMask = 0xff;
inline constexpr uint32_t kVersionMin = 1;
inline constexpr uint32_t kVersionMax = 3;
inline constexpr uint32_t kConnectorIdx = 7;        // CN_IDX_DM; also the multicast group
inline constexpr uint32_t kConnectorVal = 1;        // CN_VAL_DM_USERSPACE_LOG
inline constexpr size_t kMaxData = 512 - 20 - 160;  // the kernel keeps one buffer of 512 bytes for a request

struct CnMsg {
    uint32_t idx, val, seq, ack;
    uint16_t len, flags;
};
static_assert(sizeof(CnMsg) == 20);

struct WireRequest {
    uint64_t luid;
    char uuid[129];
    char padding[3];
    uint32_t version;
    int32_t error;
    uint32_t seq;
    uint32_t request_type;
    uint32_t data_size;
};
static_assert(sizeof(WireRequest) == 160);
static_assert(offsetof(WireRequest, uuid) == 8 && offsetof(WireRequest, version) == 140);
static_assert(offsetof(WireRequest, request_type) == 152 && offsetof(WireRequest, data_size) == 156);

// One request, checked: the uuid is terminated, the data lies inside the frame.
struct Call {
    uint64_t luid = 0;
    std::string uuid;
    uint32_t version = 0;
    uint32_t seq = 0;
    Request type{};
    Bytes data;
    bool channel = false;  // it came by the channel (proto/channel.h), not by netlink
    uint8_t legs = 0;      // of a RESUME by the channel: how many the mirror has; 0: it does not follow what is agreed about them

    uint64_t u64(size_t index = 0) const {
        uint64_t value = 0;
        if (data.size() >= (index + 1) * 8) std::memcpy(&value, data.data() + index * 8, 8);
        return value;
    }
    size_t u64_count() const { return data.size() / 8; }
    std::string_view text() const {
        std::string_view all(reinterpret_cast<const char*>(data.data()), data.size());
        return all.substr(0, all.find('\0'));
    }
};

struct Reply {
    uint64_t luid = 0;
    std::string uuid;
    uint32_t version = 3;
    uint32_t seq = 0;
    Request type{};
    int32_t error = 0;  // 0 or a negative errno, as the kernel expects it
    Bytes data;
};

// Reads cn_msg and everything behind it. nullopt: not a whole request of this protocol; *why says what is wrong.
inline std::optional<Call> decode(ByteView frame, std::string* why = nullptr) {
    auto refuse = [&](const char* text) -> std::optional<Call> {
        if (why) *why = text;
        return std::nullopt;
    };
    CnMsg cn;
    WireRequest wire;
    if (frame.size() < sizeof cn + sizeof wire) return refuse("shorter than a dm_ulog_request");
    std::memcpy(&cn, frame.data(), sizeof cn);
    if (cn.idx != kConnectorIdx || cn.val != kConnectorVal) return refuse("of another connector id");
    if (cn.len < sizeof wire || cn.len > frame.size() - sizeof cn) return refuse("connector length out of bounds");
    std::memcpy(&wire, frame.data() + sizeof cn, sizeof wire);
    if (wire.version < kVersionMin || wire.version > kVersionMax) return refuse("unknown protocol version");
    if (wire.data_size > cn.len - sizeof wire) return refuse("data size beyond the frame");
    if (!std::memchr(wire.uuid, 0, sizeof wire.uuid)) return refuse("uuid not terminated");
    uint32_t type = wire.request_type & kRequestMask;
    if (type < 1 || type > 17) return refuse("unknown request type");
    Call call;
    call.luid = wire.luid;
    call.uuid = wire.uuid;
    if (call.uuid.empty()) return refuse("empty uuid");
    call.version = wire.version;
    call.seq = wire.seq;
    call.type = static_cast<Request>(type);
    const uint8_t* data = frame.data() + sizeof cn + sizeof wire;
    call.data.assign(data, data + wire.data_size);
    return call;
}

// cn_msg, request and data, ready to be put behind a nlmsghdr. The kernel matches a reply by seq alone.
inline Bytes encode(const Reply& reply) {
    CnMsg cn{};
    WireRequest wire{};
    cn.idx = kConnectorIdx;
    cn.val = kConnectorVal;
    cn.seq = reply.seq;
    cn.len = static_cast<uint16_t>(sizeof wire + reply.data.size());
    wire.luid = reply.luid;
    std::memcpy(wire.uuid, reply.uuid.data(), std::min(reply.uuid.size(), sizeof wire.uuid - 1));
    wire.version = reply.version;
    wire.error = reply.error;
    wire.seq = reply.seq;
    wire.request_type = static_cast<uint32_t>(reply.type);
    wire.data_size = static_cast<uint32_t>(reply.data.size());
    Bytes out(sizeof cn + sizeof wire + reply.data.size());
    std::memcpy(out.data(), &cn, sizeof cn);
    std::memcpy(out.data() + sizeof cn, &wire, sizeof wire);
    if (!reply.data.empty()) std::memcpy(out.data() + sizeof cn + sizeof wire, reply.data.data(), reply.data.size());
    return out;
}

}  // namespace proto::ulog
