// System calls that are handed memory which nodes share, with an engine whose pages the kernel cannot wait for: the
// pages are touched first, as the program would, and again if one was taken away before the kernel came to it.
// docs/system-calls.md says what is handled with which engine. With any other engine, and on a node without peers, a
// call is passed on at once.
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <span>

#include "base/types.h"
#include "preload/front.h"
#include "preload/next.h"
#include "runtime/forks.h"
#include "runtime/node.h"

namespace dsm::preload {
namespace {

// A page that is taken away each time is fought over by others, who get on.
constexpr int kMostTries = 1000;

void touch(std::uintptr_t address, Access access) {
  auto* const byte = reinterpret_cast<unsigned char*>(address);
  if (access == Access::kWrite) {
    asm volatile("lock orb $0, %0" : "+m"(*byte)::"memory");
  } else {
    asm volatile("" ::"r"(*static_cast<volatile unsigned char*>(byte)));
  }
}

// Private chunks need no care, and where there is no memory the call is to say so itself.
bool shared(const runtime::Node& node, std::uintptr_t address) {
  if (!node.geometry.holds(address)) return false;
  const mem::ChunkState state = node.space->state(node.geometry.page_of(address));
  return state == mem::ChunkState::kSharing || state == mem::ChunkState::kShared;
}

// Makes the pages of what the kernel is to read (kRead) or write (kWrite) accessible. False if none is shared.
bool acquire(const void* data, std::size_t bytes, Access access) {
  const runtime::Node* const node = front_node();
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  if (bytes == 0 || begin + bytes < begin || runtime::in_forked_child()) return false;
  bool any = false;
  for (std::uintptr_t at = begin; at < begin + bytes; at = (at & ~(kPageBytes - 1)) + kPageBytes) {
    if (!shared(*node, at)) continue;
    touch(at, access);
    any = true;
  }
  return any;
}

bool acquire(std::span<const iovec> parts, Access access) {
  bool any = acquire(parts.data(), parts.size_bytes(), Access::kRead);
  for (const iovec& part : parts) any |= acquire(part.iov_base, part.iov_len, access);
  return any;
}

std::span<const iovec> parts_of(const iovec* parts, int count) {
  return {parts, static_cast<std::size_t>(std::clamp(count, 0, 1024))};
}

bool acquire(const msghdr* message, Access access) {
  bool any = acquire(message, sizeof *message, Access::kWrite);
  any |= acquire(message->msg_name, message->msg_namelen, access);
  any |= acquire(message->msg_control, message->msg_controllen, access);
  any |= acquire(std::span<const iovec>(message->msg_iov, std::min<std::size_t>(message->msg_iovlen, 1024)), access);
  return any;
}

template <typename Acquire, typename Call>
ssize_t with_pages(Acquire acquire_pages, Call call) {
  for (int tries = 1;; ++tries) {
    const bool any = acquire_pages();
    const ssize_t result = call();
    if (result >= 0 || errno != EFAULT || !any || tries == kMostTries) return result;
  }
}

template <typename Call>
ssize_t with_buffer(const void* data, std::size_t bytes, Access access, Call call) {
  if (!system_calls_need_care.load(std::memory_order_acquire)) [[likely]]
    return call();
  return with_pages([&] { return acquire(data, bytes, access); }, call);
}

template <typename Call>
ssize_t with_parts(const iovec* parts, int count, Access access, Call call) {
  if (!system_calls_need_care.load(std::memory_order_acquire)) [[likely]]
    return call();
  return with_pages([&] { return acquire(parts_of(parts, count), access); }, call);
}

// Whether a stream's buffer is where libc's inner calls may meet a missing page.
bool needs_care(const void* buffer) {
  return system_calls_need_care.load(std::memory_order_acquire) &&
         front_node()->geometry.holds(reinterpret_cast<std::uintptr_t>(buffer));
}

}  // namespace

DSM_INTERPOSED ssize_t read(int fd, void* data, std::size_t bytes) {
  return with_buffer(data, bytes, Access::kWrite,
                     [&] { return next<"read", ssize_t(int, void*, std::size_t)>()(fd, data, bytes); });
}

DSM_INTERPOSED ssize_t write(int fd, const void* data, std::size_t bytes) {
  return with_buffer(data, bytes, Access::kRead,
                     [&] { return next<"write", ssize_t(int, const void*, std::size_t)>()(fd, data, bytes); });
}

DSM_INTERPOSED ssize_t pread64(int fd, void* data, std::size_t bytes, off64_t at) {
  return with_buffer(data, bytes, Access::kWrite,
                     [&] { return next<"pread64", ssize_t(int, void*, std::size_t, off64_t)>()(fd, data, bytes, at); });
}

DSM_INTERPOSED ssize_t pread(int fd, void* data, std::size_t bytes, off_t at) { return pread64(fd, data, bytes, at); }

DSM_INTERPOSED ssize_t pwrite64(int fd, const void* data, std::size_t bytes, off64_t at) {
  return with_buffer(data, bytes, Access::kRead, [&] {
    return next<"pwrite64", ssize_t(int, const void*, std::size_t, off64_t)>()(fd, data, bytes, at);
  });
}

DSM_INTERPOSED ssize_t pwrite(int fd, const void* data, std::size_t bytes, off_t at) {
  return pwrite64(fd, data, bytes, at);
}

DSM_INTERPOSED ssize_t readv(int fd, const iovec* parts, int count) {
  return with_parts(parts, count, Access::kWrite,
                    [&] { return next<"readv", ssize_t(int, const iovec*, int)>()(fd, parts, count); });
}

DSM_INTERPOSED ssize_t writev(int fd, const iovec* parts, int count) {
  return with_parts(parts, count, Access::kRead,
                    [&] { return next<"writev", ssize_t(int, const iovec*, int)>()(fd, parts, count); });
}

DSM_INTERPOSED ssize_t preadv64(int fd, const iovec* parts, int count, off64_t at) {
  return with_parts(parts, count, Access::kWrite,
                    [&] { return next<"preadv64", ssize_t(int, const iovec*, int, off64_t)>()(fd, parts, count, at); });
}

DSM_INTERPOSED ssize_t preadv(int fd, const iovec* parts, int count, off_t at) {
  return preadv64(fd, parts, count, at);
}

DSM_INTERPOSED ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t at) {
  return with_parts(parts, count, Access::kRead, [&] {
    return next<"pwritev64", ssize_t(int, const iovec*, int, off64_t)>()(fd, parts, count, at);
  });
}

DSM_INTERPOSED ssize_t pwritev(int fd, const iovec* parts, int count, off_t at) {
  return pwritev64(fd, parts, count, at);
}

DSM_INTERPOSED ssize_t recv(int fd, void* data, std::size_t bytes, int flags) {
  return with_buffer(data, bytes, Access::kWrite,
                     [&] { return next<"recv", ssize_t(int, void*, std::size_t, int)>()(fd, data, bytes, flags); });
}

DSM_INTERPOSED ssize_t send(int fd, const void* data, std::size_t bytes, int flags) {
  return with_buffer(data, bytes, Access::kRead, [&] {
    return next<"send", ssize_t(int, const void*, std::size_t, int)>()(fd, data, bytes, flags);
  });
}

DSM_INTERPOSED ssize_t recvfrom(int fd, void* data, std::size_t bytes, int flags, sockaddr* from, socklen_t* length) {
  const auto call = [&] {
    return next<"recvfrom", ssize_t(int, void*, std::size_t, int, sockaddr*, socklen_t*)>()(fd, data, bytes, flags,
                                                                                            from, length);
  };
  if (!system_calls_need_care.load(std::memory_order_acquire)) [[likely]]
    return call();
  return with_pages(
      [&] {
        bool any = acquire(data, bytes, Access::kWrite);
        if (length == nullptr) return any;
        any |= acquire(length, sizeof *length, Access::kWrite);
        return acquire(from, *length, Access::kWrite) || any;
      },
      call);
}

DSM_INTERPOSED ssize_t sendto(int fd, const void* data, std::size_t bytes, int flags, const sockaddr* to,
                              socklen_t length) {
  const auto call = [&] {
    return next<"sendto", ssize_t(int, const void*, std::size_t, int, const sockaddr*, socklen_t)>()(fd, data, bytes,
                                                                                                     flags, to, length);
  };
  if (!system_calls_need_care.load(std::memory_order_acquire)) [[likely]]
    return call();
  return with_pages(
      [&] {
        const bool any = acquire(data, bytes, Access::kRead);
        return acquire(to, length, Access::kRead) || any;
      },
      call);
}

DSM_INTERPOSED ssize_t recvmsg(int fd, msghdr* message, int flags) {
  const auto call = [&] { return next<"recvmsg", ssize_t(int, msghdr*, int)>()(fd, message, flags); };
  if (!system_calls_need_care.load(std::memory_order_acquire)) [[likely]]
    return call();
  return with_pages([&] { return acquire(message, Access::kWrite); }, call);
}

DSM_INTERPOSED ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const auto call = [&] { return next<"sendmsg", ssize_t(int, const msghdr*, int)>()(fd, message, flags); };
  if (!system_calls_need_care.load(std::memory_order_acquire)) [[likely]]
    return call();
  return with_pages([&] { return acquire(message, Access::kRead); }, call);
}

DSM_INTERPOSED ssize_t getrandom(void* data, std::size_t bytes, unsigned flags) {
  return with_buffer(data, bytes, Access::kWrite,
                     [&] { return next<"getrandom", ssize_t(void*, std::size_t, unsigned)>()(data, bytes, flags); });
}

// A stream may leave the buffer that it is given unused: it makes one of its own then, of libc's memory
// (inside_libc.h).
DSM_INTERPOSED int setvbuf(std::FILE* stream, char* buffer, int mode, std::size_t bytes) {
  if (needs_care(buffer)) buffer = nullptr;
  return next<"setvbuf", int(std::FILE*, char*, int, std::size_t)>()(stream, buffer, mode, bytes);
}

DSM_INTERPOSED void setbuffer(std::FILE* stream, char* buffer, std::size_t bytes) {
  if (needs_care(buffer)) {
    setvbuf(stream, nullptr, _IOFBF, bytes);
  } else {
    next<"setbuffer", void(std::FILE*, char*, std::size_t)>()(stream, buffer, bytes);
  }
}

DSM_INTERPOSED void setbuf(std::FILE* stream, char* buffer) { setbuffer(stream, buffer, BUFSIZ); }

}  // namespace dsm::preload
