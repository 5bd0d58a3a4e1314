// SPDX-License-Identifier: GPL-2.0-or-later
// Which disk a leg is: what sysfs tells of it (clogd/io/leg_disks.hh), and what follows from that (clogd/core/leg_disk.hh).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "clogd/io/leg_disks.hh"

using namespace clogd;
using namespace clogd::io;
namespace fs = std::filesystem;

namespace {
LegDisk named(const std::string& number, std::vector<std::string> disks, const std::string& dm_uuid = {}, uint64_t start = 0) { return {number, start, dm_uuid, std::move(disks)}; }

struct Folder {
    fs::path path;
    Folder() {
        std::string name = (fs::temp_directory_path() / "leg-disks.XXXXXX").string();
        path = ::mkdtemp(name.data());
    }
    Folder(const Folder&) = delete;
    ~Folder() { fs::remove_all(path); }
    void file(const std::string& at, const std::string& text) const {
        fs::create_directories((path / at).parent_path());
        std::ofstream(path / at) << text << '\n';
    }
    void link(const std::string& at, const std::string& to) const {
        fs::create_directories((path / at).parent_path());
        fs::create_directory_symlink(path / to, path / at);
    }
};
}  // namespace

TEST(LegDisk, NamesTellDisksApart) {
    EXPECT_EQ(same_disk(named("8:0", {"naa.1"}), named("8:0", {"naa.1"})), SameDisk::yes);
    EXPECT_EQ(same_disk(named("8:0", {"naa.1"}), named("8:0", {"naa.2"})), SameDisk::no) << "the number was given to another disk";
    EXPECT_EQ(same_disk(named("8:0", {"naa.1"}), named("8:16", {"naa.2"})), SameDisk::no);
    EXPECT_EQ(same_disk(named("253:0", {"naa.1"}, "LVM-a"), named("253:1", {"naa.1"}, "LVM-b")), SameDisk::no) << "two volumes on one disk";
    EXPECT_EQ(same_disk(named("253:0", {"naa.1"}, "LVM-a"), named("253:7", {"naa.2"}, "LVM-a")), SameDisk::yes) << "a volume that was moved";
}

TEST(LegDisk, AnotherWayToTheSameDiskIsTheSame) {
    EXPECT_NE(same_disk(named("8:0", {"naa.1"}), named("8:16", {"naa.1"})), SameDisk::no) << "another path";
    EXPECT_NE(same_disk(named("8:0", {"naa.1"}), named("253:0", {"naa.1"}, "mpath-1")), SameDisk::no) << "a map of its paths";
    EXPECT_EQ(same_disk(named("8:0", {"naa.1"}), named("253:0", {"naa.2"}, "mpath-2")), SameDisk::no);
}

TEST(LegDisk, WithoutANameTheNumberTells) {
    EXPECT_EQ(same_disk(named("7:0", {}), named("7:0", {})), SameDisk::yes);
    EXPECT_EQ(same_disk(named("7:0", {}), named("7:1", {})), SameDisk::no);
    EXPECT_EQ(same_disk(named("7:0", {}), named("253:1", {}, "LVM-a")), SameDisk::unknown);
    EXPECT_EQ(same_disk(named("8:0", {"naa.1"}), named("7:1", {})), SameDisk::unknown);
}

TEST(LegDisk, AnotherPlaceOnTheDiskIsAnotherLeg) {
    EXPECT_EQ(same_disk(named("8:0", {"naa.1"}), named("8:0", {"naa.1"}, {}, 2048)), SameDisk::no);
    EXPECT_EQ(same_disk(named("253:0", {}, "LVM-a"), named("253:0", {}, "LVM-a", 8)), SameDisk::no);
    EXPECT_EQ(same_disk(named("7:0", {}), named("7:0", {}, {}, 8)), SameDisk::no);
}

TEST(LegDisk, ThePrintIsOfTheNamesAlone) {
    EXPECT_EQ(leg_print(named("8:0", {"naa.1"})), leg_print(named("8:96", {"naa.1"})));
    EXPECT_NE(leg_print(named("8:0", {"naa.1"})), leg_print(named("8:0", {"naa.2"})));
    EXPECT_NE(leg_print(named("8:0", {"naa.1"})), leg_print(named("8:0", {"naa.1"}, {}, 8)));
    EXPECT_EQ(leg_print(named("7:0", {})), 0u);
}

TEST(LegDisk, IsReadFromSysfs) {
    Folder sys;
    sys.file("devices/sda/device/wwid", "naa.600a  ");
    sys.file("devices/sda/sda2/partition", "2");
    sys.file("devices/nvme0n1/wwid", "eui.77");
    sys.file("devices/vda/serial", "leg0");
    sys.file("devices/dm-3/dm/uuid", "LVM-abc");
    sys.link("devices/dm-3/slaves/sda2", "devices/sda/sda2");
    sys.link("devices/dm-3/slaves/nvme0n1", "devices/nvme0n1");
    for (const auto& [number, device] : {std::pair{"8:0", "sda"}, {"8:2", "sda/sda2"}, {"259:0", "nvme0n1"}, {"254:0", "vda"}, {"253:3", "dm-3"}})
        sys.link(std::string("dev/block/") + number, std::string("devices/") + device);
    const std::string root = sys.path.string();
    EXPECT_EQ(leg_disk("8:0", 0, root), named("8:0", {"naa.600a"}));
    EXPECT_EQ(leg_disk("8:2", 9, root), named("8:2", {"naa.600a partition 2"}, {}, 9));
    EXPECT_EQ(leg_disk("259:0", 0, root), named("259:0", {"eui.77"}));
    EXPECT_EQ(leg_disk("254:0", 0, root), named("254:0", {"leg0"}));
    EXPECT_EQ(leg_disk("253:3", 0, root), named("253:3", {"eui.77", "naa.600a partition 2"}, "LVM-abc"));
    EXPECT_EQ(leg_disk("9:9", 0, root), named("9:9", {})) << "it is not there";
}

TEST(LegDisk, WhatIsRememberedComesBackAndDamageIsNothing) {
    Folder run;
    const std::string log = "LVM-a/b c";
    EXPECT_TRUE(remembered_legs(run.path, log).empty());
    const std::vector<LegDisk> legs{named("8:0", {"naa.1"}), named("253:0", {"a \"quoted\" one"}, "LVM-x", 2048)};
    EXPECT_EQ(remember_legs(run.path, log, legs), "");
    EXPECT_EQ(remembered_legs(run.path, log), legs);
    EXPECT_TRUE(remembered_legs(run.path, "LVM-other").empty());
    std::string file;
    for (const auto& entry : fs::directory_iterator(run.path)) file = entry.path();
    for (const char* text : {"", "{", "[1,2]", R"({"log":"LVM-a/b c","legs":[{"number":5}]})", R"({"log":"another","legs":[]})"}) {
        std::ofstream(file, std::ios::trunc) << text;
        EXPECT_TRUE(remembered_legs(run.path, log).empty()) << text;
    }
    EXPECT_NE(remember_legs(run.path / "nowhere", log, legs).find("nowhere"), std::string::npos);
}
