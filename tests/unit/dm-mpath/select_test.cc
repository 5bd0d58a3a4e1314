// SPDX-License-Identifier: GPL-2.0-or-later
// The path selectors, each against a group of simulated paths with a time of their own.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "dm-mpath/select.h"

namespace {

constexpr u64 kMs = 1'000'000;

std::vector<char*> words(std::vector<std::string>& in) {
    std::vector<char*> out;
    for (std::string& w : in) out.push_back(w.data());
    return out;
}

// Paths that serve one I/O after the other, each with a time per I/O.
struct Bench {
    const selector* s;
    select_group group{};
    std::deque<select_path> path;
    std::vector<u64> service, free_at;
    std::vector<unsigned> served;
    std::unique_ptr<char[]> room;
    select_paths* paths = nullptr;
    u64 now = 0;
    struct Flight {
        u64 end, began;
        size_t path;
        bool operator<(const Flight& o) const { return end > o.end; }
    };
    std::priority_queue<Flight> flying;

    Bench(const char* name, std::vector<u64> service_ns, std::vector<std::string> group_args = {}) : s(selector_find(name)), service(std::move(service_ns)) {
        auto argv = words(group_args);
        if (s->group_args) {
            EXPECT_EQ(s->group_args(&group, static_cast<u32>(argv.size()), argv.data()), nullptr);
        }
        free_at.resize(service.size());
        served.resize(service.size());
        path.resize(service.size());
        room = std::make_unique<char[]>(sizeof(select_paths) + service.size() * sizeof(select_path*));
        paths = new (room.get()) select_paths;
        paths->n = static_cast<u32>(service.size());
        for (size_t i = 0; i < service.size(); ++i) {
            paths->path[i] = &path[i];
            path[i].usable = true;
            path[i].share = 100;
            args(i, {});
        }
    }
    const char* args(size_t i, std::vector<std::string> text) {
        auto argv = words(text);
        return s->path_args(&path[i], static_cast<u32>(argv.size()), argv.data());
    }
    int choose(u32 bytes = 4096, u32 cpu = 0) {
        select_io io{bytes, cpu, now, 0, false};
        select_path* p = select_choose(s, &group, paths, &io);
        for (size_t i = 0; i < path.size(); ++i)
            if (p == &path[i]) return static_cast<int>(i);
        return -1;
    }
    void send(u32 bytes = 4096) {
        const int i = choose(bytes);
        ASSERT_GE(i, 0);
        const auto at = static_cast<size_t>(i);
        select_began(s, &path[at], bytes, now);
        free_at[at] = std::max(free_at[at], now) + service[at];
        flying.push({free_at[at], now, at});
    }
    void land() {
        const Flight f = flying.top();
        flying.pop();
        now = std::max(now, f.end);
        ++served[f.path];
        select_ended(s, &group, &path[f.path], 4096, f.began, now);
    }
    // So many I/Os at a time, in all; how long it took.
    u64 run(unsigned depth, unsigned count) {
        const u64 begin = now;
        for (unsigned i = 0; i < count; ++i) {
            while (flying.size() >= depth) land();
            send();
        }
        while (!flying.empty()) land();
        return now - begin;
    }
    std::string table(size_t i) {
        char text[256] = "";
        s->path_table(&path[i], text, sizeof text);
        return text;
    }
};

const std::vector<const char*> kNames = {"round-robin", "queue-length", "service-time", "historical-service-time", "io-affinity", "latency"};

}  // namespace

TEST(Select, NamesAndArguments) {
    EXPECT_EQ(selector_find("fastest"), nullptr);
    for (const char* name : kNames) ASSERT_NE(selector_find(name), nullptr) << name;
    Bench st("service-time", {1});
    EXPECT_EQ(st.args(0, {"1", "100"}), nullptr);
    EXPECT_EQ(st.table(0), "1 100 ");
    EXPECT_STREQ(st.args(0, {"1", "101"}), "service-time ps: invalid relative_throughput value");
    EXPECT_STREQ(st.args(0, {"-1"}), "service-time ps: invalid repeat count");
    EXPECT_STREQ(st.args(0, {"1", "2", "3"}), "service-time ps: incorrect number of arguments");
    Bench rr("round-robin", {1});
    EXPECT_STREQ(rr.args(0, {""}), "round-robin ps: invalid repeat count");
    EXPECT_STREQ(rr.args(0, {"4294967296"}), "round-robin ps: invalid repeat count");
    std::vector<std::string> bad = {"1024"};
    auto argv = words(bad);
    select_group g{};
    EXPECT_STREQ(selector_find("historical-service-time")->group_args(&g, 1, argv.data()), "historical-service-time ps: invalid base_weight");
}

TEST(Select, NoneTakesAPathThatIsNotUsable) {
    for (const char* name : kNames) {
        Bench b(name, {kMs, kMs, kMs});
        b.path[0].usable = b.path[2].usable = false;
        for (int i = 0; i < 200; ++i) EXPECT_EQ(b.choose(), 1) << name;
        b.path[1].usable = false;
        EXPECT_EQ(b.choose(), -1) << name;
        b.paths->n = 0;
        EXPECT_EQ(b.choose(), -1) << name;
    }
}

TEST(Select, EqualPathsShareEqually) {
    for (const char* name : kNames) {
        if (std::string(name) == "io-affinity") continue;
        Bench b(name, {kMs, kMs, kMs, kMs});
        b.run(8, 4000);
        for (unsigned n : b.served) EXPECT_NEAR(n, 1000, 120) << name;
    }
}

TEST(Select, APathThatIsRampedUpGetsItsShare) {
    for (const char* name : {"round-robin", "queue-length", "service-time"}) {
        Bench b(name, {kMs, kMs});
        b.path[1].share = 10;
        b.run(2, 2000);
        EXPECT_GT(b.served[1], 20u) << name;
        EXPECT_LT(b.served[1], 260u) << name;
        b.path[0].usable = false;  // nobody else is left
        for (int i = 0; i < 200; ++i) EXPECT_EQ(b.choose(), 1) << name;
    }
}

// What one path of two is slower by costs those who look at queues or times little.
TEST(Select, ASlowPathGetsLess) {
    const u64 best = Bench("round-robin", {kMs, kMs}).run(8, 4000);
    for (const char* name : {"queue-length", "service-time", "historical-service-time", "latency"}) {
        Bench b(name, {kMs, 50 * kMs});
        const u64 took = b.run(8, 4000);
        EXPECT_LT(took, best * 3) << name;
        EXPECT_GT(b.served[0], 3500u) << name;
    }
    EXPECT_GT(Bench("round-robin", {kMs, 50 * kMs}).run(8, 4000), best * 20);
}

TEST(Select, ThroughputIsHeeded) {
    Bench b("service-time", {kMs, kMs});
    b.args(0, {"1", "30"});
    b.args(1, {"1", "10"});
    for (int i = 0; i < 40; ++i) {  // nothing lands meanwhile
        const int p = b.choose();
        ++b.served[static_cast<size_t>(p)];
        select_began(b.s, &b.path[static_cast<size_t>(p)], 4096, 0);
    }
    EXPECT_EQ(b.served, (std::vector<unsigned>{30, 10}));
    b.args(1, {"1", "0"});
    for (int i = 0; i < 40; ++i) EXPECT_EQ(b.choose(), 0);
    b.path[0].usable = false;
    EXPECT_EQ(b.choose(), 1);
}

TEST(Select, APathAloneIsTakenForAsLongAsItIsUsable) {
    for (const char* name : {"round-robin", "queue-length", "service-time", "historical-service-time", "io-affinity", "latency"}) {
        Bench b(name, {kMs});
        b.path[0].share = 1;  // ramped up, but nobody else is there
        for (int i = 0; i < 200; ++i) EXPECT_EQ(b.choose(), 0) << name;
        b.path[0].usable = false;
        EXPECT_EQ(b.choose(), -1) << name;
    }
    Bench b("io-affinity", {kMs});
    EXPECT_EQ(b.choose(), 0);
    EXPECT_EQ(b.group.misses.counter, 1);
}

TEST(Select, NothingIsLeftInFlight) {
    for (const char* name : {"round-robin", "service-time"}) {
        Bench b(name, {kMs, 2 * kMs});
        b.run(4, 200);
        while (!b.flying.empty()) b.land();
        for (const select_path& p : b.path) {
            EXPECT_EQ(p.in_flight.counter, 0) << name;
            EXPECT_EQ(p.bytes.counter, 0) << name;
        }
    }
}

TEST(Select, LatencyLeavesAPathWhoseIOIsOverdue) {
    Bench b("latency", {kMs, kMs});
    b.run(4, 200);
    const int first = b.choose();
    select_began(b.s, &b.path[static_cast<size_t>(first)], 4096, b.now);  // and never ends
    b.now += 100 * kMs;
    for (int i = 0; i < 300; ++i) EXPECT_NE(b.choose(), first);
}

TEST(Select, LatencyHearsOfAPathThatHasBecomeFast) {
    for (const char* name : {"latency", "historical-service-time"}) {
        Bench b(name, {kMs, 40 * kMs});
        b.run(1, 3000);
        EXPECT_GT(b.served[0], 2800u) << name;
        b.service[0] = 4 * kMs, b.service[1] = kMs;
        b.served = {0, 0};
        b.run(1, 6000);
        EXPECT_GT(b.served[1], 3000u) << name;
    }
}

TEST(Select, EachCpuHasItsPath) {
    Bench b("io-affinity", {kMs, kMs});
    unsigned long masks[2] = {0x5, 0x2};
    for (size_t i : {0u, 1u}) b.path[i].cpus = &masks[i];
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(b.choose(4096, 0), 0);
        EXPECT_EQ(b.choose(4096, 1), 1);
        EXPECT_EQ(b.choose(4096, 2), 0);
    }
    EXPECT_EQ(b.group.misses.counter, 0);
    b.choose(4096, 3);
    EXPECT_EQ(b.group.misses.counter, 1);
    b.path[1].usable = false;
    EXPECT_EQ(b.choose(4096, 1), 0);
    EXPECT_EQ(b.group.misses.counter, 2);
    EXPECT_STREQ(b.args(0, {}), "io-affinity ps: invalid number of arguments");
}
