// Puts a chain's operations into a lane's volleys as work requests. A volley that is full is posted, and the next one
// filled while it is on its way, so that what a large transfer copies is copied while the next part travels.
//
// Order at the target. A reliable connection executes requests in order, with these exceptions, which a fence on the
// later request excludes: a WRITE or an atomic may overtake a READ, and a WRITE may overtake an atomic.
//
// Bytes of this process go through the volley's registered buffer, unless they are few enough to travel in the request
// or lie in memory that is registered: what other nodes reach anyway (verbs_keys.h), or what was lent (verbs_lent.h).
#pragma once

#include <cstdint>

#include "net/verbs_impl.h"

namespace dsm::net::verbs {

class Posting {
 public:
  // REQUIRES: nothing of the lane is on its way.
  Posting(VerbsTransport& transport, Lane& lane, NodeId node)
      : t_(transport), lane_(lane), node_(node), volley_(lane.volleys.data()) {}

  // REQUIRES: the keys of all its units are known.
  Result<void> add(Op& op);
  void end();  // posts the last volley

 private:
  struct Local {
    const std::byte* at;
    std::uint32_t bytes;
    std::uint32_t lkey = 0;
    bool inlined = false;
    bool direct = false;
    bool lent = false;
    unsigned place = 0;
  };
  Local find(const Op& op, std::byte* local, std::uint32_t bytes);
  bool exposed(const std::byte* local, std::uint32_t bytes, std::uint32_t& lkey) const;
  Result<void> make_room(std::uint32_t bytes);
  std::uint32_t take_buffer(std::uint32_t bytes);
  ibv_send_wr& next(ibv_wr_opcode opcode, const void* local, std::uint32_t bytes, std::uint32_t lkey);
  void put(const Op& op, std::uint64_t at, const Unit& unit, Local local);
  Result<void> add_atomic(Op& op);
  std::uint32_t rkey(const Unit& unit) const;
  std::uint64_t remote_address(Region region, std::uint64_t offset) const;

  VerbsTransport& t_;
  Lane& lane_;
  const NodeId node_;
  Volley* volley_;
  bool read_before_ = false;  // since the last fence
  bool atomic_before_ = false;
};

}  // namespace dsm::net::verbs
