// jemalloc's own allocation functions, for programs that bring jemalloc as a shared library: their malloc is ours, so
// what they get from mallocx has to be, too, or free() would meet blocks of an allocator that it does not know. Arenas
// and thread caches that the flags name are those of the other jemalloc; blocks come from where malloc's do. mallctl
// and its kin are left to the other jemalloc: they answer for an allocator that lies idle.
#include <cerrno>
#include <cstddef>

#include "preload/front.h"

namespace dsm::preload {
namespace {

constexpr int kAlignmentMask = 63;  // of the flags: the logarithm

std::size_t alignment_of(int flags) { return std::size_t{1} << (flags & kAlignmentMask); }
bool zeroed(int flags) { return (flags & MALLOCX_ZERO) != 0; }
int without_places(int flags) { return flags & (kAlignmentMask | MALLOCX_ZERO); }

}  // namespace

DSM_INTERPOSED void* mallocx(std::size_t bytes, int flags) noexcept {
  if (direct()) [[likely]]
    return dsm_je_mallocx(bytes, without_places(flags));
  return allocate_slow(bytes, alignment_of(flags), zeroed(flags), DSM_CALL);
}

// Zeroing of what a block grows by is left to jemalloc, so only its own blocks can be resized with MALLOCX_ZERO.
DSM_INTERPOSED void* rallocx(void* block, std::size_t bytes, int flags) noexcept {
  if (direct() && in_own_slice(block)) [[likely]]
    return dsm_je_rallocx(block, bytes, without_places(flags));
  return zeroed(flags) || alignment_of(flags) > alignof(std::max_align_t) ? nullptr
                                                                          : resize_slow(block, bytes, DSM_CALL);
}

DSM_INTERPOSED std::size_t xallocx(void* block, std::size_t bytes, std::size_t extra, int flags) noexcept {
  return in_own_slice(block) ? dsm_je_xallocx(block, bytes, extra, without_places(flags)) : usable_size_slow(block);
}

DSM_INTERPOSED std::size_t sallocx(const void* block, int) noexcept {
  return in_own_slice(block) ? dsm_je_sallocx(block, 0) : usable_size_slow(const_cast<void*>(block));
}

DSM_INTERPOSED void dallocx(void* block, int) noexcept { release(block); }

DSM_INTERPOSED void sdallocx(void* block, std::size_t, int) noexcept { release(block); }

DSM_INTERPOSED std::size_t nallocx(std::size_t bytes, int flags) noexcept {
  return dsm_je_nallocx(bytes, without_places(flags));
}

}  // namespace dsm::preload
