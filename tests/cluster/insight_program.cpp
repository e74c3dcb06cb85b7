// Shares memory in the way that its argument names: what dsm-advise has to find. Two nodes; each step of one is seen by
// the other before the next, so that the pattern does not depend on who is fast.
#include <dsm/dsm.h>
#include <dsm/sync.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace {

constexpr std::size_t kWords = 512;  // a page
constexpr int kRounds = 200;
constexpr std::size_t kStreamPages = 8192;

struct World {
  dsm::barrier barrier{2};
  dsm::mutex mutex;
};

using Words = volatile std::uint64_t*;

void read(Words words, std::size_t at) { static_cast<void>(words[at]); }
void change(Words words, std::size_t at) { words[at] = words[at] + 1; }

void false_sharing(World& world, Words words, unsigned self) {
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t at = self * 8; at < kWords; at += 16) change(words, at);
    world.barrier.arrive_and_wait();
  }
}
// Node after node, whose turn it is.
void migratory(World& world, Words words, unsigned self) {
  for (int round = 0; round < kRounds; ++round) {
    if (round % 2 == static_cast<int>(self)) change(words, 0);
    world.barrier.arrive_and_wait();
  }
}
void write_shared(World& world, Words words, unsigned self) {
  for (int round = 0; round < kRounds; ++round) {
    const auto at = static_cast<std::size_t>(round / 2) * 8 % kWords;
    if (round % 2 == static_cast<int>(self)) change(words, at);
    world.barrier.arrive_and_wait();
  }
}
void producer_consumer(World& world, Words words, unsigned self) {
  for (int round = 0; round < kRounds; ++round) {
    if (self == 0) change(words, 0);
    world.barrier.arrive_and_wait();
    if (self == 1) read(words, 0);
    world.barrier.arrive_and_wait();
  }
}
void read_mostly(World& world, Words words, unsigned self) {
  for (int round = 0; round < kRounds; ++round) {
    if (self == 0 && round == 0) change(words, 0);
    world.barrier.arrive_and_wait();
    read(words, 0);
  }
}
void lock_protected(World& world, Words words, unsigned) {
  for (int round = 0; round < kRounds; ++round) {
    world.barrier.arrive_and_wait();
    const std::lock_guard guard(world.mutex);
    for (std::size_t at = 0; at < kWords; at += 8) change(words, at);
  }
}
void streaming(World& world, Words words, unsigned self) {
  for (std::size_t at = 0; self == 0 && at < kStreamPages * kWords; at += kWords) change(words, at);
  world.barrier.arrive_and_wait();
  for (std::size_t at = 0; self == 1 && at < kStreamPages * kWords; at += kWords) read(words, at);
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<void(World&, Words, unsigned)>> patterns{
      {"false-sharing", false_sharing}, {"migratory", migratory},
      {"write-shared", write_shared},   {"producer-consumer", producer_consumer},
      {"read-mostly", read_mostly},     {"lock-protected", lock_protected},
      {"streaming", streaming}};
  const auto pattern = patterns.find(argc == 2 ? argv[1] : "");
  if (pattern == patterns.end() || dsm::start()) return 64;
  if (dsm::node() == 0) {
    auto* const words = static_cast<std::uint64_t*>(dsm::alloc(kStreamPages * kWords * 8, 4096));
    dsm::publish("words", words);
    dsm::publish("world", ::new (dsm::alloc(sizeof(World), 4096)) World);
  }
  World& world = *static_cast<World*>(dsm::lookup("world"));
  auto* const words = static_cast<std::uint64_t*>(dsm::lookup("words"));
  pattern->second(world, words, dsm::node());
  world.barrier.arrive_and_wait();
}
