// System calls that find memory which nodes share in vectors and headers, and not in an argument (traps.h), with an
// engine whose pages the kernel cannot wait for: the pages are touched first, as the program would, and again if one
// was taken away before the kernel came to it; what would be lost by that is received in stand-ins (receive.h).
// docs/system-calls.md says what is handled with which engine. With any other engine, and on a node without peers, a
// call is passed on at once.
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>

#include "base/types.h"
#include "preload/front.h"
#include "preload/next.h"
#include "preload/receive.h"
#include "preload/traps.h"

namespace dsm::preload {
namespace {

bool acquire_parts(std::span<const iovec> parts, Access access) {
  bool any = acquire(parts.data(), parts.size_bytes(), Access::kRead);
  std::size_t left = kMostAcquired;
  for (const iovec& part : parts) {
    const std::size_t bytes = std::min(part.iov_len, left);
    any |= acquire(part.iov_base, bytes, access);
    left -= bytes;
  }
  return any;
}

std::span<const iovec> parts_of(const iovec* parts, int count) {
  return {parts, static_cast<std::size_t>(std::clamp(count, 0, static_cast<int>(kMostParts)))};
}

bool acquire_message(const msghdr* message, Access access) {
  bool any = acquire(message, sizeof *message, Access::kWrite);
  any |= acquire(message->msg_name, message->msg_namelen, access);
  any |= acquire(message->msg_control, message->msg_controllen, access);
  any |= acquire_parts(std::span<const iovec>(message->msg_iov, std::min(message->msg_iovlen, kMostParts)), access);
  return any;
}

bool care() { return system_calls_need_care.load(std::memory_order_acquire); }

// With an engine whose pages the kernel waits for that is the call alone.
template <typename Acquire, typename Call>
ssize_t with_pages(Acquire acquire_pages, Call call) {
  if (!care()) [[likely]]
    return call();
  for (int tries = 1;; ++tries) {
    const bool any = acquire_pages();
    const ssize_t result = call();
    if (result >= 0 || errno != EFAULT || !any || tries == kMostTries) return result;
  }
}

// As libc's functions say it.
ssize_t answer(long result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}
long as_of_kernel(ssize_t result) { return result >= 0 ? result : -errno; }

// libc's functions, with the kernel's answers.
long libc_readv(int fd, const iovec* parts, int count) {
  return as_of_kernel(next<"readv", ssize_t(int, const iovec*, int)>()(fd, parts, count));
}
long libc_recvmsg(int fd, msghdr* message, int flags) {
  return as_of_kernel(next<"recvmsg", ssize_t(int, msghdr*, int)>()(fd, message, flags));
}
long libc_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  using Real = int(int, mmsghdr*, unsigned, int, timespec*);
  return as_of_kernel(next<"recvmmsg", Real>()(fd, messages, count, flags, timeout));
}

template <typename Call>
ssize_t with_parts(const iovec* parts, int count, Access access, Call call) {
  return with_pages([&] { return acquire_parts(parts_of(parts, count), access); }, call);
}

std::size_t bytes_of(const msghdr& message) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
  return bytes;
}

// Fewer of them, so that all of their pages can be here at once. Calls for several messages may do less than they are
// asked for.
unsigned that_fit(const mmsghdr* messages, unsigned count) {
  if (!care()) [[likely]]
    return count;
  std::size_t bytes = 0;
  for (unsigned i = 0; i < count; ++i) {
    bytes += bytes_of(messages[i].msg_hdr) + kPageBytes;
    if (i != 0 && bytes > kMostAcquired) return i;
  }
  return count;
}

bool acquire_messages(mmsghdr* messages, unsigned count, Access access) {
  bool any = acquire(messages, count * sizeof *messages, Access::kWrite);
  for (mmsghdr& message : std::span(messages, count)) any |= acquire_message(&message.msg_hdr, access);
  return any;
}

}  // namespace

DSM_INTERPOSED ssize_t readv(int fd, const iovec* parts, int count) {
  if (care() && count >= 0) {
    const auto taken = read_with_stand_ins(fd, {parts, static_cast<std::size_t>(count)}, libc_readv);
    if (taken) return answer(*taken);
  }
  return with_parts(parts, count, Access::kWrite, [&] { return answer(libc_readv(fd, parts, count)); });
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

DSM_INTERPOSED ssize_t preadv64v2(int fd, const iovec* parts, int count, off64_t at, int flags) {
  return with_parts(parts, count, Access::kWrite, [&] {
    return next<"preadv64v2", ssize_t(int, const iovec*, int, off64_t, int)>()(fd, parts, count, at, flags);
  });
}

DSM_INTERPOSED ssize_t preadv2(int fd, const iovec* parts, int count, off_t at, int flags) {
  return preadv64v2(fd, parts, count, at, flags);
}

DSM_INTERPOSED ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t at, int flags) {
  return with_parts(parts, count, Access::kRead, [&] {
    return next<"pwritev64v2", ssize_t(int, const iovec*, int, off64_t, int)>()(fd, parts, count, at, flags);
  });
}

DSM_INTERPOSED ssize_t pwritev2(int fd, const iovec* parts, int count, off_t at, int flags) {
  return pwritev64v2(fd, parts, count, at, flags);
}

// What is named of the other process is that one's affair.
DSM_INTERPOSED ssize_t process_vm_readv(pid_t pid, const iovec* local, unsigned long local_count, const iovec* remote,
                                        unsigned long remote_count, unsigned long flags) {
  using Real = ssize_t(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);
  return with_parts(local, static_cast<int>(std::min(local_count, kMostParts)), Access::kWrite, [&] {
    return next<"process_vm_readv", Real>()(pid, local, local_count, remote, remote_count, flags);
  });
}

DSM_INTERPOSED ssize_t process_vm_writev(pid_t pid, const iovec* local, unsigned long local_count, const iovec* remote,
                                         unsigned long remote_count, unsigned long flags) {
  using Real = ssize_t(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);
  return with_parts(local, static_cast<int>(std::min(local_count, kMostParts)), Access::kRead, [&] {
    return next<"process_vm_writev", Real>()(pid, local, local_count, remote, remote_count, flags);
  });
}

DSM_INTERPOSED ssize_t recvmsg(int fd, msghdr* message, int flags) {
  if (care()) {
    if (const auto taken = receive_with_stand_ins(fd, *message, flags, libc_recvmsg)) return answer(*taken);
  }
  return with_pages([&] { return acquire_message(message, Access::kWrite); },
                    [&] { return answer(libc_recvmsg(fd, message, flags)); });
}

DSM_INTERPOSED ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const auto call = [&] { return next<"sendmsg", ssize_t(int, const msghdr*, int)>()(fd, message, flags); };
  return with_pages([&] { return acquire_message(message, Access::kRead); }, call);
}

DSM_INTERPOSED int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  if (care()) {
    const auto taken = receive_with_stand_ins(fd, {messages, count}, flags, timeout, libc_recvmmsg);
    if (taken) return static_cast<int>(answer(*taken));
  }
  if (care()) count = std::min(count, 1U);  // a page that leaves costs one message at the most
  return static_cast<int>(with_pages([&] { return acquire_messages(messages, count, Access::kWrite); },
                                     [&] { return answer(libc_recvmmsg(fd, messages, count, flags, timeout)); }));
}

DSM_INTERPOSED int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  const auto call = [&] { return next<"sendmmsg", int(int, mmsghdr*, unsigned, int)>()(fd, messages, count, flags); };
  count = that_fit(messages, count);
  return static_cast<int>(with_pages([&] { return acquire_messages(messages, count, Access::kRead); }, call));
}

}  // namespace dsm::preload
