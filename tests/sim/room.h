// One node's bounded local memory, as runtime/local_memory.h has it: the shipped policy says which page is to go. The
// pages' bytes here are those of model.h; what has no room any more is overwritten.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "proto/eviction.h"

namespace dsm::sim {

struct Room {
  Room(unsigned pages, unsigned most)
      : bound(most),
        frames(pages),
        young(proto::Eviction::ring_slots(known(pages, most))),
        main(proto::Eviction::ring_slots(known(pages, most))),
        policy(frames.data(), young.data(), main.data(), known(pages, most)) {}
  Room(const Room&) = delete;

  // What the policy is made for. Several pages may find the last room, and all are here then, beyond a bound as small
  // as these: there has to be a place for each.
  static unsigned known(unsigned pages, unsigned most) { return std::max(most, (pages + 1) / 2); }
  bool is_here(unsigned page) const { return frames[page].here.load(); }

  const unsigned bound;
  unsigned here = 0;  // pages of others with bytes on this node
  std::vector<proto::Frame> frames;
  std::vector<PageId> young, main;
  proto::Eviction policy;
};

}  // namespace dsm::sim
