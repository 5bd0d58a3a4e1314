// SPDX-License-Identifier: GPL-2.0-or-later
// Which disk a device leads to: what a VPD page 0x83 says, also one that is cut off or nonsense, and what is compared.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "dm-mpath/disk_id.h"

namespace {

using Bytes = std::vector<u8>;

Bytes designator(u8 association, u8 type, const std::string& name) {
    Bytes d{2, static_cast<u8>(association << 4 | type), 0, static_cast<u8>(name.size())};
    for (const char c : name) d.push_back(static_cast<u8>(c));
    return d;
}

Bytes page(const std::vector<Bytes>& designators) {
    Bytes p{0, 0x83, 0, 0};
    for (const Bytes& d : designators)
        for (const u8 byte : d) p.push_back(byte);
    p[2] = static_cast<u8>((p.size() - 4) >> 8);
    p[3] = static_cast<u8>(p.size() - 4);
    return p;
}

disk_id id_of(const Bytes& p, u64 sectors = 1000) {
    disk_id id{};
    id.sectors = sectors;
    disk_name_of_page(&id, p.data(), static_cast<u32>(p.size()));
    return id;
}

std::string name(const disk_id& id) { return {reinterpret_cast<const char*>(id.name), id.length}; }

const Bytes kNaa = designator(0, 3, "NAA-4567"), kT10 = designator(0, 1, "LIO-ORG disk:1"), kPort = designator(1, 4, "\0\0\0\1"), kTarget = designator(2, 8, "iqn.2026-01.lab");

}  // namespace

TEST(DiskId, TheBestNameOfTheDiskCounts) {
    for (const auto& order : {std::vector{kPort, kT10, kNaa, kTarget}, std::vector{kNaa, kT10}, std::vector{kTarget, kNaa}}) {
        const disk_id id = id_of(page(order));
        EXPECT_EQ(id.kind, DISK_NAA);
        EXPECT_EQ(name(id), "NAA-4567");
    }
    EXPECT_EQ(name(id_of(page({kNaa, designator(0, 3, "NAA-456789abcdef")}))), "NAA-456789abcdef");
    EXPECT_EQ(id_of(page({kPort, kTarget})).kind, DISK_NAMELESS);  // of the port and of the target, not of the disk
    EXPECT_EQ(id_of(page({designator(0, 3, "")})).kind, DISK_NAMELESS);
    EXPECT_EQ(id_of(page({designator(0, 6, "grp!")})).kind, DISK_NAMELESS);
}

TEST(DiskId, APageThatIsCutOffIsReadAsFarAsItGoes) {
    Bytes p = page({kT10, kNaa});
    for (size_t n = 0; n <= p.size(); ++n) {
        const disk_id id = id_of(Bytes(p.begin(), p.begin() + static_cast<long>(n)));
        EXPECT_EQ(id.kind, n < 4 + kT10.size() ? DISK_NAMELESS : n < p.size() ? DISK_T10 : DISK_NAA) << n;
    }
    p[1] = 0x80;
    EXPECT_EQ(id_of(p).kind, DISK_NAMELESS);
}

TEST(DiskId, NonsenseIsReadWithinItsBounds) {
    std::mt19937 random(1);
    for (int i = 0; i < 20000; ++i) {
        Bytes p(random() % 64);
        for (u8& b : p) b = static_cast<u8>(random());
        if (p.size() > 2) p[1] = 0x83, p[2] = 0;
        p.shrink_to_fit();
        EXPECT_LE(id_of(p).length, DISK_NAME_BYTES);
    }
}

TEST(DiskId, AnotherNameIsAnotherDisk) {
    const disk_id was = id_of(page({kNaa, kT10}));
    EXPECT_EQ(disk_compare(&was, &was), DISK_SAME);
    for (const auto& other : {page({designator(0, 3, "NAA-4568")}), page({designator(0, 3, "NAA-456")}), page({kT10})}) {
        const disk_id now = id_of(other);
        EXPECT_EQ(disk_compare(&was, &now), DISK_OTHER);
    }
}

// A controller that starts may answer with an empty page, or with one that names ports alone. Another disk without a name does not get in either.
TEST(DiskId, ANamedDiskThatTellsNoNameIsAskedAgain) {
    const disk_id was = id_of(page({kNaa}), 1000);
    for (const auto& nameless : {page({}), page({kPort, kTarget}), Bytes{}})
        for (const u64 sectors : {0, 999, 1000, 2000}) {
            const disk_id now = id_of(nameless, sectors);
            EXPECT_EQ(disk_compare(&was, &now), DISK_UNKNOWN);
        }
}

TEST(DiskId, ANamedDiskMayGrowAndNotShrink) {
    const disk_id was = id_of(page({kNaa}), 1000), larger = id_of(page({kNaa}), 2000), smaller = id_of(page({kNaa}), 999), silent = id_of(page({kNaa}), 0);
    EXPECT_EQ(disk_compare(&was, &larger), DISK_SAME);
    EXPECT_EQ(disk_compare(&was, &smaller), DISK_OTHER);
    EXPECT_EQ(disk_compare(&was, &silent), DISK_SAME);  // a port on standby does not tell
}

TEST(DiskId, WithoutANameTheSizeAloneTells) {
    const disk_id was = id_of(page({}), 1000), same = id_of(page({}), 1000), larger = id_of(page({}), 1001), silent = id_of(page({}), 0);
    EXPECT_EQ(disk_compare(&was, &same), DISK_SAME);
    EXPECT_EQ(disk_compare(&was, &larger), DISK_OTHER);
    EXPECT_EQ(disk_compare(&was, &silent), DISK_UNKNOWN);
}
