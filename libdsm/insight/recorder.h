// Records what a node's pages cost it, into its part of the job's profile (profile.h). With --profile only: else there
// is no Recorder, and the fault path has one test more.
//
// 1. All calls are safe in signal context and from any thread: no lock, no allocation. Stacks are walked by the
//    compiler's unwinder, which finds its tables without a lock (glibc 2.35, gcc 12).
// 2. Memory and the time for stacks are bounded: counters of a page are exact; of what takes a stack there are some
//    hundred samples a second and as many as the file has room for (profile.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/geometry.h"
#include "base/result.h"
#include "insight/address_samples.h"
#include "insight/process_counters.h"
#include "insight/profile.h"

namespace dsm::insight {

struct Fault {
  PageId page;
  std::uint64_t address;
  bool write;
  bool in_thread;  // it is answered in the thread that faulted, whose stack is below ours
  pid_t tid;
  std::int64_t begin_ns;
  std::int64_t ns;
};

class Recorder {
 public:
  // Makes the file if no other node has. REQUIRES: `file` is not empty.
  static Result<std::unique_ptr<Recorder>> open(const std::string& file, const Geometry& geometry, NodeId self,
                                                const std::string& emulate);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void engine(const char* name);
  // From here on: also which addresses the program's threads touch. Starts a thread.
  void sample_addresses();
  void fault(const Fault& fault);
  void waited(PageId page, std::int64_t ns);  // part of a fault that is told later
  // This thread has waited for a lock, whose latch `page` is.
  void lock_waited(PageId page, std::int64_t begin_ns, std::int64_t ns, pid_t tid);
  // A thread that the engine holds waits from here to granted().
  void waits(PageId page);
  void granted(PageId page);

  void invalidated(PageRange pages) { add(pages, &PageRecord::invalidated); }
  void lowered(PageRange pages) { add(pages, &PageRecord::lowered); }
  void fetched(PageRange pages) { add(pages, &PageRecord::fetched); }
  void written_back(PageRange pages) { add(pages, &PageRecord::written_back); }
  void streamed(PageId page) { add({page, 1}, &PageRecord::streamed); }

  // From the program's thread that allocates; `call`: where its call of the allocator returns to. nullptr is no block.
  void allocated(const void* block, std::size_t bytes, const void* call);
  // Not in signal context: the modules as they are now, and the end.
  void finish();
  // In a forked child, whose doings are not the node's.
  void detach();

 private:
  Recorder(NodePart* part, const Geometry& geometry);
  PageRecord* record(PageId page);
  void add(PageRange pages, Counter PageRecord::*counter);
  struct Taken {
    Sample* sample = nullptr;
    std::uint32_t weight = 0;  // to be stored last
  };
  Taken take_sample(std::uint64_t number, std::int64_t now);
  std::uint32_t site_of(std::uint64_t call, const std::uint64_t* stack, std::size_t depth);
  void take_maps();
  void take_modules();

  NodePart* part_;
  ProcessCounters counters_;
  AddressSampler sampler_;
};

// Locks that a thread holds, and the page of the one it took last: what a fault under a lock is known by.
struct HeldLocks {
  unsigned count = 0;
  PageId last = 0;
};
[[gnu::tls_model("initial-exec")]] extern constinit thread_local HeldLocks held_locks;

}  // namespace dsm::insight
