// What must not compile, one by its number: REFUSED. Without it all must.
#include <dsm/atomic.h>
#include <dsm/channel.h>
#include <dsm/containers.h>
#include <dsm/delegate.h>
#include <dsm/spawn.h>

#ifndef REFUSED
#define REFUSED 0
#endif

namespace {

using Function = int (*)(int);
struct Object {
  int value = 0;
  int get() { return value; }
};

[[maybe_unused]] void use([[maybe_unused]] Object* object, [[maybe_unused]] Function function) {
  dsm::call_at(
      object, [](Object& one, Function f) { return f(one.value); }, function);
#if REFUSED == 1
  dsm::call_at(object, [](Object&) { return Function{}; });
#elif REFUSED == 2
  dsm::spawn_on(0, [] { return Function{}; }).get();
#elif REFUSED == 3
  dsm::make<dsm::channel<Function> >(1U);
#elif REFUSED == 4
  dsm::spawn_on(
      0, [](int (Object::*)()) {}, &Object::get)
      .get();
#elif REFUSED == 5
  dsm::call_at_async(
      object, [](Object&, int (Object::*)()) {}, &Object::get);
#elif REFUSED == 6
  dsm::vector<Function>().push_back(function);
#elif REFUSED == 7
  dsm::spawn_on(0, [function] { return function(1); }).get();
#elif REFUSED == 8
  using Word = dsm::atomic<Function>;
  dsm::make<Word>()->load();
#endif
}

}  // namespace
