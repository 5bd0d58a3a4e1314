// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/clogctl/show.hh"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

namespace clogctl {

using nlohmann::json;

std::string bytes(double value) {
    static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t u = 0;
    for (; value >= 1024 && u + 1 < std::size(units); ++u) value /= 1024;
    return value == std::floor(value) ? fmt::format("{:.0f} {}", value, units[u]) : fmt::format("{:.1f} {}", value, units[u]);
}

std::string duration(int64_t s) {
    if (s < 60) return fmt::format("{} s", s);
    if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
    return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
}

std::string blind(const json& status) {
    if (!status.value("/scan/complete"_json_pointer, true))
        return fmt::format("the mirrors that run on this node are not known yet: {}", status.value("/scan/trouble"_json_pointer, std::string("they are being listed")));
    const json& c = status["corosync"];
    if (!c.value("connected", true)) return fmt::format("not connected to Corosync: {}", c.value("trouble", "no reason is known"));
    if (!c.value("quorate", false)) return "this node has no quorum";
    return {};
}

Exit verdict(const json& status) {
    Exit out = kFine;
    auto worse = [&](Exit e) { out = std::max(out, e); };
    if (!blind(status).empty() || status.contains("unserved")) worse(kTrouble);
    for (const json& log : status["logs"]) {
        if (log.value("log_failed", false) || log["phase"] == "frozen") worse(kTrouble);
        if (log.contains("waits_for")) worse(status["corosync"].value("half_is_enough", false) ? kTrouble : kSyncing);
        for (const json& m : log["members"])
            if (m.value("trouble", false)) worse(kTrouble);
        for (const json& leg : log.value("legs", json::array()))
            if (leg["state"] == "away" || (leg.contains("paths") && leg["paths"]["usable"] == 0)) worse(kTrouble);
        if (log.value("unsynced", 0) > 0 || log["phase"] != "active") worse(kSyncing);
    }
    return out;
}

namespace {
// Only while a leg is not as it should be; the rest of the time there is nothing to say.
std::string legs_line(const json& log) {
    std::string out = "  legs:";
    bool any = false;
    for (const json& leg : log.value("legs", json::array())) {
        const auto usable = leg.value("/paths/usable"_json_pointer, 0U), total = leg.value("/paths/total"_json_pointer, 0U);
        any = any || leg["state"] != "alive" || usable < total;
        out += fmt::format(" {} {}{}{},", leg["leg"].get<uint32_t>(), leg["state"] == "away" ? "AWAY" : leg["state"].get<std::string>(),
                           leg.value("primary", false) ? " (primary)" : "", usable < total ? fmt::format(" by {} of {} paths", usable, total) : "");
    }
    if (!any) return {};
    out.pop_back();
    return out + fmt::format("; epoch {}, {} region(s) missed\n", log.value("leg_epoch", 0), log.value("missed", 0));
}

std::string messages_take(const json& status) {
    const json trips = status.value("/messages/round_trips"_json_pointer, json::object());
    const double count = trips.value("count", 0.0);
    if (count == 0) return {};
    return fmt::format("; a message takes {:.1f} ms there and back, at most {:.1f} ms so far", trips.value("total_us", 0.0) / count / 1000, trips.value("longest_us", 0.0) / 1000);
}
std::string numbers(const json& list) {
    std::string out;
    for (const json& n : list) out += fmt::format("{}{}", out.empty() ? "" : ", ", n.get<uint32_t>());
    return out.empty() ? "none" : out;
}
std::string group_named(const json& number) { return number == 0 ? "none" : fmt::format("group {}", number.get<uint32_t>()); }
// Of an array's paths: which group is in use, who changes that, who reaches what.
std::string groups_lines(const json& l) {
    const json& g = l["groups"];
    std::string out = fmt::format("  in use: {}", group_named(g["in_use"]));
    if (g.contains("switching")) out += fmt::format("; node {} switches the array to {}", g["switching"]["node"].get<uint32_t>(), group_named(g["switching"]["to"]));
    out += "\n";
    for (const json& m : l["members"])
        out += fmt::format("  node {} {}: reaches {}, wants {}\n", m["node"].get<uint32_t>(), m["state"].get<std::string>(), numbers(m["reaches"]), group_named(m["wants"]));
    return out;
}
// What a lost node may still be writing is left alone until it can do so no more.
std::string waits_lines(const json& log, bool by_hand) {
    std::string out;
    for (const json& w : log.value("waits_for", json::array())) {
        const auto node = w["node"].get<uint32_t>();
        out += fmt::format("  {} waits for node {}, out of sight for {}, {}\n", by_hand ? "!" : " ", node, duration(w["out_of_sight_ms"].get<int64_t>() / 1000),
                           by_hand ? fmt::format("which may have quorum, too: when it is off, say: clogctl fenced {}", node) : "until it can write no more");
    }
    return out;
}
}  // namespace

std::string table(const json& s) {
    const json& c = s["corosync"];
    std::string out = fmt::format("clogd {} on node {}: {}\n", s.value("version", "?"), s.value("node", 0),
                                  s.value("transport", "") == "solo" ? "alone, without Corosync"
                                  : !c.value("connected", false)     ? "NOT CONNECTED to Corosync"
                                  : c.value("quorate", false)        ? "quorate"
                                                                     : "NO QUORUM, writes wait");
    if (c.contains("trouble")) out += fmt::format("  {}\n", c["trouble"].get<std::string>());
    for (const json& u : s.value("unserved", json::array()))
        out += fmt::format("  ! the mirror with log {} runs and cannot be served, its writes wait: {}\n", u["uuid"].get<std::string>(), u["trouble"].get<std::string>());
    out += "nodes:";
    for (const json& n : s["nodes"]) out += fmt::format(" {}{}", n["id"].get<uint32_t>(), n.value("clogd", false) ? "" : n.value("up", false) ? " (without clogd)" : " (down)");
    out += messages_take(s) + "\n";
    const bool listed = s.value("/scan/complete"_json_pointer, true);
    if (!listed) out += blind(s) + "\n";
    if (s["logs"].empty()) return listed ? out + "no log is in use\n" : out;
    for (const json& l : s["logs"]) {
        out += fmt::format("\nlog {}  {}{}\n", l["uuid"].get<std::string>(), l["phase"].get<std::string>(),
                           l["type"] == "groups" ? ", of the paths to an array"
                           : l["type"] == "disk" ? fmt::format(", on {}{}", l["device"].get<std::string>(), l.value("log_failed", false) ? " FAILED" : "")
                                                 : ", in memory");
        out += waits_lines(l, c.value("half_is_enough", false));
        if (l["type"] == "groups") {
            out += groups_lines(l);
            continue;
        }
        const uint64_t regions = l["regions"], unsynced = l["unsynced"];
        out += fmt::format("  {} regions of {}: {} clean, {} dirty here ({} being written), {} not in sync, {} being copied\n", regions, bytes(l["region_bytes"].get<double>()),
                           l["clean"].get<uint64_t>(), l["dirty"].get<uint64_t>(), l["in_use"].get<uint64_t>(), unsynced, l["recovering"].get<uint64_t>());
        if (unsynced) {
            out += "  " + progress(l, 40);
            for (const json& r : l["recovered_by"])
                out += fmt::format("{} node {} copies {}", &r == &l["recovered_by"][0] ? ";" : ",", r["node"].get<uint32_t>(), r["regions"].get<uint64_t>());
            out += "\n";
        }
        out += legs_line(l);
        out += "  members:";
        for (const json& m : l["members"]) {
            out += fmt::format(" {} {}", m["node"].get<uint32_t>(), m["state"].get<std::string>());
            if (m.value("trouble", false)) out += " CANNOT COPY";
            out += &m == &l["members"].back() ? "\n" : ",";
        }
        if (l["members"].empty()) out += " none yet\n";
        if (l.value("held_requests", 0) > 0)
            out += fmt::format("  {} request(s) of the kernel wait, the oldest for {} ms\n", l["held_requests"].get<uint64_t>(), l.value("oldest_held_ms", 0));
        if (l.contains("trouble")) out += fmt::format("  ! {}\n", l["trouble"].get<std::string>());
    }
    return out;
}

std::string progress(const json& l, unsigned width) {
    const double regions = std::max<double>(1, l.value("regions", 1.0)), synced = regions - l.value("unsynced", 0.0);
    auto filled = static_cast<size_t>(synced / regions * width);
    std::string out =
        fmt::format("[{}{}] {:5.1f} %", std::string(filled, '#'), std::string(width - std::min<size_t>(filled, width), '.'), std::floor(synced / regions * 1000) / 10);
    if (l.contains("rate_bytes_per_s")) out += fmt::format(", {}/s", bytes(l["rate_bytes_per_s"].get<double>()));
    if (double bound = l.value("rate_limit_bytes_per_s", 0.0); bound > 0) out += fmt::format(" (at most {}/s by all nodes)", bytes(bound));
    if (l.contains("gives_way_to")) out += fmt::format(", gives way to use on node {}", fmt::join(l["gives_way_to"].get<std::vector<uint32_t>>(), ", "));
    if (l.contains("seconds_left")) out += fmt::format(", {} left", duration(l["seconds_left"].get<int64_t>()));
    return out;
}

std::string picture(const json& map, unsigned width, unsigned rows) {
    const auto regions = map["regions"].get<uint64_t>();
    const uint64_t cells = std::min<uint64_t>(regions, uint64_t{width} * rows);
    if (cells == 0) return {};
    const uint64_t regions_per_cell = (regions + cells - 1) / cells;
    std::string cell(cells, '.');
    auto paint = [&](const json& ranges, char c) {
        for (const json& r : ranges) {
            uint64_t from = r[0].get<uint64_t>() * cells / regions, to = (r[0].get<uint64_t>() + r[1].get<uint64_t>() - 1) * cells / regions;
            for (uint64_t i = from; i <= to && i < cells; ++i) cell[i] = c;
        }
    };
    paint(map["dirty"], 'd');
    paint(map["torn"], 'x');
    paint(map["raw"], 'X');
    for (const json& lease : map["recovering"]) paint(lease["regions"], static_cast<char>('0' + lease["node"].get<uint32_t>() % 10));
    std::string out;
    for (uint64_t at = 0; at < cells; at += width) out += fmt::format("{:>10} {}\n", at * regions / cells, cell.substr(at, width));
    return out + fmt::format("each sign stands for {} region(s): . clean  d dirty here  x to be copied again  X never copied  0-9 being copied by that node\n", regions_per_cell);
}

}  // namespace clogctl
