// Messages between nodes as they arrive at a running node: every byte string may come, and none may crash it or keep
// it from answering. The node is alone in its job and gets the messages from itself.
#include "runtime/wire.h"

#include <dsm/dsm.h>
#include <sched.h>

#include <cstdlib>

#include "base/signals.h"
#include "net/transport.h"
#include "runtime/node.h"
#include "tests/fuzz/input.h"

namespace {

dsm::runtime::Node& start() {
  ::setenv("DSM_SLICE", "64M", 0);
  ::setenv("DSM_INTERLEAVED", "64M", 0);
  ::setenv("DSM_LOG", "0", 0);
  if (dsm::start()) std::abort();
  return dsm::runtime::node();
}

// Whether an address is a block's, the heap cannot tell, no more than malloc can: those that a message frees or asks
// the size of are none of this node's.
void spare_heap(const dsm::Geometry& geometry, std::uint64_t& address) {
  if (geometry.holds(address)) address -= geometry.memory_bytes();
}
void spare_heap(const dsm::Geometry& geometry, dsm::runtime::MessageType type, std::byte* payload) {
  if (type == dsm::runtime::MessageType::kFrees) {
    dsm::runtime::FreesMessage frees;
    std::memcpy(&frees, payload, sizeof frees);
    for (std::uint64_t& block : frees.blocks) spare_heap(geometry, block);
    std::memcpy(payload, &frees, sizeof frees);
  } else if (type == dsm::runtime::MessageType::kRequest) {
    dsm::runtime::Request request;
    std::memcpy(&request, payload, sizeof request);
    if (request.operation != dsm::runtime::Operation::kUsableSize) return;
    spare_heap(geometry, request.args[0]);
    std::memcpy(payload, &request, sizeof request);
  }
}

// An input is a series of messages, each behind its length. Odd lengths are sent as they are; even ones get a header
// that is right, so that the payload is looked at.
void send(dsm::runtime::Node& node, fuzz::Input& input) {
  const auto length = input.number<std::uint8_t>();
  const auto taken = input.bytes(std::min<std::size_t>(length, dsm::net::kMaxMessageBytes));
  std::byte message[dsm::net::kMaxMessageBytes] = {};
  std::size_t size = taken.size();
  std::memcpy(message, taken.data(), taken.size());
  if (length % 2 == 0) {
    constexpr std::size_t kHead = sizeof(dsm::runtime::WireHeader);
    const auto type = static_cast<dsm::runtime::MessageType>(1 + static_cast<unsigned>(message[1]) % 7);
    constexpr std::size_t kPayloads[] = {sizeof(dsm::proto::PageMessage),    sizeof(dsm::PageId),
                                         sizeof(dsm::runtime::Request),      sizeof(dsm::runtime::ReplyMessage),
                                         sizeof(dsm::runtime::FreesMessage), sizeof(dsm::runtime::ObjectMessage),
                                         sizeof(dsm::runtime::RingMessage)};
    const std::size_t payload = kPayloads[static_cast<std::size_t>(type) - 1];
    const dsm::runtime::WireHeader head{dsm::runtime::kWireVersion, type, static_cast<std::uint16_t>(payload)};
    std::memcpy(message, &head, kHead);
    size = kHead + payload;
  }
  if (size > sizeof(dsm::runtime::WireHeader)) {
    dsm::runtime::WireHeader head;
    std::memcpy(&head, message, sizeof head);
    spare_heap(node.geometry, head.type, message + sizeof head);
  }
  const dsm::SignalsBlocked blocked;
  if (!node.transport->send(node.self, {message, size}, dsm::net::Waiter::kService)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static dsm::runtime::Node& node = start();
  fuzz::Input input(data, size);
  while (!input.empty()) send(node, input);
  // A request that every node answers comes back only after the messages before it have been handled.
  dsm::free(dsm::alloc_collective(64));
  return 0;
}
