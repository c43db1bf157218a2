// Workers that live beside torch's.
//
// - They take items one by one from a shared counter, and the caller waits only for those that have begun. So a worker that wakes late, or
//   whose core somebody else has, costs nothing: the caller finishes alone.
// - They look for the next job for kSpin microseconds, offering their core to others at every look, then sleep in the kernel. Within a
//   decode step the next product follows sooner than that; between steps nothing runs.
// - A child process after fork() gets a pool of its own: the parent's threads do not exist there.
#include "pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace puna {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);
constexpr int kMaxThreads = 256;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

class Pool {
public:
    explicit Pool(int count) : limit_(count) {}

    int threads() const { return limit_.load(std::memory_order_relaxed); }
    void set_threads(int count) { limit_.store(count < 1 ? 1 : count > kMaxThreads ? kMaxThreads : count, std::memory_order_relaxed); }

    void for_each(int64_t items, void (*body)(const void *, int64_t), const void *context) {
        const int64_t wanted = items < threads() ? items : threads();
        if (wanted <= 1 || !caller_.try_lock()) {
            for (int64_t i = 0; i < items; i++) body(context, i);
            return;
        }
        start_workers(int(wanted) - 1);
        body_ = body, context_ = context, items_ = items;
        next_.store(0, std::memory_order_relaxed);
        epoch_++;
        gate_.store(epoch_ << 33 | kOpen);
        if (sleepers_.load() > 0) {
            { std::lock_guard<std::mutex> lock(sleep_); }
            wake_.notify_all();
        }
        take_items();
        gate_.fetch_and(~kOpen);
        for (int looks = 0; gate_.load(std::memory_order_acquire) & kInside; looks++) {
            if (looks < 256) pause();
            else std::this_thread::yield();
        }
        caller_.unlock();
    }

private:
    // The gate, in one word so that a worker enters only an open job, and once: 31 bits of epoch, 1 open, 32 the number inside.
    static constexpr uint64_t kOpen = uint64_t(1) << 32, kInside = kOpen - 1;

    void take_items() {
        for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < items_;) body_(context_, i);
    }

    void start_workers(int wanted) {
        for (; started_ < wanted; started_++) {
            try {
                std::thread(&Pool::work, this, started_ + 1).detach();
            } catch (const std::system_error &) {
                limit_.store(started_ + 1, std::memory_order_relaxed); // no more threads to be had: go on with these
                return;
            }
        }
    }

    bool has_job(int index, uint64_t done) const {
        const uint64_t gate = gate_.load();
        return gate & kOpen && gate >> 33 != done && index < threads();
    }

    void work(int index) {
        uint64_t done = 0;
        auto idle_since = std::chrono::steady_clock::now();
        for (;;) {
            if (has_job(index, done)) {
                uint64_t gate = gate_.load();
                if (!(gate & kOpen) || !gate_.compare_exchange_strong(gate, gate + 1)) continue;
                done = gate >> 33;
                take_items();
                gate_.fetch_sub(1, std::memory_order_release);
                idle_since = std::chrono::steady_clock::now();
            } else if (std::chrono::steady_clock::now() - idle_since < kSpin) {
                for (int i = 0; i < 32; i++) pause();
                std::this_thread::yield();
            } else {
                std::unique_lock<std::mutex> lock(sleep_);
                sleepers_.fetch_add(1);
                wake_.wait(lock, [&] { return has_job(index, done); });
                sleepers_.fetch_sub(1);
            }
        }
    }

    std::atomic<int> limit_;
    std::mutex caller_; // held by the thread whose job is on
    int started_ = 0;
    uint64_t epoch_ = 0;
    void (*body_)(const void *, int64_t) = nullptr;
    const void *context_ = nullptr;
    int64_t items_ = 0;
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) std::atomic<uint64_t> gate_{0};
    alignas(64) std::atomic<int> sleepers_{0};
    std::mutex sleep_;
    std::condition_variable wake_;
};

// Never destroyed: workers may still sleep in it when the process ends.
std::atomic<Pool *> pool{nullptr};
std::mutex making;

#if !defined(_WIN32)
void renew_in_child() {
    Pool *old = pool.load();
    if (old != nullptr) pool.store(new Pool(old->threads()));
    new (&making) std::mutex;
}
#endif

Pool &the_pool() {
    Pool *made = pool.load(std::memory_order_acquire);
    if (made != nullptr) return *made;
    std::lock_guard<std::mutex> lock(making);
    if (pool.load() == nullptr) {
        const int cores = int(std::thread::hardware_concurrency());
#if !defined(_WIN32)
        pthread_atfork(nullptr, nullptr, renew_in_child);
#endif
        pool.store(new Pool(cores < 1 ? 1 : cores));
    }
    return *pool.load();
}

} // namespace

void for_each(int64_t items, void (*body)(const void *context, int64_t item), const void *context) {
    the_pool().for_each(items, body, context);
}

void set_threads(int count) { the_pool().set_threads(count); }
int threads() { return the_pool().threads(); }

} // namespace puna
