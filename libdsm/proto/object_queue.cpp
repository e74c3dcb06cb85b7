// Who may have an object, and the home's queue of those who have to wait for it.
#include "base/check.h"
#include "proto/object.h"

namespace dsm::proto {
namespace {

// Who is served next: who holds the object and has to write it back, since all wait for that; else the first in the
// list; else a reader behind a writer that waits for the lock: it holds up nobody as long as the object is locked.
std::uint16_t who_is_next(Header word, std::span<const Turn> line) {
  DSM_CHECK(line.size() < kGrantNobody, "{} threads wait for one object", line.size());
  const bool readers_may = !line.empty() && line[0].wish == Wish::kWrite && !is_free(word);
  std::uint16_t next = kGrantNobody;
  const auto count = static_cast<std::uint16_t>(line.size());
  for (std::uint16_t i = 0; i < count; ++i) {
    if (line[i].wish == Wish::kWriteBack) return grantable(word, line[i]) ? i : kGrantNobody;
    const bool may = i == 0 || (readers_may && line[i].wish == Wish::kRead);
    if (may && next == kGrantNobody && grantable(word, line[i])) next = i;
  }
  return next;
}

void swap(Queue& queue, QueueActions& todo, Header wanted, std::uint16_t granting) {
  queue.busy = true;
  queue.granting = granting;
  queue.wanted = wanted;
  todo.swap = true;
  todo.expected = queue.seen;
  todo.desired = wanted;
}

void decide(Queue& queue, QueueActions& todo, std::span<const Turn> line) {
  const Header word = queue.seen;
  if (hold_of(word) != Hold::kStanding) queue.recalled = false;
  const std::uint16_t next = who_is_next(word, line);
  if (next != kGrantNobody) {
    const Header granted = granted_word(word, line[next]) & ~kAsked;
    return swap(queue, todo, line.size() > 1 ? granted | kAsked : granted, next);
  }
  if (line.empty() == is_asked(word)) return swap(queue, todo, word ^ kAsked, kGrantNobody);
  if (line.empty()) {
    todo.idle = true;
  } else if (hold_of(word) == Hold::kStanding && !queue.recalled) {
    queue.recalled = true;
    todo.recall = holder_of(word);
  }
}

void look(Queue& queue, QueueActions& todo) {
  queue.busy = queue.reading = true;
  queue.again = false;
  todo.read = true;
}

void done(Queue& queue, QueueActions& todo, std::span<const Turn> line, Header old) {
  const bool worked = !queue.reading && old == queue.seen;
  queue.busy = queue.reading = false;
  if (worked && queue.granting != kGrantNobody) {
    queue.seen = queue.wanted;
    todo.grant = true;
    todo.index = queue.granting;
    todo.word = queue.wanted;
    return;
  }
  queue.seen = worked ? queue.wanted : old;
  decide(queue, todo, line);
}

}  // namespace

bool grantable(Header word, Turn turn) {
  if (is_writing(word)) return false;
  switch (turn.wish) {
    case Wish::kRead:
      if (readers_of(word) == kMostReaders) return false;
      return turn.small ? is_free(word) : hold_of(word) != Hold::kStanding;
    case Wish::kWrite:
      if (!is_free(word)) return false;
      return readers_of(word) == 0 || (!turn.small && !turn.in_place);
    case Wish::kWriteBack:
      return readers_of(word) == 0 &&
             (is_held(word, Hold::kLocked, turn.node) || is_held(word, Hold::kStanding, turn.node));
  }
  return false;
}

Header granted_word(Header word, Turn turn) {
  switch (turn.wish) {
    case Wish::kRead:
      return word + kOneReader;
    case Wish::kWrite:
      return (word & ~kHoldMask) | held_by(Hold::kLocked, turn.node) | (turn.in_place ? kWriting : 0);
    case Wish::kWriteBack:
      return (word & ~kHoldMask) | held_by(Hold::kLocked, turn.node) | kWriting;
  }
  return word;
}

QueueActions step(Queue& queue, std::span<const Turn> line, const QueueEvent& event) {
  QueueActions todo;
  switch (event.kind) {
    case QueueEventKind::kAsked:
    case QueueEventKind::kFreed:
      if (queue.busy) {
        queue.again = true;
      } else {
        look(queue, todo);
      }
      break;
    case QueueEventKind::kNext:
      decide(queue, todo, line);
      break;
    case QueueEventKind::kDone:
      DSM_CHECK(queue.busy, "an operation has ended that was not in flight");
      done(queue, todo, line, event.old);
      break;
  }
  // What happened meanwhile may have been before the word that was seen, or after it.
  if (!queue.busy && !todo.grant && queue.again) {
    if (todo.recall != kNoNode) queue.recalled = false;  // not yet
    todo = {};
    look(queue, todo);
  }
  return todo;
}

}  // namespace dsm::proto
