// The fault engine contract: who may touch which page of the application view, and who is told when the program
// touches what it may not. The engine knows permissions, not coherence states.
//
//   uffd-inline  userfaultfd with the SIGBUS feature; on_fault runs in the faulting thread, in signal context
//   uffd-thread  userfaultfd read by a handler thread of the engine; a system call on a missing page just waits
//   sigsegv      mprotect + SIGSEGV; on_fault runs in the faulting thread, in signal context
//
// 1. map, raise, lower and unmap work on shared memory only (see address_space.h), are safe in signal context and from
//    any thread; the caller serialises calls that concern one page.
// 2. Once unmap (lower) has returned, no thread's load or store (store) on the page succeeds until it is mapped
//    (raised) again.
// 3. map and raise end the wait of every thread that the engine holds on those pages.
// 4. map sets the permission asked for whether or not the page is mapped already.
// 5. A fault may be told although the page allows the access: it was told late, or the kernel took the mapping away
//    (page reclaim). The sink maps the page as it should be, once more, and answers kRetry.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/geometry.h"
#include "base/result.h"
#include "base/types.h"

namespace dsm::mem {

enum class FaultVerdict : std::uint8_t {
  kRetry,    // the thread may go on: to the access once more, or behind it (emulated_access.h)
  kPending,  // only for a thread engine: a later map() or raise() will end the wait
  kNotOurs,  // no such memory: the program gets the SIGSEGV it has earned
  kLost,     // the page cannot be had any more: the program gets SIGBUS
};

struct Fault {
  std::uintptr_t address;  // in the global range
  Access wanted;
  pid_t tid;                      // the faulting thread; 0 if unknown
  ucontext_t* context = nullptr;  // where it stands, for emulate_access(); only of inline engines, nor always there
};

class FaultSink {
 public:
  virtual ~FaultSink() = default;
  // With uffd-thread it should not wait (kPending is for that): all other faults wait meanwhile.
  virtual FaultVerdict on_fault(const Fault& fault) = 0;
};

class FaultEngine {
 public:
  virtual ~FaultEngine() = default;
  virtual const char* name() const = 0;
  virtual bool faults_inline() const = 0;  // on_fault runs in the faulting thread

  // A system call that is handed a page which this node lacks waits for it, like any other access; else it gives
  // EFAULT.
  virtual bool system_calls_wait() const { return false; }

  // Starts delivering faults. Once.
  virtual Result<void> start(FaultSink& sink) = 0;
  // Stops handler threads and gives signal handlers back. Pages that are mapped stay so; a touch of any other is now a
  // plain SIGBUS or SIGSEGV. Nothing waits for ever.
  virtual void stop() = 0;

  // Takes a part of the application view under control that is freshly mapped shared memory with no access (PROT_NONE).
  virtual Result<void> attach(std::uintptr_t address, std::size_t bytes) = 0;

  virtual void map(PageRange pages, Access access) = 0;  // none -> read or write. The bytes are in the memfd.
  // As map, of pages the memfd has nothing for yet: these bytes go there.
  virtual void bring(PageRange pages, const std::byte* bytes, Access access) = 0;
  virtual void raise(PageRange pages) = 0;  // read -> write
  virtual void lower(PageRange pages) = 0;  // write -> read
  virtual void unmap(PageRange pages) = 0;  // any -> none; the bytes stay in the memfd

  // As unmap, of several ranges for about the price of one: what is dear is to make every CPU forget.
  virtual void unmap_all(std::span<const PageRange> ranges) = 0;

  // Makes a private (anonymous) chunk stop all access and moves its pages away: from the return on every touch faults
  // into the sink. `moved_to`: a reserved range of kChunkBytes, aligned to it, that receives the pages, readable.
  // Between start and stop only.
  virtual Result<void> seal_private(std::uintptr_t chunk, std::byte* moved_to) = 0;
  // Puts shared memory (`memory_fd` at `offset`), under control and wholly inaccessible, in the place of a sealed
  // chunk. In one step: a touch meanwhile faults into the sink and nowhere else.
  virtual Result<void> replace_sealed(std::uintptr_t chunk, int memory_fd, std::uint64_t offset) = 0;
  // Ends the wait of the threads that the engine holds in this range (they fault again). No-op for inline engines.
  virtual void release_waiters(std::uintptr_t address, std::size_t bytes) = 0;
};

// "" or why this kernel cannot run the engine ("uffd-inline", "uffd-thread", "sigsegv"), in words.
std::string engine_obstacle(const std::string& name);
// "" or why with uffd-thread system calls on missing pages would not wait.
std::string kernel_faults_obstacle();

// `name` as above, or "auto": the first of uffd-inline, sigsegv that this kernel can run; the choice and the reason go
// to the log. A named engine that cannot run is an error, never replaced by another. `service` is the service view's
// first byte.
Result<std::unique_ptr<FaultEngine>> make_engine(const std::string& name, const Geometry& geometry, std::byte* service);

}  // namespace dsm::mem
