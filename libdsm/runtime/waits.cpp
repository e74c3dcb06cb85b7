#include "runtime/waits.h"

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/futex.h"
#include "insight/stack.h"
#include "runtime/node.h"

namespace dsm::runtime {

constinit std::atomic<std::uint32_t> waits_begun{0};

namespace {

// Waits of suspended threads, which somebody else has to end.
constinit std::atomic<std::uint32_t> suspended{0};

void begin(ThreadPins& thread, WaitKind kind, std::uint64_t address, CallSite site) {
  ThreadWait& wait = thread.wait;
  // Loaded first: what another thread stored for the wait before, in which this one was suspended, is then before this.
  const std::uint64_t number = (wait.state.load() >> 8) + 1;
  wait.address.store(address);
  wait.file.store(site.file);
  wait.line.store(site.line);
  wait.callers.store(site.callers);
  wait.since_ns.store(now_ns());
  wait.state.store(number << 8 | static_cast<std::uint64_t>(kind));
  note_wait_begun();
}

void store(ThreadWait& wait, const Frames& frames) {
  wait.traced.store(0);
  for (std::size_t i = 0; i < frames.size(); ++i) wait.frames[i].store(frames[i]);
  wait.traced.store(wait.state.load());
}

void end(ThreadPins& thread) { thread.wait.state.fetch_and(~std::uint64_t{0xff}); }

// Not the thread itself: it may have begun another wait meanwhile.
template <typename Wanted>
void end_suspended(Wanted wanted) {
  if (suspended.load() == 0) return;
  for_each_thread([&](ThreadPins& thread) {
    std::uint64_t state = thread.wait.state.load();
    if (ThreadWait::kind_of(state) != WaitKind::kPlain || !wanted(thread)) return;
    if (thread.wait.state.compare_exchange_strong(state, state & ~std::uint64_t{0xff})) suspended.fetch_sub(1);
  });
}

}  // namespace

void note_wait_begun() {
  if (waits_begun.load() != 0) return;
  waits_begun.store(1);
  futex_wake(waits_begun, 1, FutexScope::kProcess);
}

Waiting::Waiting(ThreadPins& thread, WaitKind kind, std::uint64_t address, CallSite site) : thread_(thread) {
  begin(thread, kind, address, site);
}
Waiting::~Waiting() { end(thread_); }

void trace_interrupted(ThreadPins& me) {
  Frames frames{};
  insight::walk_stack(insight::From::kInterrupted, frames.data(), frames.size());
  store(me.wait, frames);
}

// Not walk_stack(): libunwind remembers how frames lie, and takes 80 ns. Its first frame is of this function.
[[gnu::noinline]] Frames callers_now() {
  std::array<void*, ThreadWait::kFrames + 1> stack{};
  ::unw_backtrace(stack.data(), static_cast<int>(stack.size()));
  Frames frames{};
  std::transform(stack.begin() + 1, stack.end(), frames.begin(),
                 [](void* at) { return reinterpret_cast<std::uint64_t>(at); });
  return frames;
}

void trace_callers(ThreadPins& me) { store(me.wait, callers_now()); }

ThreadPins* borrower() {
  ThreadPins* const me = detail::mine;
  return me != nullptr && me->holds_others_up() ? me : nullptr;
}

void begin_plain_wait(pid_t tid, std::uint64_t address) {
  for_each_thread([&](ThreadPins& thread) {
    if (thread.tid.load() != tid || !thread.holds_others_up()) return;
    suspended.fetch_add(1);
    begin(thread, WaitKind::kPlain, address, {});
  });
}

void end_plain_waits(const Node& node, PageRange pages) {
  const std::uint64_t begin = node.geometry.address_of(pages.first), bytes = std::uint64_t{pages.count} << kPageShift;
  end_suspended([&](const ThreadPins& thread) { return thread.wait.address.load() - begin < bytes; });
}

void end_plain_wait(pid_t tid) {
  end_suspended([&](const ThreadPins& thread) { return thread.tid.load() == tid; });
}

}  // namespace dsm::runtime
