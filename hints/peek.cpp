// Looks at small objects of this node where they lie (dsm::peek): quick.h's two looks at the header and at the page's
// word, with the program's own look between them. No pin: nothing is held, so nothing has to be found by who takes
// pages or blocks away, and what was seen meanwhile is thrown away.
#include <dsm/hints.h>

#include "hints/quick.h"

namespace dsm::detail {

using dsm::hints::Engine;
using dsm::hints::Header;

glance begin_glance(const void* object, std::size_t bytes) {
  // ThreadSanitizer would see a race in what is looked at; there a borrow copies it.
  if constexpr (kThreadSanitizer) return {};
  Engine* const here = hints::detail::the_engine.load(std::memory_order_acquire);
  runtime::ThreadPins* const me = runtime::detail::mine;
  if (here == nullptr || me == nullptr || me->hint == nullptr) [[unlikely]]
    return {};
  const std::uint64_t offset = reinterpret_cast<std::uint64_t>(object) - here->slice_begin;
  if (!hints::may_be_quick(*here, offset, bytes)) return {};
  const hints::PageLook page(*here, offset);
  const Header before = hints::header_at(*here, offset).load(std::memory_order_acquire);
  if (!page.open() || !proto::is_readable(before)) return {};
  return {here->slice_view + offset, before, page.seen()};
}

bool end_glance(const glance& seen) {
  std::atomic_signal_fence(std::memory_order_acquire);  // for the compiler: x86 keeps loads in order
  Engine& here = hints::engine();
  const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(seen.data) - here.slice_view);
  const bool whole =
      proto::is_same_version(seen.version, hints::header_at(here, offset).load(std::memory_order_acquire)) &&
      hints::PageLook(here, offset).seen() == seen.page;
  if (whole) hints::count_some(runtime::detail::mine->locals, here.node.stats->object_local);
  return whole;
}

}  // namespace dsm::detail
