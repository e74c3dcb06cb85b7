// From a profile to a ranked list of what to do: for each allocation site how its pages are shared, what that costs,
// which hint belongs to which line, and what it is expected to gain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "advise/classify.h"
#include "advise/hints.h"
#include "advise/plan.h"
#include "advise/profile_file.h"
#include "advise/symbols.h"

namespace dsm::advise {

// Where the program touches a site's memory, or waits for the lock that it is used under.
struct AccessLine {
  std::vector<Frame> frames;  // the access and what it is inlined into, then the callers; the program's own only
  std::size_t hint_at = 0;    // which of the frames is the line for a hint
  insight::What what = insight::What::kReadFault;  // a write, if there was one
  double faults = 0;
  double fault_ns = 0;
};

struct Suggestion {
  std::vector<Frame> site;  // where the memory was allocated, the program's own frames; empty: not known
  std::uint64_t blocks = 0;
  std::uint64_t pages = 0;
  Pattern pattern = Pattern::kPrivate;
  double pattern_share = 0;
  NodeSet nodes = 0;
  std::uint64_t faults = 0;
  std::uint64_t waits = 0;
  std::uint64_t fault_ns = 0;
  std::uint64_t bytes = 0;       // moved
  std::uint64_t lock_waits = 0;  // for locks under which it is used
  std::uint64_t lock_wait_ns = 0;
  std::uint64_t block_bytes = 0;     // of one block on average; 0: not known
  std::vector<AccessLine> accesses;  // the dearest first
  Hint hint = Hint::kNone;
  std::size_t access = 0;                     // which of them the hint is for; with kPlacement the site is the line
  std::vector<std::size_t> more;              // others of the same kind that cost much as well, and need it too
  double now_s = 0;                           // of the job's time, by the node that loses most
  double then_s = 0;                          // predicted, with the hint
  Hint also = Hint::kNone;                    // what takes more changes to the program, and may gain more
  std::optional<insight::Serving> automatic;  // what dsmrun --auto-from does about the site
  std::uint64_t addresses = 0;                // sampled in the site's memory
  std::string address_line;                   // where most of these were touched

  std::string line() const;  // for the hint: "file.cpp:12", "" if not known
  std::vector<std::string> more_lines() const;
  std::string access_line() const;  // where the memory is touched: the same, or in what it calls there

 private:
  bool in_caller() const;
  std::string line_of(const AccessLine& access) const;
};

// A sample, with what is known of it.
struct Event {
  unsigned node;
  std::uint32_t tid;
  std::int64_t at_ns;  // from the job's start
  std::uint64_t ns;
  std::uint32_t weight;
  insight::What what;
  PageId page;
  std::uint64_t address;
  std::size_t suggestion;            // index in the report
  std::vector<std::uint32_t> stack;  // of Report::places, innermost first; the program's own frames

  double cost_ns() const { return static_cast<double>(weight) * static_cast<double>(ns); }
};

// What was counted of a node's process, by its name.
struct NodeCounts {
  std::string source;  // "hardware", "software", "none"; "" if the node was killed
  std::vector<std::pair<std::string, std::uint64_t>> values;
};

// Which addresses the program's threads touched, by sample.
struct Addresses {
  std::string source;  // "hardware", "software"; "": there are none
  std::string event;
  int error = 0;  // errno, why there are none
  std::uint64_t kept = 0, lost = 0, elsewhere = 0;
};

struct Report {
  double seconds = 0;
  unsigned nodes = 0;
  std::uint64_t faults = 0;
  std::uint64_t lost_faults = 0;  // that no record had room for
  std::uint64_t samples = 0;
  std::uint64_t stacks_ns = 0;  // that looking closely has taken, of all nodes together
  std::string engines;
  std::vector<Suggestion> suggestions;  // what gains most first
  std::vector<Event> events;            // by node, as they were recorded
  std::vector<std::string> places;      // "file.cpp:12 function", each once
  std::vector<NodeCounts> counts;       // by node
  Addresses addresses;
};

Report analyse(const ProfileFile& file, Symbols& symbols);

}  // namespace dsm::advise
