// SPDX-License-Identifier: GPL-2.0-or-later
// Which parts of a disk hold nothing, where the disk tells it and promises that what holds nothing reads as zeros: SCSI disks that are thinly
// provisioned (SBC-4: READ CAPACITY (16) with LBPME and LBPRZ, GET LBA STATUS). Blocking; used on workers only, by several at once.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace clogd::io {

// A run of blocks from the one that was asked for on: either they are all in use, or none of them is.
struct BlockRun {
    uint64_t count = 0;
    bool in_use = true;
};

// Data of READ CAPACITY (16): bytes of a block, if what is not in use reads as zeros; nullopt: not known, or nonsense.
std::optional<uint32_t> parse_thin_capacity(std::span<const uint8_t> data);

// Data of GET LBA STATUS: runs that follow each other, the first one from block `from` on. Empty: nonsense.
std::vector<BlockRun> parse_lba_status(std::span<const uint8_t> data, uint64_t from);

class ThinDisk {
  public:
    // number: major:minor. Null: it does not tell. Disks, their partitions, and multipath maps over them are asked; what lies deeper may change its place.
    static std::unique_ptr<ThinDisk> open(const std::string& number);
    ~ThinDisk();
    ThinDisk(const ThinDisk&) = delete;
    ThinDisk& operator=(const ThinDisk&) = delete;

    // Does the disk say that nothing is there? Only as long as nobody writes there. False after an error, for good.
    bool empty(uint64_t offset, uint64_t length);

  private:
    ThinDisk(int fd, uint32_t block_bytes, uint64_t start) : fd_(fd), block_bytes_(block_bytes), start_(start) {}
    int fd_;
    uint32_t block_bytes_;
    uint64_t start_;  // of the partition, bytes
    std::mutex mutex_;
    bool silent_ = false;
    uint64_t used_from_ = 0, used_to_ = 0;  // blocks last said to be in use: they are not asked for again
};

}  // namespace clogd::io
