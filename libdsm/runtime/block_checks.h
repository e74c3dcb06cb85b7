// DSM_CHECK=1: the blocks that are in use, so that a call which names none of them is told. Each node has those of its
// heap, node 0 those of the interleaved memory, too; a call about another node's block asks that node. A free is told
// where it happens, with where the block was freed before, if that is one of the last thousands. Threads of the program
// and the service thread; no signal context.
//
// 1. A block is entered after the heap has given it, and retired before the heap gets it back, so no address is entered
//    twice. A retired block may still wait for other nodes to forget its objects (Objects::freed).
// 2. A forked child enters and retires nothing: the lock may be another thread's there for ever.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "base/futex.h"
#include "base/no_memory.h"
#include "base/types.h"
#include "heap/heap.h"
#include "runtime/waits.h"

namespace dsm::runtime {

struct Node;

// What is known of an address that a call has named; travels as |value 48|node 8|state 8|.
enum class BlockState : std::uint8_t {
  kLive,    // a block in use begins there; value: its bytes, 0 if its node does not check
  kInside,  // value: so many bytes behind the begin of a block in use
  kFreed,   // no block in use has it; one that began there was freed last by `node`
  kNone,    // as kFreed, but none was that is remembered
};
struct BlockFinding {
  BlockState state = BlockState::kNone;
  NodeId node = kNoNode;
  std::uint64_t value = 0;

  static BlockFinding unpacked(std::uint64_t packed) {
    return {static_cast<BlockState>(packed & 0xff), static_cast<NodeId>(packed >> 8 & 0xff), packed >> 16};
  }
  std::uint64_t packed() const {
    return value << 16 | static_cast<std::uint64_t>(node) << 8 | static_cast<std::uint64_t>(state);
  }
};
static_assert(sizeof(NodeId) == 1);

class BlockChecks {
 public:
  explicit BlockChecks(Node& node) : node_(node) {}

  // The heap, whose blocks are entered here from now on.
  std::unique_ptr<heap::Heap> watch(std::unique_ptr<heap::Heap> heap);

  // --- of blocks that this node keeps ---
  void enter(std::uint64_t address, std::uint64_t bytes);
  // `frees`: a block that begins there is in use no more, and `by` has freed it.
  BlockFinding look(std::uint64_t address, bool frees, NodeId by);

  // --- for calls of the program about any block; each ends the program with a clear line if it must not be ---
  void check_free(const void* block, NodeId keeper);
  void check_use(const void* block, NodeId keeper, const char* call);
  // Of memory that this node keeps: whether it is in no block in use.
  bool is_free(std::uint64_t address);

 private:
  // From libc: the program's own operator new may be the global heap's.
  template <typename T>
  struct LibcMemory {
    using value_type = T;
    LibcMemory() = default;
    template <typename U>
    LibcMemory(const LibcMemory<U>&) {}
    T* allocate(std::size_t count) {
      void* const memory = std::malloc(count * sizeof(T));
      if (memory == nullptr) end_without_memory("the table of blocks in use");
      return static_cast<T*>(memory);
    }
    void deallocate(T* memory, std::size_t) { std::free(memory); }
    friend bool operator==(LibcMemory, LibcMemory) { return true; }
  };
  using Live =
      std::map<std::uint64_t, std::uint64_t, std::less<>, LibcMemory<std::pair<const std::uint64_t, std::uint64_t>>>;

  // A free that this node has done, with who called it, or one of a block that it keeps. By the address's hash.
  struct Freed {
    std::uint64_t address = 0;
    NodeId by = kNoNode;
    Frames callers{};
  };
  static constexpr unsigned kFreedBits = 12;

  BlockFinding ask(const void* block, NodeId keeper, bool frees);
  BlockFinding find(std::uint64_t address) const;
  // Fibonacci hashing: large blocks lie at round distances.
  static std::size_t hash(std::uint64_t address) { return address * 0x9e3779b97f4a7c15 >> (64 - kFreedBits); }
  Freed& freed(std::uint64_t address) { return freed_[hash(address)]; }
  const Freed& freed(std::uint64_t address) const { return freed_[hash(address)]; }
  [[noreturn]] void end(const void* block, const BlockFinding& found, const char* call);

  Node& node_;
  FutexLock lock_;  // taken with signals blocked
  Live live_;       // address -> bytes; as the next, under the lock
  std::array<Freed, std::size_t{1} << kFreedBits> freed_{};
};

}  // namespace dsm::runtime
