// The simulated cluster's state: what the homes keep, what each node has of each page, and what memory should hold.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "proto/life.h"
#include "proto/page.h"
#include "tests/sim/objects.h"
#include "tests/sim/options.h"

namespace dsm::sim {

// A page's contents: two objects. Copied in halves, so that a copy taken while somebody writes shows.
using Bytes = std::array<Half, kObjectsPerPage>;

struct Home {
  proto::Latch latch{};
  Bytes bytes{};
  NodeId node = 0;
  bool has_bytes = true;
};

// The parts of one step's actions, in the order of their execution.
enum class Piece : std::uint8_t { kDown, kChain, kUp, kSend, kWake, kNone };

// One node's side of one page.
struct Copy {
  proto::Page page{};
  Access view = Access::kNone;            // what the simulated program may do; follows page.access
  Bytes bytes{Half(~0ull), Half(~0ull)};  // not used at the home, whose memory is Home::bytes
  proto::Actions todo{};
  Piece next_piece = Piece::kNone;  // kNone: nothing to do, the page is unlocked
  bool serial = false;              // no event comes while a chain is in flight, as in the runtime
  bool hint = false;                // todo is for a prefetch
  bool dead = false;                // kFresh is gaining it: its bytes mean nothing
  bool voluntary = false;           // todo comes from a release, transfer or cleaning
  bool in_flight = false;           // a chain that ends with kDone
  bool done_due = false;            // it has ended
  proto::Word old = 0;              // its results
  proto::Latch seen{};
  bool leaving = false;    // it is being put out for room
  bool await_use = false;  // kUsed is asked for
  bool owed = false;       // it was gained for somebody who has not had it yet
  unsigned readers = 0;    // a lock: threads of this node that hold it
  bool writer = false;
  bool looked = false;   // a lock that readers hold has been offered to other readers
  unsigned borrows = 0;  // object work under way
  unsigned touches = 0;  // of them, whose threads touch the page plainly, or have done so
  bool closed = false;   // no new borrows: the protocol has asked whether the page is still in use

  bool executing() const { return next_piece != Piece::kNone; }
  bool locked() const { return executing() || (serial && in_flight); }  // no event may come now
  // Borrows that keep the node from using the page otherwise. Those that touch it plainly let object work go; plain use
  // makes way for object work of the node itself, under which they go on.
  unsigned held_by() const {
    if (page.access == Access::kObject && page.want == Access::kWrite) return borrows - touches;
    return page.access != Access::kObject && page.want == Access::kObject ? 0 : borrows;
  }
  bool held() const { return writer || readers != 0 || held_now() != 0; }
  unsigned held_now() const {
    return view == Access::kObject ? borrows - touches : page.keeps && page.want == Access::kObject ? 0 : borrows;
  }
};

struct Model {
  explicit Model(const Options& given)
      : options(given),
        homes(given.pages),
        copies(given.nodes * given.pages),
        truth(given.pages),
        objects(given.pages * kObjectsPerPage),
        histories(given.pages * kObjectsPerPage),
        caches(given.nodes * given.pages * kObjectsPerPage),
        lives(given.pages * kObjectsPerPage) {}

  Copy& copy(NodeId node, unsigned page) { return copies[node * options.pages + page]; }
  const Copy& copy(NodeId node, unsigned page) const { return copies[node * options.pages + page]; }
  // By header: of objects that begin in one granule the first one's.
  unsigned header(unsigned which) const { return options.one_header ? 0 : which; }
  Object& object(unsigned page, unsigned which) { return objects[page * kObjectsPerPage + header(which)]; }
  const Object& object(unsigned page, unsigned which) const { return objects[page * kObjectsPerPage + header(which)]; }
  Life& life(unsigned page, unsigned which) { return lives[page * kObjectsPerPage + which]; }
  bool lives_now(unsigned page, unsigned which) const {
    return lives[page * kObjectsPerPage + which].stage == LifeStage::kLive;
  }
  History& history(unsigned page, unsigned which) { return histories[page * kObjectsPerPage + which]; }
  const History& history(unsigned page, unsigned which) const { return histories[page * kObjectsPerPage + which]; }
  Cached& cached(NodeId node, unsigned page, unsigned which) {
    return caches[(node * options.pages + page) * kObjectsPerPage + which];
  }
  const Cached& cached(NodeId node, unsigned page, unsigned which) const {
    return caches[(node * options.pages + page) * kObjectsPerPage + which];
  }
  Bytes& bytes(NodeId node, unsigned page) {
    return homes[page].node == node ? homes[page].bytes : copy(node, page).bytes;
  }
  bool is_lock(unsigned page) const { return options.locks && !homes[page].has_bytes; }
  proto::Place place(NodeId node, unsigned page) const { return {node, homes[page].node, homes[page].has_bytes}; }

  const Options options;
  std::vector<Home> homes;
  std::vector<Copy> copies;
  std::vector<Bytes> truth;  // the value last written to each half
  std::vector<Object> objects;
  std::vector<History> histories;
  std::vector<Cached> caches;
  std::vector<Life> lives;
};

}  // namespace dsm::sim
