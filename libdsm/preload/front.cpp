#include "preload/front.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "runtime/blocks.h"
#include "runtime/forks.h"
#include "runtime/node.h"
#include "runtime/sites.h"

// libc's own allocator by the names that glibc exports for those who stand in front of it.
extern "C" {
void* __libc_malloc(std::size_t bytes) noexcept;
void* __libc_calloc(std::size_t count, std::size_t bytes) noexcept;
void* __libc_realloc(void* block, std::size_t bytes) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t bytes) noexcept;
void __libc_free(void* block) noexcept;
}

namespace dsm::preload {

constinit AddressRange own_slice{};
constinit AddressRange sized_slice{};
constinit std::atomic<bool> system_calls_need_care{false};

namespace {

std::atomic<runtime::Node*> node{nullptr};
std::atomic<bool> closed{false};
constinit runtime::Sites* sites = nullptr;  // set before threads are bound

bool from_libc() {
  return allocations == Allocations::kOwn || node.load(std::memory_order_acquire) == nullptr ||
         closed.load(std::memory_order_acquire);
}

bool global(const void* block) {
  const runtime::Node* const started = node.load(std::memory_order_acquire);
  return started != nullptr && started->geometry.holds(reinterpret_cast<std::uintptr_t>(block));
}

void* allocate_from_libc(std::size_t bytes, std::size_t alignment, bool zero) {
  if (alignment <= alignof(std::max_align_t)) return zero ? __libc_calloc(1, bytes) : __libc_malloc(bytes);
  void* block = __libc_memalign(alignment, bytes);
  if (block != nullptr && zero) std::memset(block, 0, bytes);
  return block;
}

std::size_t usable_size_of_libc(void* block) {
  using UsableSize = std::size_t (*)(void*);
  static std::atomic<UsableSize> found{nullptr};
  UsableSize usable_size = found.load(std::memory_order_relaxed);
  if (usable_size == nullptr) {
    usable_size = reinterpret_cast<UsableSize>(::dlsym(RTLD_NEXT, "malloc_usable_size"));
    found.store(usable_size, std::memory_order_relaxed);
  }
  return usable_size(block);
}

}  // namespace

void open_front(runtime::Node& started) {
  const Geometry& geometry = started.geometry;
  if (geometry.memory_nodes == 0) {
    own_slice = {geometry.address_of(geometry.slice_first(started.self)), geometry.slice_bytes};
  } else if (geometry.program_nodes() == 1) {
    own_slice = {geometry.address_of(geometry.lent_first()), geometry.memory_nodes * geometry.slice_bytes};
  }  // else lent memory is several nodes', and whose a block is takes a look-up
  sites = started.sites.get();
  if (sites == nullptr) sized_slice = own_slice;
  const bool care = !quiet(started) && !started.engine->system_calls_wait();
  node.store(&started, std::memory_order_release);
  system_calls_need_care.store(care, std::memory_order_release);  // threads of the runtime make calls all along
}

void close_front() {
  own_slice = {};
  sized_slice = {};
  closed.store(true, std::memory_order_release);
  allocations = Allocations::kOwn;
}

void forget_sites() {
  sites = nullptr;
  bound_allocations = Allocations::kDirect;
  if (allocations == Allocations::kSited) allocations = Allocations::kDirect;
}

runtime::Node* front_node() { return node.load(std::memory_order_acquire); }

// Another node's memory may have been used before, so it is cleared here, as the program would.
static void* allocate_marked(const insight::Serving& serving, std::size_t bytes, std::size_t alignment, bool zero) {
  const runtime::Place asked{runtime::Place::Kind::kNode, front_node()->self};
  void* const block = sites->allocate(serving, std::max<std::size_t>(bytes, 1), alignment, asked, false);
  if (block != nullptr && zero) std::memset(block, 0, bytes);
  return block;
}

void* allocate_slow(std::size_t bytes, std::size_t alignment, bool zero, const void* call) {
  const insight::Serving* serving = nullptr;
  if (allocations == Allocations::kSited) {
    serving = sites->at(call);
    if (serving == nullptr && alignment <= alignof(std::max_align_t)) [[likely]]
      return zero ? dsm_je_calloc(1, bytes) : dsm_je_malloc(bytes);
  }
  if (from_libc()) return allocate_from_libc(bytes, alignment, zero);
  if (sites != nullptr) serving = sites->at(call);  // of a thread that is not bound, or while a profile is made
  void* block = serving != nullptr ? allocate_marked(*serving, bytes, alignment, zero)
                                   : front_node()->heap->allocate(bytes, alignment, heap::Kind::kRaw, zero);
  if (block == nullptr) errno = ENOMEM;
  if (insight::Recorder* const recorder = front_node()->recorder.get()) recorder->allocated(block, bytes, call);
  return block;
}

void release_slow(void* block) {
  if (block == nullptr) return;
  const int saved_errno = errno;
  if (!global(block)) {
    __libc_free(block);
  } else if (!runtime::in_forked_child()) {
    const OwnAllocations own;
    front_node()->blocks->release(block);
  }
  errno = saved_errno;
}

void* resize_slow(void* block, std::size_t bytes, const void* call) {
  void* resized = nullptr;
  if (global(block)) {
    resized = sites == nullptr ? front_node()->blocks->resize(block, bytes) : sites->resize(block, bytes, call);
    if (resized == nullptr) errno = ENOMEM;
    insight::Recorder* const recorder = front_node()->recorder.get();
    if (recorder != nullptr && resized != block) recorder->allocated(resized, bytes, call);
    return resized;
  }
  if (from_libc()) return __libc_realloc(block, bytes);
  // A block from before the start, grown after it: it moves to the global heap.
  resized = direct() ? dsm_je_malloc(bytes) : allocate_slow(bytes, 0, false, call);
  if (resized == nullptr) return nullptr;
  std::memcpy(resized, block, std::min(bytes, usable_size_of_libc(block)));
  __libc_free(block);
  return resized;
}

std::size_t usable_size_slow(void* block) {
  if (block == nullptr) return 0;
  return global(block) ? front_node()->blocks->usable_size(block) : usable_size_of_libc(block);
}

}  // namespace dsm::preload
