// Calls that take what comes from elsewhere - messages, events, a pipe's bytes - and scatter it over buffers: those
// that need it have others that stand in for them (stand_in.h). As much as a room holds stands in; of what is longer
// the rest is in its place, with its pages touched before, as for any other call.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <optional>
#include <span>

#include "preload/direct_call.h"

namespace dsm::preload {

inline constexpr std::size_t kMostParts = 1024;  // of a vector, as the kernel allows

// What makes the call in the end. All give the kernel's answer: a result, or an error's number negated.
using ReadParts = long(int fd, const iovec* parts, int count);
using ReceiveMessage = long(int fd, msghdr* message, int flags);
using ReceiveMessages = long(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout);

// nullopt: the call is to be made as it is, since nothing of it needs that, or there is no room.
std::optional<long> read_with_stand_ins(int fd, std::span<const iovec> parts, ReadParts call);
std::optional<long> receive_with_stand_ins(int fd, msghdr& message, int flags, ReceiveMessage call);
// Of several messages as many as there is room for: such calls may do less than they are asked for.
std::optional<long> receive_with_stand_ins(int fd, std::span<mmsghdr> messages, int flags, timespec* timeout,
                                           ReceiveMessages call);
// The same for calls with one buffer, as a trap finds them: read of what is no file, recvfrom.
std::optional<long> receive_with_stand_ins(long number, const Arguments& with);

}  // namespace dsm::preload
