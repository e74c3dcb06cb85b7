// Where what this thread allocates comes from. The heap, the runtime's own code and the preload library share this one
// byte per thread, so that malloc decides with one load.
//
// 1. kDirect, kSited: the thread is bound to its arena and jemalloc's data of it stands; dsm_je_malloc gives it blocks
//    of the global heap and no others. Only the heap sets them.
// 2. `bound_allocations` says which of them a thread that is bound becomes. kSited: some allocation sites are served
//    otherwise, so each allocation is looked up first. kUnbound: neither, every allocation takes the slow path, where
//    it is recorded. Set before threads are bound.
// 3. kOwn: runtime code runs. What it allocates never comes from the global heap.
#pragma once

#include <cstdint>

namespace dsm {

enum class Allocations : std::uint8_t { kUnbound, kOwn, kDirect, kSited };

// initial-exec: reached without __tls_get_addr, which may allocate.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local Allocations allocations;
extern constinit Allocations bound_allocations;

// jemalloc may be asked as it is.
inline bool is_bound(Allocations how) { return how >= Allocations::kDirect; }

// For a scope on a thread of the program; for good on a thread of the runtime, whose first statement it is.
class OwnAllocations {
 public:
  OwnAllocations() : before_(allocations) { allocations = Allocations::kOwn; }
  ~OwnAllocations() { allocations = before_; }
  OwnAllocations(const OwnAllocations&) = delete;
  OwnAllocations& operator=(const OwnAllocations&) = delete;

 private:
  const Allocations before_;
};

}  // namespace dsm
