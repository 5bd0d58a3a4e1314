// SPDX-License-Identifier: GPL-2.0-or-later
// What libdevmapper is asked, by one thread at a time.
#pragma once

#include <libdevmapper.h>

#include <cstdint>
#include <memory>
#include <mutex>

namespace clogd::io {

struct DmTaskFree {
    void operator()(struct dm_task* t) const { dm_task_destroy(t); }
};
using DmTask = std::unique_ptr<struct dm_task, DmTaskFree>;

// libdevmapper keeps global state: to be held while a task is used. What it would print stays unsaid; callers say it in their own words.
std::unique_lock<std::mutex> device_mapper_lock();

// Of a task that was run: f(length in sectors, type, params) for each target.
template <class F>
void for_each_target(struct dm_task* task, F f) {
    uint64_t start = 0, length = 0;
    char *type = nullptr, *params = nullptr;
    void* next = nullptr;
    do {
        next = dm_get_next_target(task, next, &start, &length, &type, &params);
        if (type && params) f(length, type, params);
    } while (next);
}

}  // namespace clogd::io
