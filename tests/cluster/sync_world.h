// What the programs of the synchronisation tests share: one object in the heap that all nodes find by name, and
// threads.
#pragma once

#include <dsm/dsm.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace dsm::sync_test {

inline constexpr std::size_t kPlacePage = 4096;  // what stands alone on a page

// Ends the program with a line, and by its status the job.
inline void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "node %u: FAILED: %s\n", dsm::node(), what);
  std::_Exit(1);
}

// Made by node 0, found by the others.
template <typename World, typename... Args>
World& shared_world(const char* name, Args... args) {
  if (dsm::node() == 0) {
    expect(!dsm::publish(name, dsm::make<World>(args...)), "publish");
  }
  auto* world = static_cast<World*>(dsm::lookup(name));
  expect(world != nullptr, "lookup");
  return *world;
}

// Runs act(number) on `threads` threads of this node; numbers run over all nodes' threads.
template <typename Act>
void on_threads(unsigned threads, Act act) {
  std::vector<std::thread> all;
  for (unsigned i = 0; i < threads; ++i) all.emplace_back(act, dsm::node() * threads + i);
  for (auto& thread : all) thread.join();
}

}  // namespace dsm::sync_test
