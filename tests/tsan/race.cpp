// Two threads of node 0 write one word of the global heap: race private|shared|locked|borrowed.
//   private    no other node has seen the word; nothing orders the writes: ThreadSanitizer must say so
//   shared     likewise, after node 1 has used it: the word has faulted in again
//   locked     in turn with node 1, under a mutex: no race
//   borrowed   likewise, each in a mutable borrow
#include <dsm/dsm.h>
#include <dsm/hints.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "tests/cluster/node_frame.h"

namespace {

using node_test::meet;
using node_test::shared;
using Word = std::uint64_t;

// The second thread writes after the first, but what tells it so orders nothing.
void race(Word& word) {
  std::atomic<bool> written{false};
  std::thread first([&] {
    word = 1;
    written.store(true, std::memory_order_relaxed);
  });
  std::thread second([&] {
    while (!written.load(std::memory_order_relaxed)) std::this_thread::yield();
    word = 2;
  });
  first.join();
  second.join();
}

// One thread after the other, and node 1 in between.
template <typename Add>
void in_turn(Word& word, Add add) {
  constexpr Word kRounds = 200;
  const auto run = [&] {
    for (Word i = 0; i < kRounds; ++i) add();
  };
  meet();
  std::thread first(run);
  std::thread second(run);
  first.join();
  second.join();
  meet();
  EXPECT(word == 2 * kRounds * dsm::nodes());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 2 ? argv[1] : "";
  dsm::start();
  if (what == "private" && dsm::node() == 0) race(*dsm::make<Word>(Word{0}));
  if (what == "private") return 0;
  auto* word = shared<Word>("word", [] { return dsm::make<Word>(Word{0}); });
  auto* lock = shared<dsm::mutex>("lock", [] { return dsm::make<dsm::mutex>(); });
  if (what == "shared") {
    if (dsm::node() == 1) *word = 7;
    meet();
    if (dsm::node() == 0) race(*word);
  } else if (what == "locked") {
    in_turn(*word, [&] {
      const std::lock_guard guard(*lock);
      ++*word;
    });
  } else if (what == "borrowed") {
    in_turn(*word, [&] { ++*dsm::borrow_mut(word); });
  } else {
    EXPECT(false && "private, shared, locked or borrowed");
  }
  meet();
  return 0;
}
