#include "preload/receive.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <new>

#include "preload/stand_in.h"
#include "preload/traps.h"

namespace dsm::preload {
namespace {

bool any_needs(std::span<const iovec> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const iovec& part) { return needs_stand_in(part.iov_base, part.iov_len); });
}

// A vector whose parts stand in for the program's, as far as they need it and there is room.
class Scattered {
 public:
  // `with_content`: also what the kernel leaves as it is (TCP's MSG_TRUNC writes nothing, and tells of bytes).
  bool stand_for(std::span<const iovec> theirs, bool with_content, Room& room) {
    ours_ = room.place_of<iovec>(theirs.size() + 1);
    theirs_ = room.place_of<void*>(theirs.size() + 1);
    if (ours_ == nullptr || theirs_ == nullptr) return false;
    count_ = 0;
    for (const iovec& part : theirs) {
      if (needs_stand_in(part.iov_base, part.iov_len)) {
        split(part, theirs.size() < kMostParts, room);
      } else {
        add(part, nullptr);
      }
    }
    for (std::size_t i = 0; with_content && i < count_; ++i) {
      if (theirs_[i] != nullptr) std::memcpy(ours_[i].iov_base, theirs_[i], ours_[i].iov_len);
    }
    return true;
  }
  bool is_whole() const { return whole_; }  // nothing that needs a stand-in is in its place
  iovec* parts() const { return ours_; }
  std::size_t count() const { return count_; }

  void copy_over(std::size_t bytes) const {
    for (std::size_t i = 0; i < count_ && bytes != 0; ++i) {
      const std::size_t some = std::min(bytes, ours_[i].iov_len);
      if (theirs_[i] != nullptr) std::memcpy(theirs_[i], ours_[i].iov_base, some);
      bytes -= some;
    }
  }

 private:
  void add(iovec part, void* theirs) {
    theirs_[count_] = theirs;
    ours_[count_++] = part;
  }
  // The first that is longer than what is left has one part here and one in its place.
  void split(const iovec& part, bool may_be_two, Room& room) {
    const std::size_t here = part.iov_len <= room.left() ? part.iov_len : may_be_two ? room.left() : 0;
    if (here != 0) add({room.place(here), here}, part.iov_base);
    if (here == part.iov_len) return;
    const iovec rest{static_cast<std::byte*>(part.iov_base) + here, part.iov_len - here};
    whole_ = false;
    acquire(rest.iov_base, std::min(rest.iov_len, kMostAcquired), Access::kWrite);
    add(rest, nullptr);
  }

  iovec* ours_ = nullptr;
  void** theirs_ = nullptr;  // what a part stands for; nullptr: it is theirs
  std::size_t count_ = 0;
  bool whole_ = true;
};

bool any_needs(const msghdr& message) {
  return needs_stand_in(&message, sizeof message) || needs_stand_in(message.msg_name, message.msg_namelen) ||
         needs_stand_in(message.msg_control, message.msg_controllen) ||
         any_needs(std::span<const iovec>(message.msg_iov, std::min(message.msg_iovlen, kMostParts)));
}

class Message {
 public:
  // False if there is no room, or something is wrong with it.
  bool stand_for(const msghdr& theirs, int flags, Room& room) {
    header = theirs;
    if (theirs.msg_iovlen > kMostParts || !stand_for(theirs.msg_name, theirs.msg_namelen, header.msg_name, room) ||
        !stand_for(theirs.msg_control, theirs.msg_controllen, header.msg_control, room) ||
        !data_.stand_for({theirs.msg_iov, theirs.msg_iovlen}, (flags & MSG_TRUNC) != 0, room)) {
      return false;
    }
    header.msg_iov = data_.parts();
    header.msg_iovlen = data_.count();
    return true;
  }
  bool is_whole() const { return data_.is_whole(); }
  void copy_over(msghdr& theirs, std::size_t bytes) const {
    data_.copy_over(bytes);
    copy(theirs.msg_name, header.msg_name, std::min(theirs.msg_namelen, header.msg_namelen));
    copy(theirs.msg_control, header.msg_control, std::min(theirs.msg_controllen, header.msg_controllen));
    theirs.msg_namelen = header.msg_namelen;
    theirs.msg_controllen = header.msg_controllen;
    theirs.msg_flags = header.msg_flags;
  }

  msghdr header{};

 private:
  static bool stand_for(void* theirs, std::size_t bytes, void*& ours, Room& room) {
    if (!needs_stand_in(theirs, bytes)) return true;
    ours = room.place(bytes);
    return ours != nullptr;
  }
  static void copy(void* theirs, const void* ours, std::size_t bytes) {
    if (theirs != ours) std::memcpy(theirs, ours, bytes);
  }

  Scattered data_;
};

std::optional<long> receive_messages(int fd, std::span<mmsghdr> theirs, int flags, timespec* timeout,
                                     ReceiveMessages call, Room& room) {
  auto* const messages = room.place_of<Message>(theirs.size());
  auto* const ours = room.place_of<mmsghdr>(theirs.size());
  if (messages == nullptr || ours == nullptr) return std::nullopt;
  unsigned count = 0;
  for (; count < theirs.size(); ++count) {
    if (!(new (&messages[count]) Message)->stand_for(theirs[count].msg_hdr, flags, room)) break;
    if (count != 0 && !messages[count].is_whole()) break;
    ours[count] = {messages[count].header, 0};
  }
  if (count == 0) return std::nullopt;
  timespec left = timeout == nullptr ? timespec{} : *timeout;
  const long result = call(fd, ours, count, flags, timeout == nullptr ? nullptr : &left);
  for (long i = 0; i < result; ++i) {
    messages[i].header = ours[i].msg_hdr;
    messages[i].copy_over(theirs[static_cast<std::size_t>(i)].msg_hdr, ours[i].msg_len);
    theirs[static_cast<std::size_t>(i)].msg_len = ours[i].msg_len;
  }
  if (timeout != nullptr && result >= 0) *timeout = left;
  return result;
}

// read and readv are not the same for every device.
long read_directly(int fd, const iovec* parts, int count) {
  if (count == 1) {
    return call_directly(
        SYS_read, {static_cast<std::uint64_t>(fd), reinterpret_cast<std::uint64_t>(parts->iov_base), parts->iov_len});
  }
  return call_directly(SYS_readv, {static_cast<std::uint64_t>(fd), reinterpret_cast<std::uint64_t>(parts),
                                   static_cast<std::uint64_t>(count)});
}

long receive_directly(int fd, msghdr* message, int flags) {
  return call_directly(SYS_recvmsg, {static_cast<std::uint64_t>(fd), reinterpret_cast<std::uint64_t>(message),
                                     static_cast<std::uint64_t>(flags)});
}

std::optional<long> receive_from(const Arguments& with) {
  auto* const length = reinterpret_cast<socklen_t*>(with[5]);
  iovec all{reinterpret_cast<void*>(with[1]), with[2]};
  msghdr message{};
  message.msg_iov = &all;
  message.msg_iovlen = 1;
  if (with[4] != 0) {
    if (length == nullptr) return std::nullopt;  // the kernel shall say what is wrong
    message.msg_name = reinterpret_cast<void*>(with[4]);
    message.msg_namelen = *length;
  }
  const auto result =
      receive_with_stand_ins(static_cast<int>(with[0]), message, static_cast<int>(with[3]), receive_directly);
  if (result && *result >= 0 && with[4] != 0) *length = message.msg_namelen;
  return result;
}

}  // namespace

std::optional<long> read_with_stand_ins(int fd, std::span<const iovec> parts, ReadParts call) {
  if (parts.size() > kMostParts || !any_needs(parts) || is_file(fd)) return std::nullopt;
  return in_a_room([&](Room& room) -> std::optional<long> {
    Scattered data;
    if (!data.stand_for(parts, false, room)) return std::nullopt;
    const long result = call(fd, data.parts(), static_cast<int>(data.count()));
    if (result > 0) data.copy_over(static_cast<std::size_t>(result));
    return result;
  });
}

std::optional<long> receive_with_stand_ins(int fd, msghdr& message, int flags, ReceiveMessage call) {
  if (!any_needs(message)) return std::nullopt;
  return in_a_room([&](Room& room) -> std::optional<long> {
    Message ours;
    if (!ours.stand_for(message, flags, room)) return std::nullopt;
    const long result = call(fd, &ours.header, flags);
    if (result >= 0) ours.copy_over(message, static_cast<std::size_t>(result));
    return result;
  });
}

std::optional<long> receive_with_stand_ins(int fd, std::span<mmsghdr> messages, int flags, timespec* timeout,
                                           ReceiveMessages call) {
  messages = messages.first(std::min(messages.size(), kMostParts));
  const auto needs = [](const mmsghdr& message) { return any_needs(message.msg_hdr); };
  if (std::none_of(messages.begin(), messages.end(), needs)) return std::nullopt;
  return in_a_room([&](Room& room) { return receive_messages(fd, messages, flags, timeout, call, room); });
}

std::optional<long> receive_with_stand_ins(long number, const Arguments& with) {
  if (number == SYS_recvfrom) return receive_from(with);
  if (number != SYS_read) return std::nullopt;
  const iovec all{reinterpret_cast<void*>(with[1]), with[2]};
  return read_with_stand_ins(static_cast<int>(with[0]), {&all, 1}, read_directly);
}

}  // namespace dsm::preload
