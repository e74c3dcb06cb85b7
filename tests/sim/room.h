// One node's bounded local memory, as runtime/local_memory.h has it: the shipped policy says which page is to go. The
// pages' bytes here are those of model.h; what has no room any more is overwritten.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/eviction.h"

namespace dsm::sim {

struct Room {
  Room(unsigned pages, unsigned most)
      : bound(most),
        frames(pages),
        young(proto::Eviction::ring_slots(most)),
        main(proto::Eviction::ring_slots(most)),
        policy(frames.data(), young.data(), main.data(), most) {}
  Room(const Room&) = delete;

  bool is_here(unsigned page) const { return frames[page].here.load(); }

  const unsigned bound;
  unsigned here = 0;  // pages of others with bytes on this node
  std::vector<proto::Frame> frames;
  std::vector<PageId> young, main;
  proto::Eviction policy;
};

}  // namespace dsm::sim
