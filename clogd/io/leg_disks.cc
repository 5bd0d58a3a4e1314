// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/leg_disks.hh"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace clogd::io {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {
constexpr size_t kMostDisks = 256;  // below one leg

std::string line_of(const fs::path& file) {
    std::ifstream in(file);
    std::string text;
    std::getline(in, text);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.pop_back();
    return text;
}

void add_disks(const fs::path& device, std::set<fs::path>& seen, std::set<std::string>& disks) {
    std::error_code ec;
    const fs::path here = fs::canonical(device, ec);
    if (ec || seen.size() >= kMostDisks || !seen.insert(here).second) return;
    bool bottom = true;
    for (const auto& below : fs::directory_iterator(here / "slaves", ec)) {
        bottom = false;
        add_disks(below.path(), seen, disks);
    }
    if (!bottom) return;
    const bool partition = fs::exists(here / "partition", ec);
    const fs::path disk = partition ? here.parent_path() : here;
    for (const char* name : {"wwid", "device/wwid", "serial", "device/serial"})
        if (std::string text = line_of(disk / name); !text.empty()) {
            disks.insert(partition ? fmt::format("{} partition {}", text, line_of(here / "partition")) : text);
            return;
        }
}

// The name of a log is the administrator's: what a file cannot be called is written as its code.
std::string file_of(const std::string& directory, const std::string& log_uuid) {
    std::string out = directory + "/legs.";
    for (const char c : log_uuid) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        out += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
    return out.substr(0, directory.size() + 200);
}
}  // namespace

LegDisk leg_disk(const std::string& number, uint64_t start, const std::string& root) {
    LegDisk out;
    out.number = number;
    out.start = start;
    const fs::path device = fs::path(root) / "dev/block" / number;
    out.dm_uuid = line_of(device / "dm/uuid");
    std::set<fs::path> seen;
    std::set<std::string> disks;
    add_disks(device, seen, disks);
    out.disks.assign(disks.begin(), disks.end());
    return out;
}

std::vector<LegDisk> remembered_legs(const std::string& directory, const std::string& log_uuid) {
    std::ifstream in(file_of(directory, log_uuid));
    const json all = json::parse(in, nullptr, false);
    std::vector<LegDisk> out;
    if (!all.is_object() || all.value("log", json()) != json(log_uuid) || !all.value("legs", json()).is_array()) return out;
    for (const json& l : all["legs"]) {
        if (!l.is_object() || !l.value("number", json()).is_string() || !l.value("start", json()).is_number_unsigned() || !l.value("dm_uuid", json()).is_string() ||
            !l.value("disks", json()).is_array())
            return {};
        LegDisk leg{l["number"], l["start"], l["dm_uuid"], {}};
        for (const json& d : l["disks"]) {
            if (!d.is_string()) return {};
            leg.disks.push_back(d);
        }
        out.push_back(std::move(leg));
    }
    return out;
}

std::string remember_legs(const std::string& directory, const std::string& log_uuid, const std::vector<LegDisk>& legs) {
    json all{{"log", log_uuid}, {"legs", json::array()}};
    for (const LegDisk& l : legs) all["legs"].push_back({{"number", l.number}, {"start", l.start}, {"dm_uuid", l.dm_uuid}, {"disks", l.disks}});
    const std::string text = all.dump(-1, ' ', false, json::error_handler_t::replace), path = file_of(directory, log_uuid), fresh = path + ".new";
    const int fd = ::open(fresh.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    const bool whole = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    int error = whole ? 0 : fd >= 0 && errno == 0 ? ENOSPC : errno;
    if (fd >= 0) ::close(fd);
    if (!error && ::rename(fresh.c_str(), path.c_str()) < 0) error = errno;
    return error ? fmt::format("{}: {}", path, std::strerror(error)) : std::string();
}

}  // namespace clogd::io
