// libdsm: one coherent heap over several processes (nodes), mapped at the same address on every one of them.
//
//   int main() {
//     dsm::start();                                        // joins the job that dsmrun started
//     auto* grid = static_cast<double*>(dsm::alloc_collective(bytes));
//     ... plain loads and stores, std::atomic, dsm::barrier ...
//   }                                                      // leaving main waits for the other nodes
//
// A pointer into the heap means the same on every node. Memory behaves as on one x86 multiprocessor: a page has one
// writer or many readers at any time, and an access that needs more faults and waits for it.
//
// Failures of the environment are std::error_code; no call throws. All calls are thread-safe unless they say otherwise.
// None may be made from a signal handler.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <system_error>
#include <utility>

#pragma GCC visibility push(default)
namespace dsm {

// --- start and end --------------------------------------------------------------------------------------------------

// Joins the job this process was started for by dsmrun; without dsmrun, makes a job of this one node. Options come from
// the DSM_* variables (dsmrun --help lists them). Idempotent. On failure the reason has been printed to stderr.
std::error_code start();

// Waits until every node's program has finished (called start() and then finish() or left main); then this node's
// memory may go. Called by itself at an exit with status 0; another status ends the job. Once a program has called it,
// a second start() fails, alloc() and the like give nullptr, free() does nothing, and what else needs the node ends the
// program with a clear line; borrows are not checked for it, and not valid.
void finish();

unsigned node();   // this node's number, from 0
unsigned nodes();  // how many run the program

// --- heap -----------------------------------------------------------------------------------------------------------

// Where new memory is homed. `interleaved` spreads it over all nodes in 64 KiB granules. In a job with memory nodes all
// memory is homed at these: local and on_node say whose heap keeps the block, interleaved spreads over the memory
// nodes.
struct placement {
  enum class kind : std::uint8_t { local, on_node, interleaved };
  kind where = kind::local;
  unsigned node = 0;
};
inline constexpr placement local{};
inline constexpr placement interleaved{placement::kind::interleaved, 0};
constexpr placement on_node(unsigned node) { return {placement::kind::on_node, node}; }

// At least `bytes` bytes aligned to `alignment` (a power of two, of interleaved memory at the most 64 KiB; 0 for
// malloc's own: 16, or 8 for blocks of up to 8 bytes). nullptr if memory is used up or the arguments make no sense;
// alloc(0) gives a unique pointer. The content is undefined, as malloc's.
[[nodiscard]] void* alloc(std::size_t bytes, std::size_t alignment = 0, placement where = local);
// From any node, whatever the block's home. free(nullptr) does nothing; a pointer to memory that the heap does not use
// is a diagnostic and an abort. With DSM_CHECK=1 (dsmrun --check 1) so is any that is not the begin of a block in use,
// as after a free; without it such a free need not be noticed, and breaks the heap. The same for realloc() and
// usable_size().
void free(void* block);
// As realloc: the block stays at its home. On failure nullptr, and the block is untouched.
[[nodiscard]] void* realloc(void* block, std::size_t bytes);
[[nodiscard]] std::size_t usable_size(const void* block);
// The home of an address of the global range: memory nodes are numbered from nodes() on. For any other address the
// number behind all of them, which is nodes() in a job without memory nodes.
[[nodiscard]] unsigned home(const void* address);

// Called by one thread of every node, in the same order everywhere: allocates once, zeroed, and returns the same block
// on all nodes. nullptr on all of them if memory is used up.
[[nodiscard]] void* alloc_collective(std::size_t bytes, placement where = interleaved);

template <typename T, typename... Args>
[[nodiscard]] T* make(Args&&... args) {
  struct unused {
    void* block;
    ~unused() { dsm::free(block); }
  } unused{alloc(sizeof(T), alignof(T))};
  if (unused.block == nullptr) return nullptr;
  T* const made = ::new (unused.block) T(std::forward<Args>(args)...);  // the block goes back if this throws
  unused.block = nullptr;
  return made;
}
template <typename T>
void destroy(T* object) {
  if (object == nullptr) return;
  object->~T();
  dsm::free(object);
}

// --- named roots ----------------------------------------------------------------------------------------------------

inline constexpr std::size_t max_root_name = 128;

// Makes a pointer known to all nodes by name (1 to max_root_name bytes). Publishing a name again replaces it.
std::error_code publish(std::string_view name, void* pointer);
// Waits until the name is published, at the most `timeout` (negative: for ever); nullptr then.
[[nodiscard]] void* lookup(std::string_view name, std::chrono::milliseconds timeout = std::chrono::milliseconds{-1});

// --- hints for page mode --------------------------------------------------------------------------------------------
// Advice in place: pointers stay as they are, and a wrong hint costs time, never correctness. All cover the pages that
// [address, address + bytes) touches; addresses outside the global range are std::errc::invalid_argument.

enum class access : std::uint8_t { read, write };

// Fetches the pages in batches. Those that other nodes have in use are asked for, and come while the caller goes on;
// not those in which objects are borrowed, nor any that others use or that do not fit where local memory is bounded.
std::error_code prefetch(const void* address, std::size_t bytes, access kind = access::read);
// Writes back what this node has changed and drops its copies, so that others need not ask it.
std::error_code release(const void* address, std::size_t bytes);
// As release, and makes `node` the pages' exclusive holder, so that its next access needs nobody.
std::error_code transfer(const void* address, std::size_t bytes, unsigned node);

}  // namespace dsm
#pragma GCC visibility pop

#include <dsm/sync.h>
