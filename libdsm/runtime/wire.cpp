#include "runtime/wire.h"

#include <bit>

#include "base/log.h"
#include "base/no_memory.h"
#include "base/trace.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

std::size_t payload_bytes(MessageType type) {
  switch (type) {
    case MessageType::kPages:
      return sizeof(proto::PageMessage);
    case MessageType::kNoSuchPage:
      return sizeof(NoSuchPages);
    case MessageType::kRequest:
      return sizeof(Request);
    case MessageType::kReply:
      return sizeof(ReplyMessage);
    case MessageType::kFrees:
      return sizeof(FreesMessage);
    case MessageType::kObject:
      return sizeof(ObjectMessage);
    case MessageType::kRing:
      return sizeof(RingMessage);
  }
  return SIZE_MAX;
}

}  // namespace

std::optional<MessageType> read_type(std::span<const std::byte> message) {
  WireHeader header;
  if (message.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, message.data(), sizeof header);
  const bool right = header.version == kWireVersion && header.bytes == payload_bytes(header.type) &&
                     message.size() == sizeof header + header.bytes;
  return right ? std::optional(header.type) : std::nullopt;
}

void send_message(Node& node, NodeId to, std::span<const std::byte> message, net::Waiter whom) {
  count(node.stats->message_sent);
  const auto sent = node.transport->send(to, message, whom);
  if (sent) return;
  if (sent.error().code == Errc::kNoMemory) end_without_memory("messages that wait for room at another node");
  log(LogLevel::kError, "wire", "cannot send to node {}: {}", to, sent.error().context);
}

void send_pages(Node& node, NodeSet to, const proto::PageMessage& message) {
  const bool answer = message.kind == proto::MessageKind::kLook;
  for (NodeSet left = to; left != 0; left &= left - 1) {
    const auto one = static_cast<NodeId>(std::countr_zero(left));
    trace(TraceEvent::kSend, message.first, one, static_cast<std::uint64_t>(message.kind));
    send_message(node, one, pack(MessageType::kPages, message).bytes(),
                 answer ? net::Waiter::kAccess : net::Waiter::kService);
  }
}

}  // namespace dsm::runtime
