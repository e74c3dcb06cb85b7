// What libibverbs makes, as objects that end themselves; and how a queue pair is connected.
#pragma once

#include <cstdint>
#include <memory>

#include "net/verbs_device.h"
#include "net/verbs_memory.h"

namespace dsm::net::verbs {

struct Ender {
  const Library* library = nullptr;
  void operator()(ibv_comp_channel* it) const { library->destroy_channel(it); }
  void operator()(ibv_cq* it) const { library->destroy_cq(it); }
  void operator()(ibv_srq* it) const { library->destroy_srq(it); }
  void operator()(ibv_qp* it) const { library->destroy_qp(it); }
};
using Channel = std::unique_ptr<ibv_comp_channel, Ender>;
using CompletionQueue = std::unique_ptr<ibv_cq, Ender>;
using SharedReceives = std::unique_ptr<ibv_srq, Ender>;
using QueuePair = std::unique_ptr<ibv_qp, Ender>;

Result<Channel> make_channel(const Device& device);  // its descriptor does not block
Result<CompletionQueue> make_cq(const Device& device, unsigned entries, ibv_comp_channel* channel);
Result<SharedReceives> make_srq(const Device& device, unsigned entries);

inline constexpr std::size_t kSlotBytes = 256;

// Where what several queue pairs receive arrives: in slots of kSlotBytes, which each completion names by its wr_id.
struct Receiver {
  Channel channel;
  CompletionQueue completions;
  SharedReceives srq;
  Buffer slots;

  static Result<Receiver> make(const Device& device, unsigned slots);  // with all slots posted, and the channel armed
  const std::byte* slot(std::uint32_t number) const { return slots.data() + number * kSlotBytes; }
  void post(std::uint32_t number);  // the slot may be used again
};

struct QueuePairShape {
  ibv_cq* sends;
  ibv_cq* receives;
  ibv_srq* srq;
  unsigned depth;         // of the send queue
  unsigned inline_bytes;  // wanted; `got_inline` says what the device gives
};
Result<QueuePair> make_qp(const Device& device, const QueuePairShape& shape, unsigned& got_inline);

// What the other side has to know of a node to connect to it.
struct Address {
  ibv_gid gid;
  std::uint16_t lid;
  std::uint8_t mtu;              // ibv_mtu
  std::uint8_t reads_as_target;  // READs and atomics that it serves at a time on one connection
  std::uint8_t reads_as_initiator;
  std::uint8_t ethernet;
  std::uint8_t pad[2];
};
Address address_of(const Device& device);

// Packets are counted from the sender's queue pair number on, which both sides know.
Result<void> connect(const Device& device, ibv_qp* qp, const Address& peer, std::uint32_t peer_qp,
                     std::int64_t dead_after_ms);

}  // namespace dsm::net::verbs
