// Programs that use guarded values and their like wrongly, one by name: placed_misuse NAME.
#include <dsm/atomic.h>
#include <dsm/guarded.h>

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

}  // namespace

int main(int argc, char** argv) {
  return run(
      {{"locked_twice", locked_twice}, {"guarded_on_stack", guarded_on_stack}, {"atomic_on_stack", atomic_on_stack}},
      argc, argv);
}
