// The end and the beginning of a block's life as pure code: what happens to the headers of its granules, so that
// nothing that any node still has of it is taken for what lies there next. The runtime and the simulator do the same.
//
// A free is done by the node whose heap has the block (of an interleaved one by whoever frees it), in this order: if
// the page's latch says that copies may exist, each granule's header is swapped for end_of_life(); who is named there
// is told to forget and answers; then the block goes back to the heap. A shared copy needs no telling: the version has
// gone on. Two things do:
//   1. What a standing owner keeps it uses without a look at the header.
//   2. So does whoever has a copy of the colour that an owned pointer names, and there are 2^16 colours. When the
//      version begins them anew (colour_wraps), no copy of the last round may stay. The free is one of those who raise
//      it; the others are the ends of changes, whose threads have all nodes forget the object then.
// Whoever is at work on the header goes on, so nothing but a standing hold is taken out of it: a standing owner that is
// giving the object back has the lock, and answers when its last byte is home; and objects that begin in one granule
// share its header, so that one is freed in the middle of another's borrow. What stands has its header for itself
// (may_stand).
#pragma once

#include "base/meta_layout.h"
#include "proto/header.h"
#include "proto/latch.h"

namespace dsm::proto {

// Whether any node may have something of the objects of a page with this latch word.
constexpr bool may_have_copies(Word latch) { return objects_at_work(latch); }

struct LifeEnd {
  Header word;               // what the header becomes; as it was: nothing to do
  NodeId forgets = kNoNode;  // the (last) standing owner: it forgets the object before the block may be used again
  bool all_forget = false;   // so does every other node
};
// `alone`: the granule lies in the block as a whole.
LifeEnd end_of_life(Header word, bool alone);

// The header of a new block for an owned pointer. The version is that of the last life's end: a colour is given to an
// object by its first change.
Header begin_of_life(Header word);

// Whether an object may have a standing owner: only if no other object begins in its granule.
constexpr bool may_stand(std::uint64_t address, std::uint64_t bytes) {
  return address % kObjectGranule == 0 && bytes >= kObjectGranule;
}

}  // namespace dsm::proto
