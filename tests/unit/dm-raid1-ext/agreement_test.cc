// SPDX-License-Identifier: GPL-2.0-or-later
// Which legs a mirror may use, and when a write that some of them missed may end.
#include <gtest/gtest.h>

#include "dm-raid1-ext/agreement.h"

namespace {
uint32_t legs_value(uint32_t readable, uint32_t written, uint32_t primary, bool confirmed) {
    return readable | written << CLOG_LEGS_WRITTEN_SHIFT | primary << CLOG_LEGS_PRIMARY_SHIFT | (confirmed ? CLOG_LEGS_CONFIRMED : 0);
}
agreement fresh(uint32_t legs = 2) {
    agreement a{};
    agreement_reset(&a, legs);
    return a;
}
}  // namespace

TEST(Agreement, NothingIsUsedBeforeItWasTold) {
    agreement a = fresh();
    EXPECT_FALSE(word_told(agreement_word(&a)));
    EXPECT_EQ(word_readable(agreement_word(&a)), 0u);
    EXPECT_EQ(word_written(agreement_word(&a)), 0u);
    agreement alone{};
    agreement_alone(&alone, 3);
    EXPECT_TRUE(word_told(agreement_word(&alone)));
    EXPECT_EQ(word_readable(agreement_word(&alone)), 7u);
    EXPECT_EQ(word_needed(agreement_word(&alone)), 7u);
}

TEST(Agreement, NonsenseIsRefused) {
    agreement a = fresh();
    EXPECT_FALSE(agreement_take(&a, legs_value(0, 3, 0, true), 1));   // nothing to read
    EXPECT_FALSE(agreement_take(&a, legs_value(3, 1, 0, true), 1));   // read, but not written
    EXPECT_FALSE(agreement_take(&a, legs_value(3, 7, 0, true), 1));   // a leg that is not there
    EXPECT_FALSE(agreement_take(&a, legs_value(2, 3, 0, true), 1));   // a primary that is not read
    EXPECT_FALSE(agreement_take(&a, legs_value(3, 3, 15, true), 1));  // or not there
    EXPECT_FALSE(a.told);
}

TEST(Agreement, AWriteThatALegMissedEndsWhenNobodyReadsThatLegAnyMore) {
    agreement a = fresh();
    ASSERT_TRUE(agreement_take(&a, legs_value(3, 3, 0, true), 0));
    const auto before = agreement_word(&a);
    EXPECT_EQ(agreement_lacks(&a, before, 1), 2u);
    ASSERT_TRUE(agreement_take(&a, legs_value(1, 1, 0, false), 1));
    EXPECT_EQ(agreement_lacks(&a, before, 1), 2u);
    const auto between = agreement_word(&a);  // sent without the leg, which others may still read
    EXPECT_EQ(word_written(between), 1u);
    EXPECT_EQ(agreement_lacks(&a, between, 1), 2u);
    ASSERT_TRUE(agreement_take(&a, legs_value(1, 1, 0, true), 1));
    EXPECT_EQ(agreement_lacks(&a, before, 1), 0u);
    EXPECT_EQ(agreement_lacks(&a, between, 1), 0u);
    EXPECT_EQ(agreement_lacks(&a, before, 2), 1u);  // and one that only the lost leg has may not
}

TEST(Agreement, ALegThatComesBackIsNotAskedOfEarlierWrites) {
    agreement a = fresh();
    ASSERT_TRUE(agreement_take(&a, legs_value(3, 3, 0, true), 0));
    const auto early = agreement_word(&a);
    ASSERT_TRUE(agreement_take(&a, legs_value(1, 1, 0, true), 1));
    const auto without = agreement_word(&a);
    ASSERT_TRUE(agreement_take(&a, legs_value(1, 3, 0, false), 2));  // written, not yet read
    const auto joining = agreement_word(&a);
    EXPECT_EQ(word_readable(joining), 1u);
    EXPECT_EQ(agreement_lacks(&a, early, 1), 0u);
    EXPECT_EQ(agreement_lacks(&a, without, 1), 0u);
    EXPECT_EQ(agreement_lacks(&a, joining, 1), 2u);
    ASSERT_TRUE(agreement_take(&a, legs_value(3, 3, 0, true), 3));
    EXPECT_EQ(agreement_lacks(&a, without, 1), 0u);
    EXPECT_EQ(agreement_lacks(&a, joining, 1), 2u);
}
