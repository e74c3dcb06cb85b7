// What the transport contract's tests run on: a world makes transports of one kind for a number of nodes, and Nodes
// runs a body in a process of its own for each of them.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "base/tsan.h"
#include "net/transport.h"

namespace dsm::net::test {

inline constexpr std::uint64_t kMemoryBytes = 1 << 20;
inline constexpr std::uint64_t kMetaBytes = 1 << 16;

class World {
 public:
  virtual ~World() = default;
  virtual std::unique_ptr<Transport> join(NodeId self) = 0;  // in the node's process
};

struct WorldKind {
  std::string name;
  std::function<std::unique_ptr<World>(unsigned nodes)> make;
  std::uint32_t slowness = 1;  // long tests do that many times fewer rounds
};
void PrintTo(const WorldKind& kind, std::ostream* out);  // GoogleTest's name for it
const std::vector<WorldKind>& world_kinds();
// A world of shm transports with that emulation.
std::unique_ptr<World> make_shm_world(unsigned nodes, const std::string& emulate);

// The suite's fixture: one run for each kind of world.
class TransportTest : public ::testing::TestWithParam<WorldKind> {
 protected:
  std::unique_ptr<World> make_world(unsigned nodes) const { return GetParam().make(nodes); }
  std::uint32_t rounds(std::uint32_t on_a_fast_one) const { return on_a_fast_one / GetParam().slowness; }
};
#define DSM_ON_EVERY_WORLD(suite)                                                               \
  INSTANTIATE_TEST_SUITE_P(Worlds, suite, ::testing::ValuesIn(::dsm::net::test::world_kinds()), \
                           [](const auto& kind) { return kind.param.name; })

// A zeroed T that forked processes share.
template <typename T>
class Shared {
 public:
  Shared() : memory_(mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    new (memory_) T();
  }
  ~Shared() { munmap(memory_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return static_cast<T*>(memory_); }
  T& operator*() const { return *static_cast<T*>(memory_); }

 private:
  void* memory_;
};

// Lets `count` threads of any processes through together, over and over.
class Meeting {
 public:
  void meet(std::uint32_t count);

 private:
  std::atomic<std::uint32_t> arrived_{0};
  std::atomic<std::uint32_t> round_{0};
};

// Node processes, forked. A body's failed expectations make its process fail, and join() reports it. Nobody leaves
// before all bodies have ended. A process that hangs is ended by its alarm.
class Nodes {
 public:
  using Body = std::function<void(Transport&)>;

  Nodes(World& world, unsigned count, const Body& body);
  ~Nodes();
  Nodes(const Nodes&) = delete;
  Nodes& operator=(const Nodes&) = delete;

  void stop(NodeId node);  // SIGSTOP, and waits until it has stopped
  void resume(NodeId node);
  void join();

 private:
  std::vector<pid_t> pids_;  // 0: reaped
  Shared<Meeting> end_;
};

inline void run_nodes(World& world, unsigned count, const Nodes::Body& body) { Nodes(world, count, body).join(); }

// Waits until *word == value (shared memory).
void await(const std::atomic<std::uint32_t>& word, std::uint32_t value);
void announce(std::atomic<std::uint32_t>& word, std::uint32_t value);

// Calls of operator new so far, for programs that are linked with transport_allocations.cpp.
std::uint64_t allocation_count();

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <typename T>
T value_of(std::span<const std::byte> bytes) {
  T value{};
  EXPECT_EQ(bytes.size(), sizeof value);
  std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof value), reinterpret_cast<std::byte*>(&value));
  return value;
}

// As a service thread: handles messages and sleeps until `done`.
template <typename Done>
void serve(Transport& transport, const MessageSink& sink, Done done) {
  while (!done()) {
    if (transport.poll(sink, 64) == 0) transport.wait(Waiter::kService, -1);
  }
}

// A chain of one operation; gives its `old`.
std::uint64_t run_one(Transport& transport, NodeId node, Op op);

}  // namespace dsm::net::test
