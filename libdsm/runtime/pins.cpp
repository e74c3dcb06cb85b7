#include "runtime/pins.h"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "base/check.h"
#include "base/clock.h"
#include "base/latency.h"
#include "base/log.h"
#include "base/no_memory.h"

namespace dsm::runtime {

namespace detail {
constinit std::atomic<ThreadPins*> all_threads{nullptr};
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadPins* mine = nullptr;
}  // namespace detail

namespace {

constinit std::atomic<ThreadEndHook> end_hook{nullptr};

void* map(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) end_without_memory("a thread's pins");
  return memory;
}

PinBlock* make_block(ThreadPins& owner) {
  auto* block = ::new (map(sizeof(PinBlock) + PinBlock::kPins * kScratchBytes)) PinBlock;
  auto* scratch = reinterpret_cast<std::byte*>(block + 1);
  for (std::size_t i = 0; i < PinBlock::kPins; ++i) {
    block->pins[i].owner = &owner;
    block->pins[i].scratch = scratch + i * kScratchBytes;
  }
  return block;
}

ThreadPins* claim_record(pid_t self) {
  for (ThreadPins* t = detail::all_threads.load(); t != nullptr; t = t->next) {
    pid_t nobody = 0;
    if (t->tid.load() == 0 && t->tid.compare_exchange_strong(nobody, self)) return t;
  }
  auto* made = ::new (map(sizeof(ThreadPins))) ThreadPins;
  made->tid.store(self);
  made->first.store(make_block(*made));
  made->hint_block = made->first.load();
  made->hint = made->hint_block->pins;
  ThreadPins* head = detail::all_threads.load();
  do {
    made->next = head;
  } while (!detail::all_threads.compare_exchange_weak(head, made));
  return made;
}

// Its destructor runs at the end of a thread that has borrowed something.
struct ThreadEnd {
  ~ThreadEnd() {
    if (detail::mine == nullptr) return;
    if (const ThreadEndHook hook = end_hook.load()) hook(*detail::mine);
    detail::mine->tid.store(0);
    detail::mine = nullptr;
  }
};

}  // namespace

ThreadPins& detail::claim_pins() {
  static thread_local const ThreadEnd end;
  static_cast<void>(&end);
  mine = claim_record(current_tid());
  return *mine;
}

void on_thread_end(ThreadEndHook hook) { end_hook.store(hook); }

// From where one was found last, so that many borrows at once do not look through all of them for each.
Pin& ThreadPins::take_slow() {
  for (PinBlock* const begin : {hint_block, first.load()}) {
    for (PinBlock* block = begin; block != nullptr; block = block->next.load()) {
      for (Pin& pin : block->pins) {
        if (pin.address.load(std::memory_order_relaxed) != 0) continue;
        hint = &pin + (&pin + 1 < block->pins + PinBlock::kPins ? 1 : 0);
        hint_block = block;
        return pin;
      }
    }
  }
  PinBlock* last = hint_block;
  while (last->next.load() != nullptr) last = last->next.load();
  last->next.store(make_block(*this));
  hint_block = last->next.load();
  hint = &hint_block->pins[1];
  return hint_block->pins[0];
}

bool ThreadPins::holds_any() const {
  bool any = false;
  for_each([&](const Pin&) { any = true; });
  return any;
}

bool ThreadPins::holds_others_up() const {
  bool any = granted.load() != 0;
  for_each([&](const Pin& pin) { any |= pin.holds_pages(); });
  return any;
}

Result<void> register_pins_barrier() {
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0) return {};
  return fail(Errc::kNoSupport,
              "libdsm needs the system call membarrier, which a container's seccomp profile may forbid", errno);
}

void pins_barrier() {
  const bool done = ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
  DSM_CHECK(done, "membarrier failed: errno {}", errno);
}

}  // namespace dsm::runtime
