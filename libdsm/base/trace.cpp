// The trace rings: a static pool, claimed by threads at their first event, so that tracing never allocates.
//
// 1. A ring belongs to the thread whose id is in `owner`; only that thread writes to it.
// 2. A thread gives nothing back when it ends (a thread_local destructor would allocate): once the pool is used up, a
//    new thread takes the ring of one that is gone.
// 3. A thread that finds no ring traces nothing, and its dump says so.
#include "base/trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/clock.h"
#include "base/line.h"

namespace dsm {
namespace {

constexpr std::size_t kRings = 256;
constexpr std::size_t kRingEvents = 64;

struct Record {
  std::int64_t at_ns;
  PageId page;
  std::uint64_t a;
  std::uint64_t b;
  TraceEvent event;
};

struct Ring {
  std::atomic<pid_t> owner;  // 0: never used
  std::uint64_t written;     // events since the owner took it; the next one goes to written % kRingEvents
  Record records[kRingEvents];
};

constinit Ring rings[kRings]{};

__attribute__((tls_model("initial-exec"))) constinit thread_local Ring* my_ring = nullptr;
__attribute__((tls_model("initial-exec"))) constinit thread_local bool no_ring = false;

bool is_gone(pid_t tid) {
  const int saved_errno = errno;
  const bool gone = syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH;
  errno = saved_errno;
  return gone;
}

Ring* claim_ring(pid_t self) {
  for (Ring& ring : rings) {
    pid_t owner = ring.owner.load(std::memory_order_relaxed);
    if (owner == self) return &ring;  // an earlier thread with this id
    if (owner == 0 && ring.owner.compare_exchange_strong(owner, self, std::memory_order_acquire)) return &ring;
  }
  for (Ring& ring : rings) {
    pid_t owner = ring.owner.load(std::memory_order_relaxed);
    if (is_gone(owner) && ring.owner.compare_exchange_strong(owner, self, std::memory_order_acquire)) return &ring;
  }
  return nullptr;
}

Ring* own_ring() {
  const pid_t self = current_tid();
  // The owner differs from us in the child of a fork: its thread still points to its parent's ring.
  if (my_ring != nullptr && my_ring->owner.load(std::memory_order_relaxed) == self) return my_ring;
  if (no_ring) return nullptr;
  Ring* ring = claim_ring(self);
  if (ring == nullptr) {
    no_ring = true;
  } else {
    ring->written = 0;
  }
  my_ring = ring;
  return ring;
}

const char* name_of(TraceEvent event) {
  switch (event) {
    case TraceEvent::kFault:
      return "fault";
    case TraceEvent::kWait:
      return "wait";
    case TraceEvent::kMap:
      return "map";
    case TraceEvent::kUnmap:
      return "unmap";
    case TraceEvent::kSend:
      return "send";
    case TraceEvent::kReceive:
      return "receive";
    case TraceEvent::kShareChunk:
      return "share-chunk";
  }
  return "unknown";
}

}  // namespace

void trace(TraceEvent event, PageId page, std::uint64_t a, std::uint64_t b) {
  Ring* ring = own_ring();
  if (ring == nullptr) return;
  const std::uint64_t index = ring->written;
  // Counted first: a signal that comes here and traces too must not take the same record.
  ring->written = index + 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  ring->records[index % kRingEvents] = {now_ns(), page, a, b, event};
}

void dump_trace(int fd) {
  const Ring* ring = my_ring;
  if (ring == nullptr || ring->written == 0) {
    Line line;
    line.add("trace of thread {}: {}", current_tid(),
             no_ring ? "not kept, too many threads run at once" : "nothing happened");
    line.write_to(fd);
    return;
  }
  const std::int64_t now = now_ns();
  const std::uint64_t end = ring->written;
  const std::uint64_t first = end - std::min<std::uint64_t>(end, kRingEvents);
  Line head;
  head.add("trace of thread {}: the last {} of {} events", current_tid(), end - first, end).write_to(fd);
  for (std::uint64_t index = first; index < end; ++index) {
    const Record& record = ring->records[index % kRingEvents];
    Line line;
    line.add("  {:>12} ns ago  {:<11} page {:#x}  {:#x} {:#x}", now - record.at_ns, name_of(record.event), record.page,
             record.a, record.b);
    line.write_to(fd);
  }
}

}  // namespace dsm
