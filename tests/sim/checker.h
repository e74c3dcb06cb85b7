// The promises, checked while the simulation runs. A broken one is thrown as a Failure.
//
// Overtaking. Let N be the number of nodes and W one that waits with its waiters bit set. Until W is served (its bit
// goes, or the latch word names it) the others gain the page at the most
//     exclusive_bound(N) = N - 1 times for writing, and
//     grant_bound(N)     = (N - 1)^2 + 1 times at all.
// Why: an owner gives way on what it has observed since the word named it. So the owner at the moment W's bit is set
// may give way without knowing of W, but every later one knows. Those hand over to the next waiter in cyclic order,
// which never passes W: each of the N - 1 others owns the page at the most once before W does. Readers come in before
// an owner does: before the first of these owners up to N - 1 (the page may be shared when W's bit is set, or become so
// unknowingly, and each other node then joins once), before each of the N - 2 next up to N - 3 (not W, nor the two
// owners), before W up to N - 2. The sum with the owners is (N - 1)^2 + 1. A release or a transfer opens the race again
// wherever the turn was: it starts the count anew. A node that is served as a reader although it now wants to write
// (what is known of the waiters may be stale) waits again: `in_vain`.
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
  kHeaderWord,  // so is the header of an object
  kWaiters,     // the waiters word has exactly the bits of those who wait, none at rest
  kBacking,     // the latch word backs every access
  kSoundness,   // proto::is_sound, one chain at a time
  kHold,        // a gained page stays until the access it was gained for has been tried
  kView,        // map, raise, lower and unmap start from the access they say
  kSnapshot,    // a borrow sees an object whole, as it was at some moment of the borrow's begin
  kLostUpdate,  // who changes an object finds the last change
  kAssertion,   // a DSM_CHECK of the protocol
  kOvertaking,  // nobody is overtaken more often than the bound
  kRoom,        // a node has no more pages of others than fit
  kStuck,       // a thread waits and nothing can move
  kFairTime,    // a fair schedule lets every access through in bounded time
  kCount
};
const char* name_of(Check check);

struct Failure {
  Check check;
  std::string text;
};

constexpr unsigned exclusive_bound(unsigned nodes) { return nodes - 1; }
constexpr unsigned grant_bound(unsigned nodes) { return (nodes - 1) * (nodes - 1) + 1; }
// With object work beside the rest a round of turns can begin anew a few times: whoever owns a page in object mode next
// is decided by who swaps first. The most seen in 200 million steps was under three times either bound.
inline constexpr unsigned kTimesWithObjects = 3;

// The most anybody was overtaken, of all pages and nodes.
struct Overtaken {
  unsigned exclusive = 0;  // until served
  unsigned grants = 0;     // until served
  unsigned in_vain = 0;    // times one wait was served without gaining the page
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
  void saw(NodeId node, unsigned page, unsigned object, const Half& bytes, std::uint64_t from, std::uint64_t to) const;
  void found(NodeId node, unsigned page, unsigned object, const Half& bytes) const;
  void stands(NodeId node, unsigned page, unsigned object, const Half& bytes) const;
  void swapped(NodeId node, unsigned page) const;
  void changed_header(unsigned page, unsigned object) const;
  void adding(NodeId node, unsigned page, std::uint64_t operand);
  void gained(NodeId node, unsigned page, Access access);
  void raced(unsigned page);
  void at_rest() const;
  void released() const;

  const Overtaken& overtaken() const { return most_; }
  template <typename Archive>
  void archive(Archive& all) {
    for (Wait& wait : waits_) all(wait.exclusive), all(wait.grants), all(wait.in_vain), all(wait.open);
  }

 private:
  struct Wait {
    unsigned exclusive = 0;
    unsigned grants = 0;
    unsigned in_vain = 0;
    bool open = false;  // the node has enlisted and not yet gained the page
  };
  Wait& wait(NodeId node, unsigned page) { return waits_[node * model_.options.pages + page]; }
  bool is_truth(unsigned page, const Bytes& bytes) const;
  void objects_at_rest(unsigned page) const;
  void overtake(NodeId waiter, unsigned page, Access access);

  const Model& model_;
  std::vector<Wait> waits_;
  Overtaken most_;
};

}  // namespace dsm::sim
