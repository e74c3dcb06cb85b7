// The object protocol as pure code: a Borrow is one borrow of one object from its begin to the end of its release, a
// Queue is the home's list of those who have to wait for the object. step() takes an event and says what to do. No
// threads, clocks, memory or network here; the runtime and the simulator execute the same actions.
//
// How it works, in one paragraph: the header word at the home (header.h) is the only truth. Who reads takes a snapshot
// {header, bytes, header} and holds nobody off; who has one compares its version with the header. Who knows a header of
// any time before, nobody writing, needs no first look: no version comes back, so what has that one behind the bytes
// had it all the while. Who changes the object locks the header, works on a copy (at the home: in place), and writes
// back between two marks that also free the header and raise the version; no copy anywhere is told. Who finds no way
// asks the home, whose queue grants by compare-and-swap; the last to release sees `asked` and tells the home. All this
// holds while the object's pages are in object mode; keeping them in it is the caller's part, as is that one node runs
// one kWrite or give-back at a time. Who waits in the queue to begin needs no pages until it is granted.
//
// Invariants, for every object at any moment (the simulator checks them):
//   1. At most one Borrow has changed or may change the object: outcome kLocked, or a standing copy; the header then
//      says locked or standing, with that node.
//   2. writing  =>  readers == 0 and the hold is locked; standing  =>  readers == 0.
//   3. A snapshot's bytes are those of its version.
//   4. Somebody waits in the home's queue and nothing of the queue is in flight  =>  asked is set, or a recall is due.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "proto/header.h"

namespace dsm::proto {

enum class Wish : std::uint8_t {
  kRead,       // see the object whole
  kWrite,      // change it
  kWriteBack,  // queue only: the holder's bytes have to wait for readers in place
};

// Where a borrow takes place; the same for the whole of it.
struct ObjectPlace {
  NodeId self;
  NodeId home;
  bool small;              // read by copying, at the home too; every node judges it by the object's size alone
  bool scattered = false;  // its bytes have several homes (the header's is `home`): nobody works with it in place
};

// One who waits in the home's queue.
struct Turn {
  NodeId node;
  Wish wish;
  bool small;
  bool in_place;  // kRead, kWrite: it will work with the home's bytes
};

enum class BorrowStage : std::uint8_t {
  kIdle,        // not begun, or over
  kValidating,  // reading the header: is the copy current?
  kReading,     // {header, bytes, header} in flight, or {bytes, header} if a version is known
  kMarking,     // at the home, large: putting in a reader mark
  kLocking,     // swapping in the lock, the bytes read behind it if the copy is stale
  kQueued,      // nothing in flight: the home will grant
  kFetching,    // granted: the bytes in flight, and behind them a reader mark's end
  kHeld,        // outcome kLocked or kMarked: the program works with the object
  kOpening,     // large or standing: swapping in `writing`
  kSettling,    // writing back, and freeing the header
  kReturning,   // swapping a clean standing hold out
};

enum class Outcome : std::uint8_t {
  kNone,      // goes on
  kHit,       // kRead: the copy is current (Borrow::word may say that this node is the standing owner)
  kSnapshot,  // kRead: the bytes have been fetched; Borrow::word tells their version (and so does it here)
  kMarked,    // kRead at the home, large: read in place, kRelease is due
  kLocked,    // kWrite: the copy is current (at the home: work in place), kRelease is due
  kStanding,  // kWrite: this node is the standing owner, and the copy is current. Nothing to release: from now on the
              // node borrows from itself, until kGiveBack
  kReleased,  // Borrow::word: as it left the header. If the bytes were changed the copy, too, is of that version
  kDropped,   // kGiveBack: the object was not this node's to give; its copy is worth nothing
};

struct Borrow {
  BorrowStage stage = BorrowStage::kIdle;
  Wish wish = Wish::kRead;
  bool have = false;       // a copy is there, of the version of `copy`
  bool releasing = false;  // kRelease has come
  bool changed = false;    // release: there are bytes to write back
  bool give_back = false;  // of a standing copy
  bool keep = false;       // give_back: the object is still being worked with
  bool marked = false;     // a reader mark of this borrow is in the header
  bool lost = false;       // the copy was lost while it was queued
  std::uint8_t tries = 0;  // snapshots that were torn
  NodeId to = kNoNode;     // release: who is to be the standing owner
  Header copy = 0;         // header of the copy, at rest
  Header word = 0;         // the header as last seen or made
  bool knows = false;      // the header was `known`, nobody writing, at some time before: kReading needs no first look
  Header known = 0;
};

enum class BorrowEventKind : std::uint8_t {
  kBorrow,    // `wish`; `have`, `copy`: what is cached; `guess`: the header, if the caller has an idea; with `knows`
              // it had the version of `known` at some time before, nobody writing
  kRelease,   // `changed`; `to`: the standing owner from now on, else kNoNode
  kGiveBack,  // from kIdle: a standing copy goes home: `changed`, `have`, `copy`; with `keep` the object itself does
              // not: it is locked for this node then. Never waits
  kGranted,   // the home's answer: `word`, as its queue left it. `have`: the pages were in object mode all along, so
              // that a copy is still one; in any case they are now
  kDone,      // the chain in flight has ended: its results
};

struct BorrowEvent {
  BorrowEventKind kind;
  Wish wish = Wish::kRead;
  bool have = false;
  bool changed = false;
  bool keep = false;
  NodeId to = kNoNode;
  Header copy = 0;
  Header guess = 0;
  bool knows = false;
  Header known = 0;
  Header word = 0;     // kGranted
  Header before = 0;   // kDone: read by read_before
  Header old = 0;      // kDone: what the swap found
  Header after = 0;    // kDone: read by read_after
  Header settled = 0;  // kDone: what add_last found
};

// What to do, in this order: the chain at the home, itself in the order of the fields, each its own one-sided
// operation; then the message; then wait or be done. A chain always ends with a kDone event.
struct BorrowActions {
  bool read_before = false;     // the header
  bool swap = false;            // compare-and-swap expected -> desired on the header
  std::uint64_t add_first = 0;  // fetch-and-add on the header; 0: none
  bool write_bytes = false;     // the copy to the home
  bool read_bytes = false;      // the home's bytes into the copy
  bool read_after = false;      // the header
  std::uint64_t add_last = 0;   // fetch-and-add on the header; 0: none
  Header expected = 0;
  Header desired = 0;

  bool tell_freed = false;  // message to the home: somebody waits, and the object has changed hands
  bool ask = false;         // request to the home: put `turn` in the queue and answer when granted
  Turn turn{};

  Outcome outcome = Outcome::kNone;

  bool has_chain() const {
    return read_before || swap || add_first != 0 || write_bytes || read_bytes || read_after || add_last != 0;
  }
};

// One transition. The caller serialises the steps of one borrow.
BorrowActions step(Borrow& borrow, ObjectPlace place, const BorrowEvent& event);

// --- the home's queue -----------------------------------------------------------------------------------------------

// What the home keeps of an object for which somebody waits, or has waited a moment ago. The list of turns is the
// caller's: a new one comes to its end.
struct Queue {
  bool busy = false;           // an operation on the header is in flight
  bool reading = false;        // it is no more than a look
  bool again = false;          // something happened meanwhile: look once more
  bool recalled = false;       // the standing owner of `seen` has been told
  std::uint16_t granting = 0;  // whose swap is in flight; kGrantNobody: the swap only changes `asked`
  Header seen = 0;
  Header wanted = 0;  // what the swap in flight puts in
};
inline constexpr std::uint16_t kGrantNobody = 0xffff;

enum class QueueEventKind : std::uint8_t {
  kAsked,  // a turn has come into the list
  kFreed,  // message: the object has changed hands
  kNext,   // the turn that was granted is out of the list
  kDone,   // the operation in flight has ended: `old`
};

struct QueueEvent {
  QueueEventKind kind;
  Header old = 0;
};

// In this order: one operation on the header (ends with kDone), or the grant, or the recall.
struct QueueActions {
  bool read = false;
  bool swap = false;
  Header expected = 0;
  Header desired = 0;

  bool grant = false;  // answer turn number `index` with `word`, take it out of the list, and step kNext
  std::uint16_t index = 0;
  Header word = 0;

  NodeId recall = kNoNode;  // message to the standing owner: give the object back
  bool idle = false;        // nobody waits: the Queue may be forgotten
};

QueueActions step(Queue& queue, std::span<const Turn> line, const QueueEvent& event);

// Whether the word lets `turn` have what it wishes, apart from `asked`; and the word when it has it.
bool grantable(Header word, Turn turn);
Header granted_word(Header word, Turn turn);

}  // namespace dsm::proto
