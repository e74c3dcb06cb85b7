// Programs that use guarded values and their like wrongly, one by name: placed_misuse NAME.
#include <dlfcn.h>
#include <dsm/atomic.h>
#include <dsm/channel.h>
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
              {"throws_in_call", throws_in_call},
              {"throws_in_spawned", throws_in_spawned},
              {"foreign_function", foreign_function},
              {"no_such_node", no_such_node},
              {"called_while_held", called_while_held},
              {"copied_channel", copied_channel}},
             argc, argv);
}
