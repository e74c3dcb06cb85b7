// C++'s allocation functions, all forms: what [new.delete] says, over the same blocks as malloc.
#include <cstddef>
#include <new>

#include "preload/front.h"

namespace dsm::preload {
namespace {

constexpr std::size_t kNatural = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

void* try_once(std::size_t bytes, std::size_t alignment, const void* call) {
  if (alignment > kNatural) return allocate_aligned(alignment, bytes, call);
  if (direct()) [[likely]]
    return dsm_je_malloc(bytes);
  return allocate_slow(bytes, 0, false, call);
}

// Memory is used up: the program's handler may change that, throw, or not be there.
[[gnu::noinline, gnu::cold]] void* ask_handler(std::size_t bytes, std::size_t alignment, const void* call) {
  for (;;) {
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
    if (void* const block = try_once(bytes, alignment, call); block != nullptr) return block;
  }
}

[[gnu::noinline, gnu::cold]] void* ask_handler_quietly(std::size_t bytes, std::size_t alignment,
                                                       const void* call) noexcept {
  try {
    return ask_handler(bytes, alignment, call);
  } catch (...) {
    return nullptr;
  }
}

inline void* allocate(std::size_t bytes, const void* call, std::size_t alignment = kNatural) {
  void* const block = try_once(bytes, alignment, call);
  return block != nullptr ? block : ask_handler(bytes, alignment, call);
}

inline void* allocate_quietly(std::size_t bytes, const void* call, std::size_t alignment = kNatural) noexcept {
  void* const block = try_once(bytes, alignment, call);
  return block != nullptr ? block : ask_handler_quietly(bytes, alignment, call);
}

// The size spares jemalloc a look-up. It is the one that was asked for, or the program is wrong already.
inline void release_sized(void* block, std::size_t bytes) {
  if (in_sized_slice(block)) [[likely]]
    return dsm_je_sdallocx(block, bytes, 0);
  release(block);
}

std::size_t value(std::align_val_t alignment) { return static_cast<std::size_t>(alignment); }

}  // namespace
}  // namespace dsm::preload

#define DSM_VISIBLE [[gnu::visibility("default")]]
using namespace dsm::preload;
using std::align_val_t;
using std::nothrow_t;
using std::size_t;

DSM_VISIBLE void* operator new(size_t bytes) { return allocate(bytes, DSM_CALL); }
DSM_VISIBLE void* operator new[](size_t bytes) { return allocate(bytes, DSM_CALL); }
DSM_VISIBLE void* operator new(size_t bytes, const nothrow_t&) noexcept { return allocate_quietly(bytes, DSM_CALL); }
DSM_VISIBLE void* operator new[](size_t bytes, const nothrow_t&) noexcept { return allocate_quietly(bytes, DSM_CALL); }
DSM_VISIBLE void* operator new(size_t bytes, align_val_t a) { return allocate(bytes, DSM_CALL, value(a)); }
DSM_VISIBLE void* operator new[](size_t bytes, align_val_t a) { return allocate(bytes, DSM_CALL, value(a)); }
DSM_VISIBLE void* operator new(size_t bytes, align_val_t a, const nothrow_t&) noexcept {
  return allocate_quietly(bytes, DSM_CALL, value(a));
}
DSM_VISIBLE void* operator new[](size_t bytes, align_val_t a, const nothrow_t&) noexcept {
  return allocate_quietly(bytes, DSM_CALL, value(a));
}

DSM_VISIBLE void operator delete(void* block) noexcept { release(block); }
DSM_VISIBLE void operator delete[](void* block) noexcept { release(block); }
DSM_VISIBLE void operator delete(void* block, const nothrow_t&) noexcept { release(block); }
DSM_VISIBLE void operator delete[](void* block, const nothrow_t&) noexcept { release(block); }
DSM_VISIBLE void operator delete(void* block, size_t bytes) noexcept { release_sized(block, bytes); }
DSM_VISIBLE void operator delete[](void* block, size_t bytes) noexcept { release_sized(block, bytes); }
DSM_VISIBLE void operator delete(void* block, align_val_t) noexcept { release(block); }
DSM_VISIBLE void operator delete[](void* block, align_val_t) noexcept { release(block); }
DSM_VISIBLE void operator delete(void* block, align_val_t, const nothrow_t&) noexcept { release(block); }
DSM_VISIBLE void operator delete[](void* block, align_val_t, const nothrow_t&) noexcept { release(block); }
DSM_VISIBLE void operator delete(void* block, size_t, align_val_t) noexcept { release(block); }
DSM_VISIBLE void operator delete[](void* block, size_t, align_val_t) noexcept { release(block); }
