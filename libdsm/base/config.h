// One table of options. It makes the DSM_* variables, the lines of `dsmrun --help` and the start-up dump.
// Read once at start, then constant. Options marked `same` must be equal on all nodes of a job.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace dsm {

// X(type, field, default, minimum, maximum, same, help); type is text, number (plain) or bytes (accepts 64K, 2M, 1G).
#define DSM_OPTIONS(X)                                                                                                \
  X(text, engine, "auto", 0, 0, false, "fault engine: auto, uffd-inline, uffd-thread or sigsegv")                     \
  X(text, transport, "shm", 0, 0, true, "transport between nodes: shm, or verbs (RDMA)")                              \
  X(text, emulate, "", 0, 0, true, "add a network's cost to shm: rdma, tcp, or latency_ns:bytes_per_us:message_ns")   \
  X(text, rdma_device, "", 0, 0, false, "verbs: device, or several with commas for the nodes in turn; empty: any")    \
  X(number, rdma_port, "0", 0, 255, false, "verbs: port of the device; 0: the first active one")                      \
  X(number, rdma_gid, "256", 0, 256, false, "verbs: index of the GID; 256: RoCE v2 and IPv4 if there is one")         \
  X(number, rdma_dead_ms, "2000", 10, 60000, true, "verbs: milliseconds after which a silent node counts as dead")    \
  X(bytes, base, "0x200000000000", 1 << 21, (std::int64_t{1} << 47) - (1 << 21), true, "address of the global range") \
  X(bytes, slice, "64G", 1 << 21, std::int64_t{1} << 42, true, "address space of each node's slice")                  \
  X(bytes, interleaved, "64G", 1 << 21, std::int64_t{1} << 42, true, "address space of the interleaved region")       \
  X(number, memory_nodes, "0", 0, 47, true, "nodes beside the program's that lend memory and run no program")         \
  X(bytes, local_memory, "0", 0, std::int64_t{1} << 42, false, "memory the heap uses here; the rest is lent; 0: all") \
  X(bytes, memory_per_node, "0", 0, std::int64_t{1} << 42, true, "memory each memory node lends; 0: all its slice")   \
  X(number, evict_ahead, "1", 1, 50, false, "percent of the local memory that is kept free, ahead of need")           \
  X(number, readahead, "64", 0, 512, false,                                                                           \
    "pages fetched, or asked for, at the most by one sequential miss; 0 turns it off")                                \
  X(number, hold_us, "10", 0, 1000000, false, "microseconds a node may keep a page it has just gained")               \
  X(number, hold_max_ms, "20", 1, 10000, false, "as hold_us, while the thread that faulted has not run yet")          \
  X(number, spin_us, "5", 0, 1000, false, "microseconds a waiting thread spins before it blocks")                     \
  X(number, spin_max_us, "40", 0, 1000, false, "as spin_us, if the wait before was shorter than this")                \
  X(number, one_store, "1", 0, 1, false,                                                                              \
    "1: the one store that a page is gained for by turns is made by the library, and the page given on; 0: not")      \
  X(number, arenas, "0", 0, 256, false, "heap arenas of a node; 0 means one per CPU")                                 \
  X(number, children, "0", 0, 1, false, "preload: 1 puts programs that the program starts on the library, too")       \
  X(number, mmap_kib, "0", 0, 1 << 30, false,                                                                         \
    "preload: private anonymous mmaps from so many KiB on are global; 0: none")                                       \
  X(bytes, object_cache, "256M", 1 << 21, std::int64_t{1} << 40, false, "memory for copies of other nodes' objects")  \
  X(number, stand_after, "2", 0, 1 << 15, false,                                                                      \
    "over a network: changes of an object in a row, all of this node, until it stays here; 0: never")                 \
  X(text, profile, "", 0, 0, false, "file that gets a profile of the job, for dsm-advise; empty: none")               \
  X(text, sites, "", 0, 0, false, "allocation sites to be served otherwise: what --auto-from makes of a profile")     \
  X(bytes, apart_memory, "256M", 1 << 21, std::int64_t{1} << 42, false,                                               \
    "memory for blocks that are served on pages of their own (--auto-from)")                                          \
  X(number, keep_us, "0", 0, 1000000, false, "microseconds a contended page is kept while the program changes it")    \
  X(number, log, "1", 0, 3, false, "log level: 0 errors, 1 warnings, 2 information, 3 debugging")                     \
  X(number, check, "0", 0, 1, false,                                                                                  \
    "1 turns on the costly checks: of borrows and of dsm::free (of no malloc and free under --preload)")              \
  X(number, finish_ms, "0", 0, INT32_MAX, false, "milliseconds a finished node waits for the others; 0 for ever")

struct Config {
  using text = std::string;
  using number = std::int64_t;
  using bytes = std::int64_t;
#define DSM_FIELD(type, field, def, min, max, same, help) type field{};
  DSM_OPTIONS(DSM_FIELD)
#undef DSM_FIELD
};

inline constexpr std::int64_t kLeastLocalMemory = std::int64_t{4} << 20;

struct OptionInfo {
  const char* name;      // "engine"; the variable is DSM_ENGINE, dsmrun's option --engine
  const char* variable;  // "DSM_ENGINE"
  const char* default_text;
  bool same;
  const char* help;
};
const std::vector<OptionInfo>& option_table();

// Reads the DSM_* variables. The error of a bad one has already been logged with its name, value and what is allowed.
Result<Config> read_config();
// Checks one value as read_config would; "" when good, else a sentence that says what is allowed.
std::string complain(const std::string& name, const std::string& value);
// The options' values, one "name=value" a line.
std::string dump(const Config& config);
// "64M" -> 67108864; nothing for what is no size.
Result<std::int64_t> parse_bytes(const std::string& text);

}  // namespace dsm
