// SPDX-License-Identifier: GPL-2.0-or-later
// A thread with a queue: what may block (a disk, a suspend) runs here, in order, and its result is posted back to the one event
// loop. One per log and kind, so that a disk that hangs holds up nobody else.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace clogd::io {

class Worker {
  public:
    Worker() : thread_([this](const std::stop_token& stop) { run(stop); }) {}
    Worker(const Worker&) = delete;
    ~Worker() {
        thread_.request_stop();
        wake_.notify_all();
    }
    void post(std::function<void()> job) {
        {
            std::lock_guard lock(mutex_);
            jobs_.push_back(std::move(job));
        }
        wake_.notify_one();
    }

  private:
    void run(const std::stop_token& stop) {
        while (true) {
            std::function<void()> job;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, stop, [this] { return !jobs_.empty(); });
                if (jobs_.empty()) return;
                job = std::move(jobs_.front());
                jobs_.pop_front();
            }
            job();
        }
    }
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::deque<std::function<void()>> jobs_;
    std::jthread thread_;
};

}  // namespace clogd::io
