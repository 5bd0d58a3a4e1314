// SPDX-License-Identifier: GPL-2.0-or-later
// What becomes of a write whose legs have answered: every line of the tables in outcome.h, and what must hold whatever came before.
#include <gtest/gtest.h>

#include <vector>

#include "dm-raid1-ext/outcome.h"

namespace {

// A mirror whose legs are all in use.
struct Nodes {
    explicit Nodes(uint32_t legs = 2) {
        agreement_reset(&a, legs);
        take(agreement_every(&a), agreement_every(&a), true);
    }
    void take(uint32_t readable, uint32_t written, bool confirmed) {
        const uint32_t primary = readable & 1 ? 0 : 1;
        const uint32_t value = readable | written << CLOG_LEGS_WRITTEN_SHIFT | primary << CLOG_LEGS_PRIMARY_SHIFT | (confirmed ? CLOG_LEGS_CONFIRMED : 0);
        ASSERT_TRUE(agreement_take(&a, value, ++epoch));
    }
    // A write that is sent now, to every leg that is written.
    write_sent write(uint32_t failed = 0, uint32_t refused = 0) const {
        const auto word = agreement_word(&a);
        return {word, 0, word_written(word), failed, refused};
    }
    agreement a{};
    uint32_t epoch = 0;
};

write_world in_use() { return {true, true, 0, 0, false, SUSPEND_NONE}; }
write_outcome outcome(const Nodes& nodes, const write_sent& w, const write_world& now = in_use()) { return outcome_of_write(&nodes.a, &w, &now); }
bool at_once(const write_sent& w, const write_world& now = in_use()) { return write_ends_at_once(&w, now.cluster, now.lease, now.lapses); }

// What each of the three ways of use makes of it.
struct Line {
    write_outcome none, drains, gives_back;
};
void expect_line(const Nodes& nodes, const write_sent& w, write_world now, const Line& line) {
    now.suspend = SUSPEND_NONE;
    EXPECT_EQ(outcome(nodes, w, now), line.none);
    now.suspend = SUSPEND_DRAINS;
    EXPECT_EQ(outcome(nodes, w, now), line.drains);
    now.suspend = SUSPEND_GIVES_BACK;
    EXPECT_EQ(outcome(nodes, w, now), line.gives_back);
}

}  // namespace

TEST(Outcome, AWriteThatReachedEveryLegEnds) {
    const Nodes nodes;
    expect_line(nodes, nodes.write(), in_use(), {WRITE_ENDS, WRITE_ENDS, WRITE_ENDS});
    EXPECT_TRUE(at_once(nodes.write()));
}

// Two legs of which one is being given up: a single leg is written, and another node may still read the one that is not.
TEST(Outcome, WithTwoLegsAWriteWaitsForWhoeverStillReadsTheLegThatIsGivenUp) {
    Nodes nodes;
    nodes.take(1, 1, false);
    const write_sent w = nodes.write();
    ASSERT_EQ(w.sent, 1u);
    EXPECT_FALSE(at_once(w));
    EXPECT_EQ(outcome(nodes, w), WRITE_WAITS_FOR_NODES);
    nodes.take(1, 1, true);
    EXPECT_EQ(outcome(nodes, w), WRITE_ENDS);
    EXPECT_TRUE(at_once(nodes.write()));  // from now on the other leg is read by nobody
}

TEST(Outcome, WithThreeLegsLikewise) {
    Nodes nodes(3);
    nodes.take(3, 3, false);
    const write_sent w = nodes.write();
    EXPECT_FALSE(at_once(w));
    EXPECT_EQ(outcome(nodes, w), WRITE_WAITS_FOR_NODES);
    nodes.take(3, 3, true);
    EXPECT_EQ(outcome(nodes, w), WRITE_ENDS);
}

TEST(Outcome, AWriteThatOutlivesItsLeaseDoesNotEnd) {
    const Nodes nodes;
    const write_sent w = nodes.write();
    write_world gone = in_use(), anew = in_use();
    gone.lease = false;
    anew.lapses = 1;
    for (const write_world& now : {gone, anew}) EXPECT_FALSE(at_once(w, now));
    expect_line(nodes, w, gone, {WRITE_WAITS_FOR_LEASE, WRITE_WAITS_FOR_LEASE, WRITE_GIVEN_BACK});
    expect_line(nodes, w, anew, {WRITE_AGAIN, WRITE_AGAIN, WRITE_GIVEN_BACK});
    expect_line(nodes, nodes.write(2), gone, {WRITE_WAITS_FOR_LEASE, WRITE_WAITS_FOR_LEASE, WRITE_GIVEN_BACK});
    expect_line(nodes, nodes.write(3), anew, {WRITE_AGAIN, WRITE_AGAIN, WRITE_GIVEN_BACK});
}

TEST(Outcome, WhatALegDoesNotHaveIsRefusedWhateverTheOthersDidOfIt) {
    const Nodes nodes;
    write_world gone = in_use(), anew = in_use();
    gone.lease = false;
    anew.lapses = 1;
    for (const write_world& now : {in_use(), anew}) {
        expect_line(nodes, nodes.write(3, 3), now, {WRITE_REFUSED, WRITE_REFUSED, WRITE_REFUSED});
        expect_line(nodes, nodes.write(2, 2), now, {WRITE_REFUSED, WRITE_REFUSED, WRITE_REFUSED});
        expect_line(nodes, nodes.write(3, 1), now, {WRITE_REFUSED, WRITE_REFUSED, WRITE_REFUSED});  // the next write tells that the other has really failed
    }
    // The nodes are to hear that the legs differ: without the lease nobody may be there who hears it.
    for (const write_sent& w : {nodes.write(3, 3), nodes.write(2, 2), nodes.write(3, 1)})
        expect_line(nodes, w, gone, {WRITE_WAITS_FOR_LEASE, WRITE_WAITS_FOR_LEASE, WRITE_GIVEN_BACK});
    EXPECT_FALSE(at_once(nodes.write(3, 3)));
}

TEST(Outcome, AWriteThatALegMissedWaitsForTheNodesUntilThatLegIsGivenUpOrTriedAgain) {
    Nodes nodes;
    const write_sent w = nodes.write(2);
    expect_line(nodes, w, in_use(), {WRITE_WAITS_FOR_NODES, WRITE_LOST, WRITE_GIVEN_BACK});
    EXPECT_EQ(write_failed_legs(&nodes.a, &w), 2u);
    write_world now = in_use();
    now.retry = 2;
    EXPECT_EQ(outcome(nodes, w, now), WRITE_AGAIN);
    now = in_use();
    now.closing = true;
    EXPECT_EQ(outcome(nodes, w, now), WRITE_AGAIN);
    nodes.take(1, 1, false);
    EXPECT_EQ(outcome(nodes, w), WRITE_WAITS_FOR_NODES);
    EXPECT_EQ(write_failed_legs(&nodes.a, &w), 0u);  // it is being given up: nobody need be told
    nodes.take(1, 1, true);
    expect_line(nodes, w, in_use(), {WRITE_ENDS, WRITE_ENDS, WRITE_ENDS});
}

TEST(Outcome, ALegThatIsWrittenByNowAndHasNotGotItGetsIt) {
    Nodes nodes;
    nodes.take(1, 1, false);
    const write_sent w = nodes.write();
    nodes.take(1, 3, false);  // it is not given up after all
    EXPECT_EQ(outcome(nodes, w), WRITE_AGAIN);
}

TEST(Outcome, AWriteThatNoLegTookIsTriedElsewhereOrLost) {
    Nodes nodes;
    expect_line(nodes, nodes.write(3), in_use(), {WRITE_LOST, WRITE_LOST, WRITE_GIVEN_BACK});
    nodes.take(1, 1, true);
    const write_sent w = nodes.write(1);
    EXPECT_EQ(outcome(nodes, w), WRITE_LOST);
    nodes.take(1, 3, true);
    EXPECT_EQ(outcome(nodes, w), WRITE_AGAIN);
}

TEST(Outcome, AloneEveryLegCountsAndThePrimaryAnswersForItself) {
    agreement a{};
    agreement_alone(&a, 2);
    const auto word = agreement_word(&a);
    const write_world now{false, false, 7, 0, false, SUSPEND_NONE};
    auto alone = [&](uint32_t sent, uint32_t failed, uint32_t refused) {
        const write_sent w{word, 0, sent, failed, refused};
        EXPECT_EQ(at_once(w, now), !failed);
        return outcome_of_write(&a, &w, &now);
    };
    EXPECT_EQ(alone(3, 0, 0), WRITE_ENDS);
    EXPECT_EQ(alone(1, 0, 0), WRITE_ENDS);  // of a region that is not in sync
    EXPECT_EQ(alone(3, 3, 3), WRITE_REFUSED);
    EXPECT_EQ(alone(1, 1, 1), WRITE_FAILS);  // the region is not in sync, nor is it more so now
    EXPECT_EQ(alone(1, 1, 0), WRITE_FAILS);
    EXPECT_EQ(alone(3, 2, 0), WRITE_MISSED);
    EXPECT_EQ(alone(3, 2, 2), WRITE_REFUSED);
    EXPECT_EQ(alone(3, 3, 1), WRITE_REFUSED);
    EXPECT_EQ(alone(3, 3, 0), WRITE_MISSED);
}

namespace {
struct Step {
    uint32_t readable, written;
    bool confirmed;
};

std::vector<Step> every_step(uint32_t every) {
    std::vector<Step> steps;
    for (uint32_t written = 1; written <= every; ++written)
        for (uint32_t readable = 1; readable <= written; ++readable)
            if (!(readable & ~written) && readable & 3)
                for (bool confirmed : {false, true}) steps.push_back({readable, written, confirmed});
    return steps;
}

// `may_be_read`: the legs that some node may have read since the write was sent.
void expect_safe(const Nodes& nodes, const write_sent& w, const write_world& now, uint32_t may_be_read) {
    const uint32_t reached = w.sent & ~w.failed;
    const write_outcome is = outcome(nodes, w, now);
    if (at_once(w, now)) {
        ASSERT_EQ(is, WRITE_ENDS);
    }
    if (is == WRITE_ENDS) {
        ASSERT_TRUE(now.lease && now.lapses == w.lapse && reached);
        ASSERT_EQ(may_be_read & ~reached, 0u);
    } else if (w.refused && now.lease) {
        ASSERT_EQ(is, WRITE_REFUSED);  // and no leg is given up for it
    } else if (w.refused) {
        ASSERT_EQ(is, now.suspend == SUSPEND_GIVES_BACK ? WRITE_GIVEN_BACK : WRITE_WAITS_FOR_LEASE);
    } else if (is == WRITE_GIVEN_BACK) {
        ASSERT_EQ(now.suspend, SUSPEND_GIVES_BACK);
    }
    ASSERT_TRUE(is != WRITE_FAILS && is != WRITE_MISSED);
}
}  // namespace

// Every write of two and of three legs, with one epoch before it and one after it, in all circumstances: what ends has reached each leg that some
// node may read, under the lease that it was sent with; what ends at once does so by the table, too.
TEST(Outcome, NothingEndsThatANodeCouldMiss) {
    for (uint32_t legs : {2u, 3u}) {
        const uint32_t every = (1u << legs) - 1;
        for (const Step& before : every_step(every))
            for (const Step& after : every_step(every)) {
                Nodes nodes(legs);
                nodes.take(before.readable, before.written, before.confirmed);
                const uint32_t needed = nodes.a.needed;
                write_sent w = nodes.write();
                nodes.take(after.readable, after.written, after.confirmed);
                const uint32_t may_be_read = after.confirmed ? needed & after.written : needed;
                for (w.failed = 0; w.failed <= every; ++w.failed)
                    for (w.refused = 0; w.refused <= every; ++w.refused) {
                        if (w.failed & ~w.sent || w.refused & ~w.failed) continue;
                        for (uint32_t how = 0; how < 24; ++how) expect_safe(nodes, w, {true, (how & 1) != 0, how >> 1 & 1, 0, (how & 4) != 0, suspend_way(how / 8)}, may_be_read);
                        if (HasFatalFailure()) return;
                    }
            }
    }
}
