// The profile of a job, as it lies in its file: a head and a part for each node, of fixed size and sparse, so that what
// is recorded is bounded and nothing has to be written at the end: a job that is killed leaves what it had. The nodes
// map their parts (recorder.h); dsm-advise reads them (advise/).
//
// 1. All zero is "nothing yet". Every field that grows is a relaxed atomic: many threads add, in signal context too.
// 2. A slot of a table belongs to the key that was swapped into it while it was 0, for good.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/types.h"

namespace dsm::insight {

inline constexpr char kProfileMagic[8] = {'d', 's', 'm', 'p', 'r', 'o', 'f', '3'};
inline constexpr std::size_t kPageSlots = std::size_t{1} << 16;
inline constexpr std::size_t kSamples = std::size_t{1} << 16;
inline constexpr std::size_t kBlocks = std::size_t{1} << 16;
inline constexpr std::size_t kSites = std::size_t{1} << 12;
inline constexpr std::size_t kDepth = 8;            // return addresses of a sample or site
inline constexpr std::size_t kMapsBytes = 1 << 18;  // of /proc/self/maps
inline constexpr std::size_t kAddresses = std::size_t{1} << 15;
inline constexpr std::size_t kModules = 256;
inline constexpr std::size_t kMostCounted = 12;

using Counter = std::atomic<std::uint64_t>;

// What one node did with one page.
struct alignas(128) PageRecord {
  Counter key;         // page + 1
  Counter reads;       // faults
  Counter writes;      // faults
  Counter fault_ns;    // all of them, waits included
  Counter waits;       // faults for which another node had to give way
  Counter wait_ns;     // part of fault_ns
  Counter wait_since;  // of a thread that the engine holds; 0: none waits
  Counter invalidated;
  Counter lowered;
  Counter fetched;
  Counter written_back;
  Counter streamed;          // faults that went on where one before had left off
  Counter locked;            // faults by threads that held a dsm::mutex
  Counter granules_read;     // one bit for each 64 bytes in which a read faulted
  Counter granules_written;  // likewise
  Counter lock;              // the page of the lock, plus 1, that a thread held whose fault came last
};
static_assert(sizeof(PageRecord) == 128);

enum class What : std::uint8_t { kReadFault, kWriteFault, kLockWait };

// A fault, or a wait for a lock, one of `weight`.
struct Sample {
  std::int64_t at_ns;  // monotonic
  PageId page;
  std::uint64_t fault_ns;
  std::uint32_t tid;
  std::uint32_t weight;  // 0: the slot was taken and not filled yet
  std::uint16_t offset;  // in the page
  What what;
  std::uint8_t depth;
  std::uint32_t zero;
  std::uint64_t stack[kDepth];  // innermost first; the first is the access itself, the rest return addresses.
                                // Of a lock all are return addresses
};

// A block of the global heap that the program got, one of `weight` of its size and less.
struct BlockRecord {
  std::uint64_t begin;
  std::uint64_t bytes;
  std::uint32_t site;  // index into the sites, plus 1; 0: the slot was not filled
  std::uint32_t weight;
};

struct SiteRecord {
  Counter key;  // hash of the call and the stack
  std::uint64_t
      call;  // where the program's call of the allocator returns to: the innermost frame that is the program's
  std::uint64_t depth;
  std::uint64_t stack[kDepth];  // return addresses, innermost first
};

// A module of the process at its end, by which a call is the same in another run.
struct ModuleRecord {
  std::uint64_t begin, end, bias;  // as dsm::Module
  char id[48];                     // "": it was linked without
  char name[64];                   // without folders
};

// An access whose address the processor, or the kernel, has noted (address_samples.h).
struct AddressSample {
  std::int64_t at_ns;  // monotonic
  std::uint64_t address;
  std::uint64_t code;     // the instruction
  std::uint32_t tid;      // 0: the slot was taken and not filled yet
  std::uint32_t latency;  // cycles, where the processor tells it
};

// What the processor, or the kernel, has counted of a node from its start to its end.
struct Counted {
  char name[32];  // "": the slot is not used
  Counter value;
};

struct NodePart {
  std::int32_t pid;  // 0: the node never joined
  std::uint32_t zero;
  std::int64_t begin_ns;  // monotonic, the same clock on all nodes of a host
  Counter end_ns;         // 0: the node was killed
  char engine[16];
  Counter faults;
  Counter faults_without_slot;  // the page table was full
  Counter lock_waits;
  Counter samples;  // taken; beyond kSamples they were not kept
  Counter allocations;
  Counter blocks;                                // as samples
  Counter rate_period, rate_window, rate_taken;  // how rare samples are at present: Rate in recorder.cpp
  Counter stacks_ns;                             // what taking samples and sites has taken, all threads together
  Counter maps_bytes;
  char counters_source[16];  // "hardware", "software": where `counted` is from
  Counted counted[kMostCounted];
  char address_source[16];      // "hardware", "software"; "": no addresses are sampled
  char address_event[48];       // by its name
  Counter address_errno;        // why there are none
  Counter addresses;            // of global memory; beyond kAddresses they were not kept
  Counter addresses_lost;       // the kernel had no room for
  Counter addresses_elsewhere;  // of other memory: not kept
  Counter threads_unsampled;    // there was no room for their rings
  AddressSample address[kAddresses];
  ModuleRecord module[kModules];  // the program first
  char maps[kMapsBytes];          // modules of the process, as /proc/self/maps shows them
  PageRecord page[kPageSlots];
  Sample sample[kSamples];
  BlockRecord block[kBlocks];
  SiteRecord site[kSites];
};

struct alignas(4096) FileHead {
  char magic[8];
  std::uint32_t nodes;
  std::uint32_t memory_nodes;
  std::uint64_t part_bytes;  // from one node's part to the next; the first stands behind this head
  std::uint64_t base;
  std::uint64_t slice_bytes;
  std::uint64_t interleaved_bytes;
  char emulate[64];  // the network that was emulated
};
static_assert(sizeof(FileHead) == 4096);

inline constexpr std::uint64_t kPartBytes = up_to_page(sizeof(NodePart));

// How rare samples become so that they never fill their table: one in so many, when `taken` have been taken. A
// sixteenth of the table later half as many are, and so on.
constexpr std::uint32_t sampling_period(std::uint64_t taken, std::size_t room) {
  const std::uint64_t step = taken / (room / 16);
  return std::uint32_t{1} << (step < 30 ? step : 30);
}

// And so that they take little time. Time goes in windows; each may take kWindowSamples, after which one in twice as
// many is taken; a window that has taken few makes the next take one in half as many, and one that has taken none, as
// after a burst, one in an eighth.
inline constexpr std::int64_t kWindowNs = 20'000'000;
inline constexpr std::uint64_t kWindowSamples = 6;
constexpr std::uint64_t period_after(std::uint64_t period, std::uint64_t taken_in_window) {
  const std::uint64_t by = taken_in_window == 0 ? 8 : taken_in_window * 2 < kWindowSamples ? 2 : 1;
  return period > by ? period / by : 1;
}

// Of blocks of less than a page, when so many blocks have been taken: the first are all kept, so that a program's few
// objects are known; then ever fewer, since a program that allocates without end must not feel it.
inline constexpr std::uint64_t kAllBlocks = 1024;
constexpr std::uint32_t small_block_period(std::uint64_t taken) {
  std::uint32_t period = 1;
  for (std::uint64_t reached = kAllBlocks; taken >= reached && period < (1U << 20); reached += kAllBlocks) period *= 2;
  return period;
}

}  // namespace dsm::insight
