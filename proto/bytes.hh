// SPDX-License-Identifier: GPL-2.0-or-later
// Little-endian reading and writing of untrusted bytes.
//
// Every format in proto/ that crosses a machine is written through Writer and read through Reader, so a structure lists its
// fields once (`fields(archive)`) and cannot be read past its end. A Reader never throws: after the first short read it
// returns zeros and ok() is false.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace proto {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;

template <class T>
concept HasFields = requires(T t, class Reader& r) {
    t.fields(r);
};

class Writer {
  public:
    static constexpr bool reading = false;

    template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
    void operator()(T value) {
        std::array<uint8_t, sizeof(T)> raw;
        std::memcpy(raw.data(), &value, sizeof(T));
        if constexpr (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
        bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    }
    void operator()(const std::string& text) {
        (*this)(static_cast<uint16_t>(text.size()));
        bytes_.insert(bytes_.end(), text.begin(), text.end());
    }
    template <class T>
    void operator()(const std::vector<T>& items) {
        (*this)(static_cast<uint32_t>(items.size()));
        for (const T& item : items) (*this)(item);
    }
    template <HasFields T>
    void operator()(const T& item) {
        const_cast<T&>(item).fields(*this);  // fields() only reads when the archive is a Writer
    }
    Bytes take() { return std::move(bytes_); }
    const Bytes& bytes() const { return bytes_; }

  private:
    Bytes bytes_;
};

class Reader {
  public:
    static constexpr bool reading = true;

    explicit Reader(ByteView bytes) : bytes_(bytes) {}

    template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
    void operator()(T& value) {
        if (!need(sizeof(T))) {
            value = static_cast<T>(0);
            return;
        }
        std::array<uint8_t, sizeof(T)> raw;
        std::memcpy(raw.data(), bytes_.data() + at_, sizeof(T));
        if constexpr (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
        if constexpr (std::is_same_v<T, bool>) value = raw[0] != 0;
        else std::memcpy(&value, raw.data(), sizeof(T));
        at_ += sizeof(T);
    }
    void operator()(std::string& text) {
        uint16_t size = 0;
        (*this)(size);
        if (!need(size)) {
            text.clear();
            return;
        }
        text.assign(reinterpret_cast<const char*>(bytes_.data() + at_), size);
        at_ += size;
    }
    // An item takes at least one byte, so a count larger than what is left is refused before anything is reserved.
    template <class T>
    void operator()(std::vector<T>& items) {
        uint32_t count = 0;
        (*this)(count);
        items.clear();
        if (!need(count)) return;
        for (uint32_t i = 0; i < count && ok_; ++i) {
            T item{};
            (*this)(item);
            if (ok_) items.push_back(std::move(item));
        }
    }
    template <HasFields T>
    void operator()(T& item) {
        item.fields(*this);
    }
    bool ok() const { return ok_; }
    bool done() const { return ok_ && at_ == bytes_.size(); }
    size_t left() const { return bytes_.size() - at_; }
    void fail() { ok_ = false; }

  private:
    bool need(size_t count) {
        if (ok_ && bytes_.size() - at_ >= count) return true;
        ok_ = false;
        return false;
    }
    ByteView bytes_;
    size_t at_ = 0;
    bool ok_ = true;
};

// The last field of a message, if earlier versions do not write it: it keeps its value then.
template <class A, class T>
void later_field(A& a, T& value) {
    if constexpr (A::reading) {
        if (a.left() == 0) return;
    }
    a(value);
}

// tables[0] is the usual one for a byte; tables[n] is for a byte with n more behind it.
inline constexpr auto kCrcTables = [] {
    std::array<std::array<uint32_t, 256>, 8> t{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t c = i;
        for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) ? 0x82F63B78u : 0u);
        t[0][i] = c;
    }
    for (size_t n = 1; n < 8; ++n)
        for (uint32_t i = 0; i < 256; ++i) t[n][i] = t[0][t[n - 1][i] & 0xff] ^ (t[n - 1][i] >> 8);
    return t;
}();

// CRC-32C (Castagnoli, reflected, as in iSCSI and ext4), eight bytes at a time: every mark waits for eight sectors' sums.
inline uint32_t crc32c(ByteView bytes, uint32_t crc = 0) {
    const auto& t = kCrcTables;
    crc = ~crc;
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
        const uint32_t low = crc ^ (bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24);
        crc = t[7][low & 0xff] ^ t[6][low >> 8 & 0xff] ^ t[5][low >> 16 & 0xff] ^ t[4][low >> 24] ^ t[3][bytes[4]] ^ t[2][bytes[5]] ^ t[1][bytes[6]] ^ t[0][bytes[7]];
    }
    for (uint8_t b : bytes) crc = t[0][(crc ^ b) & 0xff] ^ (crc >> 8);
    return ~crc;
}

// FNV-1a, for identities and digests that need no strength against an attacker.
inline uint64_t fnv1a(ByteView bytes, uint64_t hash = 0xcbf29ce484222325ull) {
    for (uint8_t b : bytes) hash = (hash ^ b) * 0x100000001b3ull;
    return hash;
}
inline uint64_t fnv1a(std::string_view text) { return fnv1a(ByteView(reinterpret_cast<const uint8_t*>(text.data()), text.size())); }

}  // namespace proto
