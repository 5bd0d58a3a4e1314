// SPDX-License-Identifier: GPL-2.0-or-later
// The stock kernel's mirror over the `userspace` log, as far as clogd can see it: region hash, one worker, its traps.
//
// Written from the behaviour of drivers/md/dm-raid1.c, dm-region-hash.c and dm-log-userspace-base.c (6.1): the worker handles
// cleared regions, reads and writes one request at a time; in_sync_hint is kept once full; a region stays in the hash while writes
// are pending; CLEAR follows the last one; IN_SYNC = 0 sends writes to the first leg only, unmarked.
#pragma once

#include <coroutine>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clogd/core/event.hh"
#include "proto/region.hh"
#include "proto/ulog.hh"

namespace sim {

using proto::Bytes;
using proto::NodeId;
using proto::Region;
using proto::ulog::Request;

// A coroutine that is owned by its handle and destroyed with the node.
struct Task {
    struct promise_type {
        Task get_return_object() { return Task{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { throw; }
    };
    std::coroutine_handle<promise_type> handle;
    explicit Task(std::coroutine_handle<promise_type> h = {}) : handle(h) {}
    Task(Task&& o) noexcept : handle(std::exchange(o.handle, {})) {}
    Task& operator=(Task&& o) noexcept {
        if (handle) handle.destroy();
        handle = std::exchange(o.handle, {});
        return *this;
    }
    ~Task() {
        if (handle) handle.destroy();
    }
};

struct Bio {
    bool write = false;
    uint32_t block = 0;
    uint64_t value = 0;  // of a write
    uint64_t id = 0;
};

// What the model needs of the world around it.
struct KernelHost {
    virtual ~KernelHost() = default;
    virtual void ulog_send(NodeId node, const proto::ulog::Call& call) = 0;  // to the daemon, lost if there is none
    virtual bool daemon_listens(NodeId node) = 0;
    virtual void after(uint64_t us, std::function<void()> what) = 0;
    // Legs are bits; those that the mirror does not have are ignored.
    virtual void leg_write(NodeId node, const Bio& bio, uint32_t legs, std::function<void(uint32_t failed)> done) = 0;
    virtual std::optional<uint64_t> leg_read(NodeId node, const Bio& bio, uint32_t legs) = 0;  // one of them; nullopt: none can be read
    virtual void switch_array(NodeId node, size_t mirror, uint32_t group, bool granted, std::function<void(bool ok)> done) = 0;
    virtual void channel_poke(NodeId node, size_t mirror) = 0;  // it has something to tell
    virtual void broken(const std::string& what) = 0;
    virtual void bio_done(NodeId node, const Bio& bio, uint64_t value_read) = 0;
    virtual void bio_failed(NodeId node, const Bio& bio) = 0;
    virtual uint32_t blocks_per_region() = 0;
    virtual uint64_t now_us() = 0;
};

// A mirror in one node's kernel, as the world uses it.
class Kernel {
  public:
    virtual ~Kernel() = default;
    virtual void activate() = 0;
    virtual void submit(Bio bio) = 0;
    virtual bool active() const = 0;
    virtual uint32_t in_flight() const = 0;
    virtual const std::string& uuid() const = 0;
    virtual const std::string& ctr() const = 0;
    virtual clogd::ev::FoundLive found() const { return {uuid(), ctr(), {}}; }  // at the start of a daemon
    virtual bool live() const { return active(); }
    // netlink
    virtual void reply(const proto::ulog::Reply&) {}
    virtual bool suspended() const { return false; }
    virtual void suspend(std::function<void()>) {}
    virtual void resume(std::function<void()>, bool = false) {}
    // channel
    virtual std::vector<clogd::Event> compose() { return {}; }
    virtual void tell(const clogd::out::Tell&) {}
    virtual void daemon_left() {}
    virtual void leave() {}  // a suspend; it comes back by itself
    virtual void restore_legs() {}
    virtual void force_leg(uint32_t) {}
    virtual void lose_some(uint32_t) {}         // a scrub found that the legs differ in a region
    virtual void repair(uint32_t, uint32_t) {}  // a leg cannot be read in a region
    virtual bool asks_for_repair() const { return false; }
    virtual uint32_t readable(Region) const { return 0; }  // bits of legs from which it would read the region now
};

class KernelMirror final : public Kernel {
  public:
    KernelMirror(KernelHost& host, NodeId node, std::string uuid, std::string ctr, uint32_t regions, uint64_t luid)
        : host_(host),
          node_(node),
          uuid_(std::move(uuid)),
          ctr_(std::move(ctr)),
          regions_(regions),
          luid_(luid),
          alive_(std::make_shared<bool>(true)),
          ctr_bytes_(ctr_.begin(), ctr_.end()) {
        ctr_bytes_.push_back(0);
    }
    ~KernelMirror() override { *alive_ = false; }

    void activate() override { setup_ = run_setup(); }
    void submit(Bio bio) override {
        ++outstanding_;
        if (suspended_) deferred_.push_back(bio);
        else queue_bio(bio);
    }
    void reply(const proto::ulog::Reply& r) override {
        auto it = waiting_.find(r.seq);
        if (it == waiting_.end()) return;
        auto w = it->second;
        waiting_.erase(it);
        w->reply = r;
        host_.after(1, guard([w] { w->handle.resume(); }));
    }
    // Suspend and resume of the device, one after the other; `done` is told when it has ended. reload: a copy of the table takes
    // the old one's place, with a new region hash.
    void suspend(std::function<void()> done) override {
        device_ops_.push_back([this, done] { return run_suspend(done); });
        next_device_op();
    }
    void resume(std::function<void()> done, bool reload = false) override {
        device_ops_.push_back([this, done, reload] { return run_resume(done, reload); });
        next_device_op();
    }
    bool suspended() const override { return suspended_; }
    bool active() const override { return ready_; }
    uint32_t in_flight() const override { return outstanding_; }
    const std::string& uuid() const override { return uuid_; }
    const std::string& ctr() const override { return ctr_; }

  private:
    enum class State : uint8_t { clean, dirty, nosync };
    struct HashEntry {
        State state = State::clean;
        uint32_t pending = 0;
    };
    struct Waiter {
        std::coroutine_handle<> handle;
        proto::ulog::Reply reply;
    };
    // A class with a constructor, made by a function: g++ 12 destroys aggregate temporaries of co_await twice.
    struct Ask {
        Ask(KernelMirror& mirror, Request t, const Bytes& d) : k(mirror), type(t), data(d), w(std::make_shared<Waiter>()) {}
        Ask(const Ask&) = delete;
        KernelMirror& k;
        Request type;
        Bytes data;
        std::shared_ptr<Waiter> w;
        bool await_ready() { return false; }
        void await_suspend(std::coroutine_handle<> h) {
            w->handle = h;
            k.send(w, type, data);
        }
        proto::ulog::Reply await_resume() { return w->reply; }
    };
    struct Sleep {
        Sleep(KernelMirror& mirror, uint64_t d) : k(mirror), us(d) {}
        KernelMirror& k;
        uint64_t us;
        bool await_ready() { return false; }
        void await_suspend(std::coroutine_handle<> h) {
            k.host_.after(us, k.guard([h] { h.resume(); }));
        }
        void await_resume() {}
    };

    Ask ask(Request type, const Bytes& data) { return Ask(*this, type, data); }

    std::function<void()> guard(std::function<void()> f) {
        return [alive = alive_, f = std::move(f)] {
            if (*alive) f();
        };
    }
    static Bytes one(uint64_t v) {
        Bytes out;
        append(out, v);
        return out;
    }
    static uint64_t get(const proto::ulog::Reply& r, size_t i = 0) {
        uint64_t v = 0;
        if (r.data.size() >= 8 * (i + 1)) std::memcpy(&v, r.data.data() + 8 * i, 8);
        return v;
    }
    // 15 s without an answer: again, under a new number, for ever.
    void send(std::shared_ptr<Waiter> w, Request type, Bytes data) {
        uint32_t seq = ++seq_;
        waiting_[seq] = w;
        if (!host_.daemon_listens(node_)) {
            waiting_.erase(seq);
            w->reply = {};
            w->reply.error = -3;  // ESRCH
            host_.after(1, guard([w] { w->handle.resume(); }));
            return;
        }
        proto::ulog::Call c;
        c.luid = luid_;
        c.uuid = uuid_;
        c.version = 3;
        c.seq = seq;
        c.type = type;
        c.data = data;
        host_.ulog_send(node_, c);
        host_.after(15'000'000, guard([this, w, seq, type, data] {
                        if (waiting_.erase(seq)) send(w, type, data);
                    }));
    }
    // userspace_do_request(): a daemon that is gone or does not know the log is given CTR and RESUME first; if that RESUME fails, so
    // does the request, and IN_SYNC counts as 0. (A daemon that dies between the answer to that CTR and the RESUME, a few
    // microseconds, would be such a failure of the kernel's own; it is left out here and named in docs/limits.md.)

    void queue_bio(Bio bio) {
        (bio.write ? writes_ : reads_).push_back(bio);
        wake();
    }
    void wake() {
        if (!ready_ || busy_) {
            again_ = true;
            return;
        }
        busy_ = true;
        host_.after(5, guard([this] { worker_ = run_worker(); }));
    }

    Task run_setup() {
        while (true) {
            auto r = co_await ask(Request::ctr, ctr_bytes_);
            if (r.error == 0) break;
            co_await Sleep{*this, 1'000'000};
        }
        while (true) {
            auto r = co_await ask(Request::resume, none_);
            if (r.error == 0) break;
            if (r.error == -3) co_await ask(Request::ctr, ctr_bytes_);
            co_await Sleep{*this, 1'000'000};
        }
        hint_ = 0;
        ready_ = true;
        wake();
    }

#define DO_REQUEST(var, kind, payload)                                     \
    proto::ulog::Reply var;                                                \
    while (true) {                                                         \
        var = co_await ask(kind, payload);                                 \
        if (var.error != -3) break;                                        \
        while (true) {                                                     \
            co_await Sleep{*this, 2'000'000};                              \
            auto again = co_await ask(Request::ctr, ctr_bytes_);           \
            if (again.error == 0 && again.data.empty()) break;             \
        }                                                                  \
        auto resumed = co_await ask(Request::resume, none_);               \
        if (resumed.error == -3 && !host_.daemon_listens(node_)) continue; \
        if (resumed.error) break;                                          \
    }

    Task run_worker() {
        do {
            again_ = false;
            // cleared regions leave the hash, then the log is told
            std::vector<Region> cleared(clean_.begin(), clean_.end());
            clean_.clear();
            for (Region r : cleared) hash_.erase(r);
            for (size_t i = 0; i < cleared.size(); i += 32) {
                Bytes data;
                for (size_t k = i; k < std::min(i + 32, cleared.size()); ++k) append(data, cleared[k]);
                DO_REQUEST(r, Request::clear_region, data);
            }
            if (!cleared.empty()) {
                DO_REQUEST(r, Request::flush, none_);
            }
            if (hint_ < regions_) {
                DO_REQUEST(r, Request::get_resync_work, none_);
                if (get(r) != 0) std::abort();
            }
            if (!in_sync_) {
                DO_REQUEST(r, Request::get_sync_count, none_);
                if (r.error == 0 && get(r) >= regions_) hint_ = regions_, in_sync_ = true;
            }
            std::deque<Bio> reads = std::exchange(reads_, {});
            for (const Bio& bio : reads) {
                Region region = bio.block / host_.blocks_per_region();
                if (!hash_.contains(region)) {
                    const Bytes arg = one(region);
                    DO_REQUEST(r, Request::in_sync, arg);
                }
                host_.after(10, guard([this, bio] { finish(bio, host_.leg_read(node_, bio, 1).value_or(0)); }));
            }
            std::deque<Bio> writes = std::exchange(writes_, {});
            std::vector<Bio> sync, nosync;
            for (const Bio& bio : writes) {
                Region region = bio.block / host_.blocks_per_region();
                if (region >= hint_) {
                    if (limit_ > host_.now_us()) {
                        requeue(bio);
                        continue;
                    }
                    limit_ = host_.now_us() + 250'000;
                    const Bytes arg = one(region);
                    DO_REQUEST(r, Request::is_remote_recovering, arg);
                    if (r.error == 0) hint_ = get(r, 1);
                    if (r.error || get(r) != 0) {
                        requeue(bio);
                        continue;
                    }
                }
                State state = State::clean;
                if (auto it = hash_.find(region); it != hash_.end()) {
                    state = it->second.state;
                } else {
                    const Bytes arg = one(region);
                    DO_REQUEST(r, Request::in_sync, arg);
                    state = r.error == 0 && get(r) == 1 ? State::clean : State::nosync;
                }
                (state == State::nosync ? nosync : sync).push_back(bio);
            }
            std::vector<Region> marks;
            for (auto* list : {&sync, &nosync})
                for (const Bio& bio : *list) {
                    Region region = bio.block / host_.blocks_per_region();
                    if (!hash_.contains(region)) {
                        const Bytes arg = one(region);
                        DO_REQUEST(r, Request::in_sync, arg);
                        hash_[region].state = r.error == 0 && get(r) == 1 ? State::clean : State::nosync;
                    }
                    HashEntry& e = hash_[region];
                    ++e.pending;
                    clean_.erase(region);
                    if (e.state == State::clean) {
                        e.state = State::dirty;
                        marks.push_back(region);
                    }
                }
            for (size_t i = 0; i < marks.size(); i += 32) {
                Bytes data;
                for (size_t k = i; k < std::min(i + 32, marks.size()); ++k) append(data, marks[k]);
                DO_REQUEST(r, Request::mark_region, data);
            }
            if (!marks.empty()) {
                DO_REQUEST(r, Request::flush, none_);
            }
            for (auto* list : {&sync, &nosync})
                for (const Bio& bio : *list) {
                    ++in_flight_;
                    auto done = guard([this, bio] {
                        --in_flight_;
                        written(bio);
                    });
                    host_.leg_write(node_, bio, list == &sync ? UINT32_MAX : 1, [done](uint32_t) { done(); });
                }
        } while (again_ && ready_);
        busy_ = false;
        if (again_) wake();
    }
#undef DO_REQUEST

    static void append(Bytes& data, uint64_t v) {
        for (int i = 0; i < 8; ++i) data.push_back(static_cast<uint8_t>(v >> (8 * i)));
    }
    void requeue(const Bio& bio) {
        ++delayed_;
        host_.after(200'000, guard([this, bio] {
                        --delayed_;
                        writes_.push_back(bio);
                        wake();
                    }));
    }
    void written(const Bio& bio) {
        Region region = bio.block / host_.blocks_per_region();
        HashEntry& e = hash_[region];
        if (--e.pending == 0 && e.state == State::dirty) {
            e.state = State::clean;
            clean_.insert(region);
        }
        finish(bio, 0);
        wake();
    }
    void finish(const Bio& bio, uint64_t value) {
        --outstanding_;
        host_.bio_done(node_, bio, value);
    }

    void next_device_op() {
        if (device_busy_ || device_ops_.empty()) return;
        device_busy_ = true;
        auto op = std::move(device_ops_.front());
        device_ops_.pop_front();
        device_task_ = op();
    }
    void device_op_ends(const std::function<void()>& done) {
        host_.after(1, guard([this, done] {
                        device_busy_ = false;
                        if (done) done();
                        next_device_op();
                    }));
    }
    Task run_suspend(std::function<void()> done) {
        if (quiet_) {
            device_op_ends(done);
            co_return;
        }
        while (!ready_) co_await Sleep{*this, 10'000};
        co_await ask(Request::presuspend, none_);
        suspended_ = true;
        while (busy_ || in_flight_ || delayed_ || !writes_.empty() || !reads_.empty() || !clean_.empty()) co_await Sleep{*this, 500};
        co_await ask(Request::postsuspend, none_);
        quiet_ = true;
        device_op_ends(done);
    }
    Task run_resume(std::function<void()> done, bool reload) {
        if (!quiet_) {
            device_op_ends(done);
            co_return;
        }
        hint_ = 0;
        if (reload) {
            luid_ += 1000;
            hash_.clear();
            in_sync_ = false;
            co_await ask(Request::ctr, ctr_bytes_);
        }
        auto r = co_await ask(Request::resume, none_);
        if (r.error == -3) {
            co_await ask(Request::ctr, ctr_bytes_);
            co_await ask(Request::resume, none_);
        }
        suspended_ = quiet_ = false;
        std::deque<Bio> deferred = std::exchange(deferred_, {});
        for (const Bio& bio : deferred) queue_bio(bio);
        device_op_ends(done);
    }

    KernelHost& host_;
    NodeId node_;
    std::string uuid_, ctr_;
    uint32_t regions_;
    uint64_t luid_;
    std::shared_ptr<bool> alive_;
    Bytes ctr_bytes_;
    const Bytes none_;
    std::map<Region, HashEntry> hash_;
    std::set<Region> clean_;
    std::deque<Bio> reads_, writes_, deferred_;
    uint64_t hint_ = 0, limit_ = 0;
    bool in_sync_ = false, ready_ = false, busy_ = false, again_ = false, suspended_ = false, quiet_ = false;
    uint32_t outstanding_ = 0, in_flight_ = 0, delayed_ = 0, seq_ = 0;
    std::map<uint32_t, std::shared_ptr<Waiter>> waiting_;
    std::deque<std::function<Task()>> device_ops_;
    bool device_busy_ = false;
    Task setup_, worker_, device_task_;
};

}  // namespace sim
