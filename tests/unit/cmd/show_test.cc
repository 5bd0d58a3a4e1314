// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "cmd/clogctl/show.hh"

using nlohmann::json;
using namespace clogctl;

namespace {
json sample(uint64_t unsynced) {
    return {{"uuid", "LVM-x"},
            {"phase", "active"},
            {"type", "disk"},
            {"device", "253:4"},
            {"region_bytes", 524288},
            {"regions", 128},
            {"unsynced", unsynced},
            {"recovering", 0},
            {"dirty", 3},
            {"in_use", 1},
            {"clean", 125 - unsynced},
            {"members", {{{"node", 1}, {"state", "active"}, {"trouble", false}}}},
            {"recovered_by", json::array()},
            {"held_requests", 0},
            {"log_failed", false}};
}
json status(json logs, bool quorate = true) {
    return {{"version", "1"},
            {"node", 1},
            {"transport", "corosync"},
            {"corosync", {{"connected", true}, {"quorate", quorate}}},
            {"messages", {{"round_trips", {{"count", 4}, {"total_us", 6000}, {"longest_us", 3000}}}}},
            {"nodes", {{{"id", 1}, {"up", true}, {"clogd", true}}, {{"id", 2}, {"up", false}, {"clogd", false}}}},
            {"logs", std::move(logs)}};
}
}  // namespace

TEST(Show, Units) {
    EXPECT_EQ(bytes(512), "512 B");
    EXPECT_EQ(bytes(1536), "1.5 KiB");
    EXPECT_EQ(bytes(17592186044416.0), "16 TiB");
    EXPECT_EQ(duration(59), "59 s");
    EXPECT_EQ(duration(125), "2 min 5 s");
    EXPECT_EQ(duration(7384), "2 h 3 min");
}

TEST(Show, Verdict) {
    EXPECT_EQ(verdict(status(json::array({sample(0)}))), kFine);
    EXPECT_EQ(verdict(status(json::array({sample(5)}))), kSyncing);
    EXPECT_EQ(verdict(status(json::array({sample(0)}), false)), kTrouble);
    json failed = sample(0);
    failed["log_failed"] = true;
    EXPECT_EQ(verdict(status(json::array({failed}))), kTrouble);
}

TEST(Show, WhatCannotBeSeenIsNotWell) {
    json s = status(json::array());
    EXPECT_EQ(blind(s), "");
    s["scan"] = {{"complete", false}, {"trouble", "device-mapper does not answer"}};
    EXPECT_EQ(verdict(s), kTrouble);
    EXPECT_NE(table(s).find("not known yet: device-mapper does not answer"), std::string::npos);
    EXPECT_EQ(table(s).find("no log is in use"), std::string::npos);
    s["scan"] = {{"complete", true}};
    EXPECT_EQ(verdict(s), kFine);
    s["corosync"]["connected"] = false;
    EXPECT_EQ(verdict(s), kTrouble);
    EXPECT_NE(blind(s).find("not connected to Corosync"), std::string::npos);
}

TEST(Show, AMirrorThatCannotBeServedIsNamed) {
    json s = status(json::array());
    s["unserved"] = {{{"uuid", "LVM-x"}, {"trouble", "log argument 'of-tomorrow' is not known"}}};
    EXPECT_EQ(verdict(s), kTrouble);
    EXPECT_NE(table(s).find("log LVM-x runs and cannot be served, its writes wait: log argument 'of-tomorrow' is not known"), std::string::npos);
}

TEST(Show, LegsAreToldWhileSomethingIsWrongWithThem) {
    auto with = [](json second) {
        json log = sample(0);
        log["legs"] = {{{"leg", 0}, {"state", "alive"}, {"primary", true}}, std::move(second)};
        return status(json::array({log}));
    };
    json leg = {{"leg", 1}, {"state", "alive"}, {"primary", false}, {"paths", {{"usable", 4}, {"total", 4}}}};
    EXPECT_EQ(table(with(leg)).find("legs:"), std::string::npos);
    EXPECT_EQ(verdict(with(leg)), kFine);
    leg["paths"]["usable"] = 1;
    EXPECT_NE(table(with(leg)).find("0 alive (primary), 1 alive by 1 of 4 paths;"), std::string::npos) << table(with(leg));
    EXPECT_EQ(verdict(with(leg)), kFine);
    leg["paths"]["usable"] = 0;
    EXPECT_EQ(verdict(with(leg)), kTrouble);
    leg = {{"leg", 1}, {"state", "away"}, {"primary", false}};
    EXPECT_NE(table(with(leg)).find("1 AWAY;"), std::string::npos) << table(with(leg));
    EXPECT_EQ(verdict(with(leg)), kTrouble);
}

TEST(Show, TableTellsWhatMatters) {
    std::string t = table(status(json::array({sample(32)})));
    for (const char* part : {"quorate", "2 (down); a message takes 1.5 ms there and back, at most 3.0 ms so far", "LVM-x", "32 not in sync", "75.0 %", "3 dirty here"})
        EXPECT_NE(t.find(part), std::string::npos) << part << "\n" << t;
    EXPECT_NE(table(status(json::array(), false)).find("NO QUORUM"), std::string::npos);
}

TEST(Show, ProgressTellsToWhomCopyingGivesWay) {
    json log = sample(32);
    EXPECT_EQ(progress(log, 10).find("gives way"), std::string::npos);
    log["gives_way_to"] = {1, 3};
    EXPECT_NE(progress(log, 10).find("gives way to use on node 1, 3"), std::string::npos) << progress(log, 10);
}

TEST(Show, PictureShowsTheWorstOfEachCell) {
    json map{{"regions", 100}, {"raw", {{90, 10}}}, {"torn", {{0, 1}}}, {"dirty", {{0, 20}}}, {"recovering", {{{"node", 3}, {"regions", {{50, 10}}}}}}};
    std::string p = picture(map, 10, 1);
    EXPECT_NE(p.find("xd...3...X"), std::string::npos) << p;
}

TEST(Show, AnArrayTellsWhoReachesWhat) {
    json array = sample(0);
    array["type"] = "groups";
    array["groups"] = {{"in_use", 1}, {"turn", 3}, {"switching", {{"node", 2}, {"to", 2}}}};
    array["members"] = {{{"node", 1}, {"state", "active"}, {"reaches", {1, 2}}, {"wants", 1}}, {{"node", 2}, {"state", "active"}, {"reaches", json::array()}, {"wants", 0}}};
    std::string t = table(status(json::array({array})));
    for (const char* part : {"of the paths to an array", "in use: group 1; node 2 switches the array to group 2", "node 1 active: reaches 1, 2, wants group 1",
                             "node 2 active: reaches none, wants none"})
        EXPECT_NE(t.find(part), std::string::npos) << part << "\n" << t;
    EXPECT_EQ(verdict(status(json::array({array}))), kFine);
}
