// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/block_device.hh"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>

#include <fmt/format.h>

namespace clogd::io {

AlignedBuffer::AlignedBuffer(size_t bytes) : data_(static_cast<uint8_t*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096))), size_(bytes) {
    if (!data_) throw std::bad_alloc();
}
AlignedBuffer::~AlignedBuffer() { std::free(data_); }

// By sysfs: udev's links may not be there yet.
std::string device_path(const std::string& name) {
    unsigned major = 0, minor = 0;
    if (std::sscanf(name.c_str(), "%u:%u", &major, &minor) != 2) return name;
    std::ifstream uevent(fmt::format("/sys/dev/block/{}:{}/uevent", major, minor));
    for (std::string line; std::getline(uevent, line);)
        if (line.rfind("DEVNAME=", 0) == 0) return "/dev/" + line.substr(8);
    return fmt::format("/dev/block/{}:{}", major, minor);
}

std::unique_ptr<BlockDevice> BlockDevice::open(const std::string& name, std::string* error) {
    std::string path = device_path(name);
    int fd = ::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        *error = fmt::format("cannot open {}: {}", path, std::strerror(errno));
        return nullptr;
    }
    struct stat st {};
    uint64_t bytes = 0;
    if (::fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode)) {
        *error = fmt::format("{} is not a block device", path);
    } else if (::ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
        *error = fmt::format("cannot tell the size of {}: {}", path, std::strerror(errno));
    } else {
        return std::unique_ptr<BlockDevice>(new BlockDevice(fd, bytes, fmt::format("{}:{}", major(st.st_rdev), minor(st.st_rdev))));
    }
    ::close(fd);
    return nullptr;
}

BlockDevice::~BlockDevice() { ::close(fd_); }

int BlockDevice::read(uint8_t* to, size_t length, uint64_t offset) {
    while (length) {
        ssize_t n = ::pread(fd_, to, length, static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) return -EIO;  // beyond the end
        to += n, offset += static_cast<uint64_t>(n), length -= static_cast<size_t>(n);
    }
    return 0;
}

int BlockDevice::write(const uint8_t* from, size_t length, uint64_t offset) {
    while (length) {
        ssize_t n = ::pwrite(fd_, from, length, static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) return -EIO;
        from += n, offset += static_cast<uint64_t>(n), length -= static_cast<size_t>(n);
    }
    return 0;
}

int BlockDevice::write_durable(const uint8_t* from, size_t length, uint64_t offset) {
    // Not RWF_DSYNC: for a block device the kernel then flushes twice, once for FUA and once more behind it.
    if (int r = write(from, length, offset)) return r;
    if (int r = flush()) return r;
    AlignedBuffer back(length);
    if (int r = read(back.data(), length, offset)) return r;
    return std::memcmp(back.data(), from, length) == 0 ? 0 : -EILSEQ;
}

int BlockDevice::flush() { return ::fdatasync(fd_) < 0 ? -errno : 0; }

}  // namespace clogd::io
