// What one simulated run is: everything follows from the seed, and the command line may override parts of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsm::sim {

enum class Policy : std::uint8_t {
  kUniform,     // any actor that can move, with equal chance
  kPriorities,  // PCT: the most urgent actor that can move; at `changes` random moments it becomes the least urgent
  kRoundRobin,  // in turn, but at `changes` random moments the actor whose turn it is sleeps for a long while
  kDelays,      // one actor as long as it can move, then the next; at `changes` random moments it is passed over
};

// A bug planted in the executor, to show that the checkers see it.
enum class Mutation : std::uint8_t {
  kNone,
  kSkipUnmap,           // the view stays although the page was given up
  kSkipLower,           // the view stays writable although others read
  kSkipWriteBack,       // the page's bytes are not written home
  kLateWriteBack,       // they are written only after the word was handed over
  kStaleRead,           // the page's bytes are not fetched
  kReadBeforeSwap,      // they are fetched in front of the compare-and-swap, not behind it
  kReadBeforeLatch,     // they are fetched in front of the look at the latch, not behind it
  kMapEarly,            // the view opens while the chain is still in flight
  kSplitSwap,           // compare-and-swap is a read and, later, a write
  kBlindSwap,           // it does not compare
  kIgnoreWaiters,       // the waiters word reads as empty
  kUnfairChoice,        // of the waiters only the one with the lowest number is seen
  kEnlistLate,          // the waiters bit is set after the look at the latch
  kStayEnlisted,        // a node that helped itself does not clear its waiters bit
  kLoseLook,            // a look reaches only the first of the nodes it is for
  kLoseDrop,            // readers are not told that a writer has claimed the page
  kLoseNudge,           // the owner is not told that somebody waits
  kLoseWake,            // waiting threads are not woken
  kUseEarly,            // a gained page counts as used before its access has run
  kObjectSkipMark,      // an object is written back without the mark that tells readers so
  kObjectLateBytes,     // its bytes are written behind the release of its header
  kObjectNoVersion,     // its version stays
  kObjectBlindSwap,     // a swap of its header does not compare
  kObjectSkipValidate,  // a cached copy is not compared with the header
  kObjectEarlyRead,     // its bytes are read in front of the first look at the header
  kObjectLoseFreed,     // the home is not told of a release that somebody waits for
  kObjectLoseGrant,     // the home's answer gets lost
  kObjectLoseRecall,    // a standing owner is not asked to give the object back
  kObjectKeepCopies,    // copies stay although the page has left object mode
  kObjectKeepStanding,  // what a standing owner has does not go home before
  kObjectEarlyLeave,    // the page leaves in the middle of a borrow
  kObjectOwnRaw,        // and although its thread only touches it plainly meanwhile
  kObjectNoNesting,     // a borrow within another one waits as if it were the first
  kQueueForgets,        // what happens while the home's queue looks at a header is not looked at
  kRingLoses,           // a message for which the ring has no room is lost
  kRingForgets,         // who has messages left over is not told that there is room
  kRingWaits,           // who sends waits for room, and with it all that the node has to say
  kLoseNotice,          // only one of the others hears of a node's end
  kCutEarly,            // a page's bytes are cut out before they have been written home
  kCutAnyway,           // and although somebody needs them again
  kLifeUntold,          // a standing owner does not hear that its object was freed
  kLifeBreaksLock,      // the free of a block takes the lock of whoever is at work on its header
  kLifeColourAnew,      // nobody is told to forget when the colours begin anew
  kLifeHoldsQueue,      // a home's queues stand still while a free is not answered
  kCount
};

struct Options {
  std::uint64_t seed = 0;
  unsigned nodes = 2;
  unsigned pages = 1;
  unsigned threads = 1;  // per node
  unsigned ops = 10;     // per thread

  Policy policy = Policy::kUniform;
  unsigned changes = 0;
  unsigned quantum = 1;        // kRoundRobin: moves in one turn
  unsigned lazy = 0;           // kUniform: percent of the program's moves that are put off
  unsigned cut_percent = 100;  // new accesses stop after this part of the expected length; 100: when all are made

  // Out of weight_sum() draws, so many are ...
  struct Weights {
    unsigned read = 1, write = 1, modify = 1, borrow = 0, prefetch = 0, fresh = 0, keep_reading = 0, release = 0,
             transfer = 0, clean = 0, ahead = 0;
  } weights;
  unsigned latch_only = 0;  // percent of the pages that have no bytes

  unsigned inside = 0;        // percent of the mutable borrows of page 0 in which one node touches the page plainly
  unsigned nested = 0;        // percent of the borrows that begin within another one
  bool small_objects = true;  // objects are read by copying, at their home too
  bool locks = false;         // pages without bytes are locks: an access lasts, and the node keeps what nobody asks for
  bool serial = false;        // a page takes no event while its chain is in flight
  bool fine = false;          // other actors move between the actions of one step
  bool split_latch = false;   // the latch's two words are read one after the other
  bool duplicates = false;    // messages arrive again, later, out of order
  bool strays = false;        // messages arrive that nobody has sent
  bool early_use = false;     // kUsed may come before the access has run

  unsigned slow_nodes = 0;    // percent of the nodes of which nine moves in ten are put off
  unsigned slow_links = 0;    // the same of the links between two nodes; each keeps its order
  unsigned crash = 0;         // percent of the run's length after which a node dies; 0: none does
  bool deaf = false;          // the others hear of it only when they cannot go on, or are done
  bool memory_dies = false;   // with a node its memory, as behind a network card; else it stays, as on one host
  unsigned room = 0;          // pages of others that fit into a node's memory; 0: all
  unsigned ring = 0;          // messages between two nodes that fit, the rest waits at the sender; 0: all fit
  unsigned lives = 0;         // percent of the borrows in whose place the object is freed
  bool one_header = false;    // the objects of a page begin in one granule
  bool late_answers = false;  // the home's queue hears later what its operation on a header has found

  Mutation mutation = Mutation::kNone;

  unsigned weight_sum() const {
    return weights.read + weights.write + weights.modify + weights.borrow + weights.prefetch + weights.fresh +
           weights.keep_reading + weights.release + weights.transfer + weights.clean + weights.ahead;
  }
};

Options options_of(std::uint64_t seed);

// What a run may do without, by name; shrinking tries it.
struct Feature {
  const char* name;
  void (*leave_out)(Options& options);
};
const std::vector<Feature>& features();

// What the command line, or shrinking, fixes.
struct Overrides {
  std::optional<unsigned> nodes = {}, pages = {}, threads = {}, ops = {}, borrow = {};
  bool plain = false;  // no slow nodes or links, crashes or limits: what a seed meant before there were any
  Mutation mutation = Mutation::kNone;
  std::uint64_t chance = 0;               // another course of the same seed; 0: the seed's own
  std::vector<std::string> without = {};  // names of features
};
Options options_of(std::uint64_t seed, const Overrides& overrides);

std::string describe(const Options& options);
std::string command_line(std::uint64_t seed, const Overrides& overrides);  // "--seed 7 --nodes 2 ..."

const char* name_of(Policy policy);
const char* name_of(Mutation mutation);
std::optional<Mutation> mutation_named(std::string_view name);

}  // namespace dsm::sim
