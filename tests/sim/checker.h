// The promises, checked while the simulation runs. A broken one is thrown as a Failure.
//
// Overtaking. Let N be the number of nodes and W one whose waiters bit is set and that waits. Until W is served (its bit
// goes, or it gains the page) the others gain the page at the most
//     exclusive_bound(N) = N times for writing, and
//     grant_bound(N)     = N*N - N + 1 times at all.
// Why: the owner A at the moment W's bit is set may have observed the waiters before; so A's own gain, and the one A
// hands over to, are out of W's reach. If A hands over to readers only, the page is shared: each of the N - 1 others
// joins at the most once, then one claims it. From here on every owner observes the waiters after W's bit was set,
// and hands over to the next in cyclic order. That never passes W: it goes to nodes between itself and W, each once, or
// to W. So there are at the most 1 + (N - 1) owners before W. Readers come in only together with a next writer, at the
// most N - 2 at each of the N - 1 last hand-overs: (N-1)(N-2). Before that, readers still to be let in by A (N - 2)
// and A itself, then the shared phase (N - 1) and the one that claims: 2(N-1) + 1. The sum is N*N - N + 1.
// A release or a transfer opens the race again wherever the turn was: it starts the count anew.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/model.h"

namespace dsm::sim {

enum class Check : std::uint8_t {
  kExclusion,   // one writer or many readers
  kFreshness,   // a read returns what was last written
  kLostWrite,   // at the end the home holds what was last written
  kLatchWord,   // the latch word is legal
  kWaiters,     // the waiters word has exactly the bits of those who wait, none at rest
  kBacking,     // the latch word backs every access
  kSoundness,   // proto::is_sound, one chain at a time
  kHold,        // a gained page stays until the access it was gained for has been tried
  kView,        // map, raise, lower and unmap start from the access they say
  kAssertion,   // a DSM_CHECK of the protocol
  kOvertaking,  // nobody is overtaken more often than the bound
  kStuck,       // a thread waits and nothing can move
  kFairTime,    // a fair schedule lets every access through in bounded time
  kCount
};
const char* name_of(Check check);

struct Failure {
  Check check;
  std::string text;
};

constexpr unsigned exclusive_bound(unsigned nodes) { return nodes; }
constexpr unsigned grant_bound(unsigned nodes) { return nodes * nodes - nodes + 1; }

// The most anybody was overtaken, of all pages and nodes.
struct Overtaken {
  unsigned exclusive = 0;   // until served
  unsigned grants = 0;      // until served
  unsigned per_access = 0;  // until the node gained the page, though it may have been served in vain in between
};

class Checker {
 public:
  explicit Checker(const Model& model);

  void exclusion(unsigned page) const;
  void backing(unsigned page) const;
  void stepped(NodeId node, unsigned page) const;
  void lowering(NodeId node, unsigned page) const;
  void raising(NodeId node, unsigned page) const;
  void read(NodeId node, unsigned page, const Bytes& bytes) const;
  void swapped(NodeId node, unsigned page) const;
  void adding(NodeId node, unsigned page, std::uint64_t operand);
  void gained(NodeId node, unsigned page, Access access);
  void raced(unsigned page);
  void at_rest() const;
  void released() const;

  const Overtaken& overtaken() const { return most_; }

 private:
  struct Wait {
    unsigned exclusive = 0;
    unsigned grants = 0;
    unsigned per_access = 0;
    bool open = false;  // the node has enlisted and not yet gained the page
  };
  Wait& wait(NodeId node, unsigned page) { return waits_[node * model_.options.pages + page]; }
  void overtake(NodeId waiter, unsigned page, Access access);

  const Model& model_;
  std::vector<Wait> waits_;
  Overtaken most_;
};

}  // namespace dsm::sim
