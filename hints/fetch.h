// Copies of many objects at once: one chain of operations for each home, begun now and waited for later. A thread has
// at the most kMostOnTheWay objects on their way; they arrive when it borrows something else that is not here, or
// changes another node's object, or fetches more, or ends.
//
// A fetch pins nothing while it is on its way, so it holds no raw access up: what has arrived counts only if the
// object's pages have been in object mode all along (Objects::stamp) and nobody was changing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hints/borrow.h"

namespace dsm::hints {

struct Wanted {
  std::uint64_t address;
  std::uint16_t colour;
};

inline constexpr std::size_t kMostOnTheWay = 256;

// Begins to fetch what is not in the cache. Waits only for room, for what it had begun earlier, and for pages that are
// not in object mode.
void begin_fetches(std::span<Wanted> objects, std::size_t bytes, CallSite site);
// Waits for the `me.fetches` that this thread has begun: they are in the cache then, except for what somebody was
// changing.
void end_fetches(Engine& engine, runtime::ThreadPins& me);

}  // namespace dsm::hints
