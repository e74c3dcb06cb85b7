// Blocking on a 32-bit word. `shared`: the word lives in memory of several processes. All are safe in signal context.
#pragma once

#include <atomic>
#include <cstdint>

namespace dsm {

enum class FutexScope { kProcess, kShared };

// Sleeps while *word == expected, at the most `timeout_ns` (negative: for ever). May return early.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, FutexScope scope,
                std::int64_t timeout_ns = -1);
void futex_wake(const std::atomic<std::uint32_t>& word, int count, FutexScope scope);

inline void cpu_relax() { __builtin_ia32_pause(); }

// A lock of 4 bytes between threads of one process, for short critical sections of the runtime. Spins briefly, then
// blocks. Take it only with signals blocked or in signal context (see signals.h), else a handler could deadlock on it.
class FutexLock {
 public:
  void lock();
  bool try_lock();
  void unlock();

 private:
  std::atomic<std::uint32_t> word_{0};  // 0 free, 1 held, 2 held and somebody may sleep
};

}  // namespace dsm
