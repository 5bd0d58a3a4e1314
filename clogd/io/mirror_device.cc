// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/mirror_device.hh"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "clogd/io/dm_task.hh"

namespace clogd::io {

namespace {
void quiet(int, const char*, int, int, const char*, ...) {}
}  // namespace

std::unique_lock<std::mutex> device_mapper_lock() {
    static std::mutex mutex;
    std::unique_lock lock(mutex);
    dm_log_with_errno_init(quiet);
    return lock;
}

std::optional<MirrorDevice> parse_mirror(const std::string& name, uint64_t sectors, const std::string& params) {
    std::istringstream in(params);
    std::vector<std::string> w;
    for (std::string word; in >> word;) w.push_back(word);
    if (w.size() < 4 || (w[0] != "userspace" && w[0] != "cluster")) return std::nullopt;
    const bool channel = w[0] == "cluster";
    size_t argc = 0;
    if (std::from_chars(w[1].data(), w[1].data() + w[1].size(), argc).ec != std::errc{} || argc < 3 || w.size() < 2 + argc + 1) return std::nullopt;
    MirrorDevice m;
    m.name = name;
    m.sectors = sectors;
    m.params = params;
    m.log_uuid = w[2];
    size_t at = 3, log_end = 2 + argc;
    if (w[at] == "integrated_flush") ++at;
    if (channel) {
        if (at >= log_end || (w[at] != "disk" && w[at] != "core")) return std::nullopt;
        w[at] = "clustered-" + w[at];
    }
    if (at >= log_end || (w[at].rfind("clustered-", 0) != 0 && w[at].rfind("clustered_", 0) != 0)) return std::nullopt;
    m.ctr = std::to_string(sectors);
    for (; at < log_end; ++at) m.ctr += " " + w[at];
    size_t legs = std::strtoul(w[log_end].c_str(), nullptr, 10);
    at = log_end + 1;
    if (legs < 2 || legs > 9 || w.size() < at + 2 * legs) return std::nullopt;
    for (size_t i = 0; i < legs; ++i, at += 2) m.legs.push_back({w[at], std::strtoull(w[at + 1].c_str(), nullptr, 10)});
    for (; at < w.size(); ++at) {
        if (w[at] == "handle_errors") m.handle_errors = true;
        if (w[at] == "keep_log") m.keep_log = true;
    }
    return m;
}

std::optional<std::vector<MirrorDevice>> scan_mirrors(std::string* error) {
    auto lock = device_mapper_lock();
    std::vector<MirrorDevice> out;
    if (::access("/dev/mapper/control", F_OK) != 0) return out;  // no device-mapper, no mirror
    DmTask list(dm_task_create(DM_DEVICE_LIST));
    if (!list || !dm_task_run(list.get())) {
        *error = fmt::format("device-mapper does not answer: {}", std::strerror(errno));
        return std::nullopt;
    }
    auto* names = dm_task_get_names(list.get());
    if (!names || !names->dev) return out;
    for (;; names = reinterpret_cast<struct dm_names*>(reinterpret_cast<char*>(names) + names->next)) {
        DmTask table(dm_task_create(DM_DEVICE_TABLE));
        // By its number: a name may be given to another device between the list and this.
        if (!table || !dm_task_set_major(table.get(), static_cast<int>(major(names->dev))) || !dm_task_set_minor(table.get(), static_cast<int>(minor(names->dev)))) {
            *error = "out of memory";
            return std::nullopt;
        }
        if (dm_task_run(table.get())) {
            struct dm_info info {};
            dm_task_get_info(table.get(), &info);
            for_each_target(table.get(), [&](uint64_t length, const char* type, const char* params) {
                if (std::strncmp(type, "mirror", 6) != 0) return;  // ours may be loaded under another name
                if (auto m = parse_mirror(names->name, length, params)) {
                    m->target = type;
                    m->number = fmt::format("{}:{}", major(names->dev), minor(names->dev));
                    m->alone = info.target_count == 1, m->read_only = info.read_only, m->other_loaded = info.inactive_table;
                    out.push_back(std::move(*m));
                }
            });
        } else if (dm_task_get_errno(table.get()) != ENXIO) {  // ENXIO: it is gone meanwhile
            *error = fmt::format("the table of device {} cannot be read: {}", names->name, std::strerror(dm_task_get_errno(table.get())));
            return std::nullopt;
        }
        if (!names->next) break;
    }
    return out;
}

std::optional<MirrorDevice> find_mirror(const std::string& log_uuid, std::string* error) {
    auto all = scan_mirrors(error);
    if (!all) return std::nullopt;
    for (MirrorDevice& m : *all)
        if (m.log_uuid == log_uuid) return m;
    *error = "no device with a mirror on this log is active here";
    return std::nullopt;
}

namespace {
int suspend_ioctl(const std::string& name, uint32_t flags) {
    int fd = ::open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct dm_ioctl io {};
    io.version[0] = DM_VERSION_MAJOR;
    io.data_size = sizeof io;
    io.data_start = sizeof io;
    io.flags = flags;
    std::snprintf(io.name, sizeof io.name, "%s", name.c_str());
    int r = ::ioctl(fd, DM_DEV_SUSPEND, &io) < 0 ? -errno : 0;
    ::close(fd);
    return r;
}
}  // namespace

uint64_t uses_of(const std::string& number) {
    std::ifstream stat(fmt::format("/sys/dev/block/{}/stat", number));
    std::array<uint64_t, 9> figures{};  // reads, merged, sectors, ms; the same of writes; under way
    for (uint64_t& f : figures) stat >> f;
    return figures[0] + figures[4] + figures[8];
}

int suspend_device(const std::string& name) { return suspend_ioctl(name, DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG); }
int resume_device(const std::string& name) { return suspend_ioctl(name, 0); }

int reload_device(const MirrorDevice& mirror) {
    if (mirror.other_loaded) return 0;
    if (!mirror.alone) return -EOPNOTSUPP;
    auto lock = device_mapper_lock();
    DmTask load(dm_task_create(DM_DEVICE_RELOAD));
    if (!load || !dm_task_set_name(load.get(), mirror.name.c_str()) || !dm_task_add_target(load.get(), 0, mirror.sectors, mirror.target.c_str(), mirror.params.c_str()) ||
        (mirror.read_only && !dm_task_set_ro(load.get())) || !dm_task_run(load.get()))
        return errno ? -errno : -EIO;
    return 0;
}

void remember_suspended(const std::string& directory, const std::string& name, bool suspended) {
    std::string path = directory + "/suspended." + name;
    if (!suspended) {
        ::unlink(path.c_str());
        return;
    }
    int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
}

std::vector<std::string> remembered_suspended(const std::string& directory) {
    std::vector<std::string> out;
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ec)) {
        std::string file = entry.path().filename();
        if (file.rfind("suspended.", 0) == 0) out.push_back(file.substr(10));
    }
    return out;
}

}  // namespace clogd::io
