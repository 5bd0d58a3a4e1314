// SPDX-License-Identifier: GPL-2.0-or-later
// A block device opened for direct I/O. Blocking; used on workers only. Errors are negative errnos.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace clogd::io {

// Page-aligned memory, as O_DIRECT wants it.
class AlignedBuffer {
  public:
    explicit AlignedBuffer(size_t bytes);
    ~AlignedBuffer();
    AlignedBuffer(const AlignedBuffer&) = delete;
    AlignedBuffer& operator=(const AlignedBuffer&) = delete;
    uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    uint8_t* data_;
    size_t size_;
};

// "253:4" -> "/dev/dm-4"; any other name stays as it is.
std::string device_path(const std::string& name);

class BlockDevice {
  public:
    // name: a path, or major:minor. *error says what failed.
    static std::unique_ptr<BlockDevice> open(const std::string& name, std::string* error);
    ~BlockDevice();
    uint64_t bytes() const { return bytes_; }
    const std::string& number() const { return number_; }  // major:minor

    int read(uint8_t* to, size_t length, uint64_t offset);           // whole, or an error
    int write(const uint8_t* from, size_t length, uint64_t offset);  // whole, or an error; not yet durable
    // As write(), and durable: followed by a flush. Read back and compared.
    int write_durable(const uint8_t* from, size_t length, uint64_t offset);
    int flush();  // what was written is durable

  private:
    BlockDevice(int fd, uint64_t bytes, std::string number) : fd_(fd), bytes_(bytes), number_(std::move(number)) {}
    int fd_;
    uint64_t bytes_;
    std::string number_;
};

}  // namespace clogd::io
