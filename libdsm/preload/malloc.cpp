// C's allocation functions. In the corners they do what glibc documents; front.h says where blocks come from.
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "preload/front.h"

namespace dsm::preload {
namespace {

std::size_t page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

void* out_of_memory() {
  errno = ENOMEM;
  return nullptr;
}

void* resize(void* block, std::size_t bytes, const void* call) {
  if (block == nullptr) return direct() ? dsm_je_malloc(bytes) : allocate_slow(bytes, 0, false, call);
  if (bytes == 0) {
    release(block);
    return nullptr;
  }
  if (direct() && in_own_slice(block)) [[likely]]
    return dsm_je_realloc(block, bytes);
  return resize_slow(block, bytes, call);
}

}  // namespace

DSM_INTERPOSED void* malloc(std::size_t bytes) noexcept {
  if (direct()) [[likely]]
    return dsm_je_malloc(bytes);
  return allocate_slow(bytes, 0, false, DSM_CALL);
}

DSM_INTERPOSED void free(void* block) noexcept {
  if (in_own_slice(block)) [[likely]]
    return dsm_je_free(block);
  release_slow(block);
}

DSM_INTERPOSED void* calloc(std::size_t count, std::size_t bytes) noexcept {
  if (direct()) [[likely]]
    return dsm_je_calloc(count, bytes);
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return out_of_memory();
  return allocate_slow(all, 0, true, DSM_CALL);
}

// realloc(p, 0) frees and gives nullptr.
DSM_INTERPOSED void* realloc(void* block, std::size_t bytes) noexcept { return resize(block, bytes, DSM_CALL); }

DSM_INTERPOSED void* reallocarray(void* block, std::size_t count, std::size_t bytes) noexcept {
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return out_of_memory();
  return resize(block, all, DSM_CALL);
}

DSM_INTERPOSED void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  if (!std::has_single_bit(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return allocate_aligned(alignment, bytes, DSM_CALL);
}

// As glibc's: another alignment than a power of two is taken for the next one.
DSM_INTERPOSED void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  return allocate_aligned(std::bit_ceil(alignment), bytes, DSM_CALL);
}

// Leaves errno alone, and *block when it fails.
DSM_INTERPOSED int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) noexcept {
  if (!std::has_single_bit(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  const int saved_errno = errno;
  void* const got = allocate_aligned(alignment, bytes, DSM_CALL);
  errno = saved_errno;
  if (got == nullptr) return ENOMEM;
  *block = got;
  return 0;
}

DSM_INTERPOSED void* valloc(std::size_t bytes) noexcept { return allocate_aligned(page_bytes(), bytes, DSM_CALL); }

DSM_INTERPOSED void* pvalloc(std::size_t bytes) noexcept {
  const std::size_t page = page_bytes();
  if (bytes > SIZE_MAX - (page - 1)) return out_of_memory();
  return allocate_aligned(page, bytes == 0 ? page : (bytes + page - 1) & ~(page - 1), DSM_CALL);
}

DSM_INTERPOSED std::size_t malloc_usable_size(void* block) noexcept {
  if (in_own_slice(block)) [[likely]]
    return dsm_je_sallocx(block, 0);
  return usable_size_slow(block);
}

}  // namespace dsm::preload
