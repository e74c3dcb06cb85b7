// Tables of transitions: an event, the actions it must lead to and the page it must leave, as people read them
// (tests/sim/text.h). Node 1 is self unless a test says otherwise; the home is node 0.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/page.h"
#include "tests/sim/text.h"

namespace dsm::proto {

inline constexpr Place kAway{.self = 1, .home = 0, .has_bytes = true};
inline constexpr Place kHome{.self = 0, .home = 0, .has_bytes = true};
inline constexpr Place kLatchOnly{.self = 1, .home = 0, .has_bytes = false};

inline constexpr NodeSet nodes() { return 0; }
template <typename... Rest>
constexpr NodeSet nodes(int first, Rest... rest) {
  return node_bit(static_cast<NodeId>(first)) | nodes(rest...);
}
inline constexpr Word owned(NodeId owner, NodeSet set = 0) { return exclusive_word(owner, 0, set); }

inline Event fault(Access access) { return {.kind = EventKind::kFault, .access = access}; }
inline Event prefetch(Access access) { return {.kind = EventKind::kPrefetch, .access = access}; }
inline Event ahead(Access access) { return {.kind = EventKind::kAhead, .access = access}; }
inline Event release() { return {.kind = EventKind::kRelease}; }
inline Event keep_reading() { return {.kind = EventKind::kRelease, .access = Access::kRead}; }
inline Event transfer(NodeId to) { return {.kind = EventKind::kTransfer, .node = to}; }
inline Event clean() { return {.kind = EventKind::kClean}; }
inline Event used() { return {.kind = EventKind::kUsed}; }

// The chain in flight has ended: its swap found `old`, its look the latch.
inline Event done(Word old, Latch latch = {}) { return {.kind = EventKind::kDone, .old = old, .latch = latch}; }
inline Event looked(Word word, NodeSet waiters = 0) { return done(0, {word, waiters}); }

inline Event message(MessageKind kind, NodeId from, Access want = Access::kNone, NodeSet readers = 0) {
  Event event{.kind = EventKind::kMessage, .node = from};
  event.message = {.kind = kind, .want = want, .reserved = 0, .count = 1, .first = 0, .readers = readers};
  return event;
}
inline Event nudge(NodeId from, Access want) { return message(MessageKind::kNudge, from, want); }
inline Event drop(NodeId from) { return message(MessageKind::kDrop, from); }
inline Event look(NodeId from, NodeSet readers = 0) {
  return message(MessageKind::kLook, from, Access::kNone, readers);
}

struct Row {
  Event event;
  std::string actions;
  std::string page;
};

// Runs the events in order and compares. Returns the page as it is in the end.
inline Page run(Page page, Place place, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const std::string what = sim::event_text(row.event, place);
    const Actions actions = step(page, place, row.event);
    EXPECT_EQ(sim::actions_text(actions, place), row.actions) << what;
    EXPECT_EQ(sim::page_text(page, place), row.page) << what;
    EXPECT_TRUE(is_sound(page, place)) << what;
  }
  return page;
}

// Pages to start from.
inline Page reader(Word word) { return Page{.access = Access::kRead, .seen = word}; }
inline Page writer(Place place = kAway) { return Page{.access = Access::kWrite, .seen = owned(place.self)}; }
inline Page borrower(Word word) { return Page{.access = Access::kObject, .fresh = true, .seen = word}; }

}  // namespace dsm::proto
