// SPDX-License-Identifier: GPL-2.0-or-later
// The mirror above a log, as device-mapper shows it: which device it is, its legs, and how to suspend, resume and reload it.
//
// Blocking; used on workers only. Tables are read with libdevmapper, under one lock. Suspend and resume are single ioctls of their
// own, because they may block for as long as quorum is away and must not hold that lock.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace clogd::io {

struct Leg {
    std::string device;  // major:minor
    uint64_t offset_sectors = 0;
};

struct MirrorDevice {
    std::string name;    // of the dm device
    std::string number;  // major:minor; empty if only its table is known
    std::string target = "mirror";
    std::string log_uuid;
    std::string ctr;  // what the kernel would send with CTR
    uint64_t sectors = 0;
    std::string params;
    std::vector<Leg> legs;
    bool handle_errors = false, keep_log = false;
    bool alone = true;          // its device has no other target
    bool read_only = false;     // the device
    bool other_loaded = false;  // another table waits for the next resume
};

// Every live mirror with a `userspace ... clustered-*` or `cluster` log. nullopt: device-mapper cannot be asked; *error says why.
std::optional<std::vector<MirrorDevice>> scan_mirrors(std::string* error);
std::optional<MirrorDevice> find_mirror(const std::string& log_uuid, std::string* error);

// "mirror" table line of a live device; nullopt: not ours.
std::optional<MirrorDevice> parse_mirror(const std::string& name, uint64_t sectors, const std::string& params);

// Reads and writes that have ended or are under way: it is used if that has changed. 0 for no device.
uint64_t uses_of(const std::string& number);

int suspend_device(const std::string& name);  // without flushing or freezing: what is queued stays queued
int resume_device(const std::string& name);
// Loads a copy of the live table, which the next resume puts in place; if another one is loaded already, that is it. -EOPNOTSUPP: the device has
// more than this target.
int reload_device(const MirrorDevice& mirror);

// Devices that a daemon suspended and did not live to resume (kept as files in `directory`).
void remember_suspended(const std::string& directory, const std::string& name, bool suspended);
std::vector<std::string> remembered_suspended(const std::string& directory);

}  // namespace clogd::io
