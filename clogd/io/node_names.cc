// SPDX-License-Identifier: GPL-2.0-or-later
#include "clogd/io/node_names.hh"

#include <corosync/cmap.h>

#include <cstdlib>

#include <fmt/format.h>

namespace clogd::io {

namespace {
constexpr int kMostNodes = 1024, kRings = 8;
}

std::optional<NodeNames> read_node_names() {
    NodeNames out;
    cmap_handle_t map = 0;
    if (cmap_initialize(&map) != CS_OK) return std::nullopt;
    auto text = [&](int at, const std::string& key) {
        char* value = nullptr;
        if (cmap_get_string(map, fmt::format("nodelist.node.{}.{}", at, key).c_str(), &value) != CS_OK) return std::string();
        std::string copy(value);
        std::free(value);
        return copy;
    };
    for (int at = 0; at < kMostNodes; ++at) {  // numbered without a gap
        uint32_t id = 0;
        const bool numbered = cmap_get_uint32(map, fmt::format("nodelist.node.{}.nodeid", at).c_str(), &id) == CS_OK;
        if (!numbered && text(at, "ring0_addr").empty()) break;
        if (!numbered || id == 0) continue;
        std::vector<std::string>& names = out[id];
        if (std::string name = text(at, "name"); !name.empty()) names.push_back(std::move(name));
        for (int ring = 0; ring < kRings; ++ring)
            if (std::string address = text(at, fmt::format("ring{}_addr", ring)); !address.empty()) names.push_back(std::move(address));
    }
    cmap_finalize(map);
    return out;
}

}  // namespace clogd::io
