// Programs that use guarded values and their like wrongly, one by name: placed_misuse NAME.
#include <dlfcn.h>
#include <dsm/atomic.h>
#include <dsm/channel.h>
#include <dsm/containers.h>
#include <dsm/delegate.h>
#include <dsm/guarded.h>
#include <dsm/spawn.h>

#include <stdexcept>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

void locked_twice() {
  auto* value = shared<dsm::guarded<int>>("value", [] { return dsm::make_object<dsm::guarded<int>>(1); });
  if (dsm::node() == 1) {
    auto one = value->lock();
    auto two = value->lock();
  }
  meet();
}
void guarded_on_stack() {
  dsm::guarded<int> value(1);
  auto held = value.lock();
}
void atomic_on_stack() {
  dsm::atomic<std::uint64_t> value(1);
  value.fetch_add(1);
}

using Word = dsm::guarded<std::uint64_t>;
Word* word() {
  return shared<Word>("word", [] { return dsm::make_object<Word>(0U); });
}
void waits_in_call() {
  auto* one = word();
  if (dsm::node() == 1) {
    dsm::call_at(one, [](Word& w) { dsm::call_at(&w, [](Word&) {}); });
  }
  meet();
}
void posts_in_call() {
  auto* one = word();
  meet();
  for (int i = 0; i < 2; ++i) {
    dsm::call_at_async(one, [](Word& w) { dsm::call_at_async(&w, [](Word&) {}); });
  }
  dsm::flush();
  meet();
}
// The same where the object lives, on any number of nodes.
void waits_in_call_here() {
  auto* one = word();
  if (dsm::node() == 0) {
    dsm::call_at(one, [](Word& w) { dsm::call_at(&w, [](Word&) {}); });
  }
  meet();
}
Word* other_word() {
  return shared<Word>("other", [] { return dsm::make_object<Word>(0U); });
}
// Small and at home: the quickest borrow that there is.
void reads_in_call() {
  auto* one = word();
  auto* other = other_word();
  if (dsm::node() == 0) {
    static_cast<void>(dsm::borrow_shared(other));
    dsm::call_at(
        one, [](Word&, const Word* second) { static_cast<void>(dsm::borrow_shared(second)); }, other);
  }
  meet();
}
void locks_in_posted_call() {
  auto* one = word();
  auto* other = other_word();
  if (dsm::node() == 1) {
    dsm::call_at_async(
        one, [](Word&, Word* second) { static_cast<void>(second->lock()); }, other);
    dsm::flush();
  }
  meet();
}
void locks_its_own_in_call() {
  auto* one = word();
  if (dsm::node() == 1) dsm::call_at(one, [](Word& w) { static_cast<void>(w.lock()); });
  meet();
}

// A thread that waits for calls of its own which wait for what it has borrowed.
void flushes_held_on(unsigned node, bool posts_first) {
  auto* one = word();
  if (dsm::node() == node) {
    const auto post = [&] { dsm::call_at_async(one, [](Word&) {}); };
    if (posts_first) post();
    auto held = one->lock();
    if (!posts_first) post();
    dsm::flush();
  }
  meet();
}
void flushes_while_held() { flushes_held_on(1, false); }
void flushes_while_held_here() { flushes_held_on(0, false); }
void flushes_what_came_first() { flushes_held_on(1, true); }
void flushes_what_came_first_here() { flushes_held_on(0, true); }
std::uint64_t* two_words() {
  return shared<std::uint64_t>("words", [] { return block<std::uint64_t>(2); });
}
void flushes_neighbour() {
  auto* two = two_words();
  if (dsm::node() == 1) {
    dsm::call_at_async(&two[1], [](std::uint64_t& w) { ++w; });
    auto held = dsm::borrow_mut(&two[0]);
    dsm::flush();
  }
  meet();
}
void calls_neighbour() {
  auto* two = two_words();
  if (dsm::node() == 1) {
    auto held = dsm::borrow_mut(&two[0]);
    dsm::call_at(&two[1], [](std::uint64_t& w) { ++w; });
  }
  meet();
}
// Waits for what it has posted to the node before.
void calls_after_posting() {
  auto* one = word();
  auto* other = other_word();
  if (dsm::node() == 1) {
    dsm::call_at_async(one, [](Word&) {});
    auto held = one->lock();
    dsm::call_at(other, [](Word&) {});
  }
  meet();
}

void calls_nothing() {
  dsm::call_at(static_cast<Word*>(nullptr), [](Word&) {});
}
void posts_to_nothing() {
  dsm::call_at_async(static_cast<Word*>(nullptr), [](Word&) {});
}
void calls_on_stack() {
  std::uint64_t here = 0;
  dsm::call_at(&here, [](std::uint64_t&) {});
}
void posts_to_stack() {
  std::uint64_t here = 0;
  dsm::call_at_async(&here, [](std::uint64_t&) {});
}
void calls_on_memory_node() {
  dsm::call_at(word(), [](Word&) {});
}
void calls_across_homes() {
  constexpr std::size_t kPiece = std::size_t{64} << 10;
  auto* memory = static_cast<std::byte*>(dsm::alloc(4 * kPiece, kPiece, dsm::interleaved));
  struct Large {
    std::byte bytes[128];
  };
  dsm::call_at(reinterpret_cast<Large*>(memory + kPiece - 64), [](Large&) {});
}

void reads_past_the_end() {
  dsm::vector<int> values{std::span<const int>(std::vector<int>{1, 2})};
  values.at(2);
}
void writes_past_the_end() { dsm::vector<int>().set(0, 1); }
void pops_nothing() { dsm::vector<int>().pop_back(); }
void looks_past_the_end() { dsm::make<dsm::dist_array<int>>(10U)->at(10); }
void looks_into_nothing() { dsm::make<dsm::dist_array<int>>(0U)->at(0); }
void gets_twice() {
  auto end = dsm::spawn_on(0, [] { return 1; });
  end.get();
  end.get();
}
void waits_for_nothing() { dsm::future<int>().wait(); }
void asks_nothing() { dsm::future<int>().failure(); }

void throws_in_call() {
  if (dsm::node() == 1) dsm::call_at(word(), [](Word&) { throw std::runtime_error("no luck"); });
  word();
  meet();
}
void throws_in_spawned() {
  if (dsm::node() == 0) dsm::spawn_on(1, [] { throw std::runtime_error("no luck"); }).get();
  meet();
}
void foreign_function() {
  if (dsm::node() == 0) dsm::spawn_on(1, reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "getppid"))).wait();
  meet();
}
void no_such_node() {
  dsm::spawn_on(7, [] {}).wait();
}
void called_while_held() {
  auto* one = word();
  if (dsm::node() == 1) {
    auto held = one->lock();
    dsm::call_at(one, [](Word&) {});
  }
  meet();
}
void copied_channel() {
  auto* made = dsm::make<dsm::channel<int>>(4U);
  alignas(dsm::channel<int>) std::byte copy[sizeof *made];
  std::memcpy(copy, made, sizeof copy);
  reinterpret_cast<dsm::channel<int>*>(copy)->send(1);
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"locked_twice", locked_twice},
              {"guarded_on_stack", guarded_on_stack},
              {"atomic_on_stack", atomic_on_stack},
              {"waits_in_call", waits_in_call},
              {"posts_in_call", posts_in_call},
              {"waits_in_call_here", waits_in_call_here},
              {"reads_in_call", reads_in_call},
              {"locks_in_posted_call", locks_in_posted_call},
              {"locks_its_own_in_call", locks_its_own_in_call},
              {"flushes_while_held", flushes_while_held},
              {"flushes_while_held_here", flushes_while_held_here},
              {"flushes_what_came_first", flushes_what_came_first},
              {"flushes_what_came_first_here", flushes_what_came_first_here},
              {"flushes_neighbour", flushes_neighbour},
              {"calls_neighbour", calls_neighbour},
              {"calls_after_posting", calls_after_posting},
              {"calls_nothing", calls_nothing},
              {"posts_to_nothing", posts_to_nothing},
              {"calls_on_stack", calls_on_stack},
              {"posts_to_stack", posts_to_stack},
              {"calls_on_memory_node", calls_on_memory_node},
              {"calls_across_homes", calls_across_homes},
              {"reads_past_the_end", reads_past_the_end},
              {"writes_past_the_end", writes_past_the_end},
              {"pops_nothing", pops_nothing},
              {"looks_past_the_end", looks_past_the_end},
              {"looks_into_nothing", looks_into_nothing},
              {"gets_twice", gets_twice},
              {"waits_for_nothing", waits_for_nothing},
              {"asks_nothing", asks_nothing},
              {"throws_in_call", throws_in_call},
              {"throws_in_spawned", throws_in_spawned},
              {"foreign_function", foreign_function},
              {"no_such_node", no_such_node},
              {"called_while_held", called_while_held},
              {"copied_channel", copied_channel}},
             argc, argv);
}
