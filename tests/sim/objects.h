// The objects of the simulated pages: each half of a page is one. What their homes keep, what each node has of them,
// and which values they had, when.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "proto/object.h"

namespace dsm::sim {

inline constexpr unsigned kObjectsPerPage = 2;
inline constexpr unsigned kNobodyHolds = ~0u;
inline constexpr unsigned kGiver = ~0u - 1;    // the node itself gives the object back
inline constexpr unsigned kForFree = ~0u - 2;  // no thread waits for the answer, but a free

// The content of an object. Copied word by word, so that a copy taken while somebody writes shows.
struct Half {
  std::uint64_t a = 0, b = 0;
  Half() = default;
  Half(std::uint64_t both) : a(both), b(both) {}
  bool operator==(const Half&) const = default;
};

// At the home.
struct Object {
  struct Asker {
    NodeId node;
    unsigned thread;
  };
  proto::Header header = 0;
  proto::Queue queue{};
  proto::QueueActions todo{};  // an operation of the queue on the header that is to be done
  bool answered = false;       // it has been done, and the queue does not know yet
  proto::Header answer = 0;    // what it found
  std::vector<proto::Turn> turns;
  std::vector<Asker> askers;
};

// One borrow, or one giving back: what its chain in flight works on and has found.
struct Work {
  proto::Borrow borrow{};
  Half bytes{};  // the copy
  proto::BorrowEvent results{};
  bool done_due = false;
  bool flying = false;
  std::uint64_t began = 0;
  std::uint64_t pending = 0;  // the value that is on its way home
  bool worthless = false;     // what is being fetched is not to be kept: the node was told to forget it
};

enum class ObjectMessage : std::uint8_t { kAsk, kGrant, kFreed, kRecall, kFree, kForget, kForgotten };

struct ObjectLetter {
  ObjectMessage kind;
  NodeId from;
  std::uint8_t page, object;
  unsigned thread;     // kAsk, kGrant; kForget, kForgotten: who waits for the answer, or kForFree
  proto::Turn turn;    // kAsk
  proto::Header word;  // kGrant
};

enum class LifeStage : std::uint8_t {
  kLive,
  kEnding,  // it has been freed, and its home sees to that
  kDead,    // the block may be used again
  kNew,     // it is being used again: the first change of an object of which nobody else knows
};

// An object as the program sees it, and its block.
struct Life {
  LifeStage stage = LifeStage::kLive;
  unsigned users = 0;     // threads that work with it, or are about to
  bool owned = false;     // named by an owned pointer, of this colour; its block is never used otherwise
  bool changing = false;  // owned: who changes it is alone
  std::uint16_t colour = 0;
  bool looked = false;  // kEnding: at the latch, and what it said
  bool no_copies = false;
  NodeSet awaited = 0;  // kEnding: who has to forget it
};

// On one node.
struct Cached {
  bool have = false;
  proto::Header word = 0;
  Half bytes{};
  bool standing = false;
  bool dirty = false;
  unsigned holder = kNobodyHolds;       // the thread that changes the object, or is about to; kGiver
  unsigned holder_then = kNobodyHolds;  // kGiver: who holds it after that
  bool working = false;  // the holder has begun with what stands here: it is not given back before the borrow's end
  bool recalled = false;
  Work giving{};
  std::vector<ObjectLetter> forgets{};  // that came while it is being given back
};

// The values an object had, in their order: from when on each could be seen, and since when none before it may be.
struct History {
  struct Value {
    std::uint64_t value;
    std::uint64_t from;
    std::uint64_t since;
  };
  std::vector<Value> values{{0, 0, 0}};

  std::uint64_t last() const { return values.back().value; }
  void changed(std::uint64_t value, std::uint64_t now) { values.push_back({value, now, now}); }
  void changing(std::uint64_t value, std::uint64_t now) { values.push_back({value, now, ~0ull}); }
  void settled(std::uint64_t value, std::uint64_t now) {
    for (std::size_t i = values.size(); i-- > 0;) {
      if (values[i].value == value) {
        values[i].since = now;
        return;
      }
    }
  }
  // Somebody has seen it and gone: who begins to look from now on sees nothing older. With that, and with changes that
  // each find the one before, a history is linearizable: a change's moment is anywhere between `from` and `since`.
  void seen(std::uint64_t value, std::uint64_t now) {
    for (std::size_t i = values.size(); i-- > 0;) {
      if (values[i].value == value) {
        values[i].since = values[i].since < now ? values[i].since : now;
        return;
      }
    }
  }
  // Whether somebody who looked from `begin` to `end` may have seen it.
  bool may_be_seen(std::uint64_t value, std::uint64_t begin, std::uint64_t end) const {
    for (std::size_t i = values.size(); i-- > 0;) {
      if (values[i].value == value) return values[i].from <= end;
      if (values[i].since < begin) return false;  // it was there already
    }
    return false;
  }
};

}  // namespace dsm::sim
