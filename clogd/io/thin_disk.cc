// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/thin_disk.hh"

#include <fcntl.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "clogd/io/block_device.hh"
#include "clogd/io/leg_paths.hh"

namespace clogd::io {

namespace {
constexpr uint8_t kServiceActionIn16 = 0x9e, kReadCapacity16 = 0x10, kGetLbaStatus = 0x12;
constexpr unsigned kTimeoutMs = 5000;
constexpr size_t kDescriptorBytes = 16, kHeaderBytes = 8;
constexpr int kMostQuestions = 16;                   // for one range; more runs than that are worth no more questions
enum : uint8_t { kDeallocated = 1, kAnchored = 2 };  // all else is in use, or not known to be free

template <class T>
T big_endian(const uint8_t* at) {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | at[i]);
    return value;
}

std::vector<uint8_t> ask_once(int fd, uint8_t action, uint64_t block) {
    std::vector<uint8_t> data(512);
    std::array<uint8_t, 16> cdb{kServiceActionIn16, action};
    for (size_t i = 0; i < 8; ++i) cdb[2 + i] = static_cast<uint8_t>(block >> (56 - 8 * i));
    cdb[12] = static_cast<uint8_t>(data.size() >> 8);
    std::array<uint8_t, 64> sense{};
    sg_io_hdr_t io{};
    io.interface_id = 'S';
    io.dxfer_direction = SG_DXFER_FROM_DEV;
    io.cmd_len = static_cast<unsigned char>(cdb.size());
    io.cmdp = cdb.data();
    io.mx_sb_len = static_cast<unsigned char>(sense.size());
    io.sbp = sense.data();
    io.dxfer_len = static_cast<unsigned>(data.size());
    io.dxferp = data.data();
    io.timeout = kTimeoutMs;
    if (::ioctl(fd, SG_IO, &io) < 0 || io.status || io.host_status || io.driver_status || io.resid < 0) return {};
    data.resize(data.size() - std::min<size_t>(static_cast<size_t>(io.resid), data.size()));
    return data;
}

// What the disk answers; empty: it did not. The first command after a reset or a change is refused to say just that (UNIT ATTENTION).
std::vector<uint8_t> ask(int fd, uint8_t action, uint64_t block) {
    std::vector<uint8_t> data;
    for (int attempt = 0; attempt < 3 && data.empty(); ++attempt) data = ask_once(fd, action, block);
    return data;
}

struct Place {
    std::string device;  // node of the disk or map
    uint64_t start = 0;  // bytes
};

// The disk itself, for which block numbers mean what they mean to the leg.
std::optional<Place> place_of(const std::string& number) {
    namespace fs = std::filesystem;
    std::error_code error;
    if (number.empty() || number.find_first_not_of("0123456789:") != std::string::npos) return std::nullopt;
    fs::path at = fs::canonical("/sys/dev/block/" + number, error);
    if (error) return std::nullopt;
    Place place;
    std::string whole = number;
    if (fs::exists(at / "partition", error)) {
        uint64_t sectors = 0;
        if (!(std::ifstream(at / "start") >> sectors)) return std::nullopt;
        place.start = sectors * 512;  // sysfs counts so, whatever the disk's blocks are
        at = at.parent_path();
        if (!(std::ifstream(at / "dev") >> whole)) return std::nullopt;
    }
    place.device = device_path(whole);
    if (fs::exists(at / "dm", error)) return place.start == 0 && is_multipath_map(number) ? std::optional(place) : std::nullopt;
    const fs::path bus = fs::read_symlink(at / "device/subsystem", error);
    return !error && bus.filename() == "scsi" ? std::optional(place) : std::nullopt;
}
}  // namespace

std::optional<uint32_t> parse_thin_capacity(std::span<const uint8_t> data) {
    constexpr uint8_t kProvisioned = 0x80, kReadsZeros = 0x40;
    if (data.size() < 32 || (data[14] & (kProvisioned | kReadsZeros)) != (kProvisioned | kReadsZeros)) return std::nullopt;
    const auto bytes = big_endian<uint32_t>(&data[8]);
    return bytes >= 512 && bytes <= 65536 && (bytes & (bytes - 1)) == 0 ? std::optional(bytes) : std::nullopt;
}

std::vector<BlockRun> parse_lba_status(std::span<const uint8_t> data, uint64_t from) {
    std::vector<BlockRun> runs;
    if (data.size() < kHeaderBytes) return runs;
    data = data.first(std::min<uint64_t>(data.size(), uint64_t{4} + big_endian<uint32_t>(data.data())));
    uint64_t next = from;
    for (size_t at = kHeaderBytes; at + kDescriptorBytes <= data.size(); at += kDescriptorBytes) {
        const auto first = big_endian<uint64_t>(&data[at]);
        const uint64_t count = big_endian<uint32_t>(&data[at + 8]);
        const uint8_t status = data[at + 12] & 0xf;
        // The first run may begin before what was asked for; the others follow each other.
        if (count == 0 || first > next || (!runs.empty() && first != next) || next - first >= count || first > UINT64_MAX - count) break;
        runs.push_back({first + count - next, status != kDeallocated && status != kAnchored});
        next = first + count;
    }
    return runs;
}

std::unique_ptr<ThinDisk> ThinDisk::open(const std::string& number) {
    auto place = place_of(number);
    if (!place) return nullptr;
    const int fd = ::open(place->device.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return nullptr;
    const auto block_bytes = parse_thin_capacity(ask(fd, kReadCapacity16, 0));
    if (block_bytes) return std::unique_ptr<ThinDisk>(new ThinDisk(fd, *block_bytes, place->start));
    ::close(fd);
    return nullptr;
}

ThinDisk::~ThinDisk() { ::close(fd_); }

bool ThinDisk::empty(uint64_t offset, uint64_t length) {
    offset += start_;
    if (offset % block_bytes_ || length % block_bytes_) return false;
    uint64_t next = offset / block_bytes_;
    const uint64_t end = next + length / block_bytes_;
    std::lock_guard lock(mutex_);
    for (int question = 0; question < kMostQuestions && !silent_; ++question) {
        if (next >= used_from_ && next < used_to_) return false;
        const auto runs = parse_lba_status(ask(fd_, kGetLbaStatus, next), next);
        silent_ = runs.empty();
        for (const BlockRun& run : runs) {
            if (run.in_use) {
                used_from_ = next;
                used_to_ = next + run.count;
                return false;
            }
            next += run.count;
            if (next >= end) return true;
        }
    }
    return false;
}

}  // namespace clogd::io
