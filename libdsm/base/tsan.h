// What ThreadSanitizer has to be told; in other builds none of it leaves an instruction. It sees the threads of one
// process: neither what other nodes do in between, nor that who copies racing bytes looks afterwards whether they hold.
#pragma once

#include <cstddef>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define DSM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DSM_TSAN 1
#endif
#endif
#ifndef DSM_TSAN
#define DSM_TSAN 0
#endif

#if DSM_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace dsm {

inline constexpr bool kThreadSanitizer = DSM_TSAN != 0;

// Orders this node's threads that meet by way of another node: what a thread did before it called tsan_before(place)
// comes before what a thread does after a later tsan_after(place).
inline void tsan_before([[maybe_unused]] const void* place) {
#if DSM_TSAN
  __tsan_release(const_cast<void*>(place));
#endif
}
inline void tsan_after([[maybe_unused]] const void* place) {
#if DSM_TSAN
  __tsan_acquire(const_cast<void*>(place));
#endif
}

// In its scope a mapping that this thread replaces is not written: to ThreadSanitizer mmap() is a write by its caller.
class TsanNotWritten {
 public:
#if DSM_TSAN
  TsanNotWritten() { AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
  ~TsanNotWritten() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__); }
#else
  TsanNotWritten() = default;
#endif
  TsanNotWritten(const TsanNotWritten&) = delete;
  TsanNotWritten& operator=(const TsanNotWritten&) = delete;
};

// memcpy of bytes that others may be changing or reading: one-sided operations and optimistic copies. Whoever uses them
// has other means to know that they are whole. (ThreadSanitizer does not look into inline assembly.)
inline void copy_racing(void* to, const void* from, std::size_t bytes) {
#if DSM_TSAN
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace dsm
