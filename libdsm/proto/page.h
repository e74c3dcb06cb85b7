// The page protocol as pure code: one Page is one node's knowledge of one page; step() takes an event and says what to
// do. No threads, clocks, memory or network here; the runtime and the simulator execute the same actions.
//
// How it works, in one paragraph: the latch word at the home (latch.h) is the only truth. To gain a page a node changes
// the word by compare-and-swap; if another node stands in the way, it sets its bit in the waiters word, looks once
// more, and asks the owner to give way. Every message means no more than "look at the word again", so a late, repeated
// or misdirected message costs time and nothing else. Whoever gives a page up chooses the next holder and writes it
// into the word. A node that has been granted a page keeps it until the access it was granted for has run once
// (`fresh`). A page that moves from node to node, each reading and then writing it, is handed to its next reader
// whole (Cox and Fowler, Stenstrom et al., ISCA 1993); who gets it so may only read it at first, which shows whether it
// writes.
//
// A thread keeps the pages that it has for object work while it waits for the next one. So that no circle of such
// threads can arise, none of them ever waits for who waits for them: while a page's members finish, `nested` object
// work still joins them. Whatever else waits for a page waits for accesses that need nothing more, or for members that
// get what they wait for.
//
// A thread may touch a page raw in which it has borrowed an object. Its node then gives up object work, but not the
// page (`keeps`): the borrow excludes others until its end. If another node has claimed the page, this one has it raw
// first, once it is the last member of the set (`mp`). A claimer that keeps the page itself says so in the word (`ob`),
// and no member goes before it: two nodes that both keep a page wait for each other's borrows for ever, which the layer
// above has to find.
//
// Invariants, for every page at any moment (the simulator checks them):
//   1. access == write  =>  the word is exclusive(self) with an empty set, or self is the one member of its set and has
//      `mp`; nobody else has any access.
//   2. access == read   =>  self is in the word's set, or is its owner; home memory is current. No objects are at work.
//      access == object =>  self is in the set of a word in object mode, or of one with `objects finish`.
//   3. At most one chain is in flight for a page of a node: phases kClaiming, kEnlisting, kLooking, kYielding,
//   kDropping.
//   4. A node with phase kWaiting has its bit in the waiters word, or is the owner that waits for the set to empty, or
//      has been granted the page and a look is on its way to it, or is a member that is to have it before its owner, or
//      has the page for object work while its program wants it raw (or the other way round), and the end of that use is
//      awaited.
//   5. access == object  =>  fresh, but for the moment between kUsed and what follows: the protocol asks before it
//      gives an object page up, since borrows may be at work. Who answers lets no new ones begin.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "proto/latch.h"

namespace dsm::proto {

enum class Phase : std::uint8_t {
  kIdle,
  kClaiming,   // compare-and-swap from a shared or own word in flight, the page's bytes read behind it
  kEnlisting,  // own waiters bit and a look at the latch in flight
  kWaiting,    // nothing in flight: somebody will ask for a look
  kLooking,    // reading the latch, and the page's bytes if they are wanted
  kYielding,   // writing back and handing over the word
  kDropping,   // taking the own bit out of the word's set
};

// A set of nodes in as few bytes as it takes.
struct PackedNodeSet {
  std::array<std::byte, kMaxNodes / 8> bytes{};  // the low ones

  PackedNodeSet& operator=(NodeSet set) {
    std::memcpy(bytes.data(), &set, bytes.size());
    return *this;
  }
  operator NodeSet() const {
    NodeSet set = 0;
    std::memcpy(&set, bytes.data(), bytes.size());
    return set;
  }
};
static_assert(std::endian::native == std::endian::little);

// One node's knowledge of one page. All zero: nothing known, no access.
struct Page {
  Access access : 2 = Access::kNone;  // what the node may do now
  Access want : 2 = Access::kNone;    // what the program waits for
  Access asked : 2 = Access::kNone;   // what the claim in flight is for
  Phase phase : 3 = Phase::kIdle;
  bool fresh : 1 = false;       // granted, and the access it was granted for may not have run yet
  bool look_asked : 1 = false;  // a message came that could not be followed yet
  bool enlisted : 1 = false;    // own bit is set in the waiters word, as far as known
  bool fetched : 1 = false;     // the page's bytes are in place although access is none
  bool reading : 1 = false;     // the look in flight reads the page's bytes too
  bool ahead : 1 = false;       // want is for an access that may never come: the grant is owed to nobody
  bool soft : 1 = false;        // and for which nobody is to be disturbed: rather give up
  bool joined : 1 = false;      // read access came by a miss here, not by giving up the right to write
  bool nested : 1 = false;      // want is object work of a thread that has other pages for that already
  bool keeps : 1 = false;       // borrows of this node's are under way in the page that it wants raw, or has so
  bool migratory : 1 = false;   // this node read the page and then wrote it, as the one before it did: so will the next
  PackedNodeSet readers{};      // nodes known to wait for no more than read access (a guess)
  PackedNodeSet borrowers{};    // nodes known to wait for object work (a guess)
  Word seen = 0;                // the latch word as last seen or made
};
static_assert(sizeof(Page) == 24);

enum class MessageKind : std::uint8_t {
  kNudge,  // to an owner: I wait for this page
  kDrop,   // to a reader: a writer has claimed this page
  kLook,   // to a waiter or claimer: it may be your turn
};

// On the wire as it is, for `count` consecutive pages.
struct PageMessage {
  MessageKind kind;
  Access want;  // kNudge: what the sender waits for
  std::uint16_t reserved;
  std::uint32_t count;
  PageId first;
  NodeSet readers;        // kLook: passes on what the sender knew of the waiters; nodes that only read ...
  NodeSet borrowers = 0;  // ... and those that want the page for objects
};
static_assert(sizeof(PageMessage) == 32);

enum class EventKind : std::uint8_t {
  kFault,     // the program needs `access`; if others of its threads wait for another kind, it has to ask again
  kPrefetch,  // it will need it; do not disturb anybody
  kAhead,  // it goes on like this, and will need it: ask for it, as for what it needs now; but not who does object work
  kFresh,  // its bytes here and at home mean nothing: own it without reading them; do not disturb anybody
  kRelease,   // it needs the page no more; with access kRead: it goes on reading, but needs to write no more. An
              // object page is given up only behind kUsed
  kTransfer,  // as kRelease, and `node` shall be the owner
  kClean,    // its bytes go home ahead of need: it stays the node's, to be read, and the next store shows. Nobody hears
             // of it
  kMessage,  // `message` from `node`
  kUsed,     // the access a fresh page was granted for has run
  kDone,     // the chain in flight has ended: `old`, `latch` hold its results
};

constexpr bool is_ahead(EventKind kind) { return kind == EventKind::kPrefetch || kind == EventKind::kAhead; }

struct Event {
  EventKind kind;
  Access access = Access::kNone;
  NodeId node = kNoNode;
  bool nested = false;  // kFault for object work, by a thread that has other pages for it already
  bool keeps = false;   // kUsed, kRelease, kTransfer: borrows go on in the page, which the node has raw, or of threads
                        // that want it raw now
  PageMessage message{};
  Word old = 0;   // kDone: the latch word before the compare-and-swap
  Latch latch{};  // kDone: as read by read_latch
};

// What to do, in this order: `lower`/`unmap`; the chain at the home, itself in the order of the fields; then `map` or
// `raise`; then the messages; then `wake`. A chain with `expects_done` ends with a kDone event; one without is fire and
// forget, but takes effect before any later chain of this page.
struct Actions {
  bool unmap = false;
  bool lower = false;

  bool write_page = false;
  std::uint64_t waiters_add = 0;  // fetch-add on the waiters word; bits are only ever added or taken away exactly
  bool swap = false;              // compare-and-swap `expected` -> `desired` on the latch word
  bool read_latch = false;        // two reads: the word first, then the waiters
  bool read_page = false;
  bool expects_done = false;
  Word expected = 0;
  Word desired = 0;

  Access map = Access::kNone;  // none -> map
  bool raise = false;          // read -> write

  NodeSet send_to = 0;
  MessageKind send_kind = MessageKind::kLook;
  Access send_want = Access::kNone;
  NodeSet send_readers = 0;
  NodeSet send_borrowers = 0;

  bool reopen = false;     // object work goes on after all: new borrows may begin
  bool wake = false;       // the program's waiting threads may try again
  bool await_use = false;  // send kUsed once the access has run: somebody waits for this page

  bool has_chain() const { return write_page || waiters_add != 0 || swap || read_latch || read_page; }
};

// What a Page does not store because it follows from its number.
struct Place {
  NodeId self;
  NodeId home;
  bool has_bytes;  // false: a latch-only page
};

// One transition. The caller serialises the steps of one page.
Actions step(Page& page, Place place, const Event& event);

// Whether the page's fields fit each other (invariants 1 to 4 as far as one node can see them).
bool is_sound(const Page& page, Place place);

}  // namespace dsm::proto
